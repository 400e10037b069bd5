import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";
import { pino } from "pino";

import { createClaimant, type BestModel, type Participation } from "../../offchain/agents/claimant.ts";
import type { CommitmentView, Registry, TaskState } from "../../offchain/agents/registry.ts";
import { createStateFolder } from "../../offchain/agents/state-folder.ts";
import type { TaskFiles } from "../../offchain/agents/task-files.ts";
import { validatorSeal, type Address, type Hex } from "../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import type { ModelStore } from "../../offchain/storage/model-store.ts";
import { someModel } from "./noise-task.ts";

const ME = "0x0000000000000000000000000000000000000011";
const OTHER = "0x0000000000000000000000000000000000000022";

/** A participant in its training phase, from 0 to 100 s, on a chain of which only the commitments matter. */
function world(dir: string) {
  const sent: Hex[] = [];
  let live: Hex | undefined;
  let model: BestModel | undefined;
  let fate: "mined" | "lost" = "mined";
  const task = {
    id: 1n,
    phase: "Training",
    maxModelBytes: 300_000,
    schedule: { trainingEnd: 100n },
  } as unknown as TaskState;
  const registry = {
    task: () => Promise.resolve(task),
    commitmentOf: () =>
      Promise.resolve(live === undefined ? undefined : ({ hash: live, state: "Committed" } as CommitmentView)),
  } as unknown as Registry;
  const chain = {
    account: ME,
    domain: { chainId: 1n, registry: ME },
    signText: (text: string) => Promise.resolve(`0x${Buffer.from(text).toString("hex")}` as Hex),
  } as unknown as ChainClient;
  const nothing = {} as unknown;
  const start = () =>
    createClaimant({
      taskId: 1n,
      chain,
      registry,
      participation: {
        participant: ME,
        commit: (_task, commitment) => {
          sent.push(commitment);
          if (fate === "lost") return Promise.reject(new PonasError("unavailable", "Killed before it was mined."));
          live = commitment;
          return Promise.resolve();
        },
        reveal: () => Promise.resolve(),
        collect: () => Promise.resolve(true),
      },
      files: nothing as TaskFiles,
      store: nothing as ModelStore,
      state: createStateFolder(dir),
      best: () => Promise.resolve(model),
      log: pino({ level: "silent" }),
      signal: new AbortController().signal,
      commitMargin: 20,
    });
  return {
    sent,
    start,
    at: (timestamp: bigint) => ({ number: 1n, hash: "0x00", timestamp }) as const,
    find: (correct: number, bytes?: Uint8Array) => {
      const { file, root } = someModel();
      model = { bytes: bytes ?? file, modelRoot: root, correct, total: 100 };
    },
    fate: (next: "mined" | "lost") => (fate = next),
  };
}

/** An opened candidate, from second 100 on, with a short window of 20 s and a long one of 60 s. */
function openedWorld(change: { participant?: Address; quorum?: boolean } = {}) {
  const sent: Address[][] = [];
  const commitment: Hex = `0x${"c0".repeat(32)}`;
  const [result, other]: Hex[] = [`0x${"01".repeat(32)}`, `0x${"02".repeat(32)}`];
  const domain = { chainId: 1n, registry: ME } as const;
  const validators = Array.from({ length: 130 }, (_, i): Address => `0x${(i + 1).toString(16).padStart(40, "0")}`);
  const seals = validators.map((validator, index) => ({
    validator,
    stake: 1n,
    // the third has found something else, the fourth has copied the second's seal, the fifth has shown its own
    seal: validatorSeal(domain, 1n, commitment, validators[index === 3 ? 1 : index]!, index === 2 ? other! : result!),
    attested: index === 4,
  }));
  const task = {
    id: 1n,
    phase: "Window",
    phases: { shortWindow: 20, longWindow: 60 },
    examined: { participant: ME, opened: true, openedAt: 100n, result, quorum: false, ...change },
  } as unknown as TaskState;
  const registry = {
    task: () => Promise.resolve(task),
    commitmentOf: () => Promise.resolve({ hash: commitment, state: "Winner" } as CommitmentView),
    sealsOf: () => Promise.resolve(seals),
    attest: (_id: bigint, named: readonly Address[]) => {
      sent.push([...named]);
      for (const seal of seals) if (named.includes(seal.validator)) seal.attested = true;
      return Promise.resolve();
    },
  } as unknown as Registry;
  const start = (dir: string) =>
    createClaimant({
      taskId: 1n,
      chain: { account: ME, domain } as unknown as ChainClient,
      registry,
      participation: { participant: ME } as unknown as Participation,
      files: {} as TaskFiles,
      store: {} as ModelStore,
      state: createStateFolder(dir),
      best: () => Promise.resolve(undefined),
      log: pino({ level: "silent" }),
      signal: new AbortController().signal,
      commitMargin: 20,
    });
  return { sent, start, validators, at: (timestamp: bigint) => ({ number: 1n, hash: "0x00", timestamp }) as const };
}

