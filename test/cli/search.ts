import { expect } from "chai";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { createWorkplace, expectRefusal, ponas, type Finished } from "./support.ts";

/** Ten lists whose networks train in a moment. */
const SPACE = {
  kernelHeight: [1, 3],
  kernelWidth: [1, 3],
  filters: [4, 8],
  strideHeight: [2, 3],
  strideWidth: [2, 3],
  poolSize: [1],
  actIntBits: [2],
  actFracBits: [4, 5],
  weightIntBits: [2],
  weightFracBits: [4, 5],
};
const BASE = ["--dataset", "mnist", "--limit", "200", "--layers", "2", "--seed", "4", "--engine", "onnx"];

interface TrialLine {
  readonly trial: number;
  readonly rung: number;
  readonly reward: number;
  readonly validation: { readonly correct: number; readonly total: number };
  readonly resumed: boolean;
  readonly modelRoot: string;
  readonly epochs: number;
}
interface BestLine {
  readonly best: TrialLine & { readonly cid: string; readonly test?: { readonly total: number } };
  readonly networks: number;
  readonly journal: string;
}

function linesOf({ code, stdout, stderr }: Pick<Finished, "code" | "stdout" | "stderr">) {
  expect(code, stderr).to.equal(0);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line) as object); // prettier-ignore
  return { trials: lines.slice(0, -1) as TrialLine[], last: lines.at(-1) as BestLine };
}

const results = (trials: readonly TrialLine[]) =>
  trials.map(({ trial, rung, reward, modelRoot }) => ({ trial, rung, reward, modelRoot }));

