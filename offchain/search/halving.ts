/**
 * Successive halving (Jamieson & Talwalkar 2016): many networks are trained a little, and only the best of them go on.
 * All networks of a search are one bracket.
 */
import { PonasError } from "../protocol/errors.ts";

export interface Rung {
  /** networks that are trained at this rung */
  readonly networks: number;
  /** epochs that a network has been trained for in all, when this rung is done with it */
  readonly epochs: number;
  /** epochs of this rung's training alone, which starts from the weights of the rung before */
  readonly added: number;
}

/**
 * The rungs of a search: ⌊E/η^R⌋, …, ⌊E/η⌋, E epochs with the largest R that leaves the first at least one; n networks at
 * the first, and ⌊1/η⌋ of them, at least one, at each further one. Without η there is one rung of E epochs.
 * @param networks how many are proposed, 1 or more
 * @param epochs what a network that gets to the end is trained for
 * @param eta 2 or more
 * @throws PonasError usage where the epochs do not allow two rungs
 */
export function rungsOf({ networks, epochs, eta }: { networks: number; epochs: number; eta?: number }): Rung[] {
  if (eta === undefined) return [{ networks, epochs, added: epochs }];
  if (epochs < eta) {
    throw new PonasError("usage", `Halving by ${eta} needs at least ${eta} epochs, not ${epochs}.`);
  }
  const budgets: number[] = [];
  for (let budget = epochs; budget >= 1; budget = Math.floor(budget / eta)) budgets.unshift(budget);
  let kept = networks;
  return budgets.map((budget, rung) => {
    if (rung > 0) kept = Math.max(1, Math.floor(kept / eta));
    return { networks: kept, epochs: budget, added: budget - (budgets[rung - 1] ?? 0) };
  });
}

/** Epochs of training that the rungs cost together. */
export function epochBudget(rungs: readonly Rung[]): number {
  return rungs.reduce((sum, { networks, added }) => sum + networks * added, 0);
}
