import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";
import type { Artifact } from "@nomicfoundation/ignition-core";
import erc20 from "@openzeppelin/contracts/build/contracts/IERC20Metadata.json" with { type: "json" };

import { deployOn } from "../contracts.ts";

/**
 * A deployment on an ERC-20 that is there already: parameter `asset`, its address; the others as in {@link deployOn}.
 */
export default buildModule("PonasOnAsset", (m) =>
  deployOn(m, m.contractAt("Asset", erc20 as Artifact, m.getParameter("asset"))),
);
