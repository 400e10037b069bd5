import type { Command } from "commander";

import { percent } from "../../agents/claimant.ts";
import { modelRoot } from "../../evaluation/model.ts";
import { architectureSchema, parseWith } from "../../protocol/architecture.ts";
import { cidOf } from "../../storage/cid.ts";
import { loadDataset } from "../../training/datasets.ts";
import { createEngine } from "../../training/engines.ts";
import { trainChild, type EpochProgress } from "../../training/train.ts";
import { wholeNumber, type Context } from "../context.ts";
import { engineOption, type EngineOptions } from "../engine-option.ts";
import { checkWritable, readJsonFile, writeModelFile } from "../files.ts";
import { addTrainingOptions, trainingSettings, type RecipeOptions } from "../training-options.ts";

interface Options extends RecipeOptions, EngineOptions {
  readonly dataset: string;
  readonly dataDir?: string;
  readonly seed: number;
  readonly out: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  const train = program
    .command("train")
    .description("train one architecture and write its model file")
    .argument("<architecture>", "ARCH.json (docs/interfaces.md)")
    .requiredOption("--dataset <name>", "mnist, fashion-mnist, cifar10, or a folder of IDX or CIFAR files")
    .requiredOption("--out <file>", "where the model file goes")
    .option("--data-dir <folder>", "where the data set's files are")
    .option(
      "--seed <n>",
      "fixes initial weights, the order of the images, and augmentation and dropout",
      wholeNumber("--seed", 0, 0xffffffff),
      0,
    )
    .option("--limit <n>", "only the first n training images", wholeNumber("--limit", 1))
    .addOption(engineOption())
    .option("--json", "print JSON");
  addTrainingOptions(train).action(async (file: string, options: Options) => {
    const { dataset, dataDir, seed, out, limit, json } = options;
    const settings = trainingSettings(options);
    const architecture = parseWith(architectureSchema, readJsonFile(file), `The architecture ${file}`);
    checkWritable(out);
    const { train, validation, notes } = await loadDataset(dataset, {
      dataDir,
      limits: { train: limit },
      signal: context.signal,
    });
    context.note(notes);
    const computing = await createEngine(options.engine);
    const outcome = await trainChild(
      { architecture, train, validation, settings, seed },
      {
        engine: computing,
        signal: context.signal,
        onEpoch: (progress) => process.stderr.write(`${describeEpoch(progress)}\n`),
      },
    );
    await computing.dispose();
    writeModelFile(out, outcome.bytes);
    const { trainLoss, epochValidation, bestEpoch, epochsRun, imagesPerSecond, engine, infeasible, diverged, dead } =
      outcome;
    const root = modelRoot(outcome.model);
    const cid = (await cidOf(outcome.bytes)).toString();
    const { correct, total } = outcome.validation;
    const note =
      infeasible ?? (dead ? "a layer has no bits: nothing can be learnt" : diverged ? "the training diverged" : null);
    context.print(
      json,
      {
        modelRoot: root,
        cid,
        trainLoss,
        validation: { correct, total },
        epochValidation,
        epochsRun,
        bestEpoch,
        imagesPerSecond,
        engine,
        infeasible,
        diverged,
        dead,
      },
      [
        ...(bestEpoch === epochsRun ? [] : [`the model is the one of epoch ${bestEpoch} of ${epochsRun}`]),
        `${correct} of ${total} correct on validation (${percent(correct, total)}), engine ${engine}, ${imagesPerSecond.toFixed(0)} images/s`,
        ...(note === null ? [] : [`note: ${note}`]),
        `modelRoot ${root}`,
        `CID ${cid}`,
      ].join("\n"),
    );
  });
}

function describeEpoch({
  epoch,
  epochs,
  trainLoss,
  trainAccuracy,
  imagesPerSecond,
  validation,
}: EpochProgress): string {
  const parts = [
    `loss ${trainLoss.toFixed(4)}`,
    `${(100 * trainAccuracy).toFixed(1)} % of the training images`,
    ...(validation === undefined ? [] : [`${percent(validation.correct, validation.total)} on validation`]),
    `${imagesPerSecond.toFixed(0)} images/s`,
  ];
  return `epoch ${epoch} of ${epochs}: ${parts.join(", ")}`;
}
