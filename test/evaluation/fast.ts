import { expect } from "chai";

import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { createFastEvaluator, type FastOptions } from "../../offchain/evaluation/fast.ts";
import type { Model } from "../../offchain/evaluation/model.ts";
import { loadRuntime } from "../../offchain/evaluation/onnx-runtime.ts";
import { referenceLogits } from "../../offchain/evaluation/reference.ts";
import { splitWeights } from "../../offchain/evaluation/split.ts";
import { accumulatorBound, malformation } from "../../offchain/evaluation/well-formed.ts";
import { PLAIN_LAYER, randomArchitecture, randomModel, randomPixels, zeroModel } from "./random-model.ts";

async function expectEqual(
  model: Model,
  pixels: Uint8Array,
  count: number,
  options: FastOptions = {},
): Promise<{ path: "single" | "split"; logits: Float64Array }> {
  expect(malformation(model)).to.equal(null);
  const expected = referenceLogits(model, pixels, count);
  const evaluator = await createFastEvaluator(model, options);
  try {
    const logits = await evaluator.logits(pixels, count);
    const wrong = expected.findIndex((value, i) => value !== logits[i]);
    expect(wrong, `logit ${wrong}: ${expected[wrong]} by reference, ${logits[wrong]}`).to.equal(-1);
    return { path: evaluator.path, logits: expected };
  } finally {
    await evaluator.dispose();
  }
}

/**
 * One convolution of positive weights and negative biases whose accumulators, for the given sample, fall on the two
 * sides of rounding edges: one unit less or more gives another activation, so that any bit lost on the way shows.
 */
function edgeModel(random: Random, input: Architecture["input"], weightBits: number, pixels: Uint8Array): Model {
  const filters = 64;
  const model = zeroModel({
    input,
    classes: filters,
    layers: [
      {
        ...PLAIN_LAYER,
        kernelHeight: input[0],
        kernelWidth: input[1],
        strideHeight: input[0],
        strideWidth: input[1],
        filters,
        actIntBits: 11,
        actFracBits: 4,
        weightIntBits: 0,
        weightFracBits: weightBits,
      },
    ],
    head: { pool: "flatten", hidden: 0 },
  });
  const shift = 8 + weightBits - 4;
  const [{ weights, bias }] = model.layers as [Model["layers"][0]];
  for (let filter = 0; filter < filters; filter++) {
    let acc = 0;
    for (let i = 0; i < pixels.length; i++) {
      const weight = random.integer(2 ** (weightBits - 1));
      weights[filter * pixels.length + i] = weight;
      acc += weight * pixels[i]!;
    }
    // acc + bias + 2^(sh−1) = edge · 2^sh, or one less
    bias[filter] = (1 + random.integer(3)) * 2 ** shift - 2 ** (shift - 1) - acc - (filter % 2);
    model.output.weights[filter * filters + filter] = 1;
  }
  return model;
}

