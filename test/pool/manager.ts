import { expect } from "chai";
import { isAddressEqual } from "viem";

import { witnessFault } from "../../offchain/evaluation/hardware.ts";
import { CLOSE, RPC_ERROR } from "../../offchain/pool/messages.ts";
import type { RpcError } from "../../offchain/pool/rpc.ts";
import { buildPointsTree } from "../../offchain/pool/points-tree.ts";
import { digestOf, isSignedBy, pointsData, shareData, shareReceiptData } from "../../offchain/pool/signatures.ts";
import { architectureHash } from "../../offchain/protocol/bytes.ts";
import { FAST, refusalOf, ScriptedMiner, SLOW } from "./kit/scripted-miner.ts";
import {
  createTestPool,
  DESCRIPTOR,
  evaluate,
  IDENTITY,
  RECEIPT_KEY,
  cleanUp,
  signerOf,
  taskOf,
  TEST,
  trialOf,
  type TestPool,
} from "./kit/world.ts";

const never = new AbortController().signal;

/** Why a liar was shut out: in the answer to a claimed best, at the end of the link after an audit. */
async function caught(liar: ScriptedMiner, lie: Promise<unknown>): Promise<string> {
  await lie.catch((error: RpcError) => expect(error.code).to.equal(RPC_ERROR.banned));
  await liar.until(() => liar.closed !== null);
  return liar.closed!.reason;
}

