import { expect } from "chai";
import { eq } from "drizzle-orm";

import { auditChance, auditCommitment, isDrawn, missingCost } from "../../offchain/pool/audit-draw.ts";
import { MAX_STANDINGS, type Job } from "../../offchain/pool/messages.ts";
import { createScheme, pointsByMiner, type SchemeTerms } from "../../offchain/pool/points-schemes.ts";
import { buildPointsTree } from "../../offchain/pool/points-tree.ts";
import { shares } from "../../offchain/pool/schema.ts";
import { epochsFault } from "../../offchain/pool/shares.ts";
import { readSharesFile } from "../../offchain/pool/shares-file.ts";
import { digestOf, isSignedBy, shareData, shareReceiptData } from "../../offchain/pool/signatures.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { FAST, refusalOf, ScriptedMiner } from "./kit/scripted-miner.ts";
import {
  cleanUp,
  createTestPool,
  DESCRIPTOR,
  IDENTITY,
  RECEIPT_KEY,
  taskOf,
  TEST,
  trialOf,
  VALIDATION,
  type TestPool,
  type Trial,
} from "./kit/world.ts";

const never = new AbortController().signal;
/** Of a share that is not the first of its miner: practically never, and nothing is fetched at leisure either. */
const LAZY = { auditRate: 1e-6, collectPerSecond: 0, handOverMs: 400 };

/** Draws none of the first leases that are not drawn whatever the secret. */
const SECRET = ((): Hex => {
  for (let i = 1; ; i++) {
    const secret = auditCommitment(`0x${i.toString(16).padStart(64, "0")}`);
    const leases = [2, 3, 4, 5, 6, 7, 8];
    if (!leases.some((lease) => isDrawn(secret, 1n, lease, 800_000))) return secret;
  }
})();
const auditSecret = (): Hex => SECRET;

