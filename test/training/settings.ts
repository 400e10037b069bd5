import { expect } from "chai";

import { parseWith } from "../../offchain/protocol/architecture.ts";
import {
  DEFAULT_TRAINING_SETTINGS,
  learningRateAt,
  PAPER_TRAINING_SETTINGS,
  trainingSettingsSchema,
  type TrainingSettings,
} from "../../offchain/training/settings.ts";

const SGD = { ...DEFAULT_TRAINING_SETTINGS, optimizer: "sgd" };

describe("a training recipe", () => {
  it("of before there were options parses to itself, byte for byte", () => {
    const json = '{"epochs":3,"batch":32,"optimizer":"adam","learningRate":0.003,"schedule":"cosine"}';
    expect(JSON.stringify(trainingSettingsSchema.parse(JSON.parse(json)))).to.equal(json);
  });

  it("with every option parses to itself", () => {
    const full = {
      ...SGD,
      schedule: { every: 10, factor: 0.1 },
      momentum: 0,
      weightDecay: 5e-4,
      dropout: 0.5,
      augmentation: { shift: 8, flip: true },
      earlyStop: { patience: 5 },
    };
    expect(trainingSettingsSchema.parse(full)).to.deep.equal(full);
    for (const preset of [DEFAULT_TRAINING_SETTINGS, PAPER_TRAINING_SETTINGS]) {
      expect(trainingSettingsSchema.parse(preset)).to.deep.equal(preset);
    }
  });

  const refused: Record<string, object> = {
    momentum: { momentum: 0.9 },
    "momentum of 1": { ...SGD, momentum: 1 },
    optimizer: { optimizer: "rmsprop" },
    learningRate: { learningRate: Infinity },
    weightDecay: { weightDecay: -1 },
    dropout: { dropout: 1 },
    "augmentation.shift": { augmentation: { shift: 9, flip: false } },
    "augmentation.flip": { augmentation: { shift: 1 } },
    "earlyStop.patience": { earlyStop: { patience: 0 } },
    "schedule of no length": { schedule: { every: 0, factor: 0.5 } },
    "schedule that rises": { schedule: { every: 1, factor: 2 } },
    batch: { batch: 4097 },
  };
  for (const [name, change] of Object.entries(refused)) {
    it(`is refused in one sentence for its ${name}`, () => {
      const parse = () =>
        parseWith(trainingSettingsSchema, { ...DEFAULT_TRAINING_SETTINGS, ...change }, "The training recipe");
      expect(parse).to.throw(new RegExp(`^The training recipe is not valid at ${name.split(" ")[0]}.*\\.$`));
    });
  }
});

describe("the learning rate", () => {
  const at = (schedule: TrainingSettings["schedule"], step: number) =>
    learningRateAt({ learningRate: 2, schedule, epochs: 10 }, step, 100);

  it("falls along half a cosine, or stays", () => {
    expect(at("cosine", 0)).to.equal(2);
    expect(at("cosine", 50)).to.be.closeTo(1, 1e-12);
    expect(at("cosine", 99)).to.be.within(0, 0.001);
    expect(at("constant", 99)).to.equal(2);
  });

  it("falls by a factor after every so many epochs", () => {
    const everyThree = (step: number) => at({ every: 3, factor: 0.1 }, step);
    expect([0, 29, 30, 59, 60, 90, 99].map(everyThree)).to.deep.equal([
      2,
      2,
      2 * 0.1,
      2 * 0.1,
      2 * 0.1 ** 2,
      2 * 0.1 ** 3,
      2 * 0.1 ** 3,
    ]);
    // epochs of a length that no binary fraction holds
    for (let epoch = 0; epoch < 49; epoch++) {
      const rate = learningRateAt({ learningRate: 1, schedule: { every: 1, factor: 0.5 }, epochs: 49 }, epoch * 7, 343);
      expect(rate).to.equal(0.5 ** epoch);
    }
  });
});
