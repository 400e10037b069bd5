import { expect } from "chai";

import { CIFAR, MEDIUM, SMALL } from "../../offchain/cli/bench/networks.ts";
import { loadRuntime } from "../../offchain/evaluation/onnx-runtime.ts";
import type { Architecture, Layer } from "../../offchain/protocol/architecture.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { blockSizeOf, type BlockSize } from "../../offchain/training/blocked-convolution.ts";
import { createOnnxEngine } from "../../offchain/training/onnx-engine.ts";
import { linearFormats, type LinearParameters } from "../../offchain/training/parameters.ts";
import { dropoutWidth, piecesOf } from "../../offchain/training/step-graph.ts";
import { floatLoss, type DoubleParameters } from "./float-network.ts";
import { graphGradients, type Gradients } from "./gradients.ts";
import { SETTINGS } from "./networks.ts";

const LAYER: Layer = {
  kernelHeight: 3,
  kernelWidth: 3,
  filters: 4,
  strideHeight: 1,
  strideWidth: 1,
  poolSize: 1,
  actIntBits: 3,
  actFracBits: 6,
  weightIntBits: 2,
  weightFracBits: 6,
};

function network(
  input: Architecture["input"],
  changes: readonly Partial<Layer>[],
  head: Architecture["head"] = { pool: "flatten", hidden: 0 },
): Architecture {
  return { input, classes: 5, layers: changes.map((change) => ({ ...LAYER, ...change })), head };
}

function randomNetwork(random: Random): Architecture {
  const hidden = random.choice([0, 0, 6]);
  return network(
    [3 + random.integer(8), 3 + random.integer(8), 1 + random.integer(3)],
    Array.from({ length: 1 + random.integer(3) }, () => ({
      kernelHeight: random.choice([1, 2, 3, 5]),
      kernelWidth: random.choice([1, 3, 4]),
      filters: random.choice([2, 3, 9]),
      strideHeight: 1 + random.integer(4),
      strideWidth: 1 + random.integer(4),
      poolSize: random.choice([1, 1, 2, 3]),
      actIntBits: random.choice([1, 2, 3]),
    })),
    {
      pool: random.choice(["flatten", "global-sum"] as const),
      hidden,
      ...(hidden > 0 ? { hiddenActIntBits: 2, hiddenActFracBits: 5 } : {}),
    },
  );
}

/** Random parameters well inside their formats' ranges, with biases that keep most units between their clamps. */
function randomParameters(architecture: Architecture, random: Random): DoubleParameters[] {
  return linearFormats(architecture).map(({ units, fanIn, weightMax, weightFractionBits }) => {
    const limit = 0.9 * weightMax * 2 ** -weightFractionBits;
    const spread = Math.min(limit / 3, 1 / Math.sqrt(fanIn));
    // Rounded to float32, so that the graph and the oracle see the same numbers.
    return {
      weights: Float64Array.from({ length: units * fanIn }, () =>
        Math.fround(Math.min(limit, Math.max(-limit, spread * random.normal()))),
      ),
      bias: Float64Array.from({ length: units }, () => Math.fround(0.3 + 0.2 * random.normal())),
    };
  });
}

/**
 * Largest error of the graph's gradients against central differences of the plain network, relative to the largest
 * gradient of each tensor.
 */
