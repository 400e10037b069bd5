/** One lie and one foolish challenge, each played to its end on a chain, by agents that are killed in between. */
import { expect } from "chai";

import { createDefender } from "../../../offchain/agents/defender.ts";
import { answer, press, type Side } from "../../../offchain/agents/dispute-moves.ts";
import { createDisputeFiles, createDisputeSides } from "../../../offchain/agents/dispute-sides.ts";
import {
  createDisputesContract,
  isOpen,
  type Challenge,
  type ChallengeStage,
  type DisputesContract,
} from "../../../offchain/agents/disputes-contract.ts";
import { reportDisputes, type DisputeReport } from "../../../offchain/agents/dispute-report.ts";
import { runDuties, type Duty } from "../../../offchain/agents/duties.ts";
import { createPartsPublisher } from "../../../offchain/agents/parts-publisher.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry, type Registry, type TaskState } from "../../../offchain/agents/registry.ts";
import { runChallenger } from "../../../offchain/agents/run-challenger.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { shapeOf } from "../../../offchain/agents/task-descriptor.ts";
import type { TaskFiles } from "../../../offchain/agents/task-files.ts";
import { ensureStake } from "../../../offchain/agents/stake.ts";
import { unitNames } from "../../../offchain/evaluation/model-parts.ts";
import { linearLayers } from "../../../offchain/evaluation/shapes.ts";
import { knowTrace } from "../../../offchain/evaluation/dispute-openings.ts";
import { predict } from "../../../offchain/evaluation/evaluate.ts";
import { encodeModel, modelRoot, type Model } from "../../../offchain/evaluation/model.ts";
import { referenceTrace } from "../../../offchain/evaluation/reference.ts";
import { localAssetAbi } from "../../../offchain/protocol/abi.ts";
import {
  claimSeal,
  commitmentHash,
  resultHash,
  validatorSeal,
  type Address,
  type Hex,
} from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { sampleArchitecture } from "../../../offchain/search/spaces.ts";
import { cidOf } from "../../../offchain/storage/cid.ts";
import type { ModelStore } from "../../../offchain/storage/model-store.ts";
import { randomModel } from "../../evaluation/random-model.ts";
import { DISPUTES, type LocalNetwork } from "../local-network.ts";
import { dataset, planWith, random, space, template, TOKEN, untilPhase } from "../noise-task.ts";

const { labels, pixels, count } = dataset.test;
/** Of the validator that vouches for a malformed model. */
const STAKE = 1000n * TOKEN;
const PIXELS = pixels.length / count;

/** A network, another one of the same shape, and a sample of which the other one is right and it is not. */
export interface Lie {
  readonly model: Model;
  readonly predictions: Uint8Array;
  readonly sample: number;
  readonly other: Model;
}

export async function someLie(): Promise<Lie> {
  for (;;) {
    const architecture = sampleArchitecture(template, space, random);
    const [model, other] = [randomModel(random, architecture), randomModel(random, architecture)];
    const truth = await predict(model, { pixels, count });
    const others = await predict(other, { pixels, count });
    const sample = truth.findIndex((prediction, i) => prediction !== labels[i] && others[i] === labels[i]);
    const right = truth.filter((prediction, i) => prediction === labels[i]).length;
    if (sample < 0 || right === 0) continue;
    return { model, other, sample, predictions: truth.with(sample, labels[sample]!) };
  }
}

/** What a side says that knows better: the same openings, with another network's trace. */
export function doctored(side: Side, other: Model, sample: number): Side {
  const own = pixels.subarray(sample * PIXELS, (sample + 1) * PIXELS);
  return { ...side, trace: knowTrace(other, own, referenceTrace(other, own)) };
}

export interface Bid {
  readonly chain: ChainClient;
  readonly file: Uint8Array;
  readonly root: Hex;
  readonly predictions: Uint8Array;
}

