import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";
import { pino } from "pino";

import type { Registry, TaskState } from "../../offchain/agents/registry.ts";
import { createStateFolder, tieToDeployment } from "../../offchain/agents/state-folder.ts";
import { createTaskChoice } from "../../offchain/agents/task-choice.ts";
import { fetchDescriptor, fetchSamples, taskDescriptorSchema } from "../../offchain/agents/task-descriptor.ts";
import { createWorkList } from "../../offchain/agents/work-list.ts";
import { parseWith } from "../../offchain/protocol/architecture.ts";
import { spaceHash, ZERO_HASH } from "../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { cidOf } from "../../offchain/storage/cid.ts";
import type { ModelStore } from "../../offchain/storage/model-store.ts";
import { encodeSamples } from "../../offchain/training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../offchain/training/settings.ts";
import { dataset, space, template } from "./noise-task.ts";

const silent = pino({ level: "silent" });
const { signal } = new AbortController();

async function sentenceOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    expect(error).to.be.instanceOf(PonasError);
    return (error as PonasError).message;
  }
  throw new Error("it did not fail");
}

describe("A state folder", () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "ponas-state-"))));
  afterEach(() => rmSync(dir, { recursive: true }));

  const chainOf = (genesis: string, registry = "0xabc"): ChainClient =>
    ({
      client: { getBlock: () => Promise.resolve({ hash: genesis }) },
      deployment: { chainId: 31337, registry },
    }) as unknown as ChainClient;

  it("belongs to one deployment: tasks of another have the same numbers", async () => {
    const state = createStateFolder(dir);
    await tieToDeployment(state, chainOf("0x01"));
    await tieToDeployment(state, chainOf("0x01"));
    const refusal = `The state folder ${dir} belongs to another chain or deployment.`;
    expect(await sentenceOf(tieToDeployment(state, chainOf("0x02")))).to.equal(refusal);
    expect(await sentenceOf(tieToDeployment(state, chainOf("0x01", "0xdef")))).to.equal(refusal);
  });

  it("remembers the tasks with work in them in the order in which they were taken up", () => {
    const state = createStateFolder(dir);
    const work = createWorkList(state, "solo");
    expect(work.all()).to.deep.equal([]);
    for (const id of [3n, 9n, 3n, 4n]) work.add(id);
    expect(createWorkList(createStateFolder(dir), "solo").all()).to.deep.equal([9n, 3n, 4n]);
    work.remove(3n);
    work.remove(77n);
    expect(work.all()).to.deep.equal([9n, 4n]);
    expect(createWorkList(state, "pool").all()).to.deep.equal([]);
  });

  it("says in one sentence which of its files is damaged", async () => {
    const state = createStateFolder(dir);
    createWorkList(state, "solo").add(1n);
    writeFileSync(join(dir, "under-way/solo.json"), '{"tasks":["1"');
    const read = (): Promise<unknown> => Promise.resolve().then(() => createWorkList(state, "solo").all());
    expect(await sentenceOf(read())).to.equal(`The state file ${dir}/under-way/solo.json is not JSON.`);
    writeFileSync(join(dir, "under-way/solo.json"), '{"tasks":[1]}');
    expect(await sentenceOf(read())).to.contain(`The state file ${dir}/under-way/solo.json is not valid at tasks.0`);
  });

  it("lists and removes, and does not mind what is not there", () => {
    const state = createStateFolder(dir);
    expect(state.list("tasks")).to.deep.equal([]);
    state.write("tasks/1/a.json", {});
    state.writeBytes("tasks/2/b", Buffer.from("x"));
    expect(state.list("tasks")).to.deep.equal(["1", "2"]);
    state.remove("tasks/1");
    state.remove("tasks/1");
    expect(state.list("tasks")).to.deep.equal(["2"]);
  });
});

describe("The choice of a task", () => {
  const registryOf = (scores: Record<string, bigint>, trainingEnd = 1000n): Registry =>
    ({
      openTasks: () => Promise.resolve(Object.keys(scores).map(BigInt)),
      task: (id: bigint) =>
        Promise.resolve({ id, phase: "Training", schedule: { trainingEnd } } as unknown as TaskState),
      rankingScore: (id: bigint) => Promise.resolve(scores[String(id)]!),
    }) as Partial<Registry> as Registry;
  const at = (timestamp: bigint) => ({ number: 1n, hash: "0x00", timestamp }) as const;
  const choiceOf = (registry: Registry) => createTaskChoice({ registry, commitMargin: 60, log: silent });

  it("falls on the lowest ranking score that leaves time", async () => {
    const choice = choiceOf(registryOf({ 1: 30n, 2: 10n, 3: 20n }));
    expect((await choice.choose(at(880n)))!.id).to.equal(2n);
    expect(await choice.choose(at(881n))).to.equal(undefined);
  });

  it("falls on what was under way before a restart, where that leaves time", async () => {
    const choice = choiceOf(registryOf({ 1: 30n, 2: 10n }));
    expect((await choice.choose(at(100n), 1n))!.id).to.equal(1n);
    expect((await choice.choose(at(100n), 8n))!.id).to.equal(2n);
  });

  it("passes over a task that cannot be worked on, longer each time, and takes the next best", async () => {
    const choice = choiceOf(registryOf({ 1: 30n, 2: 10n }));
    const chosenAt = async (time: bigint): Promise<bigint> => (await choice.choose(at(time), 2n))!.id;
    choice.passOver(2n, at(100n), new PonasError("unavailable", "Its data did not arrive."));
    expect([await chosenAt(100n), await chosenAt(129n), await chosenAt(130n)]).to.deep.equal([1n, 1n, 2n]);
    choice.passOver(2n, at(130n), new PonasError("unavailable", "Its data did not arrive."));
    expect([await chosenAt(189n), await chosenAt(190n)]).to.deep.equal([1n, 2n]);
  });
});

