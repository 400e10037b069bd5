/** What a search is to be: from the options, from the journal that it goes on with, or from both. */
import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";

import { z } from "zod";

import { hardwareBoundsSchema } from "../../evaluation/hardware.ts";
import { parseWith, templateSchema } from "../../protocol/architecture.ts";
import { PonasError } from "../../protocol/errors.ts";
import { parseSearchSpace } from "../../search/boxes.ts";
import { readJournalHeader, type JournalHeader } from "../../search/journal.ts";
import { spaceByName, type SearchSpace } from "../../search/spaces.ts";
import { DEFAULT_STRATEGY, STRATEGY_NAMES, type StrategyName } from "../../search/strategies.ts";
import { DATASET_NAMES, loadDataset, type Dataset } from "../../training/datasets.ts";
import { ENGINE_NAMES, type EngineName } from "../../training/engine.ts";
import { chooseEngine } from "../../training/engines.ts";
import { trainingSettingsSchema } from "../../training/settings.ts";
import { readJsonFile } from "../files.ts";
import { trainingSettings, type RecipeOptions } from "../training-options.ts";

/** As commander hands them over; only what was given on the command line is there, the recipe's name apart. */
export interface SearchOptions extends RecipeOptions {
  readonly space?: string;
  readonly strategy?: StrategyName;
  readonly dataset?: string;
  readonly dataDir?: string;
  readonly limit?: number;
  readonly episodes?: number;
  readonly seed?: number;
  readonly window?: number;
  readonly layers?: number;
  readonly head?: "flatten" | "global-sum";
  readonly maxMacs?: number;
  readonly maxLuts?: number;
  readonly minThroughput?: number;
  readonly halving?: number;
  readonly engine?: EngineName;
  readonly workers?: number;
  readonly resume?: string;
}

const begunSchema = z.object({
  episodes: z.int().min(1),
  dataset: z.string(),
  dataDir: z.string().nullable(),
});

const searchSchema = z.object({
  space: z.unknown(),
  template: templateSchema,
  strategy: z.enum(STRATEGY_NAMES),
  seed: z.int(),
  /** networks asked for ahead of what the strategy is told: with it, the trials are others */
  window: z.int().min(1),
  maxMacs: z.int().nullable(),
  hardware: hardwareBoundsSchema.nullable(),
  halving: z.int().min(2).nullable(),
  settings: trainingSettingsSchema,
  engine: z.enum(ENGINE_NAMES),
  limit: z.int().nullable(),
  /** of all training and validation samples */
  data: z.string(),
});

export interface SearchPlan {
  /** where the journal lies or will lie */
  readonly journal: string;
  readonly header: JournalHeader;
  readonly search: Omit<z.infer<typeof searchSchema>, "space">;
  readonly space: SearchSpace;
  readonly episodes: number;
  readonly dataset: Dataset;
  readonly workers: number;
}

const DEFAULT_LAYERS = 6;
/** Keeps four cores busy at little cost to the strategies, and gives equal trials on all machines with fewer. */
const LEAST_WINDOW = 4;

