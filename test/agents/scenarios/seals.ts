/** Validators that have sealed what was refuted: liars with their liar, and an honest one whose claimant lost on purpose. */
import { expect } from "chai";

import { tidy } from "../../../offchain/agents/dispute-clocks.ts";
import { press } from "../../../offchain/agents/dispute-moves.ts";
import { reportDisputes, type ReportedChallenge } from "../../../offchain/agents/dispute-report.ts";
import { createDisputeFiles, createDisputeSides } from "../../../offchain/agents/dispute-sides.ts";
import {
  createDisputesContract,
  isOpen,
  type ChallengeInTask,
  type DisputesContract,
} from "../../../offchain/agents/disputes-contract.ts";
import { runDuties } from "../../../offchain/agents/duties.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { refuseAfterLoss } from "../../../offchain/agents/lost-stake.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { createSealDefender } from "../../../offchain/agents/seal-defender.ts";
import { ensureStake, stakeAtRisk, unbond } from "../../../offchain/agents/stake.ts";
import { validatorStakeAbi } from "../../../offchain/protocol/abi.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { createTaskFiles } from "../../../offchain/agents/task-files.ts";
import { runValidator } from "../../../offchain/agents/validator.ts";
import { encodeModel, modelRoot } from "../../../offchain/evaluation/model.ts";
import { linearLayers } from "../../../offchain/evaluation/shapes.ts";
import { resultHash, validatorSeal, type Address } from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { explainError } from "../../../offchain/protocol/errors.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { cidOf } from "../../../offchain/storage/cid.ts";
import { randomModel } from "../../evaluation/random-model.ts";
import {
  balanceOf,
  challengeIn,
  createLines,
  lyingDefence,
  someCandidate,
  someLiar,
  until,
} from "../kit/dispute-cast.ts";
import { DISPUTES, type LocalNetwork } from "../local-network.ts";
import { dataset, planWith, random, TOKEN, untilPhase } from "../noise-task.ts";
import { bid, doctored } from "./disputes.ts";

const STAKE = 1000n * TOKEN;
const { bond } = DISPUTES;
/** Half of a candidate's bond: a twentieth of the reward. */
const HALF_CANDIDATE = (5n * TOKEN) / 2n;

const disputesOf = async (chain: ChainClient): Promise<DisputesContract> => (await createDisputesContract(chain))!;

/** A published task, and its end. */
async function publish(network: LocalNetwork, publisher: ChainClient, name: string) {
  const { log, signal } = network;
  const { store, files } = await network.store(`${name} participants`);
  const shared = { chain: publisher, store, state: createStateFolder(`${network.dir}/${name} publisher`), log, signal };
  const taskId = await publishTask(
    planWith({ training: 6, testVote: 1, reveal: 5, seal: 5, open: 5, shortWindow: 10, longWindow: 10 }),
    shared,
  );
  return { taskId, store, files, following: followTask(taskId, shared) };
}

/** Seals these predictions for a candidate, whatever its model makes of the samples. */
async function vouch(taskId: bigint, chain: ChainClient, candidate: Address, predictions: Uint8Array): Promise<void> {
  const registry = createRegistry(chain);
  await untilPhase(registry, taskId, "Seal");
  const { hash } = (await registry.commitmentOf(taskId, candidate))!;
  const seal = validatorSeal(chain.domain, taskId, hash, chain.account, resultHash(predictions));
  await registry.seal(taskId, candidate, seal);
}

/** Does what somebody else may do first. */
async function unlessFirst(work: () => Promise<unknown>): Promise<void> {
  await work().catch((error: unknown) => {
    if (!(error instanceof PonasError && error.code === "reverted")) throw error;
  });
}

/** The validator under test follows every task of the network. */
export interface Honest {
  readonly chain: ChainClient;
  /** kills it, and runs another one from nothing but its own IPFS node */
  restart(): Promise<void>;
  readonly lines: string[];
  has(file: Uint8Array): Promise<boolean>;
  ended(): Promise<void>;
}

export async function startHonest(network: LocalNetwork): Promise<Honest> {
  const { signal } = network;
  const chain = await network.account(1);
  const { store } = await network.store("honest validator");
  const { log, lines } = createLines();
  await ensureStake(STAKE, { chain, log });
  let death = new AbortController();
  const run = (): Promise<void> => {
    const life = AbortSignal.any([signal, death.signal]);
    const files = createTaskFiles({ store, signal: life, timeoutMs: 20_000 });
    return runValidator({ chain, store, files, log, signal: life, modelTimeoutMs: 5000, challenge: false });
  };
  let running = run();
  return {
    chain,
    lines,
    restart: async () => {
      death.abort();
      await running;
      death = new AbortController();
      running = run();
    },
    has: async (file) => store.has((await cidOf(file)).bytes, { signal }),
    ended: () => running,
  };
}

