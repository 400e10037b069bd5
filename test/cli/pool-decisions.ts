import { join } from "node:path";

import { expect } from "chai";

import { openPoolDatabase } from "../../offchain/pool/database.ts";
import { decide } from "../../offchain/pool/decisions.ts";
import { tasks } from "../../offchain/pool/schema.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, type Workplace } from "./support.ts";

describe("ponas pool decisions", () => {
  let place: Workplace;
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  it("prints what a pool has decided in a task, page by page", async () => {
    const stateDir = join(place.cwd, "state");
    const { queries, close } = await openPoolDatabase(join(stateDir, "database"));
    await queries.insert(tasks).values({ taskId: 7n, descriptor: {}, subspaces: [], seed: 1, openedAt: 0, endsAt: 1 });
    await decide(queries, 7n, 1000, [
      { kind: "partition", reason: "The space is divided." },
      { kind: "spread", reason: "σ_p rises.", figures: { sigma: 0.5 } },
    ]);
    await close();
    const read = (...more: string[]) =>
      ponas(["pool", "decisions", "--state-dir", stateDir, "--task", "7", ...more], place);
    expect((await read()).stdout).to.equal(
      "1 1970-01-01T00:00:01.000Z partition: The space is divided.\n2 1970-01-01T00:00:01.000Z spread: σ_p rises.\n",
    );
    const { decisions } = jsonOf(await read("--after", "1", "--json")) as { decisions: Record<string, unknown>[] };
    expect(decisions.map(({ id, kind, figures }) => ({ id, kind, figures }))).to.deep.equal([
      { id: 2, kind: "spread", figures: { sigma: 0.5 } },
    ]);
  });

  it("makes no database where there is none", async () => {
    const finished = await ponas(["pool", "decisions", "--state-dir", "nowhere", "--task", "1"], place);
    expectRefusal(finished, 1, "There is no pool's database in nowhere.");
  });

  it("needs to be told which pool, and takes a server's database as pool run does", async () => {
    const read = (...more: string[]) => ponas(["pool", "decisions", "--task", "1", ...more], place);
    expectRefusal(await read(), 2, "Neither --state-dir nor --database is given.");
    const secret = await read("--database", "mysql://me:secret@host/pool");
    expectRefusal(secret, 2, "The pool's database is none of a PostgreSQL server.");
    expect(secret.stderr).not.to.contain("secret");
    const away = await read("--database", "postgresql://me:secret@127.0.0.1:9/pool");
    expectRefusal(away, 75, /The pool's database pool at 127\.0\.0\.1:9 is away/);
    expect(away.stderr).not.to.contain("secret");
  });

  it("stands beside pool run, whose help names the partition rules", async () => {
    const { code, stdout } = await ponas(["pool", "run", "--help"], place);
    expect(code).to.equal(0);
    for (const word of ["--partition", "adaptive", "--no-backups"]) expect(stdout).to.contain(word);
  });
});
