/**
 * A pool's database on a PostgreSQL server. One manager has it at a time: every statement goes over the one connection
 * that holds the server's advisory lock, so a manager that has lost its connection, and with it the lock, cannot write
 * beside the next one. A lost connection is made again; statements wait for it, and what was in flight fails.
 *
 * Commits do not wait for the disk one by one: `durably` waits for all that were made so far at once, on a second
 * connection, so that the next transactions need not wait for the disk's answer to the last (group commit).
 */
import { Client } from "pg";

import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";
import type { PoolDatabase } from "./database.ts";
import { checkCommitted, createPreparedNames, PARSERS, queriesOver, settles } from "./database-session.ts";
import { migrate } from "./migrations.ts";
import { createSerial } from "./serial.ts";

export interface ServerTiming {
  /** how long a statement waits for a server that is away */
  readonly patienceMs: number;
  /** how long a new manager waits for the lock: a server may need a moment to notice that the last holder is dead */
  readonly takeoverMs: number;
  /** back-off between attempts to connect: doubles from the first to the last */
  readonly firstPauseMs: number;
  readonly lastPauseMs: number;
  /** a connection on which one statement takes so long is taken for lost */
  readonly statementMs: number;
  readonly connectMs: number;
}

const DEFAULT_TIMING: ServerTiming = {
  patienceMs: 10_000,
  takeoverMs: 3_000,
  firstPauseMs: 50,
  lastPauseMs: 5_000,
  statementMs: 60_000,
  connectMs: 10_000,
};

/** The lock's number, "ponas" in ASCII; PostgreSQL keeps advisory locks apart by database. */
const LOCK = "483312689523";

export const isServerUrl = (place: string): boolean => /^postgres(ql)?:\/\//i.test(place);

interface Backend {
  readonly pid: number;
  readonly since: string;
}

interface Held {
  readonly client: Client;
  /** a second connection to the same run of the server: if that dies, so does this, and proves nothing any more */
  readonly flusher: Client;
  readonly backend: Backend;
  /** commits so far, and how many of them are known to be on disk */
  written: number;
  flushed: number;
  /** false once the connection has ended, for whatever reason */
  alive: boolean;
}

/** `openPoolDatabase` on a server. */
export async function openServerDatabase(
  url: string,
  options: { readonly log?: Log; readonly timing?: Partial<ServerTiming> },
): Promise<PoolDatabase> {
  const server = createServerLink(url, { log: options.log, timing: { ...DEFAULT_TIMING, ...options.timing } });
  try {
    await server.open();
  } catch (error) {
    await server.close();
    throw error;
  }
  return {
    queries: queriesOver(server),
    lost: server.lost,
    durably: server.durably,
    onLoss: server.onLoss,
    close: server.close,
  };
}

// ————— The connection —————

