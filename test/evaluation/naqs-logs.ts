/**
 * Six networks with what the authors of the paper's source logged of their hardware: 3 × 32 × 32 images, at most 100,000
 * look-up tables, more than 1,000 images per second. Source: github.com/ND-SCL/NAQS, commit 0ff00c8, experiment/joint/linear,
 * "with stride, with pooling", CIFAR10 (6 layers). In these logs N stands where R is meant.
 */
import { HYPERPARAMETERS, type Architecture, type Layer } from "../../offchain/protocol/architecture.ts";

export interface LoggedNetwork {
  readonly architecture: Architecture;
  /** of each layer: tile (Tn, Tm), look-up tables, cycles */
  readonly tiles: [number, number][];
  readonly layerLuts: number[];
  readonly layerCycles: number[];
  /** layers of each group */
  readonly groups: number[];
  readonly luts: number;
  readonly throughput: number;
  /** look-up tables and images per second with R in its place, to two decimals */
  readonly corrected: { readonly luts: number; readonly throughput: number };
}

export const LOGGED_BOUNDS = { maxLuts: 100_000, minThroughput: 1000 };

function network(layers: readonly (readonly number[])[]): Architecture {
  return {
    input: [32, 32, 3],
    classes: 10,
    layers: layers.map((choices) => Object.fromEntries(HYPERPARAMETERS.map((name, i) => [name, choices[i]])) as Layer),
    head: { pool: "flatten", hidden: 0 },
  };
}

// prettier-ignore
export const LOGGED: readonly LoggedNetwork[] = [
  {
    architecture: network([
      [1, 5, 64, 1, 1, 1, 1, 6, 2, 5],
      [3, 5, 64, 1, 3, 1, 1, 1, 1, 0],
      [3, 5, 36, 2, 2, 1, 3, 1, 2, 6],
      [3, 5, 36, 3, 1, 1, 3, 3, 3, 6],
      [1, 7, 36, 1, 3, 2, 0, 3, 2, 5],
      [5, 5, 64, 3, 1, 2, 0, 2, 3, 6],
    ]),
    tiles: [[3, 64], [64, 64], [64, 36], [36, 36], [36, 36], [36, 64]],
    layerLuts: [5184, 41280, 48636, 78300, 65304, 30656],
    layerCycles: [540, 33600, 14400, 5400, 2520, 4500],
    groups: [3, 1, 2], luts: 95960, throughput: 2298.8505747126437,
    corrected: { luts: 95100, throughput: 4722.55 },
  },
  {
    architecture: network([
      [1, 1, 64, 3, 1, 1, 0, 5, 1, 1],
      [3, 3, 24, 1, 3, 2, 3, 1, 2, 0],
      [1, 7, 48, 2, 1, 1, 3, 5, 1, 5],
      [7, 5, 36, 3, 1, 2, 2, 4, 0, 2],
      [5, 1, 36, 1, 2, 2, 2, 3, 0, 5],
      [1, 7, 24, 2, 2, 2, 3, 1, 0, 5],
    ]),
    tiles: [[1, 1], [64, 24], [24, 48], [48, 36], [12, 36], [36, 5]],
    layerLuts: [17, 12432, 50112, 19404, 12780, 5085],
    layerCycles: [18432, 19008, 2016, 16800, 1620, 8820],
    groups: [6], luts: 99830, throughput: 5260.942760942761,
    corrected: { luts: 99760, throughput: 25900.03 },
  },
  {
    architecture: network([
      [7, 7, 48, 1, 2, 1, 0, 6, 1, 4],
      [5, 1, 36, 3, 3, 2, 1, 6, 3, 1],
      [5, 5, 24, 2, 3, 2, 3, 4, 2, 5],
      [3, 1, 36, 1, 2, 2, 1, 2, 2, 4],
      [1, 5, 48, 1, 3, 2, 1, 5, 3, 4],
      [7, 3, 24, 1, 3, 1, 0, 1, 3, 3],
    ]),
    tiles: [[3, 48], [48, 36], [36, 24], [24, 36], [12, 48], [48, 24]],
    layerLuts: [3264, 19476, 21048, 40104, 12048, 24408],
    layerCycles: [5439, 3840, 4500, 72, 2700, 3024],
    groups: [5, 1], luts: 95940, throughput: 11816.140848398913,
    corrected: { luts: 68272, throughput: 1451.51 },
  },
  {
    architecture: network([
      [5, 7, 36, 2, 3, 2, 2, 3, 0, 1],
      [7, 7, 36, 2, 2, 1, 2, 6, 3, 4],
      [3, 1, 48, 2, 1, 1, 1, 6, 1, 5],
      [5, 7, 24, 1, 2, 2, 2, 3, 3, 4],
      [7, 3, 36, 1, 3, 2, 1, 3, 2, 2],
      [5, 7, 24, 3, 3, 1, 0, 1, 1, 1],
    ]),
    tiles: [[3, 36], [36, 36], [18, 48], [24, 24], [6, 36], [36, 24]],
    layerLuts: [1224, 47268, 30912, 14064, 5472, 8856],
    layerCycles: [3885, 19404, 648, 30240, 6048, 8820],
    groups: [5, 1], luts: 98940, throughput: 2560.1638504864313,
    corrected: { luts: 99948, throughput: 2206.29 },
  },
  {
    architecture: network([
      [1, 5, 64, 1, 3, 2, 3, 3, 0, 3],
      [5, 5, 48, 3, 3, 1, 2, 1, 1, 4],
      [3, 7, 36, 3, 1, 1, 0, 6, 1, 4],
      [3, 1, 48, 1, 1, 2, 2, 5, 1, 1],
      [1, 5, 24, 3, 3, 2, 3, 2, 1, 0],
      [5, 1, 36, 3, 1, 1, 3, 3, 1, 5],
    ]),
    tiles: [[3, 64], [32, 48], [24, 36], [18, 48], [24, 24], [3, 9]],
    layerLuts: [3392, 58704, 22932, 8304, 5376, 1251],
    layerCycles: [525, 25600, 16128, 432, 2400, 3840],
    groups: [6], luts: 99959, throughput: 3906.25,
    corrected: { luts: 99959, throughput: 12500 },
  },
  {
    architecture: network([
      [1, 3, 64, 2, 1, 2, 1, 6, 2, 0],
      [5, 1, 48, 2, 3, 2, 2, 0, 0, 1],
      [1, 7, 36, 2, 3, 1, 2, 3, 1, 4],
      [1, 1, 36, 2, 3, 1, 0, 6, 0, 6],
      [3, 7, 24, 2, 1, 2, 3, 5, 2, 3],
      [3, 7, 64, 2, 3, 2, 3, 4, 3, 1],
    ]),
    tiles: [[3, 64], [64, 48], [48, 36], [18, 36], [36, 24], [24, 64]],
    layerLuts: [3072, 30912, 43560, 21204, 10680, 53056],
    layerCycles: [306, 5120, 2352, 72, 5292, 3528],
    groups: [4, 2], luts: 98748, throughput: 9604.302727621975,
    corrected: { luts: 99909, throughput: 30637.25 },
  },
];
