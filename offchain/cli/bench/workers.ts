/** Two training processes against one, on the same trials. */
import { availableParallelism } from "node:os";

import { DEFAULT_TRAINING_SETTINGS } from "../../training/settings.ts";
import { createWorkerPool, type WorkerPool } from "../../training/worker-pool.ts";
import { compared, missing, type Figure } from "./figures.ts";
import { BATCH, cpuEngine, noise, type Measure } from "./group.ts";
import { MEDIUM, SMALL, type BenchNetwork } from "./networks.ts";
import { alternate, type Work } from "./statistics.ts";

const WORKERS_BAR = 1.9;
/** Networks, and how many batches of each make a trial of a second or so. */
const TRAINED = [
  [SMALL, 40],
  [MEDIUM, 8],
] as const;

export const measure: Measure = async ({ quick, engines, signal, say }) => {
  const figures: Figure[] = [];
  const pools = [1, 2].map((workers) => createWorkerPool({ workers, engine: cpuEngine(engines) }));
  try {
    for (const [network, batches] of TRAINED) figures.push(...(await measureOn(network, quick ? 1 : batches)));
  } finally {
    await Promise.all(pools.map((pool) => pool.close()));
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

    const train = noise(architecture, batches * BATCH);
    const validation = noise(architecture, BATCH, 1);
    const settings = { ...DEFAULT_TRAINING_SETTINGS, epochs: 1, batch: BATCH };
    // Many, because at the end of a turn one of the two waits for the other's last trial.
    const trials = quick ? 2 : 12;
    const allOn =
      (pool: WorkerPool): Work =>
      async () => {
        const requests = Array.from({ length: trials }, (_, seed) => ({
          architecture,
          train,
          validation,
          settings,
          seed,
        }));
        await Promise.all(requests.map((request) => pool.train(request, { signal })));
        return trials;
      };
    const [single, double] = pools as [WorkerPool, WorkerPool];
    const { two, one } = await alternate(
      { two: allOn(double), one: allOn(single) },
      { rounds: quick ? 1 : 7, turnMs: 1, budgetMs: 120_000, signal },
    );
    return [compared(description, two, "one training process", one)];
  }
};
