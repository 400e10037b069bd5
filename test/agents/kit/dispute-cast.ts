/** Who plays in disputes on a chain beside the agents under test: liars that defend their lie, and fools that insist. */
import { pino } from "pino";
import { toHex } from "viem";

import { createChallenges } from "../../../offchain/agents/challenges.ts";
import { createPrefetch } from "../../../offchain/agents/claimant.ts";
import { createDefender } from "../../../offchain/agents/defender.ts";
import { press } from "../../../offchain/agents/dispute-moves.ts";
import { createDisputeFiles, createDisputeSides } from "../../../offchain/agents/dispute-sides.ts";
import { createDisputesContract, isOpen, type ChallengeInTask } from "../../../offchain/agents/disputes-contract.ts";
import { runDuties, type Duty } from "../../../offchain/agents/duties.ts";
import { createKeeper } from "../../../offchain/agents/keeper.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import type { TaskFiles } from "../../../offchain/agents/task-files.ts";
import { chooseLie, withLie, type Lie } from "../../../offchain/cli/demo/cheat/lie.ts";
import { predict } from "../../../offchain/evaluation/evaluate.ts";
import { encodeModel, modelRoot, type Model } from "../../../offchain/evaluation/model.ts";
import { localAssetAbi } from "../../../offchain/protocol/abi.ts";
import type { Address, Hex } from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import type { Log } from "../../../offchain/protocol/log.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { sampleArchitecture } from "../../../offchain/search/spaces.ts";
import type { ModelStore } from "../../../offchain/storage/model-store.ts";
import type { Samples } from "../../../offchain/training/datasets.ts";
import { randomModel } from "../../evaluation/random-model.ts";
import type { LocalNetwork } from "../local-network.ts";
import { dataset, random, space, template } from "../noise-task.ts";
import { doctored } from "../scenarios/disputes.ts";

const { labels } = dataset.test;

export interface Candidate {
  readonly model: Model;
  readonly file: Uint8Array;
  readonly root: Hex;
  /** what the model makes of the test set */
  readonly predictions: Uint8Array;
  readonly correct: number;
}

export const correctOf = (predictions: Uint8Array): number => predictions.filter((one, i) => one === labels[i]).length;

export async function someCandidate(): Promise<Candidate> {
  const model = randomModel(random, sampleArchitecture(template, space, random));
  const predictions = await predict(model, dataset.test);
  return { model, file: encodeModel(model), root: modelRoot(model), predictions, correct: correctOf(predictions) };
}

/** A candidate of which one prediction too many is claimed. */
export interface LyingCandidate extends Candidate {
  readonly lie: Lie;
  /** the test set as it shows it in disputes */
  readonly samples: Samples;
  readonly claimed: Uint8Array;
}

export async function someLiar(): Promise<LyingCandidate> {
  for (;;) {
    const candidate = await someCandidate();
    try {
      const lie = chooseLie(dataset.test, candidate.predictions);
      const claimed = candidate.predictions.with(lie.sample, lie.claimed);
      return { ...candidate, lie, samples: withLie(dataset.test, lie), claimed };
    } catch (error) {
      if (!(error instanceof PonasError && error.code === "not-found")) throw error;
    }
  }
}

/** An honest candidate whose claim is examined after the liar's. */
export async function someoneBelow(claimed: number): Promise<Candidate> {
  for (;;) {
    const candidate = await someCandidate();
    if (candidate.correct > 0 && candidate.correct < claimed) return candidate;
  }
}

/** What the agents' defence does for one who lies about one sample. */
export async function lyingDefence(
  taskId: bigint,
  chain: ChainClient,
  { file, samples }: LyingCandidate,
  log: Log,
): Promise<Duty> {
  return createDefender({
    taskId,
    chain,
    registry: createRegistry(chain),
    disputes: (await createDisputesContract(chain))!,
    participant: chain.account,
    files: { model: () => Promise.resolve(file), testSet: () => Promise.resolve(samples) },
    log,
  });
}

