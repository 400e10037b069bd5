/** The demo's liar: a miner of its own kind, which trains longer than the task asks, claims too much, and defends that. */
import { createClaimant, createPrefetch, percent, type BestModel } from "../../../agents/claimant.ts";
import { createDefender } from "../../../agents/defender.ts";
import type { DisputeFiles } from "../../../agents/dispute-sides.ts";
import type { DisputesContract } from "../../../agents/disputes-contract.ts";
import { createFollowed, runDuties, type Duty } from "../../../agents/duties.ts";
import { createKeeper } from "../../../agents/keeper.ts";
import { createPartsPublisher } from "../../../agents/parts-publisher.ts";
import { createRegistry, withdrawCredit, type Registry, type TaskState } from "../../../agents/registry.ts";
import type { StateFolder } from "../../../agents/state-folder.ts";
import type { TaskFiles } from "../../../agents/task-files.ts";
import { evaluateModel } from "../../../evaluation/evaluate.ts";
import { modelRoot } from "../../../evaluation/model.ts";
import { admitTrial } from "../../../pool/task.ts";
import type { ChainClient, Head } from "../../../protocol/chain-client.ts";
import { PonasError } from "../../../protocol/errors.ts";
import type { Log } from "../../../protocol/log.ts";
import { createStrategy } from "../../../search/strategies.ts";
import type { ModelStore } from "../../../storage/model-store.ts";
import type { TrainingWorker } from "../../../training/worker.ts";
import { chooseLie, lyingFiles, type Lie } from "./lie.ts";

export interface LiarOptions {
  readonly chain: ChainClient;
  readonly disputes: DisputesContract;
  readonly worker: Pick<TrainingWorker, "train">;
  readonly files: TaskFiles;
  readonly store: ModelStore;
  readonly state: StateFolder;
  /** of each network: more than the task's, so that its claim is the highest and is examined first */
  readonly epochs: number;
  readonly seed: number;
  /** seconds before the end of training at which the best model is committed */
  readonly commitMargin: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Takes part in every open task, with a lie in each, until the signal fires. */
export async function runLiar(options: LiarOptions): Promise<void> {
  const { chain, log, signal } = options;
  const registry = createRegistry(chain);
  const followed = createFollowed({ dutiesFor: (id) => dutiesFor(id, registry, options), log, signal });
  const watch: Duty = {
    name: "watch",
    run: async () => (await registry.openTasks()).forEach(followed.follow),
  };
  await runDuties({ chain, log, signal, duties: [watch], followed });
}

function dutiesFor(taskId: bigint, registry: Registry, options: LiarOptions): Duty[] {
  const { chain, disputes, store, state, commitMargin, log, signal } = options;
  const participant = chain.account;
  let best: BestModel | undefined;
  let lie: Promise<Lie> | undefined;

  async function lieAbout(task: TaskState, bytes: Uint8Array): Promise<Lie> {
    const { samples } = await options.files.testSet(task);
    const { correct, predictions } = await evaluateModel(bytes, { ...samples, maxBytes: task.maxModelBytes, signal });
    const chosen = chooseLie(samples, predictions);
    const { sample, prediction, claimed, instead } = chosen;
    log.info(
      { event: "lie", taskId: String(taskId), ...chosen, correct },
      `makes ${correct} of ${samples.count} and will claim one more: image ${sample}, which its model takes for class ` +
        `${prediction}, is to be a ${claimed} (it will show image ${instead} in its place)`,
    );
    return chosen;
  }
  const files = lyingFiles(options.files, async (task) => {
    if (best === undefined) return undefined;
    if (lie === undefined) {
      lie = lieAbout(task, best.bytes);
      lie.catch(() => (lie = undefined));
    }
    return lie;
  });

  const train: Duty = {
    name: "train",
    run: async (head) => {
      const task = await registry.task(taskId);
      await trainUntilCommitment(task, head, { ...options, found: (model) => (best = model) });
      return true;
    },
  };
  const collect = async (): Promise<boolean> => {
    const commitment = await registry.commitmentOf(taskId, participant);
    if (commitment !== undefined && !commitment.settled) await registry.settle(taskId, participant);
    await withdrawCredit(registry, chain, log);
    return true;
  };
  const participation = { participant, commit: registry.commit, reveal: registry.reveal, collect };
  const shared = { taskId, chain, registry, files, store, state, log, signal };
  const shown: DisputeFiles = {
    model: async () => best!.bytes,
    testSet: async (task) => (await files.testSet(task)).samples,
  };
  return [
    createPrefetch({ taskId, registry, files }),
    train,
    createClaimant({ ...shared, participation, best: async () => best, commitMargin }),
    createDefender({ ...shared, disputes, participant, files: shown }),
    createPartsPublisher({ ...shared, disputes, participant, files: shown }),
    createKeeper({ taskId, registry, log, patience: 6 }),
  ];
}

/** Trains one network of the space after another for longer than the task asks, and tells of each that is better. */
async function trainUntilCommitment(
  task: TaskState,
  head: Head,
  options: LiarOptions & { readonly found: (model: BestModel) => void },
): Promise<void> {
  const { files, worker, epochs, seed, commitMargin, found, log } = options;
  const left = task.schedule.trainingEnd - BigInt(commitMargin) - head.timestamp;
  if (left <= 0n) return;
  const over = AbortSignal.timeout(1000 * Number(left));
  const signal = AbortSignal.any([options.signal, over]);
  try {
    const { template, space, maxMacs, training } = await files.descriptor(task);
    const train = await files.samples(task, "train");
    const validation = await files.samples(task, "validation");
    const strategy = createStrategy("random", { template, space, maxMacs, seed });
    let most = 0;
    for (let trial = 1; ; trial++) {
      const { architecture } = admitTrial(strategy.ask(), { maxMacs, maxModelBytes: task.maxModelBytes });
      if (architecture === null) continue;
      log.info({ event: "training" }, `trial ${trial}, for ${epochs} epochs`);
      const settings = { ...training, epochs };
      const outcome = await worker.train({ architecture, train, validation, settings, seed: seed + trial }, { signal });
      const { correct, total } = outcome.validation;
      log.info({ event: "trial", correct, total, best: percent(Math.max(most, correct), total) }, `trial ${trial}`);
      if (correct <= most || outcome.infeasible !== null) continue;
      most = correct;
      found({ bytes: outcome.bytes, modelRoot: modelRoot(outcome.model), correct, total });
    }
  } catch (error) {
    const late = over.aborted && error instanceof PonasError && error.code === "aborted";
    if (!late) throw error;
  }
}