describe("the fast evaluator", () => {
  for (const [exponent, weightBits, path] of [
    [24, 9, "single"],
    [25, 10, "split"],
    [27, 12, "split"],
    [29, 14, "split"],
  ] as const) {
    it(`keeps the last bit of accumulators between 2^${exponent - 1} and 2^${exponent} on rounding edges`, async () => {
      for (let seed = 0; seed < 5; seed++) {
        const random = createRandom(seed);
        const pixels = Uint8Array.from({ length: 7 * 7 * 3 }, () => 128 + random.integer(128));
        const model = edgeModel(random, [7, 7, 3], weightBits, pixels);
        expect(Math.ceil(Math.log2(accumulatorBound(model)))).to.equal(exponent);
        for (const name of ["onnx", "onnx-web"] as const) {
          const result = await expectEqual(model, pixels, 1, { runtime: await loadRuntime(name) });
          expect(result.path).to.equal(path);
          expect(new Set(result.logits).size).to.be.greaterThan(2);
        }
      }
    });
  }

  it("keeps odd logits far above 2^24", async () => {
    const model = zeroModel({
      input: [64, 64, 1],
      classes: 3,
      layers: [PLAIN_LAYER],
      head: { pool: "flatten", hidden: 0 },
    });
    model.layers[0]!.weights[0] = 1;
    model.output.weights.set(new Int16Array(4096).fill(127), 0);
    model.output.weights.set(new Int16Array(4096).fill(-128), 4096);
    model.output.weights[2 * 4096] = 1;
    model.output.bias.set([1, -1, 2 ** 31 - 1 - 255]);
    const { logits } = await expectEqual(model, new Uint8Array(4096).fill(255), 1);
    expect([...logits]).to.deep.equal([4096 * 127 * 255 + 1, -4096 * 128 * 255 - 1, 2 ** 31 - 1]);
  });

  it("keeps global sums far above 2^24", async () => {
    const model = zeroModel({
      input: [63, 63, 1],
      classes: 2,
      layers: [{ ...PLAIN_LAYER, actIntBits: 2, actFracBits: 13 }],
      head: { pool: "global-sum", hidden: 0 },
    });
    model.layers[0]!.weights[0] = 5; // sh = 8 − 13: multiplied by 32
    model.output.weights.set([3, -7]);
    const { path } = await expectEqual(model, randomPixels(createRandom(1), model.architecture, 4), 4);
    expect(path).to.equal("split");
  });

  it("takes the widest fan-in of the widest activations", async () => {
    const random = createRandom(9);
    const wide = { ...PLAIN_LAYER, actIntBits: 0, actFracBits: 15, weightIntBits: 16, weightFracBits: 0 };
    const model = zeroModel({
      input: [2, 2, 1],
      classes: 8,
      layers: [
        { ...wide, filters: 128 },
        { ...wide, kernelHeight: 16, kernelWidth: 8, filters: 8, actIntBits: 15, actFracBits: 0 },
      ],
      head: { pool: "flatten", hidden: 0 },
    });
    for (let i = 0; i < 128; i++) model.layers[0]!.weights[i] = 1 + random.integer(3);
    for (let i = 0; i < 8 * 16384; i++) model.layers[1]!.weights[i] = random.integer(8) - 3;
    for (let i = 0; i < 8; i++) model.layers[1]!.bias[i] = random.integer(1000);
    for (let i = 0; i < 256; i++) model.output.weights[i] = random.integer(255) - 127;
    await expectEqual(model, randomPixels(random, model.architecture, 4), 4);
  });

  it("takes kernels, strides and pools far larger than the tensor", async () => {
    for (const layer of [
      { kernelHeight: 101, kernelWidth: 1 },
      { kernelHeight: 3, kernelWidth: 40, strideHeight: 1000, strideWidth: 7 },
      { poolSize: 50 },
      { poolSize: 4, strideWidth: 3 },
    ]) {
      const random = createRandom(4);
      const architecture: Architecture = {
        input: [7, 5, 2],
        classes: 4,
        layers: [{ ...PLAIN_LAYER, filters: 3, weightIntBits: 3, actIntBits: 7, ...layer }],
        head: { pool: "flatten", hidden: 0 },
      };
      await expectEqual(randomModel(random, architecture), randomPixels(random, architecture, 4), 4);
    }
  });

  it("gives what the biases say where a layer is dead", async () => {
    const dead = { actIntBits: 0, actFracBits: 0, weightIntBits: 0, weightFracBits: 0 };
    const model = zeroModel({
      input: [4, 4, 1],
      classes: 2,
      layers: [PLAIN_LAYER, { ...PLAIN_LAYER, ...dead }, PLAIN_LAYER],
      head: { pool: "flatten", hidden: 0 },
    });
    model.layers[0]!.weights[0] = 1;
    model.layers[1]!.bias[0] = 1000;
    model.layers[2]!.bias[0] = 3;
    model.output.weights.fill(1);
    model.output.bias[1] = -5;
    const { logits } = await expectEqual(model, new Uint8Array(16).fill(200), 1);
    expect([...logits]).to.deep.equal([16 * 255, 16 * 255 - 5]); // sh = −8: 3 · 256 clamps to 255
  });

  it("evaluates no samples and more samples than a batch", async () => {
    const random = createRandom(3);
    const architecture = randomArchitecture(random);
    const model = randomModel(random, architecture);
    await expectEqual(model, new Uint8Array(), 0);
    await expectEqual(model, randomPixels(random, architecture, 41), 41);
  });

  it("stops between two batches when asked", async () => {
    const architecture = randomArchitecture(createRandom(3));
    const evaluator = await createFastEvaluator(zeroModel(architecture), { batch: 1 });
    const controller = new AbortController();
    const running = evaluator.logits(randomPixels(createRandom(1), architecture, 1000), 1000, controller.signal);
    controller.abort();
    const error: unknown = await running.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    await evaluator.dispose();
    expect(error).to.be.instanceOf(PonasError).with.property("code", "aborted");
  });
});

describe("a fast evaluator that was disposed of", () => {
  it("says so", async () => {
    const architecture = randomArchitecture(createRandom(3));
    const evaluator = await createFastEvaluator(zeroModel(architecture));
    await evaluator.dispose();
    const error: unknown = await evaluator.logits(randomPixels(createRandom(1), architecture, 1), 1).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(PonasError).with.property("code", "engine");
    expect((error as PonasError).message).to.match(/^onnxruntime \(onnx\) could not evaluate a network: .*[^.]\.$/);
  });
});

describe("the split of weights", () => {
  for (const [what, inputMax, fanIn, draw] of [
    ["pixels and 16-bit weights", 255, 256, (random: Random) => random.integer(65536) - 32768],
    ["weights of one bit on the widest fan-in", 32767, 16384, (random: Random) => random.integer(3) - 1],
    ["the widest weights on wide activations", 32767, 300, (random: Random) => random.integer(65536) - 32768],
    ["the two extreme weights", 511, 81, (random: Random) => random.choice([-32768, 32767])],
  ] as const) {
    it(`adds up again and stays exact: ${what}`, () => {
      const random = createRandom(1);
      const weights = Int16Array.from({ length: 3 * fanIn }, () => draw(random));
      const parts = splitWeights(weights, fanIn, inputMax);
      const joined = weights.map((_, i) => parts.reduce((sum, part) => sum + part.weights[i]! * 2 ** part.shift, 0));
      expect(joined).to.deep.equal(weights);
      for (const part of parts) {
        for (let unit = 0; unit < 3; unit++) {
          const row = part.weights.subarray(unit * fanIn, (unit + 1) * fanIn);
          expect(row.reduce((sum, w) => sum + Math.abs(w), 0) * inputMax).to.be.lessThan(2 ** 24);
        }
      }
    });
  }

  it("leaves one part where float32 is exact anyway", () => {
    const weights = Int16Array.from([1, -2, 3, 4]);
    expect(splitWeights(weights, 4, 255)).to.deep.equal([{ weights: Int32Array.from(weights), shift: 0 }]);
    expect(splitWeights(weights, 4, 0)).to.have.length(1);
  });

  it("needs two parts for the widest layers of the paper's full space", () => {
    const random = createRandom(2);
    const weights = Int16Array.from({ length: 9 * 9 * 128 }, () => random.integer(1024) - 512);
    expect(splitWeights(weights, weights.length, 127)).to.have.length(2);
  });
});
