/** A miner on its own account: searches, keeps its best model, and carries it from commitment to payment. */
import { z } from "zod";

import { modelRoot } from "../evaluation/model.ts";
import { admitTrial, type TrialLimits } from "../pool/task.ts";
import type { Architecture } from "../protocol/architecture.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom } from "../protocol/random.ts";
import { runInOrder } from "../search/in-order.ts";
import { DEFAULT_STRATEGY, resumeStrategy, type StrategyName } from "../search/strategies.ts";
import type { Strategy } from "../search/strategy.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { TrainingOutcome } from "../training/train.ts";
import type { TrainingWorker } from "../training/worker.ts";
import { createClaimant, createPrefetch, percent, type BestModel, type Participation } from "./claimant.ts";
import { createDefence } from "./defender.ts";
import { createDisputesContract, type DisputesContract } from "./disputes-contract.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import { createRegistry, withdrawCredit, type Registry, type TaskState } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { createTaskChoice, type AcceptableTerms } from "./task-choice.ts";
import type { TaskFiles } from "./task-files.ts";
import { createWorkList } from "./work-list.ts";

export interface SoloMinerOptions {
  readonly chain: ChainClient;
  readonly worker: Pick<TrainingWorker, "train">;
  /** networks that `worker` trains at a time; 1 unless given */
  readonly workers?: number;
  readonly files: TaskFiles;
  readonly store: ModelStore;
  readonly state: StateFolder;
  readonly seed: number;
  /** how the search chooses; the default strategy where none is given */
  readonly strategy?: StrategyName;
  /** share of the time to use, above 0 and up to 1 */
  readonly throttle?: number;
  /** seconds before the end of training at which the best model is committed */
  readonly commitMargin: number;
  /** terms of a task that are worth a bond; any will do where none are given */
  readonly terms?: AcceptableTerms;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** How many of the newest tasks are looked at for commitments that the state folder does not know of. */
const RECENT_TASKS = 50n;

interface Search {
  readonly taskId: bigint;
  readonly stop: AbortController;
  readonly done: Promise<void>;
  /** why it ended by itself */
  failure: unknown;
}

/** Mines one task after another until the signal fires. */
export async function runSoloMiner(options: SoloMinerOptions): Promise<void> {
  const { chain, files, state, log, signal, commitMargin } = options;
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  const work = createWorkList(state, "solo");
  const followed = createFollowed({
    dutiesFor: (id) => dutiesFor(id, registry, disputes, options),
    onEnd: (id) => {
      work.remove(id);
      files.forget(id);
      state.remove(`searches/${id}`);
      state.remove(`tasks/${id}/${chain.account}`);
    },
    log,
    signal,
  });
  const choice = createTaskChoice({ registry, commitMargin, terms: options.terms, log });
  let search: Search | undefined;
  let started = false;
  /** what a process before this one was at: whatever better ones there are by now, its work is not thrown away */
  let resumed = work.all().at(-1);

  function begin(task: TaskState): Search {
    const stop = new AbortController();
    const begun: Search = { taskId: task.id, stop, done: Promise.resolve(), failure: undefined };
    const done = runSearch(task, options, AbortSignal.any([signal, stop.signal])).catch((error: unknown) => {
      begun.failure = error;
    });
    return Object.assign(begun, { done });
  }

  const choose: Duty = {
    name: "choose",
    run: async (head) => {
      if (!started) {
        work.all().forEach(followed.follow);
        for (const id of await registry.latestTasks(RECENT_TASKS)) {
          const commitment = await registry.commitmentOf(id, chain.account);
          if (commitment !== undefined && !commitment.settled) followed.follow(id);
        }
        started = true;
      }
      if (search !== undefined) {
        const { taskId, stop, done, failure } = search;
        const { schedule } = await registry.task(taskId);
        if (failure === undefined && head.timestamp < schedule.trainingEnd - BigInt(commitMargin)) return;
        stop.abort();
        await done;
        search = undefined;
        if (failure !== undefined && !(failure instanceof PonasError)) throw failure;
        if (failure !== undefined) choice.passOver(taskId, head, failure);
      }
      const task = await choice.choose(head, resumed);
      resumed = undefined;
      if (task === undefined) return;
      work.add(task.id);
      followed.follow(task.id);
      log.info({ event: "task", taskId: String(task.id) }, `works on task ${task.id}`);
      search = begin(task);
    },
  };
  try {
    await runDuties({ chain, log, signal, duties: [choose], followed });
  } finally {
    search?.stop.abort();
    await search?.done;
  }
}

function dutiesFor(
  taskId: bigint,
  registry: Registry,
  disputes: DisputesContract | null,
  options: SoloMinerOptions,
): Duty[] {
  const { chain, files, store, state, log, signal, commitMargin } = options;
  const participant = chain.account;
  const participation: Participation = {
    participant,
    commit: registry.commit,
    reveal: registry.reveal,
    collect: async () => {
      const commitment = await registry.commitmentOf(taskId, participant);
      if (commitment !== undefined && !commitment.settled) await registry.settle(taskId, participant);
      await withdrawCredit(registry, chain, log);
      await disputes?.collect(log);
      return true;
    },
  };
  const best = async (): Promise<BestModel | undefined> => readBest(state, taskId);
  const shared = { taskId, chain, registry, files, store, state, log, signal };
  return [
    createPrefetch({ taskId, registry, files }),
    createClaimant({ ...shared, participation, best, commitMargin }),
    ...createDefence({ ...shared, disputes, participant }),
    createKeeper({ taskId, registry, log, patience: 0 }),
  ];
}

// ————— Search —————

const bestSchema = z.strictObject({ modelRoot: z.string(), correct: z.int(), total: z.int() });

function readBest(state: StateFolder, taskId: bigint): BestModel | undefined {
  const found = state.read(`searches/${taskId}/best.json`, bestSchema);
  if (found === undefined) return undefined;
  const bytes = state.readBytes(`searches/${taskId}/${found.modelRoot}.model`);
  return bytes === undefined ? undefined : ({ ...found, bytes } as BestModel);
}

interface Trial {
  /** from 1 */
  readonly trial: number;
  readonly architecture: Architecture;
}

const searchSchema = z.strictObject({ trials: z.int().min(0), strategy: z.unknown() });

/** Trials in a row that the training engine may fail before the task is given up. */
const MAX_FAILURES = 5;
/** Proposals in a row that are not worth a trial before the space is taken to hold no other. */
const MAX_PROPOSALS = 500;

/**
 * Trials until the signal fires, as many at a time as there are workers; what beats the best so far is on disk as soon as
 * it is trained. A restart goes on after the trials that were under way.
 * @throws PonasError where the task cannot be searched: its files, its space, or its networks are at fault
 */
async function runSearch(task: TaskState, options: SoloMinerOptions, signal: AbortSignal): Promise<void> {
  const { files, worker, workers = 1, state, throttle, log } = options;
  const folder = `searches/${task.id}`;
  let failures = 0;
  try {
    const { template, space, maxMacs, training: settings } = await files.descriptor(task);
    const samples = await files.samples(task, "train");
    const validation = await files.samples(task, "validation");
    const saved = state.read(`${folder}/search.json`, searchSchema);
    const seedOf = (what: string): number => createRandom(`${options.seed} ${task.id} ${what}`).integer(2 ** 32);
    const limits = { maxMacs, hardware: task.hardware, maxModelBytes: task.maxModelBytes };
    const strategy = resumeStrategy(
      options.strategy ?? DEFAULT_STRATEGY,
      { template, space, maxMacs, hardware: task.hardware, seed: seedOf("search"), state: saved?.strategy },
      (reason) => log.warn({ taskId: String(task.id) }, `the search of task ${task.id} begins anew: ${reason}`),
    );
    let best = readBest(state, task.id)?.correct ?? 0;
    let asked = saved?.trials ?? 0;

    async function train({ trial, architecture }: Trial, stop: AbortSignal): Promise<TrainingOutcome | PonasError> {
      const request = { architecture, train: samples, validation, settings, seed: seedOf(`trial ${trial}`), throttle };
      let outcome: TrainingOutcome;
      try {
        outcome = await worker.train(request, { signal: stop });
      } catch (error) {
        if (stop.aborted || !(error instanceof PonasError)) throw error;
        return error;
      }
      const { correct, total } = outcome.validation;
      if (correct > best && outcome.infeasible === null && outcome.bytes.length <= task.maxModelBytes) {
        best = correct;
        const root = modelRoot(outcome.model);
        state.writeBytes(`${folder}/${root}.model`, outcome.bytes);
        state.write(`${folder}/best.json`, { modelRoot: root, correct, total });
      }
      return outcome;
    }

    await runInOrder<Trial, TrainingOutcome | PonasError>({
      // A place ahead for each, so that the slowest one holds up none of the others for long.
      window: workers === 1 ? 1 : 2 * workers,
      signal,
      next: () => {
        const architecture = propose(strategy, limits);
        const trial = ++asked;
        state.write(`${folder}/search.json`, { trials: trial, strategy: strategy.save() });
        const shown = best === 0 ? "–" : percent(best, validation.count);
        log.info({ event: "training", best: shown }, `trial ${trial}`);
        return { trial, architecture };
      },
      run: train,
      done: ({ trial, architecture }, outcome) => {
        if (outcome instanceof PonasError) {
          // A network that is too much for this machine says nothing about the next one.
          if (++failures === MAX_FAILURES) throw outcome;
          strategy.tell(architecture, 0);
          log.warn({ taskId: String(task.id) }, `trial ${trial} failed: ${explainError(outcome)}`);
          return;
        }
        failures = 0;
        const { correct, total } = outcome.validation;
        strategy.tell(architecture, outcome.infeasible === null ? correct / total : 0);
        log.info(
          { event: "trial", correct, total, best: percent(best, total) },
          `trial ${trial}: ${percent(correct, total)} on validation in ${outcome.seconds.toFixed(0)} s`,
        );
      },
    });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The strategy's next network that may end in a model file within the task's limits, as it is to be trained. */
function propose(strategy: Strategy, limits: TrialLimits): Architecture {
  let reason: string | null = null;
  for (let attempt = 0; attempt < MAX_PROPOSALS; attempt++) {
    const proposed = strategy.ask();
    const admitted = admitTrial(proposed, limits);
    if (admitted.architecture !== null) return admitted.architecture;
    reason = admitted.reason;
    strategy.tell(proposed, 0);
  }
  throw new PonasError("not-found", `${MAX_PROPOSALS} proposals in a row were hopeless, the last one since ${reason}.`);
}
