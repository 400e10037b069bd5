/**
 * A pool's miner: runs the manager's jobs on its own hardware, hands in what it finds, and claims its pay from the
 * pool's contract. It takes the manager's word for nothing that pays: points and payment are read from chain and IPFS.
 */
import { z } from "zod";

import { decodeModel, modelRoot } from "../evaluation/model.ts";
import { buildPointsTree, parsePoints } from "../pool/points-tree.ts";
import { pointsReceiptSchema, type PointsReceipt } from "../pool/messages.ts";
import { parseWith } from "../protocol/architecture.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { TrainingWorker } from "../training/worker.ts";
import { percent } from "./claimant.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import type { PoolConnection } from "./pool-connection.ts";
import type { PoolContract } from "./pool-contract.ts";
import { formatAmount } from "./publisher.ts";
import { createRegistry } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { binaryCid, MAX_DATA_BYTES } from "./task-descriptor.ts";
import type { TaskFiles } from "./task-files.ts";

export interface PoolMinerOptions {
  readonly chain: ChainClient;
  readonly pool: PoolContract;
  readonly connection: PoolConnection;
  readonly worker: TrainingWorker;
  readonly files: TaskFiles;
  readonly store: ModelStore;
  readonly state: StateFolder;
  /** share of the time to use, above 0 and up to 1 */
  readonly throttle?: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Mines until the signal fires. @throws PonasError pool where the pool has shut this miner out */
export async function runPoolMiner(options: PoolMinerOptions): Promise<void> {
  await Promise.all([runJobs(options), runClaims(options)]);
}

/** One job after another. A trial that fails is given back; the next may well succeed. */
async function runJobs({ chain, connection, worker, files, throttle, log, signal }: PoolMinerOptions): Promise<void> {
  const registry = createRegistry(chain);
  let trials = 0;
  let best = 0;
  while (!signal.aborted) {
    let job;
    try {
      job = await connection.nextJob(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const { lease, taskId, kind, architecture, settings, seed } = job;
    try {
      const task = await registry.task(taskId);
      const train = await files.samples(task, "train");
      const validation = await files.samples(task, "validation");
      log.info(
        { event: "training", lease, best: shown(best, validation.count) },
        `trial ${trials + 1}: ${kind}, lease ${lease}`,
      );
      const initial =
        job.initialBytes === null ? undefined : decodeModel(job.initialBytes, { maxBytes: task.maxModelBytes });
      const outcome = await worker.train(
        { architecture, train, validation, settings, seed, initial, throttle },
        { signal: job.signal, onEpoch: ({ epoch }) => connection.progress(epoch) },
      );
      if (outcome.infeasible !== null) {
        await connection.abandon(lease, "infeasible", outcome.infeasible);
        continue;
      }
      const { trainLoss, validation: tally, epochsRun, seconds, flops, model, bytes } = outcome;
      const verdict = await connection.submit(
        {
          taskId,
          lease,
          architecture,
          seed,
          epochs: epochsRun,
          trainLoss: trainLoss.map((loss) => (Number.isFinite(loss) ? loss : null)),
          validation: tally,
          seconds,
          flops,
          modelRoot: modelRoot(model),
        },
        bytes,
      );
      trials += 1;
      best = Math.max(best, tally.correct);
      const end =
        verdict.status === "accepted"
          ? verdict.best
            ? "accepted, the pool's best"
            : "accepted"
          : `refused: ${verdict.reason}`;
      log.info(
        {
          event: "trial",
          lease,
          correct: tally.correct,
          total: tally.total,
          best: shown(best, tally.total),
          status: verdict.status,
        },
        `trial ${trials}: ${percent(tally.correct, tally.total)} on validation in ${seconds.toFixed(0)} s, ${end}`,
      );
    } catch (error) {
      if (signal.aborted) return;
      if (job.signal.aborted) {
        log.info({ event: "training", lease, best: shown(best, 0) }, `lease ${lease} was taken back`);
        continue;
      }
      if (error instanceof PonasError && error.code === "pool") throw error;
      log.warn({ lease }, `the trial of lease ${lease} failed: ${explainError(error)}`);
      await connection.abandon(lease, "stopped", explainError(error).slice(0, 500));
    }
  }
}

function shown(best: number, total: number): string {
  return best === 0 || total === 0 ? "–" : percent(best, total);
}

// ————— Pay —————

/** How many of the newest tasks are looked at for pay. */
const RECENT_TASKS = 50n;

const sharesFileSchema = z.looseObject({ root: z.string(), points: z.array(z.unknown()) });

/** Claims what the pool's contract owes this miner, in every task, whether or not this process has worked in it. */
async function runClaims(options: PoolMinerOptions): Promise<void> {
  const { chain, log, signal } = options;
  const registry = createRegistry(chain);
  const followed = createFollowed({ dutiesFor: (id) => [claimOf(id, options)], log, signal });
  const seen = new Set<bigint>();
  const watch: Duty = {
    name: "watch pay",
    run: async () => {
      for (const id of await registry.latestTasks(RECENT_TASKS)) {
        if (seen.has(id)) continue;
        seen.add(id);
        followed.follow(id);
      }
    },
  };
  await runDuties({ chain, log, signal, duties: [watch, followed.duty] });
}

/** The duty that gets this miner its pay of one task. */
function claimOf(taskId: bigint, { chain, pool, connection, store, state, log, signal }: PoolMinerOptions): Duty {
  const miner = chain.account;

  async function claimBySplit(root: string): Promise<void> {
    const cid = await pool.sharesCid(taskId);
    if (cid === undefined) throw new PonasError("not-found", `The split of task ${taskId} names no shares file.`);
    const bytes = await store.get(binaryCid(cid, `The shares file of task ${taskId}`), {
      maxBytes: MAX_DATA_BYTES,
      signal,
    });
    const file = parseWith(
      sharesFileSchema,
      JSON.parse(Buffer.from(bytes).toString("utf8")),
      `The shares file of task ${taskId}`,
    );
    const tree = buildPointsTree(parsePoints(file.points));
    if (tree.root !== root) {
      throw new PonasError("integrity", `The shares file of task ${taskId} has another root than the split on chain.`);
    }
    const index = tree.leaves.findIndex(({ account }) => account.toLowerCase() === miner.toLowerCase());
    if (index < 0 || (await pool.isClaimed(taskId, index))) return;
    await pool.claim(taskId, { index, miner, points: tree.leaves[index]!.points }, tree.proof(index));
    log.info(
      { event: "claim", taskId: String(taskId) },
      `claimed ${tree.leaves[index]!.points} points of task ${taskId}`,
    );
  }

  async function withdraw(): Promise<void> {
    const credit = await pool.credit(miner);
    if (credit === 0n) return;
    await pool.withdraw();
    log.info({ event: "paid", amount: String(credit) }, `was paid ${formatAmount(credit)} by the pool`);
  }

  return {
    name: "claim pay",
    run: async () => {
      const { phase, split } = await pool.account(taskId);
      switch (phase) {
        case "Claims":
          await claimBySplit(split.root);
          await withdraw();
          return true;
        case "Receipts": {
          const receipt = (await connection.receipt(taskId).catch(() => null)) ?? readReceipt(state, taskId);
          if (receipt === null || (await pool.receiptOf(taskId, miner)) >= receipt.sequence) return;
          const { sequence, points, signature } = receipt;
          await pool.submitReceipt(taskId, { sequence: BigInt(sequence), points, signature });
          return;
        }
        case "ReceiptClaims":
          if ((await pool.receiptOf(taskId, miner)) > 0) await pool.claimByReceipt(taskId);
          await withdraw();
          return true;
        case "Closed":
        case "Unclaimed":
          return true;
        case "None": {
          // The pool may still enter a task whose training goes on; one that is over it never will.
          const { phase: now } = await createRegistry(chain).task(taskId);
          return now !== "Initialisation" && now !== "Training";
        }
        default:
          return;
      }
    },
  };
}

/** Keeps a points receipt where a vanished manager cannot take it along. */
export function keepReceipt(state: StateFolder, { taskId, points, ...rest }: PointsReceipt): void {
  state.write(`receipts/${taskId}.json`, { ...rest, taskId: String(taskId), points: String(points) });
}

function readReceipt(state: StateFolder, taskId: bigint): PointsReceipt | null {
  return state.read(`receipts/${taskId}.json`, pointsReceiptSchema) ?? null;
}
