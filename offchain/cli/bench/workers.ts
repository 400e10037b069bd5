/** Two training processes against each of them alone, on the same trials. */
import { availableParallelism } from "node:os";

import { DEFAULT_TRAINING_SETTINGS } from "../../training/settings.ts";
import type { TrainingRequest } from "../../training/train.ts";
import { createTrainingWorker, type TrainingWorker } from "../../training/worker.ts";
import { compared, missing, type Figure } from "./figures.ts";
import { BATCH, cpuEngine, noise, type Measure } from "./group.ts";
import { MEDIUM, SMALL, type BenchNetwork } from "./networks.ts";
import { alternate, summarise } from "./statistics.ts";

const WORKERS_BAR = 1.9;
/** Networks, and how many batches of each make a trial of a second or so. */
const TRAINED = [
  [SMALL, 40],
  [MEDIUM, 8],
] as const;

/** Trials of each process in a turn, beside the first, which warms it up, and the last, which is cut off. */
const TRIALS = 6;

export const measure: Measure = async ({ quick, engines, signal, say }) => {
  const figures: Figure[] = [];
  const workers = [1, 2].map(() => createTrainingWorker({ engine: cpuEngine(engines) }));
  try {
    for (const [network, batches] of TRAINED) figures.push(...(await measureOn(network, quick ? 1 : batches)));
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
  }
  return figures;

  async function measureOn({ name, architecture }: BenchNetwork, batches: number): Promise<Figure[]> {
    const description = {
      id: `workers/${name}/two:one`,
      what: `trials of two training processes, ${name} network`,
      unit: "trials/s",
      bar: { of: "ratio", least: WORKERS_BAR },
    } as const;
    say(description.what);
    if (availableParallelism() < 2) return [missing(description, "this machine has one core")];

    const request = {
      architecture,
      train: noise(architecture, batches * BATCH),
      validation: noise(architecture, BATCH, 1),
      settings: { ...DEFAULT_TRAINING_SETTINGS, epochs: 1, batch: BATCH },
    };
    const allOf = (some: readonly TrainingWorker[]) => async () => ({
      rate: await throughput(some, request, quick ? 1 : TRIALS, signal),
    });
    // Either process alone: where its memory happens to lie makes one some per cent faster than the other.
    const [first, second] = workers as [TrainingWorker, TrainingWorker];
    const rates = await alternate(
      { two: allOf(workers), first: allOf([first]), second: allOf([second]) },
      { rounds: quick ? 1 : 7, turnMs: 1, budgetMs: 180_000, signal },
    );
    const one = summarise(rates.first.samples.map((rate, round) => (rate + rates.second.samples[round]!) / 2));
    return [compared(description, rates.two, "one training process", one)];
  }
};

/**
 * Trials a second of processes that all are busy all the time: each one's own rate, added up. A pool's last trials, in
 * which one process has nothing left to do, would say more of how many trials there were than of the processes.
 * @param trials of each that count, at least
 */
async function throughput(
  workers: readonly TrainingWorker[],
  request: Omit<TrainingRequest, "seed">,
  trials: number,
  signal: AbortSignal,
): Promise<number> {
  const enough = new AbortController();
  const either = { signal: AbortSignal.any([signal, enough.signal]) };
  let lacking = workers.length;
  const rates = await Promise.all(
    workers.map(async (worker) => {
      const ends: number[] = [];
      try {
        for (let seed = 0; ; seed++) {
          await worker.train({ ...request, seed }, either);
          if (ends.push(performance.now()) === trials + 1 && --lacking === 0) enough.abort();
        }
      } catch (error) {
        if (!enough.signal.aborted || signal.aborted) throw error;
      }
      return (1000 * (ends.length - 1)) / (ends.at(-1)! - ends[0]!);
    }),
  );
  return rates.reduce((sum, rate) => sum + rate, 0);
}
