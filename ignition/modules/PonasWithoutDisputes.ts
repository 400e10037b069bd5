import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

import { deployWithoutDisputesOn } from "../contracts.ts";

/** As the module Ponas, without disputes. */
export default buildModule("PonasWithoutDisputes", (m) => deployWithoutDisputesOn(m, m.contract("LocalAsset")));