/** Commits, reveals and opens by hand what an agent would not. */
export async function bid(
  taskId: bigint,
  { chain, file, root, predictions }: Bid,
  { files, store, signal }: { files: TaskFiles; store: ModelStore | null; signal: AbortSignal },
): Promise<void> {
  const registry = createRegistry(chain);
  const { domain, account } = chain;
  const { bytes: modelCid } = await cidOf(file);
  const salt: Hex = `0x${"ab".repeat(32)}`;
  const opening = { modelRoot: root, modelCid, validationCorrect: 0, validationTotal: 16, salt };
  await registry.commit(await registry.task(taskId), commitmentHash(domain, taskId, account, opening));
  await store?.put(file, { signal });
  const task = await untilPhase(registry, taskId, "Reveal");
  const claimed = predictions.filter((prediction, i) => prediction === labels[i]).length;
  await registry.reveal(task, opening, claimed, claimSeal(domain, taskId, account, root, resultHash(predictions)));
  for (;;) {
    const { phase, examined } = await registry.task(taskId);
    if (phase === "Confirmed" || phase === "Void" || (examined?.opened === true && examined.participant === account))
      return;
    if (phase === "Open" && examined?.participant === account) {
      const { commitment } = await files.testSet(await registry.task(taskId));
      const parts = { ...shapeOf(template), samplesRoot: commitment.samplesRoot };
      return registry.open(taskId, predictions, labels, parts).then(() => undefined);
    }
    await sleep(200, signal);
  }
}

/** Runs an agent until a challenge has come to one of the stages, kills it, and runs another one from nothing. */
async function withRestart(
  run: (signal: AbortSignal) => Promise<void>,
  reached: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const death = new AbortController();
  const first = run(AbortSignal.any([signal, death.signal]));
  while (!(await reached())) await sleep(200, signal);
  death.abort();
  await first;
  await run(signal);
}

const stageReached = (disputes: DisputesContract, taskId: bigint, participant: Address, stages: ChallengeStage[]) => {
  return async (): Promise<boolean> =>
    (await disputes.challengesIn(taskId)).some((one) => one.participant === participant && stages.includes(one.stage));
};

/** The other's: no file that can be fetched, or no network that may count. */
async function playBadModels(network: LocalNetwork, challenger: ChainClient, signal: AbortSignal): Promise<void> {
  const { log } = network;
  const { store, files } = await network.store("bad participants");
  const [publisher, malformed, hoarder, colluder] = await Promise.all(
    [6, 7, 8, 9].map((index) => network.account(index)),
  );
  const cooked = (right: number) => labels.map((label, i) => (i < right ? label : (label + 1) % 10));
  const model = randomModel(random, sampleArchitecture(template, space, random));
  const stray = linearLayers(model.architecture)[0]!.weightMax + 1;
  model.layers[0]!.weights[3] = stray;
  const absent = randomModel(random, sampleArchitecture(template, space, random));
  await ensureStake(STAKE, { chain: colluder!, log });
  const shared = { chain: publisher!, store, state: createStateFolder(`${network.dir}/bad publisher`), log, signal };
  const taskId = await publishTask(
    planWith({ training: 6, testVote: 1, reveal: 5, seal: 3, open: 5, shortWindow: 10, longWindow: 10 }),
    shared,
  );
  const following = followTask(taskId, shared);
  const registry = createRegistry(colluder!);
  const vouch = async (): Promise<void> => {
    await untilPhase(registry, taskId, "Seal");
    const { account, domain } = colluder!;
    const candidate = (await registry.commitmentOf(taskId, malformed!.account))!;
    const result = resultHash(cooked(64));
    await registry.seal(taskId, malformed!.account, validatorSeal(domain, taskId, candidate.hash, account, result));
  };
  const bids = [
    { chain: malformed!, file: encodeModel(model), root: modelRoot(model), predictions: cooked(64), shelf: store },
    { chain: hoarder!, file: encodeModel(absent), root: modelRoot(absent), predictions: cooked(63), shelf: null },
  ];
  await Promise.all([...bids.map((one) => bid(taskId, one, { files, store: one.shelf, signal })), vouch()]);
  await following;

  const states = await Promise.all(bids.map(async ({ chain }) => (await registry.commitmentOf(taskId, chain.account))!.state)); // prettier-ignore
  expect(states).to.deep.equal(["Eliminated", "Eliminated"]);
  expect((await registry.task(taskId)).voidReason).to.equal("NoCandidate");
  const { models } = (await createDisputesContract(challenger))!;
  expect(await models.refutedByUs(taskId)).to.deep.equal([malformed!.account]);
  expect(await models.slashed(taskId, malformed!.account)).to.deep.equal([colluder!.account]);
  const demands = (await models.demandsIn(taskId)).map(({ participant, stage, unit }) => [participant, stage, unit]);
  expect(demands).to.deep.equal([[hoarder!.account, "Failed", null]]);
}

/**
 * Two tasks and one challenger: in one a lie by a single prediction and a fool, in the other a malformed model with a
 * validator that vouches for it, and one that nobody can fetch.
 */
