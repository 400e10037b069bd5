/**
 * A pool's database in memory that outlives its managers. Each manager has it through a fuse: when that blows, its
 * statements fail and its transactions are rolled back, as where its process was killed.
 */
import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { sql } from "drizzle-orm";

import type { PoolDatabase, Queries } from "../../../offchain/pool/database.ts";
import { migrate } from "../../../offchain/pool/migrations.ts";
import * as schema from "../../../offchain/pool/schema.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";

export interface FusedDatabase extends PoolDatabase {
  readonly blown: boolean;
  /** Fails every statement from now on. */
  blow(): void;
  /** Blows the fuse at the statement after so many, and says so. */
  blowAfter(statements: number, told: () => void): void;
}

export interface MemoryDatabase {
  /** statements under way */
  pending(): number;
  /** statements begun and ended so far */
  count(): number;
  /** As one manager has it. */
  fused(): FusedDatabase;
  /** Empties all tables. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** Calls of the client that are statements. */
const STATEMENTS = ["query", "exec", "sql", "execProtocol"];

export async function createMemoryDatabase(): Promise<MemoryDatabase> {
  const client = await PGlite.create();
  await migrate({
    name: "The simulation's database",
    exec: async (script) => void (await client.exec(script)),
    rows: async (statement) => (await client.query<{ name: string; digest: string }>(statement)).rows,
  });
  let pending = 0;
  let count = 0;
  const watch = async <T>(work: Promise<T>): Promise<T> => {
    pending++;
    count++;
    try {
      return await work;
    } finally {
      pending--;
      count++;
    }
  };

  interface Fuse {
    blown: boolean;
    left: number;
    told: () => void;
  }
  const killed = (): PonasError => new PonasError("unavailable", "This manager was killed.");
  const spend = (fuse: Fuse): void => {
    if (!fuse.blown && fuse.left-- === 0) {
      fuse.blown = true;
      fuse.told();
    }
    if (fuse.blown) throw killed();
  };

  function through<T extends object>(target: T, fuse: Fuse): T {
    return new Proxy(target, {
      get(inner, name) {
        const value: unknown = Reflect.get(inner, name, inner);
        if (typeof value !== "function") return value;
        const call = value as (...values: unknown[]) => unknown;
        if (name === "transaction") {
          return (body: (tx: object) => Promise<unknown>) =>
            watch(
              (async () => {
                spend(fuse);
                return call.call(inner, async (tx: object) => {
                  const result = await body(through(tx, fuse));
                  // A kill before the commit.
                  spend(fuse);
                  return result;
                });
              })(),
            );
        }
        if (typeof name !== "string" || !STATEMENTS.includes(name)) return call.bind(inner);
        return (...values: unknown[]) =>
          watch(
            (async () => {
              spend(fuse);
              return call.apply(inner, values);
            })(),
          );
      },
    });
  }

  const plain = drizzle(client, { schema }) as unknown as Queries;
  return {
    pending: () => pending,
    count: () => count,
    fused() {
      const fuse: Fuse = { blown: false, left: Infinity, told: () => undefined };
      return {
        get blown() {
          return fuse.blown;
        },
        queries: drizzle(through(client, fuse), { schema }) as unknown as Queries,
        lost: new AbortController().signal,
        // What a killed manager would have said is not said.
        durably: async (work) => {
          const result = await work();
          if (fuse.blown) throw killed();
          return result;
        },
        onLoss: () => undefined,
        close: () => Promise.resolve(),
        blow: () => {
          fuse.blown = true;
        },
        blowAfter: (statements, told) => {
          fuse.left = statements;
          fuse.told = told;
        },
      };
    },
    empty: async () => void (await plain.execute(sql`TRUNCATE tasks, miners RESTART IDENTITY CASCADE`)),
    close: () => client.close(),
  };
}
