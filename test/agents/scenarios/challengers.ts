/** Several challengers of one lie at once, and one who is short of the bond first, and of coin for gas then. */
import { expect } from "chai";
import { parseEther } from "viem";

import {
  createDisputesContract,
  isOpen,
  type ChallengeInTask,
  type DisputesContract,
} from "../../../offchain/agents/disputes-contract.ts";
import { runDuties } from "../../../offchain/agents/duties.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry, type Registry } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import type { TaskFiles } from "../../../offchain/agents/task-files.ts";
import type { Address } from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import type { ModelStore } from "../../../offchain/storage/model-store.ts";
import {
  balanceOf,
  challengeIn,
  createLines,
  fundTokens,
  gated,
  lyingDefence,
  setCoin,
  someLiar,
  until,
} from "../kit/dispute-cast.ts";
import { DISPUTES, type LocalNetwork } from "../local-network.ts";
import { planWith, terms, TOKEN, untilPhase } from "../noise-task.ts";
import { bid, type Bid } from "./disputes.ts";

const CANDIDATE_BOND = (terms.reward * BigInt(terms.candidateBondBps)) / 10_000n;

/** A task of one candidate, with what the test set says of it. */
export interface LonelyTask {
  readonly taskId: bigint;
  readonly participant: Address;
  /** where the task's files and the candidate's model are, as a multiaddr */
  readonly peer: string;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly registry: Registry;
  readonly disputes: DisputesContract;
  challenges(): Promise<ChallengeInTask[]>;
  /** Resolves when the task has ended, with the candidate refuted. */
  end(): Promise<void>;
}

/** @param first index of the publisher's account; the participant's is the next */
export async function startAlone(
  network: LocalNetwork,
  name: string,
  first: number,
  { file, root, predictions }: Omit<Bid, "chain">,
): Promise<LonelyTask & { readonly claimant: ChainClient }> {
  const { log, signal, dir } = network;
  const publisher = await network.account(first);
  const claimant = await network.account(first + 1);
  const { store, files, peer } = await network.store(name);
  const window = DISPUTES.answerPeriod / 2; // a quiet machine's seconds
  const shared = { chain: publisher, store, state: createStateFolder(`${dir}/${name}`), log, signal };
  const taskId = await publishTask(
    planWith({ training: 6, testVote: 1, reveal: 6, seal: 3, open: 8, shortWindow: window, longWindow: window }),
    shared,
  );
  const following = followTask(taskId, shared);
  const bidding = bid(taskId, { chain: claimant, file, root, predictions }, { files, store, signal });
  const registry = createRegistry(claimant);
  const disputes = (await createDisputesContract(claimant))!;
  const participant = claimant.account;
  return {
    ...{ claimant, taskId, participant, peer, store, files, registry, disputes },
    challenges: () => disputes.challengesIn(taskId),
    end: async () => {
      await Promise.all([bidding, following]);
      expect((await registry.commitmentOf(taskId, participant))!.state).to.equal("Eliminated");
    },
  };
}

export interface LyingTask extends LonelyTask {
  /** the one image of which the liar claims what its model does not make of it */
  readonly sample: number;
  /** Lets the liar answer challenges from now on, or not: it begins silent. */
  letAnswer(may: boolean): void;
}

/** A task in which nobody takes part but a liar. @param first index of the publisher's account; the liar's is the next */
export async function startLie(network: LocalNetwork, name: string, first: number): Promise<LyingTask> {
  const { log, signal } = network;
  const lie = await someLiar();
  const task = await startAlone(network, name, first, { ...lie, predictions: lie.claimed });
  const { claimant: chain, taskId } = task;
  let mayAnswer = false;
  const finished = new AbortController();
  const running = AbortSignal.any([signal, finished.signal]);
  const defence = gated(await lyingDefence(taskId, chain, lie, log), () => mayAnswer);
  const defending = runDuties({ chain, log, signal: running, duties: [defence] });
  return {
    ...task,
    sample: lie.lie.sample,
    letAnswer: (may) => void (mayAnswer = may),
    end: async () => {
      await task.end();
      finished.abort();
      await defending;
    },
  };
}

