/** A pool's database without a server: PGlite (PostgreSQL compiled to WebAssembly, in this process) on a folder. */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";

import { PonasError } from "../protocol/errors.ts";
import { takeLock } from "../protocol/lock.ts";
import type { PoolDatabase, Queries } from "./database.ts";
import { migrate } from "./migrations.ts";
import * as schema from "./schema.ts";

/** `openPoolDatabase` on a folder. */
export async function openEmbeddedDatabase(dir: string): Promise<PoolDatabase> {
  mkdirSync(dir, { recursive: true });
  const unlock = takeLock(join(dir, "lock"), `The pool's database in ${dir}`);
  let client: PGlite | undefined;
  try {
    const opened = (client = await openCluster(dir));
    await migrate({
      name: `The pool's database in ${dir}`,
      exec: async (script) => void (await opened.exec(script)),
      rows: async (statement) => (await opened.query<{ name: string; digest: string }>(statement)).rows,
    });
    let closing: Promise<void> | undefined;
    return {
      queries: drizzle(opened, { schema }) as unknown as Queries,
      // The lock file keeps others out for as long as this process lives.
      lost: new AbortController().signal,
      // A statement's answer comes after its files are written.
      durably: async (work) => work(),
      onLoss: () => undefined,
      close: () => (closing ??= opened.close().finally(unlock)),
    };
  } catch (error) {
    await client?.close();
    unlock();
    throw error;
  }
}

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
  try {
    return await PGlite.create(place);
  } catch (cause) {
    throw new PonasError("bad-input", `The pool's database in ${dir} cannot be opened; its files are damaged.`, {
      cause,
      cure: "put back a copy of the folder, or start the pool with an empty one",
    });
  }
}