async function gradientError(architecture: Architecture, seed: number, dropout = 0): Promise<number> {
  const random = createRandom(seed);
  const batch = 3;
  const size = architecture.input.reduce((a, b) => a * b, 1);
  const pixels = Uint8Array.from({ length: batch * size }, () => random.integer(256));
  const labels = Uint8Array.from({ length: batch }, () => random.integer(architecture.classes));
  const parameters = randomParameters(architecture, random);
  const dropoutMask =
    dropout === 0
      ? undefined
      : Float32Array.from({ length: batch * dropoutWidth(architecture) }, () =>
          random.next() < dropout ? 0 : 1 / (1 - dropout),
        );
  const settings = { ...SETTINGS, dropout };

  const found = await graphGradients({
    architecture,
    parameters,
    pixels,
    labels,
    settings,
    rounding: false,
    dropoutMask,
  });
  const lossNow = () => floatLoss(architecture, parameters, pixels, labels, dropoutMask);
  expect(found.loss).to.be.closeTo(lossNow(), 1e-4 * (1 + lossNow()));

  let worst = 0;
  let [drawn, compared] = [0, 0];
  for (const [index, { weights, bias }] of parameters.entries()) {
    for (const [values, gradient] of [
      [weights, found.gradients[index]!.weights],
      [bias, found.gradients[index]!.bias],
    ] as const) {
      const largest = gradient.reduce((max, g) => Math.max(max, Math.abs(g)), 1e-3);
      for (let i = 0; i < Math.min(6, values.length); i++) {
        const at = random.integer(values.length);
        const difference = (epsilon: number): number => {
          const held = values[at]!;
          values[at] = held + epsilon;
          const above = lossNow();
          values[at] = held - epsilon;
          const below = lossNow();
          values[at] = held;
          return (above - below) / (2 * epsilon);
        };
        // Two widths that disagree straddle a kink (a clamp, another maximum), where there is no gradient to compare.
        const [wide, narrow] = [difference(1e-4), difference(1e-6)];
        drawn += 1;
        if (Math.abs(wide - narrow) > 1e-4 * largest) continue;
        compared += 1;
        worst = Math.max(worst, Math.abs(narrow - gradient[at]!) / largest);
      }
    }
  }
  expect(compared / drawn, "share of gradients away from kinks").to.be.above(0.5);
  return worst;
}

/** A step of four random samples on random parameters. */
function fourSamples(architecture: Architecture, seed: string) {
  const random = createRandom(seed);
  const size = architecture.input.reduce((a, b) => a * b, 1);
  return {
    architecture,
    parameters: randomParameters(architecture, random),
    pixels: Uint8Array.from({ length: 4 * size }, () => random.integer(256)),
    labels: Uint8Array.of(0, 1, 2, 3),
    settings: SETTINGS,
  };
}

/** {@link randomParameters} as trainers take them. */
function initialOf(architecture: Architecture, random: Random): LinearParameters[] {
  return randomParameters(architecture, random).map(({ weights, bias }) => ({
    weights: Float32Array.from(weights),
    bias: Float32Array.from(bias),
  }));
}

/** Whether both have the same predictions, losses and gradients, up to a share of each tensor's largest. */
function expectSame(expected: Gradients, found: Gradients, tolerance: number): void {
  expect(found.predictions).to.deep.equal(expected.predictions);
  expect(found.loss).to.be.closeTo(expected.loss, 1e-5);
  for (const [index, { weights, bias }] of expected.gradients.entries()) {
    for (const [values, others] of [
      [weights, found.gradients[index]!.weights],
      [bias, found.gradients[index]!.bias],
    ] as const) {
      const largest = values.reduce((max, g) => Math.max(max, Math.abs(g)), 0);
      expect(largest, "some gradient").to.be.above(0);
      values.forEach((g, i) => expect(Math.abs(others[i]! - g)).to.be.below(tolerance * largest));
    }
  }
}

describe("the training step's gradients", () => {
  const cases: Record<string, Architecture> = {
    "of one plain layer": network([6, 6, 1], [{}]),
    "with strides beyond the kernel": network(
      [11, 9, 2],
      [{ kernelHeight: 1, kernelWidth: 2, strideHeight: 4, strideWidth: 3 }, {}],
    ),
    "with other kernels, strides and inputs per axis": network(
      [9, 6, 3],
      [
        { kernelHeight: 5, kernelWidth: 1, strideHeight: 1, strideWidth: 3 },
        { kernelHeight: 2, kernelWidth: 4, strideHeight: 3, strideWidth: 1 },
      ],
    ),
    "with pools that do not divide the tensor": network([7, 11, 1], [{ poolSize: 2 }, { poolSize: 3 }]),
    "with a kernel larger than the tensor": network(
      [3, 2, 2],
      [{ kernelHeight: 9, kernelWidth: 7 }, { kernelHeight: 5 }],
    ),
    "after a global sum": network([7, 6, 1], [{}, { strideHeight: 2 }], { pool: "global-sum", hidden: 0 }),
    "with a hidden layer on flattened features": network([5, 4, 1], [{ poolSize: 2 }], {
      pool: "flatten",
      hidden: 7,
      hiddenActIntBits: 2,
      hiddenActFracBits: 4,
    }),
    "with a hidden layer on a global sum": network([5, 4, 1], [{}], {
      pool: "global-sum",
      hidden: 7,
      hiddenActIntBits: 5,
      hiddenActFracBits: 2,
    }),
    "with more input channels than are stacked": network(
      [5, 5, 1],
      [{ filters: 12 }, { kernelWidth: 2 }, { filters: 9 }, {}],
    ),
  };
  for (const [name, architecture] of Object.entries(cases)) {
    it(`${name} agree with finite differences`, async () => {
      expect(await gradientError(architecture, 1)).to.be.below(1e-3);
    });
  }

  const hidden = { hidden: 7, hiddenActIntBits: 2, hiddenActFracBits: 4 };
  const heads: Record<string, Architecture["head"]> = {
    "feature maps before a flatten": { pool: "flatten", hidden: 0 },
    "feature maps after a global sum": { pool: "global-sum", hidden: 0 },
    "hidden units": { pool: "flatten", ...hidden },
    "hidden units after a global sum": { pool: "global-sum", ...hidden },
  };
  for (const [name, head] of Object.entries(heads)) {
    it(`with dropout of ${name} agree with finite differences`, async () => {
      expect(await gradientError(network([6, 5, 2], [{ poolSize: 2 }, { filters: 6 }], head), 3, 0.4)).to.be.below(
        1e-3,
      );
    });
  }

  it("of 30 random networks agree with finite differences", async function () {
    const random = createRandom("gradient check");
    for (let i = 0; i < 30; i++) {
      const architecture = randomNetwork(random);
      expect(await gradientError(architecture, i), JSON.stringify(architecture)).to.be.below(1e-3);
    }
  });
});

