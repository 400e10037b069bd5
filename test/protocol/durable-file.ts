import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";

import { writeDurably } from "../../offchain/protocol/durable-file.ts";

describe("A file written durably", () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "ponas-durable-"))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it("takes the place of the one before, and leaves no draft", () => {
    const file = join(dir, "state");
    writeDurably(file, Buffer.from("one"), 0o600);
    writeDurably(file, Buffer.from("two"), 0o600);
    expect(readFileSync(file, "utf8")).to.equal("two");
    expect(statSync(file).mode & 0o777).to.equal(0o600);
    expect(readdirSync(dir)).to.deep.equal(["state"]);
  });

  it("is as it was before where the disk is full", function () {
    if (!existsSync("/dev/full")) return this.skip();
    const file = join(dir, "state");
    writeFileSync(file, "one");
    symlinkSync("/dev/full", `${file}.${process.pid}.new`);
    expect(() => writeDurably(file, Buffer.from("two"))).to.throw("ENOSPC");
    expect(readFileSync(file, "utf8")).to.equal("one");
    expect(readdirSync(dir)).to.deep.equal(["state"]);
  });

  it("cannot take the place of a folder, which stays", () => {
    writeFileSync(join(dir, "taken"), "");
    expect(() => writeDurably(dir, Buffer.from("two"))).to.throw();
    expect(readdirSync(dir)).to.deep.equal(["taken"]);
    expect(existsSync(`${dir}.${process.pid}.new`)).to.equal(false);
  });
});
