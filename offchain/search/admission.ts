/** What stands between a strategy and the trainers: nothing is proposed twice, and nothing that needs no training. */
import { z } from "zod";

import { isBounded } from "../evaluation/hardware.ts";
import { parseWith, type Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { createRandom } from "../protocol/random.ts";
import { architectureOf, keyOf, keySchema, randomStateSchema, rewardSchema, valuesOf } from "./decisions.ts";
import { admit } from "./feasibility.ts";
import { isMember, neighbours, sampleArchitecture } from "./spaces.ts";
import type { Strategy, StrategyOptions } from "./strategy.ts";

export interface SearchCounts {
  /** proposals handed out */
  readonly asked: number;
  /** networks whose reward is known, with those that were not asked for */
  readonly told: number;
  /** the strategy's proposals that were answered with reward 0, since they need no training to be judged */
  readonly rejected: number;
  /** the strategy's proposals that had been handed out before */
  readonly duplicates: number;
}

export interface AdmittedStrategy extends Strategy {
  counts(): SearchCounts;
}

/** A strategy by itself, which may propose anything of its space at any time. */
export type CreateInner = (options: Pick<StrategyOptions, "template" | "space" | "seed" | "state">) => Strategy;

/** Networks that are not proposed again: more than one search makes; the oldest are forgotten first. */
const MAX_KNOWN = 8192;
/** What the strategy may propose for one `ask`; refusals teach a controller something, so it gets several batches. */
const MAX_PROPOSALS = 128;
/** Of these, known networks: it has converged then. */
const MAX_DUPLICATES = 32;
/** Draws before a space is taken to be used up: about a second. */
const MAX_DRAWS = 10_000;
/** Tilings that are searched for one `ask` after the strategy's own proposals, at up to 10 ms each. */
const MAX_TILINGS = 1000;

const WHAT = "The search's state";

const count = z.int().min(0);
const stateSchema = z.strictObject({
  strategy: z.string().max(40),
  inner: z.looseObject({}),
  random: randomStateSchema,
  known: z.array(z.tuple([keySchema, rewardSchema.nullable()])).max(MAX_KNOWN),
  counts: z.strictObject({ asked: count, told: count, rejected: count, duplicates: count }),
});

/**
 * Wraps a strategy. Its proposals that are not feasible are answered with reward 0, known ones with the reward that is
 * known (one that is still being trained is passed over). Where it proposes known ones only, an unknown neighbour of the
 * last stands in, and where it has none, or nothing feasible comes, a random network; rewards of those are told like
 * anybody's. The first reward of a network counts; later ones are not passed on. What was asked for is never proposed
 * again, whether it is told of or not: after a crash, whoever asked has it trained from its own records, or loses it.
 *
 * One `ask` takes at most 128 proposals of the strategy, one neighbourhood and 10,000 draws; where the hardware is
 * bounded, at most 1,128 searches for a tiling.
 * @throws PonasError bad-input where the state is not one of this strategy in this space
 */
export function createAdmission(name: string, createInner: CreateInner, options: StrategyOptions): AdmittedStrategy {
  const { template, space, seed, maxMacs, hardware, state } = options;
  const limits = { maxMacs, hardware };
  const saved = state === undefined ? undefined : parseWith(stateSchema, state, WHAT);
  if (saved !== undefined && saved.strategy !== name) {
    throw new PonasError("bad-input", `${WHAT} is one of ${saved.strategy}, not of ${name}.`);
  }
  const inner = createInner({ template, space, seed, state: saved?.inner });
  const random = createRandom(saved?.random ?? `${seed} admission`);
  /** rewards by key, in the order of proposing; null while there is none */
  const known = new Map<string, number | null>(saved?.known);
  const counts = { ...(saved?.counts ?? { asked: 0, told: 0, rejected: 0, duplicates: 0 }) };

  function remember(key: string, reward: number | null): void {
    known.set(key, reward);
    if (known.size > MAX_KNOWN) known.delete(known.keys().next().value!);
  }

  /** The strategy's own next choice, or null and the known network that it is stuck with, if any. */
  function propose(): { admitted: Architecture | null; stuckWith: Architecture | null } {
    let duplicates = 0;
    for (let proposal = 0; proposal < MAX_PROPOSALS; proposal++) {
      const architecture = inner.ask();
      const reward = known.get(keyOf(architecture));
      if (reward === undefined) {
        const { architecture: admitted } = admit(architecture, limits);
        if (admitted !== null) return { admitted, stuckWith: null };
        counts.rejected++;
        inner.tell(architecture, 0);
      } else {
        counts.duplicates++;
        if (reward !== null) inner.tell(architecture, reward);
        if (++duplicates === MAX_DUPLICATES) return { admitted: null, stuckWith: architecture };
      }
    }
    return { admitted: null, stuckWith: null };
  }

  /** An unknown feasible network near the known one, else any. */
  function standIn(stuckWith: Architecture | null): Architecture {
    const refused = new Set<string>();
    let tilings = hardware !== undefined && isBounded(hardware) ? MAX_TILINGS : Infinity;
    const consider = (architecture: Architecture): Architecture | null => {
      const key = keyOf(architecture);
      if (known.has(key) || refused.has(key) || tilings === 0) return null;
      tilings--;
      const { architecture: admitted } = admit(architecture, limits);
      if (admitted === null) refused.add(key);
      return admitted;
    };
    if (stuckWith !== null) {
      for (const neighbour of random.shuffle(neighbours(stuckWith, space))) {
        const admitted = consider(neighbour);
        if (admitted !== null) return admitted;
      }
    }
    let draws = 0;
    while (draws < MAX_DRAWS && tilings > 0) {
      draws++;
      const admitted = consider(sampleArchitecture(template, space, random));
      if (admitted !== null) return admitted;
    }
    throw new PonasError(
      "not-found",
      `${draws} draws from the space gave no new network within the limits, after ${counts.asked} proposals.`,
      { cure: "search a larger space or allow networks that cost more" },
    );
  }

  return {
    ask() {
      const { admitted, stuckWith } = propose();
      const architecture = admitted ?? standIn(stuckWith);
      remember(keyOf(architecture), null);
      counts.asked++;
      return architecture;
    },
    tell(told, reward) {
      if (!rewardSchema.safeParse(reward).success) {
        throw new PonasError("bad-input", `The reward of a network is a number from 0 to 1, not ${reward}.`);
      }
      if (told.layers.length !== template.depth || !isMember(told, space)) {
        throw new PonasError("bad-input", "A reward was told of a network that is not of the search's space.");
      }
      const architecture = architectureOf(template, valuesOf(told));
      const key = keyOf(architecture);
      if (typeof known.get(key) === "number") return;
      remember(key, reward);
      counts.told++;
      inner.tell(architecture, reward);
    },
    save: () => ({
      strategy: name,
      inner: inner.save(),
      random: random.state(),
      known: [...known],
      counts: { ...counts },
    }),
    counts: () => ({ ...counts }),
  };
}
