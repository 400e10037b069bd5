import { availableParallelism } from "node:os";

import { Option, type Command } from "commander";

import { percent } from "../../agents/claimant.ts";
import { evaluateModel } from "../../evaluation/evaluate.ts";
import { decodeModel, modelRoot } from "../../evaluation/model.ts";
import { EXIT, PonasError, explainError } from "../../protocol/errors.ts";
import { epochBudget, rungsOf } from "../../search/halving.ts";
import { openJournal } from "../../search/journal.ts";
import { createModelFolder } from "../../search/model-folder.ts";
import { runSearch, type SearchResult, type Train, type Trial } from "../../search/search.ts";
import { createStrategy, DEFAULT_STRATEGY, STRATEGY_NAMES } from "../../search/strategies.ts";
import { cidOf } from "../../storage/cid.ts";
import { createWorkerPool, type WorkerPool } from "../../training/worker-pool.ts";
import { hardwareBound, wholeNumber, type Context } from "../context.ts";
import { engineOption } from "../engine-option.ts";
import { checkWritable, MAX_MODEL_BYTES, writeModelFile } from "../files.ts";
import { planSearch, type SearchOptions, type SearchPlan } from "../search/plan.ts";
import { createProgress } from "../search/progress.ts";
import { TABLE_HEADER, trialJson, trialLine, trialsCsv, writeText } from "../search/report.ts";
import { addTrainingOptions } from "../training-options.ts";

interface Options extends SearchOptions {
  readonly out?: string;
  readonly csv?: string;
  readonly jsonl?: string;
  readonly test?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  const search = program
    .command("search")
    .description("search a space for the network that classifies a data set best")
    .option("--space <name>", "full, S1 … S9, demo, or a JSON file of ten lists or of boxes")
    .addOption(
      new Option("--strategy <name>", `how the next network is chosen (default: ${DEFAULT_STRATEGY})`).choices(
        STRATEGY_NAMES,
      ),
    )
    .option("--dataset <name>", "mnist, fashion-mnist, cifar10, or a folder of IDX or CIFAR files")
    .option("--data-dir <folder>", "where the data set's files are")
    .option("--limit <n>", "only the first n training images", wholeNumber("--limit", 1))
    .option("--episodes <n>", "networks to try", wholeNumber("--episodes", 1, 1_000_000))
    .option("--seed <n>", "fixes the trials and their training (default: 0)", wholeNumber("--seed", 0, 0xffffffff))
    .option("--resume <file>", "the search's journal: gone on with where it exists, begun where it does not")
    .option(
      "--workers <n>",
      "networks trained at a time (default: one for each core)",
      wholeNumber("--workers", 1, 1024),
    )
    .option(
      "--window <n>",
      "networks asked for ahead of the results; part of what fixes the trials (default: 4, or the workers if more)",
      wholeNumber("--window", 1, 1024),
    )
    .option("--layers <n>", "convolution layers of every network (default: 6)", wholeNumber("--layers", 1, 64))
    .addOption(
      new Option("--head <kind>", "what follows the last layer (default: flatten)").choices(["flatten", "global-sum"]),
    )
    .option("--max-macs <n>", "multiply–accumulates that an image may cost", wholeNumber("--max-macs", 1))
    .option("--max-luts <n>", "look-up tables of the FPGA; 0: any number", hardwareBound("--max-luts"))
    .option(
      "--min-throughput <n>",
      "images a second that the FPGA must exceed; 0: any",
      hardwareBound("--min-throughput"),
    )
    .option(
      "--halving <n>",
      "successive halving: only the best 1/n of the networks are trained n times as long, from --epochs / n, / n² … on",
      wholeNumber("--halving", 2, 1000),
    )
    .option("--out <file>", "where the best model goes")
    .option("--csv <file>", "the trials as CSV")
    .option("--jsonl <file>", "the trials as lines of JSON")
    .option("--test", "evaluate the best model on the test split at the end")
    .addOption(engineOption())
    .option("--json", "print a line of JSON for each trial, then one for the best");
  const before = new Set(search.options);
  addTrainingOptions(search);
  const recipeFlags = search.options.filter((option) => !before.has(option)).map((option) => option.attributeName());
  search.action(async (options: Options) => {
    const recipeGiven = recipeFlags.some((name) => search.getOptionValueSource(name) === "cli");
    if (options.out !== undefined) checkWritable(options.out);
    for (const file of [options.csv, options.jsonl]) if (file !== undefined) checkWritable(file, "file");
    const plan = await planSearch(options, { cores: availableParallelism(), recipeGiven, signal: context.signal });
    context.note(plan.dataset.notes);
    await run(options, plan, context);
  });
}

