import { expect } from "chai";

import { HYPERPARAMETERS, type Architecture, type Space } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import type { Model } from "../../offchain/evaluation/model.ts";
import { accumulatorBound, malformation, type Rules } from "../../offchain/evaluation/well-formed.ts";
import { PLAIN_LAYER, randomArchitecture, randomModel, zeroModel } from "./random-model.ts";

const LAYER = { ...PLAIN_LAYER, filters: 2, weightIntBits: 1, weightFracBits: 3 };
const HEAD: Architecture["head"] = { pool: "flatten", hidden: 0 };
const ARCHITECTURE: Architecture = { input: [4, 4, 1], classes: 3, layers: [LAYER, LAYER], head: HEAD };

/** sh of the first layer: 8 + 3 − 8; its rounding constant is 4. */
const ROUNDING = 4;

function changed(change: (model: Model) => void, architecture = ARCHITECTURE): string | null {
  const model = zeroModel(structuredClone(architecture));
  change(model);
  return malformation(model);
}

describe("a well-formed model", () => {
  it("has no fault", () => {
    expect(changed(() => undefined)).to.equal(null);
    for (let seed = 0; seed < 30; seed++) {
      const random = createRandom(seed);
      expect(malformation(randomModel(random, randomArchitecture(random), "below-2^31"))).to.equal(null);
    }
  });

  it("keeps every weight in its range, named by unit and layer", () => {
    expect(changed(({ layers }) => layers[1]!.weights.set([7, -8], 2))).to.equal(null);
    expect(changed(({ layers }) => layers[1]!.weights.set([8], 3))).to.equal(
      "weight 1 of unit 1 of layer 1 is 8, outside -8 … 7",
    );
    expect(changed(({ layers }) => layers[0]!.weights.set([-9], 1))).to.equal(
      "weight 0 of unit 1 of layer 0 is -9, outside -8 … 7",
    );
    expect(changed(({ output }) => output.weights.set([127, -128]))).to.equal(null);
    expect(changed(({ output }) => output.weights.set([128], 32))).to.equal(
      "weight 0 of unit 1 of the output layer is 128, outside -128 … 127",
    );
    const hidden = { ...ARCHITECTURE, head: { ...HEAD, hidden: 2, hiddenActIntBits: 1, hiddenActFracBits: 1 } };
    expect(changed((model) => model.hidden!.weights.set([-129], 5), hidden)).to.equal(
      "weight 5 of unit 0 of the hidden layer is -129, outside -128 … 127",
    );
  });

  it("has only zeros where weights have no bits", () => {
    const architecture = { ...ARCHITECTURE, layers: [{ ...LAYER, weightIntBits: 0, weightFracBits: 0 }, LAYER] };
    expect(changed(() => undefined, architecture)).to.equal(null);
    expect(changed(({ layers }) => layers[0]!.weights.set([-1]), architecture)).to.match(/is -1, outside 0 … 0/);
  });

  it("has at most 15 activation bits and 16 weight bits", () => {
    const withBits = (bits: object) =>
      changed(() => undefined, { ...ARCHITECTURE, layers: [LAYER, { ...LAYER, ...bits }] });
    expect(withBits({ actIntBits: 7, actFracBits: 8 })).to.equal(null);
    expect(withBits({ actIntBits: 8, actFracBits: 8 })).to.equal("layer 1 has 16 activation bits, more than 15");
    expect(withBits({ weightIntBits: 16, weightFracBits: 0 })).to.equal(null);
    expect(withBits({ weightIntBits: 1, weightFracBits: 16 })).to.equal("layer 1 has 17 weight bits, more than 16");
    const head = { ...HEAD, hidden: 1, hiddenActIntBits: 12, hiddenActFracBits: 4 };
    expect(changed(() => undefined, { ...ARCHITECTURE, head })).to.equal(
      "the hidden layer has 16 activation bits, more than 15",
    );
  });

  it("has hidden bits exactly where it has a hidden layer", () => {
    const head = { ...HEAD, hiddenActIntBits: 0 };
    expect(changed(() => undefined, { ...ARCHITECTURE, head })).to.match(/exactly where hidden > 0/);
    expect(changed(() => undefined, { ...ARCHITECTURE, head: { ...HEAD, hidden: 1 } })).to.match(
      /exactly where hidden > 0/,
    );
  });

  it("has an architecture of the known kind", () => {
    expect(changed(() => undefined, { ...ARCHITECTURE, classes: 300 })).to.match(/classes/);
    expect(malformation({ ...zeroModel(ARCHITECTURE), architecture: { ...ARCHITECTURE, layers: [] } })).to.match(
      /layers/,
    );
  });

  it("has weights of the lengths that follow from its architecture", () => {
    const model = zeroModel(ARCHITECTURE);
    const layers = [model.layers[0]!, { ...model.layers[1]!, weights: new Int16Array(5) }];
    expect(malformation({ ...model, layers })).to.equal("layer 1 has 5 weights, its shape asks for 2 × 2");
  });

  it("has no unit that reads more than 16,384 values", () => {
    const wide = (kernelHeight: number) =>
      changed(() => undefined, {
        ...ARCHITECTURE,
        layers: [
          { ...LAYER, filters: 128 },
          { ...LAYER, kernelHeight, kernelWidth: 1 },
        ],
      });
    expect(wide(128)).to.equal(null);
    expect(wide(129)).to.equal("a unit of layer 1 reads 16512 values, more than 16384");
    const flattened = changed(() => undefined, {
      ...ARCHITECTURE,
      input: [64, 64, 1],
      layers: [{ ...LAYER, filters: 5 }],
    });
    expect(flattened).to.equal("a unit of the output layer reads 20480 values, more than 16384");
    const summed = changed(() => undefined, {
      ...ARCHITECTURE,
      input: [64, 64, 1],
      layers: [{ ...LAYER, filters: 5 }],
      head: { pool: "global-sum", hidden: 0 },
    });
    expect(summed).to.equal(null);
  });

  it("has every accumulator below 2^31, rounding constant included", () => {
    const most = 2 ** 31 - 1 - ROUNDING - 7 * 255;
    const withBias = (bias: number) =>
      changed(({ layers }) => {
        layers[0]!.weights.set([0, 7]);
        layers[0]!.bias.set([0, bias]);
      });
    expect(withBias(most)).to.equal(null);
    expect(withBias(-most)).to.equal(null);
    expect(withBias(most + 1)).to.equal("unit 1 of layer 0 can reach 2147483648, which is not below 2^31");
    expect(withBias(-most - 1)).to.equal("unit 1 of layer 0 can reach 2147483648, which is not below 2^31");
    expect(changed(({ output }) => output.bias.set([-(2 ** 31)]))).to.match(/unit 0 of the output layer can reach/);
  });

  it("counts a global sum's positions in the bound", () => {
    const summed: Architecture = { ...ARCHITECTURE, input: [64, 64, 1], head: { pool: "global-sum", hidden: 0 } };
    const withBias = (bias: number) =>
      changed(({ output }) => {
        output.weights.set([100]);
        output.bias.set([bias]);
      }, summed);
    expect(withBias(2 ** 31 - 1 - 100 * 255 * 4096)).to.equal(null);
    expect(withBias(2 ** 31 - 100 * 255 * 4096)).to.match(/unit 0 of the output layer can reach 2147483648/);
  });

  it("carries a tiling within the task's hardware bounds, where it has any", () => {
    const single = Object.fromEntries(HYPERPARAMETERS.map((name) => [name, [LAYER[name]]])) as Space;
    const template = { input: [4, 4, 1], classes: 3, depth: 2, head: HEAD } satisfies Rules["template"];
    const tiled = { ...ARCHITECTURE, tiling: { tiles: [[1, 2], [2, 2]], groups: [1, 1] } } as Architecture; // prettier-ignore
    const fault = (architecture: Architecture, maxLuts: number, minThroughput: number) =>
      malformation(zeroModel(architecture), { template, space: single, hardware: { maxLuts, minThroughput } });
    expect(fault(ARCHITECTURE, 0, 0)).to.equal(null);
    expect(fault(ARCHITECTURE, 1000, 0)).to.equal("it carries no tiling, which the task's hardware bounds ask for");
    expect(fault(tiled, 1000, 1)).to.equal(null);
    expect(fault(tiled, 10, 1)).to.match(/^its tiling needs \d+ look-up tables, more than 10$/);
    expect(fault(tiled, 0, 2 ** 32 - 1)).to.match(/^its tiling takes \d+ cycles an image, and more than 4294967295/);
    expect(malformation(zeroModel(ARCHITECTURE), { template, space: single })).to.equal(null);
  });

  it("has a tiling that fits its layers, if any", () => {
    const tiled = (tiles: [number, number][], groups: number[]) =>
      changed(() => undefined, { ...ARCHITECTURE, tiling: { tiles, groups } });
    expect(
      tiled(
        [
          [1, 1],
          [2, 2],
        ],
        [1, 1],
      ),
    ).to.equal(null);
    expect(tiled([[1, 1]], [2])).to.equal("its tiling has 1 tiles and groups of 2 layers, for 2 layers");
    expect(
      tiled(
        [
          [1, 1],
          [2, 2],
        ],
        [1],
      ),
    ).to.equal("its tiling has 2 tiles and groups of 1 layers, for 2 layers");
  });

  it("belongs to the task's template and space", () => {
    const space = Object.fromEntries(HYPERPARAMETERS.map((name) => [name, [LAYER[name]]])) as Space;
    const rules: Rules = { template: { input: [4, 4, 1], classes: 3, depth: 2, head: HEAD }, space };
    expect(malformation(zeroModel(ARCHITECTURE), rules)).to.equal(null);
    const other = { ...ARCHITECTURE, layers: [LAYER, { ...LAYER, kernelWidth: 3 }] };
    expect(malformation(zeroModel(other), rules)).to.equal(
      "layer 1 has kernelWidth 3, which is not in the task's space",
    );
    const large = { ...ARCHITECTURE, input: [5, 4, 1] as Architecture["input"] };
    expect(malformation(zeroModel(large), rules)).to.equal("its input is 5×4×1, the task's is 4×4×1");
  });
});

describe("the accumulator bound", () => {
  it("is the largest |bias| + Σ|w|·xmax + rounding of all units", () => {
    const model = zeroModel(ARCHITECTURE);
    expect(accumulatorBound(model)).to.equal(ROUNDING);
    model.layers[0]!.weights.set([3, -5]);
    model.layers[0]!.bias.set([-1000, 10]);
    expect(accumulatorBound(model)).to.equal(1000 + 3 * 255 + ROUNDING);
    model.output.weights.fill(-128, 0, 32);
    expect(accumulatorBound(model)).to.equal(32 * 128 * 255);
  });
});
