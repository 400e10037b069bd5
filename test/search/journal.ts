import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { openJournal, readJournalHeader, type JournalHeader, type TrialRecord } from "../../offchain/search/journal.ts";
import { scratchFolder } from "./kit/fake-search.ts";

const header: JournalHeader = {
  search: { seed: 3, space: { filters: [1, 2] }, maxMacs: null },
  begun: { episodes: 10 },
};

const record = (trial: number): TrialRecord => {
  const layer = { kernelHeight: 3, kernelWidth: 3, filters: 4, strideHeight: 1, strideWidth: 1, poolSize: 1, actIntBits: 2, actFracBits: 2, weightIntBits: 2, weightFracBits: 2 }; // prettier-ignore
  return {
    trial,
    rung: 0,
    architecture: { input: [8, 8, 1], classes: 4, layers: [layer], head: { pool: "flatten", hidden: 0 } },
    epochs: 1,
    seed: 0,
    correct: 5,
    total: 10,
    trainLoss: [1.5, null],
    seconds: 0.5,
    imagesPerSecond: 10,
    engine: "onnx",
    infeasible: null,
    diverged: false,
    dead: false,
    failed: null,
    modelRoot: "0x00",
    modelFile: null,
  };
};

function refusal(work: () => unknown): { code?: string; message: string } {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("it was not refused");
}

/** Writes a journal with these trials and returns its bytes. */
function written(file: string, trials: number): Buffer {
  const journal = openJournal(file, header);
  for (let trial = 0; trial < trials; trial++) journal.append(record(trial));
  journal.close();
  return readFileSync(file);
}

