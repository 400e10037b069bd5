import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { evaluateModel, predict } from "../../offchain/evaluation/evaluate.ts";
import { decodeModel, linearWeights } from "../../offchain/evaluation/model.ts";
import { accumulatorBound, malformation } from "../../offchain/evaluation/well-formed.ts";
import { architectureSchema } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { isMember, spaceByName } from "../../offchain/search/spaces.ts";
import type { Engine } from "../../offchain/training/engine.ts";
import { createOnnxEngine } from "../../offchain/training/onnx-engine.ts";
import {
  initialParameters,
  linearFormats,
  parametersOf,
  quantise,
  roundToGrid,
} from "../../offchain/training/parameters.ts";
import { PAPER_TRAINING_SETTINGS, type TrainingSettings } from "../../offchain/training/settings.ts";
import { trainChild, trainingFlops, type TrainingRequest } from "../../offchain/training/train.ts";
import { network, quadrants, randomNetwork, SETTINGS } from "./networks.ts";

const input: [number, number, number] = [8, 8, 1];
const request: TrainingRequest = {
  architecture: network(input, [{}, { strideHeight: 2 }]),
  train: quadrants(input, 160, 1),
  validation: quadrants(input, 100, 2),
  settings: SETTINGS,
  seed: 7,
};
const EVERYTHING: TrainingSettings = {
  ...SETTINGS,
  epochs: 4,
  schedule: { every: 2, factor: 0.3 },
  weightDecay: 1e-2,
  dropout: 0.2,
  augmentation: { shift: 1, flip: true },
  earlyStop: { patience: 2 },
};
const RECIPES: Record<string, TrainingSettings> = {
  default: SETTINGS,
  paper: { ...PAPER_TRAINING_SETTINGS, epochs: 3, batch: 16 },
  everything: EVERYTHING,
  "everything, sgd": { ...EVERYTHING, optimizer: "sgd", momentum: 0.5 },
};
/** The same trainings in a process of its own. */
const TRAIN_ONCE = `
  import { trainChild } from ${JSON.stringify(new URL("../../offchain/training/train.ts", import.meta.url))};
  import { createOnnxEngine } from ${JSON.stringify(new URL("../../offchain/training/onnx-engine.ts", import.meta.url))};
  import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
  const request = ${JSON.stringify({ ...request, train: null, validation: null })};
  import { quadrants } from ${JSON.stringify(new URL("./networks.ts", import.meta.url))};
  const [train, validation] = [quadrants([8, 8, 1], 160, 1), quadrants([8, 8, 1], 100, 2)];
  for (const settings of ${JSON.stringify(Object.values(RECIPES))}) {
    const { bytes } = await trainChild({ ...request, settings, train, validation }, { engine: createOnnxEngine() });
    console.log(createHash("sha256").update(bytes).digest("hex"));
  }
  process.exit();
`;
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("trainChild", () => {
  let engine: Engine;
  before(() => (engine = createOnnxEngine()));
  after(() => engine.dispose());

  it("learns, and reports the canonical score of the file that it gives", async () => {
    const epochs: number[] = [];
    const settings = { ...SETTINGS, epochs: 8, learningRate: 1e-2 };
    const outcome = await trainChild(
      { ...request, settings },
      { engine, onEpoch: ({ epoch, trainAccuracy }) => (epochs.push(epoch), expect(trainAccuracy).to.be.within(0, 1)) },
    );
    const { validation, bytes, trainLoss } = outcome;
    expect(validation.correct).to.be.above(85);
    expect(trainLoss).to.have.length(8);
    expect(trainLoss.at(-1)).to.be.below(trainLoss[0]! / 2);
    expect(epochs).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(outcome).to.include({ epochsRun: 8, infeasible: null, diverged: false, dead: false, engine: "onnx" });
    expect(outcome.flops).to.equal(trainingFlops(request.architecture, 8 * 160));
    expect(outcome.imagesPerSecond).to.be.above(0);
    const evaluation = await evaluateModel(bytes, {
      ...request.validation,
      maxBytes: bytes.length,
      engine: "reference",
    });
    expect({ correct: evaluation.correct, total: evaluation.total }).to.deep.equal(validation);
    expect(decodeModel(bytes, { maxBytes: bytes.length })).to.deep.equal(outcome.model);
  });

  it("sees in training exactly the predictions of the canonical evaluation, whatever the network", async () => {
    const random = createRandom("equal predictions");
    let varied = 0;
    for (let i = 0; i < 25; i++) {
      const architecture = randomNetwork(random);
      const [train, validation] = [quadrants(architecture.input, 64, i), quadrants(architecture.input, 64, 1000 + i)];
      const batch = 32;
      const size = validation.pixels.length / 64;
      const trainer = await engine.createTrainer({
        architecture,
        batch,
        initial: initialParameters(architecture, i),
        settings: SETTINGS,
      });
      const step = ({ pixels, labels }: typeof train, at: number, learningRate: number) =>
        trainer.step({
          pixels: pixels.slice(at * size, (at + batch) * size),
          labels: labels.slice(at, at + batch),
          learningRate,
        });
      for (let pass = 0; pass < 4; pass++) for (const at of [0, 32]) await step(train, at, 1e-2);

      const model = quantise(architecture, await trainer.parameters());
      expect(malformation(model)).to.equal(null);
      expect(accumulatorBound(model)).to.be.below(2 ** 24);
      const canonical = await predict(model, validation);
      const seen = [await step(validation, 0, 0), await step(validation, 32, 0)].flatMap(({ predictions }) => [
        ...predictions,
      ]);
      trainer.release();
      expect(seen, JSON.stringify(architecture)).to.deep.equal([...canonical]);
      if (new Set(seen).size > 1) varied += 1;
    }
    expect(varied, "networks that do not say the same of every image").to.be.above(12);
  });

  it("sees of a trained six-layer network of the paper's S2 exactly the canonical predictions, image by image", async () => {
    const example = readFileSync(new URL("../../docs/examples/fashion-mnist-s2.json", import.meta.url), "utf8");
    const architecture = architectureSchema.parse(JSON.parse(example));
    expect(isMember(architecture, spaceByName("S2"))).to.equal(true);
    const small = { ...architecture, input: [12, 12, 1] as [number, number, number] };
    const [train, validation] = [quadrants(small.input, 512, 1), quadrants(small.input, 256, 2)];
    const settings = { ...SETTINGS, epochs: 3, batch: 32 };
    const { model, validation: tally } = await trainChild(
      { architecture: small, train, validation, settings, seed: 1 },
      { engine },
    );
    expect(tally.correct / tally.total).to.be.above(0.5);
    expect(accumulatorBound(model)).to.be.below(2 ** 24);
    const trainer = await engine.createTrainer({
      architecture: small,
      batch: 256,
      initial: parametersOf(model),
      settings,
    });
    const { predictions } = await trainer.step({ ...validation, learningRate: 0 });
    trainer.release();
    expect([...predictions]).to.deep.equal([...(await predict(model, { ...validation, engine: "reference" }))]);
    const right = predictions.filter((prediction, i) => prediction === validation.labels[i]).length;
    expect(right).to.equal(tally.correct);
  });

  it("rounds weights and biases that lie halfway between two integers as the canonical model does", async () => {
    const random = createRandom("halfway");
    for (let i = 0; i < 10; i++) {
      const architecture = randomNetwork(random);
      const formats = linearFormats(architecture);
      const initial = initialParameters(architecture, i).map(({ weights, bias }, index) => {
        const { weightFractionBits, accumulatorFractionBits } = formats[index]!;
        const halfway = (x: number, bits: number): number => (Math.floor(x * 2 ** bits) + 0.5) * 2 ** -bits;
        return {
          weights: weights.map((w) => halfway(w, weightFractionBits)),
          bias: bias.map(() => halfway(0.2 * random.normal(), accumulatorFractionBits)),
        };
      });
      const samples = quadrants(architecture.input, 64, i);
      const trainer = await engine.createTrainer({ architecture, batch: 64, initial, settings: SETTINGS });
      const { predictions } = await trainer.step({ ...samples, learningRate: 0 });
      trainer.release();
      expect([...predictions]).to.deep.equal([...(await predict(quantise(architecture, initial), samples))]);
    }
  });

  it("gives the same file for the same seed, in another process too, and another for another seed", async () => {
    const elsewhere = execFileSync(process.execPath, ["--input-type=module-typescript", "--eval", TRAIN_ONCE], {
      encoding: "utf8",
      timeout: 30_000,
    });
    const digests = elsewhere.trim().split("\n");
    for (const [index, [name, settings]] of Object.entries(RECIPES).entries()) {
      const train = (seed: number, own?: Engine) =>
        trainChild({ ...request, settings, seed }, own === undefined ? {} : { engine: own });
      const [one, two, other] = [await train(7, engine), await train(7), await train(8, engine)];
      expect(digest(one.bytes), name).to.equal(digests[index]);
      expect(digest(two.bytes), name).to.equal(digests[index]);
      expect(two.trainLoss).to.deep.equal(one.trainLoss);
      expect(two.epochValidation).to.deep.equal(one.epochValidation);
      expect(digest(other.bytes), name).to.not.equal(digests[index]);
    }
    expect(new Set(digests).size).to.equal(Object.keys(RECIPES).length);
  });

  it("scores every epoch where the recipe asks for it, stops after its patience, and keeps the best", async () => {
    // At this rate accuracy jumps up and down.
    const settings: TrainingSettings = { ...SETTINGS, epochs: 60, learningRate: 0.05, schedule: "constant" };
    const seen: number[] = [];
    const outcome = await trainChild(
      { ...request, settings: { ...settings, earlyStop: { patience: 3 } } },
      { engine, onEpoch: ({ validation }) => seen.push(validation!.correct) },
    );
    const { epochValidation, bestEpoch, epochsRun, validation, bytes } = outcome;
    expect(epochValidation).to.deep.equal(seen);
    expect(epochsRun).to.be.below(60);
    expect(epochValidation).to.have.length(epochsRun);
    expect(bestEpoch).to.equal(epochsRun - 3);
    const best = Math.max(...epochValidation);
    expect(epochValidation.indexOf(best)).to.equal(bestEpoch - 1);
    expect(validation.correct).to.equal(best);
    expect((await evaluateModel(bytes, { ...request.validation, maxBytes: bytes.length })).correct).to.equal(best);
    // The best epoch's model is the one that training only so far gives.
    const shorter = await trainChild({ ...request, settings: { ...settings, epochs: bestEpoch } }, { engine });
    expect(shorter).to.include({ bestEpoch, epochsRun: bestEpoch });
    expect(shorter.epochValidation).to.deep.equal([]);
    expect(digest(shorter.bytes)).to.equal(digest(bytes));
  });

  it("learns with every recipe", async () => {
    for (const [name, settings] of Object.entries(RECIPES)) {
      // Mirror images change the class here: the quadrant of the patch.
      const { augmentation } = settings;
      const steady = { ...settings, epochs: 12, learningRate: 0.02, earlyStop: undefined };
      const still = { ...steady, augmentation: augmentation && { ...augmentation, flip: false } };
      const { validation } = await trainChild({ ...request, settings: still }, { engine });
      expect(validation.correct, name).to.be.above(60);
    }
  });

  it("gives a result when all but a hundredth of the units is left out, and when images move out of sight", async () => {
    const tiny: [number, number, number] = [4, 4, 1];
    const architecture = network(tiny, [{}]);
    const samples = quadrants(tiny, 40, 1);
    const settings = { ...SETTINGS, dropout: 0.99, augmentation: { shift: 8, flip: false } };
    const outcome = await trainChild(
      { ...request, architecture, train: samples, validation: samples, settings },
      { engine },
    );
    expect(outcome).to.include({ diverged: false, epochsRun: 2, infeasible: null });
  });

  it("goes on from a given model", async () => {
    const first = await trainChild(
      { ...request, settings: { ...SETTINGS, epochs: 6, learningRate: 1e-2 } },
      { engine },
    );
    const next = await trainChild({ ...request, initial: first.model, seed: 9 }, { engine });
    expect(next.trainLoss[0]).to.be.below(first.trainLoss[0]! / 2);
    const other = network(input, [{}]);
    const refused = trainChild({ ...request, architecture: other, initial: first.model }, { engine });
    expect(await failure(refused)).to.equal("The initial model has another architecture than the one to be trained.");
  });

  it("goes on from a given model without any change at a vanishing learning rate", async () => {
    const { model } = await trainChild(request, { engine });
    const settings = { ...SETTINGS, epochs: 1, learningRate: 1e-30 };
    const again = await trainChild({ ...request, settings, initial: model, seed: 3 }, { engine });
    expect(again.model).to.deep.equal(model);
  });

  it("knows dead networks without training them, and gives them the score of an untrained one", async () => {
    for (const change of [
      { actIntBits: 0, actFracBits: 0 },
      { weightIntBits: 0, weightFracBits: 0 },
    ]) {
      const outcome = await trainChild({ ...request, architecture: network(input, [{}, change]) }, { engine });
      expect(outcome).to.include({ dead: true, epochsRun: 0, flops: 0, imagesPerSecond: 0, infeasible: null });
      const ofClass0 = request.validation.labels.filter((label) => label === 0).length;
      expect(outcome.validation).to.deep.equal({ correct: ofClass0, total: 100 });
    }
  });

  it("trains networks of one bit", async () => {
    const bits = { actIntBits: 0, actFracBits: 1, weightIntBits: 1, weightFracBits: 0 };
    const outcome = await trainChild({ ...request, architecture: network(input, [bits, bits]) }, { engine });
    expect(outcome).to.include({ dead: false, epochsRun: 2, infeasible: null, diverged: false });
    for (const { weights } of outcome.model.layers) for (const w of weights) expect(w).to.be.within(-1, 0);
  });

  it("says of a network that reads too much why it cannot count, without training it", async () => {
    const big: [number, number, number] = [64, 64, 1];
    const architecture = network(big, [{ filters: 8 }]);
    const samples = quadrants(big, 2, 1);
    const outcome = await trainChild({ ...request, architecture, train: samples, validation: samples }, { engine });
    expect(outcome.infeasible).to.equal(
      "The model is malformed: a unit of the output layer reads 32768 values, more than 16384.",
    );
    expect(outcome).to.include({ epochsRun: 0, diverged: false });
    expect(outcome.validation).to.deep.equal({ correct: 0, total: 2 });
  });

  it("takes a loss that is no number as a result, and gives the model of the last good epoch", async () => {
    let steps = 0;
    const failing: Engine = {
      ...engine,
      createTrainer: async (options) => {
        const trainer = await engine.createTrainer(options);
        return {
          ...trainer,
          step: async (input) => {
            steps += 1;
            const result = await trainer.step(input);
            return steps > 15 ? { ...result, loss: NaN } : result;
          },
        };
      },
    };
    const outcome = await trainChild(request, { engine: failing });
    expect(outcome).to.include({ diverged: true, epochsRun: 1 });
    expect(outcome.trainLoss).to.have.length(1);
    expect(outcome.validation.total).to.equal(100);
    expect(malformation(outcome.model)).to.equal(null);
  });

  it("survives an absurd learning rate", async () => {
    for (const recipe of Object.values(RECIPES)) {
      for (const learningRate of [1e3, 1e30, 1e300]) {
        const outcome = await trainChild({ ...request, settings: { ...recipe, learningRate } }, { engine });
        expect(malformation(outcome.model)).to.equal(null);
        expect(outcome.validation.total).to.equal(100);
      }
    }
  });

  it("stops within a step when it is aborted", async () => {
    const controller = new AbortController();
    let stoppedAt = 0;
    const training = trainChild(
      { ...request, settings: { ...SETTINGS, epochs: 1000 } },
      {
        engine,
        signal: controller.signal,
        onEpoch: ({ epoch }) => {
          stoppedAt = epoch;
          if (epoch === 2) controller.abort();
        },
      },
    );
    expect(await failure(training)).to.equal("Stopped.");
    expect(stoppedAt).to.equal(2);
    expect(await failure(trainChild(request, { engine, signal: AbortSignal.abort() }))).to.equal("Stopped.");
  });

  it("uses about the share of the time that it is given", async () => {
    const settings = { ...SETTINGS, epochs: 12 };
    const free = await trainChild({ ...request, settings }, { engine });
    const held = await trainChild({ ...request, settings, throttle: 0.2 }, { engine });
    expect(held.imagesPerSecond / free.imagesPerSecond).to.be.within(0.02, 0.6);
    expect(digest(held.bytes)).to.equal(digest(free.bytes));
  });

  it("takes fewer training samples than a batch holds", async () => {
    const outcome = await trainChild({ ...request, train: quadrants(input, 5, 1) }, { engine });
    expect(outcome.epochsRun).to.equal(2);
  });

  it("refuses what does not fit with one sentence", async () => {
    const { train } = request;
    const cases: [Partial<TrainingRequest>, RegExp][] = [
      [{ throttle: 0 }, /^A throttle of 0 is not a share of time above 0 and up to 1\.$/],
      [{ throttle: NaN }, /^A throttle of NaN/],
      [{ train: { ...train, count: 0 } }, /the 0 training samples have 10240 bytes and 160 labels\.$/],
      [{ validation: quadrants([7, 8, 1], 3, 1) }, /images of 64 bytes, but the 3 validation samples have 168 bytes/],
      [{ architecture: { ...request.architecture, classes: 3 } }, /is 3, but the network has 3 classes\.$/],
      [{ settings: { ...SETTINGS, epochs: 0 } }, /^The training recipe is not valid at epochs/],
      [
        { settings: { ...SETTINGS, earlyStop: { patience: 0 } } },
        /^The training recipe is not valid at earlyStop\.pat/,
      ],
      [{ settings: { ...SETTINGS, momentum: 0.9 } }, /^The training recipe is not valid at momentum/],
      [{ settings: { ...SETTINGS, learningRate: NaN } }, /^The training recipe is not valid at learningRate/],
    ];
    for (const [change, sentence] of cases)
      expect(await failure(trainChild({ ...request, ...change }))).to.match(sentence);
  });

  it("keeps memory flat over many trials of many shapes", async () => {
    const settings = { ...SETTINGS, epochs: 1 };
    const trial = (i: number) =>
      trainChild(
        { ...request, settings, seed: i, architecture: network(input, [{ filters: 16 + i }, { filters: 64 }]) },
        { engine },
      );
    for (let i = 0; i < 8; i++) await trial(i);
    const before = process.memoryUsage().rss;
    for (let i = 8; i < 30; i++) await trial(i);
    expect((process.memoryUsage().rss - before) / 2 ** 20, "MiB").to.be.below(60);
  });
});

