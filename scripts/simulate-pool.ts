/**
 * Measures the pool on simulated histories (test/pool/simulation), one experiment after another, and writes what it
 * measured to docs/experiments/pool/NAME.json. Seeds that are there already are kept, so a run that was stopped goes on.
 *
 *   node scripts/simulate-pool.ts [record | churn | nine | weak | identities | liars | crowd]… [--seeds 20]
 *                                 [--from 0] [--minutes 10]
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

import prettier from "prettier";

import { churnTask } from "../test/pool/simulation/churn.ts";
import { crowd } from "../test/pool/simulation/crowd.ts";
import { identities, lying, nineMiners, weakMiners, type World } from "../test/pool/simulation/experiments.ts";
import { createMemoryDatabase } from "../test/pool/simulation/memory-database.ts";
import { readTrials, recordTrials, TRIALS_FILE } from "../test/pool/simulation/recorded-trials.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "20" },
    from: { type: "string", default: "0" },
    minutes: { type: "string", default: "10" },
  },
});

const plain = (pays: ReadonlyMap<string, number>) => Object.fromEntries(pays);

/** One line of an experiment's data for one seed. */
const EXPERIMENTS: Record<string, (world: World, seed: number) => Promise<object>> = {
  churn: async (world, seed) => ({
    with: await churnTask({ ...world, seed, backups: true }),
    without: await churnTask({ ...world, seed, backups: false }),
  }),
  nine: async (world, seed) => ({
    disjoint: await nineMiners(world, { seed, trialsEach: 8, partition: "disjoint" }),
    "random-subsets": await nineMiners(world, { seed, trialsEach: 8, partition: "random-subsets" }),
    whole: await nineMiners(world, { seed, trialsEach: 8, partition: "whole" }),
  }),
  async weak(world, seed) {
    const options = { seed, trialsStrong: 6, weak: [], strategy: true };
    const strong = await weakMiners(world, options);
    const order = strong.byPart.map((best, part) => ({ best, part })).sort((a, b) => b.best - a.best);
    const weak = order.slice(0, 2).map(({ part }) => part);
    const without = await weakMiners(world, { ...options, weak, strategy: false });
    const strategy = await weakMiners(world, { ...options, weak });
    return { lucky: weak, strong, without, strategy };
  },
  async identities(world, seed) {
    const one = await identities(world, { seed, accounts: 1, trialsOfMachine: 8 });
    const ten = await identities(world, { seed, accounts: 10, trialsOfMachine: 8 });
    return { one: plain(one.pay), ten: plain(ten.pay), tenAsOne: plain(ten.asOne) };
  },
  async liars(world, seed) {
    const common = { seed, trialsEach: 4 };
    const run = async (lies?: { rate: number; honestFirst: number; time: number; unseen?: boolean }) => {
      const { pay, ...rest } = await lying(world, lies === undefined ? common : { ...common, lies });
      return { ...rest, pay: plain(pay) };
    };
    return {
      honest: await run(),
      always: await run({ rate: 1, honestFirst: 0, time: 0.1 }),
      sometimes: await run({ rate: 0.2, honestFirst: 3, time: 0.1, unseen: true }),
      later: await run({ rate: 0.5, honestFirst: 8, time: 0.1, unseen: true }),
    };
  },
  crowd: (world, seed) => crowd(world, { seed, miners: 1000 }),
};

async function measure(name: string): Promise<void> {
  const out = join(import.meta.dirname, `../docs/experiments/pool/${name}.json`);
  const known = (existsSync(out) ? JSON.parse(readFileSync(out, "utf8")) : []) as { seed: number }[];
  const world = { database: await createMemoryDatabase(), trials: readTrials(1) };
  const stopAt = performance.now() + 60_000 * Number(values.minutes);
  for (let seed = Number(values.from); seed < Number(values.from) + Number(values.seeds); seed++) {
    if (performance.now() > stopAt) break;
    if (known.some((line) => line.seed === seed)) continue;
    known.push({ ...(await EXPERIMENTS[name]!(world, seed)), seed });
    known.sort((a, b) => a.seed - b.seed);
    mkdirSync(dirname(out), { recursive: true });
    const lines = known.map((line) => JSON.stringify(line)).join(",\n");
    writeFileSync(`${out}.new`, await prettier.format(`[${lines}]`, { parser: "json", printWidth: 120 }));
    renameSync(`${out}.new`, out);
    console.error(`${name}: seed ${seed}`);
  }
  await world.database.close();
}

for (const name of positionals.length > 0 ? positionals : Object.keys(EXPERIMENTS)) {
  if (name === "record") {
    writeFileSync(TRIALS_FILE, await recordTrials());
  } else if (name in EXPERIMENTS) {
    await measure(name);
  } else {
    console.error(`There is no experiment called ${name}; there are record, ${Object.keys(EXPERIMENTS).join(", ")}.`);
    process.exit(2);
  }
}
