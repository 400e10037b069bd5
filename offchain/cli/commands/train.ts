import { Option, type Command } from "commander";

import { percent } from "../../agents/claimant.ts";
import { modelRoot } from "../../evaluation/model.ts";
import { architectureSchema, parseWith } from "../../protocol/architecture.ts";
import { cidOf } from "../../storage/cid.ts";
import { loadDataset } from "../../training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../training/settings.ts";
import { trainChild } from "../../training/train.ts";
import { wholeNumber, type Context } from "../context.ts";
import { checkWritable, readJsonFile, writeModelFile } from "../files.ts";

interface Options {
  readonly dataset: string;
  readonly dataDir?: string;
  readonly epochs: number;
  readonly batch: number;
  readonly seed: number;
  readonly out: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  program
    .command("train")
    .description("train one architecture and write its model file")
    .argument("<architecture>", "ARCH.json (docs/interfaces.md)")
    .requiredOption("--dataset <name>", "mnist, fashion-mnist, or a folder of IDX files")
    .requiredOption("--out <file>", "where the model file goes")
    .option("--data-dir <folder>", "where the data set's files are")
    .option(
      "--epochs <n>",
      "passes over the training split",
      wholeNumber("--epochs", 1, 10_000),
      DEFAULT_TRAINING_SETTINGS.epochs,
    )
    .option("--batch <n>", "images of one step", wholeNumber("--batch", 1, 4096), DEFAULT_TRAINING_SETTINGS.batch)
    .option("--seed <n>", "fixes initial weights and the order of the images", wholeNumber("--seed", 0, 0xffffffff), 0)
    .option("--limit <n>", "only the first n training images", wholeNumber("--limit", 1))
    .addOption(new Option("--engine <name>", "what computes").choices(["onnx"]).default("onnx"))
    .option("--json", "print JSON")
    .action(async (file: string, { dataset, dataDir, epochs, batch, seed, out, limit, json }: Options) => {
      const architecture = parseWith(architectureSchema, readJsonFile(file), `The architecture ${file}`);
      checkWritable(out);
      const { train, validation, notes } = await loadDataset(dataset, { dataDir, limits: { train: limit } });
      context.note(notes);
      const outcome = await trainChild(
        { architecture, train, validation, settings: { ...DEFAULT_TRAINING_SETTINGS, epochs, batch }, seed },
        {
          signal: context.signal,
          onEpoch: ({ epoch, trainLoss, trainAccuracy, imagesPerSecond }) =>
            process.stderr.write(
              `epoch ${epoch} of ${epochs}: loss ${trainLoss.toFixed(4)}, ${(100 * trainAccuracy).toFixed(1)} % of the training images, ${imagesPerSecond.toFixed(0)} images/s\n`,
            ),
        },
      );
      writeModelFile(out, outcome.bytes);
      const { trainLoss, imagesPerSecond, engine, infeasible, diverged, dead } = outcome;
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
          imagesPerSecond,
          engine,
          infeasible,
          diverged,
          dead,
        },
        [
          `${correct} of ${total} correct on validation (${percent(correct, total)}), engine ${engine}, ${imagesPerSecond.toFixed(0)} images/s`,
          ...(note === null ? [] : [`note: ${note}`]),
          `modelRoot ${root}`,
          `CID ${cid}`,
        ].join("\n"),
      );
    });
}
