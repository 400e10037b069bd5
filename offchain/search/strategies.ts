/** The search strategies by name. */
import { PonasError } from "../protocol/errors.ts";
import { createAdmission, type AdmittedStrategy, type CreateInner } from "./admission.ts";
import { createEvolution } from "./evolution.ts";
import { createLocalSearch } from "./local-search.ts";
import { createRandomSearch } from "./random-search.ts";
import { createRnnReinforce } from "./rnn-reinforce.ts";
import type { StrategyOptions } from "./strategy.ts";

const CREATE = {
  "rnn-reinforce": createRnnReinforce,
  random: createRandomSearch,
  evolution: createEvolution,
  "local-search": createLocalSearch,
} as const satisfies Record<string, CreateInner>;

export type StrategyName = keyof typeof CREATE;
export const STRATEGY_NAMES = Object.keys(CREATE) as StrategyName[];
/** What found the best networks within 100 trials on real training (docs/experiments/strategies). */
export const DEFAULT_STRATEGY: StrategyName = "evolution";

/**
 * A search of the space, new or from its saved state, that proposes nothing twice and nothing that cannot learn or
 * stands outside the limits.
 * @throws PonasError bad-input where the state is not one of this strategy in this space
 */
export function createStrategy(name: StrategyName, options: StrategyOptions): AdmittedStrategy {
  return createAdmission(name, CREATE[name], options);
}

/**
 * `createStrategy`, but a new search where the state is of no use: it is another strategy's, or damaged.
 * @param afresh hears why, as a sentence
 */
export function resumeStrategy(
  name: StrategyName,
  options: StrategyOptions,
  afresh: (reason: string) => void,
): AdmittedStrategy {
  if (options.state === undefined) return createStrategy(name, options);
  try {
    return createStrategy(name, options);
  } catch (error) {
    if (!(error instanceof PonasError) || error.code !== "bad-input") throw error;
    const fresh = createStrategy(name, { ...options, state: undefined });
    afresh(error.message);
    return fresh;
  }
}
