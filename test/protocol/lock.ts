import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { expect } from "chai";

import { PonasError } from "../../offchain/protocol/errors.ts";
import { takeLock } from "../../offchain/protocol/lock.ts";

const LOCK = resolve("offchain/protocol/lock.ts");

describe("locks", () => {
  let dir: string;
  let file: string;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "ponas-lock-"));
    file = join(dir, "state", "lock");
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });

  /** Starts a process that takes the lock, says "held" or why not, and then lives on. */
  async function holder(): Promise<{ child: ChildProcess; said: string }> {
    const code = `import { takeLock } from ${JSON.stringify(LOCK)};
      try { takeLock(process.argv[1], "The folder"); console.log("held"); } catch (error) { console.log(error.message); }
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", code, file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    const [chunk] = (await once(child.stdout!, "data")) as [Buffer];
    return { child, said: chunk.toString().trim() };
  }

  it("are refused while a living process holds them, in one sentence that names it", async () => {
    const { child } = await holder();
    expect(() => takeLock(file, "The folder"))
      .to.throw(PonasError, `The folder is in use by process ${child.pid}.`)
      .with.property("code", "bad-input");
    expect(existsSync(file)).to.equal(true);
  });

  it("are taken over from a process that was killed", async () => {
    const { child, said } = await holder();
    expect(said).to.equal("held");
    child.kill("SIGKILL");
    await once(child, "close");
    takeLock(file, "The folder")();
    expect(readdirSync(join(dir, "state"))).to.deep.equal([]);
  });

  it("are taken over where the holder's process id was given to somebody else", () => {
    takeLock(file, "The folder")();
    // a living process, but one that began at another time: a machine or a container that started anew
    writeFileSync(file, `${process.ppid} 1`);
    takeLock(file, "The folder")();
    writeFileSync(file, `${process.pid} 1`);
    takeLock(file, "The folder")();
  });

  it("go to one of many who find a dead one's at the same moment", async () => {
    takeLock(file, "The folder")();
    writeFileSync(file, "999999999 1");
    const all = await Promise.all(Array.from({ length: 5 }, holder));
    expect(all.filter(({ said }) => said === "held")).to.have.length(1);
    const { child } = all.find(({ said }) => said === "held")!;
    expect(readFileSync(file, "utf8")).to.match(new RegExp(`^${child.pid}\\b`));
  });

  it("are refused to the process that holds them, and free again when given back", () => {
    const release = takeLock(file, "The folder");
    expect(() => takeLock(file, "The folder")).to.throw(PonasError, `in use by process ${process.pid}`);
    release();
    takeLock(file, "The folder")();
  });

  it("given back late, leave another's alone", () => {
    const release = takeLock(file, "The folder");
    writeFileSync(file, "1");
    release();
    expect(readFileSync(file, "utf8")).to.equal("1");
  });

  for (const [what, content] of [
    ["nothing", ""],
    ["no number", "somebody"],
    ["a negative number", "-1"],
    ["a dead process by its id alone", "999999999\n"],
  ] as const) {
    it(`are taken over where the file says ${what}`, () => {
      takeLock(file, "The folder")();
      writeFileSync(file, content);
      takeLock(file, "The folder")();
    });
  }
});
