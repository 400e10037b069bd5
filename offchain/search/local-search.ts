/** Local search (White, Nolen & Savani 2021) for spaces whose neighbourhoods are larger than the budget. */
import { z } from "zod";

import { parseWith, type Architecture } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import { keyOf, keySchema, memberOf, randomStateSchema, rewardSchema, valuesOf, valuesSchema } from "./decisions.ts";
import { neighbours, sampleArchitecture } from "./spaces.ts";
import type { Strategy, StrategyOptions } from "./strategy.ts";

export interface LocalSearchTuning {
  /** random networks of which the best is where a climb begins */
  readonly initial: number;
  /** trained neighbours in a row without progress after which another climb begins, where there are so many */
  readonly patience: number;
}

/**
 * For budgets of about 100 trials. On the tests' stand-in for training (4 spaces, 100 seeds) 15 random networks are
 * better than the original's 10, since most of a wide space learns nothing, and than 30, which leave too little to
 * climb. A climb of 60 decisions is hardly ever stuck within such a budget: the patience is for longer searches.
 */
const DEFAULT_LOCAL_SEARCH: LocalSearchTuning = { initial: 15, patience: 100 };

const WHAT = "The state of the local search";
/** Proposals without a result that are remembered: more than a pool has trials of one search under way. */
const MAX_PENDING = 256;

const stateSchema = z.strictObject({
  random: randomStateSchema,
  centre: z.strictObject({ values: valuesSchema, reward: rewardSchema }).nullable(),
  best: rewardSchema,
  started: z.int().min(0),
  order: randomStateSchema,
  tried: z.int().min(0),
  fruitless: z.int().min(0),
  pending: z.array(keySchema).max(MAX_PENDING),
});

/**
 * Climbs from the best of some random networks: neighbours in random order, and the first one that is no worse is the
 * next centre (the original looks at all neighbours first, which at 60 decisions takes hundreds of trials). Stuck, it
 * begins anew elsewhere. A result that was not asked for in this climb becomes the centre where it beats all before it.
 * @throws PonasError bad-input where the state is not one of a local search in this space
 */
export function createLocalSearch(
  { template, space, seed, state }: StrategyOptions,
  { initial, patience }: LocalSearchTuning = DEFAULT_LOCAL_SEARCH,
): Strategy {
  const saved =
    state === undefined
      ? { random: seed, centre: null, best: 0, started: 0, order: 0, tried: 0, fruitless: 0, pending: [] }
      : parseWith(stateSchema, state, WHAT);
  const random = createRandom(saved.random);
  /** what this climb has asked for and not heard of */
  const pending = new Set(saved.pending);
  let { best, started, order, tried, fruitless } = saved;
  let centre: { architecture: Architecture; reward: number } | null = null;
  let around: Architecture[] = [];
  if (saved.centre !== null) {
    moveTo({ architecture: memberOf(space, template, saved.centre.values, WHAT), reward: saved.centre.reward });
  }

  /** Neighbours come in an order that one number stands for, so that a state holds the number and not the neighbours. */
  function moveTo(next: NonNullable<typeof centre>): void {
    centre = next;
    around = createRandom(order).shuffle(neighbours(next.architecture, space));
  }

  function propose(): Architecture {
    if (centre !== null && started >= initial) {
      if (tried < around.length && fruitless < patience) return around[tried++]!;
      centre = null;
      started = 0;
      tried = 0;
      fruitless = 0;
      pending.clear();
    }
    started++;
    return sampleArchitecture(template, space, random);
  }

  return {
    ask() {
      const architecture = propose();
      pending.add(keyOf(architecture));
      if (pending.size > MAX_PENDING) pending.delete(pending.values().next().value!);
      return architecture;
    },
    tell(architecture, reward) {
      const own = pending.delete(keyOf(architecture));
      if (reward === 0) {
        // Not feasible: a start from it would be none.
        if (own && tried === 0) started = Math.max(0, started - 1);
        return;
      }
      if (own ? centre === null || reward >= centre.reward : reward > best) {
        order = random.integer(2 ** 32);
        tried = 0;
        fruitless = 0;
        moveTo({ architecture, reward });
      } else if (own) {
        fruitless++;
      }
      best = Math.max(best, reward);
    },
    save: () => ({
      random: random.state(),
      centre: centre === null ? null : { values: valuesOf(centre.architecture), reward: centre.reward },
      best,
      started,
      order,
      tried,
      fruitless,
      pending: [...pending],
    }),
  };
}
