/** The thread of an embedded database: PGlite on a folder, which speaks PostgreSQL's own protocol in messages. */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";

import { PGlite } from "@electric-sql/pglite";

/** What the thread says: that it is open; what the database answered to one message; that it is closed; what went wrong. */
export type EmbeddedMessage =
  | { readonly kind: "open" }
  | { readonly kind: "answer"; readonly bytes: Uint8Array }
  | { readonly kind: "closed" }
  | { readonly kind: "failed"; readonly cause: unknown };

/** A cluster is made beside its place and renamed into it, so that a kill while it is made leaves none by halves. */
async function openCluster(dir: string): Promise<PGlite> {
  const place = join(dir, "cluster");
  const unfinished = join(dir, "cluster.unfinished");
  rmSync(unfinished, { recursive: true, force: true });
  if (!existsSync(place)) {
    const made = await PGlite.create(unfinished);
    await made.close();
    renameSync(unfinished, place);
  }
  return PGlite.create(place);
}

/**
 * The database's answer to one message. As a stream, since `execProtocolRaw` parses each answer besides, and keeps what
 * it has parsed for as long as the database is open; but what answers the start of a session is not streamed.
 */
async function answerOf(cluster: PGlite, message: Uint8Array): Promise<Uint8Array> {
  if (message[0] === 0) return cluster.execProtocolRaw(message);
  const parts: Uint8Array[] = [];
  // The bytes are the database's own memory, which its next answer is written to.
  await cluster.execProtocolRawStream(message, { onRawData: (bytes) => void parts.push(bytes.slice()) });
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

const port = parentPort!;
const say = (message: EmbeddedMessage): void => port.postMessage(message);

try {
  const cluster = await openCluster((workerData as { dir: string }).dir);
  let last: Promise<void> = Promise.resolve();
  const answer = async (message: Uint8Array | "close"): Promise<void> => {
    if (message === "close") {
      await cluster.close();
      say({ kind: "closed" });
      port.close();
    } else {
      say({ kind: "answer", bytes: await answerOf(cluster, message) });
    }
  };
  port.on("message", (message: Uint8Array | "close") => {
    last = last.then(() => answer(message)).catch((cause: unknown) => say({ kind: "failed", cause }));
  });
  say({ kind: "open" });
} catch (cause) {
  say({ kind: "failed", cause });
}
