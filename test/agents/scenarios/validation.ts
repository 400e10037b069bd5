/** Validators against claims and test sets of every bad kind. */
import { expect } from "chai";

import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry, toHex, type Registry } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { shapeOf } from "../../../offchain/agents/task-descriptor.ts";
import { evaluateModel, type Evaluation } from "../../../offchain/evaluation/evaluate.ts";
import {
  claimSeal,
  commitmentHash,
  commitTestSet,
  keyHash,
  resultHash,
  spaceHash,
  ZERO_HASH,
  type Hex,
  type TestSetShape,
} from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { cidOf } from "../../../offchain/storage/cid.ts";
import { encodeSamples, encryptTestSet, type Samples } from "../../../offchain/training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../../offchain/training/settings.ts";
import type { LocalNetwork } from "../local-network.ts";
import { dataset, planWith, someModel, someSamples, space, template, terms, TOKEN, untilPhase } from "../noise-task.ts";

interface Bid {
  readonly chain: ChainClient;
  readonly file: Uint8Array;
  readonly root: Hex;
  /** what it will open */
  readonly predictions: Uint8Array;
  readonly claimed: number;
}

/** Bounds of the task with bad models: one in five networks of its space keeps them. */
const HARDWARE = { maxLuts: 3000, minThroughput: 5000 };

export async function passOverBadModels(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const publisher = await network.account(1);
  const { store } = await network.store("publisher");
  const state = createStateFolder(`${network.dir}/publisher-state`);
  const shared = { chain: publisher, store, state, log, signal };
  const { store: shelf, files } = await network.store("participants");
  const [first, second, third, fourth, fifth, sixth] = await Promise.all(
    [2, 3, 4, 5, 6, 7].map((index) => network.account(index)),
  );
  const taskId = await publishTask(planWith({}, HARDWARE), shared);
  const following = followTask(taskId, shared);

  const { labels } = dataset.test;
  /** Predictions with so many right. */
  const cooked = (right: number): Uint8Array => labels.map((label, i) => (i < right ? label : (label + 1) % 10));
  const truthOf = ({ file }: { file: Uint8Array }): Promise<Evaluation> =>
    evaluateModel(file, { ...dataset.test, maxBytes: terms.maxModelBytes });
  const liar = someModel(HARDWARE);
  const oversized = someModel(HARDWARE);
  const absent = someModel(HARDWARE);
  /** `untiled` is better, and true in everything but that nobody can see what it costs on the hardware. */
  const drawPair = async () => {
    const [honest, untiled] = [someModel(HARDWARE), someModel()];
    return { honest, untiled, truth: await truthOf(honest), untiledTruth: await truthOf(untiled) };
  };
  let pair = await drawPair();
  while (pair.truth.correct === 0 || pair.untiledTruth.correct <= pair.truth.correct) pair = await drawPair();
  const { honest, untiled, truth, untiledTruth } = pair;
  const bids: Record<string, Bid> = {
    liar: { chain: first!, ...liar, predictions: cooked(64), claimed: 64 },
    malformed: {
      chain: second!,
      file: Buffer.from("not a model at all"),
      root: ZERO_HASH.replace(/0$/, "1") as Hex,
      predictions: cooked(63),
      claimed: 63,
    },
    oversized: {
      chain: third!,
      file: Buffer.concat([oversized.file, Buffer.alloc(terms.maxModelBytes)]),
      root: oversized.root,
      predictions: cooked(62),
      claimed: 62,
    },
    absent: { chain: fourth!, ...absent, predictions: cooked(61), claimed: 61 },
    untiled: { chain: sixth!, ...untiled, predictions: untiledTruth.predictions, claimed: untiledTruth.correct },
    honest: { chain: fifth!, ...honest, predictions: truth.predictions, claimed: truth.correct },
  };
  expect(untiledTruth.correct, "random models are right by chance now and then").to.be.at.most(60);

  const registryOf = ({ chain }: Bid): Registry => createRegistry(chain);
  const openings = new Map<string, Parameters<Registry["reveal"]>[1]>();
  await Promise.all(
    Object.entries(bids).map(async ([name, bid]) => {
      const { bytes: modelCid } = await cidOf(bid.file);
      const opening = {
        modelRoot: bid.root,
        modelCid,
        validationCorrect: 0,
        validationTotal: 16,
        salt: `0x${"ab".repeat(32)}` as Hex,
      };
      openings.set(name, opening);
      const { domain, account } = bid.chain;
      const registry = registryOf(bid);
      await registry.commit(await registry.task(taskId), commitmentHash(domain, taskId, account, opening));
      if (name !== "absent") await shelf.put(bid.file, { signal });
    }),
  );
  const watch = createRegistry(publisher);
  await untilPhase(watch, taskId, "Reveal");
  await Promise.all(
    Object.entries(bids).map(async ([name, bid]) => {
      const { domain, account } = bid.chain;
      const seal = claimSeal(domain, taskId, account, bid.root, resultHash(bid.predictions));
      await registryOf(bid).reveal(await watch.task(taskId), openings.get(name)!, bid.claimed, seal);
    }),
  );

  // Every claimant opens as soon as it may; what it opens is what it sealed.
  const order: string[] = [];
  for (;;) {
    const task = await untilPhase(watch, taskId, "Open", "Confirmed", "Void");
    if (task.phase !== "Open") break;
    const [name, bid] = Object.entries(bids).find(([, { chain }]) => chain.account === task.examined!.participant)!;
    order.push(name);
    const { commitment } = await files.testSet(task);
    const parts = { ...shapeOf(template), samplesRoot: commitment.samplesRoot };
    await registryOf(bid).open(taskId, bid.predictions, labels, parts);
  }
  await following;

  expect(order).to.deep.equal(["liar", "malformed", "oversized", "absent", "untiled", "honest"]);
  const block = await watch.blockOf(taskId);
  expect(block!.winner).to.equal(bids.honest!.chain.account);
  expect(block!.correct).to.equal(truth.correct);
  const states: Record<string, string> = {};
  for (const [name, { chain }] of Object.entries(bids)) {
    states[name] = (await watch.commitmentOf(taskId, chain.account))!.state;
  }
  expect(states).to.deep.equal({
    liar: "Eliminated",
    malformed: "Eliminated",
    oversized: "Eliminated",
    absent: "Unattested",
    untiled: "Eliminated",
    honest: "Winner",
  });
}

