import { expect } from "chai";
import { asc, eq } from "drizzle-orm";

import type { PoolTask } from "../../offchain/pool/task.ts";
import type { PartitionRule } from "../../offchain/pool/parts.ts";
import { RPC_ERROR, type Decision, type Job } from "../../offchain/pool/messages.ts";
import { modelRoot, decodeModel } from "../../offchain/evaluation/model.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import {
  checkpoints,
  parts,
  sessions,
  spread,
  strategies,
  strategyEvents,
  type PartRow,
} from "../../offchain/pool/schema.ts";
import type { SearchCounts } from "../../offchain/search/admission.ts";
import { areDisjoint } from "../../offchain/search/boxes.ts";
import { isMember, spaceSize, SPACES, type Box } from "../../offchain/search/spaces.ts";
import { FAST, refusalOf, ScriptedMiner, SLOW } from "./kit/scripted-miner.ts";
import { cleanUp, createTestPool, DESCRIPTOR, evaluate, taskOf, trialOf, type TestPool } from "./kit/world.ts";

const WAIT = { timeoutMs: 30_000 };

describe("The pool's scheduler", () => {
  let pool: TestPool;
  let opened: TestPool[] = [];
  /** the manager's clock, which stands still on its own: a slow machine loses nobody a lease */
  let time = 1e12;
  const advance = (ms: number): void => {
    time += ms;
  };
  const open = (changes: Partial<PoolTask> = {}): Promise<void> =>
    pool.manager.openTask(taskOf(1n, { endsAt: 1e12 + 3_600_000, ...changes }));
  /** the accuracy that the evaluator finds for a model, in place of its own */
  const scores = new Map<Hex, number>();
  const start = async (options: Parameters<typeof createTestPool>[0] = {}): Promise<TestPool> => {
    pool = await createTestPool({
      evaluate: async (bytes, request) => {
        const found = await evaluate(bytes, request);
        return { ...found, correct: scores.get(found.modelRoot!) ?? found.correct };
      },
      clock: () => time,
      ...options,
    });
    opened.push(pool);
    return pool;
  };
  const miner = (key: number): ScriptedMiner => new ScriptedMiner(pool.manager, key);
  const partsOf = async (): Promise<PartRow[]> =>
    pool.database.queries.select().from(parts).where(eq(parts.taskId, 1n)).orderBy(asc(parts.part));
  const decisions = async (...kinds: string[]): Promise<Decision[]> =>
    (await pool.manager.decisions({ taskId: 1n, limit: 1000 })).filter(({ kind }) => kinds.includes(kind));
  const beat = (one: ScriptedMiner, { lease }: Job): Promise<unknown> =>
    one.peer.request("mining.heartbeat", { lease, epoch: 1 }, WAIT);

  /** Hands in a trial of which the evaluator will find so many samples right. */
  async function report(one: ScriptedMiner, job: Job, correct: number): Promise<void> {
    const trial = await trialOf(job);
    scores.set(trial.share.modelRoot, correct);
    const trainLoss = Array<number>(job.settings.epochs).fill(1);
    await one.submit(trial, { validation: { correct, total: 30 }, trainLoss });
  }

  /** The part that a job's network lies in, by the parts as they are now. */
  async function partOf(job: Job): Promise<number[]> {
    return (await partsOf()).filter(({ space }) => isMember(job.architecture, space)).map(({ part }) => part);
  }

  afterEach(async () => {
    for (const { manager } of opened) await manager.stop();
    opened = [];
    scores.clear();
    time = 1e12;
  });
  after(cleanUp);

  describe("with parts", () => {
    it("divides the space by measured speeds among the strong miners that are there", async () => {
      await start({ rules: { partition: "disjoint" } });
      const { imagesPerSecond, macs } = FAST;
      await miner(1).join();
      await miner(2).join({ imagesPerSecond: 3 * imagesPerSecond, macs });
      await miner(3).join(SLOW);
      await open();
      const rows = await partsOf();
      expect(rows).to.have.length(2);
      const depth = DESCRIPTOR.template.depth;
      const sizes = rows.map(({ space }) => Number(spaceSize(space, depth)));
      expect(sizes[0]! + sizes[1]!).to.equal(Number(spaceSize(DESCRIPTOR.space, depth)));
      expect(sizes[0]! / sizes[1]!).to.be.closeTo(3, 0.4);
      const boxes = rows.map(({ space }) => space as readonly Box[]);
      for (const one of boxes[0]!) for (const other of boxes[1]!) expect(areDisjoint(one, other)).to.equal(true);
    });

    it("gives each strong miner a part of its own, and keeps it over reconnections and restarts", async () => {
      await start({ rules: { partition: "disjoint", subspaces: 3 } });
      await open();
      const all = [await miner(1).join(), await miner(2).join(), await miner(3).join()];
      const held: number[][] = [];
      for (const one of all) {
        held.push(await partOf(await one.job(0)));
        await one.finish(await one.job(0));
        await one.job(1);
      }
      expect(held.flat().sort()).to.deep.equal([0, 1, 2]);
      const { database } = pool;
      all[0]!.hangUp();
      const again = await new ScriptedMiner(pool.manager, 1).join(FAST, all[0]!.session);
      expect(await partOf(await again.job(0))).to.deep.equal(held[0]);
      await pool.manager.stop();

      advance(3_000_000);
      await start({ database, rules: { partition: "disjoint", subspaces: 3 } });
      await open();
      await pool.manager.sweep();
      for (const [at, key] of [3, 1, 2].entries()) {
        const back = await new ScriptedMiner(pool.manager, key).join(FAST, all[key - 1]!.session);
        await back.finish(await back.job(0));
        expect(await partOf(await back.job(1)), `miner ${key}, ${at}`).to.deep.equal(held[key - 1]);
      }
      expect(await decisions("release")).to.deep.equal([]);
      expect(await decisions("assign")).to.have.length(3);
    });

    const EXTENDED: [PartitionRule, number][] = [
      ["disjoint", 2],
      ["adaptive", 2],
      ["random-subsets", 2],
    ];
    for (const [partition, subspaces] of EXTENDED) {
      it(`finds a part for one strong miner more than there are parts, by ${partition}`, async () => {
        await start({ rules: { partition, subspaces } });
        await open();
        const all = [await miner(1).join(), await miner(2).join()];
        for (const [i, one] of all.entries()) await report(one, await one.job(0), 10 + i);
        const [promising] = await partOf(await all[1]!.job(0));
        const late = await miner(3).join();
        expect(await partOf(await late.job(0))).to.include(2);
        const rows = await partsOf();
        expect(rows.map(({ sessionId }) => sessionId !== null)).to.deep.equal([true, true, true]);
        if (partition === "random-subsets") return;
        const size = rows.reduce((sum, { space }) => sum + spaceSize(space, DESCRIPTOR.template.depth), 0n);
        expect(size).to.equal(spaceSize(DESCRIPTOR.space, DESCRIPTOR.template.depth));
        // Of those that were split, the promising one by `adaptive`.
        if (partition === "adaptive") expect(rows[2]!.parent).to.equal(promising);
      });
    }

    it("keeps the paper's subspaces within the task's space, and begins them once more for a tenth miner", async () => {
      await start({ rules: { partition: "paper" } });
      const space = structuredClone(SPACES.full) as never;
      await open({ descriptor: { ...DESCRIPTOR, space } });
      const rows = await partsOf();
      expect(rows).to.have.length(9);
      for (const { space: own } of rows) {
        for (const filters of (own as typeof DESCRIPTOR.space).filters) expect(SPACES.full.filters).to.include(filters);
      }
      for (let key = 1; key <= 10; key++) await (await miner(key).join()).job(0);
      const after = await partsOf();
      expect(after).to.have.length(10);
      expect(after[9]!.space).to.deep.equal(after[0]!.space);
    });

    it("divides nothing where none of the paper's subspaces is in the task's space, and everybody searches it all", async () => {
      await start({ rules: { partition: "paper" } });
      const space = { ...DESCRIPTOR.space, filters: [5] };
      await open({ descriptor: { ...DESCRIPTOR, space } });
      expect(await partsOf()).to.deep.equal([]);
      const one = await miner(1).join();
      await one.finish(await one.job(0));
      expect((await one.job(1)).kind).to.equal("explore");
    });

    it("takes the part from a miner that has left, and lets the next one go on where it was", async () => {
      await start({ rules: { partition: "disjoint", subspaces: 1, heartbeatMs: 1000 } });
      await open();
      const ada = await miner(1).join();
      for (let round = 0; round < 3; round++) await ada.finish(await ada.job(round));
      const left = await ada.job(3);
      ada.hangUp();
      advance(2000);
      await pool.manager.sweep();
      const [free] = await partsOf();
      expect(free).to.include({ sessionId: null, trials: 3 });
      const bob = await miner(2).join();
      const taken = await bob.job(0);
      expect(taken.seed).to.equal(left.seed);
      expect((await partsOf())[0]!.sessionId).to.not.equal(null);
      const reasons = (await decisions("expire", "release", "assign", "reissue")).slice(-4).map(({ kind }) => kind);
      expect(reasons).to.deep.equal(["expire", "release", "assign", "reissue"]);
      // Nothing is proposed twice: the search goes on.
      await bob.finish(taken);
      const seen = new Set([...ada.jobs, ...bob.jobs].map((job) => JSON.stringify(job!.architecture.layers)));
      const next = await bob.job(1);
      expect(seen.size).to.be.at.least(4);
      expect(seen.has(JSON.stringify(next.architecture.layers)) && bob.jobs.indexOf(next) === 0).to.equal(false);
    });

    it("is the same from the same seed and events", async () => {
      const traces = [];
      for (let round = 0; round < 2; round++) {
        await start({ rules: { partition: "adaptive", subspaces: 2, resplitTrials: 1 } });
        await open();
        const all = [await miner(1).join(), await miner(2).join()];
        for (let trial = 0; trial < 3; trial++) {
          for (const [i, one] of all.entries()) await report(one, await one.job(trial), 5 + 10 * i);
          for (const one of all) await one.job(trial + 1);
          await pool.manager.sweep();
        }
        traces.push({
          parts: (await partsOf()).map(({ space, best, trials }) => ({ space, best, trials })),
          decisions: (await pool.manager.decisions({ taskId: 1n })).map(({ kind, reason }) => [kind, reason]),
        });
      }
      expect(traces[1]).to.deep.equal(traces[0]);
    });
  });

  describe("with strong and weak miners", () => {
    it("takes the part from a miner whose benchmark was a lie, once its shares are measured", async () => {
      const patient = { minLeaseMs: 3_500_000, heartbeatMs: 3_500_000 };
      await start({ rules: { partition: "disjoint", subspaces: 1, ...patient } });
      await open();
      const liar = await miner(1).join();
      const job = await liar.job(0);
      expect((await partsOf())[0]!.sessionId).to.not.equal(null);
      advance(3_400_000);
      await liar.finish(job);
      expect((await liar.job(1)).kind).to.equal("exploit");
      expect((await partsOf())[0]!.sessionId).to.equal(null);
      const said = await decisions("strong", "weak", "release");
      expect(said.map(({ kind }) => kind)).to.deep.equal(["strong", "weak", "release"]);
      expect(said[0]!.reason).to.contain("as it claims");
      expect(said[1]!.reason).to.contain("as measured");
    });

    it("measures a miner by the leases that it does not finish, too", async () => {
      await start({ rules: { minLeaseMs: 600_000, heartbeatMs: 900_000, leaseSlack: 0 } });
      await open();
      const liar = await miner(1).join();
      await liar.job(0);
      advance(600_001);
      await pool.manager.sweep();
      const [session] = await pool.database.queries.select().from(sessions);
      expect(session!.speed).to.be.lessThan(1e6);
      expect(session!.measured).to.equal(1);
      expect((await liar.job(1)).lease).to.be.greaterThan(1);
    });

    it("gives weak miners neighbours, other seeds and rates, longer trainings and the plain continuation", async () => {
      await start({ rules: { neighbourShare: 0.25, reseedShare: 0.25, longerShare: 0.25, strongTrials: 1e9 } });
      await open();
      const weak = await miner(1).join(FAST);
      await report(weak, await weak.job(0), 29);
      const kinds = new Set<string>();
      for (let round = 1; round < 20; round++) {
        const job = await weak.job(round);
        const { epochs, learningRate } = DESCRIPTOR.settings;
        const { settings, initial } = job;
        if (settings.epochs === 2 * epochs) {
          expect(initial).to.not.equal(null);
          kinds.add("longer");
        } else if (initial !== null) {
          expect(settings.learningRate).to.equal(learningRate / 3);
          kinds.add("continue");
        } else if (settings.learningRate === learningRate) kinds.add("neighbour");
        else {
          expect(settings.learningRate / learningRate).to.be.within(0.5, 2);
          kinds.add("reseed");
        }
        await report(weak, job, 3);
      }
      expect([...kinds].sort()).to.deep.equal(["continue", "longer", "neighbour", "reseed"]);
    });
  });

  describe("with backups", () => {
    const rules = { partition: "disjoint", subspaces: 4, heartbeatMs: 20_000 } as const;

    /** Four miners with high and low rewards, each in the second of its trials. */
    async function four(options: Parameters<typeof createTestPool>[0] = {}) {
      await start({ ...options, rules: { ...rules, ...options.rules } });
      await open();
      const all = [];
      for (const [i, correct] of [28, 25, 3, 4].entries()) {
        const one = await miner(i + 1).join();
        await report(one, await one.job(0), correct);
        all.push({ one, job: await one.job(1) });
      }
      await pool.manager.sweep();
      return all;
    }

    /** The first one falls silent, the others are heard of. */
    async function lose(all: Awaited<ReturnType<typeof four>>): Promise<void> {
      all[0]!.one.hangUp();
      advance(12_000);
      for (const { one, job } of all.slice(1)) await beat(one, job);
      advance(12_000);
      await pool.manager.sweep();
    }

    it("readies low-reward miners when σ_p rises, and lets one go on for a high-reward miner that leaves, at once", async () => {
      const all = await four();
      expect((await decisions("ready")).map(({ miner: who }) => who)).to.have.members(
        all.slice(2).map(({ one }) => one.signer.address),
      );
      const [watched] = await pool.database.queries.select().from(spread);
      expect(watched!.sigma).to.be.closeTo(1.5 / 30, 1e-12);
      const [high] = (await partsOf()).filter(({ best }) => best > 0.9);
      await lose(all);
      const [moved] = await decisions("backup");
      expect(moved!.reason).to.contain("at once");
      expect(moved!.figures).to.include({ best: 28 / 30 });
      const backup = all.find(({ one }) => one.signer.address === moved!.miner)!;
      const job = await backup.one.job(2);
      expect(job.seed).to.equal(all[0]!.job.seed);
      expect(isMember(job.architecture, high!.space)).to.equal(true);
      // Its own trial is somebody else's now; its share would still be taken while nobody has it.
      expect((await refusalOf(beat(backup.one, backup.job))).message).to.contain("not yours any more");
      await report(backup.one, job, 20);
      expect(isMember((await backup.one.job(3)).architecture, high!.space)).to.equal(true);
      await pool.manager.sweep();
      expect((await decisions("stand-down")).map(({ miner: who }) => who)).to.deep.equal([moved!.miner]);
    });

    it("lets one go on for a miner whose link has ended as soon as it is not back in time, which keeps its trial all the same", async () => {
      const all = await four({ rules: { heartbeatMs: 100_000, lingerMs: 10_000 } });
      const [first] = all;
      first!.one.hangUp();
      advance(9_000);
      await pool.manager.sweep();
      expect(await decisions("backup")).to.deep.equal([]);
      const back = await new ScriptedMiner(pool.manager, 1).join(FAST, first!.one.session);
      advance(9_000);
      await pool.manager.sweep();
      expect(await decisions("backup"), "it was back in time").to.deep.equal([]);
      back.hangUp();
      advance(10_000);
      await pool.manager.sweep();
      expect(await decisions("backup")).to.have.length(1);
      const late = await new ScriptedMiner(pool.manager, 1).join(FAST, first!.one.session);
      expect((await late.job(0)).lease).to.equal(first!.job.lease);
      await report(late, first!.job, 20);
    });

    it("leaves the part alone without backups, for the next strong miner that comes", async () => {
      const all = await four({ rules: { backups: false } });
      expect(await decisions("ready")).to.deep.equal([]);
      await lose(all);
      expect(await decisions("backup")).to.deep.equal([]);
      const late = await miner(9).join();
      expect((await late.job(0)).seed).to.equal(all[0]!.job.seed);
    });

    it("remembers who is ready over a restart", async () => {
      const all = await four();
      const { database } = pool;
      await pool.manager.stop();
      await start({ database, rules });
      await open();
      const back = [];
      for (const { one, job } of all) {
        const again = await new ScriptedMiner(pool.manager, all.findIndex((other) => other.one === one) + 1).join(
          FAST,
          one.session,
        );
        expect((await again.job(0)).lease).to.equal(job.lease);
        back.push({ one: again, job });
      }
      await pool.manager.sweep();
      expect(await decisions("stand-down")).to.deep.equal([]);
      await lose(back);
      expect((await decisions("backup"))[0]!.reason).to.contain("at once");
    });

    it("takes a banned liar's rewards out of its part's search", async () => {
      await start({ rules });
      await open();
      const liar = await miner(1).join();
      await report(liar, await liar.job(0), 20);
      const trial = await trialOf(await liar.job(1));
      const lie = { validation: { correct: 30, total: 30 } };
      expect((await refusalOf(liar.submit(trial, lie))).code).to.equal(RPC_ERROR.banned);
      await pool.manager.sweep();
      expect((await partsOf()).map(({ best, trials, sessionId }) => [best, trials, sessionId])).to.deep.equal(
        Array(4).fill([0, 0, null]),
      );
      expect((await decisions("release"))[0]!.reason).to.contain("is banned");
      const [told] = await decisions("disbelieve");
      expect(told!.reason).to.equal(
        `The searches that heard of the trials of ${liar.signer.address} begin anew without them: it is banned.`,
      );
      expect(told!.figures).to.deep.include({ trials: 1 });
      await pool.manager.sweep();
      expect(await decisions("disbelieve"), "once").to.have.length(1);
    });
  });

  it("takes a banned liar's rewards out of the whole space's search, where it is not divided", async () => {
    await start({ strategy: "evolution" });
    await open();
    const [ada, liar] = [await miner(1).join(), await miner(2).join()];
    await report(ada, await ada.job(0), 12);
    await report(liar, await liar.job(0), 20);
    const told = async (): Promise<number> => {
      const { queries } = pool.database;
      const [row] = await queries.select().from(strategies);
      const events = await queries.select().from(strategyEvents);
      const { counts } = row!.state as { counts: SearchCounts };
      return counts.told + events.filter(({ reward }) => reward !== null).length;
    };
    expect(await told()).to.equal(2);
    const trial = await trialOf(await liar.job(1));
    await refusalOf(liar.submit(trial, { validation: { correct: 30, total: 30 } }));
    await pool.manager.sweep();
    expect(await told()).to.equal(1);
    await report(ada, await ada.job(1), 13);
    expect(await told()).to.equal(2);
  });

  describe("with checkpoints", () => {
    async function checkpointOf(one: ScriptedMiner, job: Job, salt = ""): Promise<Hex> {
      const { model } = await trialOf(job, `checkpoint ${salt}`);
      const root = modelRoot(decodeModel(model, { maxBytes: model.length }));
      one.models.set(root, model);
      return root;
    }
    const handIn = (one: ScriptedMiner, lease: number, epochs: number, root: Hex): Promise<unknown> =>
      one.peer.request("mining.checkpoint", { lease, epochs, modelRoot: root }, WAIT);

    it("lets the next miner go on from the newest model with the epochs that are left, and the one after it, too", async () => {
      await start({ rules: { heartbeatMs: 1000, checkpointMs: 100, minLeaseMs: 100_000 } });
      await open();
      const ada = await miner(1).join();
      const job = await ada.job(0);
      expect(job.epochsBefore).to.equal(0);
      await handIn(ada, job.lease, 1, await checkpointOf(ada, job));
      const root = await checkpointOf(ada, job, "later");
      ada.hangUp();
      advance(2000);
      const bob = await miner(2).join();
      const taken = await bob.job(0);
      expect(taken).to.deep.include({ seed: job.seed, architecture: job.architecture, epochsBefore: 1 });
      expect(taken.settings.epochs).to.equal(2);
      // Its place in the recipe's schedule is where epochsBefore says, so the rate is the whole recipe's.
      expect(taken.settings.learningRate).to.equal(job.settings.learningRate);
      const given = ada.models.get(taken.initial!.modelRoot)!;
      expect(taken.initial!.validation).to.equal(null);
      const ask = { modelRoot: taken.initial!.modelRoot, offset: 0 };
      const { data } = await bob.peer.request("mining.model", ask, WAIT);
      expect(Buffer.from(data, "base64").equals(given)).to.equal(true);
      expect(taken.initial!.modelRoot).to.not.equal(root);

      await handIn(bob, taken.lease, 1, await checkpointOf(bob, taken, "bob"));
      bob.hangUp();
      advance(2000);
      const cay = await miner(3).join();
      const last = await cay.job(0);
      expect(last).to.deep.include({ epochsBefore: 2 });
      expect(last.settings.epochs).to.equal(1);
      await report(cay, last, 9);
      advance(61_000);
      await pool.manager.sweep();
      expect(await pool.database.queries.select().from(checkpoints)).to.deep.equal([]);
      const said = (await decisions("reissue")).map(({ figures }) => figures.epochsBefore);
      expect(said).to.deep.equal([1, 2]);
    });

    it("begins anew, with the whole recipe, without backups", async () => {
      await start({ rules: { heartbeatMs: 1000, backups: false } });
      await open();
      const ada = await miner(1).join();
      const job = await ada.job(0);
      await handIn(ada, job.lease, 1, await checkpointOf(ada, job));
      advance(2000);
      const taken = await (await miner(2).join()).job(0);
      expect(taken).to.deep.include({ seed: job.seed, settings: job.settings, initial: null, epochsBefore: 0 });
    });

    it("refuses what comes too early, too late, twice, of another trial, or is no model", async () => {
      await start({ rules: { heartbeatMs: 1_000_000, checkpointMs: 5000, minLeaseMs: 2_000_000 } });
      await open();
      const ada = await miner(1).join();
      const bob = await miner(2).join();
      const job = await ada.job(0);
      const root = await checkpointOf(ada, job);
      expect((await refusalOf(handIn(bob, job.lease, 1, root))).message).to.contain("not yours any more");
      expect((await refusalOf(handIn(ada, job.lease, 3, root))).message).to.contain("a share is due then");
      const other = await checkpointOf(ada, await bob.job(0));
      expect((await refusalOf(handIn(ada, job.lease, 1, other))).message).to.contain("another architecture");
      const wrong: Hex = `0x${"ab".repeat(32)}`;
      ada.models.set(wrong, ada.models.get(root)!);
      expect((await refusalOf(handIn(ada, job.lease, 1, wrong))).message).to.contain("another root");
      ada.models.set(wrong, Buffer.from("no model"));
      expect((await refusalOf(handIn(ada, job.lease, 1, wrong))).message).to.contain("cannot be read");
      await handIn(ada, job.lease, 1, root);
      const early = await refusalOf(handIn(ada, job.lease, 2, root));
      expect(early.code).to.equal(RPC_ERROR.retry);
      expect((await refusalOf(handIn(ada, job.lease, 1, root))).message).to.contain("after 1 epochs already");
      advance(5001);
      await handIn(ada, job.lease, 2, root);
      await ada.finish(job);
      expect((await refusalOf(handIn(ada, job.lease, 2, root))).message).to.contain("not yours any more");
      expect(ada.closed).to.equal(null);
    });

    it("takes none where the pool wants none", async () => {
      await start({ rules: { checkpointMs: 0 } });
      await open();
      const ada = await miner(1).join();
      const job = await ada.job(0);
      const refusal = await refusalOf(handIn(ada, job.lease, 1, await checkpointOf(ada, job)));
      expect(refusal.message).to.equal("This pool takes no checkpoints.");
    });
  });

  it("shows a miner the decisions about itself, page by page, and nobody else's", async () => {
    await start({ rules: { partition: "disjoint", subspaces: 2 } });
    await open();
    const ada = await miner(1).join();
    await ada.finish(await ada.job(0));
    await ada.job(1);
    const bob = await miner(2).join();
    await bob.job(0);
    const read = async (after: number, limit: number): Promise<Decision[]> =>
      (await ada.peer.request("mining.decisions", { taskId: 1n, after, limit }, WAIT)).decisions;
    const all = await read(0, 100);
    expect(all.map(({ kind }) => kind)).to.deep.equal(["strong", "assign", "explore", "explore"]);
    expect(new Set(all.map(({ miner: who }) => who))).to.deep.equal(new Set([ada.signer.address]));
    expect(await read(all[0]!.id, 2)).to.deep.equal(all.slice(1, 3));
    const everything = await pool.manager.decisions({ taskId: 1n });
    expect(everything[0]!.kind).to.equal("partition");
    expect(everything.some(({ miner: who }) => who === bob.signer.address)).to.equal(true);
    expect(await pool.manager.decisions({ taskId: 2n })).to.deep.equal([]);
  });
});
