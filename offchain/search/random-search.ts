import { z } from "zod";

import { parseWith } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import { randomStateSchema } from "./decisions.ts";
import { sampleArchitecture } from "./spaces.ts";
import type { Strategy, StrategyOptions } from "./strategy.ts";

const stateSchema = z.strictObject({ random: randomStateSchema });

/** Uniform random search. @throws PonasError bad-input where the state is not one of a random search */
export function createRandomSearch({ template, space, seed, state }: StrategyOptions): Strategy {
  const random = createRandom(
    state === undefined ? seed : parseWith(stateSchema, state, "The state of the random search").random,
  );
  return {
    ask: () => sampleArchitecture(template, space, random),
    // Random search learns nothing from rewards.
    tell: () => undefined,
    save: () => ({ random: random.state() }),
  };
}
