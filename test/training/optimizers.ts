import { expect } from "chai";

import { createRandom } from "../../offchain/protocol/random.ts";
import type { Engine } from "../../offchain/training/engine.ts";
import { createOnnxEngine } from "../../offchain/training/onnx-engine.ts";
import { initialParameters, linearFormats } from "../../offchain/training/parameters.ts";
import type { StepRecipe } from "../../offchain/training/settings.ts";
import { graphGradients } from "./gradients.ts";
import { network, quadrants } from "./networks.ts";

const architecture = network(
  [6, 6, 2],
  [
    { weightIntBits: 1, weightFracBits: 2 },
    { poolSize: 2, filters: 4 },
  ],
  { pool: "flatten", hidden: 5, hiddenActIntBits: 2, hiddenActFracBits: 5 },
);
const STEPS = 5;

type Update = (theta: number, g: number, kept: number[], learningRate: number, step: number) => number;

/** The optimisers as their papers and PyTorch write them, one number at a time in double precision. */
const ORACLES: Record<string, { recipe: StepRecipe; update: Update }> = {
  adam: {
    recipe: { optimizer: "adam" },
    update: adam(0),
  },
  "adam with decoupled weight decay": {
    recipe: { optimizer: "adam", weightDecay: 0.2 },
    update: adam(0.2),
  },
  "sgd with Nesterov's momentum": {
    recipe: { optimizer: "sgd" },
    update: sgd(0.9, 0),
  },
  "sgd with another momentum and weight decay": {
    recipe: { optimizer: "sgd", momentum: 0.5, weightDecay: 0.3 },
    update: sgd(0.5, 0.3),
  },
  "sgd without momentum, with weight decay": {
    recipe: { optimizer: "sgd", momentum: 0, weightDecay: 0.3 },
    update: sgd(0, 0.3),
  },
};

function sgd(momentum: number, weightDecay: number): Update {
  return (theta, g, kept, learningRate) => {
    const decayed = g + weightDecay * theta;
    kept[0] = momentum * (kept[0] ?? 0) + decayed;
    return theta - learningRate * (decayed + momentum * kept[0]);
  };
}

function adam(weightDecay: number): Update {
  return (theta, g, kept, learningRate, step) => {
    const m = (kept[0] = 0.9 * (kept[0] ?? 0) + 0.1 * g);
    const v = (kept[1] = 0.999 * (kept[1] ?? 0) + 0.001 * g * g);
    const [unbiasedM, unbiasedV] = [m / (1 - 0.9 ** step), v / (1 - 0.999 ** step)];
    return theta - learningRate * weightDecay * theta - (learningRate * unbiasedM) / (Math.sqrt(unbiasedV) + 1e-7);
  };
}

describe("an optimiser's steps", () => {
  let engine: Engine;
  before(() => (engine = createOnnxEngine()));
  after(() => engine.dispose());

  for (const [name, { recipe, update }] of Object.entries(ORACLES)) {
    it(`are those of ${name}, for weights within their range and for biases`, async () => {
      const { pixels, labels } = quadrants([6, 6, 2], 8, 1);
      const random = createRandom(name);
      const formats = linearFormats(architecture);
      const initial = initialParameters(architecture, 1).map(({ weights, bias }) => ({
        weights,
        bias: bias.map(() => 0.1 * random.normal()),
      }));
      const trainer = await engine.createTrainer({ architecture, batch: 8, initial, settings: recipe });
      const kept = initial.map(({ weights, bias }) => ({
        weights: Array.from(weights, (): number[] => []),
        bias: Array.from(bias, (): number[] => []),
      }));
      let moved = 0;
      for (let step = 1; step <= STEPS; step++) {
        const before = await trainer.parameters();
        const { gradients } = await graphGradients({
          architecture,
          parameters: before,
          pixels,
          labels,
          settings: recipe,
          rounding: true,
        });
        const learningRate = 0.02 * step;
        await trainer.step({ pixels, labels, learningRate });
        for (const [index, after] of (await trainer.parameters()).entries()) {
          const { weightMin, weightMax, weightFractionBits } = formats[index]!;
          const [low, high] = [weightMin, weightMax].map((bound) => bound * 2 ** -weightFractionBits) as [
            number,
            number,
          ];
          for (const kind of ["weights", "bias"] as const) {
            after[kind].forEach((value, i) => {
              const theta = before[index]![kind][i]!;
              const free = update(theta, gradients[index]![kind][i]!, kept[index]![kind][i]!, learningRate, step);
              const expected = kind === "weights" ? Math.min(high, Math.max(low, free)) : free;
              expect(Math.abs(value - expected), `${kind} ${index} ${i}`).to.be.below(2e-5 * (1 + Math.abs(expected)));
              if (Math.abs(value - theta) > 1e-3) moved += 1;
            });
          }
        }
      }
      expect(moved).to.be.above(50);
      trainer.release();
    });
  }
});