describe("convolutions on the blocked layout", () => {
  const full = { filters: 32, kernelHeight: 3, kernelWidth: 3 };
  const cases: Record<string, Architecture> = {
    "of whole blocks": network([6, 7, 1], [{ filters: 16 }, full, { ...full, poolSize: 2 }, full]),
    "that fill blocks up": network([5, 6, 1], [{ filters: 28 }, { filters: 44 }, { filters: 12 }, { filters: 60 }]),
    "with strides and even, flat or large kernels": network(
      [9, 8, 3],
      [
        { filters: 32, strideHeight: 2 },
        { ...full, kernelHeight: 2, kernelWidth: 4 },
        { ...full, strideHeight: 3, strideWidth: 2 },
        { ...full, kernelHeight: 7, kernelWidth: 1 },
        { ...full, kernelHeight: 1 },
      ],
      { pool: "global-sum", hidden: 0 },
    ),
  };

  let blockSize: BlockSize;
  before(async function () {
    blockSize = await blockSizeOf(await loadRuntime("onnx"));
    // Some CPUs have no instructions for it; the engine then takes ordinary convolutions, like every other runtime.
    if (blockSize === 1) this.skip();
  });

  for (const [name, architecture] of Object.entries(cases)) {
    for (const rounding of [true, false]) {
      it(`${name} give the same loss and gradients, ${rounding ? "rounded" : "unrounded"}`, async () => {
        const request = { ...fourSamples(architecture, name), rounding };
        expectSame(await graphGradients(request), await graphGradients({ ...request, blockSize }), 1e-4);
      });
    }
  }

  it("are not asked of the runtimes that lack them", async () => {
    expect(await blockSizeOf({ ...(await loadRuntime("onnx")), name: "webgpu" })).to.equal(1);
    const refusing = {
      ...(await loadRuntime("onnx")),
      createSession: () => Promise.reject(new Error("no such domain")),
    };
    expect(await blockSizeOf(refusing)).to.equal(1);
  });
});

describe("samples in pieces", () => {
  it("give the loss, predictions and gradients of all at once, dropout and rounding included", async () => {
    const random = createRandom("pieces");
    for (let n = 0; n < 12; n++) {
      const architecture = randomNetwork(random);
      const size = architecture.input.reduce((a, b) => a * b, 1);
      const batch = 8;
      const request = {
        architecture,
        parameters: randomParameters(architecture, random),
        pixels: Uint8Array.from({ length: batch * size }, () => random.integer(256)),
        labels: Uint8Array.from({ length: batch }, () => random.integer(architecture.classes)),
        settings: { ...SETTINGS, dropout: 0.3 },
        dropoutMask: Float32Array.from({ length: batch * dropoutWidth(architecture) }, () =>
          random.choice([0, 1 / 0.7]),
        ),
        rounding: n % 2 === 0,
      };
      const whole = await graphGradients(request);
      for (const pieces of [2, 8]) expectSame(whole, await graphGradients({ ...request, pieces }), 1e-5);
    }
  });

  it("are so many that the largest activations stay near, as far as halving goes", () => {
    const of = (batch: number): number[] =>
      [SMALL, MEDIUM, CIFAR].map(({ architecture }) => piecesOf(architecture, batch));
    expect(of(64)).to.deep.equal([1, 4, 8]);
    expect(of(128)).to.deep.equal([2, 8, 16]);
    expect(of(2 ** 16)).to.deep.equal([16, 16, 16]);
    expect(of(63)).to.deep.equal([1, 1, 1]);
    expect(of(66)).to.deep.equal([1, 2, 2]);
    expect(of(1)).to.deep.equal([1, 1, 1]);
  });
});

