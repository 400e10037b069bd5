/**
 * A pool's miner: runs the manager's jobs on its own hardware (pool-jobs.ts), and claims its pay from the pool's contract.
 * It takes the manager's word for nothing that pays: points and payment are read from chain and IPFS.
 */
import { isAddressEqual } from "viem";

import { pointsReceiptSchema, type PointsReceipt } from "../pool/messages.ts";
import type { PointsTree } from "../pool/points-tree.ts";
import { isSignedBy, pointsData } from "../pool/signatures.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import type { PoolContract } from "./pool-contract.ts";
import { runJobs, type PoolWorker } from "./pool-jobs.ts";
import type { PoolConnection } from "./pool-connection.ts";
import type { PoolOutbox } from "./pool-outbox.ts";
import { fetchSplit } from "./posted-split.ts";
import { createRegistry, formatAmount } from "./registry.ts";
import { standingOf } from "./share-receipts.ts";
import type { StateFolder } from "./state-folder.ts";
import type { TaskFiles } from "./task-files.ts";
import { createWorkList, type WorkList } from "./work-list.ts";

export interface PoolMinerOptions {
  readonly chain: ChainClient;
  readonly pool: PoolContract;
  /** at least one */
  readonly workers: readonly PoolWorker[];
  /** that of the workers' links */
  readonly outbox: PoolOutbox;
  readonly files: TaskFiles;
  readonly store: ModelStore;
  readonly state: StateFolder;
  /** share of the time to use, above 0 and up to 1 */
  readonly throttle?: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Mines until the signal fires, and then gives back what it was at: the workers' links must outlive that. Shut out by
 * the pool, it goes on to claim what it has earned there.
 */
export async function runPoolMiner(options: PoolMinerOptions): Promise<void> {
  const { log, signal, state } = options;
  const work = createWorkList(state, "pool-miner");
  const { task: taskOf } = createRegistry(options.chain);
  const jobs = runJobs({ ...options, taskOf, onTask: (taskId) => work.add(taskId) }).catch((error: unknown) => {
    if (signal.aborted) return;
    if (!(error instanceof PonasError && error.code === "pool")) throw error;
    log.error({ event: "shut-out" }, `no more jobs, only claims of what was earned: ${explainError(error)}`);
  });
  await Promise.all([jobs, runClaims(options, work)]);
}

// ————— Pay —————

/** How many of the newest tasks are looked at for pay, beside those that this folder knows of. */
const RECENT_TASKS = 50n;
/** Seconds before what did not work is tried again: doubled from the first to the last. */
const FIRST_WAIT = 5n;
const LAST_WAIT = 600n;
/** Seconds that a manager has for fetching a reward before its miners do. */
const MANAGERS_TURN = 30n;

/** Claims what the pool's contract owes this miner, in every task, whether or not this process has worked in it. */
async function runClaims(options: PoolMinerOptions, work: WorkList): Promise<void> {
  const { chain, files, outbox, state, log, signal } = options;
  const registry = createRegistry(chain);
  const followed = createFollowed({
    dutiesFor: (id) => [claimOf(id, options)],
    onEnd: (id) => {
      work.remove(id);
      files.forget(id);
      outbox.forget(id);
      state.remove(receiptFile(id));
    },
    log,
    signal,
  });
  const seen = new Set<bigint>();
  const watch: Duty = {
    name: "watch pay",
    run: async () => {
      for (const id of [...work.all(), ...(await registry.latestTasks(RECENT_TASKS))]) {
        if (seen.has(id)) continue;
        seen.add(id);
        followed.follow(id);
      }
    },
  };
  await runDuties({ chain, log, signal, duties: [watch], followed });
}

/** The duty that gets this miner its pay of one task. */
function claimOf(taskId: bigint, { chain, pool, workers, outbox, store, state, log, signal }: PoolMinerOptions): Duty {
  const miner = chain.account;
  let failure: unknown;
  let notBefore = 0n;
  let wait = FIRST_WAIT;
  let wonSince: bigint | undefined;
  let satisfied = false;
  let compared = false;

  /** The posted tree; its file is held against the receipts for shares once. */
  async function posted(root: Hex, timeoutMs?: number): Promise<PointsTree> {
    const { tree, bytes } = await fetchSplit(taskId, root, { pool, store, signal, timeoutMs });
    if (!compared) compare(bytes);
    compared = true;
    return tree;
  }

  /** Whatever is found, what the split gives is claimed. */
  function compare(bytes: Uint8Array): void {
    const at = { taskId: String(taskId) };
    try {
      const accepted = outbox.accepted(taskId);
      if (accepted.length === 0) return;
      const { missing, voided } = standingOf(accepted, bytes, `The shares file of task ${taskId}`, miner);
      for (const reason of voided) log.warn(at, `shares of task ${taskId} count for nothing: ${reason}`);
      if (missing.length === 0) return;
      const evidence = `evidence/${taskId}.json`;
      state.write(
        evidence,
        accepted
          .filter(({ share }) => missing.includes(share.lease))
          .map(({ share, ...rest }) => ({ ...rest, share: { ...share, taskId: String(taskId) } })),
      );
      log.error(
        { event: "cheated", ...at, evidence: `${state.path}/${evidence}` },
        `the split of task ${taskId} leaves out ${missing.length} of ${accepted.length} shares that the pool has ` +
          `accepted: of lease ${missing.join(", ")}. Its receipts are kept in ${state.path}/${evidence}.`,
      );
    } catch (error) {
      log.error(at, `the shares of task ${taskId} could not be compared with the split: ${explainError(error)}`);
    }
  }

  async function claimBySplit(root: Hex): Promise<void> {
    const tree = await posted(root);
    const index = tree.leaves.findIndex(({ account }) => isAddressEqual(account, miner));
    const points = tree.leaves[index]?.points ?? 0n;
    const promised = readReceipt(state, taskId)?.points ?? 0n;
    if (points < promised) {
      log.error(
        { event: "cheated", taskId: String(taskId) },
        `the split of task ${taskId} gives ${points} points; the manager's receipt says ${promised}`,
      );
    }
    if (index < 0 || (await pool.isClaimed(taskId, index))) return;
    await pool.claim(taskId, { index, miner, points }, tree.proof(index));
    log.info({ event: "claim", taskId: String(taskId) }, `claimed ${points} points of task ${taskId}`);
  }

  /** The latest points receipt, from the manager where there is a link to it. */
  async function latestReceipt(): Promise<PointsReceipt | null> {
    // The manager may be gone, or send nonsense: what it has signed before stands. One that is back may have a later one.
    const connection = workers.map((worker) => worker.connection).find((link) => link.connected());
    if (connection !== undefined) {
      const asked = await connection.receipt(taskId).catch(() => null);
      if (asked !== null) {
        await keepReceipt(state, pool, asked, miner).catch((error: unknown) => {
          if (signal.aborted) throw error;
          log.warn({ taskId: String(taskId) }, explainError(error));
        });
      }
    }
    return readReceipt(state, taskId);
  }

  /**
   * Demands what the manager has signed for, unless the posted split has it, or the demand is on chain already.
   * @param left seconds in which it still can be demanded
   */
  async function object(root: Hex, left: number): Promise<void> {
    if (satisfied) return;
    const receipt = await latestReceipt();
    if (receipt === null || (await pool.demandedOf(taskId, miner)) >= receipt.points) return;
    let shown = 0n;
    try {
      const tree = await posted(root, Math.min(60_000, 500 * left));
      shown = tree.leaves.find(({ account }) => isAddressEqual(account, miner))?.points ?? 0n;
    } catch (error) {
      if (signal.aborted) throw error;
      log.debug({ taskId: String(taskId) }, explainError(error));
      // A file may be late, but a tree that nobody is shown must be asked for while it still can be.
      const { objectionWindow } = await pool.terms();
      if (left > objectionWindow / 2) return;
    }
    satisfied = shown >= receipt.points;
    if (satisfied) return;
    await pool.objectMissing(taskId, receipt);
    log.warn(
      { event: "objection", taskId: String(taskId) },
      `objected to the split of task ${taskId}: it does not show the ${receipt.points} points of the manager's receipt`,
    );
  }

  async function submitReceipt(): Promise<void> {
    const receipt = await latestReceipt();
    if (receipt === null || (await pool.receiptOf(taskId, miner)) >= receipt.sequence) return;
    const { sequence, points, signature } = receipt;
    await pool.submitReceipt(taskId, { sequence: BigInt(sequence), points, signature });
    log.info(
      { event: "receipt", taskId: String(taskId) },
      `handed in the receipt for ${points} points of task ${taskId}`,
    );
  }

  /** Fetches a reward that the pool has won, where its manager has not for a while. */
  async function collect(timestamp: bigint): Promise<void> {
    if (!(await pool.hasWon(taskId))) return;
    wonSince ??= timestamp;
    if (timestamp < wonSince + MANAGERS_TURN) return;
    await pool.collect(taskId);
    log.info(
      { event: "collect", taskId: String(taskId) },
      `fetched the pool's reward of task ${taskId}: its manager did not`,
    );
  }

  async function withdraw(): Promise<void> {
    const credit = await pool.credit(miner);
    if (credit === 0n) return;
    await pool.withdraw();
    log.info({ event: "paid", amount: String(credit) }, `was paid ${formatAmount(credit)} by the pool`);
  }

  /** One look; true when there will be no pay any more. */
  async function look(timestamp: bigint): Promise<boolean> {
    const { phase, split, deadline } = await pool.account(taskId);
    switch (phase) {
      case "Committed":
        await collect(timestamp);
        return false;
      case "Objection":
        await object(split.root, Number(BigInt(deadline) - timestamp));
        return false;
      case "Fallen":
        await pool.finaliseFall(taskId);
        return false;
      case "Claims":
        await claimBySplit(split.root);
        await withdraw();
        return true;
      case "Receipts":
        await submitReceipt();
        return false;
      case "ReceiptClaims":
        if ((await pool.receiptOf(taskId, miner)) > 0) await pool.claimByReceipt(taskId);
        await withdraw();
        return true;
      case "Unclaimed":
        // Where an earlier split takes its place, there is pay to claim after all.
        if ((await pool.lastSplit()) !== 0n) {
          await pool.reclaim(taskId);
          return false;
        }
        await withdraw();
        return true;
      case "Closed":
        await withdraw(); // a process before this one may have claimed and gone no further
        return true;
      case "None": {
        // The pool may still enter a task whose training goes on; one that is over it never will.
        const { phase: now } = await createRegistry(chain).task(taskId);
        return now !== "Initialisation" && now !== "Training";
      }
      default:
        return false;
    }
  }

  return {
    name: `claim pay of task ${taskId}`,
    run: async ({ timestamp }) => {
      // Said again until it is tried again: it has not passed, and need not be told anew.
      if (timestamp < notBefore) throw failure;
      try {
        return await look(timestamp);
      } catch (error) {
        failure = error;
        notBefore = timestamp + wait;
        wait = wait * 2n < LAST_WAIT ? wait * 2n : LAST_WAIT;
        throw error;
      }
    },
  };
}

// ————— Receipts —————

const receiptFile = (taskId: bigint): string => `receipts/${taskId}.json`;

/**
 * Keeps a points receipt where a vanished manager cannot take it along: the latest one that the pool's contract will
 * take, so that no forged one puts a good one out of its place.
 * @returns whether it is a later one than was known
 * @throws PonasError pool where it is not this miner's, or not signed by the task's receipt key
 */
export async function keepReceipt(
  state: StateFolder,
  pool: Pick<PoolContract, "account" | "identity">,
  receipt: PointsReceipt,
  miner: Address,
): Promise<boolean> {
  const { taskId, points, sequence, signature, ...rest } = receipt;
  const { receiptKey } = await pool.account(taskId);
  const signed = isSignedBy(receiptKey, pointsData(pool.identity, receipt), signature);
  if (!signed || !isAddressEqual(receipt.miner, miner)) {
    throw new PonasError("pool", `The points receipt of task ${taskId} that the pool has sent is not a valid one.`);
  }
  if ((readReceipt(state, taskId)?.sequence ?? 0) >= sequence) return false;
  state.write(receiptFile(taskId), { ...rest, sequence, signature, taskId: String(taskId), points: String(points) });
  return true;
}

/** Reasons that are told one by one; a miner whose every share has one need not read them all. */
const MOST_REASONS = 20;

/** Tells a miner what its points of a task are made of, by the manager's word, and why a share counts for less. */
export async function tellPoints(
  { taskId, points, miner }: PointsReceipt,
  { connection, log }: { readonly connection: Pick<PoolConnection, "standings">; readonly log: Log },
): Promise<void> {
  const at = { taskId: String(taskId) };
  const shares = await connection.standings(taskId);
  log.info(
    { event: "points", ...at, points: String(points) },
    `${points} points for ${shares.length} shares of task ${taskId}; once they are posted: ponas explain ${taskId} ${miner}`,
  );
  const less = shares.filter(({ reason }) => reason !== null);
  for (const { lease, reason, voided, points: own } of less.slice(0, MOST_REASONS)) {
    log.warn(
      { ...at, lease },
      `the share of lease ${lease} ${voided ? "counts for nothing" : `has ${own ?? "no"} points`}: ${reason}`,
    );
  }
  if (less.length > MOST_REASONS) log.warn(at, `and ${less.length - MOST_REASONS} shares more count for less`);
}

function readReceipt(state: StateFolder, taskId: bigint): PointsReceipt | null {
  return state.read(receiptFile(taskId), pointsReceiptSchema) ?? null;
}
