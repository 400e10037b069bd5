import { expect } from "chai";
import pg from "pg";
import { pino } from "pino";

import { openPoolDatabase, type PoolDatabase } from "../../offchain/pool/database.ts";
import { miners } from "../../offchain/pool/schema.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { startServer, whyNoServer, type TestServer } from "./kit/postgres.ts";

const QUICK = { takeoverMs: 200, patienceMs: 5_000, firstPauseMs: 10, lastPauseMs: 50 };

async function failureOf(promise: Promise<unknown>): Promise<PonasError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PonasError) return error;
    throw error;
  }
  throw new Error("nothing failed");
}

describe("A pool's database on a server", function () {
  let server: TestServer;
  let url: string;
  const open: PoolDatabase[] = [];
  const row = (n: number) => ({ address: `0x${n.toString(16).padStart(40, "0")}` as const, firstSeen: n });

  async function opened(place = url, options: Parameters<typeof openPoolDatabase>[1] = {}): Promise<PoolDatabase> {
    const database = await openPoolDatabase(place, { timing: QUICK, ...options });
    open.push(database);
    return database;
  }
  /** Ends the manager's connection from the server's side, as an operator may. */
  const cut = (): Promise<unknown> =>
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ponas pool manager'");

  before(async function () {
    const missing = whyNoServer();
    if (missing !== null) {
      console.log(`      skipped: ${missing}`);
      return this.skip();
    }
    server = await startServer();
  });
  beforeEach(async () => {
    url = await server.newDatabase();
  });
  afterEach(async () => {
    for (const database of open.splice(0)) await database.close();
  });
  after(async () => server?.stop());

  it("says in one sentence what is wrong with its URL or its server, and never the password", async () => {
    const { port } = new URL(url);
    await server.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'");
    const cases: [string, string, string][] = [
      [url.replace("s3cret", "wr0ng"), "bad-input", "does not admit this user with this password"],
      [url.replace(":s3cret", ""), "bad-input", "does not admit this user with this password"],
      [
        url.replace(/pool\d+$/, "nowhere"),
        "bad-input",
        `The pool's database nowhere at 127.0.0.1:${port} does not exist.`,
      ],
      [`postgresql://owner:s3cret@127.0.0.1:1/x`, "unavailable", "is away (connect ECONNREFUSED 127.0.0.1:1)"],
      ["postgresql://owner:s3cret@127.0.0.1:99999/x", "bad-input", "The URL of the pool's database cannot be read."],
      [url.replace("owner:s3cret", "guest:guest"), "bad-input", "does not let this user make tables"],
      [await server.newDatabase("SQL_ASCII"), "bad-input", "has the encoding SQL_ASCII; the pool needs UTF8"],
    ];
    for (const [place, code, sentence] of cases) {
      const error = await failureOf(opened(place));
      expect(error.message).to.contain(sentence);
      expect(error.code, sentence).to.equal(code);
      expect(error.cure, sentence).to.be.a("string");
      expect(JSON.stringify(pino.stdSerializers.err(error))).to.not.match(/s3cret|wr0ng/);
    }
  });

  it("is refused to a second manager, and free again when the first has closed it or has died", async () => {
    const first = await opened();
    const error = await failureOf(opened());
    expect(error.message).to.match(
      /^The pool's database pool\d+ at 127.0.0.1:\d+ is in use by another pool manager from 127.0.0.1\.$/,
    );
    // Another database of the same server is another pool's.
    await opened(await server.newDatabase());
    await first.close();
    await opened();
  });

  it("connects again when its connection is cut, holds its lock again, and keeps what was written", async () => {
    const { queries, lost } = await opened();
    await queries.insert(miners).values(row(1));
    await cut();
    expect(await queries.select().from(miners)).to.have.length(1);
    await queries.insert(miners).values(row(2));
    expect((await failureOf(opened())).message).to.contain("is in use by another pool manager");
    expect(await queries.select().from(miners)).to.have.length(2);
    expect(lost.aborted).to.equal(false);
  });

  it("fails the transaction that was under way when the connection was cut, as something to try again", async () => {
    const { queries } = await opened();
    const error = await failureOf(
      queries.transaction(async (tx) => {
        await tx.insert(miners).values(row(1));
        await cut();
        await tx.insert(miners).values(row(2));
      }),
    );
    expect(error.code).to.equal("unavailable");
    expect(error.retryable).to.equal(true);
    expect(await queries.select().from(miners)).to.have.length(0);
    await queries.transaction((tx) => tx.insert(miners).values(row(3)));
    expect(await queries.select().from(miners)).to.have.length(1);
  });

  it("waits for a server that is killed and comes back, and gives up waiting after its patience", async () => {
    const { queries, durably } = await opened(url, { timing: { ...QUICK, patienceMs: 300 } });
    await durably(() => queries.insert(miners).values(row(1)));
    await server.crash();
    const started = performance.now();
    const failures = await Promise.all([1, 2, 3].map(() => failureOf(queries.select().from(miners))));
    expect(performance.now() - started).to.be.below(15_000);
    for (const error of failures) expect(error.code).to.equal("unavailable");
    await server.start();
    for (let tries = 0; ; tries++) {
      try {
        expect(await queries.select().from(miners)).to.have.length(1);
        break;
      } catch (error) {
        if (!(error instanceof PonasError) || tries > 20) throw error;
        await sleep(50);
      }
    }
  });

  it("gives its manager up when another has taken the database while it was away", async () => {
    const first = await opened();
    const taken = new Promise((resolve) => first.lost.addEventListener("abort", resolve));
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    // It stands in line for the lock, and so has it before the first manager is back.
    const locked = other.query("SELECT pg_advisory_lock(483312689523)");
    await cut();
    await locked;
    await taken;
    expect((first.lost.reason as PonasError).message).to.contain("is in use by another pool manager");
    expect((await failureOf(first.queries.select().from(miners))).message).to.contain("in use by another pool manager");
    await other.end();
  });

  it("says nothing durably before it is on disk, waits for the disk once for many, and keeps that over a crash", async () => {
    await server.sql("ALTER ROLE owner SET synchronous_commit = off");
    const { queries, durably } = await opened();
    const insert = (n: number) => durably(() => queries.transaction((tx) => tx.insert(miners).values(row(n))));
    for (let round = 0; round < 3; round++) {
      const told: number[] = [];
      const writing = Array.from({ length: 30 }, (_, at) => {
        const n = 100 * (round + 1) + at;
        return insert(n).then(
          () => told.push(n),
          () => undefined,
        );
      });
      while (told.length < 5) await sleep(1);
      await server.crash();
      await server.start();
      await Promise.all(writing);
      const kept = new Set((await queries.select().from(miners)).map(({ firstSeen }) => firstSeen));
      expect(told.filter((n) => !kept.has(n))).to.deep.equal([]);
    }
    await server.sql("ALTER ROLE owner RESET synchronous_commit");
  });

  it("does not say durably what was written before its connection was lost", async () => {
    const { queries, durably, onLoss } = await opened();
    let losses = 0;
    onLoss(() => losses++);
    const error = await failureOf(
      durably(async () => {
        await queries.insert(miners).values(row(1));
        await cut();
        await queries.select().from(miners);
      }),
    );
    expect(error.code).to.equal("unavailable");
    expect(losses).to.equal(1);
    await durably(() => queries.select().from(miners));
  });
});
