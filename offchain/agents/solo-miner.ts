/** A miner on its own account: searches, keeps its best model, and carries it from commitment to payment. */
import { z } from "zod";

import { modelRoot } from "../evaluation/model.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom } from "../protocol/random.ts";
import { createRandomSearch } from "../search/random-search.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { TrainingWorker } from "../training/worker.ts";
import { createClaimant, percent, type BestModel, type Participation } from "./claimant.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import { withdrawCredit } from "./publisher.ts";
import { createRegistry, type Registry, type TaskState } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { chooseTask } from "./task-choice.ts";
import type { TaskFiles } from "./task-files.ts";

export interface SoloMinerOptions {
  readonly chain: ChainClient;
  readonly worker: TrainingWorker;
  readonly files: TaskFiles;
  readonly store: ModelStore;
  readonly state: StateFolder;
  readonly seed: number;
  /** share of the time to use, above 0 and up to 1 */
  readonly throttle?: number;
  /** seconds before the end of training at which the best model is committed */
  readonly commitMargin: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** How many of the newest tasks a restarted miner looks at for commitments of its own. */
const RECENT_TASKS = 50n;

/** Mines one task after another until the signal fires. */
export async function runSoloMiner(options: SoloMinerOptions): Promise<void> {
  const { chain, log, signal, commitMargin } = options;
  const registry = createRegistry(chain);
  const followed = createFollowed({ dutiesFor: (id) => dutiesFor(id, registry, options), log, signal });
  let search:
    | { readonly taskId: bigint; readonly stop: AbortController; readonly done: Promise<void>; ended: boolean }
    | undefined;
  let started = false;

  const choose: Duty = {
    name: "choose",
    run: async (head) => {
      if (!started) {
        for (const id of await registry.latestTasks(RECENT_TASKS)) {
          const commitment = await registry.commitmentOf(id, chain.account);
          if (commitment !== undefined && !commitment.settled) followed.follow(id);
        }
        started = true;
      }
      if (search !== undefined) {
        const { schedule } = await registry.task(search.taskId);
        // One that has ended early, for want of a file say, begins anew below.
        if (!search.ended && head.timestamp < schedule.trainingEnd - BigInt(commitMargin)) return;
        search.stop.abort();
        await search.done;
        search = undefined;
      }
      const task = await chooseTask(registry, head, commitMargin);
      if (task === undefined) return;
      followed.follow(task.id);
      log.info({ event: "task", taskId: String(task.id) }, `works on task ${task.id}`);
      const stop = new AbortController();
      const done = runSearch(task, options, AbortSignal.any([signal, stop.signal]));
      const begun = { taskId: task.id, stop, done, ended: false };
      void done.finally(() => (begun.ended = true)).catch(() => undefined);
      search = begun;
    },
  };
  try {
    await runDuties({ chain, log, signal, duties: [choose, followed.duty] });
  } finally {
    search?.stop.abort();
    await search?.done;
  }
}

function dutiesFor(taskId: bigint, registry: Registry, options: SoloMinerOptions): Duty[] {
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
      return true;
    },
  };
  const best = async (): Promise<BestModel | undefined> => readBest(state, taskId);
  const shared = { taskId, chain, registry, files, store, state, log, signal };
  const prefetch: Duty = {
    name: "prefetch",
    run: async () => {
      await files.prefetchTest(await registry.task(taskId));
      return true;
    },
  };
  return [
    prefetch,
    createClaimant({ ...shared, participation, best, commitMargin }),
    createKeeper({ taskId, registry, log, patience: 0 }),
  ];
}

// ————— Search —————

const bestSchema = z.strictObject({ modelRoot: z.string(), correct: z.int(), total: z.int() });

function readBest(state: StateFolder, taskId: bigint): BestModel | undefined {
  const found = state.read(`tasks/${taskId}/best.json`, bestSchema);
  if (found === undefined) return undefined;
  const bytes = state.readBytes(`tasks/${taskId}/${found.modelRoot}.model`);
  return bytes === undefined ? undefined : ({ ...found, bytes } as BestModel);
}

/** One trial after another until the signal fires; what beats the best so far is on disk before the next one begins. */
async function runSearch(task: TaskState, options: SoloMinerOptions, signal: AbortSignal): Promise<void> {
  const { files, worker, state, throttle, log } = options;
  try {
    const { template, space, maxMacs, training: settings } = await files.descriptor(task);
    const train = await files.samples(task, "train");
    const validation = await files.samples(task, "validation");
    const seeds = createRandom(`${options.seed} ${task.id}`);
    const strategy = createRandomSearch({ template, space, maxMacs, seed: seeds.integer(2 ** 32) });
    let best = readBest(state, task.id)?.correct ?? 0;
    for (let trial = 1; !signal.aborted; trial++) {
      const architecture = strategy.ask();
      const shown = best === 0 ? "–" : percent(best, validation.count);
      log.info({ event: "training", best: shown }, `trial ${trial}`);
      const seed = seeds.integer(2 ** 32);
      const outcome = await worker.train({ architecture, train, validation, settings, seed, throttle }, { signal });
      const { correct, total } = outcome.validation;
      strategy.tell(architecture, correct / total);
      if (correct > best && outcome.infeasible === null && outcome.bytes.length <= task.maxModelBytes) {
        best = correct;
        const root = modelRoot(outcome.model);
        state.writeBytes(`tasks/${task.id}/${root}.model`, outcome.bytes);
        state.write(`tasks/${task.id}/best.json`, { modelRoot: root, correct, total });
      }
      log.info(
        { event: "trial", correct, total, best: percent(best, total) },
        `trial ${trial}: ${percent(correct, total)} on validation in ${outcome.seconds.toFixed(0)} s`,
      );
    }
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof PonasError)) throw error;
    log.warn({ taskId: String(task.id) }, `the search in task ${task.id} ended: ${explainError(error)}`);
  }
}
