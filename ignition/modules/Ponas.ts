import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

import { deployOn } from "../contracts.ts";

/**
 * A deployment with an asset of its own, which is worthless: LocalAsset has a faucet. Parameters as in
 * {@link deployOn}.
 */
export default buildModule("Ponas", (m) => deployOn(m, m.contract("LocalAsset")));