export async function refuteTheLiarsOnly(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const publisher = await network.account(1);
  const { store, files } = await network.store("participants");
  const [liar, honest, challenger, fool] = await Promise.all([2, 3, 4, 5].map((index) => network.account(index)));
  // The liar claims one more than its model has, and the honest one less than that.
  const lie = await someLie();
  let decent = await someLie();
  const right = (predictions: Uint8Array) => predictions.filter((prediction, i) => prediction === labels[i]).length;
  const truthOf = ({ model }: Lie) => predict(model, { pixels, count });
  while (right(await truthOf(decent)) >= right(lie.predictions)) decent = await someLie();
  const bids = {
    liar: { chain: liar!, file: encodeModel(lie.model), root: modelRoot(lie.model), predictions: lie.predictions },
    honest: {
      chain: honest!,
      file: encodeModel(decent.model),
      root: modelRoot(decent.model),
      predictions: await truthOf(decent),
    },
  };

  const shared = { chain: publisher, store, state: createStateFolder(`${network.dir}/publisher`), log, signal };
  const taskId = await publishTask(
    planWith({ training: 6, testVote: 1, reveal: 5, seal: 2, open: 5, shortWindow: 10, longWindow: 10 }),
    shared,
  );
  const following = followTask(taskId, shared);
  const registry = createRegistry(publisher);
  const disputesOf = async (chain: ChainClient) => (await createDisputesContract(chain))!;
  const disputes = await disputesOf(publisher);
  const sidesOf = (registry: Registry) =>
    createDisputeSides(createDisputeFiles({ registry, store, files, signal, timeoutMs: 10_000 }));
  const finished = new AbortController();
  const running = AbortSignal.any([signal, finished.signal]);

  /** Answers as if the other network were its own. */
  const defendLie = async (): Promise<Duty> => {
    const own = await disputesOf(liar!);
    const sides = sidesOf(createRegistry(liar!));
    return {
      name: "lie",
      run: async () => {
        const task = await registry.task(taskId);
        for (const challenge of await own.challengesIn(taskId)) {
          if (challenge.participant !== liar!.account || !isOpen(challenge.stage)) continue;
          const side = await sides.side(task, liar!.account, challenge.sample);
          await answer(own, challenge, doctored(side, lie.other, challenge.sample));
        }
      },
    };
  };
  /** Challenges a true prediction, and insists on what another network makes of the sample. */
  const challengeTruth = async (): Promise<Duty> => {
    const own = await disputesOf(fool!);
    const sides = sidesOf(createRegistry(fool!));
    let raised: bigint | undefined;
    return {
      name: "insist",
      run: async () => {
        const task = await registry.task(taskId);
        const participant = honest!.account;
        if (task.phase !== "Window" || task.examined?.participant !== participant) return;
        if (raised === undefined) await own.raise(taskId, 7, (await own.predictionsOf(taskId, participant))!);
        const challenge: Challenge = (await own.challengesIn(taskId)).at(-1)!;
        raised = challenge.id;
        if (!isOpen(challenge.stage)) return true;
        const side = doctored(await sides.side(task, participant, 7), decent.other, 7);
        await press(own, challenge, await own.shown(challenge.id), side);
        return;
      },
    };
  };
  const balanceOf = (chain: ChainClient): Promise<bigint> =>
    chain.read({
      abi: localAssetAbi,
      address: network.deployment.asset,
      functionName: "balanceOf",
      args: [chain.account],
    });

  const { bond } = DISPUTES;
  let seen: DisputeReport | undefined;
  const midGame = async (): Promise<boolean> => {
    if (!(await stageReached(disputes, taskId, liar!.account, ["Rows", "Row", "Positions", "Column", "Values"])()))
      return false;
    const taskIds = [taskId];
    seen = await reportDisputes({ chain: publisher, registry, disputes, taskIds, all: false, sides: () => sidesOf(registry) }); // prettier-ignore
    return true;
  };
  const watching = withRestart(
    async (signal) => {
      const { files } = await network.store(`challenger-${Math.random()}`);
      await runChallenger({ chain: challenger!, store, files, log, signal, modelTimeoutMs: 5000 });
    },
    midGame,
    running,
  );
  const defending = withRestart(
    async (signal) => {
      const own = createRegistry(honest!);
      const defender = createDefender({
        taskId,
        chain: honest!,
        registry: own,
        disputes: await disputesOf(honest!),
        files: createDisputeFiles({ registry: own, store, files, signal, timeoutMs: 10_000 }),
        participant: honest!.account,
        log,
      });
      await runDuties({ chain: honest!, log, signal, duties: [defender] });
    },
    stageReached(disputes, taskId, honest!.account, ["Row", "Positions"]),
    running,
  );
  const dishonest = runDuties({ chain: liar!, log, signal: running, duties: [await defendLie()] });
  const foolish = runDuties({ chain: fool!, log, signal: running, duties: [await challengeTruth()] });
  const badModels = playBadModels(network, challenger!, signal);
  await Promise.all(Object.values(bids).map((one) => bid(taskId, one, { files, store, signal })));
  await following;
  await badModels;
  // Half of three candidates' bonds, and half of a validator's stake; its own bond and price come back.
  const won = (15n * TOKEN) / 2n + STAKE / 2n;
  for (let i = 0; i < 100 && (await balanceOf(challenger!)) < 10_000n * TOKEN + won; i++) await sleep(200, signal);
  finished.abort();
  await Promise.all([watching, defending, dishonest, foolish]);

  const { winner } = await registry.task(taskId);
  expect(winner).to.equal(honest!.account);
  const states = await Promise.all([liar, honest].map(async (one) => (await registry.commitmentOf(taskId, one!.account))!.state)); // prettier-ignore
  expect(states).to.deep.equal(["Eliminated", "Winner"]);
  const ended = (await disputes.challengesIn(taskId)).map(({ challenger, stage }) => [challenger, stage]);
  expect(ended).to.deep.equal([
    [challenger!.account, "Refuted"],
    [fool!.account, "Upheld"],
  ]);
  expect(await balanceOf(challenger!)).to.equal(10_000n * TOKEN + won);
  const { challenges } = seen!;
  expect(challenges).to.have.length(1);
  expect(challenges[0]).to.include({ candidate: liar!.account, sample: lie.sample, right: "challenger", unknown: null, bond }); // prettier-ignore
  expect(await balanceOf(fool!)).to.equal(10_000n * TOKEN - bond);
  expect(await disputes.creditOf(honest!.account), "half of the fool's bond").to.equal(bond / 2n);
}