async function run(options: Options, plan: SearchPlan, context: Context): Promise<void> {
  const { json, out, csv, jsonl } = options;
  const { search, space, episodes, dataset, workers } = plan;
  const { template, seed, window, halving, settings } = search;
  const { epochs } = settings;
  const eta = halving ?? undefined;
  const limits = { maxMacs: search.maxMacs ?? undefined, hardware: search.hardware ?? undefined };
  const rungs = rungsOf({ networks: episodes, epochs, eta });
  const strategy = createStrategy(search.strategy, { template, space, seed, ...limits });
  const journal = openJournal(plan.journal, plan.header);
  const pool = createWorkerPool({ workers, engine: search.engine });
  const trials: Trial[] = [];
  const trainings = rungs.reduce((sum, { networks }) => sum + networks, 0);
  const progress = createProgress({ stream: process.stderr, trainings, epochs: epochBudget(rungs) });
  const start = performance.now();
  progress.above(() => context.note([describe(plan, journal.file, journal.records.length, rungs)]));
  if (json !== true) progress.above(() => process.stdout.write(`${TABLE_HEADER}\n`));

  const onTrial = (trial: Trial): void => {
    trials.push(trial);
    progress.above(() => context.print(json, trialJson(trial), trialLine(trial)));
    progress.add(trial, rungs[trial.rung]!.added);
  };
  const writeTrials = (best: object | null): void => {
    const lines = [...trials.map(trialJson), ...(best === null ? [] : [best])];
    if (jsonl !== undefined) writeText(jsonl, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    if (csv !== undefined) writeText(csv, trialsCsv(trials));
  };

  try {
    const models = createModelFolder(`${journal.file}.models`);
    const train = trainOn(pool, plan);
    const { signal } = context;
    const found = await runSearch({ strategy, episodes, epochs, eta, seed, window, journal, models, train, onTrial, signal }); // prettier-ignore
    progress.end();
    if (out !== undefined && found.best !== null) writeModelFile(out, found.best.bytes);
    const best = await summary(found, options, plan);
    const value = { ...best, journal: journal.file, seconds: (performance.now() - start) / 1000 };
    writeTrials(value);
    context.print(json, value, summaryText(value, dataset.validation.count));
    if (best.best === null) context.setExitCode(EXIT.fault);
  } catch (error) {
    progress.end();
    if (error instanceof PonasError && ["aborted", "engine", "unavailable"].includes(error.code)) {
      const more = episodes === journal.header.begun.episodes ? "" : ` --episodes ${episodes}`;
      context.note([
        `${journal.records.length} finished trainings are kept; to go on: ponas search --resume ${journal.file}${more}`,
      ]);
    }
    try {
      writeTrials(null);
    } catch (unwritten) {
      // A full disk takes neither; why the search ended is worth more.
      context.note([explainError(unwritten)]);
    }
    throw error;
  } finally {
    await pool.close();
    journal.close();
  }
}

function trainOn(pool: WorkerPool, { dataset, search }: SearchPlan): Train {
  const { train, validation } = dataset;
  return async ({ architecture, seed, epochs, initial }, signal) => {
    const settings = { ...search.settings, epochs };
    const from = initial === null ? undefined : decodeModel(initial, { maxBytes: MAX_MODEL_BYTES });
    const outcome = await pool.train({ architecture, train, validation, settings, seed, initial: from }, { signal });
    return { ...outcome, modelRoot: modelRoot(outcome.model) };
  };
}

async function summary({ best, networks, exhausted }: SearchResult, { out, test }: Options, plan: SearchPlan) {
  const { strategy, engine } = plan.search;
  const common = { networks, exhausted, strategy, engine };
  if (best === null) return { best: null, ...common };
  const { trial, bytes, reward } = best;
  const { rung, epochs, seed, architecture, correct, total } = trial;
  const measured =
    test === true ? await evaluateModel(bytes, { ...plan.dataset.test, maxBytes: bytes.length }) : undefined;
  return {
    best: {
      trial: trial.trial,
      rung,
      reward,
      validation: { correct, total },
      ...(measured === undefined ? {} : { test: { correct: measured.correct, total: measured.total } }),
      epochs,
      seed,
      architecture,
      modelRoot: trial.modelRoot,
      cid: (await cidOf(bytes)).toString(),
      out: out ?? null,
    },
    ...common,
  };
}

type Summary = Awaited<ReturnType<typeof summary>>;

function summaryText({ best, networks, exhausted, strategy, engine }: Summary, images: number): string {
  const note = exhausted === null ? [] : [`note: ${exhausted}`];
  if (best === null) return [`${networks} networks tried, and none of them gave a model`, ...note].join("\n");
  const { trial, validation, test, modelRoot, cid, out } = best;
  return [
    `best of ${networks} networks (${strategy}, engine ${engine}): trial ${trial}, ${validation.correct} of ${images} correct on validation (${percent(validation.correct, images)})`,
    ...(test === undefined ? [] : [`${test.correct} of ${test.total} correct on test (${percent(test.correct, test.total)})`]), // prettier-ignore
    ...note,
    `modelRoot ${modelRoot}`,
    `CID ${cid}`,
    ...(out === null ? [] : [`written to ${out}`]),
  ].join("\n");
}

function describe(
  { search, episodes, workers }: SearchPlan,
  file: string,
  known: number,
  rungs: ReturnType<typeof rungsOf>,
): string {
  const budget = rungs.map(({ networks, epochs }) => `${networks} to ${epochs}`).join(", ");
  const plan =
    rungs.length === 1
      ? `${episodes} networks, epochs each: ${rungs[0]!.epochs}`
      : `networks to epochs: ${budget}, ${epochBudget(rungs)} epochs in all`;
  const from = known === 0 ? "" : `, ${known} trainings are in it`;
  return `${search.strategy}, ${plan}, engine ${search.engine}, ${workers} at a time; journal ${file}${from}`;
}