describe("A claimant whose candidate was opened", () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "ponas-claimant-"))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it("leaves validators half of the short window to attest, then attests for those that agree and stay silent", async () => {
    const { sent, start, validators, at } = openedWorld();
    const duty = start(dir);
    await duty.run(at(109n));
    expect(sent).to.have.length(0);
    await duty.run(at(110n));
    const agreeing = validators.filter((_, index) => ![2, 3, 4].includes(index));
    expect(sent, "at most a hundred at once").to.deep.equal([agreeing.slice(0, 100)]);
    await start(dir).run(at(111n)); // after a restart
    expect(sent[1]).to.deep.equal(agreeing.slice(100));
    await duty.run(at(112n));
    expect(sent, "none twice").to.have.length(2);
  });

  it("attests for nobody once a quorum agrees, nor for another's candidate", async () => {
    for (const change of [{ quorum: true }, { participant: OTHER as Address }]) {
      const { sent, start, at } = openedWorld(change);
      await start(dir).run(at(150n));
      expect(sent).to.have.length(0);
    }
  });
});

describe("A claimant in the training phase", () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "ponas-claimant-"))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it("commits at the margin and not before, and once", async () => {
    const { sent, start, at, find } = world(dir);
    const duty = start();
    await duty.run(at(90n));
    find(50);
    await duty.run(at(79n));
    expect(sent).to.have.length(0);
    await duty.run(at(80n));
    await duty.run(at(81n));
    await start().run(at(82n)); // after a restart
    expect(sent).to.have.length(1);
  });

  it("replaces its commitment for better models that come late, but not without end", async () => {
    const { sent, start, at, find } = world(dir);
    for (const [second, correct] of [50, 49, 51, 52, 53, 54].entries()) {
      find(correct);
      await start().run(at(80n + BigInt(second)));
    }
    expect(sent, "each one burns a fee: 50, 51, 52").to.have.length(3);
    expect(new Set(sent).size).to.equal(3);
  });

  it("sends again what was killed before it was mined, and what it sent first stays openable", async () => {
    const { sent, start, at, find, fate } = world(dir);
    fate("lost");
    find(50);
    for (const second of [80n, 81n, 82n, 83n])
      await start()
        .run(at(second))
        .catch(() => undefined);
    expect(new Set(sent).size).to.equal(1);
    expect(sent).to.have.length(4);
    const kept = readdirSync(join(dir, "tasks", "1", ME));
    expect(kept, "written before it is sent").to.include(`${sent[0]}.json`);
    fate("mined");
    await start().run(at(84n));
    find(60);
    await start().run(at(85n));
    expect(new Set(sent).size, "tries of one commitment count once").to.equal(2);
  });

  it("never commits a model over the task's cap", async () => {
    const { sent, start, at, find } = world(dir);
    find(50, new Uint8Array(300_001));
    const error = await start()
      .run(at(80n))
      .catch((reason: unknown) => reason);
    expect((error as PonasError).message).to.equal(
      "The best model has 300001 bytes, but task 1 takes 300000: it is not committed.",
    );
    expect(sent).to.have.length(0);
  });
});
