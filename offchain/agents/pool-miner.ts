/**
 * A pool's miner: runs the manager's jobs on its own hardware (pool-jobs.ts), and claims its pay from the pool's contract.
 * It takes the manager's word for nothing that pays: points and payment are read from chain and IPFS.
 */
import { isAddressEqual } from "viem";
import { z } from "zod";

import { buildPointsTree, parsePoints, type PointsTree } from "../pool/points-tree.ts";
import { pointsReceiptSchema, type PointsReceipt } from "../pool/messages.ts";
import { isSignedBy, pointsData } from "../pool/signatures.ts";
import { parseWith } from "../protocol/architecture.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import type { PoolContract } from "./pool-contract.ts";
import { runJobs, type PoolWorker } from "./pool-jobs.ts";
import type { PoolOutbox } from "./pool-outbox.ts";
import { createRegistry, formatAmount } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { binaryCid } from "./task-descriptor.ts";
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
/** Of a shares file: a few kilobytes a share. */
const MAX_SHARES_FILE_BYTES = 1 << 28;
/** Seconds before what did not work is tried again: doubled from the first to the last. */
const FIRST_WAIT = 5n;
const LAST_WAIT = 600n;

const sharesFileSchema = z.looseObject({ points: z.array(z.unknown()) });

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
function claimOf(taskId: bigint, { chain, pool, workers, store, state, log, signal }: PoolMinerOptions): Duty {
  const miner = chain.account;
  let failure: unknown;
  let notBefore = 0n;
  let wait = FIRST_WAIT;

  /** The posted split, from the file that it names. @throws PonasError where nobody can be paid by it */
  async function fetchSplit(root: string): Promise<PointsTree> {
    const what = `The shares file of task ${taskId}`;
    const cid = await pool.sharesCid(taskId);
    if (cid === undefined) throw new PonasError("not-found", `The split of task ${taskId} names no shares file.`);
    const bytes = await store.get(binaryCid(cid, what), { maxBytes: MAX_SHARES_FILE_BYTES, signal });
    let json: unknown;
    try {
      json = JSON.parse(Buffer.from(bytes).toString("utf8"));
    } catch (cause) {
      throw new PonasError("bad-input", `${what} is not JSON.`, { cause });
    }
    const tree = buildPointsTree(parsePoints(parseWith(sharesFileSchema, json, what).points));
    if (tree.root !== root) throw new PonasError("integrity", `${what} has another root than the split on chain.`);
    return tree;
  }

  async function claimBySplit(root: string): Promise<void> {
    const tree = await fetchSplit(root);
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

  async function submitReceipt(): Promise<void> {
    // The manager may be gone, which is why there is a phase of receipts; one that is back may have a later one.
    const connection = workers.map((worker) => worker.connection).find((link) => link.connected());
    if (connection !== undefined) {
      const asked = await connection.receipt(taskId).catch(() => null);
      if (asked !== null) await keepReceipt(state, pool, asked, miner);
    }
    const receipt = readReceipt(state, taskId);
    if (receipt === null || (await pool.receiptOf(taskId, miner)) >= receipt.sequence) return;
    const { sequence, points, signature } = receipt;
    await pool.submitReceipt(taskId, { sequence: BigInt(sequence), points, signature });
    log.info(
      { event: "receipt", taskId: String(taskId) },
      `handed in the receipt for ${points} points of task ${taskId}`,
    );
  }

  async function withdraw(): Promise<void> {
    const credit = await pool.credit(miner);
    if (credit === 0n) return;
    await pool.withdraw();
    log.info({ event: "paid", amount: String(credit) }, `was paid ${formatAmount(credit)} by the pool`);
  }

  /** One look; true when there will be no pay any more. */
  async function look(): Promise<boolean> {
    const { phase, split } = await pool.account(taskId);
    switch (phase) {
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
      case "Closed":
      case "Unclaimed":
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
        return await look();
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
 * @throws PonasError pool where it is not this miner's, or not signed by the task's receipt key
 */
export async function keepReceipt(
  state: StateFolder,
  pool: Pick<PoolContract, "account" | "identity">,
  receipt: PointsReceipt,
  miner: Address,
): Promise<void> {
  const { taskId, points, sequence, signature, ...rest } = receipt;
  const { receiptKey } = await pool.account(taskId);
  const signed = await isSignedBy(receiptKey, pointsData(pool.identity, receipt), signature);
  if (!signed || !isAddressEqual(receipt.miner, miner)) {
    throw new PonasError("pool", `The points receipt of task ${taskId} that the pool has sent is not a valid one.`);
  }
  if ((readReceipt(state, taskId)?.sequence ?? 0) >= sequence) return;
  state.write(receiptFile(taskId), { ...rest, sequence, signature, taskId: String(taskId), points: String(points) });
}

function readReceipt(state: StateFolder, taskId: bigint): PointsReceipt | null {
  return state.read(receiptFile(taskId), pointsReceiptSchema) ?? null;
}