/**
 * A lie about a model that no one can fetch: its claimant publishes every unit that is demanded, and what is put together
 * from them convicts it. A minute or three: every part is two transactions.
 */
export async function buyTheModel(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const { store, files } = await network.store("secretive participants");
  const [publisher, liar, challenger] = await Promise.all([10, 11, 12].map((index) => network.account(index)));
  const size = ({ model }: Lie): number => unitNames(model.architecture).length;
  let lie = await someLie();
  for (let i = 0; i < 60; i++) {
    const other = await someLie();
    if (size(other) < size(lie)) lie = other;
  }
  const shared = { chain: publisher!, store, state: createStateFolder(`${network.dir}/buying publisher`), log, signal };
  const taskId = await publishTask(
    planWith({ training: 6, testVote: 1, reveal: 5, seal: 3, open: 5, shortWindow: 10, longWindow: 40 }),
    shared,
  );
  const following = followTask(taskId, shared);
  const registry = createRegistry(liar!);
  const disputes = (await createDisputesContract(liar!))!;
  const finished = new AbortController();
  const running = AbortSignal.any([signal, finished.signal]);
  const { model, predictions } = lie;
  const file = encodeModel(model);
  const defence = {
    taskId,
    chain: liar!,
    registry,
    disputes,
    participant: liar!.account,
    files: {
      model: () => Promise.resolve(file),
      testSet: async (task: TaskState) => (await files.testSet(task)).samples,
    },
    log,
  };
  const duties = [createDefender(defence), createPartsPublisher(defence)];
  const answering = runDuties({ chain: liar!, log, signal: running, duties });
  const { store: own, files: ownFiles } = await network.store("buyer");
  const watching = runChallenger({ chain: challenger!, store: own, files: ownFiles, log, signal: running, modelTimeoutMs: 2000 }); // prettier-ignore
  await bid(taskId, { chain: liar!, file, root: modelRoot(model), predictions }, { files, store: null, signal });
  await following;
  finished.abort();
  await Promise.all([answering, watching]);

  expect((await registry.commitmentOf(taskId, liar!.account))!.state).to.equal("Eliminated");
  const demands = await disputes.models.demandsIn(taskId);
  expect(demands).to.have.length(1 + size(lie));
  expect(new Set(demands.map(({ stage }) => stage))).to.deep.equal(new Set(["Answered"]));
  const challenges = await disputes.challengesIn(taskId);
  expect(challenges.map(({ stage, sample }) => [stage, sample])).to.deep.equal([["Refuted", lie.sample]]);
}