/** One colluder defends its seal with the lie, the other one is silent: both lose, by a proof and by a clock. */
export async function slashLyingSeals(network: LocalNetwork, honest: Honest): Promise<void> {
  const { log, signal } = network;
  const [publisher, liar, stubborn, silent, challenger] = await Promise.all(
    [2, 3, 4, 5, 6].map((index) => network.account(index)),
  );
  const lie = await someLiar();
  const { file, root, claimed, samples } = lie;
  for (const chain of [stubborn!, silent!]) await ensureStake(STAKE, { chain, log });
  const { taskId, store, files, following } = await publish(network, publisher!, "lying");
  const registry = createRegistry(publisher!);
  const disputes = await disputesOf(publisher!);

  const defence = createSealDefender({
    taskId,
    chain: stubborn!,
    registry: createRegistry(stubborn!),
    disputes: await disputesOf(stubborn!),
    files: { model: () => Promise.resolve(file), testSet: () => Promise.resolve(samples) },
    log,
  });
  const liars = [
    runDuties({ chain: liar!, log, signal, duties: [await lyingDefence(taskId, liar!, lie, log)] }),
    runDuties({ chain: stubborn!, log, signal, duties: [defence] }),
  ];
  const own = await network.store("challenger of liars");
  const death = new AbortController();
  const challenge = (life: AbortSignal) => challengeIn(taskId, { chain: challenger!, ...own, log, signal: life });
  const first = challenge(AbortSignal.any([signal, death.signal]));
  await Promise.all([
    bid(taskId, { chain: liar!, file, root, predictions: claimed }, { files, store, signal }),
    vouch(taskId, stubborn!, liar!.account, claimed),
    vouch(taskId, silent!, liar!.account, claimed).then(() => unbond(silent!)),
  ]);

  // The challenger is killed when it has challenged a seal, and another one goes on from nothing but its IPFS node.
  await until(network, async () => (await disputes.challengesIn(taskId)).some(({ ofSeal }) => ofSeal));
  death.abort();
  await first;
  const watching = challenge(signal);

  const seen = new Map<string, ReportedChallenge>();
  await until(network, async () => {
    const taskIds = await registry.openTasks();
    const { challenges } = await reportDisputes({ chain: publisher!, registry, disputes, taskIds, all: false });
    // A game may end while it is reported: then the stake is gone already.
    const ofTask = challenges.filter((one) => one.task === taskId && one.stake !== 0n);
    for (const one of ofTask) if (one.validator !== null) seen.set(one.validator, one);
    return (await disputes.challengesIn(taskId)).filter(({ stage }) => stage === "Refuted").length === 3;
  });
  for (const { account } of [stubborn!, silent!]) {
    expect(seen.get(account)).to.include({ candidate: liar!.account, sample: lie.lie.sample, stake: STAKE, bond });
    expect(seen.get(account)!.secondsLeft).to.be.within(0, DISPUTES.answerPeriod);
  }
  expect(seen.get(silent!.account)!.toMove).to.equal("validator");

  // It goes by itself when no seal can be challenged any more, with all that it is owed.
  await Promise.all([following, watching, ...liars]);
  for (const chain of [stubborn!, silent!]) {
    expect(await stakeAtRisk(publisher!, chain.account)).to.equal(0n);
    const refusal = await refuseAfterLoss(chain).then(() => "none", explainError);
    expect(refusal).to.match(
      new RegExp(`^The validator ${chain.account} has lost its stake of 1000 in block \\d+, half`),
    );
  }
  expect(await stakeAtRisk(publisher!, honest.chain.account), "who had sealed the truth").to.equal(STAKE);
  const { stake: address } = network.deployment;
  const held = await publisher!.client.getContractEvents({
    abi: validatorStakeAbi,
    address,
    eventName: "SealHeld",
    args: { taskId },
    fromBlock: 0n,
  });
  expect(held.map(({ args }) => args.validator)).to.deep.equal([silent!.account]);
  expect(await balanceOf(challenger!)).to.equal(10_000n * TOKEN + HALF_CANDIDATE + STAKE);
  const raised = (await disputes.challengesIn(taskId)).map(({ challenger: by, ofSeal, stage }) => [by, ofSeal, stage]);
  expect(raised).to.deep.equal([false, true, true].map((ofSeal) => [challenger!.account, ofSeal, "Refuted"]));
}

