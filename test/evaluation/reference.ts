import { expect } from "chai";

import type { Architecture, Layer } from "../../offchain/protocol/architecture.ts";
import { referenceLogits, referenceTrace, requantise } from "../../offchain/evaluation/reference.ts";
import { networkShapes, samePadding } from "../../offchain/evaluation/shapes.ts";
import { PLAIN_LAYER, zeroModel } from "./random-model.ts";

function architecture(input: Architecture["input"], layer: Partial<Layer>, head?: Architecture["head"]): Architecture {
  return {
    input,
    classes: 2,
    layers: [{ ...PLAIN_LAYER, ...layer }],
    head: head ?? { pool: "flatten", hidden: 0 },
  };
}

/** The first tensor of a one-filter network with these weights. */
function convolved(input: Architecture["input"], layer: Partial<Layer>, weights: number[], pixels: number[], bias = 0) {
  const model = zeroModel(architecture(input, layer));
  model.layers[0]!.weights.set(weights);
  model.layers[0]!.bias[0] = bias;
  return referenceTrace(model, Uint8Array.from(pixels)).tensors.map(({ values }) => [...values]);
}

describe("requantisation", () => {
  it("rounds half up and floors below zero before it clamps", () => {
    const rule = { shift: 2, max: 7 };
    expect([-8, -3, -2, -1, 0, 1, 2, 5, 6, 29, 30, 1000].map((acc) => requantise(acc, rule))).to.deep.equal([
      0, 0, 0, 0, 0, 0, 1, 1, 2, 7, 7, 7,
    ]);
  });

  it("multiplies without wrapping where bits are added", () => {
    expect(requantise(2 ** 30, { shift: -15, max: 32767 })).to.equal(32767);
    expect(requantise(-(2 ** 30), { shift: -15, max: 32767 })).to.equal(0);
    expect(requantise(3, { shift: -4, max: 255 })).to.equal(48);
    expect(requantise(5, { shift: 0, max: 255 })).to.equal(5);
  });

  it("gives 0 where there are no bits", () => {
    expect(requantise(12345, { shift: 3, max: 0 })).to.equal(0);
  });
});

describe("same padding", () => {
  it("puts the smaller half before", () => {
    expect(samePadding(5, 4, 1)).to.deep.equal({ out: 5, before: 1, after: 2 });
    expect(samePadding(28, 5, 2)).to.deep.equal({ out: 14, before: 1, after: 2 });
  });

  it("pads nothing where the stride passes over the end", () => {
    expect(samePadding(7, 1, 5)).to.deep.equal({ out: 2, before: 0, after: 0 });
    expect(samePadding(1, 9, 5)).to.deep.equal({ out: 1, before: 4, after: 4 });
  });
});