function createServerLink(url: string, { log, timing }: { readonly log?: Log; readonly timing: ServerTiming }) {
  const { name, newClient } = parseServerUrl(url, timing);
  const inTurn = createSerial();
  const losing = new AbortController();
  const closing = new AbortController();
  const ended = AbortSignal.any([losing.signal, closing.signal]);
  const nameOf = createPreparedNames();
  let held: Held | null = null;
  /** the last one that was ours: what is left of it on the server may still hold the lock */
  let previous: Backend | null = null;
  let connecting: Promise<void> | null = null;
  /** set once somebody else was found to hold the lock */
  let inUse: PonasError | null = null;
  /** counts lost connections: what was written before one, and not flushed, may be lost with it */
  let losses = 0;
  let flushing: Promise<void> | null = null;
  const listeners: (() => void)[] = [];

  /** Connects, checks the server and takes the lock, once. */
  async function connect(): Promise<Held> {
    const client = newClient();
    const flusher = newClient();
    // Without a listener a connection that breaks while nothing is asked would end the process.
    for (const end of [client, flusher]) end.on("error", () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ pid: number; since: string; encoding: string }>(
        `SELECT pg_backend_pid() AS pid, current_setting('server_encoding') AS encoding,
           (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS since`,
      );
      const { pid, since, encoding } = rows[0]!;
      if (encoding !== "UTF8") {
        throw new PonasError("bad-input", `${name} has the encoding ${encoding}; the pool needs UTF8.`, {
          cure: "make the database with ENCODING 'UTF8'",
        });
      }
      await takeLock(client);
      await client.query("SET synchronous_commit = off");
      await flusher.connect();
      const { rows: settings } = await flusher.query<{ commit: string }>(
        "SELECT current_setting('synchronous_commit') AS commit",
      );
      // Stronger settings, as waiting for a standby, stay as they are.
      if (settings[0]!.commit === "off") await flusher.query("SET synchronous_commit = on");
      const connection: Held = { client, flusher, backend: { pid, since }, written: 0, flushed: 0, alive: true };
      for (const end of [client, flusher]) {
        end.on("end", () => lose(connection));
        end.on("error", () => lose(connection));
      }
      return connection;
    } catch (error) {
      for (const end of [client, flusher]) void end.end().catch(() => undefined);
      throw explain(error, name);
    }
  }

  async function takeLock(client: Client): Promise<void> {
    const deadline = performance.now() + timing.takeoverMs;
    for (;;) {
      const { rows } = await client.query<{ taken: boolean }>(`SELECT pg_try_advisory_lock(${LOCK}) AS taken`);
      if (rows[0]!.taken) return;
      const { rows: holders } = await client.query<Backend & { address: string | null }>(
        `SELECT a.pid, a.backend_start::text AS since, host(a.client_addr) AS address
         FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
         WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
           AND (l.classid::bigint << 32) + l.objid::bigint = ${LOCK}`,
      );
      const holder = holders[0];
      if (holder !== undefined && holder.pid === previous?.pid && holder.since === previous.since) {
        await client.query("SELECT pg_terminate_backend($1)", [holder.pid]);
      } else if (holder !== undefined && performance.now() > deadline) {
        const from = holder.address === null ? "" : ` from ${holder.address}`;
        inUse = new PonasError("bad-input", `${name} is in use by another pool manager${from}.`, {
          cure: "stop that one, or give this one a database of its own",
        });
        throw inUse;
      }
      await sleep(50, ended);
    }
  }

  function lose(connection: Held): void {
    if (!connection.alive) return;
    connection.alive = false;
    for (const end of [connection.client, connection.flusher]) end.connection.stream.destroy();
    if (held !== connection) return;
    held = null;
    losses++;
    if (ended.aborted) return;
    for (const listener of listeners) listener();
    log?.warn(`${name} has ended the connection; connecting again.`);
    reconnect();
  }

  function reconnect(): void {
    connecting ??= (async () => {
      for (let pause = timing.firstPauseMs; !ended.aborted; pause = Math.min(2 * pause, timing.lastPauseMs)) {
        try {
          const connection = await connect();
          if (ended.aborted) return void (await Promise.all([connection.client.end(), connection.flusher.end()]));
          held = connection;
          previous = connection.backend;
          log?.info(`${name} is back.`);
          return;
        } catch (error) {
          if (error === inUse) return losing.abort(error);
          // Whatever else it is, a changed password or a database that is being restored, people may put it right.
          log?.debug(`${name} is still away: ${(error as Error).message}`);
        }
        await sleep(pause, ended).catch(() => undefined);
      }
    })().finally(() => {
      connecting = null;
      // It may have been lost again before this attempt was over.
      if (held === null && !ended.aborted) reconnect();
    });
  }

  async function connection(deadline: number): Promise<Held> {
    while (held === null) {
      if (losing.signal.aborted) throw losing.signal.reason as PonasError;
      if (closing.signal.aborted) throw new PonasError("aborted", `${name} is closed.`);
      if (performance.now() > deadline) throw new PonasError("unavailable", `${name} is away; try again later.`);
      await sleep(10, ended).catch(() => undefined);
    }
    return held;
  }

  /** One statement on a connection. @throws PonasError unavailable where the connection ends meanwhile */
  async function run(on: Held, query: object, values: unknown[]): Promise<unknown> {
    const { text } = query as { text: string };
    const settled = settles(text);
    if (!on.alive) {
      // The server has rolled back by itself; the failure that led here says more.
      if (settled === "rollback") return { rows: [] };
      throw new PonasError("unavailable", `${name} has ended the connection; try again.`);
    }
    let result;
    try {
      result = await on.client.query({ ...query, name: nameOf(text, values), types: PARSERS } as never, values);
    } catch (error) {
      // Nobody knows what became of a statement that is not answered: this connection is given up.
      const failure = explain(error, name);
      if (failure instanceof PonasError && failure.code === "unavailable") lose(on);
      throw failure;
    }
    checkCommitted(settled, result);
    if (settled !== undefined || !/^\s*(select|begin)\b/i.test(text)) on.written++;
    return result;
  }

  /** Has the connection to itself until `work` ends. */
  function alone<T>(work: (on: Held) => Promise<T>): Promise<T> {
    const deadline = performance.now() + timing.patienceMs;
    return inTurn(async () => work(await connection(deadline)));
  }

  /** Waits until what was committed so far is on disk. */
  async function flush(on: Held): Promise<void> {
    const wanted = on.written;
    while (on.flushed < wanted) {
      flushing ??= (async () => {
        const covered = on.written;
        try {
          // Any commit that waits for the disk waits for all before it; this one writes nothing else.
          await on.flusher.query("SELECT pg_logical_emit_message(true, 'ponas', '')");
          on.flushed = covered;
        } catch (error) {
          lose(on);
          throw explain(error, name);
        }
      })().finally(() => {
        flushing = null;
      });
      await flushing;
    }
  }

  async function durably<T>(work: () => T | Promise<T>): Promise<T> {
    const before = losses;
    const result = await work();
    if (before === losses && held !== null) await flush(held);
    if (before !== losses) {
      throw new PonasError("unavailable", `${name} was lost before all was on disk; try again.`);
    }
    return result;
  }

  let closed: Promise<void> | undefined;
  return {
    durably,
    onLoss: (listener: () => void): void => void listeners.push(listener),
    lost: losing.signal,
    run,
    alone,
    /** One statement outside of any transaction. */
    async ask(query: object, values: unknown[]): Promise<unknown> {
      const { text } = query as { text: string };
      try {
        return await alone((on) => run(on, query, values));
      } catch (error) {
        // What only reads may be asked again; of anything else nobody knows whether it was done.
        const again = error instanceof PonasError && error.code === "unavailable" && /^\s*select\b/i.test(text);
        if (!again || error.cause === undefined) throw error;
        return alone((on) => run(on, query, values));
      }
    },
    async open(): Promise<void> {
      const first = await connect();
      held = first;
      previous = first.backend;
      try {
        await migrate({
          name,
          exec: async (script) => void (await first.client.query(script)),
          rows: async (statement) => (await first.client.query<{ name: string; digest: string }>(statement)).rows,
        });
        const { rows } = await first.client.query<{ fsync: string }>("SHOW fsync");
        if (rows[0]!.fsync === "off")
          log?.warn(`${name} has fsync off: a power failure there loses what was acknowledged.`);
      } catch (error) {
        throw explain(error, name);
      }
    },
    close: (): Promise<void> =>
      (closed ??= inTurn(async () => {
        closing.abort();
        await connecting;
        if (held === null) return;
        const on = held;
        // Also what nobody waits for.
        await flush(on).catch((error: unknown) => log?.warn((error as Error).message));
        on.alive = false;
        await Promise.all([on.client.end(), on.flusher.end()]);
      })),
  };
}

