/**
 * The pool manager's chain side: chooses the task with the best ranking score, opens it to the pool's miners, carries
 * the pool's best model from commitment to payment, and posts the split of what was won. What goes on between the
 * manager and its miners is offchain/pool's; this only tells it what the chain says.
 */
import { buildPointsTree } from "../pool/points-tree.ts";
import type { PoolManager } from "../pool/manager.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createClaimant, type Participation } from "./claimant.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import type { PoolContract } from "./pool-contract.ts";
import { formatAmount } from "./publisher.ts";
import { createRegistry, type TaskState } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { chooseTask } from "./task-choice.ts";
import type { TaskFiles } from "./task-files.ts";

export interface PoolManagerAgentOptions {
  readonly chain: ChainClient;
  readonly pool: PoolContract;
  readonly manager: PoolManager;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly state: StateFolder;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** seconds before the end of training at which the pool commits; shares that come later are not taken */
  readonly commitMargin: number;
}

/** How many of the newest tasks a restarted manager looks at for commitments of its pool. */
const RECENT_TASKS = 50n;

/** Runs the pool until the signal fires. */
export async function runPoolManager(options: PoolManagerAgentOptions): Promise<void> {
  const { chain, pool, manager, files, log, signal, commitMargin } = options;
  const registry = createRegistry(chain);
  const followed = createFollowed({ dutiesFor: (id) => dutiesFor(id, options), log, signal });
  let open: bigint | undefined;
  let started = false;

  const work: Duty = {
    name: "choose",
    run: async (head) => {
      if (!started) {
        for (const id of await registry.latestTasks(RECENT_TASKS)) {
          const commitment = await registry.commitmentOf(id, pool.address);
          const { phase } = await pool.account(id);
          if (commitment !== undefined && phase !== "Closed") followed.follow(id);
        }
        started = true;
      }
      if (open !== undefined) {
        const task = await registry.task(open);
        if (head.timestamp < task.schedule.trainingEnd - BigInt(commitMargin)) return;
        await manager.closeTask("The training phase is ending; the pool waits for the next task.");
        open = undefined;
      }
      const task = await chooseTask(registry, head, commitMargin);
      if (task === undefined) return;
      const { template, space, maxMacs, training, data } = await files.descriptor(task);
      const validation = await files.samples(task, "validation");
      await manager.openTask({
        taskId: task.id,
        descriptor: {
          template,
          space,
          maxMacs,
          settings: training,
          maxModelBytes: task.maxModelBytes,
          trainCount: data.train.count,
          validationCount: data.validation.count,
        },
        validation,
        endsAt: Date.now() + 1000 * Number(task.schedule.trainingEnd - BigInt(commitMargin) - head.timestamp),
      });
      open = task.id;
      followed.follow(task.id);
      log.info({ event: "task", taskId: String(task.id) }, `the pool works on task ${task.id}`);
    },
  };

  const sweeping = (async () => {
    while (!signal.aborted) {
      await manager.sweep();
      await sleep(1000, signal);
    }
  })().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  await Promise.all([sweeping, runDuties({ chain, log, signal, duties: [work, followed.duty] })]);
}

/** All that one task asks of the pool, from the commitment to the last payment. */
function dutiesFor(taskId: bigint, options: PoolManagerAgentOptions): Duty[] {
  const { chain, pool, manager, store, files, state, log, signal, commitMargin } = options;
  const registry = createRegistry(chain);
  const participation: Participation = {
    participant: pool.address,
    commit: pool.commit,
    reveal: pool.reveal,
    collect: (task) => settle(task, options),
  };
  const claimant = createClaimant({
    taskId,
    chain,
    registry,
    participation,
    files,
    store,
    state,
    log,
    signal,
    commitMargin,
    best: async () => {
      const best = await manager.best(taskId);
      return best === null ? undefined : { ...best, ...best.validation };
    },
  });
  const prefetch: Duty = {
    name: "prefetch",
    run: async () => {
      await files.prefetchTest(await registry.task(taskId));
      return true;
    },
  };
  return [prefetch, claimant, createKeeper({ taskId, registry, log, patience: 0 })];
}

/** One step of the way from an ended task to the manager's last unit; true when nothing is left. */
async function settle(
  task: TaskState,
  { chain, pool, manager, store, files, log, signal }: PoolManagerAgentOptions,
): Promise<boolean> {
  const { phase } = await pool.account(task.id);
  switch (phase) {
    case "None":
      return true;
    case "Committed":
      await pool.collect(task.id);
      log.info({ event: "collect", taskId: String(task.id) }, `collected what task ${task.id} owes the pool`);
      return false;
    case "AwaitSplit": {
      const { samples } = await files.testSet(task);
      const leaves = await manager.points(task.id, { test: samples, signal });
      if (leaves.length === 0) {
        // Nobody has points, so no tree can be posted; the reward follows the receipts' way, and ends with the manager.
        log.debug({ taskId: String(task.id) }, `no miner has any points in task ${task.id}: no split is posted`);
        return false;
      }
      const { cidBytes, cid } = await store.put(await manager.sharesFile(task.id), { signal });
      await pool.postSplit(task.id, buildPointsTree(leaves), cidBytes);
      log.info(
        { event: "split", taskId: String(task.id), cid },
        `posted the split of task ${task.id} among ${leaves.length} miners`,
      );
      return false;
    }
    case "Claims": {
      const { feePaid } = await pool.account(task.id);
      if (!feePaid) await pool.claimFee(task.id);
      const credit = await pool.credit(chain.account);
      if (credit > 0n) {
        await pool.withdraw();
        log.info({ event: "paid", amount: String(credit) }, `the manager withdrew its fee of ${formatAmount(credit)}`);
      }
      return true;
    }
    case "Unclaimed":
      await pool.reclaim(task.id);
      return false;
    case "Closed":
      return true;
    default:
      return false;
  }
}
