import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { eq } from "drizzle-orm";
import { pino } from "pino";

import { connectToPool, type ConnectionTiming } from "../../offchain/agents/pool-connection.ts";
import { startPoolEndpoint } from "../../offchain/agents/pool-endpoint.ts";
import { runJobs, type PoolWorker } from "../../offchain/agents/pool-jobs.ts";
import { createPoolOutbox, type PoolOutbox } from "../../offchain/agents/pool-outbox.ts";
import { tellPoints } from "../../offchain/agents/pool-miner.ts";
import { isReceipt } from "../../offchain/agents/share-receipts.ts";
import { decodeModel, modelRoot } from "../../offchain/evaluation/model.ts";
import { CLOSE, MAX_STANDINGS, RPC_ERROR, type Job, type Share } from "../../offchain/pool/messages.ts";
import { RpcError } from "../../offchain/pool/rpc.ts";
import { fetchModelBytes } from "../../offchain/pool/model-transfer.ts";
import { checkpoints, leases } from "../../offchain/pool/schema.ts";
import type { TrainingRequest } from "../../offchain/training/train.ts";
import { createTrainingWorker } from "../../offchain/training/worker.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { sampleArchitecture } from "../../offchain/search/spaces.ts";
import { FAST } from "../pool/kit/scripted-miner.ts";
import {
  cleanUp,
  createTestPool,
  DESCRIPTOR,
  IDENTITY,
  RECEIPT_KEY,
  scratchFolder,
  signerOf,
  SILENT,
  taskOf as poolTask,
  trialOf,
  VALIDATION,
  type TestPool,
} from "../pool/kit/world.ts";
import { jobOf, receiptFor, startScriptedManager, type ScriptedManager } from "./kit/scripted-manager.ts";
import { endlessTrainer, files, quickTrainer, taskOf } from "./kit/trainers.ts";

const TIMING: Partial<ConnectionTiming> = { firstPauseMs: 20, lastPauseMs: 100, requestMs: 2000 };
const random = createRandom("jobs");
const architecture = (): Job["architecture"] => sampleArchitecture(DESCRIPTOR.template, DESCRIPTOR.space, random);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await condition()); waited += 10) {
    if (waited > 30_000) throw new Error("it did not come to pass within 30 s");
    await sleep(10);
  }
}

/** A miner of the given trainers on one account, mining until it is stopped. */
function startMiner(
  url: string,
  trainers: readonly PoolWorker["worker"][],
  options: { outbox?: PoolOutbox; timing?: Partial<ConnectionTiming> } = {},
) {
  const { outbox = createPoolOutbox() } = options;
  const stopped = new AbortController();
  const links = new AbortController();
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: "info" }, { write: (text: string) => void lines.push(JSON.parse(text) as never) });
  const workers = trainers.map((worker, index) => ({
    worker,
    connection: connectToPool({
      url,
      signer: signerOf(1),
      benchmark: FAST,
      outbox,
      worker: index,
      signal: links.signal,
      log,
      timing: { ...TIMING, ...options.timing },
    }),
  }));
  const running = runJobs({ taskOf, workers, files, onTask: () => undefined, log, signal: stopped.signal });
  running.catch(() => undefined);
  return {
    lines,
    outbox,
    running,
    warnings: () => lines.filter(({ level }) => level >= 40).map(({ msg }) => msg),
    /** @returns how long it took, in milliseconds */
    async stop(): Promise<number> {
      const start = performance.now();
      stopped.abort();
      await running.catch(() => undefined);
      links.abort();
      await Promise.all(workers.map(({ connection }) => connection.close()));
      return performance.now() - start;
    },
  };
}
type Miner = ReturnType<typeof startMiner>;

