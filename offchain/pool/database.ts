/**
 * The manager's database: PostgreSQL, embedded in this process on a folder or a server of its own, with the same
 * tables and the same queries. What is said to others is said `durably`, so that a kill at any instant, of the manager
 * or of the server, loses nothing that was acknowledged.
 */
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";

import type { Log } from "../protocol/log.ts";
import { openEmbeddedDatabase } from "./database-embedded.ts";
import { isServerUrl, openServerDatabase, type ServerTiming } from "./database-server.ts";
import type * as schema from "./schema.ts";

/** Any PostgreSQL that drizzle speaks to. */
export type Queries = PgDatabase<PgQueryResultHKT, typeof schema>;

export interface PoolDatabase {
  /**
   * All statements, one after another; a transaction is alone while it lasts.
   * @throws PonasError unavailable where a server is away for longer than its patience; the same may be tried again
   */
  readonly queries: Queries;
  /** Fires, with a PonasError, when another manager has taken the database over: this one must stop. */
  readonly lost: AbortSignal;
  /**
   * Resolves with the work's result once everything that it has written is on disk. Whatever leaves the manager, an
   * answer or a receipt, leaves it through this.
   * @throws PonasError unavailable where the connection was lost meanwhile: nobody knows what of it was written
   */
  durably<T>(work: () => T | Promise<T>): Promise<T>;
  /** Calls back when written state may have been lost: what is kept in memory of it is not to be relied upon. */
  onLoss(listener: () => void): void;
  /** Closes it and gives it back; a second call does nothing. */
  close(): Promise<void>;
}

/**
 * Opens, and at first makes, a pool's database, and brings its tables up to date.
 * @param place a folder, or a server's URL as `postgresql://user:password@host:port/database`
 * @throws PonasError bad-input: another manager has it; it was written by a newer version; its files are damaged; the
 *   server refuses user, password or database. unavailable: the server is away
 */
export function openPoolDatabase(
  place: string,
  options: { readonly log?: Log; readonly timing?: Partial<ServerTiming> } = {},
): Promise<PoolDatabase> {
  return isServerUrl(place) ? openServerDatabase(place, options) : openEmbeddedDatabase(place);
}
