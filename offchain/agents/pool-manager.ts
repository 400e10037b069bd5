/**
 * The pool manager's chain side: chooses the task with the best ranking score, opens it to the pool's miners, carries
 * the pool's best model from commitment to payment, and posts the split of what was won. What goes on between the
 * manager and its miners is offchain/pool's; this only tells it what the chain says.
 */
import { buildPointsTree } from "../pool/points-tree.ts";
import type { PoolManager } from "../pool/manager.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createClaimant, createPrefetch, type Participation } from "./claimant.ts";
import { createDefence } from "./defender.ts";
import { createDisputesContract, type DisputesContract } from "./disputes-contract.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import type { PoolContract } from "./pool-contract.ts";
import { answerObjections } from "./posted-split.ts";
import { createRegistry, formatAmount, paying, type TaskState } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { createTaskChoice, type AcceptableTerms } from "./task-choice.ts";
import type { TaskFiles } from "./task-files.ts";
import { createWorkList } from "./work-list.ts";

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
  /** terms of a task that are worth a bond; any will do where none are given */
  readonly terms?: AcceptableTerms;
}

/** How many of the newest tasks are looked at for commitments that the state folder does not know of. */
const RECENT_TASKS = 50n;

/** Runs the pool until the signal fires. */
export async function runPoolManager(options: PoolManagerAgentOptions): Promise<void> {
  const { chain, pool, manager, files, state, log, signal, commitMargin } = options;
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  const worked = createWorkList(state, "pool");
  const followed = createFollowed({
    dutiesFor: (id) => dutiesFor(id, disputes, options),
    onEnd: (id) => {
      worked.remove(id);
      files.forget(id);
      state.remove(`tasks/${id}/${pool.address}`);
    },
    log,
    signal,
  });
  const choice = createTaskChoice({ registry, commitMargin, terms: options.terms, log });
  let open: bigint | undefined;
  let started = false;
  /** what a process before this one was at: whatever better ones there are by now, its work is not thrown away */
  let resumed = worked.all().at(-1);

  async function openToMiners(task: TaskState, head: Head): Promise<void> {
    const { template, space, maxMacs, training, data } = await files.descriptor(task);
    const validation = await files.samples(task, "validation");
    await manager.openTask({
      taskId: task.id,
      descriptor: {
        template,
        space,
        maxMacs,
        hardware: task.hardware,
        settings: training,
        maxModelBytes: task.maxModelBytes,
        trainCount: data.train.count,
        validationCount: data.validation.count,
      },
      validation,
      endsAt: Date.now() + 1000 * Number(task.schedule.trainingEnd - BigInt(commitMargin) - head.timestamp),
    });
  }

  const work: Duty = {
    name: "choose",
    run: async (head) => {
      if (!started) {
        worked.all().forEach(followed.follow);
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
      const task = await choice.choose(head, resumed);
      resumed = undefined;
      if (task === undefined) return;
      try {
        await openToMiners(task, head);
      } catch (error) {
        if (signal.aborted || !(error instanceof PonasError)) throw error;
        return choice.passOver(task.id, head, error);
      }
      open = task.id;
      worked.add(task.id);
      followed.follow(task.id);
      log.info({ event: "task", taskId: String(task.id) }, `the pool works on task ${task.id}`);
    },
  };

  const sweeping = (async () => {
    while (!signal.aborted) {
      try {
        await manager.sweep();
      } catch (error) {
        // A database that is away comes back, and the next sweep makes up for this one.
        if (!(error instanceof PonasError && error.retryable)) throw error;
        log.debug(`A sweep was left out: ${error.message}`);
      }
      await sleep(1000, signal);
    }
  })().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  await Promise.all([sweeping, runDuties({ chain, log, signal, duties: [work], followed })]);
}

/** All that one task asks of the pool, from the commitment to the last payment. */
function dutiesFor(taskId: bigint, disputes: DisputesContract | null, options: PoolManagerAgentOptions): Duty[] {
  const { chain, pool, manager, store, files, state, log, signal, commitMargin } = options;
  const registry = createRegistry(chain);
  const participation: Participation = {
    participant: pool.address,
    commit: pool.commit,
    reveal: pool.reveal,
    collect: async (task) => {
      // Won bonds and paid demands are the float's, out of which the manager pays for what the pool takes part in.
      if (disputes !== null && (await disputes.creditOf(pool.address)) > 0n) await pool.collectDisputes();
      return settle(task, options);
    },
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
  const defence = createDefence({
    taskId,
    chain,
    registry,
    disputes,
    participant: pool.address,
    store,
    files,
    log,
    signal,
  });
  return [
    createPrefetch({ taskId, registry, files }),
    claimant,
    ...defence,
    createKeeper({ taskId, registry, log, patience: 0 }),
  ];
}

/** One step of the way from an ended task to the manager's last unit; true when nothing is left. */
export async function settle(
  task: TaskState,
  {
    chain,
    pool,
    manager,
    store,
    files,
    log,
    signal,
  }: Pick<PoolManagerAgentOptions, "chain" | "pool" | "store" | "files" | "log" | "signal"> & {
    readonly manager: Pick<PoolManager, "points" | "sharesFile">;
  },
): Promise<boolean> {
  const { phase, split, deadline } = await pool.account(task.id);
  /** Models may be waited for until half of what is left of the phase is over: there is a split to be posted after that. */
  const points = async () => {
    const { samples: test } = await files.testSet(task);
    const validation = await files.samples(task, "validation");
    const left = 1000 * Math.max(0, Number(BigInt(deadline) - (await chain.client.getBlock()).timestamp));
    return manager.points(task.id, { test, validation, until: Date.now() + left / 2, signal });
  };
  switch (phase) {
    case "None":
      return true;
    case "Committed":
      await pool.collect(task.id);
      log.info({ event: "collect", taskId: String(task.id) }, `collected what task ${task.id} owes the pool`);
      return false;
    case "AwaitSplit": {
      const leaves = await points();
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
    case "Objection":
    case "Answering":
      await answerObjections(task.id, split.root, { pool, store, log, signal });
      return false;
    case "Fallen":
      await pool.finaliseFall(task.id);
      log.error(
        { event: "fallen", taskId: String(task.id) },
        `the split of task ${task.id} fell to an objection that was not answered, and half the stake is burned`,
      );
      return false;
    case "Claims": {
      const { feePaid, fee, stake } = await pool.account(task.id);
      if (!feePaid && fee + stake > 0n) await pool.claimFee(task.id);
      const credit = await pool.credit(chain.account);
      if (credit > 0n) {
        await pool.withdraw();
        log.info({ event: "paid", amount: String(credit) }, `the manager withdrew its fee of ${formatAmount(credit)}`);
      }
      return true;
    }
    case "Receipts": {
      // There is no split: miners are paid by receipts, which they must be able to get.
      await points();
      return false;
    }
    case "ReceiptClaims":
      return true; // what is left is between the contract and the miners
    case "Unclaimed":
      await pool.reclaim(task.id);
      log.warn(
        { event: "reclaim", taskId: String(task.id) },
        `nobody handed in a receipt for task ${task.id}: its reward follows the pool's last split, or went to the float`,
      );
      return false;
    case "Closed":
      return true;
    default:
      return false;
  }
}

/**
 * Takes a part of the float, or all of it, out of the pool to its manager's account.
 * @returns what was paid, in units; credits of earlier fees included
 * @throws PonasError funds where the float is smaller
 */
export async function withdrawFloat(
  { chain, pool }: Pick<PoolManagerAgentOptions, "chain" | "pool">,
  amount?: bigint,
): Promise<bigint> {
  return paying(chain, async () => {
    const float = await pool.float();
    const wanted = amount ?? float;
    if (wanted > float) {
      throw new PonasError(
        "funds",
        `The float of the pool ${pool.address} has ${formatAmount(float)}, less than ${formatAmount(wanted)}.`,
        { cure: "what is bound in a task comes back to the float when the task ends" },
      );
    }
    if (wanted > 0n) await pool.withdrawFloat(wanted);
    const credit = await pool.credit(chain.account);
    if (credit > 0n) await pool.withdraw();
    return credit;
  });
}
