import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import { expect } from "chai";
import { eq } from "drizzle-orm";

import { connectToPool, type PoolConnection } from "../../offchain/agents/pool-connection.ts";
import { openPoolDatabase } from "../../offchain/pool/database.ts";
import { createPoolManager } from "../../offchain/pool/manager.ts";
import { checkpoints as checkpointTable, leases, models, shares } from "../../offchain/pool/schema.ts";
import { isSignedBy, shareReceiptData, digestOf, shareData } from "../../offchain/pool/signatures.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import type { Share } from "../../offchain/pool/messages.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
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
} from "./kit/world.ts";

/** `POOL_KILLS=200` kills as often as that, in a folder and on a server each. */
const KILLS = { folder: Number(process.env.POOL_KILLS ?? 4), server: Number(process.env.POOL_KILLS ?? 6) };
const CHILD = join(import.meta.dirname, "kit/manager-process.ts");

describe("A pool's manager that is killed", function () {
  this.timeout(60_000 + 10_000 * (KILLS.folder + KILLS.server));
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
    const kept: { lease: number; modelRoot: Hex }[] = [];
    const refusals: string[] = [];
    let checkpoints = 0;

    async function mine(connection: PoolConnection, key: number): Promise<void> {
      while (!control.signal.aborted) {
        const job = await connection.nextJob();
        if (job.settings.epochs > 1) {
          const { share, model } = await trialOf(job, "half way");
          const { lease, modelRoot } = share;
          if (await connection.checkpoint({ lease, epochs: 1, modelRoot }, model)) {
            kept.push({ lease, modelRoot });
            checkpoints++;
          }
        }
        const { share, model } = await trialOf(job);
        const verdict = await connection.submit(share, model);
        if (verdict.status === "accepted") acknowledged.push({ share, receipt: verdict.receipt, key });
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
        expect(await isSignedBy(RECEIPT_KEY.address, data, receipt)).to.equal(true);
      }
      // At most the last share of each miner was written without its miner having heard of it.
      expect(rows.length - acknowledged.length).to.be.within(0, 3);
      expect(new Set(rows.map(({ leaseId }) => leaseId)).size).to.equal(rows.length);
      expect(new Set(rows.map(({ modelRoot }) => modelRoot)).size).to.equal(rows.length);
      const held = new Set((await queries.select().from(models)).map(({ modelRoot }) => modelRoot));
      for (const { modelRoot, holder } of rows) expect(held.has(modelRoot)).to.equal(holder === "manager");
      expect(rows.filter(({ audit }) => audit === "missing" || audit === "false")).to.deep.equal([]);
      const done = await queries.select().from(leases).where(eq(leases.state, "done"));
      expect(done.length).to.equal(rows.length);
      const live = await queries.select().from(leases).where(eq(leases.state, "live"));
      expect(live.length).to.be.at.most(3);
      expect(refusals).to.deep.equal([]);

      // What a trial in progress has left is there for as long as there is no share of it.
      const left = await queries.select().from(checkpointTable);
      const finished = new Set(done.map(({ id }) => id));
      expect(checkpoints).to.be.greaterThan(0);
      for (const { lease, modelRoot } of kept.filter((checkpoint) => !finished.has(checkpoint.lease))) {
        expect(left.find(({ leaseId }) => leaseId === lease)?.modelRoot, `checkpoint of ${lease}`).to.equal(modelRoot);
      }

      const options = { identity: IDENTITY, receiptKey: RECEIPT_KEY, evaluate, seed: 3, log: SILENT };
      const manager = createPoolManager({ database, ...options });
      const request = { test: TEST, until: 0, signal: new AbortController().signal, validation: VALIDATION };
      const points = await manager.points(1n, request);
      expect(await manager.points(1n, request)).to.deep.equal(points);
      const counted = await queries.select().from(shares);
      const sum = counted.reduce((total, row) => total + (row.voided ? 0n : (row.points ?? 0n)), 0n);
      expect(points.reduce((total, leaf) => total + leaf.points, 0n)).to.equal(sum);
      await manager.stop();
    } finally {
      await database.close();
    }
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
