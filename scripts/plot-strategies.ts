/**
 * The figures of compare-strategies.ts's data: for each of its files in docs/experiments/strategies the curves as SVG
 * and as CSV, and README.md with the tables of all.
 *
 *   node scripts/plot-strategies.ts
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { stringify } from "csv-stringify/sync";
import prettier from "prettier";
import { parse, View } from "vega";
import { compile } from "vega-lite";
import { z } from "zod";

import { DEFAULT_STRATEGY } from "../offchain/search/strategies.ts";

const FOLDER = "docs/experiments/strategies";

const experimentSchema = z.object({
  dataset: z.object({ name: z.string(), train: z.int(), validation: z.int(), test: z.int() }),
  space: z.string(),
  template: z.object({ depth: z.int() }),
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
type Experiment = z.infer<typeof experimentSchema>;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
/** of the mean, from the sample's standard deviation */
function standardError(values: readonly number[]): number {
  const centre = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1);
  return Math.sqrt(variance / values.length);
}
const figure = (values: readonly number[]): string =>
  `${mean(values).toFixed(2)} ± ${standardError(values).toFixed(2)}`;

const strategiesOf = ({ runs }: Experiment): string[] => [...new Set(runs.map(({ strategy }) => strategy))];
const seedsOf = ({ runs }: Experiment): number => new Set(runs.map(({ seed }) => seed)).size;

/** Of each seed in order: the best validation accuracy in percent after each trial. */
function curvesOf({ runs, dataset }: Experiment, strategy: string): number[][] {
  return runs
    .filter((run) => run.strategy === strategy)
    .sort((a, b) => a.seed - b.seed)
    .map(({ correct }) => {
      let best = 0;
      return correct.map((count) => (100 * (best = Math.max(best, count))) / dataset.validation);
    });
}

interface Point {
  readonly strategy: string;
  readonly trials: number;
  readonly mean: number;
  readonly standardError: number;
}

function pointsOf(experiment: Experiment): Point[] {
  return strategiesOf(experiment).flatMap((strategy) => {
    const curves = curvesOf(experiment, strategy);
    return Array.from({ length: experiment.episodes }, (_, index) => {
      const values = curves.map((curve) => curve[index]!);
      const [centre, error] = [mean(values), standardError(values)].map((value) => Number(value.toFixed(3)));
      return { strategy, trials: index + 1, mean: centre!, standardError: error! };
    });
  });
}

function plot(experiment: Experiment, points: readonly Point[]): Promise<string> {
  const { dataset, settings, space, template, maxMacs } = experiment;
  const x = { field: "trials", type: "quantitative", title: "trials" } as const;
  const color = { field: "strategy", type: "nominal", title: null, sort: strategiesOf(experiment) } as const;
  const { spec } = compile({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    width: 640,
    height: 400,
    background: "white",
    title: {
      text: `Best validation accuracy so far, mean of ${seedsOf(experiment)} seeds ± standard error`,
      subtitle: `${dataset.name}, ${dataset.train} images, ${settings.epochs} epochs; space ${space}, ${template.depth} layers, at most ${maxMacs / 1000} kMAC an image`,
    },
    data: { values: [...points] },
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
          color,
        },
      },
      { mark: "line", encoding: { x, y: { field: "mean", type: "quantitative" }, color } },
    ],
  });
  return new View(parse(spec), { renderer: "none" }).toSVG();
}

/** Differences to random at equal seeds. */
function againstRandom(experiment: Experiment, strategy: string): string {
  if (strategy === "random") return "–";
  const random = curvesOf(experiment, "random");
  const differences = curvesOf(experiment, strategy).map((curve, seed) => curve.at(-1)! - random[seed]!.at(-1)!);
  const better = differences.filter((difference) => difference > 0).length;
  return `${mean(differences) < 0 ? "" : "+"}${figure(differences)}, better at ${better} of ${differences.length}`;
}

function section(name: string, experiment: Experiment): string {
  const { dataset, settings, space, template, maxMacs, episodes, window, trainings, medianSeconds, machine } =
    experiment;
  const seeds = seedsOf(experiment);
  const half = Math.floor(episodes / 2);
  const rows = strategiesOf(experiment).map((strategy) => {
    const curves = curvesOf(experiment, strategy);
    const after = (trials: number): string => figure(curves.map((curve) => curve[trials - 1]!));
    const runs = experiment.runs.filter((run) => run.strategy === strategy);
    const test = figure(runs.map(({ best }) => (100 * best.testCorrect) / dataset.test));
    const shown = strategy === DEFAULT_STRATEGY ? `${strategy} (default)` : strategy;
    return `| ${shown} | ${after(half)} | ${after(episodes)} | ${test} | ${againstRandom(experiment, strategy)} |`;
  });
  return `## Space ${space}, ${template.depth} layers

At most ${maxMacs} multiply–accumulates an image; a trial is ${settings.epochs} epochs over ${dataset.train} images of ${dataset.name}, and its reward the accuracy on ${dataset.validation} validation images. ${episodes} trials, ${seeds} seeds; ${window} networks are asked for ahead of what is told.

| strategy | validation, ${half} trials | validation, ${episodes} trials | test | against random, ${episodes} trials |
| --- | --- | --- | --- | --- |
${rows.join("\n")}

![Best validation accuracy so far by trials](${name}.svg)

${trainings} trainings, half of them under ${medianSeconds} s, on ${machine}. Data: [${name}.json](${name}.json), [${name}.csv](${name}.csv), made by \`node scripts/compare-strategies.ts --space ${space} --layers ${template.depth} --max-macs ${maxMacs} --seeds ${seeds}\`.
`;
}

const sections: string[] = [];
for (const file of readdirSync(FOLDER)
  .filter((each) => each.endsWith(".json"))
  .sort()) {
  const name = basename(file, ".json");
  const experiment = experimentSchema.parse(JSON.parse(readFileSync(join(FOLDER, file), "utf8")));
  const points = pointsOf(experiment);
  writeFileSync(join(FOLDER, `${name}.csv`), stringify(points, { header: true }));
  writeFileSync(join(FOLDER, `${name}.svg`), `${await plot(experiment, points)}\n`);
  sections.push(section(name, experiment));
}
const page = `<!-- Written by scripts/plot-strategies.ts. -->

# Strategies on the same budget

Percent, mean ± standard error over the seeds. Networks without bits in some layer, or over the limit, are passed over without training, for all strategies alike. Test accuracy is of each run's best network by validation, on images that no search has seen.

${sections.join("\n")}`;
writeFileSync(join(FOLDER, "README.md"), await prettier.format(page, { parser: "markdown", printWidth: 120 }));
