/**
 * Which strategy finds the best network in 100 trials? Every strategy searches the same space with several seeds, on
 * real training that is small enough for it. Writes docs/experiments/strategies/SPACE-LAYERS.json; plot-strategies.ts
 * makes the figures of it.
 *
 *   node scripts/compare-strategies.ts [--seeds 10] [--space full] [--layers 3] [--max-macs 300000]
 *                                      [--workers 1] [--window 4]
 *
 * A network's training is fixed by its architecture, so each is trained once, whichever strategy proposes it; the
 * results lie in .ponas/compare-SPACE-LAYERS.jsonl, and a run that was killed goes on from there.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname } from "node:path";
import { parseArgs } from "node:util";

import prettier from "prettier";

import { evaluateModel } from "../offchain/evaluation/evaluate.ts";
import { HYPERPARAMETERS, type Architecture, type Template } from "../offchain/protocol/architecture.ts";
import { runInOrder } from "../offchain/search/in-order.ts";
import { openJournal, type TrialRecord } from "../offchain/search/journal.ts";
import { spaceByName } from "../offchain/search/spaces.ts";
import { createStrategy, STRATEGY_NAMES, type StrategyName } from "../offchain/search/strategies.ts";
import { loadDataset } from "../offchain/training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../offchain/training/settings.ts";
import { createWorkerPool } from "../offchain/training/worker-pool.ts";

const EPISODES = 100;
const TRAIN_IMAGES = 1000;
/** of every training: a network's reward depends on the network alone */
const TRAINING_SEED = 0;
const SETTINGS = { ...DEFAULT_TRAINING_SETTINGS, epochs: 2 };

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10" },
    space: { type: "string", default: "full" },
    layers: { type: "string", default: "3" },
    // It keeps a trial under a second, and the good networks rare.
    "max-macs": { type: "string", default: "300000" },
    workers: { type: "string", default: "1" },
    window: { type: "string", default: "4" },
  },
});
const [seeds, depth, maxMacs] = [Number(values.seeds), Number(values.layers), Number(values["max-macs"])];
const [workers, window] = [Number(values.workers), Number(values.window)];
const CACHE = `.ponas/compare-${values.space}-${depth}.jsonl`;
const OUT = `docs/experiments/strategies/${values.space}-${depth}.json`;

const dataset = await loadDataset("mnist", { limits: { train: TRAIN_IMAGES } });
const { train, validation, test } = dataset;
const template: Template = {
  input: [dataset.height, dataset.width, dataset.channels],
  classes: dataset.classes,
  depth,
  head: { pool: "flatten", hidden: 0 },
};
const space = spaceByName(values.space);
const search = { space, template, settings: SETTINGS, seed: TRAINING_SEED, images: [train.count, validation.count] };
const cache = openJournal(CACHE, { search, begun: {} });
const pool = createWorkerPool({ workers });

const keyOf = ({ layers }: Architecture): string =>
  layers.flatMap((layer) => HYPERPARAMETERS.map((name) => layer[name])).join();
const known = new Map<string, Promise<TrialRecord>>(
  cache.records.map((record) => [keyOf(record.architecture), Promise.resolve(record)]),
);

const request = (architecture: Architecture) => {
  return { architecture, train, validation, settings: SETTINGS, seed: TRAINING_SEED };
};

function rewardOf(architecture: Architecture): Promise<TrialRecord> {
  const key = keyOf(architecture);
  const found = known.get(key);
  if (found !== undefined) return found;
  const fresh = measure(architecture);
  known.set(key, fresh);
  return fresh;
}

async function measure(architecture: Architecture): Promise<TrialRecord> {
  const outcome = await pool.train(request(architecture));
  const { seconds, imagesPerSecond, engine, infeasible, diverged, dead } = outcome;
  const record: TrialRecord = {
    trial: cache.records.length,
    rung: 0,
    architecture,
    epochs: SETTINGS.epochs,
    seed: TRAINING_SEED,
    correct: outcome.validation.correct,
    total: outcome.validation.total,
    trainLoss: outcome.trainLoss.map((loss) => (Number.isFinite(loss) ? loss : null)),
    seconds,
    imagesPerSecond,
    engine,
    infeasible,
    diverged,
    dead,
    failed: null,
    modelRoot: null,
    modelFile: null,
  };
  cache.append(record);
  return record;
}

interface Run {
  readonly strategy: StrategyName;
  readonly seed: number;
  /** validation images right, of each trial in order */
  readonly correct: number[];
  /** the run's best network by validation, each layer's ten hyperparameters in their usual order, and what it gets on the test split, which no search has seen */
  readonly best: { readonly trial: number; readonly layers: number[][]; readonly testCorrect: number };
}

async function runOne(strategyName: StrategyName, seed: number): Promise<Run> {
  const strategy = createStrategy(strategyName, { template, space, seed, maxMacs });
  const trials: TrialRecord[] = [];
  let asked = 0;
  await runInOrder({
    window,
    next: () => (asked++ < EPISODES ? strategy.ask() : null),
    run: (architecture) => rewardOf(architecture),
    done: (architecture, record) => {
      strategy.tell(architecture, record.correct / record.total);
      trials.push(record);
    },
  });
  const correct = trials.map((trial) => trial.correct);
  const trial = correct.indexOf(Math.max(...correct));
  const { architecture } = trials[trial]!;
  const { bytes, validation: again } = await pool.train(request(architecture));
  if (again.correct !== correct[trial]) throw new Error(`training ${keyOf(architecture)} again gave another network`);
  const measured = await evaluateModel(bytes, { ...test, maxBytes: bytes.length });
  const layers = architecture.layers.map((layer) => HYPERPARAMETERS.map((name) => layer[name]));
  return { strategy: strategyName, seed, correct, best: { trial, layers, testCorrect: measured.correct } };
}

const runs: Run[] = [];
const start = performance.now();
// Seed by seed, so that what is finished compares all strategies whenever it is stopped.
for (let seed = 0; seed < seeds; seed++) {
  for (const strategy of STRATEGY_NAMES) {
    const run = await runOne(strategy, seed);
    runs.push(run);
    const best = ((100 * Math.max(...run.correct)) / validation.count).toFixed(2);
    const minutes = ((performance.now() - start) / 60_000).toFixed(1);
    console.error(`${minutes} min: seed ${seed}, ${strategy}: best ${best} %`);
  }
  await write();
}
await pool.close();
cache.close();

async function write(): Promise<void> {
  const seconds = [...cache.records].map((record) => record.seconds);
  const value = {
    dataset: { name: dataset.name, train: train.count, validation: validation.count, test: test.count },
    space: values.space,
    template,
    maxMacs,
    settings: SETTINGS,
    episodes: EPISODES,
    window,
    machine: `${cpus()[0]!.model.trim()}, Node ${process.versions.node}, engine ${cache.records[0]?.engine}`,
    trainings: seconds.length,
    medianSeconds: Number(seconds.sort((a, b) => a - b)[seconds.length >> 1]!.toFixed(2)),
    runs,
  };
  mkdirSync(dirname(OUT), { recursive: true });
  writeFileSync(`${OUT}.new`, await prettier.format(JSON.stringify(value), { parser: "json", printWidth: 120 }));
  renameSync(`${OUT}.new`, OUT);
}
