import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { eq } from "drizzle-orm";

import { connectToPool, type MinerJob, type PoolConnection } from "../../offchain/agents/pool-connection.ts";
import { decodeModel, modelRoot as rootOf } from "../../offchain/evaluation/model.ts";
import { openPoolDatabase, type PoolDatabase } from "../../offchain/pool/database.ts";
import { createPoolManager } from "../../offchain/pool/manager.ts";
import type { PointsLeaf } from "../../offchain/pool/points-tree.ts";
import { checkpoints as checkpointTable, leases, models, receipts, shares } from "../../offchain/pool/schema.ts";
import { isSignedBy, shareReceiptData, digestOf, shareData } from "../../offchain/pool/signatures.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import type { Share } from "../../offchain/pool/messages.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { freePort, startServer, whyNoServer, type TestServer } from "./kit/postgres.ts";
import { FAST, SLOW } from "./kit/scripted-miner.ts";
import {
  cleanUp,
  evaluate,
  TEST,
  VALIDATION,
  IDENTITY,
  RECEIPT_KEY,
  scratchFolder,
  signerOf,
  SILENT,
  trialOf,
  type Trial,
} from "./kit/world.ts";

/** `POOL_KILLS=200` kills as often as that, in a folder and on a server each. */
const KILLS = { folder: Number(process.env.POOL_KILLS ?? 2), server: Number(process.env.POOL_KILLS ?? 3) };
const CHILD = join(import.meta.dirname, "kit/manager-process.ts");
const MINER = join(import.meta.dirname, "../agents/kit/miner-process.ts");
/** Of the miner that is killed; the others' are 1, 2 and 3. */
const KILLED_KEY = 4;
/** Of trials that have a checkpoint, the part that their miner hands back. */
const GIVEN_BACK = 0.3;

