import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { expect } from "chai";

import { compared, measured, missing, type Figure } from "../../offchain/cli/bench/figures.ts";
import { TEN_NETWORKS, SPLIT } from "../../offchain/cli/bench/networks.ts";
import { renderMarkdown, renderText, summaryOf, type Report } from "../../offchain/cli/bench/report.ts";
import { alternate, ratioOf, summarise } from "../../offchain/cli/bench/statistics.ts";
import { networkShapes } from "../../offchain/evaluation/shapes.ts";
import { architectureSchema, isDead } from "../../offchain/protocol/architecture.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, type Finished, type Workplace } from "./support.ts";

/** What has to be asked of which figures, of a quick run as of a long one. */
const BARS: Readonly<Record<string, Figure["bar"]>> = {
  "training/small/onnx:onnx-web": { of: "ratio", least: 2.3 },
  "workers/small/two:one": { of: "ratio", least: 1.9 },
  "workers/medium/two:one": { of: "ratio", least: 1.9 },
  "evaluation/fast/small": { of: "ratio", least: 25 },
  "evaluation/fast/split": { of: "ratio", least: 25 },
  "evaluation/cost/tiny": { of: "ratio", least: 500 },
  "search/tiling/loose": { of: "value", most: 10 },
  "search/tiling/tight": { of: "value", most: 10 },
  "search/partition/equal": { of: "value", most: 1 },
  "search/partition/weighted": { of: "value", most: 1 },
  "engines/onnx/losses": { of: "value", most: 1e-4 },
  "engines/onnx/logits": { of: "value", most: 0 },
  "engines/onnx-web/losses": { of: "value", most: 1e-4 },
  "engines/onnx-web/logits": { of: "value", most: 0 },
  "memory/growth": { of: "value", most: 1.1 },
};

/** A module that makes a process believe that the native package is not installed. */
const WITHOUT_NATIVE = `
  import { registerHooks } from "node:module";
  registerHooks({
    resolve: (specifier, context, next) => {
      if (!specifier.startsWith("onnxruntime-node")) return next(specifier, context);
      throw Object.assign(new Error("Cannot find package 'onnxruntime-node'"), { code: "ERR_MODULE_NOT_FOUND" });
    },
  });`;

