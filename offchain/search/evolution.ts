/** Regularised evolution (Real, Aggarwal, Huang & Le 2019, Algorithm 1), asynchronous. */
import { z } from "zod";

import { parseWith, type Architecture } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import { memberOf, randomStateSchema, rewardSchema, valuesOf, valuesSchema } from "./decisions.ts";
import { mutate, sampleArchitecture } from "./spaces.ts";
import type { Strategy, StrategyOptions } from "./strategy.ts";

export interface EvolutionTuning {
  /** networks that are alive: the newest ones */
  readonly population: number;
  /** how many of them, drawn with replacement, compete to be a parent */
  readonly tournament: number;
}

/**
 * For budgets of about 100 trials. The original's 100 and 25 are for 20,000: its first generation alone would use this
 * budget up. On the tests' stand-in for training (4 spaces, 100 seeds) populations of 15 to 25 are equal within noise,
 * tournaments as large as the population better than smaller ones.
 */
const DEFAULT_EVOLUTION: EvolutionTuning = { population: 20, tournament: 20 };

const WHAT = "The state of the evolution";
const MAX_POPULATION = 1000;

const stateSchema = z.strictObject({
  random: randomStateSchema,
  started: z.int().min(0),
  population: z.array(z.strictObject({ values: valuesSchema, reward: rewardSchema })).max(MAX_POPULATION),
});

interface Individual {
  readonly architecture: Architecture;
  readonly reward: number;
}

/**
 * Starts with random networks; then the best of a random tournament has one of its decisions changed. The oldest of
 * the population dies, not the worst, so that what once was lucky does not stay. A result that was not asked for joins
 * the population like any other; a reward of 0, that of a network that is not feasible, does not.
 * @throws PonasError bad-input where the state is not one of an evolution in this space
 */
export function createEvolution(
  { template, space, seed, state }: StrategyOptions,
  { population: size, tournament }: EvolutionTuning = DEFAULT_EVOLUTION,
): Strategy {
  const saved =
    state === undefined ? { random: seed, started: 0, population: [] } : parseWith(stateSchema, state, WHAT);
  const random = createRandom(saved.random);
  const population: Individual[] = saved.population.map(({ values, reward }) => ({
    architecture: memberOf(space, template, values, WHAT),
    reward,
  }));
  /** random networks that were asked for and not refused: as many as the population, however late their rewards come */
  let { started } = saved;

  function parent(): Architecture {
    let best = random.choice(population);
    for (let i = 1; i < tournament; i++) {
      const rival = random.choice(population);
      if (rival.reward > best.reward) best = rival;
    }
    return best.architecture;
  }

  return {
    ask() {
      if (population.length > 0 && Math.max(started, population.length) >= size) {
        const child = mutate(parent(), space, random);
        if (child !== null) return child;
      }
      started++;
      return sampleArchitecture(template, space, random);
    },
    tell(architecture, reward) {
      if (reward === 0) {
        started = Math.max(0, started - 1);
        return;
      }
      population.push({ architecture, reward });
      if (population.length > size) population.shift();
    },
    save: () => ({
      random: random.state(),
      started,
      population: population.map(({ architecture, reward }) => ({ values: valuesOf(architecture), reward })),
    }),
  };
}