describe("A journal", () => {
  it("gives back what was appended, in order, and which search it is of", () => {
    using folder = scratchFolder();
    const file = join(folder.path, "new/folder/a.jsonl");
    written(file, 3);
    const journal = openJournal(file, { ...header, begun: { episodes: 50 } });
    expect(journal.records).to.deep.equal([record(0), record(1), record(2)]);
    expect(journal.header.begun).to.deep.equal({ episodes: 10 });
    journal.append(record(3));
    expect(readFileSync(file, "utf8").trim().split("\n")).to.have.length(5);
    journal.close();
    expect(readJournalHeader(file)).to.deep.include(header);
    expect(existsSync(`${file}.lock`)).to.equal(false);
  });

  it("survives being cut anywhere in its last line, and goes on from there", () => {
    using folder = scratchFolder();
    const whole = written(join(folder.path, "whole.jsonl"), 2);
    const lastLine = whole.lastIndexOf(0x0a, whole.length - 2) + 1;
    const file = join(folder.path, "cut.jsonl");
    for (let size = lastLine; size < whole.length; size += 31) {
      writeFileSync(file, whole.subarray(0, size));
      const journal = openJournal(file, header);
      expect(journal.records).to.deep.equal([record(0)]);
      journal.append(record(1));
      journal.close();
      expect(readFileSync(file).equals(whole)).to.equal(true);
    }
  });

  it("begins anew in an empty file", () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a.jsonl");
    writeFileSync(file, "");
    expect(written(file, 1).toString()).to.match(/^\{"ponas-search":1,/);
  });

  it("refuses a file that is no journal, and leaves it as it was", () => {
    using folder = scratchFolder();
    for (const content of [
      "hello",
      '{"a":1}\n',
      '{"ponas-search":2,"search":{}}\n',
      '{"ponas-search":1,\n',
      Buffer.alloc(99),
    ]) {
      const file = join(folder.path, "other");
      writeFileSync(file, content);
      const { code, message } = refusal(() => openJournal(file, header));
      expect(code).to.equal("bad-input");
      expect(message).to.equal(`The file ${file} is not the journal of a search.`);
      expect(readFileSync(file).equals(Buffer.from(content))).to.equal(true);
    }
    mkdirSync(join(folder.path, "dir"));
    expect(refusal(() => openJournal(join(folder.path, "dir"), header))).to.include({ code: "bad-input" });
    expect(refusal(() => openJournal(join(folder.path, "other", "below a file"), header))).to.include({
      code: "bad-input",
    });
    expect(refusal(() => readJournalHeader(join(folder.path, "absent")))).to.include({ code: "not-found" });
  });

  it("refuses to mix two searches, and says in what they differ", () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a.jsonl");
    const bytes = written(file, 1);
    const other = (search: object) => refusal(() => openJournal(file, { ...header, search: { ...header.search, ...search } })).message; // prettier-ignore
    expect(other({ seed: 4 })).to.equal(`The journal ${file} is of another search: its seed is 3 there and 4 here.`);
    expect(other({ maxMacs: 7 })).to.include("its maxMacs is null there and 7 here");
    expect(other({ extra: 1 })).to.include("its extra is none there and 1 here");
    expect(other({ space: Array(99).fill(1) })).to.include("its space differs.");
    expect(other({ space: { filters: [8] } })).to.include("its space.filters is [1,2] there and [8] here");
    expect(readFileSync(file).equals(bytes)).to.equal(true);
    // The refused ones gave the lock back.
    openJournal(file, header).close();
  });

  it("names the line that is damaged in its middle", () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a.jsonl");
    written(file, 1);
    appendFileSync(file, '{"trial":1}\n');
    const { message } = refusal(() => openJournal(file, header));
    expect(message).to.match(/^Line 3 of the journal .* is not valid at rung/);
    const [head, record] = readFileSync(file, "utf8").split("\n") as [string, string];
    const more = record.replace(/"correct":\d+/, '"correct":99999');
    writeFileSync(file, `${head}\n${record}\n${more}\n`);
    expect(refusal(() => openJournal(file, header)).message).to.match(
      /^Line 3 of the journal .* is not valid at correct: more are right than there are\.$/,
    );
    writeFileSync(file, `${head}\n${record}\n\0\0\0\n`);
    expect(refusal(() => openJournal(file, header)).message).to.match(/^Line 3 of the journal .* is not valid/);
  });

  it("is one process's at a time, by whatever name", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a.jsonl");
    const link = join(folder.path, "b.jsonl");
    written(file, 1);
    symlinkSync(file, link);
    const script = `
      import { openJournal } from ${JSON.stringify(new URL("../../offchain/search/journal.ts", import.meta.url))};
      openJournal(${JSON.stringify(file)}, ${JSON.stringify(header)});
      console.log("open");
      setInterval(() => undefined, 1000);
    `;
    const holder = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    for (const name of [file, link]) {
      const { code, message } = refusal(() => openJournal(name, header));
      expect(code).to.equal("bad-input");
      expect(message).to.equal(`The journal ${file} is in use by process ${holder.pid}.`);
    }
    holder.kill("SIGKILL");
    await once(holder, "exit");
    openJournal(link, header).close();
  });

  it("says so where the disk takes no more, and stays whole", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a.jsonl");
    const size = written(file, 2).length;
    // A limit of the file's size stands in for a full disk: the system cuts the write short in the same way.
    const script = `
      import { openJournal } from ${JSON.stringify(new URL("../../offchain/search/journal.ts", import.meta.url))};
      process.on("SIGXFSZ", () => undefined);
      const journal = openJournal(${JSON.stringify(file)}, ${JSON.stringify(header)});
      try { for (let trial = 2; ; trial++) journal.append({ ...journal.records[0], trial }); }
      catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message })); }
    `;
    const blocks = Math.ceil(size / 1024) + 1;
    const limited = spawn(
      "bash",
      [
        "-c",
        `ulimit -f ${blocks}; exec "$@"`,
        "-",
        process.execPath,
        "--input-type=module-typescript",
        "--eval",
        script,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let output = "";
    limited.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await once(limited, "close");
    const { code, message } = JSON.parse(output) as { code: string; message: string };
    expect(code).to.equal("unavailable");
    expect(message).to.match(/^The journal .* cannot be written: EFBIG/);
    expect(readFileSync(file).at(-1)).to.equal(0x0a);
    const journal = openJournal(file, header);
    expect(journal.records.length).to.be.within(3, 9);
    journal.close();
  });
});