describe("Audits", () => {
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

  /** A trial that claims no best. */
  async function modest(job: Job): Promise<Trial> {
    const best = (await pool.manager.best(job.taskId))!.validation.correct;
    for (let salt = 0; ; salt++) {
      const trial = await trialOf(job, `modest ${salt}`);
      if (trial.share.validation.correct <= best) return trial;
    }
  }
  /** A best that is hard to beat, by a miner of its own. */
  async function raiseTheBar(taskId = 1n): Promise<void> {
    const ada = await miner(9).join();
    const job = await ada.job(0);
    expect(job.taskId).to.equal(taskId);
    let top = await trialOf(job);
    for (let salt = 0; salt < 40; salt++) {
      const trial = await trialOf(job, `top ${salt}`);
      if (trial.share.validation.correct > top.share.validation.correct) top = trial;
    }
    await ada.submit(top);
    ada.hangUp();
  }
  const rows = () => pool.database.queries.select().from(shares).orderBy(shares.id);
  async function until(condition: () => Promise<boolean>): Promise<void> {
    while (!(await condition())) await sleep(10);
  }

  it("acknowledge a share that claims no best without its model, ask for a drawn one, and keep it where it is true", async () => {
    await start({ rules: LAZY, auditSecret });
    await pool.manager.openTask(taskOf(1n));
    await raiseTheBar();
    const ada = await miner(1).join();
    const first = await modest(await ada.job(0));
    const { receipt } = await ada.submit(first);
    expect(receipt).to.match(/^0x/);
    // A miner's first share is always drawn.
    await until(async () => (await rows())[1]!.audit === "passed");
    expect((await rows())[1]).to.include({ holder: "manager", chance: 1_000_000, voided: false });
    await ada.submit(await modest(await ada.job(1)));
    await sleep(50);
    expect((await rows())[2]).to.include({ holder: "miner", voided: false });
  });

  it("tell a miner on joining how points are counted, and with a job what its draws hang on", async () => {
    await start({ scheme: { name: "blend", performance: 3, effort: 1 } });
    await pool.manager.openTask(taskOf(1n));
    const ada = miner(1);
    const hello = await ada.peer.request("mining.subscribe", { client: "x", benchmark: FAST }, { timeoutMs: 30_000 });
    expect(hello.scheme!.text).to.equal("blend performance=3 effort=1");
    expect(hello.scheme!.unproven).to.contain("is not proven");
    expect(hello.scheme!.auditRate).to.equal(100_000);
    const bob = await miner(2).join();
    expect((await bob.job(0)).auditCommitment).to.match(/^0x[0-9a-f]{64}$/);
  });

  it("ban a miner whose drawn model is another than it said, void its points of the task, and keep the reason", async () => {
    await start({ rules: LAZY });
    await pool.manager.openTask(taskOf(1n));
    await raiseTheBar();
    const liar = await miner(1).join();
    const trial = await modest(await liar.job(0));
    // Acknowledged: nobody has seen the model yet.
    await liar.submit(trial, { validation: { correct: trial.share.validation.correct - 1, total: 30 } });
    await liar.until(() => liar.closed !== null);
    expect(liar.closed!.reason).to.match(/^The share of lease \d+ in task 1 was false\. The model has \d+ of 30/);
    const share = (await pool.manager.shares(1n))[1]!;
    expect(share).to.include({ audit: "false", voided: true, reason: liar.closed!.reason });
    expect((await refusalOf(miner(1).join())).message).to.contain("is banned from this pool");
    // What else was drawn of it is not waited for any more, and holds up nobody.
    await pool.database.queries
      .update(shares)
      .set({ audit: "due", holder: "miner" })
      .where(eq(shares.miner, liar.signer.address));
    await pool.manager.closeTask("over");
    const points = await pool.manager.points(1n, { test: TEST, signal: never });
    expect(points.map(({ account }) => account)).to.not.include(liar.signer.address);
  });

  it("take nothing but its own share from a miner that has lost a drawn model, and ban one that loses many", async () => {
    await start({ rules: { ...LAZY, maxMissing: 3 } });
    await pool.manager.openTask(taskOf(1n));
    await raiseTheBar();
    const ada = await miner(1).join();
    for (let round = 0; round < 3; round++) {
      const trial = await modest(await ada.job(round));
      await ada.submitShare(trial.share); // without its model
      if (round < 2) await until(async () => (await rows())[1 + round]!.audit === "missing");
      if (round === 1) {
        const { shares: standing } = await ada.peer.request(
          "mining.shares",
          { taskId: 1n, after: 0 },
          { timeoutMs: 30_000 },
        );
        expect(standing).to.have.length(2);
        expect(standing[0]!.reason).to.equal(
          "It was drawn for an audit, and its model is not to be had. no such model",
        );
        expect(standing[0]!.voided).to.equal(false);
        const rest = await ada.peer.request(
          "mining.shares",
          { taskId: 1n, after: standing[0]!.lease },
          { timeoutMs: 30_000 },
        );
        expect(rest.shares.map(({ lease }) => lease)).to.deep.equal([standing[1]!.lease]);
        expect(MAX_STANDINGS).to.be.greaterThan(100);
      }
    }
    await ada.until(() => ada.closed !== null);
    expect(ada.closed!.reason).to.equal("3 models of task 1 that were drawn for audits were not to be had.");
  });

  it("are made after a restart, and at the latest when points are counted", async () => {
    await start({ rules: LAZY });
    await pool.manager.openTask(taskOf(1n));
    await raiseTheBar();
    const ada = await miner(1).join();
    const trial = await modest(await ada.job(0));
    const kept = ada.models;
    ada.submitShare(trial.share).catch(() => undefined);
    await until(async () => (await rows()).length === 2);
    const { database } = pool;
    ada.hangUp(); // before it could be asked, or while it was
    await pool.manager.stop();
    await pool.database.queries
      .update(shares)
      .set({ audit: "due", holder: "miner", reason: null })
      .where(eq(shares.id, (await rows())[1]!.id));

    await start({ database, rules: LAZY });
    const back = miner(1);
    kept.set(trial.share.modelRoot, trial.model);
    for (const [root, model] of kept) back.models.set(root, model);
    await back.join(FAST, ada.session);
    await pool.manager.points(1n, { test: TEST, validation: VALIDATION, signal: never });
    expect((await rows())[1]).to.include({ audit: "passed", holder: "manager" });
  });

  it("need the validation split of a task that another process had open", async () => {
    await start({ rules: LAZY });
    await pool.manager.openTask(taskOf(1n));
    await raiseTheBar();
    const ada = await miner(1).join();
    await ada.submitShare((await modest(await ada.job(0))).share).catch(() => undefined);
    await pool.manager.closeTask("over");
    const { database } = pool;
    await pool.manager.stop();
    await pool.database.queries.update(shares).set({ audit: "due", holder: "miner" });
    await start({ database, rules: LAZY });
    const failure = await pool.manager.points(1n, { test: TEST, signal: never }).then(
      () => "counted",
      (error: Error) => error.message,
    );
    expect(failure).to.equal("Task 1 has audits to be made, which need its validation split.");
  });

  it("wait for the models of a miner that is away, count it when it is back, and pay the others when it is not", async () => {
    await start({ rules: { ...LAZY, handOverMs: 2000 }, auditSecret });
    await pool.manager.openTask(taskOf(1n));
    await raiseTheBar();
    const [ada, bob] = [await miner(1).join(), await miner(2).join()];
    for (const one of [ada, bob]) {
      await one.submit(await modest(await one.job(0)));
      await one.submit(await modest(await one.job(1)));
      await until(async () => (await rows()).every(({ audit }) => audit !== "due"));
      one.hangUp();
    }
    await pool.manager.closeTask("over");
    const counting = pool.manager.points(1n, { test: TEST, signal: never });
    await sleep(300);
    const back = miner(1);
    for (const [root, model] of ada.models) back.models.set(root, model);
    await back.join(FAST, ada.session);
    await counting;
    const standing = (await rows()).map(({ holder, testCorrect, reason }) => ({ holder, testCorrect, reason }));
    expect(standing.filter(({ holder }) => holder === "manager")).to.have.length(4);
    for (const { holder, testCorrect } of standing) expect(testCorrect === null).to.equal(holder !== "manager");
    expect(standing.find(({ holder }) => holder === "miner")!.reason).to.contain("not handed over in time");
    expect(await pool.manager.points(1n, { test: TEST, signal: never })).to.deep.equal(await counting);
  });

  const schemes: SchemeTerms[] = [
    { name: "performance" },
    { name: "effort" },
    { name: "blend", performance: 1, effort: 2 },
    { name: "pplns", trials: 5 },
  ];
  for (const scheme of schemes) {
    it(`and points of ${scheme.name} follow from the shares file alone, over two tasks`, async () => {
      await start({ scheme, rules: { auditRate: 0.3, collectPerSecond: 1000, reseedShare: 0, neighbourShare: 0 } });
      for (const taskId of [1n, 2n]) {
        await pool.manager.openTask(taskOf(taskId));
        const pair = [await miner(1).join(), await miner(2).join()];
        for (let round = 0; round < 4; round++) for (const one of pair) await one.finish(await one.job(round));
        await pool.manager.closeTask("over");
        for (const one of pair) await one.until(() => one.jobs.at(-1) === null);
        const points = await pool.manager.points(taskId, { test: TEST, signal: never });
        expect(points.length).to.be.greaterThan(0);
        const bytes = await pool.manager.sharesFile(taskId);
        expect(Buffer.from(bytes).equals(Buffer.from(await pool.manager.sharesFile(taskId)))).to.equal(true);
        for (const one of pair) one.hangUp();

        const file = readSharesFile(bytes, "The file");
        expect(file.scheme).to.deep.equal(scheme);
        const counted = file.shares.map((share) => ({ ...share, miner: share.miner }));
        const scored = createScheme(file.scheme).score(counted);
        expect(scored).to.deep.equal(file.shares.map((share) => share.points));
        expect(pointsByMiner(counted, scored)).to.deep.equal(points);
        expect(buildPointsTree(points).root).to.equal(file.root);

        const atRisk = new Map<string, bigint>();
        for (const listed of file.shares.filter((one) => one.taskId === taskId)) {
          const { taskId: of, lease, miner: who, chance, audit, work, share, receipt } = listed;
          const task = file.tasks.find((one) => one.taskId === of)!;
          expect(auditCommitment(task.audit.secret)).to.equal(task.audit.commitment);
          const drawn = isDrawn(task.audit.secret, of, lease, chance);
          if (drawn) expect(audit).to.equal("passed");
          // A manager may look more often than it must, while audits are open; never less often.
          const least = auditChance({ rate: task.audit.rate, work, atRisk: atRisk.get(who) ?? 0n });
          expect(chance).to.be.at.least(least);
          atRisk.set(who, (atRisk.get(who) ?? 0n) + work);
          expect(missingCost(work, chance) >= 0n).to.equal(true);
          const said = { taskId: of, miner: who, lease, modelRoot: share.modelRoot };
          const data = shareReceiptData(IDENTITY, { ...said, share: digestOf(shareData(IDENTITY, share)) });
          expect(isSignedBy(RECEIPT_KEY.address, data, receipt)).to.equal(true);
          expect(isSignedBy(who, shareData(IDENTITY, share), listed.signature)).to.equal(true);
        }
        if (scheme.name === "pplns" && taskId === 2n) {
          expect(file.shares.filter((share) => share.points > 0n).length).to.be.at.most(5);
        }
      }
    });
  }

  it("take no share with other epochs than its lease's, early stop, divergence and dead networks aside", async () => {
    await start();
    await pool.manager.openTask(taskOf(1n));
    const ada = await miner(1).join();
    const { share } = await trialOf(await ada.job(0));
    const { settings } = DESCRIPTOR;
    const fault = (changes: object, recipe: object = {}): string | null =>
      epochsFault({ ...share, ...changes }, { settings: { ...settings, ...recipe } });
    expect(fault({})).to.equal(null);
    expect(fault({ epochs: 1, trainLoss: [1] })).to.equal("The share has 1 epochs of the 3 that its lease is for.");
    expect(fault({ epochs: 3, trainLoss: [1] })).to.equal("The share has 3 epochs and a loss of 1.");
    expect(fault({ epochs: 4, trainLoss: [1, 1, 1, 1] })).to.equal("The share has 4 epochs; its lease is for 3.");
    expect(fault({ epochs: 1, trainLoss: [1, null] }), "diverged").to.equal(null);
    const earlyStop = { patience: 1 };
    expect(fault({ epochs: 2, trainLoss: [1, 1] }, { earlyStop })).to.equal(null);
    expect(fault({ epochs: 1, trainLoss: [1] }, { earlyStop })).to.contain("1 epochs of the 3");
    const refusal = await refusalOf(ada.submitShare({ ...share, epochs: 1, trainLoss: [1] }));
    expect(refusal.message).to.equal("The share has 1 epochs of the 3 that its lease is for.");
  });
});
