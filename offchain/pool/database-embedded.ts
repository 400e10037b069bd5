/**
 * A pool's database without a server: PGlite (PostgreSQL compiled to WebAssembly) on a folder, in a thread of this
 * process, so that its work stops nothing else. It is spoken to as a server is, over a stream of messages.
 */
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { Worker } from "node:worker_threads";

import { Client } from "pg";

import { PonasError } from "../protocol/errors.ts";
import { takeLock } from "../protocol/lock.ts";
import type { PoolDatabase } from "./database.ts";
import { checkCommitted, createPreparedNames, PARSERS, queriesOver, settles } from "./database-session.ts";
import type { EmbeddedMessage } from "./embedded-worker.ts";
import { migrate } from "./migrations.ts";
import { createSerial } from "./serial.ts";

/** `openPoolDatabase` on a folder. */
export async function openEmbeddedDatabase(dir: string): Promise<PoolDatabase> {
  mkdirSync(dir, { recursive: true });
  const name = `The pool's database in ${dir}`;
  const unlock = takeLock(join(dir, "lock"), name);
  let thread: DatabaseThread | undefined;
  try {
    const opened = (thread = await startThread(dir, name));
    const { client, lost } = opened;
    await migrate({
      name,
      exec: async (script) => void (await client.query(script)),
      rows: async (statement) => (await client.query<{ name: string; digest: string }>(statement)).rows,
    });
    const inTurn = createSerial();
    const nameOf = createPreparedNames();
    let closing: Promise<void> | undefined;
    let closed = false;
    async function run(on: Client, query: object, values: unknown[]): Promise<unknown> {
      const { text } = query as { text: string };
      if (lost.aborted) throw lost.reason as PonasError;
      if (closed) throw new PonasError("aborted", `${name} is closed.`);
      const result = await on.query({ ...query, name: nameOf(text, values), types: PARSERS } as never, values);
      checkCommitted(settles(text), result);
      return result;
    }
    const alone = <T>(work: (on: Client) => Promise<T>): Promise<T> => inTurn(() => work(client));
    return {
      queries: queriesOver({ run, alone, ask: (query, values) => alone((on) => run(on, query, values)) }),
      // The lock file keeps others out for as long as this process lives.
      lost,
      // A statement's answer comes after its files are written.
      durably: async (work) => work(),
      onLoss: () => undefined,
      close: () =>
        (closing ??= inTurn(() => {
          closed = true;
          return opened.close();
        }).finally(unlock)),
    };
  } catch (error) {
    await thread?.close();
    unlock();
    throw error;
  }
}

interface DatabaseThread {
  readonly client: Client;
  /** fires, with a PonasError, when the thread has died */
  readonly lost: AbortSignal;
  close(): Promise<void>;
}

async function startThread(dir: string, name: string): Promise<DatabaseThread> {
  const worker = new Worker(new URL("./embedded-worker.ts", import.meta.url), {
    workerData: { dir },
    execArgv: [],
    // Its answers are garbage at once: with little room for the young it would be collected all the time.
    resourceLimits: { maxYoungGenerationSizeMb: 96 },
  });
  const losing = new AbortController();
  const [first] = (await once(worker, "message")) as [EmbeddedMessage];
  if (first.kind === "failed") {
    await worker.terminate();
    throw new PonasError("bad-input", `${name} cannot be opened; its files are damaged.`, {
      cause: first.cause,
      cure: "put back a copy of the folder, or start the pool with an empty one",
    });
  }
  const stream = createMessageStream(worker);
  const lose = (cause: unknown): void => {
    losing.abort(new PonasError("bad-input", `${name} has failed; what was acknowledged is in its files.`, { cause }));
    stream.destroy(losing.signal.reason as PonasError);
  };
  worker.on("error", lose).on("message", (message: EmbeddedMessage) => {
    if (message.kind === "failed") lose(message.cause);
  });
  // An open database alone keeps no process running; a question that waits for its answer does.
  worker.unref();
  const client = new Client({
    stream: () => stream,
    ssl: false,
    user: "postgres",
    database: "postgres",
    pipeline: true,
  } as object);
  client.on("error", () => undefined);
  await client.connect();
  return {
    client,
    lost: losing.signal,
    async close() {
      if (losing.signal.aborted) return void (await worker.terminate());
      worker.ref();
      const exit = once(worker, "exit");
      worker.postMessage("close");
      await exit;
    },
  };
}

/** The thread's messages as the socket that `pg` expects. */
function createMessageStream(worker: Worker): Duplex {
  let waiting = 0;
  let unsent: Buffer[] = [];
  // Statements that are asked together travel together.
  const send = (bytes: Buffer, done: () => void): void => {
    if (unsent.push(bytes) === 1) process.nextTick(post);
    done();
  };
  const post = (): void => {
    if (waiting++ === 0) worker.ref();
    worker.postMessage(Buffer.concat(unsent));
    unsent = [];
  };
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => send(chunk, done),
  });
  worker.on("message", (message: EmbeddedMessage) => {
    if (message.kind !== "answer") return;
    if (--waiting === 0) worker.unref();
    const { buffer, byteOffset, byteLength } = message.bytes;
    stream.push(Buffer.from(buffer, byteOffset, byteLength));
  });
  return Object.assign(stream, {
    connect: () => setImmediate(() => stream.emit("connect")),
    setNoDelay: () => stream,
    setKeepAlive: () => stream,
    ref: () => stream,
    unref: () => stream,
  });
}
