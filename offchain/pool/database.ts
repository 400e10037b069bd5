/**
 * The manager's database: PGlite (PostgreSQL compiled to WebAssembly, in this process) on a folder. A statement is on
 * disk before its promise resolves, and a kill −9 at any instant loses nothing that was acknowledged.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import { PGlite } from "@electric-sql/pglite";
import { sql } from "drizzle-orm";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/pglite";

import { PonasError } from "../protocol/errors.ts";
import { takeLock } from "../protocol/lock.ts";
import * as schema from "./schema.ts";

/** Any PostgreSQL that drizzle speaks to. */
export type Queries = PgDatabase<PgQueryResultHKT, typeof schema>;

export interface PoolDatabase {
  readonly queries: Queries;
  /** Closes it and gives the folder back; a second call does nothing. */
  close(): Promise<void>;
}

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly digest: string;
}

const MIGRATIONS = join(import.meta.dirname, "migrations");

function readMigrations(): Migration[] {
  return readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith(".sql"))
    .sort()
    .map((name) => {
      const text = readFileSync(join(MIGRATIONS, name), "utf8");
      return { name, text, digest: createHash("sha256").update(text).digest("hex") };
    });
}

/**
 * Opens, and at first makes, the database in a folder, and brings its tables up to date.
 * @throws PonasError bad-input: another process has it; it was written by a newer version; its files are damaged
 */
export async function openPoolDatabase(dir: string): Promise<PoolDatabase> {
  mkdirSync(dir, { recursive: true });
  const unlock = takeLock(join(dir, "lock"), `The pool's database in ${dir}`);
  let client: PGlite | undefined;
  try {
    client = await openCluster(dir);
    await migrate(client, dir);
    const opened = client;
    let closing: Promise<void> | undefined;
    return {
      queries: drizzle(opened, { schema }) as unknown as Queries,
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

/** Applies what is missing, in order, each in a transaction with its note that it was applied. */
async function migrate(client: PGlite, dir: string): Promise<void> {
  const db = drizzle(client);
  await db.execute(
    sql`CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
  );
  const { rows } = await client.query<{ name: string; digest: string }>("SELECT name, digest FROM migrations");
  const applied = new Map(rows.map((row) => [row.name, row.digest]));
  const known = readMigrations();
  for (const name of applied.keys()) {
    if (known.some((migration) => migration.name === name)) continue;
    throw new PonasError(
      "bad-input",
      `The pool's database in ${dir} was written by a newer version (it has ${name}).`,
      {
        cure: "update ponas",
      },
    );
  }
  for (const { name, text, digest } of known) {
    const before = applied.get(name);
    if (before !== undefined && before !== digest) {
      throw new PonasError(
        "bad-input",
        `The pool's database in ${dir} has another ${name} than this version of ponas.`,
      );
    }
    if (before !== undefined) continue;
    await client.transaction(async (transaction) => {
      await transaction.exec(text);
      await transaction.query("INSERT INTO migrations (name, digest) VALUES ($1, $2)", [name, digest]);
    });
  }
}