describe("parameters", () => {
  it("round half up, as activations do, and clamp to their range", () => {
    expect([-2.5, -1.5, -0.5, 0.5, 1.5].map((x) => roundToGrid(x, 0, -8, 7))).to.deep.equal([-2, -1, 0, 1, 2]);
    expect(roundToGrid(100, 2, -8, 7)).to.equal(7);
    expect(roundToGrid(-100, 2, -8, 7)).to.equal(-8);
    // float32 takes the sum of the number just below a half and a half to 1, and so does the graph
    expect(roundToGrid(0.49999997, 0, -8, 7)).to.equal(1);
  });

  it("come back from their integers unchanged", () => {
    const random = createRandom(3);
    for (let i = 0; i < 10; i++) {
      const architecture = randomNetwork(random);
      const model = quantise(architecture, initialParameters(architecture, i));
      expect(malformation(model)).to.equal(null);
      expect(quantise(architecture, parametersOf(model))).to.deep.equal(model);
    }
  });

  it("start on at least one step of a coarse grid, so that no layer starts at 0", () => {
    const architecture = network([8, 8, 1], [{ kernelHeight: 9, kernelWidth: 9, filters: 64, weightFracBits: 1 }, {}]);
    const integers = linearWeights(quantise(architecture, initialParameters(architecture, 1)));
    expect(integers).to.have.length(linearFormats(architecture).length);
    for (const { weights } of integers) {
      expect(weights.filter((w) => w !== 0).length / weights.length).to.be.above(0.4);
    }
  });
});

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("it did not fail");
}