/** Its claimant says nothing when it is challenged; who did so insists before the validator too, and is wrong there. */
export async function upholdTrueSeal(network: LocalNetwork, honest: Honest): Promise<void> {
  const { log, signal } = network;
  const [publisher, claimant, attacker, challenger] = await Promise.all(
    [7, 8, 9, 10].map((index) => network.account(index)),
  );
  let candidate = await someCandidate();
  while (candidate.correct === 0) candidate = await someCandidate();
  const { model, file, root, predictions } = candidate;
  const { taskId, store, files, following } = await publish(network, publisher!, "losing");
  const registry = createRegistry(attacker!);
  const disputes = await disputesOf(attacker!);
  const own = await network.store("challenger of nobody");
  const watching = challengeIn(taskId, { chain: challenger!, ...own, log, signal });
  await bid(taskId, { chain: claimant!, file, root, predictions }, { files, store, signal });

  const sample = 7;
  const task = await registry.task(taskId);
  const sides = createDisputeSides(createDisputeFiles({ registry, store, files, signal, timeoutMs: 10_000 }));
  const truth = await sides.side(task, claimant!.account, sample);
  const side = doctored(truth, randomModel(random, model.architecture), sample);
  /** Plays what it has raised last, and has clocks ended, until it is decided. */
  const insist = async (ofSeal: boolean, onMove: (one: ChallengeInTask) => Promise<void>): Promise<void> => {
    for (;;) {
      const mine = (await disputes.challengesIn(taskId)).find((one) => one.ofSeal === ofSeal)!;
      if (!isOpen(mine.stage)) return;
      await unlessFirst(async () => {
        if ((await press(disputes, mine, await disputes.shown(mine.id), side)) === null)
          await tidy(disputes, mine, await attacker!.head());
      });
      await onMove(mine);
      await sleep(200, signal);
    }
  };
  await disputes.raise(taskId, sample, predictions);
  await insist(false, () => Promise.resolve());
  expect((await registry.commitmentOf(taskId, claimant!.account))!.state).to.equal("Eliminated");
  expect(await honest.has(file), "pinned before it was sealed").to.equal(true);

  await disputes.raiseAgainstSeal(taskId, claimant!.account, honest.chain.account, sample, predictions);
  let restarted = false;
  await insist(true, async ({ stage }) => {
    if (restarted || stage === "Trace") return;
    restarted = true;
    await honest.restart();
  });
  expect(restarted).to.equal(true);
  await Promise.all([following, watching]);
  await until(network, async () => (await balanceOf(honest.chain)) === 10_000n * TOKEN - STAKE + bond / 2n);
  expect(await stakeAtRisk(attacker!, honest.chain.account)).to.equal(STAKE);
  const raised = (await disputes.challengesIn(taskId)).map(({ challenger: by, ofSeal, stage }) => [by, ofSeal, stage]);
  expect(raised).to.deep.equal([
    [attacker!.account, false, "Refuted"],
    [attacker!.account, true, "Upheld"],
  ]);
  const said = honest.lines.filter((line) => line.includes("this validator has sealed a wrong prediction"));
  expect(said, "once in each life in which it is under way").to.have.length.within(1, 2);
  expect(said[0]).to.match(
    /of sample 7 for 0x\w{40} in task \d+; it answers by 20\S+Z, or loses its stake of 1000\.?0*$/,
  );
  expect(await balanceOf(challenger!), "who found nothing wrong").to.equal(10_000n * TOKEN);
}

/**
 * A friend has refuted the malformed model by a prediction, before anybody could show that it is malformed. That every
 * other value of it is right does not help those who vouched for it.
 */
export async function slashForMalformedModel(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const [publisher, claimant, friend, colluder, challenger] = await Promise.all(
    [11, 12, 13, 14, 15].map((index) => network.account(index)),
  );
  const { model, predictions } = await someCandidate();
  model.layers[0]!.weights[3] = linearLayers(model.architecture)[0]!.weightMax + 1;
  const { labels } = dataset.test;
  const cooked = predictions.with(0, labels[0]!);
  await ensureStake(STAKE, { chain: colluder!, log });
  const { taskId, store, files, following } = await publish(network, publisher!, "malformed");
  const registry = createRegistry(friend!);
  const disputes = await disputesOf(friend!);
  const offer = { chain: claimant!, file: encodeModel(model), root: modelRoot(model), predictions: cooked };
  await Promise.all([
    bid(taskId, offer, { files, store, signal }),
    vouch(taskId, colluder!, claimant!.account, cooked),
  ]);

  await disputes.raise(taskId, 0, cooked);
  await until(network, async () => {
    for (const one of await disputes.challengesIn(taskId))
      if (isOpen(one.stage)) await unlessFirst(async () => tidy(disputes, one, await friend!.head()));
    return (await registry.commitmentOf(taskId, claimant!.account))!.state === "Eliminated";
  });
  const own = await network.store("challenger of the malformed");
  await Promise.all([following, challengeIn(taskId, { chain: challenger!, ...own, log, signal })]);
  const { models } = disputes;
  expect(await models.isShownMalformed(taskId, claimant!.account)).to.equal(true);
  expect(await models.slashed(taskId, claimant!.account)).to.deep.equal([colluder!.account]);
  expect(await stakeAtRisk(publisher!, colluder!.account)).to.equal(0n);
  expect(await balanceOf(challenger!)).to.equal(10_000n * TOKEN + STAKE / 2n);
}
