/** Dividing a space among miners: Algorithm 1, the paper's own nine subspaces, or parts that cover it and do not overlap. */
import { HYPERPARAMETERS, type Space } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { createRandom, type Random } from "../protocol/random.ts";
import { usableChoices } from "./boxes.ts";
import { decompose } from "./decomposition.ts";
import { spaceByName, SPACES, type SearchSpace } from "./spaces.ts";

export const PARTITION_NAMES = ["random-subsets", "paper", "disjoint"] as const;
export type PartitionName = (typeof PARTITION_NAMES)[number];

export const MAX_MINERS = 10_000;
export const PAPER_SUBSPACES = ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"] as const;

export interface PartitionOptions {
  /** the space to divide */
  readonly space: Space;
  /** layers of a network, 1 … 64 */
  readonly depth: number;
  /** number of parts, 1 … 10,000 */
  readonly miners: number;
  readonly seed: number;
  /** `disjoint` only: for every miner a number of 0 or more to which its share is in proportion; equal without */
  readonly weights?: readonly number[];
}

/**
 * One part of the space for every miner.
 *
 * - `random-subsets`: Algorithm 1; parts overlap and need not cover the space.
 * - `paper`: S1 … S9, of which miner i (from 0) gets number i mod 9. They are what the paper used for the full space,
 *   verbatim: 32 and 48 filters (S1, S2, S7, S8) stand outside it.
 * - `disjoint`: for every miner a list of boxes, see {@link decompose}. Lists are empty for weights of 0, and for
 *   some of the miners where there are more of them than architectures.
 * @throws PonasError bad-input where an option is out of range, the space is empty, `paper` is to divide a space that
 *   does not contain the full one, or weights are given to a strategy that has none
 */
export function createPartition(strategy: PartitionName, options: PartitionOptions): SearchSpace[] {
  const { space, depth, miners, seed } = checked(strategy, options);
  if (strategy === "random-subsets") return randomSubsets(space, miners, seed);
  if (strategy === "paper") return paperSubspaces(space, miners);
  return decompose(space, depth, options.weights ?? Array<number>(miners).fill(1), createRandom(seed));
}

function checked(strategy: PartitionName, options: PartitionOptions): PartitionOptions {
  const { space, depth, miners, weights } = options;
  const wholeWithin = (value: number, most: number): boolean => Number.isInteger(value) && value >= 1 && value <= most;
  if (!wholeWithin(miners, MAX_MINERS))
    throw refusal(`A space is divided among 1 to ${MAX_MINERS} miners, not ${miners}.`);
  if (!wholeWithin(depth, 64)) throw refusal(`A network has 1 to 64 layers, not ${depth}.`);
  const unusable = HYPERPARAMETERS.find((name) => usableChoices(space, name).length === 0);
  if (unusable !== undefined) throw refusal(`The space has no usable choice of ${unusable}.`);
  if (weights === undefined) return options;
  if (strategy !== "disjoint") throw refusal(`The strategy ${strategy} takes no weights; only disjoint does.`);
  if (weights.length !== miners) throw refusal(`There are ${weights.length} weights for ${miners} miners.`);
  const wrong = weights.findIndex((weight) => !Number.isFinite(weight) || weight < 0);
  if (wrong >= 0) throw refusal(`Weight ${wrong + 1} is ${weights[wrong]}, but a weight is a number of 0 or more.`);
  if (weights.every((weight) => weight === 0)) throw refusal("All weights are 0, so nobody would get the space.");
  return options;
}

const refusal = (sentence: string): PonasError => new PonasError("bad-input", sentence);

/**
 * Algorithm 1 of the paper: for each miner, for each of the ten lists, one of its subsets, drawn uniformly. The empty
 * subset is left out, since nothing can be chosen from it, and so are strides of 0. Nothing promises that subspaces
 * cover the space or that they do not overlap.
 * @param miners number of subspaces, 1 or more
 */
export function randomSubsets(space: Space, miners: number, seed: number): Space[] {
  const random = createRandom(seed);
  const lists = HYPERPARAMETERS.map((name) => [name, usableChoices(space, name)] as const);
  return Array.from(
    { length: miners },
    () => Object.fromEntries(lists.map(([name, list]) => [name, nonEmptySubset(list, random)])) as Space,
  );
}

/** Each non-empty subset with equal probability, in the list's order. */
function nonEmptySubset(list: readonly number[], random: Random): number[] {
  if (list.length === 0) throw new RangeError("a hyperparameter has no choices");
  for (;;) {
    const subset = list.filter(() => random.integer(2) === 1);
    if (subset.length > 0) return subset;
  }
}

function paperSubspaces(space: Space, miners: number): Space[] {
  const narrower = HYPERPARAMETERS.find((name) => SPACES.full[name].some((choice) => !space[name].includes(choice)));
  if (narrower !== undefined) {
    throw new PonasError(
      "bad-input",
      `The paper's subspaces divide the full space, but this space lacks choices of ${narrower}.`,
      { cure: "divide it by random-subsets or disjoint" },
    );
  }
  return Array.from({ length: miners }, (_, i) => spaceByName(PAPER_SUBSPACES[i % PAPER_SUBSPACES.length]!));
}
