import type { Command } from "commander";

import { PonasError } from "../../protocol/errors.ts";
import { fraction, wholeNumber, type Context } from "../context.ts";
import { runCheat } from "../demo/cheat/run.ts";
import { describeCheat } from "../demo/cheat/summary.ts";
import { runDemo } from "../demo/run.ts";
import { createScreen } from "../demo/screen.ts";
import { describeSummary } from "../demo/summary.ts";

interface Options {
  readonly dataset: string;
  readonly dataDir?: string;
  readonly space: string;
  readonly training?: number;
  readonly epochs?: number;
  readonly trainLimit?: number;
  readonly minAccuracy: number;
  readonly seed: number;
  readonly soloThrottle?: number;
  readonly cheat?: boolean;
  readonly keep?: string;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  program
    .command("demo")
    .description("a whole round on this machine, every role in a process of its own, from publishing to pay")
    .option("--dataset <name>", "mnist, fashion-mnist, or a folder of IDX files", "mnist")
    .option("--data-dir <folder>", "where the data set's files are")
    .option("--space <name>", "search space: demo, full, S1 … S9", "demo")
    .option(
      "--training <s>",
      "seconds of the training phase (default: 110; with --cheat 40)",
      wholeNumber("--training", 30),
    )
    .option(
      "--epochs <n>",
      "epochs of one trial (default: 3 for mnist, 2 for others; with --cheat 1)",
      wholeNumber("--epochs", 1),
    )
    .option(
      "--train-limit <n>",
      "only the first n training images (default: 9000; with --cheat 3000)",
      wholeNumber("--train-limit", 1),
    )
    .option("--min-accuracy <percent>", "a claim below it is no candidate", wholeNumber("--min-accuracy", 0, 100), 20)
    .option("--seed <n>", "of splits and proposals", wholeNumber("--seed", 0), 1)
    .option(
      "--solo-throttle <share>",
      "share of the time that the solo miner uses (default: 1)",
      fraction("--solo-throttle"),
    )
    .option("--cheat", "a round in which one miner lies by a single prediction: how it is found, played out and paid")
    .option("--keep <folder>", "keep the state and logs of all processes there")
    .option("--json", "print JSON")
    .action(async ({ cheat, json, soloThrottle, ...options }: Options) => {
      if (cheat === true && soloThrottle !== undefined) {
        throw new PonasError("usage", "--solo-throttle is of the round with a pool, and --cheat plays one without.");
      }
      const screen = createScreen(process.stderr);
      const shared = {
        ...options,
        signal: context.signal,
        onRecord: screen.record,
        onTask: screen.task,
        onStep: screen.step,
      };
      const { training, epochs, trainLimit } = options;
      try {
        if (cheat === true) {
          const short = { training: training ?? 40, epochs: epochs ?? 1, trainLimit: trainLimit ?? 3000 };
          const summary = await runCheat({ ...shared, ...short });
          screen.close();
          context.print(json, summary, `\n${describeCheat(summary)}`);
          return;
        }
        const summary = await runDemo({
          ...shared,
          training: training ?? 110,
          epochs: epochs ?? (options.dataset === "mnist" ? 3 : 2),
          trainLimit: trainLimit ?? 9000,
          soloThrottle: soloThrottle ?? 1,
        });
        screen.close();
        context.print(json, summary, `\n${describeSummary(summary)}`);
      } catch (error) {
        screen.close();
        if (context.signal.aborted)
          throw new PonasError("aborted", "Stopped; no process was left behind.", { cause: error });
        throw error;
      }
    });
}