describe("A hostile descriptor", () => {
  const caps: number[] = [];
  const storeOf = (bytes: Uint8Array): ModelStore =>
    ({
      get: (_cid: unknown, { maxBytes }: { maxBytes: number }) => {
        caps.push(maxBytes);
        return Promise.resolve(bytes);
      },
    }) as Partial<ModelStore> as ModelStore;
  const optionsOf = (bytes: Uint8Array) => ({ store: storeOf(bytes), signal, timeoutMs: 1000 });
  const descriptorOf = async (changes: Record<string, unknown> = {}) => {
    const file = { cid: (await cidOf(encodeSamples(dataset.train))).toString(), count: 16 };
    return {
      version: 1,
      title: "noise",
      template,
      space,
      data: { train: file, validation: file, encryptedTest: { ...file, count: 64 } },
      training: DEFAULT_TRAINING_SETTINGS,
      ...changes,
    };
  };
  const task = async (bytes: Uint8Array) => {
    const { bytes: cid } = await cidOf(bytes);
    const descriptorCid = `0x${Buffer.from(cid).toString("hex")}` as const;
    return { id: 5n, descriptorCid, spaceHash: spaceHash(space, template), testRoot: ZERO_HASH, testCount: 64 };
  };
  const refusalOf = async (value: unknown): Promise<string> => {
    const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    return sentenceOf(fetchDescriptor(await task(bytes), optionsOf(bytes)));
  };

  it("is refused in one sentence, whatever is wrong with it", async () => {
    const what = "The descriptor of task 5";
    expect(await refusalOf("{")).to.equal(`${what} is not JSON.`);
    expect(await refusalOf(await descriptorOf({ version: 2 }))).to.contain(`${what} is not valid at version`);
    const many = { ...space, filters: Array.from({ length: 1e5 }, (_, i) => i % 65536) };
    expect(await refusalOf(await descriptorOf({ space: many }))).to.equal(
      `${what} is not valid at space: more than 256 choices of a hyperparameter.`,
    );
    const other = { ...space, filters: [1] };
    expect(await refusalOf(await descriptorOf({ space: other }))).to.equal(
      `${what} has another search space or template than the chain says.`,
    );
    const nothing = { ...template, input: [0, 8, 1] };
    expect(await refusalOf(await descriptorOf({ template: nothing }))).to.contain(
      `${what} is not valid at template.input`,
    );
    const { data } = await descriptorOf();
    const short = { ...data, encryptedTest: { ...data.encryptedTest, count: 63 } };
    expect(await refusalOf(await descriptorOf({ data: short }))).to.equal(
      `${what} has 63 test samples, the chain says 64.`,
    );
    const located = { ...(await task(Buffer.from("x"))), descriptorCid: "0x0badc1d0" as const };
    expect(await sentenceOf(fetchDescriptor(located, optionsOf(Buffer.from("x"))))).to.equal(
      `${what} has no valid CID on chain.`,
    );
  });

  it("cannot make anybody fetch more than its samples take, or more than a machine has room for", async () => {
    const descriptor = parseWith(taskDescriptorSchema, await descriptorOf(), "It");
    caps.length = 0;
    const samples = await fetchSamples(descriptor, "train", optionsOf(encodeSamples(dataset.train)));
    expect(samples.count).to.equal(16);
    expect(caps).to.deep.equal([16 * 65]);
    const { data } = descriptor;
    const huge = {
      ...descriptor,
      data: { ...data, train: { ...data.train, count: 10_000_000 } },
      template: { ...template, input: [64, 64, 255] as [number, number, number] },
    };
    expect(await sentenceOf(fetchSamples(huge, "train", optionsOf(Buffer.alloc(1))))).to.contain(
      "The train file of 10000000 samples takes 10444810000000 bytes",
    );
    expect(caps).to.have.length(1);
  });

  it("is found out where its files are of another shape than its template", async () => {
    const descriptor = parseWith(taskDescriptorSchema, await descriptorOf(), "It");
    const wider = { ...descriptor, template: { ...template, input: [8, 9, 1] as [number, number, number] } };
    expect(await sentenceOf(fetchSamples(wider, "train", optionsOf(encodeSamples(dataset.train))))).to.contain(
      "is not a whole number of samples of 73 bytes",
    );
    const { data } = descriptor;
    const fewer = { ...descriptor, data: { ...data, train: { ...data.train, count: 17 } } };
    expect(await sentenceOf(fetchSamples(fewer, "train", optionsOf(encodeSamples(dataset.train))))).to.equal(
      "The train file has 16 samples, the task says 17.",
    );
  });
});