describe("the reference evaluation", () => {
  it("convolves with the kernel as it stands, rows and columns apart", () => {
    const layer = { kernelHeight: 1, kernelWidth: 3 };
    expect(convolved([1, 4, 1], layer, [100, 10, 1], [1, 2, 3, 4])[0]).to.deep.equal([12, 123, 234, 255]);
    expect(convolved([4, 1, 1], { kernelHeight: 3 }, [100, 10, 1], [1, 2, 1, 0])[0]).to.deep.equal([12, 121, 210, 100]);
  });

  it("takes strides of its own for rows and columns", () => {
    const pixels = [1, 2, 3, 4, 5, 6];
    expect(convolved([2, 3, 1], { strideHeight: 2 }, [1], pixels)[0]).to.deep.equal([1, 2, 3]);
    expect(convolved([2, 3, 1], { strideWidth: 2 }, [1], pixels)[0]).to.deep.equal([1, 3, 4, 6]);
  });

  it("reads channels last", () => {
    expect(convolved([1, 2, 3], {}, [1, 10, 100], [1, 0, 0, 0, 1, 1])[0]).to.deep.equal([1, 110]);
  });

  it("adds the bias at the accumulator's scale", () => {
    // input 8 fraction bits, weights 7, activations 4: sh = 11; (512·1 + 512) / 2048 rounds half up
    const layer = { weightIntBits: 9, weightFracBits: 7, actIntBits: 4, actFracBits: 4 };
    expect(convolved([1, 1, 1], layer, [512], [1], 512)[0]).to.deep.equal([1]);
    expect(convolved([1, 1, 1], layer, [512], [1], 511)[0]).to.deep.equal([0]);
  });

  it("pools over the real elements of windows placed by the same rule", () => {
    const [convolution, pool] = convolved([1, 5, 1], { poolSize: 2 }, [1], [9, 8, 7, 1, 2]);
    expect(convolution).to.deep.equal([9, 8, 7, 1, 2]);
    expect(pool).to.deep.equal([9, 7, 2]);
    // one row of padding in all: none before, one after; columns of 5 in windows of 3: none before, one after
    const pooled = convolved([2, 5, 1], { poolSize: 3 }, [1], [1, 2, 3, 4, 5, 6, 5, 4, 3, 2])[1];
    expect(pooled).to.deep.equal([6, 5]);
    // columns of 4 in windows of 3: one of padding on each side
    expect(convolved([1, 4, 1], { poolSize: 3 }, [1], [1, 2, 9, 3])[1]).to.deep.equal([2, 9]);
  });

  it("sums rows first and then over rows", () => {
    const model = zeroModel(architecture([2, 2, 2], { filters: 2 }, { pool: "global-sum", hidden: 0 }));
    model.layers[0]!.weights.set([1, 0, 0, 1]);
    model.output.weights.set([1, 0, -1, 2]);
    model.output.bias.set([5, 0]);
    const trace = referenceTrace(model, Uint8Array.from([1, 10, 2, 20, 3, 30, 4, 40]));
    expect(
      trace.tensors.map(({ name, height, width, channels, values }) => [name, height, width, channels, ...values]),
    ).to.deep.equal([
      ["layer 0 convolution", 2, 2, 2, 1, 10, 2, 20, 3, 30, 4, 40],
      ["row sums", 2, 1, 2, 3, 30, 7, 70],
      ["sums", 1, 1, 2, 10, 100],
    ]);
    expect([...trace.logits]).to.deep.equal([15, 190]);
  });

  it("requantises the hidden layer and leaves the logits raw", () => {
    const model = zeroModel(
      architecture([1, 2, 1], {}, { pool: "flatten", hidden: 2, hiddenActIntBits: 4, hiddenActFracBits: 0 }),
    );
    model.layers[0]!.weights.set([1]);
    // activations have 8 fraction bits, dense weights 7: sh = 15
    model.hidden!.weights.set([127, 127, -1, 0]);
    model.hidden!.bias.set([2 ** 15, 0]);
    model.output.weights.set([-128, 3, 1, 0]);
    const trace = referenceTrace(model, Uint8Array.from([255, 255]));
    expect([...trace.tensors.at(-1)!.values]).to.deep.equal([3, 0]); // (64770 + 32768 + 16384) / 32768 = 3.47…
    expect([...trace.logits]).to.deep.equal([-384, 3]);
  });

  it("evaluates each sample by itself", () => {
    const model = zeroModel(architecture([1, 2, 1], {}));
    model.layers[0]!.weights.set([1]);
    model.output.weights.set([1, 0, 0, 1]);
    expect([...referenceLogits(model, Uint8Array.from([1, 2, 30, 40, 5, 6]), 3)]).to.deep.equal([1, 2, 30, 40, 5, 6]);
  });
});

describe("network shapes", () => {
  it("follow every layer down to the head", () => {
    const shapes = networkShapes({
      input: [28, 28, 1],
      classes: 10,
      layers: [
        { ...PLAIN_LAYER, kernelHeight: 5, kernelWidth: 3, filters: 12, strideHeight: 2, poolSize: 2 },
        { ...PLAIN_LAYER, kernelHeight: 9, kernelWidth: 1, filters: 4, strideWidth: 5 },
      ],
      head: { pool: "flatten", hidden: 16, hiddenActIntBits: 1, hiddenActFracBits: 3 },
    });
    expect(shapes.layers[0]).to.deep.equal({
      input: { height: 28, width: 28, channels: 1 },
      convolution: { height: 14, width: 28, channels: 12 },
      pool: { height: 7, width: 14, channels: 12 },
      padding: { top: 1, bottom: 2, left: 1, right: 1 },
      poolPadding: { top: 0, bottom: 0, left: 0, right: 0 },
      fanIn: 15,
      macs: 14 * 28 * 12 * 15,
    });
    expect(shapes.features).to.deep.equal({ height: 7, width: 3, channels: 4 });
    expect([shapes.flattenLength, shapes.headInputs]).to.deep.equal([84, 84]);
    expect(shapes.macs).to.equal(14 * 28 * 12 * 15 + 7 * 3 * 4 * 108 + 84 * 16 + 16 * 10);
  });
});
