import { createHash } from "node:crypto";

import { z } from "zod";

import { HYPERPARAMETERS, parseWith, type Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { createRandom } from "../protocol/random.ts";
import { hopelessness } from "./feasibility.ts";
import { sampleArchitecture } from "./spaces.ts";
import type { Strategy, StrategyOptions } from "./strategy.ts";

/** Draws before a space is taken to be used up: a tenth of a second at most. */
const MAX_DRAWS = 10_000;
/** Proposals that are remembered: 12 bytes each in the state, and more than one task's search makes. */
const MAX_REMEMBERED = 4096;

const stateSchema = z.strictObject({
  random: z.int().min(0).max(0xffffffff),
  proposed: z.array(z.string().regex(/^[0-9a-f]{12}$/)).max(MAX_REMEMBERED),
});

/** 48 bits of a hash: a collision, once in 10^7 searches, costs one proposal. */
function keyOf({ layers }: Architecture): string {
  const choices = layers.map((layer) => HYPERPARAMETERS.map((name) => layer[name]));
  return createHash("sha256").update(JSON.stringify(choices)).digest("hex").slice(0, 12);
}

/**
 * Uniform random search that proposes nothing twice and nothing that cannot learn or stands outside the limits.
 * @throws PonasError bad-input where the state is not one of a random search
 */
export function createRandomSearch({ template, space, seed, maxMacs, state }: StrategyOptions): Strategy {
  const saved =
    state === undefined ? { random: seed, proposed: [] } : parseWith(stateSchema, state, "The search's state");
  const random = createRandom(saved.random);
  const proposed = new Set(saved.proposed);
  return {
    ask: () => {
      for (let draw = 0; draw < MAX_DRAWS; draw++) {
        const architecture = sampleArchitecture(template, space, random);
        if (hopelessness(architecture, { maxMacs }) !== null) continue;
        const key = keyOf(architecture);
        if (proposed.has(key)) continue;
        proposed.add(key);
        if (proposed.size > MAX_REMEMBERED) proposed.delete(proposed.values().next().value!);
        return architecture;
      }
      throw new PonasError(
        "not-found",
        `${MAX_DRAWS} draws from the space gave no new network within the limits, after ${proposed.size} proposals.`,
        { cure: "search a larger space or allow more multiplications per image" },
      );
    },
    // Random search learns nothing from rewards.
    tell: () => undefined,
    save: () => ({ random: random.state(), proposed: [...proposed] }),
  };
}
