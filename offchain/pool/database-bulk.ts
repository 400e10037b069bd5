/**
 * Many rows in one statement whose text does not depend on their number: it is prepared once, and its values travel as
 * one parameter.
 */
import {
  getTableColumns,
  getTableName,
  sql,
  type Column,
  type InferInsertModel,
  type InferSelectModel,
  type SQL,
} from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";

import type { Queries } from "./database.ts";

/** Whether a column has one of the values. */
export function isAnyOf(column: Column, values: readonly unknown[]): SQL {
  return sql`${column} = ANY(${sql.param(values)}::${sql.raw(column.getSQLType())}[])`;
}

type Fields = readonly (readonly [name: string, type: string])[];

/**
 * Rows as a table `given` of the statement, to go behind FROM; its column `n` counts them from 1 on.
 * @param fields names and SQL types of the rows' values; integers that may pass 2^53 come as text
 */
export function given(fields: Fields, rows: readonly Readonly<Record<string, unknown>>[]): SQL {
  const names = fields.map(([name]) => `"${name}"`).join(", ");
  const types = fields.map(([name, type]) => `"${name}" ${type}`).join(", ");
  return sql`ROWS FROM (jsonb_to_recordset(${sql.param(JSON.stringify(rows))}::jsonb) AS (${sql.raw(types)})) WITH ORDINALITY AS given(${sql.raw(names)}, n)`;
}

/**
 * Writes rows in their order, so that what the database numbers ascends with it. Every row has the same keys; what has
 * none takes its default.
 */
export async function insertAll<Table extends PgTable>(
  tx: Queries,
  table: Table,
  rows: readonly InferInsertModel<Table>[],
): Promise<void> {
  if (rows.length > 0) await tx.execute(insertion(table, rows));
}

/** `insertAll`, and the values that the database gave to the columns. */
export async function insertAllReturning<Table extends PgTable, Key extends keyof InferSelectModel<Table> & string>(
  tx: Queries,
  table: Table,
  rows: readonly InferInsertModel<Table>[],
  keys: readonly Key[],
): Promise<Pick<InferSelectModel<Table>, Key>[]> {
  if (rows.length === 0) return [];
  const all = getTableColumns(table);
  const names = sql.raw(keys.map((key) => `"${all[key]!.name}"`).join(", "));
  const { rows: given } = (await tx.execute(sql`${insertion(table, rows)} RETURNING ${names}`)) as unknown as {
    rows: Record<string, unknown>[];
  };
  return given.map(
    (row) =>
      Object.fromEntries(keys.map((key) => [key, all[key]!.mapFromDriverValue(row[all[key]!.name])])) as Pick<
        InferSelectModel<Table>,
        Key
      >,
  );
}

function insertion<Table extends PgTable>(table: Table, rows: readonly InferInsertModel<Table>[]): SQL {
  const all = getTableColumns(table);
  const columns = Object.keys(rows[0]!).map((key) => [key, all[key]!] as const);
  const names = sql.raw(columns.map(([, { name }]) => `"${name}"`).join(", "));
  const from = given(
    columns.map(([, column]) => [column.name, column.getSQLType()]),
    rows.map((row) =>
      Object.fromEntries(columns.map(([key, { name }]) => [name, plain((row as Record<string, unknown>)[key])])),
    ),
  );
  return sql`INSERT INTO ${sql.identifier(getTableName(table))} (${names}) SELECT ${names} FROM ${from} ORDER BY given.n`;
}

const plain = (value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value);
