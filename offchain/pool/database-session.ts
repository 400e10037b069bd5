/** drizzle over a PostgreSQL connection of `pg` that is looked up at each statement: what both kinds of database share. */
import { sql, extractTablesRelationalConfig, createTableRelationsHelpers } from "drizzle-orm";
import { NodePgDatabase } from "drizzle-orm/node-postgres";
import { NodePgSession, NodePgTransaction, type NodePgClient } from "drizzle-orm/node-postgres/session";
import { PgDialect } from "drizzle-orm/pg-core";
import { types, type CustomTypesConfig } from "pg";

import { PonasError } from "../protocol/errors.ts";
import type { Queries } from "./database.ts";
import * as schema from "./schema.ts";

/** Statements over connections of any kind. */
export interface StatementLink<Connection> {
  /** One statement on a connection. */
  run(on: Connection, query: object, values: unknown[]): Promise<unknown>;
  /** One statement outside of any transaction. */
  ask(query: object, values: unknown[]): Promise<unknown>;
  /** Has a connection to itself until `work` ends. */
  alone<T>(work: (on: Connection) => Promise<T>): Promise<T>;
}

/** Statements that are kept prepared; those beyond, and those with lists of values, are parsed each time. */
const MAX_PREPARED = 300;
const MAX_PREPARED_VALUES = 40;

/** Names under which one connection after another may keep statements prepared. */
export function createPreparedNames(): (text: string, values: unknown[]) => string | undefined {
  const names = new Map<string, string>();
  return (text, values) => {
    if (values.length === 0 || values.length > MAX_PREPARED_VALUES) return undefined;
    const known = names.get(text);
    if (known !== undefined || names.size >= MAX_PREPARED) return known;
    const fresh = `ponas${names.size}`;
    names.set(text, fresh);
    return fresh;
  };
}

/** Whole numbers as numbers where they fit, bytes as plain arrays; drizzle's own columns parse times and numerics. */
export const PARSERS: CustomTypesConfig = {
  getTypeParser: ((id: number, format?: "text" | "binary") => {
    const parse = types.getTypeParser(id, format as "text");
    if (format === "binary") return parse;
    switch (id) {
      case types.builtins.INT8:
        return (text: string) => (Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text));
      case types.builtins.BYTEA:
        return (text: string) => new Uint8Array(parse(text) as unknown as Buffer);
      case types.builtins.TIMESTAMP:
      case types.builtins.TIMESTAMPTZ:
      case types.builtins.DATE:
      case types.builtins.INTERVAL:
        return (text: string) => text;
      default:
        return parse;
    }
  }) as CustomTypesConfig["getTypeParser"],
};

/** drizzle's queries over a link. */
export function queriesOver<Connection>(link: StatementLink<Connection>): Queries {
  const dialect = new PgDialect();
  const tables = extractTablesRelationalConfig(schema, createTableRelationsHelpers);
  const relations = { fullSchema: schema, schema: tables.tables, tableNamesMap: tables.tableNamesMap };
  const session = new LinkSession(link, null, dialect, relations);
  return new NodePgDatabase(dialect, session as never, relations as never) as unknown as Queries;
}

type Relations = NonNullable<ConstructorParameters<typeof NodePgSession>[2]>;

/** drizzle's session, with the connection looked up at each statement and its failures as sentences. */
class LinkSession<Connection> extends NodePgSession<Record<string, unknown>, Relations["schema"]> {
  readonly #link: StatementLink<Connection>;
  readonly #dialect: PgDialect;
  readonly #relations: Relations;

  /** @param on the connection of the transaction that this is; null: outside of any */
  constructor(link: StatementLink<Connection>, on: Connection | null, dialect: PgDialect, relations: Relations) {
    const query = (statement: object, values: unknown[] = []): Promise<unknown> =>
      on === null ? link.ask(statement, values) : link.run(on, statement, values);
    super({ query } as unknown as NodePgClient, dialect, relations);
    this.#link = link;
    this.#dialect = dialect;
    this.#relations = relations;
  }

  override prepareQuery: NodePgSession<Record<string, unknown>, Relations["schema"]>["prepareQuery"] = (...query) => {
    const prepared = super.prepareQuery(...query);
    const execute = prepared.execute.bind(prepared);
    prepared.execute = (values) =>
      execute(values).catch((error: unknown) => {
        const { cause } = error as { cause?: unknown };
        throw cause instanceof PonasError ? cause : error;
      });
    return prepared as never;
  };

  override transaction<T>(
    work: (tx: NodePgTransaction<Record<string, unknown>, Relations["schema"]>) => Promise<T>,
  ): Promise<T> {
    return this.#link.alone(async (on) => {
      const session = new LinkSession(this.#link, on, this.#dialect, this.#relations);
      const tx = new NodePgTransaction(this.#dialect, session, this.#relations);
      // It is on its way before anything else is, which need not wait for its answer.
      const begun = this.#link.run(on, { text: "begin" }, []);
      begun.catch(() => undefined);
      try {
        const result = await work(tx as never);
        await begun;
        await tx.execute(sql`commit`);
        return result;
      } catch (error) {
        await tx.execute(sql`rollback`);
        throw error;
      }
    });
  }
}

/** "commit" or "rollback" where a statement ends a transaction. */
export function settles(text: string): "commit" | "rollback" | undefined {
  return /^\s*(rollback|commit)\s*$/i.exec(text)?.[1]?.toLowerCase() as "commit" | "rollback" | undefined;
}

/** @throws Error where a transaction in which a failed statement was passed over says, only now, that it is rolled back */
export function checkCommitted(settled: ReturnType<typeof settles>, result: unknown): void {
  if (settled === "commit" && (result as { command?: string }).command === "ROLLBACK") {
    throw new Error("The transaction could not be committed: one of its statements had failed.");
  }
}