interface Circumstances {
  /** processes that train at a time unless the options say */
  readonly cores: number;
  /** whether the command line says anything of the recipe */
  readonly recipeGiven: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Reads everything that the search needs. What is not on the command line comes from the journal, where there is one;
 * whether what is given agrees with it is for `openJournal` to find out.
 * @throws PonasError usage, bad-input, dataset, engine, aborted
 */
export async function planSearch(
  options: SearchOptions,
  { cores, recipeGiven, signal }: Circumstances,
): Promise<SearchPlan> {
  const before = options.resume === undefined ? undefined : readBefore(options.resume);
  const name = options.dataset ?? before?.begun.dataset;
  const space = options.space === undefined ? before?.space : readSpace(options.space);
  const episodes = options.episodes ?? before?.begun.episodes;
  if (name === undefined || space === undefined || episodes === undefined) {
    const missing = name === undefined ? "--dataset" : space === undefined ? "--space" : "--episodes";
    const nothing = options.resume === undefined ? "" : `, since there is no journal ${options.resume} yet`;
    throw new PonasError("usage", `A new search needs ${missing}${nothing}.`);
  }

  const was = before?.search;
  const dataDir = options.dataDir ?? before?.begun.dataDir ?? undefined;
  const limit = options.limit ?? was?.limit ?? null;
  const dataset = await loadDataset(name, { dataDir, limits: { train: limit ?? undefined }, signal });
  const engine = await chooseEngine(options.engine ?? was?.engine);
  // Processes side by side are for cores; a GPU is one for all of them.
  const workers = options.workers ?? (engine === "cuda" || engine === "webgpu" ? 1 : cores);
  const search = {
    template: {
      input: [dataset.height, dataset.width, dataset.channels] as [number, number, number],
      classes: dataset.classes,
      depth: options.layers ?? was?.template.depth ?? (Array.isArray(space) ? space[0].length : DEFAULT_LAYERS),
      head: { pool: options.head ?? was?.template.head.pool ?? ("flatten" as const), hidden: 0 },
    },
    strategy: options.strategy ?? was?.strategy ?? DEFAULT_STRATEGY,
    seed: options.seed ?? was?.seed ?? 0,
    window: options.window ?? was?.window ?? Math.max(LEAST_WINDOW, workers),
    maxMacs: options.maxMacs ?? was?.maxMacs ?? null,
    hardware: hardwareOf(options) ?? was?.hardware ?? null,
    halving: options.halving ?? was?.halving ?? null,
    settings: recipeGiven || was === undefined ? trainingSettings(options) : was.settings,
    engine,
    limit,
    data: digestOf(dataset),
  };
  // It may be gone on with from another folder.
  const begun = {
    episodes,
    dataset: DATASET_NAMES.some((known) => known === name) ? name : resolve(name),
    dataDir: dataDir === undefined ? null : resolve(dataDir),
  };
  const journal = options.resume ?? defaultJournal(dataset.name, options.space, search);
  return { journal, header: { search: { space, ...search }, begun }, search, space, episodes, dataset, workers };
}

/** What the journal says of its search; of one that is still to be begun, nothing. */
function readBefore(file: string) {
  if (!existsSync(file) || statSync(file).size === 0) return undefined;
  const header = readJournalHeader(file);
  const what = `The first line of the journal ${file}`;
  const search = parseWith(searchSchema, header.search, what);
  const begun = parseWith(begunSchema, header.begun, what);
  return { search, begun, space: parseSearchSpace(search.space, `${what}, the space,`) };
}

function readSpace(name: string): SearchSpace {
  if (!existsSync(name) && !name.endsWith(".json")) return spaceByName(name);
  const space = parseSearchSpace(readJsonFile(name), `The space ${name}`);
  if (Array.isArray(space) && space.length === 0) throw new PonasError("bad-input", `The space ${name} has no boxes.`);
  return space;
}

function hardwareOf({ maxLuts = 0, minThroughput = 0 }: SearchOptions) {
  return maxLuts === 0 && minThroughput === 0 ? null : { maxLuts, minThroughput };
}

function digestOf({ train, validation }: Dataset): string {
  const hash = createHash("sha256");
  for (const { pixels, labels } of [train, validation]) hash.update(pixels).update(labels);
  return hash.digest("hex");
}

/** A new file for each search, which no other search of the same moment takes. */
function defaultJournal(
  dataset: string,
  space: string | undefined,
  search: { strategy: string; seed: number },
): string {
  const now = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  const parts = [
    basename(dataset),
    basename(space ?? "space", ".json"),
    search.strategy,
    `seed${search.seed}`,
    now,
    process.pid,
  ];
  const name = parts.join("-").replace(/[^A-Za-z0-9.-]+/g, "_");
  return join(homedir(), ".ponas", "searches", `${name}.jsonl`);
}
