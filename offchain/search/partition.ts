/** Dividing a space among miners. */
import { HYPERPARAMETERS, type Space } from "../protocol/architecture.ts";
import { createRandom, type Random } from "../protocol/random.ts";

/**
 * Algorithm 1 of the paper: for each miner, for each of the ten lists, one of its subsets, drawn uniformly. The empty
 * subset is left out, since nothing can be chosen from it. Nothing promises that subspaces cover the space or that
 * they do not overlap.
 * @param miners number of subspaces, 1 or more
 */
export function randomSubsets(space: Space, miners: number, seed: number): Space[] {
  const random = createRandom(seed);
  return Array.from(
    { length: miners },
    () => Object.fromEntries(HYPERPARAMETERS.map((name) => [name, nonEmptySubset(space[name], random)])) as Space,
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
