/** What a search costs beside its training: tilings, partitions, proposals. */
import type { HardwareBounds } from "../../evaluation/hardware.ts";
import type { Template } from "../../protocol/architecture.ts";
import { createRandom } from "../../protocol/random.ts";
import { createPartition } from "../../search/partition.ts";
import { sampleArchitecture, spaceByName } from "../../search/spaces.ts";
import { createStrategy, STRATEGY_NAMES, type StrategyName } from "../../search/strategies.ts";
import { findTiling } from "../../search/tiling.ts";
import { measured, type Figure } from "./figures.ts";
import type { BenchOptions, Measure } from "./group.ts";
import { alternate, checkpoint, summarise, type Work } from "./statistics.ts";

/** Milliseconds of one network's tiling, at most. */
const TILING_BAR = 10;
/** Seconds of a partition, at most. */
const PARTITION_BAR = 1;
const MINERS = 10_000;

const TEMPLATE: Template = { input: [32, 32, 3], classes: 10, depth: 6, head: { pool: "flatten", hidden: 0 } };
const FULL = spaceByName("full");

/** The paper's bounds, which hardly any network exceeds, and those of the work that it builds on. */
const BOUNDS: Readonly<Record<string, HardwareBounds>> = {
  loose: { maxLuts: 100_000, minThroughput: 10 },
  tight: { maxLuts: 30_000, minThroughput: 1000 },
};

export const measure: Measure = async (options) => {
  const figures: Figure[] = [];
  for (const [name, bounds] of Object.entries(BOUNDS)) figures.push(await tilings(name, bounds, options));
  for (const weighted of [false, true]) figures.push(await partition(weighted, options));
  return [...figures, ...(await proposals(options))];
};

async function tilings(name: string, bounds: HardwareBounds, { quick, signal, say }: BenchOptions): Promise<Figure> {
  const count = quick ? 20 : 200;
  const limits = `${bounds.maxLuts} LUTs, ${bounds.minThroughput} images/s`;
  say(`tilings of ${count} networks within ${limits}`);
  const random = createRandom("tilings");
  const times: number[] = [];
  for (let i = 0; i <= count; i++) {
    const architecture = sampleArchitecture(TEMPLATE, FULL, random);
    const runs: number[] = [];
    for (let run = 0; run < 3; run++) {
      const start = performance.now();
      findTiling(architecture, { bounds });
      runs.push(performance.now() - start);
    }
    // The first network warms the code up.
    if (i > 0) times.push(summarise(runs).median);
    await checkpoint(signal);
  }
  return measured(
    {
      id: `search/tiling/${name}`,
      what: `tiling of one network of the full space within ${limits}, slowest of ${count}`,
      unit: "ms",
      bar: { of: "value", most: TILING_BAR },
      note: `median of the networks ${summarise(times).median.toFixed(2)} ms; each the median of 3 runs`,
    },
    summarise([Math.max(...times)]),
  );
}

async function partition(weighted: boolean, { quick, signal, say }: BenchOptions): Promise<Figure> {
  const what = `disjoint partition of the full space for ${MINERS} miners${weighted ? " of unequal weights" : ""}`;
  say(what);
  const random = createRandom("weights");
  const weights = weighted ? Array.from({ length: MINERS }, () => 1 + 9 * random.next()) : undefined;
  const seconds: number[] = [];
  for (let seed = 0; seed < (quick ? 1 : 5); seed++) {
    const start = performance.now();
    createPartition("disjoint", { space: FULL, depth: TEMPLATE.depth, miners: MINERS, seed, weights });
    seconds.push((performance.now() - start) / 1000);
    await checkpoint(signal);
  }
  return measured(
    {
      id: `search/partition/${weighted ? "weighted" : "equal"}`,
      what,
      unit: "s",
      bar: { of: "value", most: PARTITION_BAR },
    },
    summarise(seconds),
  );
}

async function proposals({ quick, signal, say }: BenchOptions): Promise<Figure[]> {
  const count = quick ? 10 : 200;
  say(`proposals of ${STRATEGY_NAMES.join(", ")}`);
  const searchWith =
    (name: StrategyName): Work =>
    () => {
      const random = createRandom("rewards");
      const strategy = createStrategy(name, { template: TEMPLATE, space: FULL, seed: 1 });
      for (let i = 0; i < count; i++) strategy.tell(strategy.ask(), random.next());
      return count;
    };
  const rates = await alternate(
    Object.fromEntries(STRATEGY_NAMES.map((name) => [name, searchWith(name)])) as Record<StrategyName, Work>,
    { rounds: quick ? 1 : 3, turnMs: 1, budgetMs: 60_000, signal },
  );
  return STRATEGY_NAMES.map((name) =>
    measured(
      {
        id: `search/proposals/${name}`,
        what: `proposals of ${name}, the full space, told of each, from the first to number ${count}`,
        unit: "proposals/s",
      },
      rates[name],
    ),
  );
}
