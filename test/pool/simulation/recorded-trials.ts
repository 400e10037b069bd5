/**
 * Rewards without training: those of the trials that were really trained for the comparison of strategies
 * (docs/experiments/strategies). The strategies are deterministic, so what they were told gives back what they asked
 * for; `recordTrials` does that once, and writes docs/experiments/pool/trials.csv.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import {
  HYPERPARAMETERS,
  templateSchema,
  type Architecture,
  type Template,
} from "../../../offchain/protocol/architecture.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { runInOrder } from "../../../offchain/search/in-order.ts";
import { spaceByName } from "../../../offchain/search/spaces.ts";
import { createStrategy, STRATEGY_NAMES } from "../../../offchain/search/strategies.ts";
import { trainingSettingsSchema } from "../../../offchain/training/settings.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SOURCE = join(ROOT, "docs/experiments/strategies/full-3.json");
export const TRIALS_FILE = join(ROOT, "docs/experiments/pool/trials.csv");

const recordSchema = z.object({
  dataset: z.object({ train: z.int(), validation: z.int(), test: z.int() }),
  space: z.string(),
  template: templateSchema,
  maxMacs: z.int(),
  settings: trainingSettingsSchema,
  episodes: z.int(),
  window: z.int(),
  runs: z.array(
    z.object({
      strategy: z.enum(STRATEGY_NAMES),
      seed: z.int(),
      correct: z.array(z.int()),
      best: z.object({ trial: z.int(), layers: z.array(z.array(z.int())), testCorrect: z.int() }),
    }),
  ),
});

/** What was recorded, and how it was trained. */
export const readRecord = () => recordSchema.parse(JSON.parse(readFileSync(SOURCE, "utf8")));

/** Each layer's ten hyperparameters as places in the space's lists, one digit each. */
function choicesOf({ layers }: Architecture, space: Readonly<Record<string, readonly number[]>>): string {
  return layers.map((layer) => HYPERPARAMETERS.map((name) => space[name]!.indexOf(layer[name])).join("")).join("");
}

/** The recorded trials as lines `choices,correct`, each architecture once. @throws where a run's best is not found again */
export async function recordTrials(): Promise<string> {
  const { space: name, template, maxMacs, episodes, window, runs } = readRecord();
  const space = spaceByName(name);
  const trials = new Map<string, number>();
  for (const { strategy: strategyName, seed, correct, best } of runs) {
    const strategy = createStrategy(strategyName, { template, space, seed, maxMacs });
    const asked: Architecture[] = [];
    let told = 0;
    await runInOrder({
      window,
      next: () => (asked.length < episodes ? strategy.ask() : null),
      run: (architecture) => {
        asked.push(architecture);
        return Promise.resolve();
      },
      done: (architecture) => {
        const reward = correct[told++]!;
        trials.set(choicesOf(architecture, space), reward);
        strategy.tell(architecture, reward / 2000);
      },
    });
    const found = asked[best.trial]!.layers.map((layer) => HYPERPARAMETERS.map((one) => layer[one]));
    if (JSON.stringify(found) !== JSON.stringify(best.layers)) {
      throw new Error(`${strategyName} with seed ${seed} asks for other networks than when it was recorded.`);
    }
  }
  return `choices,correct\n${[...trials].map(([choices, reward]) => `${choices},${reward}\n`).join("")}`;
}

export interface RecordedTrials {
  readonly template: Template;
  readonly trials: number;
  /**
   * Validation images right of a network after its training: as recorded; of one that was not recorded, as of the
   * recorded one that shares most of its thirty choices, of equals one drawn by the network and the seed.
   */
  correct(architecture: Architecture): number;
  /** The same of the test images: as many by the rate, with the chance of a sample of that size, drawn by the network. */
  testCorrect(architecture: Architecture): number;
}

export function readTrials(seed: number): RecordedTrials {
  const { space: name, template, dataset } = readRecord();
  const space = spaceByName(name);
  const width = HYPERPARAMETERS.length * template.depth;
  const lines = readFileSync(TRIALS_FILE, "utf8").trimEnd().split("\n").slice(1);
  const digits = new Uint8Array(lines.length * width);
  const rewards = new Int32Array(lines.length);
  const exact = new Map<string, number>();
  lines.forEach((line, at) => {
    const [choices, reward] = line.split(",") as [string, string];
    for (let i = 0; i < width; i++) digits[at * width + i] = choices.charCodeAt(i) - 48;
    rewards[at] = Number(reward);
    exact.set(choices, rewards[at]!);
  });
  const known = new Map<string, number>();

  function nearest(choices: string): number {
    const wanted = Uint8Array.from({ length: width }, (_, i) => choices.charCodeAt(i) - 48);
    let most = -1;
    let found: number[] = [];
    for (let at = 0, from = 0; at < lines.length; at++, from += width) {
      let same = 0;
      for (let i = 0; i < width; i++) if (digits[from + i] === wanted[i]) same++;
      if (same > most) {
        most = same;
        found = [at];
      } else if (same === most) found.push(at);
    }
    return rewards[createRandom(`${seed}/${choices}`).choice(found)]!;
  }

  function correct(architecture: Architecture): number {
    const choices = choicesOf(architecture, space);
    let reward = exact.get(choices) ?? known.get(choices);
    if (reward === undefined) known.set(choices, (reward = nearest(choices)));
    return reward;
  }

  return {
    template,
    trials: lines.length,
    correct,
    testCorrect(architecture) {
      const rate = correct(architecture) / dataset.validation;
      const noise = createRandom(`${seed}/test/${choicesOf(architecture, space)}`).normal();
      const spread = Math.sqrt(rate * (1 - rate) * dataset.test);
      return Math.min(dataset.test, Math.max(0, Math.round(rate * dataset.test + spread * noise)));
    },
  };
}