/** A duty that does nothing before the gate is open. */
export const gated = (duty: Duty, open: () => boolean): Duty => ({
  name: duty.name,
  run: async (head) => (open() ? duty.run(head) : undefined),
});

/** All that a challenger does, in this task and in no other one of the network. */
export async function challengeIn(
  taskId: bigint,
  world: { chain: ChainClient; store: ModelStore; files: TaskFiles; log: Log; signal: AbortSignal },
): Promise<void> {
  const { chain, files, log } = world;
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  const { duties } = createChallenges(taskId, registry, disputes, { ...world, modelTimeoutMs: 5000 });
  const all = [createPrefetch({ taskId, registry, files }), ...duties, createKeeper({ taskId, registry, log, patience: 6 })]; // prettier-ignore
  await runDuties({ ...world, duties: all });
}

/**
 * Challenges a true prediction once, and insists on what another network of the same shape makes of the sample.
 * @returns the challenge, as it ended
 */
export async function insist(
  taskId: bigint,
  options: {
    readonly chain: ChainClient;
    readonly participant: Address;
    /** whose seal is challenged, of a candidate that is refuted; the candidate itself unless given */
    readonly validator?: Address;
    readonly model: Model;
    readonly sample: number;
    readonly store: ModelStore;
    readonly files: TaskFiles;
    readonly signal: AbortSignal;
    /** whether it may move on after its challenge */
    readonly mayMove: () => boolean;
  },
): Promise<ChallengeInTask> {
  const { chain, participant, validator, model, sample, store, files, signal, mayMove } = options;
  const registry = createRegistry(chain);
  const disputes = (await createDisputesContract(chain))!;
  const sides = createDisputeSides(createDisputeFiles({ registry, store, files, signal, timeoutMs: 10_000 }));
  const task = await registry.task(taskId);
  const other = randomModel(random, model.architecture);
  const side = doctored(await sides.side(task, participant, sample), other, sample);
  const opened = (await disputes.predictionsOf(taskId, participant))!;
  if (validator === undefined) await disputes.raise(taskId, sample, opened);
  else await disputes.raiseAgainstSeal(taskId, participant, validator, sample, opened);
  for (;;) {
    const mine = (await disputes.challengesIn(taskId)).findLast(({ challenger }) => challenger === chain.account)!;
    if (!isOpen(mine.stage)) return mine;
    if (mayMove()) await press(disputes, mine, await disputes.shown(mine.id), side);
    await sleep(200, signal);
  }
}

/** A log that keeps what it is told from a level on. */
export function createLines(level: "info" | "warn" = "warn") {
  const lines: string[] = [];
  const keep = { write: (text: string) => void lines.push((JSON.parse(text) as { msg: string }).msg) };
  return {
    lines,
    log: pino({ level }, keep) as Log,
    /** Waits for a line. */
    said: async (what: RegExp, signal: AbortSignal): Promise<string> => {
      for (;;) {
        const found = lines.find((line) => what.test(line));
        if (found !== undefined) return found;
        await sleep(100, signal);
      }
    },
  };
}

/** Gives an account so much of the chain's coin for gas, and takes the rest. */
export async function setCoin({ client, account }: ChainClient, amount: bigint): Promise<void> {
  await client.request({ method: "hardhat_setBalance", params: [account, toHex(amount)] } as never);
}

export const fundTokens = (chain: ChainClient, amount: bigint): Promise<unknown> =>
  chain.send({ abi: localAssetAbi, address: chain.deployment.asset, functionName: "faucet", args: [amount] });

export const balanceOf = ({ read, deployment, account }: ChainClient): Promise<bigint> =>
  read({ abi: localAssetAbi, address: deployment.asset, functionName: "balanceOf", args: [account] });

/** Waits until it holds. */
export async function until({ signal }: LocalNetwork, holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(250, signal);
}
