import { expect } from "chai";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { createModelFolder } from "../../offchain/search/model-folder.ts";
import { scratchFolder } from "./kit/fake-search.ts";

describe("The model files of a search", () => {
  it("go when they are needed no longer, and nothing else goes with them", () => {
    using folder = scratchFolder();
    const models = createModelFolder(folder.path);
    const [kept, dropped] = [1, 2].map((byte) => models.put(Uint8Array.of(byte))) as [string, string];
    const strangers = ["notes.txt", "old"];
    writeFileSync(join(folder.path, strangers[0]!), "mine");
    mkdirSync(join(folder.path, strangers[1]!));
    writeFileSync(join(folder.path, `${dropped}.4711.new`), "half of a model");
    models.keepOnly(new Set([kept]));
    expect(readdirSync(folder.path).sort()).to.deep.equal([kept, ...strangers].sort());
    expect(models.get(kept)).to.deep.equal(Buffer.of(1));
    expect(models.get(dropped)).to.equal(null);
  });
});
