import { isDeepStrictEqual } from "node:util";

import { expect } from "chai";
import { count, eq, sql } from "drizzle-orm";

import { openPoolDatabase, type PoolDatabase } from "../../offchain/pool/database.ts";
import { createPoolManager } from "../../offchain/pool/manager.ts";
import { miners, models, receipts, shares, tasks } from "../../offchain/pool/schema.ts";
import { createSerial } from "../../offchain/pool/serial.ts";
import { createUpkeep } from "../../offchain/pool/upkeep.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { startServer, whyNoServer, type TestServer } from "./kit/postgres.ts";
import { ScriptedMiner } from "./kit/scripted-miner.ts";
import {
  cleanUp,
  DESCRIPTOR,
  evaluate,
  IDENTITY,
  RECEIPT_KEY,
  scratchFolder,
  SILENT,
  taskOf,
  TEST,
} from "./kit/world.ts";

const rowsOf = (result: unknown): Record<string, unknown>[] => (result as { rows: Record<string, unknown>[] }).rows;

/** What every pool's database must do, whichever it is. */
function behavesAsDatabase(kind: string, place: () => Promise<string>, missing: string | null): void {
  describe(`A pool's database ${kind}`, function () {
    let where: string;
    let database: PoolDatabase;

    before(async function () {
      if (missing !== null) {
        console.log(`      skipped: ${missing}`);
        return this.skip();
      }
      where = await place();
      database = await openPoolDatabase(where);
    });
    after(async () => database?.close());

    it("gives back integers, bytes, times and documents as they were given", async () => {
      const { queries } = database;
      const taskId = 2n ** 256n - 1n;
      const bytes = Uint8Array.from({ length: 70_000 }, (_, at) => (at * 7) % 256);
      const modelRoot = `0x${"ab".repeat(32)}` as const;
      const task = {
        taskId,
        descriptor: DESCRIPTOR,
        subspaces: [],
        seed: 2 ** 52 + 1,
        openedAt: Date.UTC(2200, 1),
        endsAt: 5,
      };
      await queries.insert(tasks).values(task);
      await queries.insert(models).values({ taskId, modelRoot, bytes });
      const [written] = await queries.select().from(tasks).where(eq(tasks.taskId, taskId));
      expect(written).to.deep.include({ ...task, closed: false });
      const [model] = await queries.select().from(models);
      expect(model!.bytes.constructor).to.equal(Uint8Array);
      expect(model!.bytes).to.deep.equal(bytes);

      const text = "a\\b'\"–\u{1F600} \u0001";
      const miner = "0x00000000000000000000000000000000000000AA";
      await queries.insert(miners).values({ address: miner, firstSeen: 1, banReason: text });
      expect((await queries.select().from(miners))[0]).to.deep.equal({
        address: miner,
        firstSeen: 1,
        bannedAt: null,
        banReason: text,
      });
      const points = 2n ** 127n - 1n;
      await queries.insert(receipts).values({ taskId, miner, sequence: 1, points, signature: "0x00", issuedAt: 2 });
      expect((await queries.select().from(receipts))[0]!.points).to.equal(points);

      const raw =
        await queries.execute(sql`SELECT 9007199254740993::bigint AS large, ${3}::bigint AS small, 1.50::numeric AS exact,
        0.1::double precision AS real, true AS yes, '\\x00ff'::bytea AS bytes, '[1,{"a":null}]'::jsonb AS json,
        timestamptz '2026-01-02 03:04:05+00' AS time, NULL AS nothing, count(*) AS rows FROM tasks`);
      expect(rowsOf(raw)[0]).to.deep.equal({
        large: 9007199254740993n,
        small: 3,
        exact: "1.50",
        real: 0.1,
        yes: true,
        bytes: Uint8Array.of(0, 255),
        json: [1, { a: null }],
        time: rowsOf(raw)[0]!.time,
        nothing: null,
        rows: 1,
      });
      expect(rowsOf(raw)[0]!.time).to.match(/^2026-01-02 03:04:05\+00/);
    });

    it("writes a transaction whole or not at all, and lets nothing come between", async () => {
      const { queries } = database;
      const row = (n: number) => ({ address: `0x${n.toString(16).padStart(40, "0")}` as const, firstSeen: n });
      const before = await queries.select({ n: count() }).from(miners);
      const failed = queries
        .transaction(async (tx) => {
          await tx.insert(miners).values(row(1));
          throw new Error("changed its mind");
        })
        .catch((error: Error) => error.message);
      expect(await failed).to.equal("changed its mind");
      expect(await queries.select({ n: count() }).from(miners)).to.deep.equal(before);

      // A failed statement that was passed over must not look like success.
      const passedOver = queries.transaction(async (tx) => {
        await tx.insert(miners).values(row(2));
        await tx.execute(sql`SELECT 1 / 0`).catch(() => undefined);
      });
      await passedOver.catch(() => undefined);
      expect(await queries.select({ n: count() }).from(miners)).to.deep.equal(before);

      await queries.transaction(async (tx) => {
        await tx.insert(miners).values(row(3));
        await tx.transaction((inner) => inner.insert(miners).values(row(3))).catch(() => undefined);
        await tx.transaction((inner) => inner.insert(miners).values(row(4)));
      });
      const seen: string[] = [];
      await Promise.all([
        queries.transaction(async (tx) => {
          seen.push("first begins");
          await tx.select().from(miners);
          await tx.select().from(miners);
          seen.push("first ends");
        }),
        queries
          .select()
          .from(miners)
          .then(() => seen.push("read")),
        queries.transaction(async () => void seen.push("second")),
      ]);
      expect(seen.slice(0, 2)).to.deep.equal(["first begins", "first ends"]);
      expect(seen.slice(2).sort()).to.deep.equal(["read", "second"]);
    });

    it("answers statements that are asked together each for itself, also where one of them fails", async () => {
      const { queries } = database;
      const asked = [1, 0, 2].map((by) => queries.execute(sql`SELECT 6 / ${by}::integer AS part`));
      const answers = await Promise.allSettled(asked);
      expect(answers.map((one) => (one.status === "fulfilled" ? rowsOf(one.value)[0] : null))).to.deep.equal([
        { part: 6 },
        null,
        { part: 3 },
      ]);
    });

    it("knows its tables as they grow, and takes back the room of what is dead", async () => {
      const { queries } = database;
      const upkeep = createUpkeep({ queries, writing: createSerial(), clock: () => (now += 3000) });
      let now = 0;
      const figures = async (): Promise<unknown> =>
        rowsOf(
          await queries.execute(
            sql`SELECT n_mod_since_analyze > 200 AS changed, n_dead_tup > 200 AS dead FROM pg_stat_user_tables WHERE relname = 'miners'`,
          ),
        )[0];
      const add = async (from: number): Promise<void> =>
        void (await queries.execute(
          sql`INSERT INTO miners (address, first_seen) SELECT 'one ' || at, 0 FROM generate_series(${from}::integer, ${from + 499}::integer) AS at`,
        ));
      // A server notes what was changed a second later.
      const noted = async (what: unknown): Promise<void> => {
        for (let at = 0; at < 100 && !isDeepStrictEqual(await figures(), what); at++) await sleep(50);
        expect(await figures()).to.deep.equal(what);
      };
      await add(0);
      await noted({ changed: true, dead: false });
      await upkeep();
      await noted({ changed: false, dead: false });
      await queries.execute(sql`DELETE FROM miners WHERE address LIKE 'one %'`);
      await noted({ changed: true, dead: true });
      await upkeep();
      await noted({ changed: false, dead: false });
    });

    it("carries a task from the first lease to the last receipt, over a restart", async () => {
      await database.queries.execute(
        sql`TRUNCATE tasks, miners, sessions, leases, models, shares, receipts, strategies RESTART IDENTITY CASCADE`,
      );
      const make = () =>
        createPoolManager({ database, identity: IDENTITY, receiptKey: RECEIPT_KEY, evaluate, seed: 7, log: SILENT });
      const task = taskOf(2n ** 200n);
      let manager = make();
      await manager.openTask(task);
      const first = await new ScriptedMiner(manager, 1).join();
      await first.finish(await first.job(0));
      await manager.stop();
      await database.close();

      database = await openPoolDatabase(where);
      manager = make();
      await manager.openTask(task);
      const second = await new ScriptedMiner(manager, 1).join(undefined, first.session);
      await second.finish(await second.job(0));
      await manager.closeTask("over");
      const signal = new AbortController().signal;
      const points = await manager.points(task.taskId, { test: TEST, signal });
      expect(await manager.points(task.taskId, { test: TEST, signal })).to.deep.equal(points);
      expect((await manager.best(task.taskId))!.bytes.constructor).to.equal(Uint8Array);
      expect(await database.queries.select().from(shares)).to.have.length(2);
      await manager.stop();
    });
  });
}

let server: TestServer | undefined;
after(async () => {
  await server?.stop();
  await cleanUp();
});

behavesAsDatabase("in a folder", async () => scratchFolder(), null);
behavesAsDatabase("on a server", async () => (server ??= await startServer()).newDatabase(), whyNoServer());
