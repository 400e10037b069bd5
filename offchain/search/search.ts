/**
 * A search from its first proposal to its best model: asks a strategy, has the networks trained elsewhere, side by side,
 * and writes everything down so that it can be killed at any instant. It knows nothing of how a network is trained.
 */
import { isDeepStrictEqual } from "node:util";

import type { Architecture } from "../protocol/architecture.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import { rungsOf, type Rung } from "./halving.ts";
import { runInOrder } from "./in-order.ts";
import type { Journal, TrialRecord } from "./journal.ts";
import type { ModelFolder } from "./model-folder.ts";
import type { Strategy } from "./strategy.ts";

/** One training that the search asks for. Equal orders must give equal models. */
export interface TrainingOrder {
  readonly trial: number;
  readonly rung: number;
  readonly architecture: Architecture;
  readonly seed: number;
  /** of this training, 1 or more */
  readonly epochs: number;
  /** file of the model to go on from; null for fresh weights */
  readonly initial: Uint8Array | null;
}

export interface Trained {
  readonly validation: { readonly correct: number; readonly total: number };
  readonly trainLoss: readonly number[];
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly engine: string;
  readonly infeasible: string | null;
  readonly diverged: boolean;
  readonly dead: boolean;
  readonly modelRoot: string;
  /** the model's canonical file */
  readonly bytes: Uint8Array;
}

/** @throws PonasError engine where this one network could not be trained; anything else ends the search */
export type Train = (order: TrainingOrder, signal: AbortSignal) => Promise<Trained>;

export interface SearchOptions {
  /** fresh: what the journal holds is told to it again */
  readonly strategy: Strategy;
  /** networks to propose */
  readonly episodes: number;
  /** of each network; under halving of one that gets to the last rung */
  readonly epochs: number;
  /** share 1/η of the networks goes on to the next rung of successive halving; without it there is one rung */
  readonly eta?: number;
  /** of every training: initial weights and the order of the samples */
  readonly seed: number;
  /** networks asked for and not yet told of; part of what decides which networks are tried */
  readonly window: number;
  readonly journal: Journal;
  readonly models: ModelFolder;
  readonly train: Train;
  /** hears of every training, those of the journal too, in an order that the timing does not change */
  readonly onTrial?: (trial: Trial) => void;
  /** stops within one step of training */
  readonly signal?: AbortSignal;
}

export interface Trial extends TrialRecord {
  /** validation accuracy, 0 … 1; 0 where infeasible or failed */
  readonly reward: number;
  /** whether it is better than all that were heard of before */
  readonly best: boolean;
  /** false where it was found in the journal */
  readonly fresh: boolean;
}

export interface SearchResult {
  /** null where there was no trial that gave a model */
  readonly best: { readonly trial: TrialRecord; readonly reward: number; readonly bytes: Uint8Array } | null;
  /** networks that were proposed */
  readonly networks: number;
  /** why there were fewer than asked for, as a sentence, or null */
  readonly exhausted: string | null;
}

/** So many failures one after another are the machine's fault and not the networks'. */
const FAILURES_IN_A_ROW = 3;

export function rewardOf({ correct, total, infeasible, failed }: TrialRecord): number {
  return infeasible !== null || failed !== null || total === 0 ? 0 : correct / total;
}

/** Negative where `a` is the better one. Of equal rewards the earlier trial wins, whatever ended first. */
function compareTrials(a: TrialRecord, b: TrialRecord): number {
  return rewardOf(b) - rewardOf(a) || a.trial - b.trial || a.rung - b.rung;
}

const hasModel = ({ infeasible, failed, modelRoot }: TrialRecord): boolean =>
  infeasible === null && failed === null && modelRoot !== null;

/**
 * Runs a search, or goes on with the one that the journal holds: equal options give equal trials, on any number of
 * workers and after any number of interruptions. The strategy is told the rewards of the first rung alone, since only
 * these are comparable among all networks.
 * @throws PonasError aborted; bad-input where the journal's trials are not those of this strategy; engine where one
 * training after another fails; unavailable where the disk is full
 */
