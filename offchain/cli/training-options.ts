/** The options of a training recipe, for every command that trains or publishes how to. */
import { Option, type Command } from "commander";

import { PonasError } from "../protocol/errors.ts";
import {
  DEFAULT_TRAINING_SETTINGS,
  PAPER_TRAINING_SETTINGS,
  trainingSettingsSchema,
  type TrainingSettings,
} from "../training/settings.ts";
import { wholeNumber } from "./context.ts";

const RECIPES: Record<"default" | "paper", TrainingSettings> = {
  default: DEFAULT_TRAINING_SETTINGS,
  paper: PAPER_TRAINING_SETTINGS,
};

/** As commander hands them over: absent where the recipe's own value holds. */
export interface RecipeOptions {
  readonly recipe: keyof typeof RECIPES;
  readonly epochs?: number;
  readonly batch?: number;
  readonly optimizer?: TrainingSettings["optimizer"];
  readonly learningRate?: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly schedule?: TrainingSettings["schedule"];
  readonly dropout?: number;
  readonly shift?: number;
  readonly flip?: boolean;
  readonly earlyStop?: number;
}

/** Adds the options; {@link trainingSettings} makes a recipe of what they say. */
export function addTrainingOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--recipe <name>", "training recipe whose values the options below replace")
        .choices(Object.keys(RECIPES))
        .default("default"),
    )
    .option("--epochs <n>", either("passes over the training split", "epochs"), wholeNumber("--epochs", 1, 10_000))
    .option("--batch <n>", either("images of one step", "batch"), wholeNumber("--batch", 1, 4096))
    .addOption(new Option("--optimizer <name>", either("what moves the weights", "optimizer")).choices(["adam", "sgd"]))
    .option(
      "--learning-rate <x>",
      "adam 0.003, sgd 0.01",
      number("--learning-rate", "above 0", (x) => x > 0),
    )
    .option("--momentum <x>", "Nesterov's, of sgd: 0.9", number("--momentum", "from 0 to below 1", belowOne))
    .option("--weight-decay <x>", "default: 0; paper: 0.0005", number("--weight-decay", "from 0 to 1", atMostOne))
    .option("--schedule <kind>", `${either("cosine, constant", "schedule")}, or step:EPOCHS:FACTOR`, schedule)
    .option("--dropout <x>", "share of units left out of a step", number("--dropout", "from 0 to below 1", belowOne))
    .option("--shift <n>", "move training images by up to n pixels at random", wholeNumber("--shift", 0, 8))
    .option("--flip", "mirror training images at random")
    .option(
      "--early-stop <n>",
      "score every epoch, keep the best, and stop after n epochs without a better one",
      wholeNumber("--early-stop", 1, 10_000),
    );
}

/** The recipe that the options describe. @throws PonasError usage where they contradict each other */
export function trainingSettings(options: RecipeOptions): TrainingSettings {
  const usual = RECIPES[options.recipe];
  const { optimizer = usual.optimizer, shift = 0, flip = false, earlyStop } = options;
  if (optimizer !== "sgd" && options.momentum !== undefined) {
    throw new PonasError("usage", "--momentum goes with --optimizer sgd: adam has its own.");
  }
  // An optimiser that is not the recipe's own comes with the rate of the recipe that it belongs to.
  const home = optimizer === usual.optimizer ? usual : Object.values(RECIPES).find((r) => r.optimizer === optimizer)!;
  const settings = {
    ...usual,
    epochs: options.epochs ?? usual.epochs,
    batch: options.batch ?? usual.batch,
    optimizer,
    learningRate: options.learningRate ?? home.learningRate,
    schedule: options.schedule ?? usual.schedule,
    momentum: options.momentum ?? (optimizer === "sgd" ? usual.momentum : undefined),
    // What changes nothing is not named.
    weightDecay: (options.weightDecay ?? usual.weightDecay) || undefined,
    dropout: (options.dropout ?? usual.dropout) || undefined,
    augmentation: shift > 0 || flip ? { shift, flip } : usual.augmentation,
    earlyStop: earlyStop === undefined ? usual.earlyStop : { patience: earlyStop },
  };
  const named = Object.entries(settings).filter(([, value]) => value !== undefined);
  return trainingSettingsSchema.parse(Object.fromEntries(named));
}

function either(what: string, key: "epochs" | "batch" | "optimizer" | "schedule"): string {
  return `${what} (default: ${String(RECIPES.default[key])}; paper: ${String(RECIPES.paper[key])})`;
}

const belowOne = (x: number): boolean => x >= 0 && x < 1;
const atMostOne = (x: number): boolean => x >= 0 && x <= 1;

function number(flag: string, range: string, allowed: (x: number) => boolean): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || !allowed(value)) {
      throw new PonasError("usage", `${flag} takes a number ${range}, not "${text}".`);
    }
    return value;
  };
}

function schedule(text: string): TrainingSettings["schedule"] {
  if (text === "cosine" || text === "constant") return text;
  const match = /^step:(\d{1,5}):(\d*\.?\d+(?:e-?\d+)?)$/.exec(text);
  const [every, factor] = [Number(match?.[1]), Number(match?.[2])];
  if (!(every >= 1 && every <= 10_000 && factor > 0 && factor <= 1)) {
    throw new PonasError(
      "usage",
      `--schedule takes cosine, constant, or step:EPOCHS:FACTOR such as step:10:0.1, not "${text}".`,
    );
  }
  return { every, factor };
}