/** Three raise the same challenge before the liar answers any; one of them is gone until all is over. */
export async function challengeAtOnce(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const task = await startLie(network, "crowd", 8);
  const { taskId, store, files, registry, disputes, sample } = task;
  const challengers = await Promise.all([10, 11, 12].map((index) => network.account(index)));
  const absent = challengers[2]!;
  const death = new AbortController();
  const watch = (chain: ChainClient, until: AbortSignal): Promise<void> =>
    challengeIn(taskId, { chain, store, files, log, signal: until });
  const watching = challengers.map((chain) => watch(chain, chain === absent ? AbortSignal.any([signal, death.signal]) : signal)); // prettier-ignore

  await until(network, async () => (await task.challenges()).filter(({ stage }) => stage === "Trace").length === 3);
  death.abort();
  await watching[2];
  task.letAnswer(true);
  await task.end();
  // Those who are there end when nothing is theirs any more; the third one finds its bond when it is back.
  await Promise.all(watching);
  await watch(absent, signal);

  const challenges = await task.challenges();
  expect(challenges.map((one) => one.sample)).to.deep.equal([sample, sample, sample]);
  expect(challenges.filter(({ stage }) => isOpen(stage))).to.deep.equal([]);
  const refuters = challenges.filter(({ stage }) => stage === "Refuted").map(({ challenger }) => challenger);
  expect(refuters).to.have.length(1);
  expect(refuters).not.to.include(absent.account);
  for (const chain of challengers) {
    const won = refuters.includes(chain.account) ? CANDIDATE_BOND / 2n : 0n;
    expect(await balanceOf(chain)).to.equal(10_000n * TOKEN + won);
    expect((await disputes.creditOf(chain.account)) + (await registry.credit(chain.account))).to.equal(0n);
  }
}

/** Its account is filled after it has said what is missing; each time it goes on by itself. */
export async function goOnWhenFunded(network: LocalNetwork): Promise<void> {
  const { signal } = network;
  const task = await startLie(network, "poor", 13);
  const { taskId, store, files, registry } = task;
  const poor = await network.account(15, { tokens: 0n });
  const { bond } = DISPUTES;
  await fundTokens(poor, bond / 2n);
  const { log, lines, said } = createLines();
  const watching = challengeIn(taskId, { chain: poor, store, files, log, signal });

  await untilPhase(registry, taskId, "Window");
  // It has known since before the window, and has said it once; in the window its challenge fails for it, once more.
  const want = `A challenge takes 1 of the asset, but the account ${poor.account} has 0.5.`;
  await said(new RegExp(`^challenge: ${want}`), signal);
  expect(lines.filter((line) => line.includes(want))).to.have.length(2);
  expect(await task.challenges()).to.deep.equal([]);
  await fundTokens(poor, bond / 2n);
  await until(network, async () => (await task.challenges()).length === 1);

  await setCoin(poor, 0n);
  task.letAnswer(true);
  await said(/^challenge: pickTensor could not be sent: the account cannot pay for its gas\. /, signal);
  expect((await task.challenges())[0]!.stage).to.equal("Tensor");
  await setCoin(poor, parseEther("1"));
  await task.end();
  await watching;

  expect((await task.challenges()).map(({ stage }) => stage)).to.deep.equal(["Refuted"]);
  expect(await balanceOf(poor)).to.equal(bond + CANDIDATE_BOND / 2n);
  const [before, inWindow, challenged, poverty, ...more] = lines;
  expect(inWindow).to.equal(`challenge: ${before}`);
  expect(challenged).to.match(/^challenged sample \d+ with a bond of 1: /);
  expect(poverty).to.match(/^challenge: pickTensor could not be sent/);
  expect(more, "nothing else went wrong").to.deep.equal([]);
}