describe("ponas bench", () => {
  let place: Workplace;
  const run = (...args: string[]): Promise<Finished> => ponas(["bench", ...args], place);
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  describe("--quick", () => {
    let finished: Finished;
    let report: Report;
    before(async () => {
      finished = await run("--quick", "--json", "--out", "report.md");
      report = jsonOf<Report>(finished);
    });

    it("names the machine", () => {
      const { machine, date, quick } = report;
      expect(machine.cpu).not.to.equal("");
      expect(machine.cores).to.be.at.least(1);
      expect(machine.memoryGiB).to.be.above(0);
      expect(machine.os).not.to.equal("");
      expect(machine.node).to.equal(process.versions.node);
      expect(machine.loadAverage).to.have.length(3);
      expect(Number.isNaN(Date.parse(date))).to.equal(false);
      expect(quick).to.equal(true);
    });

    it("gives every figure the bar that it has to meet, and says whether it does", () => {
      const ids = report.figures.map(({ id }) => id);
      expect(new Set(ids).size).to.equal(ids.length);
      for (const [id, bar] of Object.entries(BARS)) {
        const figure = report.figures.find((other) => other.id === id);
        expect(figure, id).not.to.equal(undefined);
        expect(figure!.bar, id).to.deep.equal(bar);
        if (figure!.value === null) continue;
        const value = figure![bar!.of]!;
        expect(value, id).to.be.a("number");
        expect(figure!.met, id).to.equal(value >= (bar!.least ?? -Infinity) && value <= (bar!.most ?? Infinity));
      }
      expect(report.summary).to.deep.equal(summaryOf(report.figures));
    });

    it("takes every ratio from turns with what it is compared with", () => {
      const ratios = report.figures.filter(({ ratio }) => ratio !== null);
      expect(ratios.length).to.be.at.least(5);
      for (const { id, value, against, ratio, ratioSpread } of ratios) {
        expect(against, id).not.to.equal(null);
        expect(ratio, id).to.be.closeTo(value! / against!.value, 1e-9 * ratio!);
        expect(ratioSpread, id).to.be.a("number");
      }
    });

    it("finds the engines of this machine in agreement with one another", () => {
      const checked = report.figures.filter(({ id }) => /^engines\/.*\/(losses|logits)$/.test(id));
      for (const { id, value, met, note } of checked) expect(met, `${id}: ${value} ${note}`).to.equal(value === null ? null : true); // prettier-ignore
      expect(checked.filter(({ met }) => met === true).length).to.be.at.least(5);
    });

    it("lists every engine, the absent ones with what is missing and a cure, and times none of those", () => {
      expect(report.engines.map(({ name }) => name)).to.deep.equal(["onnx", "onnx-web", "webgpu", "cuda", "tfjs"]);
      for (const { name, present, detail, cure } of report.engines) {
        expect(detail, name).not.to.equal("");
        const figures = report.figures.filter(({ id }) => id.startsWith(`engines/${name}/`));
        expect(figures, name).not.to.deep.equal([]);
        if (present) continue;
        expect(cure, name).to.be.a("string");
        for (const { value, met, note } of figures) expect([value, met, note]).to.deep.equal([null, null, "the engine is absent"]); // prettier-ignore
      }
    });

    it("measures every group that is not long, and fails in none", () => {
      expect(report.groups.map(({ name, failed }) => [name, failed])).to.deep.equal(
        ["training", "workers", "evaluation", "search", "engines", "memory"].map((name) => [name, null]),
      );
    });

    it("writes the same as Markdown, with what was not tried", () => {
      const text = readFileSync(join(place.cwd, "report.md"), "utf8");
      expect(text).to.equal(renderMarkdown(report));
      expect(text).to.include(`# ${report.machine.cpu}`);
      expect(text).to.include("## Not tried");
      for (const { present, cure } of report.engines) if (!present) expect(text).to.include(cure);
    });

    it("keeps progress off stdout", () => {
      expect(finished.stderr).to.include("training: ");
      expect(finished.stderr).to.include("memory: ");
    });
  });

  it("reports a missing native package instead of failing, and measures the others against WebAssembly", async () => {
    place.write("hook.mjs", WITHOUT_NATIVE);
    const hook = pathToFileURL(join(place.cwd, "hook.mjs")).href;
    const env = { NODE_OPTIONS: `--import ${hook}` };
    const finished = await ponas(["bench", "--quick", "--only", "training,engines", "--json"], { ...place, env });
    const { figures, groups, engines } = jsonOf<Report>(finished);
    const figureOf = (id: string): Figure => figures.find((figure) => figure.id === id)!;
    expect(groups.map(({ failed }) => failed)).to.deep.equal([null, null]);
    expect(engines[0]).to.include({ name: "onnx", present: false });
    expect(engines[0]!.cure).to.include("npm install");
    expect(figureOf("training/small/onnx:onnx-web")).to.include({ value: null, met: null });
    expect(figureOf("training/small/onnx:onnx-web").note).to.include("onnxruntime-node");
    expect(figureOf("engines/onnx/losses")).to.include({ value: null, note: "the engine is absent" });
    expect(figureOf("engines/onnx-web/logits")).to.include({ value: 0, met: true });
    expect(figureOf("engines/tfjs/training/tiny").against!.name).to.equal("onnx-web");
  });

  it("prints a table for people, and writes a folder's report under the machine's name", async () => {
    const { code, stdout } = await run("--quick", "--only", "search", "--out", "machines/");
    expect(code).to.equal(0);
    expect(stdout).to.match(/tiling of one network .* ≤ 10 ms {2}(met|MISSED)/);
    expect(stdout).to.include("too short for its figures to count");
    expect(readdirSync(join(place.cwd, "machines"))).to.satisfy(
      (files: string[]) => files.length === 1 && /^[a-z0-9-]+-cores?(-[a-z0-9-]+)?\.md$/.test(files[0]!),
    );
  });

  it("writes JSON to a file of any other name", async () => {
    const report = jsonOf<Report>(await run("--quick", "--only", "search", "--json", "--out", "report.json"));
    expect(JSON.parse(readFileSync(join(place.cwd, "report.json"), "utf8"))).to.deep.equal(report);
  });

  for (const [what, args, exitCode, sentence] of [
    ["an unknown group", ["--only", "search,speed"], 2, "--only takes groups of training, workers, evaluation,"],
    ["too few trials", ["--trials", "19"], 2, "--trials takes a whole number from 20 to 100000"],
    [
      "a report that cannot be written, before anything is measured",
      ["--out", "nowhere/report.md"],
      1,
      "The report nowhere/report.md cannot be written.",
    ],
  ] as const) {
    it(`refuses ${what}`, async () => expectRefusal(await run(...args), exitCode, sentence));
  }

  it("ends soon after Ctrl-C, its training processes with it", async () => {
    const child = spawn(process.execPath, [resolve("offchain/cli/ponas.ts"), "bench", "--only", "memory", "--trials", "100000"]); // prettier-ignore
    await once(child.stderr, "data");
    await new Promise((done) => setTimeout(done, 1500));
    const start = performance.now();
    child.kill("SIGINT");
    const [code] = (await once(child, "close")) as [number];
    expect(code).to.equal(130);
    expect(performance.now() - start).to.be.below(15_000);
  });
});

