/** Searches whose trainings are made up: what a network gets follows from its layers, its seed and its epochs. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Space, Template } from "../../../offchain/protocol/architecture.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { openJournal } from "../../../offchain/search/journal.ts";
import { createModelFolder } from "../../../offchain/search/model-folder.ts";
import {
  runSearch,
  type SearchOptions,
  type SearchResult,
  type Train,
  type TrainingOrder,
  type Trial,
} from "../../../offchain/search/search.ts";
import { spaceByName } from "../../../offchain/search/spaces.ts";
import { createStrategy, type StrategyName } from "../../../offchain/search/strategies.ts";

export const TEMPLATE: Template = { input: [12, 12, 1], classes: 4, depth: 2, head: { pool: "flatten", hidden: 0 } };
const TOTAL = 1000;

export function scratchFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "ponas-search-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** The made-up model: everything that the training was given, so that a wrong start is seen at the end. */
function modelOf({ architecture, seed, epochs, initial }: TrainingOrder): Buffer {
  const from = initial === null ? null : hash(initial);
  return Buffer.from(JSON.stringify({ layers: architecture.layers, seed, epochs, from }));
}

export const hash = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

export interface FakeOptions {
  /** seeds how long trainings take; not what they give */
  readonly timing?: number | string;
  /** the longest, in milliseconds */
  readonly longest?: number;
}

/** @returns a trainer, and the orders that it was given */
export function fakeTrainer({ timing = 0, longest = 0 }: FakeOptions = {}): { train: Train; orders: TrainingOrder[] } {
  const random = createRandom(timing);
  const orders: TrainingOrder[] = [];
  const train: Train = async (order, signal) => {
    orders.push(order);
    const until = performance.now() + random.next() * longest;
    do await new Promise((resolve) => setImmediate(resolve));
    while (performance.now() < until && !signal.aborted);
    if (signal.aborted) throw new PonasError("aborted", "Stopped.");
    const bytes = modelOf(order);
    const root = hash(bytes);
    return {
      validation: { correct: parseInt(root.slice(0, 8), 16) % (TOTAL + 1), total: TOTAL },
      trainLoss: Array<number>(order.epochs).fill(1),
      seconds: 1,
      imagesPerSecond: 100,
      engine: "fake",
      infeasible: null,
      diverged: false,
      dead: false,
      modelRoot: `0x${root}`,
      bytes,
    };
  };
  return { train, orders };
}

export interface FakeSearch extends Partial<Omit<SearchOptions, "strategy">> {
  readonly file: string;
  readonly strategy?: StrategyName;
  /** the only choice that there is, where it is given */
  readonly filters?: readonly number[];
}

export interface FakeResult extends SearchResult {
  readonly trials: Trial[];
}

export async function fakeSearch({
  file,
  strategy = "evolution",
  filters,
  ...changes
}: FakeSearch): Promise<FakeResult> {
  const options = { episodes: 40, epochs: 3, seed: 5, window: 4, ...changes };
  const space = filters === undefined ? spaceByName("S9") : tinySpace(filters);
  const { episodes, ...search } = { ...options, train: null, onTrial: null, signal: null };
  const journal = openJournal(file, { search: { strategy, ...search }, begun: { episodes } });
  const trials: Trial[] = [];
  try {
    const result = await runSearch({
      train: fakeTrainer().train,
      ...options,
      strategy: createStrategy(strategy, { template: TEMPLATE, space, seed: options.seed }),
      journal,
      models: createModelFolder(`${file}.models`),
      onTrial: (trial) => {
        trials.push(trial);
        options.onTrial?.(trial);
      },
    });
    return { ...result, trials };
  } finally {
    journal.close();
  }
}

function tinySpace(filters: readonly number[]): Space {
  const first = Object.entries(spaceByName("S9")).map(([name, choices]) => [name, choices.slice(0, 1)]);
  return { ...(Object.fromEntries(first) as Space), filters: [...filters] };
}

/** What must be equal of equal searches: not what was found in a journal, nor which models are kept. */
export function essence({ best, trials, networks, exhausted }: FakeResult) {
  const bare = trials.map(({ fresh: _, modelFile: __, ...trial }) => trial);
  const chosen = best === null ? null : { trial: best.trial.trial, rung: best.trial.rung, model: hash(best.bytes) };
  return { trials: bare, best: chosen, networks, exhausted };
}