export async function runSearch(options: SearchOptions): Promise<SearchResult> {
  const { strategy, episodes, epochs, eta, window, onTrial, signal } = options;
  const trials = createTrials(options);
  let exhausted: string | null = null;
  let best: TrialRecord | null = null;

  const hear = (record: TrialRecord, fresh: boolean): void => {
    const better = hasModel(record) && (best === null || compareTrials(record, best) < 0);
    if (better) best = record;
    onTrial?.({ ...record, reward: rewardOf(record), best: better, fresh });
  };

  let asked = 0;
  const first = rungsOf({ networks: episodes, epochs, eta })[0]!;
  const proposed: TrialRecord[] = [];
  await runInOrder({
    window,
    signal,
    next: () => {
      if (asked === episodes) return null;
      try {
        return { trial: asked++, architecture: strategy.ask() };
      } catch (error) {
        if (!(error instanceof PonasError && error.code === "not-found")) throw error;
        asked -= 1;
        exhausted = error.message;
        return null;
      }
    },
    run: ({ trial, architecture }, stop) => trials.finish({ trial, architecture, rung: 0, before: null }, first, stop),
    done: ({ architecture }, { record, fresh }) => {
      strategy.tell(architecture, rewardOf(record));
      proposed.push(record);
      hear(record, fresh);
    },
  });

  // Where the space was used up early, there are fewer networks than were planned for.
  const rungs = asked === 0 ? [] : rungsOf({ networks: asked, epochs, eta }).slice(1);
  let survivors = proposed;
  for (const [index, rung] of rungs.entries()) {
    const promoted = survivors.filter(hasModel).sort(compareTrials).slice(0, rung.networks);
    survivors = [];
    const waiting = promoted.values();
    await runInOrder({
      window,
      signal,
      next: () => waiting.next().value ?? null,
      run: (before, stop) => trials.finish({ ...before, rung: index + 1, before }, rung, stop),
      done: (_, { record, fresh }) => {
        survivors.push(record);
        hear(record, fresh);
      },
    });
  }

  if (best === null) return { best, networks: asked, exhausted };
  const bytes = await trials.modelOf(best, signal);
  trials.forgetAllBut(best);
  return { best: { trial: best, reward: rewardOf(best), bytes }, networks: asked, exhausted };
}

interface Step {
  readonly trial: number;
  readonly rung: number;
  readonly architecture: Architecture;
  /** what this training goes on from */
  readonly before: TrialRecord | null;
}

interface Finished {
  readonly record: TrialRecord;
  readonly fresh: boolean;
}

