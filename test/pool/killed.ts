import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

import { expect } from "chai";
import { eq } from "drizzle-orm";

import { connectToPool, type PoolConnection } from "../../offchain/agents/pool-connection.ts";
import { openPoolDatabase } from "../../offchain/pool/database.ts";
import { leases, models, shares } from "../../offchain/pool/schema.ts";
import { isSignedBy, shareReceiptData, digestOf, shareData } from "../../offchain/pool/signatures.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import type { Share } from "../../offchain/pool/messages.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { FAST, SLOW } from "./kit/scripted-miner.ts";
import { cleanUp, IDENTITY, RECEIPT_KEY, scratchFolder, signerOf, SILENT, trialOf } from "./kit/world.ts";

const CHILD = join(import.meta.dirname, "kit/manager-process.ts");

describe("A pool's manager that is killed", function () {
  this.timeout(120_000);
  let child: ChildProcess | undefined;

  async function startManager(dir: string, port: number): Promise<void> {
    const started = spawn(process.execPath, [CHILD, dir, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
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
  async function freePort(): Promise<number> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, "close");
    return port;
  }

  after(async () => {
    child?.kill("SIGKILL");
    await cleanUp();
  });

  it("at random instants while shares arrive loses no acknowledged share and counts none twice", async () => {
    const dir = scratchFolder();
    const port = await freePort();
    const random = createRandom("kills");
    const control = new AbortController();
    const acknowledged: { share: Share; receipt: Hex; key: number }[] = [];
    const refusals: string[] = [];

    async function mine(connection: PoolConnection, key: number): Promise<void> {
      while (!control.signal.aborted) {
        const job = await connection.nextJob();
        const { share, model } = await trialOf(job);
        const verdict = await connection.submit(share, model);
        if (verdict.status === "accepted") acknowledged.push({ share, receipt: verdict.receipt, key });
        else refusals.push(verdict.reason);
      }
    }

    await startManager(dir, port);
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
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.length;
      while (acknowledged.length < before + 3) await sleep(5);
      await sleep(random.integer(150));
      await kill();
      // Once it is not even given the time to start: a half-started manager must not be in the way either.
      if (round === 1) {
        const started = spawn(process.execPath, [CHILD, dir, String(port)], { stdio: "ignore" });
        child = started;
        await sleep(300 + random.integer(900));
        await kill();
      }
      await startManager(dir, port);
    }
    const before = acknowledged.length;
    while (acknowledged.length < before + 3) await sleep(5);
    control.abort();
    await Promise.all(mining);
    await Promise.all(connections.map((connection) => connection.close()));
    await kill();

    const database = await openPoolDatabase(dir);
    const { queries } = database;
    try {
      const rows = await queries.select().from(shares);
      for (const { share, receipt, key } of acknowledged) {
        const kept = rows.filter(({ leaseId }) => leaseId === share.lease);
        expect(kept, `lease ${share.lease}`).to.have.length(1);
        expect(kept[0]!.modelRoot).to.equal(share.modelRoot);
        expect(kept[0]!.receipt).to.equal(receipt);
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
    } finally {
      await database.close();
    }
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
