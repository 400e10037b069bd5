import { expect } from "chai";

import {
  costFault,
  hardwareLayers,
  maxCycles,
  throughputOf,
  tileCycles,
  tileLuts,
  tilingCost,
  witnessFault,
  type HardwareLayer,
} from "../../offchain/evaluation/hardware.ts";
import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { LOGGED } from "./naqs-logs.ts";
import { PLAIN_LAYER } from "./random-model.ts";

const HEAD: Architecture["head"] = { pool: "flatten", hidden: 0 };

/** MULT(a, w) by activation integer bits: the numbers of the paper's source, from w = 0 on. */
const MULTIPLIERS = [
  Array.from({ length: 17 }, () => 0),
  [0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  [0, 0, 4, 11, 14, 17, 20, 23, 26, 29, 32, 35, 38, 41, 44],
  [0, 0, 0, 17, 21, 26, 32, 36, 41, 46, 51, 56, 61, 66, 71],
  [0, 0, 0, 0, 29, 34, 39, 44, 49, 54, 59, 64, 69, 74, 79],
];

/** The formula as it is written down, term by term. */
function writtenFormula(layer: HardwareLayer, tn: number, tm: number): number {
  const { activation: ai, weight: w, output: o } = layer;
  const b0 = ai.integer + w.integer + ai.fraction + w.fraction;
  let adders = 0;
  let stages = 0;
  for (let n = tn; n > 1; n = Math.ceil(n / 2)) adders += (b0 + stages++) * Math.floor(n / 2);
  const integer = Math.max(ai.integer + w.integer + stages, o.integer);
  const fraction = Math.max(ai.fraction + w.fraction, o.fraction);
  const [i, j] = [Math.max(integer + 1, o.integer), Math.max(fraction, o.fraction)];
  const [k, l] = [Math.abs(integer + 1 - o.integer), Math.abs(fraction - o.fraction)];
  const truncation = i >= 3 && j >= 2 ? i + j - 2 - Number(k > 1) - l - Number(k === i - 1 && l === j - 1) : 0;
  const multiplier = MULTIPLIERS[ai.integer]![w.integer + w.fraction]!;
  return tm * (tn * multiplier + adders + integer + fraction + truncation);
}

describe("the hardware cost of a layer", () => {
  const random = createRandom("hardware");
  const format = (integer: number, fraction: number) => ({ integer: random.integer(integer + 1), fraction: random.integer(fraction + 1) }); // prettier-ignore
  const someLayer = (): HardwareLayer => ({
    channels: 64,
    filters: 64,
    work: 1,
    activation: format(4, 11),
    weight: format(5, 9),
    output: format(6, 9),
  });

  it("is what the authors of the source have logged, N in place of R", () => {
    for (const { architecture, tiles, layerLuts, layerCycles } of LOGGED) {
      const layers = hardwareLayers(architecture, { compat: true });
      expect(layers.map((layer, i) => tileLuts(layer, tiles[i]!))).to.deep.equal(layerLuts);
      expect(layers.map((layer, i) => tileCycles(layer, tiles[i]!))).to.deep.equal(layerCycles);
    }
  });

  it("follows the written formula for all bits that the source's table covers", () => {
    for (let round = 0; round < 5000; round++) {
      const layer = someLayer();
      const [tn, tm] = [1 + random.integer(70), 1 + random.integer(70)];
      expect(tileLuts(layer, [tn, tm]), JSON.stringify([layer, tn, tm])).to.equal(writtenFormula(layer, tn, tm));
    }
  });

  it("never falls where a tile grows, which the search relies on", () => {
    for (let round = 0; round < 300; round++) {
      const layer = someLayer();
      for (let tn = 1; tn <= 64; tn++) {
        expect(tileLuts(layer, [tn + 1, 3])).to.be.at.least(tileLuts(layer, [tn, 3]));
        expect(tileLuts(layer, [tn, 4])).to.be.at.least(tileLuts(layer, [tn, 3]));
      }
    }
  });

  it("counts cycles over the padded input", () => {
    const layer = { ...PLAIN_LAYER, kernelHeight: 3, kernelWidth: 5, strideHeight: 2, strideWidth: 3, filters: 10 };
    const [wide] = hardwareLayers({ input: [8, 8, 3], classes: 2, layers: [layer], head: HEAD });
    // 8 rows and 1 of padding, 8 columns and 3 of padding
    expect(tileCycles(wide!, [2, 4])).to.equal(3 * 2 * 9 * 11 * 15);
    const sparse = { ...PLAIN_LAYER, kernelHeight: 1, kernelWidth: 1, strideHeight: 4, strideWidth: 4, filters: 10 };
    const [bare] = hardwareLayers({ input: [8, 8, 3], classes: 2, layers: [sparse], head: HEAD });
    expect(tileCycles(bare!, [3, 10])).to.equal(64);
  });

  it("goes on from what the layer before puts out: channels, pooled size, bits", () => {
    const first = { ...PLAIN_LAYER, filters: 7, poolSize: 3, actIntBits: 3, actFracBits: 2 };
    const second = { ...PLAIN_LAYER, kernelHeight: 1, kernelWidth: 1 };
    const layers = hardwareLayers({ input: [8, 8, 1], classes: 2, layers: [first, second], head: HEAD });
    expect(layers[0]!.activation).to.deep.equal({ integer: 1, fraction: 6 });
    expect(layers[1]).to.deep.include({ channels: 7, work: 9, activation: { integer: 3, fraction: 2 } });
  });
});

describe("a hardware witness", () => {
  const { architecture, corrected } = LOGGED[4]!;
  const TILING: Architecture["tiling"] = {
    tiles: [[3, 64], [32, 48], [24, 36], [18, 48], [24, 24], [3, 9]], // prettier-ignore
    groups: [6],
  };
  const fault = (maxLuts: number, minThroughput: number, tiling = TILING): string | null =>
    witnessFault({ ...architecture, tiling }, { maxLuts, minThroughput });

  it("holds up to the last look-up table, and above the throughput, not at it", () => {
    const cost = tilingCost(hardwareLayers(architecture), TILING!);
    expect(cost).to.deep.equal({ luts: corrected.luts, cycles: 8000 });
    expect(throughputOf(cost)).to.equal(12_500);
    expect(fault(99_959, 12_499)).to.equal(null);
    expect(fault(99_958, 12_499)).to.equal("its tiling needs 99959 look-up tables, more than 99958");
    expect(fault(99_959, 12_500)).to.equal(
      "its tiling takes 8000 cycles an image, and more than 12500 images per second leave at most 7999",
    );
  });

  it("is asked for where anything is bounded, and not otherwise", () => {
    expect(fault(0, 1)).to.equal(null);
    expect(fault(100_000, 0)).to.equal(null);
    expect(fault(0, 12_500)).to.match(/^its tiling takes/);
    const bare = { ...architecture, tiling: undefined };
    expect(witnessFault(bare, { maxLuts: 0, minThroughput: 0 })).to.equal(null);
    const missing = "it carries no tiling, which the task's hardware bounds ask for";
    expect(witnessFault(bare, { maxLuts: 1_000_000, minThroughput: 0 })).to.equal(missing);
    expect(witnessFault(bare, { maxLuts: 0, minThroughput: 1 })).to.equal(missing);
  });

  it("adds up the layers of a group and waits for its slowest, and takes groups in turn", () => {
    const layers = hardwareLayers(architecture);
    const alone = TILING!.tiles.map((tile, i) => ({ luts: tileLuts(layers[i]!, tile), cycles: tileCycles(layers[i]!, tile) })); // prettier-ignore
    const [luts, cycles] = [alone.map((cost) => cost.luts), alone.map((cost) => cost.cycles)];
    expect(tilingCost(layers, { ...TILING!, groups: [2, 1, 3] })).to.deep.equal({
      luts: Math.max(luts[0]! + luts[1]!, luts[2]!, luts[3]! + luts[4]! + luts[5]!),
      cycles: Math.max(cycles[0]!, cycles[1]!) + cycles[2]! + Math.max(cycles[3]!, cycles[4]!, cycles[5]!),
    });
  });

  it("fits the layers: as many tiles, groups that add up, no tile larger than its layer", () => {
    const { tiles, groups } = TILING!;
    expect(fault(100_000, 10, { tiles: tiles.slice(1), groups })).to.equal(
      "its tiling has 5 tiles and groups of 6 layers, for 6 layers",
    );
    expect(fault(100_000, 10, { tiles, groups: [3, 2] })).to.match(/6 tiles and groups of 5 layers/);
    expect(fault(100_000, 10, { tiles, groups: [6, 1] })).to.match(/6 tiles and groups of 7 layers/);
    const with_ = (at: number, tile: [number, number]) => ({ tiles: tiles.with(at, tile), groups });
    expect(fault(0, 1, with_(0, [4, 64]))).to.equal("layer 0 has a tile of 4 channels × 64 filters, and only 3 × 64 in all"); // prettier-ignore
    expect(fault(0, 1, with_(5, [3, 37]))).to.match(/^layer 5 has a tile of 3 channels × 37 filters, and only 24 × 36/);
  });

  it("is of no use where the model knows no multiplier", () => {
    const layers = architecture.layers.with(1, { ...architecture.layers[1]!, actIntBits: 5 });
    const beyond: Architecture = { ...architecture, layers, tiling: TILING };
    const sentence = "layer 2 reads activations of 5 integer bits, and no multiplier for more than 4 is known";
    expect(witnessFault(beyond, { maxLuts: 0, minThroughput: 1 })).to.equal(sentence);
    expect(costFault(hardwareLayers(beyond))).to.equal(sentence);
    // With fewer weight bits than that the source counts no multiplier at all.
    const narrow = layers.with(2, { ...layers[2]!, weightIntBits: 1, weightFracBits: 3 });
    expect(costFault(hardwareLayers({ ...beyond, layers: narrow }))).to.equal(null);
    // What the last layer puts out is the head's affair.
    const last = architecture.layers.with(5, { ...architecture.layers[5]!, actIntBits: 9 });
    expect(costFault(hardwareLayers({ ...architecture, layers: last }))).to.equal(null);
  });
});

describe("the cycles that a throughput leaves", () => {
  it("are the most whole ones that still exceed it", () => {
    const random = createRandom("cycles");
    for (const throughput of [
      1,
      3,
      10,
      1000,
      99_999_999,
      100_000_000,
      2 ** 32 - 1,
      ...Array.from({ length: 500 }, () => 1 + random.integer(2 ** 27)),
    ]) {
      // prettier-ignore
      const most = BigInt(maxCycles({ maxLuts: 0, minThroughput: throughput }));
      expect(most * BigInt(throughput) < 100_000_000n).to.equal(true);
      expect((most + 1n) * BigInt(throughput) < 100_000_000n).to.equal(false);
    }
    expect(maxCycles({ maxLuts: 7, minThroughput: 0 })).to.equal(Infinity);
  });
});
