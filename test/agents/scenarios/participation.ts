/** Claimants with bad luck: what can be lost, is. */
import { rmSync } from "node:fs";

import { expect } from "chai";

import { createClaimant, type BestModel } from "../../../offchain/agents/claimant.ts";
import { runDuties } from "../../../offchain/agents/duties.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry, toHex, withdrawCredit, type CommitmentState } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { shapeOf } from "../../../offchain/agents/task-descriptor.ts";
import type { TaskFiles } from "../../../offchain/agents/task-files.ts";
import { evaluateModel } from "../../../offchain/evaluation/evaluate.ts";
import { localAssetAbi } from "../../../offchain/protocol/abi.ts";
import { commitTestSet, keyHash, spaceHash, type Hex } from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { cidOf } from "../../../offchain/storage/cid.ts";
import type { ModelStore } from "../../../offchain/storage/model-store.ts";
import { encodeSamples } from "../../../offchain/training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../../offchain/training/settings.ts";
import type { LocalNetwork } from "../local-network.ts";
import { dataset, planWith, someModel, space, template, terms, TOKEN } from "../noise-task.ts";

/** A model with at least one right on the test set, as a search would have found it. */
async function honestModel(): Promise<BestModel> {
  for (;;) {
    const { file, root } = someModel();
    const { correct } = await evaluateModel(file, { ...dataset.test, maxBytes: terms.maxModelBytes });
    if (correct > 0) return { bytes: file, modelRoot: root, correct: 3, total: 16 };
  }
}

interface Claiming {
  readonly chain: ChainClient;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly model: BestModel;
}

const noTestSet = (files: TaskFiles): TaskFiles => ({
  ...files,
  testSet: () => Promise.reject(new PonasError("unavailable", "The test set did not arrive.")),
});

export async function outliveBadLuck(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const publisher = await network.account(25);
  const { store: shelf } = await network.store("plain publisher");
  const shared = { chain: publisher, store: shelf, state: createStateFolder(`${network.dir}/plain`), log, signal };
  const { store, files } = await network.store("claimants");
  const people = {
    wiped: { chain: await network.account(26), store, files, model: await honestModel() },
    blind: { chain: await network.account(27), store, files: noTestSet(files), model: await honestModel() },
    poor: { chain: await network.account(28, { tokens: 1n }), store, files, model: await honestModel() },
  };
  const taskId = await publishTask(planWith({ training: 12, reveal: 15 }), shared);
  const following = followTask(taskId, shared);

  const claim = async ({ chain, store, files, model }: Claiming, name: string, signal: AbortSignal): Promise<void> => {
    const registry = createRegistry(chain);
    const participant = chain.account;
    const duty = createClaimant({
      taskId,
      chain,
      registry,
      participation: {
        participant,
        commit: registry.commit,
        reveal: registry.reveal,
        collect: async () => {
          await registry.settle(taskId, participant);
          await withdrawCredit(registry, chain, log);
          return true;
        },
      },
      files,
      store,
      state: createStateFolder(`${network.dir}/${name}`),
      best: () => Promise.resolve(model),
      log,
      signal,
      commitMargin: 10,
    });
    await runDuties({ chain, log, signal, duties: [duty] });
  };
  /** Runs until the commitment is in that state, then dies and loses its disk. */
  const dieAt = async (person: Claiming, state: CommitmentState): Promise<void> => {
    const death = new AbortController();
    const running = claim(person, "wiped", AbortSignal.any([signal, death.signal]));
    const registry = createRegistry(person.chain);
    while ((await registry.commitmentOf(taskId, person.chain.account))?.state !== state) await sleep(100);
    death.abort();
    await running;
    rmSync(`${network.dir}/wiped`, { recursive: true });
  };

  await Promise.all([
    (async () => {
      await dieAt(people.wiped, "Committed");
      await dieAt(people.wiped, "Candidate");
      await claim(people.wiped, "wiped", signal);
    })(),
    claim(people.blind, "blind", signal),
    claim(people.poor, "poor", signal),
  ]);
  await following;

  const registry = createRegistry(publisher);
  expect((await registry.task(taskId)).winner).to.equal(people.wiped.chain.account);
  const balances: Record<string, bigint> = {};
  for (const [name, { chain }] of Object.entries(people)) {
    const at = { abi: localAssetAbi, address: network.deployment.asset } as const;
    balances[name] = await chain.read({ ...at, functionName: "balanceOf", args: [chain.account] });
  }
  expect(balances).to.deep.equal({ wiped: 10_100n * TOKEN, blind: 10_000n * TOKEN, poor: TOKEN });
}

export async function withdrawFromAbsentTestSet(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const publisher = await network.account(29);
  const participant = await network.account(30);
  const registry = createRegistry(publisher);
  const { store } = await network.store("withholding publisher");
  const put = async (bytes: Uint8Array): Promise<string> => (await store.put(bytes, { signal })).cid;
  const nowhere = await cidOf(Buffer.from("a file that nobody has"));
  const descriptor = {
    version: 1,
    title: "a test set that is not published",
    template,
    space,
    data: {
      train: { cid: await put(encodeSamples(dataset.train)), count: 16 },
      validation: { cid: await put(encodeSamples(dataset.validation)), count: 16 },
      encryptedTest: { cid: nowhere.toString(), count: 64 },
    },
    training: DEFAULT_TRAINING_SETTINGS,
  };
  const { cidBytes } = await store.put(Buffer.from(JSON.stringify(descriptor)), { signal });
  const key: Hex = `0x${"18".repeat(32)}`;
  const hash = keyHash(publisher.domain, publisher.account, key);
  const taskId = await registry.publish({
    ...planWith({ training: 8, testVote: 14 }).terms,
    descriptorCid: toHex(cidBytes),
    keyHash: hash,
    testRoot: commitTestSet(dataset.test.pixels, dataset.test.labels, shapeOf(template)).testRoot,
    spaceHash: spaceHash(space, template),
    testCount: 64,
  });
  const own = createRegistry(participant);
  await own.commit(await own.task(taskId), `0x${"43".repeat(32)}`);
  const state = createStateFolder(`${network.dir}/withholding`);
  state.write(`published/${hash}.json`, { key, keyHash: hash });
  await followTask(taskId, { chain: publisher, store, state, log, signal });

  expect((await registry.task(taskId)).voidReason).to.equal("TestSetRejected");
  await own.settle(taskId, participant.account);
  expect(await own.credit(participant.account), "its bond and the publisher's half").to.be.at.least(6n * TOKEN);
}
