/**
 * Search by an RNN controller trained with REINFORCE (Zoph & Le 2017), as the paper's authors run it: batches of 5
 * episodes, plain gradient ascent, no entropy bonus, no clipping. Loss: the sum, not the mean, over a batch and all its decisions
 * of −log π · (reward − baseline).
 */
import { z } from "zod";

import { parseWith } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { createRandom } from "../protocol/random.ts";
import { createController, type Episode } from "./controller.ts";
import { architectureOf, createDecisions, keyOf, keySchema, randomStateSchema } from "./decisions.ts";
import type { Strategy, StrategyOptions } from "./strategy.ts";

const BATCH = 5;
const LEARNING_RATE = 0.2;
/** rewards until the baseline, their mean, becomes an exponential moving average of factor 2 / period */
const PERIOD = 20;

const WHAT = "The state of the controller";
/** Episodes without a reward that are remembered: more than a pool has trials of one search under way. */
const MAX_PENDING = 256;

const episodeSchema = z.strictObject({
  start: randomStateSchema,
  actions: z.array(z.int().min(0).max(65535)).max(640),
});
const stateSchema = z.strictObject({
  random: randomStateSchema,
  start: randomStateSchema,
  seen: z.int().min(0).max(PERIOD),
  baseline: z.number().min(0).max(1),
  pending: z.array(z.tuple([keySchema, episodeSchema])).max(MAX_PENDING),
  batch: z.array(episodeSchema.extend({ advantage: z.number().min(-1).max(1) })).max(BATCH - 1),
  /** float32, little-endian, base64 */
  parameters: z.string().max(2 ** 27),
});

/**
 * Learns on-policy: from the episodes that it proposed, and from nothing else that it is told of. One that was
 * proposed before an update and comes back after it counts with the policy of now, with no correction: with w trials
 * under way it is at most about w/5 updates old.
 * @throws PonasError bad-input where the state is not one of a controller of this space
 */
export function createRnnReinforce({ template, space, seed, state }: StrategyOptions): Strategy {
  const saved = state === undefined ? undefined : parseWith(stateSchema, state, WHAT);
  const decisions = createDecisions(space, template.depth);
  const random = createRandom(saved?.random ?? seed);
  const controller = createController(decisions, saved === undefined ? random : createRandom(0));
  const { parameters } = controller;
  const gradient = new Float64Array(parameters.length);
  for (const [i, value] of (saved === undefined ? parameters : parametersFrom(saved.parameters)).entries()) {
    parameters[i] = Math.fround(value); // as the state holds them
  }
  /** all sequences between two updates begin with the same states and first input, drawn anew after each */
  let start = saved?.start ?? random.integer(2 ** 32);
  let seen = saved?.seen ?? 0;
  let baseline = saved?.baseline ?? 0;
  const pending = new Map<string, Episode>(saved?.pending);
  const batch: (Episode & { advantage: number })[] = [...(saved?.batch ?? [])];
  for (const { actions } of [...pending.values(), ...batch]) {
    const { choices } = decisions;
    if (actions.length !== choices.length || actions.some((action, at) => action >= choices[at]!.length)) {
      throw new PonasError("bad-input", `${WHAT} holds an episode that is not of the space.`);
    }
  }

  function parametersFrom(base64: string): Float32Array {
    const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
    const values = bytes.length === 4 * parameters.length ? new Float32Array(bytes.buffer) : undefined;
    if (values?.every(Number.isFinite) !== true) {
      throw new PonasError("bad-input", `${WHAT} does not hold ${parameters.length} numbers, as this space needs.`);
    }
    return values;
  }

  function learn(): void {
    gradient.fill(0);
    for (const episode of batch) controller.logProbability(episode, gradient, episode.advantage);
    for (let i = 0; i < parameters.length; i++) {
      parameters[i] = Math.fround(parameters[i]! + LEARNING_RATE * gradient[i]!);
    }
    batch.length = 0;
    start = random.integer(2 ** 32);
  }

  return {
    ask() {
      const episode = controller.sample(start, random);
      const values = episode.actions.map((action, decision) => decisions.choices[decision]![action]!);
      const architecture = architectureOf(template, values);
      pending.set(keyOf(architecture), episode);
      if (pending.size > MAX_PENDING) pending.delete(pending.keys().next().value!);
      return architecture;
    },
    tell(architecture, reward) {
      const key = keyOf(architecture);
      const episode = pending.get(key);
      if (episode === undefined) return;
      pending.delete(key);
      batch.push({ ...episode, advantage: reward - baseline });
      seen = Math.min(seen + 1, PERIOD);
      baseline += (reward - baseline) * (seen < PERIOD ? 1 / seen : 2 / PERIOD);
      if (batch.length === BATCH) learn();
    },
    save: () => ({
      random: random.state(),
      start,
      seen,
      baseline,
      pending: [...pending],
      batch,
      parameters: Buffer.from(Float32Array.from(parameters).buffer).toString("base64"),
    }),
  };
}