describe("A pool's manager that is killed", function () {
  this.timeout(90_000 + 15_000 * (KILLS.folder + KILLS.server));
  let child: ChildProcess | undefined;
  let server: TestServer | undefined;

  async function startManager(place: string, port: number): Promise<void> {
    const started = spawn(process.execPath, [CHILD, place, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
    child = started;
    const ready = once(started.stdout!, "data");
    const died = once(started, "exit").then(() => Promise.reject(new Error("the manager did not start")));
    died.catch(() => undefined);
    await Promise.race([ready, died]);
  }
  async function kill(): Promise<void> {
    const exit = once(child!, "exit");
    child!.kill("SIGKILL");
    await exit;
  }

  after(async () => {
    child?.kill("SIGKILL");
    await server?.stop();
    await cleanUp();
  });

  /**
   * Lets miners work while a manager is killed again and again, and then looks at what its database has of what they
   * were told.
   * @param crash crashes the database's server once, in the middle
   */
  async function survive(place: string, kills: number, crash?: () => Promise<void>): Promise<void> {
    const port = await freePort();
    const random = createRandom(`kills of ${kills}`);
    const control = new AbortController();
    const acknowledged: { share: Share; receipt: Hex; key: number }[] = [];
    const refusals: string[] = [];
    /** of each trial, by its network and seed: the checkpoints that the pool may have, and the last it said it has */
    const left = new Map<string, { lease: number; possible: Hex[]; sure: Hex | null }>();
    let [checkpoints, continued] = [0, 0];

    const nameOf = ({ architecture, seed }: MinerJob): string => `${seed} ${JSON.stringify(architecture)}`;
    const bytesOf = async (job: MinerJob, salt: string): Promise<Trial> => {
      const { share, model } = await trialOf(job, `${job.lease} ${salt}`);
      return { share: { ...share, trainLoss: Array<number>(share.epochs).fill(1) }, model };
    };

    /** A trial that was handed back goes on from its newest checkpoint, whatever was killed since. */
    function checkStart(job: MinerJob): void {
      const before = left.get(nameOf(job));
      if (before === undefined || before.lease === job.lease || job.kind === "exploit") return;
      if (before.sure !== null) expect(job.initial, `checkpoint of lease ${before.lease}`).to.not.equal(null);
      if (job.initial === null) return;
      expect(job.epochsBefore).to.be.greaterThan(0);
      expect(before.possible).to.include(job.initial.modelRoot);
      expect(rootOf(decodeModel(job.initialBytes!, { maxBytes: 1e6 }))).to.equal(job.initial.modelRoot);
      continued++;
    }

    async function mine(connection: PoolConnection, key: number): Promise<void> {
      while (!control.signal.aborted) {
        const job = await connection.nextJob();
        checkStart(job);
        const { lease, settings, initial } = job;
        if (settings.epochs > 1) {
          const before = left.get(nameOf(job)) ?? { possible: [], sure: null };
          const { share, model } = await bytesOf(job, "half way");
          const { modelRoot } = share;
          left.set(nameOf(job), { ...before, lease, possible: [...before.possible, modelRoot] });
          if (await connection.checkpoint({ lease, epochs: 1, modelRoot }, model)) {
            left.set(nameOf(job), { lease, possible: [modelRoot], sure: modelRoot });
            checkpoints++;
            if (random.next() < GIVEN_BACK) {
              await connection.abandon(lease, "stopped", "its miner has something else to do");
              continue;
            }
          }
        }
        let trial = await bytesOf(job, "");
        // What is no better than the checkpoint that it was given would be refused.
        const bar = initial === null || job.kind === "exploit" ? -1 : (await countOf(job.initialBytes!)) + 1;
        for (let salt = 0; trial.share.validation.correct < bar && salt < 60; salt++) {
          trial = await bytesOf(job, `${salt}`);
        }
        if (trial.share.validation.correct < bar) {
          await connection.abandon(lease, "stopped", "its miner has nothing better");
          continue;
        }
        const verdict = await connection.submit(trial.share, trial.model);
        if (verdict.status === "accepted") acknowledged.push({ share: trial.share, receipt: verdict.receipt, key });
        else refusals.push(verdict.reason);
      }
    }
    async function moreShares(count: number): Promise<void> {
      const before = acknowledged.length;
      while (acknowledged.length < before + count) await sleep(5);
    }

    await startManager(place, port);
    const connections = [1, 2, 3].map((key) =>
      connectToPool({
        url: `ws://127.0.0.1:${port}`,
        signer: signerOf(key),
        benchmark: key === 3 ? SLOW : FAST,
        signal: control.signal,
        log: SILENT,
        timing: { firstPauseMs: 10, lastPauseMs: 50 },
      }),
    );
    const mining = connections.map((connection, index) =>
      mine(connection, index + 1).catch((error: unknown) => {
        if (!control.signal.aborted) throw error;
      }),
    );
    const victim = createVictim(port, random.integer(2 ** 32));
    for (let round = 0; round < kills; round++) {
      await moreShares(1 + random.integer(3));
      await sleep(random.integer(150));
      if (crash !== undefined && round === kills >> 1) {
        await crash();
        await moreShares(3);
      }
      await kill();
      // Once it is not even given the time to start: a half-started manager must not be in the way either.
      if (round === 1) {
        const started = spawn(process.execPath, [CHILD, place, String(port)], { stdio: "ignore" });
        child = started;
        await sleep(300 + random.integer(900));
        await kill();
      }
      await startManager(place, port);
    }
    await moreShares(3);
    const { finished, unsent, lives } = await victim.end();
    control.abort();
    await Promise.all(mining);
    await Promise.all(connections.map((connection) => connection.close()));
    await kill();

    const database = await openPoolDatabase(place);
    const { queries } = database;
    try {
      const rows = await queries.select().from(shares);
      for (const { share, receipt, key } of acknowledged) {
        const written = rows.filter(({ leaseId }) => leaseId === share.lease);
        expect(written, `lease ${share.lease}`).to.have.length(1);
        expect(written[0]!.modelRoot).to.equal(share.modelRoot);
        expect(written[0]!.receipt).to.equal(receipt);
        const data = shareReceiptData(IDENTITY, {
          taskId: 1n,
          miner: signerOf(key).address,
          lease: share.lease,
          modelRoot: share.modelRoot,
          share: digestOf(shareData(IDENTITY, share)),
        });
        expect(isSignedBy(RECEIPT_KEY.address, data, receipt)).to.equal(true);
      }
      // At most the last share of each miner was written without its miner having heard of it.
      const own = rows.filter(({ miner }) => miner !== signerOf(KILLED_KEY).address);
      expect(own.length - acknowledged.length).to.be.within(0, 3);
      expect(new Set(rows.map(({ leaseId }) => leaseId)).size).to.equal(rows.length);
      expect(new Set(rows.map(({ modelRoot }) => modelRoot)).size).to.equal(rows.length);
      const held = new Set((await queries.select().from(models)).map(({ modelRoot }) => modelRoot));
      for (const { modelRoot, holder } of rows) expect(held.has(modelRoot)).to.equal(holder === "manager");
      expect(rows.filter(({ audit }) => audit === "missing" || audit === "false")).to.deep.equal([]);
      const done = await queries.select().from(leases).where(eq(leases.state, "done"));
      expect(done.length).to.equal(rows.length);
      const live = await queries.select().from(leases).where(eq(leases.state, "live"));
      expect(live.length).to.be.at.most(5);
      expect(refusals).to.deep.equal([]);

      // What a trial in progress has left is there for as long as there is no share of it.
      const there = await queries.select().from(checkpointTable);
      expect(checkpoints).to.be.greaterThan(0);
      const over = new Set(
        (await queries.select().from(leases))
          .filter(({ state }) => state !== "live" && state !== "expired")
          .map(({ id }) => id),
      );
      for (const { lease, sure, possible } of left.values()) {
        if (over.has(lease) || sure === null || possible.length > 1) continue;
        expect(there.find(({ leaseId }) => leaseId === lease)?.modelRoot, `checkpoint of ${lease}`).to.equal(sure);
      }

      // The killed miner's finished trials are the pool's, once each, or still in its folder.
      const closed = await queries
        .select()
        .from(leases)
        .where(eq(leases.miner, signerOf(KILLED_KEY).address));
      for (const [lease, root] of finished) {
        if (unsent.includes(lease)) continue;
        const row = closed.find(({ id }) => id === lease);
        if (row?.state === "refused" && row.refusal!.endsWith("nothing was gained.")) continue;
        expect(
          rows.filter(({ leaseId }) => leaseId === lease).map(({ modelRoot }) => modelRoot),
          `lease ${lease}`,
        ).to.deep.equal([root]);
      }
      console.log(
        `      ${acknowledged.length} shares, ${checkpoints} checkpoints of which ${continued} were gone on from, ${finished.size} trials of a miner that was killed ${lives} times`,
      );
    } finally {
      await database.close();
    }
    await countWhileKilled(place, Math.max(1, kills >> 2), random);
  }

  const countOf = async (bytes: Uint8Array): Promise<number> =>
    (await evaluate(bytes, { ...VALIDATION, maxBytes: bytes.length })).correct;

  /** A miner's process that is killed at random instants, and comes back each time. */
  function createVictim(port: number, seed: number) {
    const random = createRandom(seed);
    const dir = scratchFolder();
    let text = "";
    let over = false;
    let lives = 0;
    const living = (async () => {
      while (!over) {
        const process_ = spawn(process.execPath, [MINER, `ws://127.0.0.1:${port}`, dir, "2", `${KILLED_KEY}`], {
          stdio: ["ignore", "pipe", "inherit"],
        });
        lives++;
        process_.stdout!.on("data", (chunk: Buffer) => (text += chunk.toString()));
        const gone = once(process_, "close");
        // Each other life gets as far as a finished trial, however slow the machine is; the rest end where they end.
        const before = text.length;
        const atWork = lives % 2 === 0;
        for (let waited = 0; atWork && text.length === before && waited < 30_000 && !over; waited += 20)
          await sleep(20);
        const instant = random.integer(atWork ? 500 : 4000);
        for (let waited = 0; waited < instant && !over; waited += 20) await sleep(20);
        process_.kill("SIGKILL");
        await gone;
      }
    })();
    return {
      /** Of all that it had finished and on its disk: model by lease, and the leases whose share is still there. */
      async end(): Promise<{ finished: Map<number, string>; unsent: number[]; lives: number }> {
        over = true;
        await living;
        const lines = text.split("\n").filter((line) => line !== "");
        const unsent = join(dir, "unsent");
        return {
          finished: new Map(lines.map((line) => [Number.parseInt(line, 10), line.split(" ")[1]!])),
          unsent: existsSync(unsent) ? readdirSync(unsent).map((name) => Number.parseInt(name, 10)) : [],
          lives,
        };
      },
    };
  }

  /** Kills the manager while it counts, and compares with what one that is let be counts. */
  async function countWhileKilled(place: string, kills: number, random: Random): Promise<void> {
    for (let round = 0; round < kills; round++) {
      const counting = (child = spawn(process.execPath, [CHILD, place], { stdio: ["ignore", "pipe", "inherit"] }));
      const gone = once(counting, "exit");
      await Promise.race([once(counting.stdout!, "data"), gone]);
      await sleep(random.integer(1500));
      counting.kill("SIGKILL");
      await gone;
    }
    const database = await openPoolDatabase(place);
    try {
      const interrupted = await count(database);
      const issued = await database.queries.select().from(receipts);
      expect(issued.map(({ miner, points }) => `${miner} ${points}`).sort()).to.deep.equal(
        interrupted.map(({ account, points }) => `${account} ${points}`).sort(),
      );
      expect(issued.every(({ sequence }) => sequence === 1)).to.equal(true);
      await database.queries.update(shares).set({ testCorrect: null, testTotal: null, baseline: null, points: null });
      await database.queries.delete(receipts);
      expect(await count(database)).to.deep.equal(interrupted);
    } finally {
      await database.close();
    }
  }

  /** Each miner's points, which are the sum of its shares', and the same when asked for again. */
  async function count(database: PoolDatabase): Promise<readonly PointsLeaf[]> {
    const manager = createPoolManager({
      database,
      identity: IDENTITY,
      receiptKey: RECEIPT_KEY,
      evaluate,
      seed: 3,
      log: SILENT,
    });
    const request = { test: TEST, until: 0, signal: new AbortController().signal, validation: VALIDATION };
    const points = await manager.points(1n, request);
    expect(await manager.points(1n, request)).to.deep.equal(points);
    const rows = await database.queries.select().from(shares);
    for (const { account, points: sum } of points) {
      const own = rows.filter(({ miner, voided }) => miner === account && !voided);
      expect(own.reduce((total, row) => total + (row.points ?? 0n), 0n)).to.equal(sum);
    }
    await manager.stop();
    return points;
  }

  it(`at ${KILLS.folder} random instants while shares arrive loses nothing acknowledged and counts nothing twice`, async () => {
    await survive(scratchFolder(), KILLS.folder);
  });

  it(`at ${KILLS.server} random instants, and its database's server once, loses nothing acknowledged either`, async function () {
    const missing = whyNoServer();
    if (missing !== null) {
      console.log(`      skipped: ${missing}`);
      return this.skip();
    }
    const running = (server = await startServer());
    await survive(await running.newDatabase(), KILLS.server, async () => {
      await running.crash();
      await sleep(100);
      await running.start();
    });
  });

  it("while it makes its database leaves nothing that stands in the way of the next start", async () => {
    const dir = scratchFolder();
    for (const ms of [400, 1200]) {
      const started = spawn(process.execPath, [CHILD, dir, "0"], { stdio: "ignore" });
      await sleep(ms);
      const exit = once(started, "exit");
      started.kill("SIGKILL");
      await exit;
    }
    const database = await openPoolDatabase(dir);
    expect(await database.queries.select().from(shares)).to.deep.equal([]);
    await database.close();
  });
});
