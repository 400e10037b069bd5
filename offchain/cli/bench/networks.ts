/** The networks that are timed: fixed once and for all, so that figures of two machines or two years compare. */
import { HYPERPARAMETERS, type Architecture, type Layer } from "../../protocol/architecture.ts";

export interface BenchNetwork {
  readonly name: string;
  /** what it stands for */
  readonly note: string;
  readonly architecture: Architecture;
}

/** A layer's ten hyperparameters in the order of {@link HYPERPARAMETERS}. */
type Row = readonly [number, number, number, number, number, number, number, number, number, number];

const FLATTEN: Architecture["head"] = { pool: "flatten", hidden: 0 };
const GLOBAL_SUM: Architecture["head"] = { pool: "global-sum", hidden: 0 };
const GREY: Architecture["input"] = [28, 28, 1];
const COLOUR: Architecture["input"] = [32, 32, 3];

function network(
  name: string,
  note: string,
  input: Architecture["input"],
  head: Architecture["head"],
  rows: readonly Row[],
): BenchNetwork {
  const layers = rows.map((row) => Object.fromEntries(HYPERPARAMETERS.map((key, i) => [key, row[i]!])) as Layer);
  return { name, note, architecture: { input, classes: 10, layers, head } };
}

/** 2.7 million multiply–accumulates an image. */
export const SMALL = network("small", "28×28, strides early", GREY, FLATTEN, [
  [3, 3, 24, 2, 2, 1, 2, 5, 2, 6],
  [3, 3, 36, 1, 1, 2, 2, 5, 2, 6],
  [3, 3, 36, 1, 1, 1, 2, 5, 2, 6],
  [1, 3, 36, 1, 1, 2, 2, 5, 2, 6],
  [3, 3, 48, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 48, 2, 2, 1, 2, 5, 2, 6],
]);

/** 18 million. */
export const MEDIUM = network("medium", "28×28, full size in the first layer", GREY, FLATTEN, [
  [5, 5, 36, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 48, 2, 2, 1, 2, 5, 2, 6],
  [5, 3, 48, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 64, 1, 1, 2, 2, 5, 2, 6],
  [3, 3, 64, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 64, 2, 2, 1, 2, 5, 2, 6],
]);

/** 55 million. */
export const CIFAR = network("cifar", "32×32×3, the size of CIFAR-10's images", COLOUR, FLATTEN, [
  [3, 3, 48, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 48, 1, 1, 2, 2, 5, 2, 6],
  [5, 5, 64, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 64, 1, 1, 2, 2, 5, 2, 6],
  [3, 3, 64, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 64, 2, 2, 1, 2, 5, 2, 6],
]);

/** The small network in formats whose accumulators pass 2^24: float32 alone is not exact there. */
export const SPLIT = network("split", "the small network with 11-bit activations and 12-bit weights", GREY, FLATTEN, [
  [3, 3, 24, 2, 2, 1, 3, 8, 2, 10],
  [3, 3, 36, 1, 1, 2, 3, 8, 2, 10],
  [3, 3, 36, 1, 1, 1, 3, 8, 2, 10],
  [1, 3, 36, 1, 1, 2, 3, 8, 2, 10],
  [3, 3, 48, 1, 1, 1, 3, 8, 2, 10],
  [3, 3, 48, 2, 2, 1, 3, 8, 2, 10],
]);

const TINY = network("tiny", "a few hundred thousand multiplications, sums over positions", GREY, GLOBAL_SUM, [
  [3, 3, 12, 2, 2, 1, 2, 5, 2, 6],
  [3, 3, 12, 2, 2, 1, 2, 5, 2, 6],
  [3, 3, 24, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 24, 2, 2, 1, 2, 5, 2, 6],
]);

const WIDE = network("wide", "128 filters in every layer, sums over positions", GREY, GLOBAL_SUM, [
  [3, 3, 128, 2, 2, 1, 2, 5, 2, 6],
  [3, 3, 128, 1, 1, 2, 2, 5, 2, 6],
  [3, 3, 128, 1, 1, 1, 2, 5, 2, 6],
  [3, 3, 128, 2, 2, 1, 2, 5, 2, 6],
]);

const HIDDEN = { pool: "flatten", hidden: 64, hiddenActIntBits: 3, hiddenActFracBits: 5 } as const;

/** The ten networks on which evaluating is weighed against training; five were drawn from the paper's spaces. */
export const TEN_NETWORKS: readonly BenchNetwork[] = [
  SMALL,
  MEDIUM,
  CIFAR,
  TINY,
  WIDE,
  network("S1 drawn", "large: 70 million", COLOUR, FLATTEN, [
    [1, 7, 36, 1, 1, 1, 1, 4, 2, 5],
    [5, 7, 48, 1, 1, 2, 1, 5, 3, 3],
    [5, 5, 24, 2, 1, 1, 2, 4, 4, 2],
    [7, 3, 48, 1, 1, 2, 1, 1, 2, 2],
    [1, 5, 24, 2, 2, 1, 1, 2, 1, 5],
    [7, 3, 64, 3, 2, 2, 2, 1, 4, 3],
  ]),
  network("S2 drawn", "pools and strides down to 1×1 after four layers", GREY, FLATTEN, [
    [1, 5, 64, 3, 2, 1, 2, 4, 2, 0],
    [5, 1, 48, 1, 2, 2, 2, 5, 3, 5],
    [1, 3, 64, 2, 3, 2, 3, 4, 3, 5],
    [1, 3, 64, 2, 2, 2, 0, 6, 1, 5],
    [7, 1, 36, 1, 1, 1, 1, 0, 2, 4],
    [5, 3, 36, 1, 3, 2, 2, 4, 3, 0],
  ]),
  network("S4 drawn", "long kernels of 128 filters on narrow tensors", COLOUR, FLATTEN, [
    [9, 3, 128, 1, 1, 1, 2, 5, 2, 6],
    [5, 3, 24, 1, 5, 1, 3, 6, 3, 6],
    [1, 9, 4, 1, 5, 1, 2, 5, 2, 5],
    [1, 5, 64, 4, 1, 1, 3, 4, 3, 5],
    [9, 1, 128, 1, 2, 1, 3, 5, 3, 5],
    [1, 5, 4, 1, 2, 1, 2, 6, 2, 4],
  ]),
  network("S9 drawn", "a hidden layer of 64 units", GREY, HIDDEN, [
    [1, 3, 36, 1, 3, 1, 2, 5, 3, 6],
    [1, 5, 36, 1, 2, 1, 2, 5, 3, 5],
    [3, 5, 24, 1, 3, 1, 3, 5, 2, 6],
    [5, 1, 24, 2, 3, 1, 2, 5, 2, 6],
    [5, 3, 36, 3, 2, 1, 2, 5, 3, 6],
    [5, 3, 24, 1, 2, 1, 3, 6, 2, 5],
  ]),
  network("full drawn", "deep strides, kernels of up to 81 positions", COLOUR, FLATTEN, [
    [1, 3, 12, 3, 3, 1, 1, 5, 0, 3],
    [9, 3, 36, 3, 1, 1, 2, 5, 1, 6],
    [9, 1, 12, 4, 3, 1, 2, 2, 3, 6],
    [7, 9, 64, 2, 2, 1, 2, 4, 3, 5],
    [9, 9, 64, 5, 1, 1, 1, 2, 3, 3],
    [1, 3, 36, 1, 3, 2, 3, 4, 1, 2],
  ]),
];