describe("The pool's manager", () => {
  let pool: TestPool;
  let opened: TestPool[] = [];
  const start = async (options: Parameters<typeof createTestPool>[0] = {}): Promise<TestPool> => {
    pool = await createTestPool(options);
    opened.push(pool);
    return pool;
  };
  const miner = (key: number): ScriptedMiner => new ScriptedMiner(pool.manager, key);

  afterEach(async () => {
    for (const { manager } of opened) await manager.stop();
    opened = [];
  });
  after(cleanUp);

  describe("with honest miners", () => {
    it("leases a trial of the task's space, takes its share, signs a receipt, and leases the next one", async () => {
      await start();
      await pool.manager.openTask(taskOf(5n));
      const ada = await miner(1).join();
      const job = await ada.job(0);
      expect(job.taskId).to.equal(5n);
      expect(job.kind).to.equal("explore");
      expect(job.settings).to.deep.equal(DESCRIPTOR.settings);

      const trial = await trialOf(job);
      const { receipt, best } = await ada.submit(trial);
      expect(best).to.equal(true);
      const said = shareReceiptData(IDENTITY, {
        taskId: 5n,
        miner: ada.signer.address,
        lease: job.lease,
        modelRoot: trial.share.modelRoot,
        share: digestOf(shareData(IDENTITY, trial.share)),
      });
      expect(isSignedBy(RECEIPT_KEY.address, said, receipt)).to.equal(true);

      const next = await ada.job(1);
      expect(next.lease).to.not.equal(job.lease);
      expect(architectureHash(next.architecture)).to.not.equal(architectureHash(job.architecture));
      await ada.until(() => ada.targets.length > 0);
      expect(ada.targets.at(-1)).to.deep.equal({ taskId: 5n, best: trial.share.validation });
      const kept = await pool.manager.best(5n);
      expect(kept!.modelRoot).to.equal(trial.share.modelRoot);
      expect(Buffer.from(kept!.bytes).equals(trial.model)).to.equal(true);
    });

    it("keeps the most accurate model as the best, the earlier of equals, and tells everyone of a new best", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const bob = await miner(2).join();
      const trials = [];
      for (let round = 0; round < 4; round++) {
        trials.push(await ada.finish(await ada.job(round)), await bob.finish(await bob.job(round)));
      }
      const top = Math.max(...trials.map(({ share }) => share.validation.correct));
      const first = trials.find(({ share }) => share.validation.correct === top)!;
      expect((await pool.manager.best(1n))!.modelRoot).to.equal(first.share.modelRoot);
      for (const one of [ada, bob]) await one.until(() => one.targets.at(-1)?.best.correct === top);
      expect(await pool.manager.shares(1n)).to.have.length(8);
      const status = await pool.manager.status();
      expect(status.shares).to.equal(8);
      expect(status.sessions.map(({ strong }) => strong)).to.deep.equal([true, true]);
    });

    it("leases the best model to a weak miner, hands over its bytes to that miner alone, and explores with it before there is one", async () => {
      await start({ rules: { neighbourShare: 0, reseedShare: 0 } });
      await pool.manager.openTask(taskOf(1n));
      const weak = await miner(1).join(SLOW);
      const first = await weak.job(0);
      expect(first.kind).to.equal("explore");
      const { share, model } = await weak.finish(first);

      // The first share was measured: this machine is faster than it said. A later one is still slow.
      const other = await miner(2).join(SLOW);
      const job = await other.job(0);
      expect(job.kind).to.equal("exploit");
      expect(job.initial).to.deep.equal({ modelRoot: share.modelRoot, validation: share.validation });
      expect(architectureHash(job.architecture)).to.equal(architectureHash(share.architecture));
      expect(job.settings.learningRate).to.be.lessThan(DESCRIPTOR.settings.learningRate);
      expect(job.seed).to.not.equal(share.seed);
      const ask = { modelRoot: share.modelRoot, offset: 0 };
      const answer = await other.peer.request("mining.model", ask, { timeoutMs: 30_000 });
      expect(Buffer.from(answer.data, "base64").equals(model)).to.equal(true);
      const beyond = other.peer.request("mining.model", { ...ask, offset: 99_999 }, { timeoutMs: 30_000 });
      expect((await refusalOf(beyond)).message).to.contain("has only");
      const stranger = await miner(3).join(FAST);
      const refusal = await refusalOf(stranger.peer.request("mining.model", ask, { timeoutMs: 30_000 }));
      expect(refusal.message).to.contain("No lease of yours starts from");
    });

    it("leases neighbours of the best architecture, one choice away and within the space", async () => {
      await start({ rules: { neighbourShare: 1 } });
      await pool.manager.openTask(taskOf(1n));
      const strong = await miner(1).join();
      const { share } = await strong.finish(await strong.job(0));
      const weak = await miner(2).join(SLOW);
      const job = await weak.job(0);
      expect(job.kind).to.equal("exploit");
      expect(job.initial).to.equal(null);
      const changed = job.architecture.layers.flatMap((layer, at) =>
        Object.entries(layer).filter(([name, value]) => share.architecture.layers[at]![name as never] !== value),
      );
      expect(changed).to.have.length(1);
      await weak.finish(job);
    });

    it("gives strong miners subspaces of Algorithm 1 and keeps each to its own", async () => {
      await start({ rules: { subspaces: 2 } });
      await pool.manager.openTask(taskOf(1n));
      const miners = [await miner(1).join(), await miner(2).join()];
      const seen = [];
      for (const one of miners) {
        const layers = [];
        for (let round = 0; round < 3; round++) {
          const job = await one.job(round);
          layers.push(...job.architecture.layers);
          await one.finish(job);
        }
        seen.push(layers);
      }
      expect(seen[0]).to.not.deep.equal(seen[1]);
    });

    it("leases trials that carry a tiling within the task's hardware bounds, and takes no model without it", async () => {
      await start({ rules: { neighbourShare: 1 } });
      // About a third of the space has no such tiling.
      const hardware = { maxLuts: 300, minThroughput: 400_000 };
      await pool.manager.openTask(taskOf(1n, { descriptor: { ...DESCRIPTOR, hardware } }));
      const strong = await miner(1).join();
      for (let round = 0; round < 6; round++) {
        const job = await strong.job(round);
        expect(witnessFault(job.architecture, hardware)).to.equal(null);
        await strong.finish(job);
      }
      const weak = await miner(2).join(SLOW);
      const neighbour = await weak.job(0);
      expect(neighbour.kind).to.equal("exploit");
      expect(witnessFault(neighbour.architecture, hardware)).to.equal(null);

      const { architecture } = neighbour;
      const bare = await trialOf({ ...neighbour, architecture: { ...architecture, tiling: undefined } });
      expect((await refusalOf(weak.submit(bare))).message).to.contain("of another trial");
      expect(await caught(weak, weak.submit(bare, { architecture }))).to.contain(
        "it carries no tiling, which the task's hardware bounds ask for",
      );
    });

    it("proposes the same trials from the same seed", async () => {
      const jobs = [];
      for (let round = 0; round < 2; round++) {
        await start();
        await pool.manager.openTask(taskOf(9n));
        const one = await miner(1).join();
        await one.finish(await one.job(0));
        jobs.push([one.jobs[0], await one.job(1)].map((job) => ({ seed: job!.seed, arch: job!.architecture })));
      }
      expect(jobs[0]).to.deep.equal(jobs[1]);
    });
  });

  describe("with leases", () => {
    it("hands a silent miner's trial to another, and refuses the late share", async () => {
      await start({ rules: { heartbeatMs: 1000 } });
      await pool.manager.openTask(taskOf(1n));
      const silent = await miner(1).join();
      const job = await silent.job(0);
      pool.advance(2000);
      const other = await miner(2).join();
      const taken = await other.job(0);
      expect(taken.lease).to.not.equal(job.lease);
      expect({ ...taken, lease: 0, heartbeatBy: 0, endsAt: 0 }).to.deep.equal({
        ...job,
        lease: 0,
        heartbeatBy: 0,
        endsAt: 0,
      });
      const refusal = await refusalOf(silent.finish(job));
      expect(refusal.code).to.equal(RPC_ERROR.refused);
      expect(refusal.message).to.contain("given to another miner");
      await other.finish(taken);
    });

    it("takes a late share where nobody else has the trial yet", async () => {
      await start({ rules: { heartbeatMs: 1000 } });
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const job = await ada.job(0);
      pool.advance(2000);
      await pool.manager.sweep();
      await ada.finish(job);
      expect(await pool.manager.shares(1n)).to.have.length(1);
    });

    it("keeps a lease alive by heartbeats, but not beyond its end", async () => {
      await start({ rules: { heartbeatMs: 10_000, minLeaseMs: 50_000, leaseSlack: 0 } });
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const { lease, endsAt } = await ada.job(0);
      const beat = () => ada.peer.request("mining.heartbeat", { lease, epoch: 1 }, { timeoutMs: 30_000 });
      for (let i = 0; i < 5; i++) {
        pool.advance(9000);
        await pool.manager.sweep();
        expect((await beat()).endsAt).to.equal(endsAt);
      }
      pool.advance(9000);
      expect((await refusalOf(beat())).message).to.contain("not yours any more");
      expect((await ada.job(1)).lease).to.not.equal(lease);
    });

    it("resumes session and job on a new link, and ends the old one", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const job = await ada.job(0);
      const again = new ScriptedMiner(pool.manager, 1);
      await again.join(FAST, ada.session);
      expect((await again.job(0)).lease).to.equal(job.lease);
      expect(ada.closed!.code).to.equal(CLOSE.replaced);
      const second = await miner(1).join();
      expect((await second.job(0)).lease).to.not.equal(job.lease);
      expect(again.closed).to.equal(null);
    });

    it("does not let an account go on with another's session", async () => {
      await start();
      const ada = await miner(1).join();
      const thief = miner(2);
      const refusal = await refusalOf(thief.join(FAST, ada.session));
      expect(refusal.message).to.equal("The session belongs to another account.");
      expect(ada.closed).to.equal(null);
    });

    it("gives an abandoned trial to another miner, and an infeasible one to nobody", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const first = await ada.job(0);
      await ada.peer.request(
        "mining.abandon",
        { lease: first.lease, outcome: "infeasible", reason: "a bias beyond 2^31" },
        { timeoutMs: 30_000 },
      );
      const second = await ada.job(1);
      await ada.peer.request(
        "mining.abandon",
        { lease: second.lease, outcome: "stopped", reason: "shutting down" },
        { timeoutMs: 30_000 },
      );
      const bob = await miner(2).join();
      expect((await bob.job(0)).seed).to.equal(second.seed);
      // A miner that stays after all gets another one with the next sweep.
      await pool.manager.sweep();
      const third = await ada.job(2);
      expect([first.seed, second.seed]).not.to.include(third.seed);
    });

    it("goes on after a restart with the same task, sessions, leases and shares", async () => {
      await start();
      const task = taskOf(1n);
      await pool.manager.openTask(task);
      const ada = await miner(1).join();
      const done = await ada.finish(await ada.job(0));
      const job = await ada.job(1);
      const { database } = pool;
      await pool.manager.stop();
      expect(ada.closed!.code).to.equal(CLOSE.goingAway);

      // An hour later: the manager was away, so nobody has lost a lease.
      await start({ database, startAt: Date.now() + 60_000 });
      const back = new ScriptedMiner(pool.manager, 1);
      await back.join(FAST, ada.session);
      const retry = await refusalOf(back.submit(await trialOf(job)));
      expect(retry.code, retry.message).to.equal(RPC_ERROR.retry);
      // What was acknowledged is acknowledged again, before the manager even knows its task.
      expect((await back.submit(done)).best).to.equal(true);
      await pool.manager.openTask(task);
      await back.until(() => back.jobs.some((one) => one?.lease === job.lease));
      await back.submit(await trialOf(job));
      expect(await pool.manager.shares(1n)).to.have.length(2);
    });

    it("refuses a task that was opened with another descriptor, and one whose work is over", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const changed = taskOf(1n, { descriptor: { ...DESCRIPTOR, maxModelBytes: 1 } });
      await pool.manager.openTask(changed).then(
        () => expect.fail("opened"),
        (error: Error) => expect(error.message).to.contain("another descriptor"),
      );
      await pool.manager.closeTask("The phase is over.");
      await pool.manager.openTask(taskOf(1n)).then(
        () => expect.fail("opened"),
        (error: Error) => expect(error.message).to.equal("The pool's work on task 1 is over."),
      );
    });
  });

  describe("with shares that are not what they say", () => {
    const cases: [
      string,
      (honest: Awaited<ReturnType<typeof trialOf>>) => Parameters<ScriptedMiner["submit"]>,
      RegExp,
    ][] = [
      [
        "a better accuracy than the model's",
        (trial) => [trial, { validation: { correct: trial.share.validation.correct + 1, total: 30 } }],
        /The model has \d+ of 30 validation samples right, the share says \d+\.$/,
      ],
      [
        "a worse accuracy than the model's",
        (trial) => [trial, { validation: { correct: trial.share.validation.correct - 1, total: 30 } }],
        /The model has \d+ of 30 validation samples right/,
      ],
      [
        "another model root than the model's",
        (trial) => [trial, { modelRoot: `0x${"ab".repeat(32)}` }],
        /The model handed over has root 0x[0-9a-f]{64}, the share says 0xabab/,
      ],
      ["bytes that are no model", (trial) => [{ ...trial, model: trial.model.subarray(0, 100) }], /model/i],
    ];
    for (const [what, lie, reason] of cases) {
      it(`bans a miner that claims ${what}, and voids what it has earned in the task`, async () => {
        // What claims no best is looked at only where it is drawn.
        await start({ rules: { auditRate: 1 } });
        await pool.manager.openTask(taskOf(1n));
        const liar = await miner(1).join();
        await liar.finish(await liar.job(0));
        expect(await caught(liar, liar.submit(...lie(await trialOf(await liar.job(1)))))).to.match(reason);
        expect(liar.closed!.code).to.equal(CLOSE.banned);
        const standing = await pool.manager.shares(1n);
        expect(standing.map(({ voided }) => voided)).to.not.include(false);
        expect(standing[0]!.reason).to.match(/^The share of lease \d+ in task 1 was false\./);

        const back = miner(1);
        const barred = await refusalOf(back.join());
        expect(barred.code).to.equal(RPC_ERROR.banned);
        expect(barred.message).to.match(/is banned from this pool\. The share of lease \d+ in task 1 was false\./);

        const honest = await miner(2).join();
        await honest.finish(await honest.job(0));
        await pool.manager.closeTask("over");
        const points = await pool.manager.points(1n, { test: TEST, signal: never });
        expect(points.some(({ account }) => isAddressEqual(account, liar.signer.address))).to.equal(false);
      });
    }

    it("bans a miner whose model is of another architecture than its lease", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const liar = await miner(1).join();
      const job = await liar.job(0);
      const layers = job.architecture.layers.map((layer) => ({ ...layer, filters: layer.filters === 2 ? 3 : 2 }));
      const other = await trialOf({ ...job, architecture: { ...job.architecture, layers } });
      const refusal = await refusalOf(liar.submit(other, { architecture: job.architecture }));
      expect(refusal.code).to.equal(RPC_ERROR.banned);
      expect(refusal.message).to.contain("of another architecture");
    });

    it("takes the same share twice as one, with one receipt", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const trial = await trialOf(await ada.job(0));
      const [first, second] = await Promise.all([ada.submit(trial), ada.submit(trial)]);
      expect(second).to.deep.equal(first);
      expect((await ada.submit(trial)).receipt).to.equal(first.receipt);
      expect(await pool.manager.shares(1n)).to.have.length(1);
    });

    it("takes one share a lease", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const job = await ada.job(0);
      await ada.finish(job);
      const refusal = await refusalOf(ada.submit(await trialOf(job, "other weights")));
      expect(refusal.message).to.equal(`Lease ${job.lease} has had its share; there is one a lease.`);
    });

    it("takes one model once, whoever hands it in", async () => {
      await start({ rules: { neighbourShare: 0, reseedShare: 0 } });
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const trial = await ada.finish(await ada.job(0));
      const copier = await miner(2).join(SLOW);
      const job = await copier.job(0);
      expect(job.initial!.modelRoot).to.equal(trial.share.modelRoot);
      const { lease, seed } = job;
      const refusal = await refusalOf(copier.submit(trial, { lease, seed }));
      expect(refusal.message).to.contain("already among the pool's shares");
      expect((await copier.job(1)).lease).to.not.equal(lease);
      expect(copier.closed).to.equal(null);
    });

    it("refuses another miner's lease, and lets nobody hold up its owner", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const bob = await miner(2).join();
      const trial = await trialOf(await ada.job(0));
      const [stolen, own] = await Promise.allSettled([bob.submit(trial), ada.submit(trial)]);
      expect(stolen.status).to.equal("rejected");
      expect(own.status).to.equal("fulfilled");
      const refusal = await refusalOf(bob.submit(trial));
      expect(refusal.message).to.equal(`Lease ${trial.share.lease} belongs to another miner.`);
      expect((await refusalOf(ada.submit(trial, { lease: 99_999 }))).message).to.equal("There is no lease 99999.");
    });

    it("refuses a wrong signature, another trial, another task, and a wrong number of samples", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const trial = await trialOf(await ada.job(0));
      const forged = await signerOf(2).sign(shareData(IDENTITY, trial.share));
      ada.models.set(trial.share.modelRoot, trial.model);
      expect((await refusalOf(ada.submitShare(trial.share, forged))).message).to.contain("is not signed by");
      const zero = `0x${"00".repeat(65)}` as const;
      expect((await refusalOf(ada.submitShare(trial.share, zero))).message).to.contain("is not signed by");
      const refused = async (changes: Parameters<ScriptedMiner["submit"]>[1]) =>
        (await refusalOf(ada.submit(trial, changes))).message;
      expect(await refused({ seed: (trial.share.seed + 1) % 2 ** 32 })).to.contain("of another trial");
      expect(await refused({ taskId: 2n })).to.equal("The pool is not working on task 2.");
      expect(await refused({ validation: { correct: 5, total: 29 } })).to.contain("counts 29 validation samples");
      expect(await refused({ epochs: 4 })).to.contain("has 4 epochs; its lease is for 3");
      // None of these was the trial's end: the true share is still taken.
      await ada.submit(trial);
    });

    it("ends the lease of a model over the cap without calling it a lie", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const trial = await trialOf(await ada.job(0));
      const refusal = await refusalOf(ada.submit({ ...trial, model: new Uint8Array(100_001) }));
      expect(refusal.message).to.contain("has 100001 bytes; the cap is 100000");
      expect(refusal.code).to.equal(RPC_ERROR.refused);
      await ada.finish(await ada.job(1));
    });

    it("waits for a model that is not handed over, and takes the share when it is", async () => {
      await start({ rules: { modelTimeoutMs: 100 } });
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const trial = await trialOf(await ada.job(0));
      const refusal = await refusalOf(ada.submitShare(trial.share));
      expect(refusal.code).to.equal(RPC_ERROR.retry);
      await ada.submit(trial);
    });

    it("gives up a trial that was handed out too often", async () => {
      await start({ rules: { heartbeatMs: 1000, maxAttempts: 2 } });
      await pool.manager.openTask(taskOf(1n));
      const seeds = [];
      for (const key of [1, 2, 3]) {
        seeds.push((await (await miner(key).join()).job(0)).seed);
        pool.advance(2000);
      }
      expect(seeds[1]).to.equal(seeds[0]);
      expect(seeds[2]).not.to.equal(seeds[0]);
    });

    it("ends the link of a miner whose chunks never fit each other", async () => {
      await start({ rules: { maxOffences: 2 } });
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const { share } = await trialOf(await ada.job(0));
      const tooMuch = { length: 50, subarray: () => new Uint8Array(60) } as unknown as Uint8Array;
      ada.models.set(share.modelRoot, tooMuch);
      for (let attempt = 0; attempt < 2; attempt++) await ada.submitShare(share).catch(() => undefined);
      expect(ada.closed!.code).to.equal(CLOSE.offences);
    });

    it("takes no share after the task's end, nor after the task was closed", async () => {
      await start();
      await pool.manager.openTask(taskOf(1n, { endsAt: pool.now() + 10_000 }));
      const ada = await miner(1).join();
      const bob = await miner(2).join();
      const trial = await trialOf(await ada.job(0));
      await bob.job(0);
      pool.advance(10_001);
      expect((await refusalOf(ada.submit(trial))).message).to.equal("Task 1 takes no more shares.");
      await pool.manager.closeTask("The training phase is over.");
      await bob.until(() => bob.jobs.at(-1) === null);
      const late = await refusalOf(bob.submit(await trialOf(bob.jobs[0]!)));
      expect(late.message).to.equal("The training phase is over.");
      expect(late.code).to.equal(RPC_ERROR.refused);
    });

    it("keeps an honest miner's share apart from a failing evaluator", async () => {
      let broken = true;
      await start({
        evaluate: (bytes, request) => (broken ? Promise.reject(new Error("out of memory")) : evaluate(bytes, request)),
      });
      await pool.manager.openTask(taskOf(1n));
      const ada = await miner(1).join();
      const trial = await trialOf(await ada.job(0));
      const refusal = await refusalOf(ada.submit(trial));
      expect(refusal.code).to.equal(RPC_ERROR.internal);
      broken = false;
      await ada.submit(trial);
    });
  });

  describe("with points", () => {
    it("counts each share on the released test set above its lease's baseline, once, and receipts it", async () => {
      await start({ rules: { neighbourShare: 0, reseedShare: 0 } });
      await pool.manager.openTask(taskOf(3n));
      const ada = await miner(1).join();
      for (let round = 0; round < 4; round++) await ada.finish(await ada.job(round));
      const weak = await miner(2).join(SLOW);
      const parent = (await weak.job(0)).initial!.modelRoot;
      await weak.finish(await weak.job(0));
      await pool.manager.points(3n, { test: TEST, signal: never }).then(
        () => expect.fail("counted"),
        (error: Error) => expect(error.message).to.contain("still being worked on"),
      );
      await pool.manager.closeTask("over");

      const points = await pool.manager.points(3n, { test: TEST, signal: never });
      const correct = new Map<string, number>();
      const expected = new Map<string, bigint>();
      for (const { kind, modelRoot, miner: who } of await pool.manager.shares(3n)) {
        const [{ bytes }] = (await pool.database.queries.query.models.findMany({
          where: (table, { eq }) => eq(table.modelRoot, modelRoot),
        })) as unknown as [{ bytes: Uint8Array }];
        const right = (await evaluate(bytes, { ...TEST, maxBytes: 100_000 })).correct;
        correct.set(modelRoot, right);
        const baseline = kind === "explore" ? 14 : correct.get(parent)!;
        expected.set(who, (expected.get(who) ?? 0n) + BigInt(Math.max(0, right - baseline)));
      }
      expect(new Map(points.map((leaf) => [leaf.account, leaf.points]))).to.deep.equal(
        new Map([...expected].filter(([, sum]) => sum > 0n)),
      );
      expect(points.length).to.be.greaterThan(0);
      expect(await pool.manager.points(3n, { test: TEST, signal: never })).to.deep.equal(points);

      await ada.until(() => ada.receipts.length > 0);
      const [receipt, ...more] = ada.receipts;
      expect(more).to.have.length(0);
      expect(receipt!.points).to.equal(expected.get(ada.signer.address));
      expect(isSignedBy(RECEIPT_KEY.address, pointsData(IDENTITY, receipt!), receipt!.signature)).to.equal(true);
      const again = await ada.peer.request("mining.points", { taskId: 3n }, { timeoutMs: 30_000 });
      expect(again.receipt).to.deep.equal(receipt);

      const file = JSON.parse(Buffer.from(await pool.manager.sharesFile(3n)).toString("utf8"));
      expect(file.root).to.equal(buildPointsTree(points).root);
      const listed = file.shares.reduce((sum: bigint, share: { points: string }) => sum + BigInt(share.points), 0n);
      expect(listed.toString()).to.equal(file.total);
      for (const { miner: who, share, signature } of file.shares) {
        const data = shareData(IDENTITY, { ...share, taskId: BigInt(share.taskId) });
        expect(isSignedBy(who, data, signature)).to.equal(true);
      }
      const bytes = await pool.manager.sharesFile(3n);
      expect(Buffer.from(bytes).equals(Buffer.from(await pool.manager.sharesFile(3n)))).to.equal(true);
    });

    it("goes on counting after it was stopped in the middle, and says the same as in one go", async () => {
      const controller = new AbortController();
      let evaluations = 0;
      await start({
        evaluate: (bytes, request) => {
          if (request.count === TEST.count && ++evaluations === 3) controller.abort();
          return controller.signal.aborted && evaluations === 3
            ? Promise.reject(new Error("killed"))
            : evaluate(bytes, request);
        },
      });
      await pool.manager.openTask(taskOf(3n));
      const ada = await miner(1).join();
      for (let round = 0; round < 5; round++) await ada.finish(await ada.job(round));
      await pool.manager.closeTask("over");
      await pool.manager.points(3n, { test: TEST, signal: never }).then(
        () => expect.fail("counted"),
        (error: Error) => expect(error.message).to.equal("killed"),
      );
      const { database } = pool;
      await pool.manager.stop();
      await start({ database });
      const points = await pool.manager.points(3n, { test: TEST, signal: never });
      const sum = (await pool.manager.shares(3n)).reduce((total, share) => total + share.points!, 0n);
      expect(points.map((leaf) => leaf.points)).to.deep.equal([sum]);
      expect(evaluations).to.equal(3);
    });
  });

  describe("with messages against the protocol", () => {
    it("answers each with its reason, counts it, and ends the link at the tenth", async () => {
      await start();
      const sent: string[] = [];
      let closed: { code: number; reason: string } | undefined;
      const link = pool.manager.connect({
        send: (text) => sent.push(text),
        close: (code, reason) => {
          closed = { code, reason };
        },
      });
      const last = async (text: string): Promise<string> => {
        link.receive(text);
        await new Promise((resolve) => setTimeout(resolve, 5));
        return JSON.parse(sent.at(-1)!).error.message;
      };
      expect(await last("{")).to.equal("A message is not JSON.");
      expect(await last("[]")).to.contain("A message is not JSON-RPC 2.0");
      expect(await last("null")).to.contain("A message is not JSON-RPC 2.0");
      expect(await last('{"id":1,"method":"mining.subscribe"}')).to.contain("jsonrpc");
      expect(await last('{"jsonrpc":"2.0","id":1,"method":"mining.dance"}')).to.equal(
        "There is no method mining.dance.",
      );
      expect(await last('{"jsonrpc":"2.0","id":1,"method":"__proto__"}')).to.equal("There is no method __proto__.");
      expect(await last('{"jsonrpc":"2.0","id":1,"method":"mining.subscribe","params":{"client":""}}')).to.match(
        /^mining\.subscribe is not valid: client: /,
      );
      expect(await last('{"jsonrpc":"2.0","id":1,"method":"mining.points","params":{"taskId":"-4"}}')).to.equal(
        "mining.points is not valid: taskId: expected an integer as a decimal string.",
      );
      expect(await last('{"jsonrpc":"2.0","id":1,"method":"mining.points","params":{"taskId":"1"}}')).to.equal(
        "mining.subscribe and mining.authorize come first.",
      );
      expect(closed).to.equal(undefined);
      link.receive("{");
      expect(closed!.code).to.equal(CLOSE.offences);
      expect(closed!.reason).to.equal("10 messages against the protocol, the last one: A message is not JSON.");
    });

    it("admits nobody with a wrong or repeated answer to the challenge", async () => {
      await start();
      const thief = miner(1);
      const victim = signerOf(2);
      const hello = await thief.peer.request(
        "mining.subscribe",
        { client: "x", benchmark: FAST },
        { timeoutMs: 30_000 },
      );
      const authorize = (signature: `0x${string}`) =>
        thief.peer.request("mining.authorize", { miner: victim.address, signature }, { timeoutMs: 30_000 });
      const wrong = await thief.signer.sign({ domain: {}, types: { A: [] }, primaryType: "A", message: {} });
      expect((await refusalOf(authorize(wrong))).message).to.contain("The challenge is not signed by");
      expect(hello.challenge.nonce).to.match(/^0x/);
      expect((await refusalOf(authorize(wrong))).message).to.contain("There is no open challenge");
    });

    it("drops a link that nobody authorises", async () => {
      await start({ rules: { challengeMs: 1000 } });
      const idle = miner(1);
      pool.advance(1001);
      await pool.manager.sweep();
      expect(idle.closed!.code).to.equal(CLOSE.silent);
    });
  });
});