function parseServerUrl(url: string, timing: ServerTiming): { name: string; newClient: () => Client } {
  const newClient = (): Client =>
    new Client({
      connectionString: url,
      application_name: "ponas pool manager",
      connectionTimeoutMillis: timing.connectMs,
      query_timeout: timing.statementMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      pipeline: true,
    } as object);
  let client: Client;
  try {
    client = newClient();
  } catch {
    // Without the cause: it has the password.
    throw new PonasError("bad-input", "The URL of the pool's database cannot be read.", {
      cure: "write it as postgresql://user:password@host:port/database",
    });
  }
  const { database, host, port, user } = client;
  const where = host.startsWith("/") ? host : `${host}:${port}`;
  return { name: `The pool's database ${database ?? user} at ${where}`, newClient };
}

/** What went wrong on the way to a server, as a sentence; anything about one statement as it came. */
function explain(error: unknown, name: string): unknown {
  if (error instanceof PonasError || !(error instanceof Error)) return error;
  const code = (error as { code?: unknown }).code;
  const bad = (what: string, cure: string): PonasError =>
    new PonasError("bad-input", `${name} ${what}.`, { cause: error, cure });
  if (code === "28P01" || code === "28000" || /client password must be/.test(error.message)) {
    return bad("does not admit this user with this password", "check user and password of the URL");
  }
  if (code === "3D000") return bad("does not exist", "make it with createdb, with ENCODING 'UTF8'");
  if (code === "42501") return bad("does not let this user make tables", "make the user the database's owner");
  const away = typeof code === "string" && /^(E[A-Z]+|08\w{3}|57P0[1-5]|53300)$/.test(code);
  if (
    away ||
    /Connection terminated|Client has encountered|Query read timeout|timeout expired|was closed/.test(error.message)
  ) {
    const why = error.message === "" ? String(code) : error.message;
    return new PonasError("unavailable", `${name} is away (${why}).`, { cause: error, cure: "start the server" });
  }
  return error;
}