describe("A pool's miner at work", () => {
  let control: AbortController;
  let pool: TestPool | undefined;
  let scripted: ScriptedManager | undefined;
  const miners: Miner[] = [];

  async function serve(rules = {}): Promise<string> {
    pool = await createTestPool({ rules });
    const { manager } = pool;
    await manager.openTask(poolTask(1n));
    const { url } = await startPoolEndpoint({
      manager,
      host: "127.0.0.1",
      port: 0,
      signal: control.signal,
      log: SILENT,
    });
    return url;
  }
  async function script(...args: Parameters<typeof startScriptedManager>): Promise<string> {
    scripted = await startScriptedManager(...args);
    return scripted.url;
  }
  function mine(...args: Parameters<typeof startMiner>): Miner {
    const miner = startMiner(...args);
    miners.push(miner);
    return miner;
  }

  beforeEach(() => (control = new AbortController()));
  afterEach(async () => {
    await Promise.all(miners.splice(0).map((miner) => miner.stop()));
    control.abort();
    await pool?.manager.stop();
    await scripted?.stop();
    [pool, scripted] = [undefined, undefined];
  });
  after(cleanUp);

  describe("with several workers", () => {
    it("holds a lease for each, and hands every trial in once", async () => {
      const url = await serve();
      let [busy, most] = [0, 0];
      const trainer: PoolWorker["worker"] = {
        train: async (...args) => {
          most = Math.max(most, ++busy);
          // Nobody ends before all three have had their first lease.
          await until(() => most === 3);
          return quickTrainer()
            .train(...args)
            .finally(() => busy--);
        },
      };
      const miner = mine(url, [trainer, trainer, trainer]);
      await until(async () => (await pool!.manager.shares(1n)).length >= 9);
      await miner.stop();
      expect(most).to.equal(3);
      const shares = await pool!.manager.shares(1n);
      expect(new Set(shares.map(({ lease }) => lease)).size).to.equal(shares.length);
      expect(new Set(shares.map(({ miner: account }) => account))).to.deep.equal(new Set([signerOf(1).address]));
      const rows = await pool!.database.queries.select().from(leases);
      expect(new Set(rows.map(({ sessionId }) => sessionId)).size).to.equal(3);
      expect(miner.warnings()).to.deep.equal([]);
    });

    it("trains in real processes side by side, end to end", async () => {
      const url = await serve();
      const real = [1, 2].map(() => createTrainingWorker({ engine: "onnx" }));
      try {
        const miner = mine(url, real);
        // Both have worked, however much later one of the processes was there.
        await until(async () => {
          const done = await pool!.database.queries.select().from(leases).where(eq(leases.state, "done"));
          return new Set(done.map(({ sessionId }) => sessionId)).size === 2;
        });
        await miner.stop();
        expect((await pool!.manager.shares(1n)).length).to.be.at.least(2);
        expect(miner.warnings()).to.deep.equal([]);
      } finally {
        await Promise.all(real.map((worker) => worker.close()));
      }
    });

    it("goes on with those that are left when one of them is shut out", async () => {
      const url = await script({
        "mining.authorize": (_, { peer, socket }) => {
          if (peer === scripted!.callers[0]!.peer) socket.close(CLOSE.replaced, "another one");
          else peer.notify("mining.notify", { job: jobOf(scripted!.callers.length, architecture()) });
          return {};
        },
      });
      const miner = mine(url, [quickTrainer(), quickTrainer()]);
      await until(() => scripted!.calls.some(({ method }) => method === "mining.submit"));
      expect(miner.warnings().join()).to.contain("Another process has taken over");
    });
  });

  describe("when it is stopped", () => {
    it("gives each lease back with its checkpoint, within a second, and the pool goes on from there", async () => {
      const url = await serve({ checkpointMs: 1 });
      let ready = 0;
      const trainer = endlessTrainer(() => ready++);
      const miner = mine(url, [trainer, trainer]);
      await until(() => ready === 2);
      expect(await miner.stop()).to.be.below(1500);
      const { queries } = pool!.database;
      const rows = await queries.select().from(leases);
      expect(rows.map(({ state }) => state)).to.deep.equal(["expired", "expired"]);
      expect(rows.map(({ refusal }) => refusal)).to.deep.equal(["its miner was stopped", "its miner was stopped"]);
      const kept = await queries.select().from(checkpoints);
      expect(kept.map(({ epochs }) => epochs)).to.deep.equal([2, 2]);
    });

    it("offers a model that fits what it says, and counts the epochs of its own lease", async () => {
      const asked: Uint8Array[] = [];
      const job = {
        ...jobOf(3, architecture()),
        epochsBefore: 4,
        settings: { ...jobOf(3, architecture()).settings, epochs: 4 },
      };
      const trial = await trialOf(job);
      const url = await script(
        {
          "mining.authorize": (_, { peer }) => {
            const initial = { modelRoot: trial.share.modelRoot, validation: null };
            setImmediate(() => peer.notify("mining.notify", { job: { ...job, initial } }));
            return {};
          },
          "mining.model": () => ({ size: trial.model.length, data: Buffer.from(trial.model).toString("base64") }),
          "mining.checkpoint": async ({ modelRoot: root }, { peer }) => {
            asked.push(
              await fetchModelBytes(root, 1e6, (request) => peer.request("mining.model", request, { timeoutMs: 1000 })),
            );
            return {};
          },
        },
        1000,
      );
      const requests: TrainingRequest[] = [];
      let ready = false;
      const { train } = endlessTrainer(() => (ready = true));
      const miner = mine(url, [{ train: (request, options) => (requests.push(request), train(request, options)) }]);
      await until(() => ready);
      await miner.stop();
      const [request] = requests;
      expect(request!.doneEpochs).to.equal(4);
      expect(request!.settings.epochs, "of the whole recipe").to.equal(8);
      expect(modelRoot(request!.initial!)).to.equal(trial.share.modelRoot);
      const said = scripted!.calls.filter(({ method }) => ["mining.checkpoint", "mining.abandon"].includes(method));
      expect(said.map(({ method }) => method)).to.deep.equal(["mining.checkpoint", "mining.abandon"]);
      const offer = said[0]!.params as { lease: number; epochs: number; modelRoot: string };
      expect(offer).to.include({ lease: 3, epochs: 2 });
      expect(modelRoot(decodeModel(asked[0]!, { maxBytes: 1e6 }))).to.equal(offer.modelRoot);
      expect(said[1]!.params).to.deep.equal({ lease: 3, outcome: "stopped", reason: "its miner was stopped" });
    });

    it("does not wait for a pool that is silent", async () => {
      const url = await script(
        {
          "mining.authorize": (_, { peer }) => {
            setImmediate(() => peer.notify("mining.notify", { job: jobOf(1, architecture()) }));
            return {};
          },
          "mining.checkpoint": () => new Promise(() => undefined),
          "mining.abandon": () => new Promise(() => undefined),
        },
        1000,
      );
      let ready = false;
      const miner = mine(url, [endlessTrainer(() => (ready = true))]);
      await until(() => ready);
      expect(await miner.stop()).to.be.below(4000);
    });

    it("keeps a finished trial that has no verdict yet, does not give its lease back, and hands it in later", async () => {
      let silent = true;
      const give: Parameters<typeof startScriptedManager>[0] = {
        "mining.authorize": (_, { peer }) => {
          // The second link's, so that its share is another worker's later on.
          const second = peer === scripted!.callers[1]?.peer;
          if (silent && second) setImmediate(() => peer.notify("mining.notify", { job: jobOf(1, architecture()) }));
          return {};
        },
        "mining.submit": async (signed) =>
          silent ? new Promise(() => undefined) : { receipt: await receiptFor(signed), best: true },
      };
      const url = await script(give);
      const dir = scratchFolder();
      const miner = mine(url, [quickTrainer(), quickTrainer()], { outbox: createPoolOutbox(dir) });
      await until(() => scripted!.calls.some(({ method }) => method === "mining.submit"));
      expect(await miner.stop()).to.be.below(4000);
      expect(scripted!.calls.map(({ method }) => method)).not.to.include("mining.abandon");
      silent = false;
      // One worker now: it answers for what the others have left.
      const outbox = createPoolOutbox(dir);
      expect(outbox.shares.size).to.equal(1);
      mine(url, [quickTrainer()], { outbox, timing: { orphanMs: 50 } });
      await until(() => outbox.shares.size === 0);
      expect(readdirSync(join(dir, "unsent"))).to.deep.equal([]);
    });
  });

  describe("where a finished trial is at stake", () => {
    const giveOne = (lease: number, given = { once: false }): Parameters<typeof startScriptedManager>[0] => ({
      "mining.authorize": (_, { peer }) => {
        if (!given.once) setImmediate(() => peer.notify("mining.notify", { job: jobOf(lease, architecture()) }));
        given.once = true;
        return {};
      },
    });

    it("hands it in again where the manager says nonsense of it, and tells of that once", async () => {
      let nonsense = 5;
      const url = await script({
        ...giveOne(1),
        "mining.submit": async (signed) =>
          nonsense-- > 0 ? { receipt: "thanks" } : { receipt: await receiptFor(signed), best: true },
      });
      const outbox = createPoolOutbox(scratchFolder());
      const miner = mine(url, [quickTrainer()], { outbox });
      await until(() => miner.lines.some(({ msg }) => msg.includes("accepted")));
      expect(outbox.shares.size).to.equal(0);
      const [left, ...others] = miner.warnings();
      expect(left).to.contain("it sends what cannot be read: The answer to mining.submit is not valid: receipt");
      expect(others).to.deep.equal([]);
    });

    it("needs no disk to hand it in: a full one is a sentence", async () => {
      const dir = scratchFolder();
      const job = jobOf(1, architecture());
      const made = await quickTrainer().train({
        ...job,
        initial: undefined,
        train: VALIDATION,
        validation: VALIDATION,
      });
      const url = await script({
        "mining.authorize": (_, { peer }) => {
          setImmediate(() => peer.notify("mining.notify", { job }));
          return {};
        },
      });
      const outbox = createPoolOutbox(dir);
      const folder = join(dir, "models", "1");
      mkdirSync(folder, { recursive: true });
      symlinkSync("/dev/full", join(folder, `${modelRoot(made.model)}.model.${process.pid}.new`));
      const miner = mine(url, [quickTrainer()], { outbox });
      await until(() => miner.lines.some(({ msg }) => msg.includes("accepted")));
      expect(miner.warnings()).to.deep.equal([
        `The share of lease 1 cannot be written to ${dir}: the disk is full. It is handed in from memory.`,
      ]);
    });

    it("keeps its model for the pool until the task is over, across restarts", async () => {
      const url = await script(giveOne(1));
      const dir = scratchFolder();
      const first = mine(url, [quickTrainer()], { outbox: createPoolOutbox(dir) });
      await until(() => first.lines.some(({ msg }) => msg.includes("accepted")));
      await first.stop();
      const { modelRoot: root } = (
        scripted!.calls.find(({ method }) => method === "mining.submit")!.params as { share: Share }
      ).share;
      const outbox = createPoolOutbox(dir);
      mine(url, [quickTrainer()], { outbox });
      await until(() => scripted!.callers.length === 2);
      const { peer } = scripted!.callers[1]!;
      const fetch = () =>
        fetchModelBytes(root, 1e6, (request) => peer.request("mining.model", request, { timeoutMs: 1000 }));
      expect(modelRoot(decodeModel(await fetch(), { maxBytes: 1e6 }))).to.equal(root);
      outbox.forget(2n);
      await fetch();
      outbox.forget(1n);
      expect(await fetch().catch(({ message }: Error) => message)).to.equal(`This miner has no model ${root}.`);
      expect(existsSync(join(dir, "models", "1"))).to.equal(false);
    });

    it("lets go of a model that the pool has taken", async () => {
      const url = await script({
        ...giveOne(1),
        "mining.submit": async (signed) => ({ receipt: await receiptFor(signed), best: true, keep: false }),
      });
      const dir = scratchFolder();
      const miner = mine(url, [quickTrainer()], { outbox: createPoolOutbox(dir) });
      await until(() => miner.lines.some(({ msg }) => msg.includes("accepted")));
      expect(readdirSync(join(dir, "models", "1"))).to.deep.equal([]);
    });

    it("waits as long as it is asked to before it hands it in again", async () => {
      let asked = 0;
      const url = await script({
        ...giveOne(1),
        "mining.submit": async (signed) => {
          if (asked++ === 0) throw new RpcError(RPC_ERROR.retry, "Too fast.", { kind: "rate", retryAfterMs: 700 });
          return { receipt: await receiptFor(signed), best: true };
        },
      });
      const miner = mine(url, [quickTrainer()]);
      await until(() => asked === 1);
      await sleep(500);
      expect(asked).to.equal(1);
      await until(() => miner.lines.some(({ msg }) => msg.includes("accepted")));
    });

    it("keeps the receipts of accepted shares until the task is over, and says where one is nobody's word", async () => {
      const url = await script({
        ...giveOne(1),
        "mining.submit": () => ({ receipt: `0x${"ef".repeat(65)}`, best: true }),
      });
      const dir = scratchFolder();
      const miner = mine(url, [quickTrainer()], { outbox: createPoolOutbox(dir) });
      await until(() => miner.lines.some(({ msg }) => msg.includes("accepted")));
      expect(miner.warnings()).to.deep.equal([
        `The pool's receipt for the share of lease 1 is not signed by its key ${RECEIPT_KEY.address}.`,
      ]);
      const again = createPoolOutbox(dir);
      const [kept, ...others] = again.accepted(1n);
      expect(others).to.deep.equal([]);
      expect(kept!.share.lease).to.equal(1);
      const signed = { identity: IDENTITY, miner: signerOf(1).address, receiptKey: RECEIPT_KEY.address };
      expect(isReceipt(kept!, kept!.receipt, signed)).to.equal(false);
      expect(isReceipt(kept!, await receiptFor(kept!), signed)).to.equal(true);
      again.forget(1n);
      expect(createPoolOutbox(dir).accepted(1n)).to.deep.equal([]);
    });

    it("sets a damaged share aside with a sentence, and starts all the same", async () => {
      const dir = scratchFolder();
      const { share, model } = await trialOf(jobOf(5, architecture()));
      const outbox = createPoolOutbox(dir);
      const signed = { share, signature: `0x${"11".repeat(65)}` as const };
      outbox.put({ signed, model, worker: 2 });
      outbox.put({ signed: { ...signed, share: { ...share, lease: 6 } }, model, worker: 0 });
      writeFileSync(join(dir, "unsent", "5.json"), "{");
      writeFileSync(join(dir, "unsent", "7.json.1.new"), "half");
      const sentences: string[] = [];
      const again = createPoolOutbox(dir, (sentence) => sentences.push(sentence));
      expect([...again.shares.keys()]).to.deep.equal([6]);
      expect(sentences).to.have.length(1);
      expect(sentences[0]).to.match(/5\.json is not JSON\. It is set aside in .*damaged\.$/);
      expect(readdirSync(join(dir, "unsent"))).to.deep.equal(["6.json"]);
      rmSync(join(dir, "models"), { recursive: true });
      createPoolOutbox(dir, (sentence) => sentences.push(sentence));
      expect(sentences[1]).to.contain("The model of the unsent share 6.json is missing.");
    });
  });

  describe("whose points are counted", () => {
    const standing = (lease: number, reason: string | null = null) => ({
      lease,
      modelRoot: `0x${"aa".repeat(32)}`,
      validation: { correct: 1, total: 2 },
      audit: "none",
      voided: reason !== null,
      reason,
      testCorrect: 7,
      baseline: 2,
      points: "5",
    });

    it("is told what they are made of, page by page, and why a share counts for less", async () => {
      const asked: number[] = [];
      const url = await script({
        "mining.shares": ({ after = 0 }) => {
          asked.push(after);
          if (after > 0) return { shares: [standing(201, "It was false.")] };
          return { shares: Array.from({ length: MAX_STANDINGS }, (_, i) => standing(i + 1)) };
        },
      });
      const lines: { level: number; msg: string }[] = [];
      const log = pino({}, { write: (text: string) => void lines.push(JSON.parse(text) as never) });
      const connection = connectToPool({
        url,
        signer: signerOf(1),
        benchmark: FAST,
        signal: control.signal,
        log,
        timing: TIMING,
      });
      const miner = signerOf(1).address;
      await tellPoints({ taskId: 1n, miner, sequence: 1, points: 1000n, signature: "0x" }, { connection, log });
      await connection.close();
      expect(asked).to.deep.equal([0, 200]);
      expect(lines.map(({ level, msg }) => `${level} ${msg}`)).to.deep.equal([
        `30 1000 points for 201 shares of task 1; once they are posted: ponas explain 1 ${miner}`,
        "40 the share of lease 201 counts for nothing: It was false.",
      ]);
    });

    it("does not go on asking a manager that repeats itself", async () => {
      let asked = 0;
      const url = await script({
        "mining.shares": () => {
          asked++;
          return { shares: Array.from({ length: MAX_STANDINGS }, () => standing(1)) };
        },
      });
      const connection = connectToPool({
        url,
        signer: signerOf(1),
        benchmark: FAST,
        signal: control.signal,
        log: SILENT,
        timing: TIMING,
      });
      expect(await connection.standings(1n)).to.have.length(MAX_STANDINGS);
      await connection.close();
      expect(asked).to.equal(2);
    });
  });

  describe("with a manager that cannot be worked with", () => {
    it("leaves one that talks nonsense with one sentence, and tries again", async () => {
      const url = await script({
        "mining.authorize": (_, { socket }) => {
          for (let i = 0; i < 10; i++) socket.send("{ hello");
          return {};
        },
      });
      const miner = mine(url, [quickTrainer()]);
      await until(() => scripted!.callers.length >= 3);
      expect(miner.warnings()).to.deep.equal([
        `No link to the pool at ${url}: it sends what cannot be read: A message is not JSON. Trying again.`,
      ]);
    });

    it("leaves one that greets it with nonsense", async () => {
      const url = await script({ "mining.subscribe": () => ({ session: 7 }) });
      const miner = mine(url, [quickTrainer()]);
      await until(() => scripted!.callers.length >= 3);
      expect(miner.warnings()).to.have.length(1);
      expect(miner.warnings()[0]).to.match(/^No link to the pool at .*: The answer to mining.subscribe is not valid: /);
    });

    it("leaves one that has gone silent with one sentence, and tries again", async () => {
      const url = await script();
      const miner = mine(url, [quickTrainer()], { timing: { silentMs: 150 } });
      await until(() => scripted!.callers.length >= 3);
      expect(miner.warnings()).to.deep.equal([
        `No link to the pool at ${url}: nothing was heard of it for 0.15 s. Trying again.`,
      ]);
    });

    it("leaves one that is asked too much in peace for the longest pause", async () => {
      const url = await script({
        "mining.authorize": (_, { socket }) => {
          socket.close(CLOSE.flood, "More than 20 messages a second.");
          return {};
        },
      });
      mine(url, [quickTrainer()], { timing: { lastPauseMs: 600 } });
      await sleep(1000);
      expect(scripted!.callers.length).to.be.within(2, 3);
    });

    it("stays away for as long as it is shut out, and says why", async () => {
      const url = await script({
        "mining.authorize": () => {
          throw new RpcError(RPC_ERROR.retry, "You are shut out.", {
            kind: "shut-out",
            retryAfterMs: 800,
            reason: "x",
          });
        },
      });
      const miner = mine(url, [quickTrainer()]);
      await sleep(600);
      expect(scripted!.callers).to.have.length(1);
      await until(() => scripted!.callers.length === 2);
      expect(miner.warnings()).to.deep.equal([`No link to the pool at ${url}: You are shut out. Trying again.`]);
    });

    it("shows why it is banned, and asks for nothing any more", async () => {
      const url = await script({
        "mining.authorize": (_, { socket }) => {
          socket.close(CLOSE.banned, "The share of lease 4 was false.");
          return {};
        },
      });
      const miner = mine(url, [quickTrainer(), quickTrainer()]);
      const error = await miner.running.then(
        () => null,
        (reason: unknown) => reason as Error,
      );
      expect(error!.message).to.equal("The pool has banned this miner: The share of lease 4 was false.");
      await sleep(200);
      expect(scripted!.callers).to.have.length(2);
    });
  });
});