describe("ponas search", () => {
  it("prints a line for each trial and then the best, writes its model, CSV and JSON lines, and goes on", async () => {
    using place = createWorkplace();
    const { cwd } = place;
    place.writeJson("space.json", SPACE);
    const env = { HOME: cwd };
    const args = ["search", ...BASE, "--space", "space.json", "--strategy", "evolution", "--epochs", "1", "--json"];
    const files = ["--out", "best.model", "--csv", "trials.csv", "--jsonl", "trials.jsonl"];
    const run = await ponas([...args, "--episodes", "5", ...files], { cwd, env });
    const { trials, last } = linesOf(run);
    expect(trials.map(({ trial }) => trial)).to.deep.equal([0, 1, 2, 3, 4]);
    expect(last.best.reward).to.equal(Math.max(...trials.map(({ reward }) => reward)));
    expect(last.best.modelRoot).to.equal(trials[last.best.trial]!.modelRoot);
    expect(last.best).not.to.have.property("test");
    expect(last.best.cid).to.match(/^bafk/);
    expect(readFileSync(join(cwd, "trials.jsonl"), "utf8")).to.equal(run.stdout);

    const measured = await ponas(["evaluate", "best.model", "--dataset", "mnist", "--split", "validation", "--json"], { cwd, env }); // prettier-ignore
    expect(JSON.parse(measured.stdout)).to.deep.include({ ...last.best.validation, modelRoot: last.best.modelRoot });

    const [header, ...rows] = readFileSync(join(cwd, "trials.csv"), "utf8").trim().split("\n").map((line) => line.split(",")); // prettier-ignore
    expect(rows).to.have.length(5);
    expect(header!.filter((name) => name.startsWith("layer"))).to.have.length(20);
    expect(header).to.include.members(["trial", "reward", "seconds", "engine", "macs", "layer2.weightFracBits"]);
    expect(rows.every((row) => row.length === header!.length)).to.equal(true);

    // The journal lies where the search said, and is enough to go on with.
    expect(last.journal.startsWith(join(cwd, ".ponas", "searches"))).to.equal(true);
    expect(run.stderr).to.include(last.journal);
    expect(run.stderr).to.match(/5 of 5 trials, best/);
    const again = linesOf(await ponas(["search", "--resume", last.journal, "--test", "--json"], { cwd, env }));
    expect(again.trials.every(({ resumed }) => resumed)).to.equal(true);
    expect(results(again.trials)).to.deep.equal(results(trials));
    expect(again.last.best.modelRoot).to.equal(last.best.modelRoot);
    expect(again.last.best.test!.total).to.equal(2000);

    const more = await ponas(["search", "--resume", last.journal, "--episodes", "6"], { cwd, env });
    expect(more.code, more.stderr).to.equal(0);
    expect(more.stdout).to.match(/^trial rung +reward/);
    expect(more.stdout).to.match(/^ {4}5 {4}0 +\d+\.\d\d%/m);
    expect(more.stdout).to.match(/^best of 6 networks \(evolution, engine onnx\): trial \d, \d+ of 2000 correct/m);

    const refuse = async (options: string[], sentence: RegExp): Promise<void> =>
      expectRefusal(await ponas(["search", "--resume", last.journal, ...options], { cwd, env }), 1, sentence);
    await refuse(["--seed", "5"], /is of another search: its seed is 4 there and 5 here/);
    await refuse(["--epochs", "2"], /is of another search: its settings\.epochs is 1 there and 2 here/);
    await refuse(["--dataset", "fashion-mnist"], /another search|not at/);
  });

  it("goes on after kill -9 and after Ctrl-C to what an undisturbed search gives", async () => {
    using place = createWorkplace();
    const { cwd } = place;
    place.writeJson("space.json", SPACE);
    const args = [...BASE, "--space", "space.json", "--epochs", "4", "--halving", "2", "--episodes", "10", "--json"];
    const whole = linesOf(await ponas(["search", ...args, "--workers", "1", "--resume", "whole.jsonl"], { cwd }));
    expect(whole.trials.map(({ rung }) => rung)).to.deep.equal([...Array<number>(10).fill(0), ...Array<number>(5).fill(1), 2, 2]); // prettier-ignore
    expect(whole.trials.map(({ epochs }) => epochs)).to.include.members([1, 2, 4]);

    const begin = (...options: string[]): ChildProcess =>
      spawn(process.execPath, [resolve("offchain/cli/ponas.ts"), "search", ...options, "--workers", "2", "--json"], {
        cwd,
        stdio: ["ignore", "pipe", "pipe"],
      });
    const killed = begin(...args, "--resume", "killed.jsonl");
    await once(killed.stdout!, "data");
    killed.kill("SIGKILL");
    await once(killed, "exit");

    const interrupted = begin("--resume", "killed.jsonl");
    let stderr = "";
    interrupted.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const journal = join(cwd, "killed.jsonl");
    const before = readFileSync(journal, "utf8").split("\n").length;
    while (readFileSync(journal, "utf8").split("\n").length < before + 3)
      await new Promise((done) => setTimeout(done, 5));
    interrupted.kill("SIGINT");
    const [code] = (await once(interrupted, "close")) as [number | null];
    expect(code, stderr).to.equal(130);
    expect(stderr).to.match(/finished trainings are kept; to go on: ponas search --resume \S+killed\.jsonl$/m);
    expect(existsSync(`${journal}.lock`)).to.equal(false);

    const resumed = linesOf(await ponas(["search", "--resume", "killed.jsonl", "--json"], { cwd }));
    expect(resumed.trials.filter((trial) => trial.resumed).length).to.be.above(3);
    expect(results(resumed.trials)).to.deep.equal(results(whole.trials));
    expect(resumed.last.best.modelRoot).to.equal(whole.last.best.modelRoot);
    expect(readdirSync(`${journal}.models`)).to.have.length(1);
  });

  it("ends with 1 where no network gave a model, and says so", async () => {
    using place = createWorkplace();
    const { cwd } = place;
    const args = ["search", ...BASE, "--space", "demo", "--episodes", "2", "--epochs", "1", "--max-macs", "1"];
    const { code, stdout } = await ponas([...args, "--json"], { cwd, env: { HOME: cwd } });
    expect(JSON.parse(stdout)).to.include({ best: null, networks: 0 });
    expect(code).to.equal(1);
  });

  it("says in one sentence what is wrong with its input, before it begins", async () => {
    using place = createWorkplace();
    const { cwd } = place;
    place.writeJson("short.json", { ...SPACE, filters: [] });
    place.write("text", "no journal\n");
    place.write("empty", "");
    const full = [...BASE, "--space", "demo", "--episodes", "2", "--epochs", "1"];
    const cases: [string[], number, RegExp][] = [
      [["--space", "demo", "--episodes", "2"], 2, /A new search needs --dataset\./],
      [["--resume", "empty"], 2, /A new search needs --dataset, since there is no journal empty yet\./],
      [["--resume", "absent.jsonl"], 2, /A new search needs --dataset, since there is no journal absent\.jsonl yet\./],
      [[...full, "--space", "S77"], 1, /There is no search space called S77/],
      [[...full, "--space", "short.json"], 1, /The space short\.json is not valid at filters/],
      [[...full, "--resume", "text"], 1, /The file text is not the journal of a search/],
      [[...full, "--halving", "3"], 2, /Halving by 3 needs at least 3 epochs, not 1/],
      [[...full, "--strategy", "luck"], 2, /Allowed choices are/],
      [[...full, "--episodes", "0"], 2, /--episodes takes a whole number/],
      [[...full, "--out", "no/such/folder/model"], 1, /The model file no\/such\/folder\/model cannot be written/],
      [[...full, "--csv", "no/such/folder/trials"], 1, /The file no\/such\/folder\/trials cannot be written/],
    ];
    for (const [args, exitCode, sentence] of cases) {
      expectRefusal(await ponas(["search", ...args], { cwd, env: { HOME: cwd } }), exitCode, sentence);
    }
    expect(readFileSync(join(cwd, "text"), "utf8")).to.equal("no journal\n");
    expect(existsSync(join(cwd, ".ponas"))).to.equal(false);
  });
});
