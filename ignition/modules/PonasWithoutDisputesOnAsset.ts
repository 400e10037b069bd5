import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";
import type { Artifact } from "@nomicfoundation/ignition-core";
import erc20 from "@openzeppelin/contracts/build/contracts/IERC20Metadata.json" with { type: "json" };

import { deployWithoutDisputesOn } from "../contracts.ts";

/** As the module PonasOnAsset, without disputes. */
export default buildModule("PonasWithoutDisputesOnAsset", (m) =>
  deployWithoutDisputesOn(m, m.contractAt("Asset", erc20 as Artifact, m.getParameter("asset"))),
);
