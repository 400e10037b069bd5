/**
 * Deploys the contracts with Ignition and writes the deployment file that every agent reads.
 *
 *   node scripts/deploy.ts [--network localhost] [--out deployment.json] [--id NAME] [--asset 0x…]
 *                          [--unbonding SECONDS] [--quorum BPS]
 *                          [--challenge-bond AMOUNT] [--answer-period SECONDS] [--demand-price AMOUNT]
 *                          [--without-disputes]
 *
 * The endpoint of `localhost` is PONAS_RPC_URL; PONAS_CONFIRMATIONS (1) is how many blocks a step waits for. Without
 * --asset a local token with a faucet is deployed as well. Amounts are in the asset's smallest unit; what is not given
 * has the defaults of ignition/contracts.ts. --without-disputes trusts a quorum of the validators with correctness.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import hre from "hardhat";

import Ponas from "../ignition/modules/Ponas.ts";
import PonasOnAsset from "../ignition/modules/PonasOnAsset.ts";
import PonasWithoutDisputes from "../ignition/modules/PonasWithoutDisputes.ts";
import PonasWithoutDisputesOnAsset from "../ignition/modules/PonasWithoutDisputesOnAsset.ts";
import { watchParent } from "../offchain/cli/parent.ts";
import { ZERO_ADDRESS } from "../offchain/protocol/bytes.ts";
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
    "challenge-bond": { type: "string" },
    "answer-period": { type: "string" },
    "demand-price": { type: "string" },
    "without-disputes": { type: "boolean", default: false },
    /** removes Ignition's journal afterwards: for chains that forget everything when they stop */
    ephemeral: { type: "boolean", default: false },
  },
});

const connection = await hre.network.connect(values.network);
const { ethers, ignition } = connection;
const fromBlock = await ethers.provider.getBlockNumber();
const given: Record<string, string | undefined> = {
  unbondingPeriod: values.unbonding,
  quorumBps: values.quorum,
  challengeBond: values["challenge-bond"],
  answerPeriod: values["answer-period"],
  demandPrice: values["demand-price"],
};
const parameters: Record<string, string | bigint> = {};
for (const [name, value] of Object.entries(given)) if (value !== undefined) parameters[name] = BigInt(value);
if (values.asset !== undefined) parameters.asset = values.asset;
const withDisputes = values.asset === undefined ? Ponas : PonasOnAsset;
const without = values.asset === undefined ? PonasWithoutDisputes : PonasWithoutDisputesOnAsset;
const module = values["without-disputes"] ? without : withDisputes;
const contracts = await ignition.deploy(module, {
  parameters: { [module.id]: parameters },
  deploymentId: values.id,
});

const disputes = (await contracts.registry.getFunction("disputes").staticCall()) as string;
const { chainId } = await ethers.provider.getNetwork();
const deployment = deploymentSchema.parse({
  chainId: Number(chainId),
  fromBlock,
  asset: await contracts.asset.getAddress(),
  stake: await contracts.stake.getAddress(),
  registry: await contracts.registry.getAddress(),
  poolFactory: await contracts.poolFactory.getAddress(),
  ...(disputes === ZERO_ADDRESS ? {} : { disputes }),
});
writeFileSync(values.out, `${JSON.stringify(deployment, null, 2)}\n`);
if (values.ephemeral && values.id !== undefined) {
  rmSync(join(hre.config.paths.ignition, "deployments", values.id), { recursive: true, force: true });
}
console.log(`The contracts are deployed on chain ${chainId}; their addresses are in ${values.out}.`);
await connection.close();