describe("the statistics of a benchmark", () => {
  it("sum samples up by their median and their range", () => {
    expect(summarise([4, 1, 2])).to.deep.include({ median: 2, spread: 1.5 });
    expect(summarise([4, 1, 2, 3])).to.deep.include({ median: 2.5 });
    expect(summarise([0])).to.deep.include({ median: 0, spread: 0 });
    expect(() => summarise([])).to.throw(RangeError);
  });

  it("take ratios round by round, so that a slow round does not show", () => {
    const [one, other] = [summarise([20, 2, 22]), summarise([10, 1, 11])];
    expect(ratioOf(one, other)).to.deep.include({ median: 2, spread: 0 });
  });

  it("let contenders take turns after a piece of work each that does not count", async () => {
    const order: string[] = [];
    const work = (name: string, size: number) => () => (order.push(name), size);
    const { signal } = new AbortController();
    const rates = await alternate(
      { a: work("a", 1), b: work("b", 3) },
      { rounds: 3, turnMs: 0, budgetMs: 1000, signal },
    );
    expect(order.join("")).to.equal("abababab");
    expect(rates.a.samples).to.have.length(3);
    expect(rates.b.samples).to.have.length(3);
  });

  it("take the rate that a piece of work has found itself, once a turn", async () => {
    const { signal } = new AbortController();
    let pieces = 0;
    const own = async (): Promise<{ rate: number }> => ({ rate: ++pieces });
    const rates = await alternate({ own, other: () => 1 }, { rounds: 3, turnMs: 20, budgetMs: 1000, signal });
    expect(rates.own.samples).to.deep.equal([2, 3, 4]);
  });

  it("take fewer rounds where the budget ends, but one", async () => {
    const { signal } = new AbortController();
    const slow = async (): Promise<number> => (await new Promise((done) => setTimeout(done, 30)), 1);
    const rounds = async (budgetMs: number): Promise<number> =>
      (await alternate({ slow }, { rounds: 50, turnMs: 0, budgetMs, signal })).slow.samples.length;
    expect(await rounds(1)).to.equal(1);
    expect(await rounds(100)).to.be.within(1, 3);
  });

  it("stop when asked to, even between pieces of work that never wait", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    const endless = alternate({ busy: () => 1 }, { rounds: 1, turnMs: 60_000, budgetMs: 1, signal: controller.signal });
    const error: unknown = await endless.then(() => undefined, (thrown: unknown) => thrown); // prettier-ignore
    expect(error).to.be.instanceOf(PonasError).with.property("code", "aborted");
  });
});

describe("the figures of a benchmark", () => {
  const bar = { of: "ratio", least: 2 } as const;
  const description = { id: "a/b", what: "a thing", unit: "images/s", bar };
  const slow = summarise([10, 10]);

  it("meet their bar at the bar itself, and miss it below", () => {
    expect(compared(description, summarise([20, 20]), "slow", slow)).to.include({ ratio: 2, met: true });
    expect(compared(description, summarise([19, 19]), "slow", slow)).to.include({ met: false });
    const most = { ...description, bar: { of: "value", most: 10 } as const };
    expect([10, 10.1].map((value) => measured(most, summarise([value])).met)).to.deep.equal([true, false]);
  });

  it("never meet it as no number, and say nothing where there is none or nothing was measured", () => {
    expect(compared(description, summarise([Number.NaN]), "slow", slow).met).to.equal(false);
    expect(measured({ ...description, bar: undefined }, slow).met).to.equal(null);
    const absent = missing(description, "it is not here");
    expect(absent).to.include({ value: null, met: null, note: "it is not here" });
    expect(summaryOf([absent, measured({ ...description, bar: undefined }, slow)])).to.deep.equal({ met: 0, missed: 0, unmeasured: 1 }); // prettier-ignore
  });

  it("say in the table what was missed, what was not measured and what went wrong", () => {
    const figures = [compared(description, summarise([19]), "slow", summarise([10])), missing(description, "it is not here")]; // prettier-ignore
    const machine = { cpu: "A|B", cores: 1, memoryGiB: 1, os: "os", node: "24", accelerators: [], loadAverage: [9, 9, 9], busy: "Busy." }; // prettier-ignore
    const groups = [{ name: "accuracy", seconds: 1, failed: "There is no such data set." }];
    const report = { date: "2026-01-01T00:00:00.000Z", quick: false, machine, engines: [], groups, figures, summary: summaryOf(figures) }; // prettier-ignore
    for (const text of [renderText(report), renderMarkdown(report)]) {
      expect(text).to.include("MISSED");
      expect(text).to.include("not measured: it is not here");
      expect(text).to.include("1.9 × slow (10)");
      expect(text).to.include("There is no such data set.");
      expect(text).to.include("Busy.");
    }
  });
});

describe("the networks of a benchmark", () => {
  it("are ten, of valid and living architectures, from small to large", () => {
    expect(TEN_NETWORKS).to.have.length(10);
    expect(new Set(TEN_NETWORKS.map(({ name }) => name)).size).to.equal(10);
    for (const { name, architecture } of [...TEN_NETWORKS, SPLIT]) {
      expect(architectureSchema.safeParse(architecture).success, name).to.equal(true);
      expect(isDead(architecture), name).to.equal(false);
    }
    const macs = TEN_NETWORKS.map(({ architecture }) => networkShapes(architecture).macs);
    expect(Math.min(...macs)).to.be.below(5e5);
    expect(Math.max(...macs)).to.be.above(5e7);
  });
});
