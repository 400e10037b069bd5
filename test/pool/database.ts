import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { sql } from "drizzle-orm";
import { getTableConfig, PgTable } from "drizzle-orm/pg-core";

import { openPoolDatabase } from "../../offchain/pool/database.ts";
import * as schema from "../../offchain/pool/schema.ts";
import { cleanUp, emptyDatabase, scratchFolder } from "./kit/world.ts";

async function failureOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => expect.fail("it was opened"),
    (error: Error) => error.message,
  );
}

describe("The pool's database", () => {
  after(cleanUp);

  it("has the tables and columns that the schema says", async () => {
    const { queries } = await emptyDatabase();
    const result = await queries.execute(
      sql`SELECT table_name, column_name, is_nullable, data_type FROM information_schema.columns WHERE table_schema = 'public'`,
    );
    const { rows } = result as unknown as { rows: Record<string, string>[] };
    const inDatabase = rows
      .filter((row) => row.table_name !== "migrations")
      .map((row) => `${row.table_name}.${row.column_name} ${row.data_type} ${row.is_nullable === "YES" ? "null" : ""}`);
    const inSchema = Object.values(schema)
      .filter((entry) => entry instanceof PgTable)
      .flatMap((table) => {
        const { name, columns } = getTableConfig(table);
        return columns.map(
          (column) =>
            `${name}.${column.name} ${column.getSQLType().replace(/\(.*\)/, "")} ${column.notNull ? "" : "null"}`,
        );
      });
    expect(inDatabase.sort()).to.deep.equal(inSchema.sort());
  });

  it("is refused to a second process with one sentence, and taken over from a dead one", async () => {
    const dir = scratchFolder();
    await (await openPoolDatabase(dir)).close();
    const script = `
      import { openPoolDatabase } from ${JSON.stringify(join(import.meta.dirname, "../../offchain/pool/database.ts"))};
      await openPoolDatabase(${JSON.stringify(dir)});
      console.log("open");
      setInterval(() => {}, 1000);`;
    const other = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(other.stdout, "data");
    expect(await failureOf(openPoolDatabase(dir))).to.equal(
      `The pool's database in ${dir} is in use by process ${other.pid}.`,
    );
    const exit = once(other, "exit");
    other.kill("SIGKILL");
    await exit;
    const database = await openPoolDatabase(dir);
    await database.close();
    await database.close();
    expect(existsSync(join(dir, "lock"))).to.equal(false);
  });

  it("is refused where a newer version has written it, where a migration was changed, and where files are lost", async () => {
    const dir = scratchFolder();
    const database = await openPoolDatabase(dir);
    await database.queries.execute(sql`INSERT INTO migrations (name, digest) VALUES ('9999-later.sql', 'x')`);
    await database.close();
    expect(await failureOf(openPoolDatabase(dir))).to.equal(
      `The pool's database in ${dir} was written by a newer version (it has 9999-later.sql).`,
    );
    expect(existsSync(join(dir, "lock"))).to.equal(false);
    rmSync(join(dir, "cluster", "global"), { recursive: true });
    expect(await failureOf(openPoolDatabase(dir))).to.contain("cannot be opened; its files are damaged");
  });
});
