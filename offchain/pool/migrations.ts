/** Brings a pool's database up to date: the SQL files of migrations/, the same for both kinds of database. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { PonasError } from "../protocol/errors.ts";

/** What applying migrations asks of a database. */
export interface MigrationTarget {
  /** how sentences name it, at their beginning */
  readonly name: string;
  /** Runs a script of any number of statements. */
  exec(script: string): Promise<void>;
  rows(statement: string): Promise<readonly { readonly name: string; readonly digest: string }[]>;
}

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly digest: string;
}

const FOLDER = join(import.meta.dirname, "migrations");

function readMigrations(): Migration[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(".sql"))
    .sort()
    .map((name) => {
      const text = readFileSync(join(FOLDER, name), "utf8");
      return { name, text, digest: createHash("sha256").update(text).digest("hex") };
    });
}

/**
 * Applies what is missing, in order, each in a transaction with its note that it was applied.
 * @throws PonasError bad-input where the database was written by a newer version, or by another one of the same number
 */
export async function migrate({ name: where, exec, rows }: MigrationTarget): Promise<void> {
  await exec(
    "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
  );
  const applied = new Map((await rows("SELECT name, digest FROM migrations")).map((row) => [row.name, row.digest]));
  const known = readMigrations();
  for (const name of applied.keys()) {
    if (known.some((migration) => migration.name === name)) continue;
    throw new PonasError("bad-input", `${where} was written by a newer version (it has ${name}).`, {
      cure: "update ponas",
    });
  }
  for (const { name, text, digest } of known) {
    const before = applied.get(name);
    if (before !== undefined && before !== digest) {
      throw new PonasError("bad-input", `${where} has another ${name} than this version of ponas.`);
    }
    if (before !== undefined) continue;
    try {
      await exec(`BEGIN;\n${text}\n;INSERT INTO migrations (name, digest) VALUES ('${name}', '${digest}');\nCOMMIT;`);
    } catch (error) {
      await exec("ROLLBACK").catch(() => undefined);
      throw error;
    }
  }
}
