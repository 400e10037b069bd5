import { createRequire } from "node:module";

import toolbox from "@nomicfoundation/hardhat-toolbox-mocha-ethers";
import viem from "@nomicfoundation/hardhat-viem";
import { defineConfig } from "hardhat/config";

const require = createRequire(import.meta.url);

// The WebAssembly compiler that npm brings: building downloads nothing.
const { version } = require("solc/package.json") as { version: string };
const compiler = {
  version,
  path: require.resolve("solc/soljson.js"),
  isolated: false,
  settings: { evmVersion: "cancun", viaIR: false, optimizer: { enabled: true, runs: 200 } },
};

/** How often the local chain mines, in milliseconds: at least a second, since automining refuses nonces out of order. */
const BLOCK_INTERVAL = Number(process.env.PONAS_BLOCK_INTERVAL ?? 1000);

export default defineConfig({
  plugins: [toolbox, viem],
  solidity: { profiles: { default: compiler, production: compiler } },
  paths: { tests: { mocha: "./test/contracts", solidity: "./test/solidity" } },
  networks: {
    default: { type: "edr-simulated", chainType: "l1" },
    chain: {
      type: "edr-simulated",
      chainType: "l1",
      chainId: 31337,
      mining: { auto: false, interval: BLOCK_INTERVAL },
    },
    localhost: { type: "http", chainType: "l1", url: process.env.PONAS_RPC_URL ?? "http://127.0.0.1:8545" },
  },
  ignition: {
    // A local chain has no reorganisations; on a public one, deploy with more.
    requiredConfirmations: Number(process.env.PONAS_CONFIRMATIONS ?? 1),
    blockPollingInterval: 250,
  },
  test: {
    solidity: {
      fuzz: { runs: 256, seed: "0x706f6e6173" },
      invariant: { runs: 32, depth: 64 },
    },
  },
});