describe("max-pools", () => {
  const COARSE = { actIntBits: 1, actFracBits: 1 };
  const FINE = { actIntBits: 1, actFracBits: 14 };
  const cases: Record<string, Architecture> = {
    "with many equal values in a window": network([9, 11, 1], [{ ...COARSE, poolSize: 2 }, { poolSize: 3 }]),
    "with the largest activations that there are": network([8, 64, 1], [{ ...FINE, poolSize: 7 }]),
    "with windows too wide for codes": network([10, 64, 1], [{ ...FINE, poolSize: 9 }]),
    "with one window for everything": network([7, 5, 2], [{ ...COARSE, poolSize: 64 }]),
  };
  for (const [name, architecture] of Object.entries(cases)) {
    it(`${name} send gradients where comparing all values of a window sends them`, async () => {
      const request = { ...fourSamples(architecture, name), rounding: true };
      expect(await graphGradients(request)).to.deep.equal(await graphGradients({ ...request, poolGradient: "mask" }));
    });
  }
});

describe("a training step", () => {
  const architecture = network([6, 6, 1], [{ weightIntBits: 1, weightFracBits: 2 }, {}]);

  it("has no loss once a parameter is no number, whatever clamps and maxima make of it", async () => {
    for (const name of ["onnx", "onnx-web"] as const) {
      const engine = createOnnxEngine(name);
      const pooled = network([7, 7, 1], [{ poolSize: 2 }, { poolSize: 3 }]);
      const initial = initialOf(pooled, createRandom(6));
      initial[0]!.weights.fill(NaN);
      initial[1]!.bias[0] = Infinity;
      const trainer = await engine.createTrainer({ architecture: pooled, batch: 2, initial, settings: SETTINGS });
      const pixels = new Uint8Array(2 * 49).fill(100);
      const { loss } = await trainer.step({ pixels, labels: Uint8Array.of(1, 4), learningRate: 1e-3 });
      expect(loss).to.be.NaN;
      trainer.release();
      await engine.dispose();
    }
  });

  it("keeps weights within their format's range, however large the learning rate", async () => {
    const engine = createOnnxEngine();
    const random = createRandom(4);
    const initial = initialOf(architecture, random);
    const trainer = await engine.createTrainer({ architecture, batch: 2, initial, settings: SETTINGS });
    const pixels = Uint8Array.from({ length: 2 * 36 }, () => random.integer(256));
    for (let i = 0; i < 3; i++) await trainer.step({ pixels, labels: Uint8Array.of(1, 4), learningRate: 10 });
    for (const [index, { weights }] of (await trainer.parameters()).entries()) {
      const { weightMin, weightMax, weightFractionBits } = linearFormats(architecture)[index]!;
      const step = 2 ** -weightFractionBits;
      expect(Math.min(...weights)).to.be.at.least(weightMin * step);
      expect(Math.max(...weights)).to.be.at.most(weightMax * step);
    }
    trainer.release();
    await engine.dispose();
  });

  it("gives parameters back as they went in, at a learning rate of 0", async () => {
    const engine = createOnnxEngine();
    const random = createRandom(5);
    const wide = network([5, 4, 3], [{ kernelHeight: 2 }, { filters: 3 }]);
    const initial = initialOf(wide, random);
    const trainer = await engine.createTrainer({ architecture: wide, batch: 1, initial, settings: SETTINGS });
    await trainer.step({ pixels: new Uint8Array(60).fill(100), labels: Uint8Array.of(2), learningRate: 0 });
    expect(await trainer.parameters()).to.deep.equal(initial);
    trainer.release();
    await engine.dispose();
  });
});
