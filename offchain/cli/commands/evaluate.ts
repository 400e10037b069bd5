import { Option, type Command } from "commander";

import { evaluateModel } from "../../evaluation/evaluate.ts";
import { firstSamples, loadDataset } from "../../training/datasets.ts";
import { wholeNumber, type Context } from "../context.ts";
import { MAX_MODEL_BYTES, readModelFile } from "../files.ts";

interface Options {
  readonly dataset: string;
  readonly dataDir?: string;
  readonly split: "validation" | "test";
  readonly engine: "reference" | "fast";
  readonly limit?: number;
  readonly predictions?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  program
    .command("evaluate")
    .description("a model file's canonical accuracy on a data set: the same integer on every machine")
    .argument("<model>", "model file")
    .requiredOption("--dataset <name>", "mnist, fashion-mnist, cifar10, or a folder of IDX or CIFAR files")
    .option("--data-dir <folder>", "where the data set's files are")
    .addOption(new Option("--split <name>", "which samples").choices(["validation", "test"]).default("test"))
    .addOption(
      new Option("--engine <name>", "both give the same numbers").choices(["reference", "fast"]).default("fast"),
    )
    .option("--limit <n>", "only the first n samples of the split", wholeNumber("--limit", 1))
    .option("--predictions", "print every prediction")
    .option("--json", "print JSON")
    .action(async (file: string, { dataset, dataDir, split, engine, limit, predictions, json }: Options) => {
      const bytes = readModelFile(file);
      const { [split]: samples, notes } = await loadDataset(dataset, {
        dataDir,
        limits: { train: 0 },
        signal: context.signal,
      });
      context.note(notes);
      const part = firstSamples(samples, limit ?? Infinity);
      const { signal } = context;
      const found = await evaluateModel(bytes, { ...part, maxBytes: MAX_MODEL_BYTES, engine, signal });
      const { correct, total, modelRoot, result, malformed } = found;
      const value = {
        correct,
        total,
        modelRoot,
        result,
        malformed,
        ...(predictions === true ? { predictions: [...found.predictions] } : {}),
      };
      const verdict = malformed === null ? `${((100 * correct) / total).toFixed(2)} %` : malformed.reason;
      const text = [`${correct} of ${total} correct (${verdict})`, `modelRoot ${modelRoot}`, `result ${result}`];
      if (predictions === true) text.push([...found.predictions].join(" "));
      context.print(json, value, text.join("\n"));
    });
}
