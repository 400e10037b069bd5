import { expect } from "chai";

import { followTask, publishTask, type TaskPlan } from "../../offchain/agents/publisher.ts";
import { createRegistry, toHex, type Registry, type TaskState } from "../../offchain/agents/registry.ts";
import { createStateFolder } from "../../offchain/agents/state-folder.ts";
import { shapeOf } from "../../offchain/agents/task-descriptor.ts";
import { ensureStake, runValidator } from "../../offchain/agents/validator.ts";
import { evaluateModel } from "../../offchain/evaluation/evaluate.ts";
import { encodeModel, modelRoot } from "../../offchain/evaluation/model.ts";
import {
  claimSeal,
  commitmentHash,
  commitTestSet,
  keyHash,
  resultHash,
  spaceHash,
  ZERO_HASH,
  type Hex,
} from "../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { sampleArchitecture, spaceByName } from "../../offchain/search/spaces.ts";
import { cidOf } from "../../offchain/storage/cid.ts";
import { encodeSamples, encryptTestSet, type Dataset, type Samples } from "../../offchain/training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../offchain/training/settings.ts";
import { randomModel } from "../evaluation/random-model.ts";
import { startLocalNetwork, type LocalNetwork } from "./local-network.ts";

const random = createRandom("agents' validation");
const TOKEN = 10n ** 18n;

function someSamples(count: number): Samples {
  return {
    pixels: Uint8Array.from({ length: count * 64 }, () => random.integer(256)),
    labels: Uint8Array.from({ length: count }, () => random.integer(10)),
    count,
  };
}

const dataset: Dataset = {
  name: "noise",
  height: 8,
  width: 8,
  channels: 1,
  classes: 10,
  train: someSamples(16),
  validation: someSamples(16),
  test: someSamples(64),
};
const space = spaceByName("demo");
const template: TaskPlan["template"] = {
  input: [8, 8, 1],
  classes: 10,
  depth: 6,
  head: { pool: "flatten", hidden: 0 },
};
const terms: TaskPlan["terms"] = {
  minCorrect: 1,
  maxModelBytes: 300_000,
  maxLuts: 0,
  minThroughput: 0,
  candidateBondBps: 500,
  difficulty: { flops: 1n, networkFlops: 1n, modelBytes: 1n, dataBytes: 1n, bandwidth: 1n },
  phases: {
    initialisation: 0,
    training: 15,
    keyRelease: 20,
    testVote: 5,
    reveal: 8,
    seal: 6,
    open: 4,
    shortWindow: 1,
    longWindow: 4,
  },
  reward: 100n * TOKEN,
  publisherBond: 10n * TOKEN,
  commitBond: TOKEN,
  commitFee: 0n,
  validatorFee: 3n * TOKEN,
};

interface Bid {
  readonly chain: ChainClient;
  readonly file: Uint8Array;
  readonly root: Hex;
  /** what it will open */
  readonly predictions: Uint8Array;
  readonly claimed: number;
}

describe("Validators", function () {
  this.timeout(240_000);
  let network: LocalNetwork;
  const daemons: Promise<void>[] = [];

  before(async () => {
    network = await startLocalNetwork();
    const { log, signal } = network;
    for (const index of [7, 8]) {
      const chain = await network.account(index);
      const { store, files } = await network.store(`validator-${index}`);
      await ensureStake(1000n * TOKEN, { chain, log });
      daemons.push(runValidator({ chain, store, files, log, signal, modelTimeoutMs: 1500 }));
    }
  });

  after(async () => {
    await network.stop();
    await Promise.all(daemons);
  });

  const untilPhase = async (registry: Registry, id: bigint, ...phases: TaskState["phase"][]): Promise<TaskState> => {
    for (;;) {
      const task = await registry.task(id);
      if (phases.includes(task.phase)) return task;
      await sleep(200);
    }
  };

  it("pass over liars, malformed, oversized and absent models, and confirm the honest one", async () => {
    const { log, signal } = network;
    const publisher = await network.account(1);
    const { store } = await network.store("publisher");
    const state = createStateFolder(`${network.dir}/publisher-state`);
    const shared = { chain: publisher, store, state, log, signal };
    const plan: TaskPlan = { title: "noise", dataset, space, template, training: DEFAULT_TRAINING_SETTINGS, terms };
    const { store: shelf, files } = await network.store("participants");
    const [first, second, third, fourth, fifth] = await Promise.all([2, 3, 4, 5, 6].map(network.account));
    const taskId = await publishTask(plan, shared);
    const following = followTask(taskId, shared);

    const { labels } = dataset.test;
    const model = (): { file: Uint8Array; root: Hex } => {
      const made = randomModel(random, sampleArchitecture(template, space, random));
      return { file: encodeModel(made), root: modelRoot(made) };
    };
    /** Predictions with so many right. */
    const cooked = (right: number): Uint8Array => labels.map((label, i) => (i < right ? label : (label + 1) % 10));
    const liar = model();
    const oversized = model();
    const absent = model();
    const honest = model();
    const truth = await evaluateModel(honest.file, { ...dataset.test, maxBytes: terms.maxModelBytes });
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
      honest: { chain: fifth!, ...honest, predictions: truth.predictions, claimed: truth.correct },
    };
    expect(truth.correct, "the honest model is right by chance now and then").to.be.within(1, 60);

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

    expect(order).to.deep.equal(["liar", "malformed", "oversized", "absent", "honest"]);
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
      honest: "Winner",
    });
  });

  it("vote a test set void that is not the committed one, and everyone is made good", async () => {
    const { log, signal } = network;
    const publisher = await network.account(10);
    const participant = await network.account(11);
    const registry = createRegistry(publisher);
    const { store } = await network.store("dishonest publisher");
    const key: Hex = `0x${"17".repeat(32)}`;
    const encrypt = (samples: Samples): Uint8Array =>
      encryptTestSet(encodeSamples(samples), Buffer.from(key.slice(2), "hex"));
    const put = async (bytes: Uint8Array): Promise<string> => (await store.put(bytes, { signal })).cid;
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
            encryptedTest: { cid: await put(encrypt(someSamples(64))), count: 64 },
          },
          training: DEFAULT_TRAINING_SETTINGS,
        }),
      ),
      { signal },
    );
    const hash = keyHash(publisher.domain, publisher.account, key);
    const taskId = await registry.publish({
      ...terms,
      descriptorCid: toHex(cidBytes),
      keyHash: hash,
      testRoot: commitTestSet(dataset.test.pixels, dataset.test.labels, shapeOf(template)).testRoot,
      spaceHash: spaceHash(space),
      testCount: 64,
    });
    const own = createRegistry(participant);
    await own.commit(await own.task(taskId), `0x${"42".repeat(32)}`);

    const state = createStateFolder(`${network.dir}/dishonest-state`);
    state.write(`published/${hash}.json`, { key, keyHash: hash });
    await followTask(taskId, { chain: publisher, store, state, log, signal });

    const task = await registry.task(taskId);
    expect(task.phase).to.equal("Void");
    expect(task.voidReason).to.equal("TestSetRejected");
    await own.settle(taskId, participant.account);
    // Its own bond, and the half of the publisher's that is not burned.
    expect(await own.credit(participant.account)).to.be.at.least(TOKEN + 5n * TOKEN);
  });
});