/** Two tasks: other samples than the root binds, and the same ones in other sizes, to which no model would be of use. */
export async function voteWrongTestSet(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const publisher = await network.account(10);
  const participant = await network.account(11);
  const registry = createRegistry(publisher);
  const { store } = await network.store("dishonest publisher");
  const key: Hex = `0x${"17".repeat(32)}`;
  const encrypt = (samples: Samples): Uint8Array =>
    encryptTestSet(encodeSamples(samples), Buffer.from(key.slice(2), "hex"));
  const put = async (bytes: Uint8Array): Promise<string> => (await store.put(bytes, { signal })).cid;
  const { pixels, labels } = dataset.test;
  const hash = keyHash(publisher.domain, publisher.account, key);
  const own = createRegistry(participant);
  const publish = async (released: Samples, shape: TestSetShape): Promise<bigint> => {
    const { cidBytes } = await store.put(
      Buffer.from(
        JSON.stringify({
          version: 1,
          title: "another test set than promised",
          template,
          space,
          data: {
            train: { cid: await put(encodeSamples(dataset.train)), count: 16 },
            validation: { cid: await put(encodeSamples(dataset.validation)), count: 16 },
            encryptedTest: { cid: await put(encrypt(released)), count: 64 },
          },
          training: DEFAULT_TRAINING_SETTINGS,
        }),
      ),
      { signal },
    );
    const taskId = await registry.publish({
      ...terms,
      descriptorCid: toHex(cidBytes),
      keyHash: hash,
      testRoot: commitTestSet(pixels, labels, shape).testRoot,
      spaceHash: spaceHash(space, template),
      testCount: 64,
    });
    await own.commit(await own.task(taskId), `0x${"42".repeat(32)}`);
    return taskId;
  };
  const shape = shapeOf(template);
  const taskIds = [
    await publish(someSamples(64), shape),
    await publish(dataset.test, { ...shape, height: shape.height / 2, width: 2 * shape.width }),
  ];

  const state = createStateFolder(`${network.dir}/dishonest-state`);
  state.write(`published/${hash}.json`, { key, keyHash: hash });
  await Promise.all(taskIds.map((taskId) => followTask(taskId, { chain: publisher, store, state, log, signal })));

  for (const taskId of taskIds) {
    const task = await registry.task(taskId);
    expect(task.phase).to.equal("Void");
    expect(task.voidReason).to.equal("TestSetRejected");
    await own.settle(taskId, participant.account);
  }
  // Its own bonds, and the halves of the publisher's that are not burned.
  expect(await own.credit(participant.account)).to.be.at.least(2n * (TOKEN + 5n * TOKEN));
}