/** Trainings as the journal has them, or done and written down now; and the models that may be needed again. */
function createTrials({ episodes, epochs, eta, seed, journal, models, train }: SearchOptions) {
  const key = (trial: number, rung: number): string => `${trial}/${rung}`;
  const known = new Map(journal.records.map((record) => [key(record.trial, record.rung), record]));
  const rungs = rungsOf({ networks: episodes, epochs, eta });
  let failuresInARow = 0;

  /** The best so far, and at each rung those that may go on from there. */
  function needed(): TrialRecord[] {
    const ranked = [...known.values()].filter(hasModel).sort(compareTrials);
    const promising = rungs
      .slice(1)
      .flatMap(({ networks }, index) => ranked.filter(({ rung }) => rung === index).slice(0, networks));
    return [...ranked.slice(0, 1), ...promising];
  }

  const filesOf = (records: readonly TrialRecord[]): Set<string> =>
    new Set(records.flatMap(({ modelFile }) => modelFile ?? []));

  function write(record: TrialRecord, bytes: Uint8Array | null): TrialRecord {
    known.set(key(record.trial, record.rung), record);
    const wanted = needed();
    // The model is on the disk before the line that names it.
    const written = bytes !== null && wanted.includes(record) ? { ...record, modelFile: models.put(bytes) } : record;
    known.set(key(record.trial, record.rung), written);
    journal.append(written);
    models.keepOnly(filesOf(needed()));
    return written;
  }

  async function attempt(order: TrainingOrder, signal: AbortSignal): Promise<Trained | string> {
    for (let again = true; ; again = false) {
      try {
        return await train(order, signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof PonasError && error.code === "engine")) throw error;
        // A process may have died for others' hunger for memory; twice is no accident.
        if (!again) return explainError(error);
      }
    }
  }

  /** The model file of a finished training; one that is no longer there is trained again. */
  async function modelOf(record: TrialRecord, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const kept = record.modelFile === null ? null : models.get(record.modelFile);
    if (kept !== null) return kept;
    const { trial, rung, architecture } = record;
    const before = rung === 0 ? undefined : known.get(key(trial, rung - 1));
    const initial = before === undefined ? null : await modelOf(before, signal);
    const order = { trial, rung, architecture, seed: record.seed, epochs: rungs[rung]!.added, initial };
    const { modelRoot, bytes } = await train(order, signal ?? new AbortController().signal);
    if (modelRoot !== record.modelRoot) {
      throw new PonasError(
        "integrity",
        `The model of trial ${trial} is lost, and training it again gave another one than the journal ${journal.file} names.`,
        { cure: "search on with the engine and the version that the journal was begun with" },
      );
    }
    return bytes;
  }

  return {
    modelOf,

    /** Of a journal that holds more trials than were asked for now, the best of those stays too. */
    forgetAllBut: (best: TrialRecord): void => models.keepOnly(filesOf([best, needed()[0]!])),

    finish: async (step: Step, { epochs, added }: Rung, signal: AbortSignal): Promise<Finished> => {
      const { trial, rung, architecture, before } = step;
      const found = known.get(key(trial, rung));
      if (found !== undefined) {
        if (isDeepStrictEqual(found.architecture.layers, plain(architecture.layers)) && found.epochs === epochs) {
          return { record: found, fresh: false };
        }
        throw new PonasError(
          "bad-input",
          `Trial ${trial} of the journal ${journal.file} is another network than the strategy proposes: the journal was written by another version.`,
          { cure: "go on with the version that began it, or begin a new journal" },
        );
      }
      const initial = before === null ? null : await modelOf(before, signal);
      const outcome = await attempt({ trial, rung, architecture, seed, epochs: added, initial }, signal);
      const common = { trial, rung, architecture, epochs, seed };
      if (typeof outcome === "string") {
        failuresInARow += 1;
        if (failuresInARow >= FAILURES_IN_A_ROW) {
          throw new PonasError("engine", `${FAILURES_IN_A_ROW} trainings in a row failed. The last one: ${outcome}`);
        }
        return { record: write({ ...common, ...NO_MODEL, failed: outcome }, null), fresh: true };
      }
      failuresInARow = 0;
      const { validation, trainLoss, bytes, ...rest } = outcome;
      const record: TrialRecord = {
        ...common,
        correct: validation.correct,
        total: validation.total,
        trainLoss: trainLoss.map((loss) => (Number.isFinite(loss) ? loss : null)),
        seconds: rest.seconds,
        imagesPerSecond: rest.imagesPerSecond,
        engine: rest.engine,
        infeasible: rest.infeasible,
        diverged: rest.diverged,
        dead: rest.dead,
        failed: null,
        modelRoot: rest.modelRoot,
        modelFile: null,
      };
      return { record: write(record, bytes), fresh: true };
    },
  };
}

const NO_MODEL = {
  correct: 0,
  total: 0,
  trainLoss: [],
  seconds: 0,
  imagesPerSecond: 0,
  engine: null,
  infeasible: null,
  diverged: false,
  dead: false,
  modelRoot: null,
  modelFile: null,
};

/** As it would be read from a file. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
