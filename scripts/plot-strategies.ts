/**
 * The figures of compare-strategies.ts's data: docs/experiments/strategies/curves.svg, curves.csv and table.md.
 *
 *   node scripts/plot-strategies.ts
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { stringify } from "csv-stringify/sync";
import prettier from "prettier";
import { parse, View } from "vega";
import { compile } from "vega-lite";
import { z } from "zod";

const FOLDER = "docs/experiments/strategies";

const dataSchema = z.object({
  dataset: z.object({ name: z.string(), train: z.int(), validation: z.int(), test: z.int() }),
  space: z.string(),
  maxMacs: z.int(),
  settings: z.object({ epochs: z.int() }),
  episodes: z.int(),
  window: z.int(),
  machine: z.string(),
  trainings: z.int(),
  medianSeconds: z.number(),
  runs: z.array(
    z.object({
      strategy: z.string(),
      seed: z.int(),
      correct: z.array(z.int()),
      best: z.object({ trial: z.int(), testCorrect: z.int() }),
    }),
  ),
});
const data = dataSchema.parse(JSON.parse(readFileSync(join(FOLDER, "runs.json"), "utf8")));
const { dataset, episodes } = data;
const strategies = [...new Set(data.runs.map(({ strategy }) => strategy))];
const seeds = new Set(data.runs.map(({ seed }) => seed)).size;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
/** of the mean, from the sample's standard deviation */
function standardError(values: readonly number[]): number {
  const centre = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1);
  return Math.sqrt(variance / values.length);
}

/** Best reward in percent after each trial. */
function bestSoFar(correct: readonly number[]): number[] {
  let best = 0;
  return correct.map((count) => (100 * (best = Math.max(best, count))) / dataset.validation);
}

const runsOf = (strategy: string) => data.runs.filter((run) => run.strategy === strategy);
const finals = (strategy: string): number[] => runsOf(strategy).map(({ correct }) => bestSoFar(correct).at(-1)!);

const curves = strategies.flatMap((strategy) => {
  const curvesOfSeeds = runsOf(strategy).map(({ correct }) => bestSoFar(correct));
  return Array.from({ length: episodes }, (_, index) => {
    const values = curvesOfSeeds.map((curve) => curve[index]!);
    const [centre, error] = [mean(values), standardError(values)].map((value) => Number(value.toFixed(3))) as [number, number]; // prettier-ignore
    return { strategy, trials: index + 1, mean: centre, standardError: error };
  });
});
writeFileSync(join(FOLDER, "curves.csv"), stringify(curves, { header: true }));

const x = { field: "trials", type: "quantitative", title: "trials" } as const;
const colour = { field: "strategy", type: "nominal", title: null, sort: strategies } as const;
const { spec } = compile({
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  width: 640,
  height: 400,
  background: "white",
  title: {
    text: `Best validation accuracy so far, mean of ${seeds} seeds ± standard error`,
    subtitle: `${dataset.name}, ${dataset.train} images, ${data.settings.epochs} epochs; space ${data.space}, at most ${data.maxMacs / 1000} kMAC an image`,
  },
  data: { values: curves },
  transform: [
    { calculate: "datum.mean - datum.standardError", as: "low" },
    { calculate: "datum.mean + datum.standardError", as: "high" },
  ],
  layer: [
    {
      mark: { type: "area", opacity: 0.2 },
      encoding: {
        x,
        y: { field: "low", type: "quantitative", title: "accuracy in %", scale: { zero: false } },
        y2: { field: "high" },
        color: colour,
      },
    },
    { mark: "line", encoding: { x, y: { field: "mean", type: "quantitative" }, color: colour } },
  ],
});
const svg = await new View(parse(spec), { renderer: "none" }).toSVG();
writeFileSync(join(FOLDER, "curves.svg"), `${svg}\n`);

const figure = (values: readonly number[]): string =>
  `${mean(values).toFixed(2)} ± ${standardError(values).toFixed(2)}`;

/** Mean of the differences to random of equal seeds, and at how many seeds it is better, equal, worse. */
function againstRandom(strategy: string): string {
  if (strategy === "random") return "–";
  const random = new Map(runsOf("random").map(({ seed, correct }) => [seed, bestSoFar(correct).at(-1)!]));
  const differences = runsOf(strategy).map(({ seed, correct }) => bestSoFar(correct).at(-1)! - random.get(seed)!);
  const better = differences.filter((difference) => difference > 0).length;
  return `${mean(differences) < 0 ? "" : "+"}${figure(differences)}, better at ${better} of ${differences.length} seeds`;
}

const rows = strategies.map((strategy) => {
  const test = runsOf(strategy).map(({ best }) => (100 * best.testCorrect) / dataset.test);
  const half = runsOf(strategy).map(({ correct }) => bestSoFar(correct)[Math.floor(episodes / 2) - 1]!);
  return `| ${strategy} | ${figure(half)} | ${figure(finals(strategy))} | ${figure(test)} | ${againstRandom(strategy)} |`;
});
const table = `<!-- Written by scripts/plot-strategies.ts. -->

# Strategies on the same budget

${episodes} trials each, ${seeds} seeds; space ${data.space}, six layers, at most ${data.maxMacs} multiply–accumulates an image; a trial is
${data.settings.epochs} epochs over ${dataset.train} images of ${dataset.name}, and its reward the accuracy on ${dataset.validation} validation images. Test
accuracy is of each run's best network by validation, on ${dataset.test} images that no search has seen. Percent, mean ± standard
error over the seeds. ${data.window} networks are asked for ahead of what is told.

| strategy | validation, ${Math.floor(episodes / 2)} trials | validation, ${episodes} trials | test | against random, validation |
| --- | --- | --- | --- | --- |
${rows.join("\n")}

${data.trainings} trainings, half of them under ${data.medianSeconds} s, on ${data.machine}.

![Best validation accuracy so far by trials](curves.svg)

Made by \`node scripts/compare-strategies.ts --seeds ${seeds}\`, then \`node scripts/plot-strategies.ts\`.
`;
writeFileSync(join(FOLDER, "table.md"), await prettier.format(table, { parser: "markdown", printWidth: 120 }));
