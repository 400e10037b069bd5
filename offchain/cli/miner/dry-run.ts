/** `ponas miner run --dry-run`: what a miner would do here, with nothing committed, leased, signed or spent. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { measureMiner } from "../../agents/benchmark.ts";
import { planTasks, type PlannedTask } from "../../agents/miner-plan.ts";
import { checkPool } from "../../agents/pool-contract.ts";
import { probePool } from "../../agents/pool-probe.ts";
import { createRegistry, formatAmount } from "../../agents/registry.ts";
import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import { createTaskFiles } from "../../agents/task-files.ts";
import { poolAbi } from "../../protocol/abi.ts";
import type { Address } from "../../protocol/bytes.ts";
import type { ChainClient } from "../../protocol/chain-client.ts";
import { explainError } from "../../protocol/errors.ts";
import type { Log } from "../../protocol/log.ts";
import type { TermsOptions } from "../context.ts";
import { startWorkers, type WorkerPlan } from "./workers.ts";

export interface DryRunOptions extends StorageOptions, TermsOptions {
  readonly chain: ChainClient;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly plan: WorkerPlan;
  readonly throttle: number;
  readonly commitMargin: number;
  /** null: alone */
  readonly pool: { readonly address: Address; readonly url: string } | null;
}

export interface DryRun extends WorkerPlan {
  readonly account: Address;
  readonly throttle: number;
  /** of the benchmark's network, of all workers at once */
  readonly imagesPerSecond: number;
  readonly pool: null | {
    readonly address: Address;
    readonly url: string;
    readonly feeBps: number;
    /** how points are counted, as the manager says; null where it does not */
    readonly scheme: string | null;
    readonly checkpointMs: number | null;
    /** why nobody could mine there now, or null */
    readonly unreachable: string | null;
  };
  readonly tasks: readonly PlannedTask[];
}

/** How long a pool's endpoint, and each task's description, may take to answer. */
const PATIENCE_MS = 15_000;

/** @throws PonasError bad-input where the address is no pool of the deployment; engine; aborted */
export async function dryRun(options: DryRunOptions): Promise<DryRun> {
  const { chain, log, signal, plan, throttle, commitMargin, pool } = options;
  if (pool !== null) await checkPool(chain, pool.address);
  // Not the miner's own folder: a miner may be at work in it right now.
  const scratch = mkdtempSync(join(tmpdir(), "ponas-dry-run-"));
  const workers = startWorkers(plan);
  try {
    await using storage = await openStorage({ ...options, stateDir: scratch, log, signal });
    const benchmarks = await measureMiner(workers, { throttle, signal });
    const asked = pool === null ? null : await askPool(pool, options, benchmarks[0]!);
    const tasks = await planTasks({
      registry: createRegistry(chain),
      files: createTaskFiles({ store: storage.store, signal, timeoutMs: PATIENCE_MS }),
      head: await chain.head(),
      benchmarks,
      feeBps: asked?.feeBps ?? null,
      commitMargin,
      terms: options,
    });
    const imagesPerSecond = benchmarks.reduce((sum, each) => sum + each.imagesPerSecond, 0);
    return { account: chain.account, ...plan, throttle, imagesPerSecond, pool: asked, tasks };
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function askPool(
  { address, url }: NonNullable<DryRunOptions["pool"]>,
  { chain, signal }: DryRunOptions,
  benchmark: Parameters<typeof probePool>[0]["benchmark"],
): Promise<NonNullable<DryRun["pool"]>> {
  const { feeBps } = await chain.read({ abi: poolAbi, address, functionName: "terms", args: [] });
  const expected = { chainId: BigInt(chain.deployment.chainId), pool: address };
  try {
    const { scheme, checkpointMs } = await probePool({ url, benchmark, expected, timeoutMs: PATIENCE_MS, signal });
    return { address, url, feeBps, scheme, checkpointMs, unreachable: null };
  } catch (error) {
    if (signal.aborted) throw error;
    return { address, url, feeBps, scheme: null, checkpointMs: null, unreachable: explainError(error) };
  }
}

/** For people. */
export function dryRunText({ account, engine, workers, gpus, throttle, imagesPerSecond, pool, tasks }: DryRun): string {
  const machine = [
    `engine ${engine}`,
    `${workers} ${workers === 1 ? "worker" : "workers"}${gpus.length === 0 ? "" : ` on GPU ${gpus.join(", ")}`}`,
    ...(throttle === 1 ? [] : [`${Math.round(100 * throttle)} % of the time`]),
    `${imagesPerSecond.toFixed(0)} images/s together`,
  ].join(", ");
  const lines = [
    `Account ${account} would mine ${pool === null ? "alone" : `for the pool ${pool.address}`}: ${machine}.`,
  ];
  if (pool !== null) {
    const counting = pool.scheme === null ? "" : `, points by ${pool.scheme}`;
    lines.push(`The pool's fee is ${pool.feeBps / 100} % of what it wins${counting}.`);
    if (pool.unreachable !== null) lines.push(`Nobody can mine there now: ${pool.unreachable}`);
    lines.push("Its manager chooses the task; the one that it would come to next is marked with a star.");
  }
  if (tasks.length === 0) lines.push("There is no open task.");
  for (const task of tasks) lines.push(taskText(task, pool === null));
  lines.push("Nothing was committed, leased, or spent.");
  return lines.join("\n");
}

function taskText(task: PlannedTask, alone: boolean): string {
  const { title, secondsLeft, reward, bonds, commitFee, commitments, payIfWon, expectedPay } = task;
  const trials =
    task.trialSeconds === null || task.expectedTrials === null
      ? "trials unknown"
      : `about ${task.expectedTrials} trials of ${task.trialSeconds < 10 ? task.trialSeconds.toPrecision(2) : task.trialSeconds.toFixed(0)} s`;
  const pay = alone
    ? `${formatAmount(payIfWon)} if it wins, with ${formatAmount(bonds)} of bonds put down and a fee of ${formatAmount(commitFee)}`
    : `${formatAmount(payIfWon)} among the pool's miners by their points if it wins, 1 % of them being worth ${formatAmount(payIfWon / 100n)}`;
  const chance =
    commitments === 0
      ? "nobody has committed yet"
      : `${formatAmount(expectedPay)} were it as likely to win as ${commitments === 1 ? "the one that has" : `each of the ${commitments} that have`} committed`;
  return [
    `${task.chosen ? "*" : "-"} task ${task.task}${title === null ? "" : ` (${title})`}: reward ${formatAmount(reward)}, ${secondsLeft} s of training left, ${trials}`,
    `    pays ${pay}; ${chance}`,
    ...(task.passedOver === null ? [] : [`    left alone: ${task.passedOver}`]),
  ].join("\n");
}
