/**
 * What PostgreSQL's autovacuum does, but as soon as a table has changed much: an embedded database has none, and a
 * server's comes once a minute, by when a pool that began with empty tables has gone through them from end to end a
 * thousand times.
 */
import { sql } from "drizzle-orm";

import type { Queries } from "./database.ts";
import type { Serial } from "./serial.ts";

/** Tables are looked at no more often; in milliseconds. */
const PERIOD_MS = 3000;
/** A table is tidied when, on top of so many rows, half as many as it has were changed, or are dead. */
const LEAST_CHANGED = 200;
const LEAST_DEAD = 64;

/** @returns tidies what needs it, one table after another, each in a turn of its own; call it as often as you like */
export function createUpkeep(options: {
  readonly queries: Queries;
  /** the order in which the manager writes */
  readonly writing: Serial;
  readonly clock: () => number;
}): () => Promise<void> {
  const { queries, writing, clock } = options;
  let lastLook = -Infinity;
  return async () => {
    const now = clock();
    if (Math.abs(now - lastLook) < PERIOD_MS) return;
    lastLook = now;
    const { rows } = (await queries.execute(sql`
      SELECT relname AS name, n_dead_tup > ${LEAST_DEAD} + n_live_tup / 2 AS dead
      FROM pg_stat_user_tables
      WHERE schemaname = current_schema()
        AND (n_dead_tup > ${LEAST_DEAD} + n_live_tup / 2 OR n_mod_since_analyze > ${LEAST_CHANGED} + n_live_tup / 2)
      ORDER BY relname`)) as unknown as { rows: { name: string; dead: boolean }[] };
    for (const { name, dead } of rows) {
      const table = sql.identifier(name);
      await writing(() => queries.execute(dead ? sql`VACUUM (ANALYZE) ${table}` : sql`ANALYZE ${table}`));
    }
  };
}
