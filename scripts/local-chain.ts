/**
 * A local Hardhat chain that mines at an interval, until it is stopped: `node scripts/local-chain.ts [PORT]`.
 * Where PONAS_PARENT names a process, it ends with that process.
 */
import hre from "hardhat";

import { watchParent } from "../offchain/cli/parent.ts";

const port = Number(process.argv[2] ?? 8545);
watchParent(() => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));

hre.globalOptions.network = "chain";
await hre.tasks.getTask("node").run({ hostname: "127.0.0.1", port });
