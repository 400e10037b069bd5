import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { ARCHITECTURE, createWorkplace, expectRefusal, jsonOf, ponas, type Finished, type Workplace } from "./support.ts"; // prettier-ignore

interface Trained {
  readonly modelRoot: string;
  readonly cid: string;
  readonly trainLoss: number[];
  readonly validation: { readonly correct: number; readonly total: number };
  readonly imagesPerSecond: number;
  readonly engine: string;
}
interface Evaluated {
  readonly correct: number;
  readonly total: number;
  readonly modelRoot: string | null;
  readonly result: string;
  readonly malformed: null | { readonly reason: string };
  readonly predictions?: number[];
}
interface Inspected {
  readonly architecture: unknown;
  readonly modelRoot: string;
  readonly shapes: unknown[];
  readonly layers?: { readonly weights: number[][][][]; readonly bias: number[] }[];
  readonly hidden?: null;
  readonly output?: { readonly weights: number[][]; readonly bias: number[] };
}

describe("ponas train, inspect, evaluate", () => {
  let place: Workplace;
  let training: Finished;
  const run = (...args: string[]): Promise<Finished> => ponas(args, place);
  const short = ["--dataset", "mnist", "--limit", "256", "--epochs", "1"];

  before(async () => {
    place = createWorkplace();
    mkdirSync(join(place.cwd, "empty"));
    place.writeJson("arch.json", ARCHITECTURE);
    training = await run("train", "arch.json", ...short, "--out", "model", "--json");
  });
  after(() => place[Symbol.dispose]());

  const HASH = /^0x[0-9a-f]{64}$/;
  const evaluate = async (...args: string[]): Promise<Evaluated> =>
    jsonOf(await run("evaluate", "model", "--dataset", "mnist", "--json", ...args));

  it("train prints one JSON value, and its progress on stderr", () => {
    const { modelRoot, cid, trainLoss, validation, imagesPerSecond, engine } = jsonOf<Trained>(training);
    expect(modelRoot).to.match(HASH);
    expect(cid).to.match(/^bafkrei[a-z2-7]+$/);
    expect(trainLoss).to.have.length(1);
    expect(trainLoss[0]).to.be.within(0, 5);
    expect(validation.total).to.equal(2000);
    expect(imagesPerSecond).to.be.above(0);
    expect(engine).to.equal("onnx");
    expect(training.stderr).to.include("epoch 1 of 1");
  });

  it("inspect tells the same root and architecture", async () => {
    const seen = jsonOf<Inspected>(await run("inspect", "model", "--json"));
    expect(seen.modelRoot).to.equal(jsonOf<Trained>(training).modelRoot);
    expect(seen.architecture).to.deep.equal(ARCHITECTURE);
    expect(seen.shapes).to.have.length(2);
    expect(seen).not.to.have.any.keys("layers", "hidden", "output");
  });

  it("inspect --weights prints integers, nested as the interface says", async () => {
    const { layers, hidden, output } = jsonOf<Inspected>(await run("inspect", "model", "--weights", "--json"));
    expect(layers!.map(({ weights, bias }) => [weights.length, weights[0]!.length, weights[0]![0]!.length, weights[0]![0]![0]!.length, bias.length])) // prettier-ignore
      .to.deep.equal([[6, 3, 3, 1, 6], [8, 3, 3, 6, 8]]); // prettier-ignore
    expect(hidden).to.equal(null);
    expect([output!.weights.length, output!.weights[0]!.length, output!.bias.length]).to.deep.equal([
      10,
      7 * 7 * 8,
      10,
    ]);
    const numbers = [...layers!.flatMap(({ weights, bias }) => [weights, bias]), output!.weights, output!.bias];
    expect((numbers.flat(4) as number[]).every(Number.isInteger)).to.equal(true);
  });

  it("evaluate counts on validation what train counted", async () => {
    const { correct, total, modelRoot, result, malformed } = await evaluate("--split", "validation");
    const trained = jsonOf<Trained>(training);
    expect({ correct, total }).to.deep.equal(trained.validation);
    expect(modelRoot).to.equal(trained.modelRoot);
    expect(result).to.match(HASH);
    expect(malformed).to.equal(null);
    expect(correct).to.be.above(200);
  });

  it("evaluate counts the same with either engine, prediction for prediction", async () => {
    const part = ["--split", "test", "--limit", "50", "--predictions"];
    const [reference, fast] = [await evaluate(...part, "--engine", "reference"), await evaluate(...part)];
    expect(reference).to.deep.equal(fast);
    expect(fast.total).to.equal(50);
    expect(fast.predictions).to.have.length(50);
    expect(fast.predictions!.every((k) => Number.isInteger(k) && k >= 0 && k < 10)).to.equal(true);
  });

  it("the same seed writes the same file, another seed another", async () => {
    const again = jsonOf<Trained>(await run("train", "arch.json", ...short, "--out", "again", "--seed", "0", "--json"));
    const other = jsonOf<Trained>(await run("train", "arch.json", ...short, "--out", "other", "--seed", "1", "--json"));
    const bytes = (name: string): Buffer => readFileSync(join(place.cwd, name));
    expect(Buffer.compare(bytes("again"), bytes("model"))).to.equal(0);
    expect(Buffer.compare(bytes("other"), bytes("model"))).not.to.equal(0);
    const first = jsonOf<Trained>(training);
    expect([again.cid, again.modelRoot, again.trainLoss]).to.deep.equal([first.cid, first.modelRoot, first.trainLoss]);
    expect([other.cid, other.modelRoot]).not.to.include.members([first.cid, first.modelRoot]);
  });

  it("all three print text for people without --json", async () => {
    const { modelRoot } = jsonOf<Trained>(training);
    for (const finished of [
      await run("inspect", "model"),
      await run("evaluate", "model", "--dataset", "mnist", "--limit", "5"),
    ]) {
      expect(finished.code).to.equal(0);
      expect(finished.stdout).to.include(`modelRoot ${modelRoot}`);
      expect(finished.stderr).to.equal("");
    }
  });

  describe("of a broken model file", () => {
    const broken: [string, (model: Buffer) => Uint8Array, string][] = [
      ["cut off", (model) => model.subarray(0, model.length - 100), "it claims "],
      ["empty", () => new Uint8Array(), "it ends after 0 bytes"],
      [
        "with a byte after its end",
        (model) => Buffer.concat([model, Buffer.from([0])]),
        "it goes on for 1 bytes after its end",
      ],
      ["of other bytes", () => Uint8Array.from({ length: 3000 }, (_, i) => (i * 7919 + 200) % 251), ""],
      ["of text", () => Buffer.from("not a model\n"), ""],
    ];
    for (const [what, spoil, reason] of broken) {
      it(`${what}: inspect refuses it, evaluate calls it malformed`, async () => {
        place.write("broken", spoil(readFileSync(join(place.cwd, "model"))));
        expectRefusal(await run("inspect", "broken", "--json"), 1, `The model file is malformed: ${reason}`);
        const value = jsonOf<Evaluated>(
          await run("evaluate", "broken", "--dataset", "mnist", "--limit", "10", "--predictions", "--json"),
        );
        expect(value.malformed!.reason).to.include(`The model file is malformed: ${reason}`);
        expect({ ...value, malformed: null }).to.deep.equal({
          correct: 0,
          total: 10,
          modelRoot: null,
          result: `0x${"0".repeat(64)}`,
          malformed: null,
          predictions: [],
        });
      });
    }
  });

  describe("refuse in one sentence", () => {
    const evaluation = ["evaluate", "model", "--dataset", "mnist"];
    const trainingOf = (file: string, ...more: string[]): string[] => ["train", file, ...short, "--out", "x", ...more];
    const cases: [string, string[], number, string][] = [
      ["a missing model", ["inspect", "missing", "--json"], 1, "The model file missing does not exist."],
      ["a folder for a model", ["inspect", "empty"], 1, "The model file empty cannot be read."],
      ["a missing model to evaluate", ["evaluate", "missing", "--dataset", "mnist"], 1, "The model file missing does not exist."], // prettier-ignore
      ["an unknown data set", ["evaluate", "model", "--dataset", "cifar99"], 1, "There is no data set called cifar99"],
      ["an empty data folder", [...evaluation, "--data-dir", "empty"], 1, "The data folder empty is empty."],
      ["an empty folder for a data set", ["evaluate", "model", "--dataset", "./empty"], 1, "The data folder ./empty is empty."], // prettier-ignore
      ["a data folder that is not there", [...evaluation, "--data-dir", "missing"], 1, "missing is not a folder."],
      ["no data set", ["evaluate", "model"], 2, "required option '--dataset <name>' not specified"],
      ["--limit 0", [...evaluation, "--limit", "0"], 2, '--limit takes a whole number of 1 or more, not "0".'],
      ["--limit -1", [...evaluation, "--limit", "-1"], 2, '--limit takes a whole number of 1 or more, not "-1".'],
      ["--limit 1e3", [...evaluation, "--limit", "1e3"], 2, 'not "1e3".'],
      ["an unknown split", [...evaluation, "--split", "train"], 2, "Allowed choices are validation, test."],
      ["an unknown engine", [...evaluation, "--engine", "gpu"], 2, "Allowed choices are reference, fast."],
      ["an unknown option", [...evaluation, "--quick"], 2, "unknown option '--quick'"],
      ["a second model", [...evaluation, "model"], 2, "too many arguments for 'evaluate'"],
      ["a missing architecture", trainingOf("missing.json"), 1, "The file missing.json does not exist."],
      ["an architecture that is no JSON", trainingOf("model"), 1, "The file model is not JSON."],
      ["an invalid architecture", trainingOf("invalid.json"), 1, "The architecture invalid.json is not valid at layers.0.filters: "], // prettier-ignore
      ["an architecture for other images", trainingOf("colour.json"), 1, "The network reads images of 2352 bytes"],
      ["an architecture with too few classes", trainingOf("few.json"), 1, "but the network has 5 classes."],
      ["an --out that cannot be written", [...trainingOf("arch.json"), "--out", "missing/model"], 1, "The model file missing/model cannot be written."], // prettier-ignore
      ["an --out that is a folder", [...trainingOf("arch.json"), "--out", "empty"], 1, "The model file empty cannot be written."], // prettier-ignore
      ["no epochs", trainingOf("arch.json", "--epochs", "0"), 2, "--epochs takes a whole number from 1 to 10000"],
      ["a seed out of range", trainingOf("arch.json", "--seed", "4294967296"), 2, "--seed takes a whole number from 0"],
    ];
    before(() => {
      const [layer] = ARCHITECTURE.layers;
      place.writeJson("invalid.json", { ...ARCHITECTURE, layers: [{ ...layer, filters: 0 }] });
      place.writeJson("colour.json", { ...ARCHITECTURE, input: [28, 28, 3] });
      place.writeJson("few.json", { ...ARCHITECTURE, classes: 5 });
    });
    for (const [what, args, exitCode, sentence] of cases) {
      it(what, async () => expectRefusal(await run(...args), exitCode, sentence));
    }
  });
});
