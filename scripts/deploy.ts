/**
 * Deploys the contracts with Ignition and writes the deployment file that every agent reads.
 *
 *   node scripts/deploy.ts [--network localhost] [--out deployment.json] [--id NAME] [--asset 0x…]
 *                          [--unbonding SECONDS] [--quorum BPS]
 *
 * The endpoint of `localhost` is PONAS_RPC_URL; PONAS_CONFIRMATIONS (1) is how many blocks a step waits for. Without --asset a local token with a faucet is deployed as well.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import hre from "hardhat";

import Ponas from "../ignition/modules/Ponas.ts";
import PonasOnAsset from "../ignition/modules/PonasOnAsset.ts";
import { watchParent } from "../offchain/cli/parent.ts";
import { deploymentSchema } from "../offchain/protocol/deployment.ts";

watchParent(() => process.exit(130));

const { values } = parseArgs({
  options: {
    network: { type: "string", default: "localhost" },
    out: { type: "string", default: "deployment.json" },
    id: { type: "string" },
    asset: { type: "string" },
    unbonding: { type: "string" },
    quorum: { type: "string" },
    /** removes Ignition's journal afterwards: for chains that forget everything when they stop */
    ephemeral: { type: "boolean", default: false },
  },
});

const connection = await hre.network.connect(values.network);
const { ethers, ignition } = connection;
const fromBlock = await ethers.provider.getBlockNumber();
const parameters: Record<string, string | number> = {};
if (values.asset !== undefined) parameters.asset = values.asset;
if (values.unbonding !== undefined) parameters.unbondingPeriod = Number(values.unbonding);
if (values.quorum !== undefined) parameters.quorumBps = Number(values.quorum);
const contracts =
  values.asset === undefined
    ? await ignition.deploy(Ponas, { parameters: { Ponas: parameters }, deploymentId: values.id })
    : await ignition.deploy(PonasOnAsset, { parameters: { PonasOnAsset: parameters }, deploymentId: values.id });

const { chainId } = await ethers.provider.getNetwork();
const deployment = deploymentSchema.parse({
  chainId: Number(chainId),
  fromBlock,
  asset: await contracts.asset.getAddress(),
  stake: await contracts.stake.getAddress(),
  registry: await contracts.registry.getAddress(),
  poolFactory: await contracts.poolFactory.getAddress(),
});
writeFileSync(values.out, `${JSON.stringify(deployment, null, 2)}\n`);
if (values.ephemeral && values.id !== undefined) {
  rmSync(join(hre.config.paths.ignition, "deployments", values.id), { recursive: true, force: true });
}
console.log(`The contracts are deployed on chain ${chainId}; their addresses are in ${values.out}.`);
await connection.close();
