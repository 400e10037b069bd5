/** What a miner would do, and what that may be worth: read from chain and IPFS, with nothing signed or spent. */
import { networkShapes } from "../evaluation/shapes.ts";
import type { Benchmark } from "../pool/messages.ts";
import { admitTrial, trialMacs } from "../pool/task.ts";
import type { Head } from "../protocol/chain-client.ts";
import { explainError } from "../protocol/errors.ts";
import { createRandom } from "../protocol/random.ts";
import { sampleArchitecture } from "../search/spaces.ts";
import type { Registry, TaskState } from "./registry.ts";
import { trapOf, type AcceptableTerms } from "./task-choice.ts";
import type { TaskDescriptor } from "./task-descriptor.ts";
import type { TaskFiles } from "./task-files.ts";

/** An open task as a miner sees it before it has done anything. Amounts in the asset's smallest unit. */
export interface PlannedTask {
  readonly task: bigint;
  readonly title: string | null;
  readonly rankingScore: bigint;
  /** seconds of the training phase that are left */
  readonly secondsLeft: number;
  readonly reward: bigint;
  /** what a participant of its own puts down, and gets back if it keeps its word; a pool does that for its miners */
  readonly bonds: bigint;
  readonly commitFee: bigint;
  /** commitments so far */
  readonly commitments: number;
  /** seconds of a typical trial on one worker; null where the task's files do not arrive */
  readonly trialSeconds: number | null;
  /** trials that all workers together finish in what is left of the phase */
  readonly expectedTrials: number | null;
  /** what winning is worth: to a solo miner all of the reward, to a pool's miners what the manager's fee leaves */
  readonly payIfWon: bigint;
  /** `payIfWon` times the chance that this participant would have if it and all that have committed were equally good */
  readonly expectedPay: bigint;
  /** why it would be left alone, or null */
  readonly passedOver: string | null;
  /** the one that would be worked on */
  readonly chosen: boolean;
}

/** As many architectures stand for a task's typical trial as the pool's manager looks at. */
const TYPICAL_SAMPLE = 31;
/** Tasks whose files are looked at: the first ones by ranking. */
const MOST_TASKS = 5;
const BPS = 10_000n;

/**
 * The open tasks in the order in which they would be chosen.
 * @param benchmarks of each worker, measured together
 * @param feeBps of the pool's manager; null for a solo miner
 */
export async function planTasks(options: {
  readonly registry: Registry;
  readonly files: TaskFiles;
  readonly head: Head;
  readonly benchmarks: readonly Benchmark[];
  readonly feeBps: number | null;
  readonly commitMargin: number;
  readonly terms: AcceptableTerms;
}): Promise<PlannedTask[]> {
  const { registry, files, head, benchmarks, feeBps, commitMargin, terms } = options;
  const open: { task: TaskState; score: bigint }[] = [];
  for (const id of await registry.openTasks()) {
    const task = await registry.task(id);
    if (task.phase !== "Initialisation" && task.phase !== "Training") continue;
    open.push({ task, score: await registry.rankingScore(id) });
  }
  open.sort((a, b) => (a.score < b.score ? -1 : a.score > b.score ? 1 : 0));

  let chosen = false;
  const planned: PlannedTask[] = [];
  for (const { task, score } of open.slice(0, MOST_TASKS)) {
    const left = Number(task.schedule.trainingEnd - head.timestamp);
    const secondsLeft = Math.max(0, left);
    let passedOver = trapOf(task, terms);
    if (left < 2 * commitMargin) passedOver = `its training phase ends in ${secondsLeft} s`;
    let descriptor: TaskDescriptor | null = null;
    try {
      descriptor = await files.descriptor(task);
    } catch (error) {
      passedOver ??= explainError(error);
    }
    const cost = descriptor === null ? null : typicalTrial(descriptor, task);
    // Images a second are of the benchmark's network; a trial takes its multiply-accumulates over theirs.
    const speeds = benchmarks.map(({ imagesPerSecond, macs }) => imagesPerSecond * macs);
    const speed = speeds.reduce((sum, each) => sum + each, 0);
    const time = Math.max(0, secondsLeft - commitMargin);
    const payIfWon = (task.reward * (BPS - BigInt(feeBps ?? 0))) / BPS;
    planned.push({
      task: task.id,
      title: descriptor?.title ?? null,
      rankingScore: score,
      secondsLeft,
      reward: task.reward,
      bonds: feeBps === null ? task.commitBond + task.candidateBond : 0n,
      commitFee: feeBps === null ? task.commitFee : 0n,
      commitments: task.commitments,
      trialSeconds: cost === null ? null : cost / (speed / speeds.length),
      expectedTrials: cost === null ? null : Math.floor((time * speed) / cost),
      payIfWon,
      expectedPay: payIfWon / BigInt(task.commitments + 1),
      passedOver,
      chosen: passedOver === null && !chosen,
    });
    chosen ||= passedOver === null;
  }
  return planned;
}

/** Multiply-accumulates of the median of a few trials of the task's space; null where none is within its limits. */
function typicalTrial({ template, space, maxMacs, training, data }: TaskDescriptor, task: TaskState): number | null {
  const random = createRandom("typical trial");
  const limits = { maxMacs, hardware: task.hardware, maxModelBytes: task.maxModelBytes };
  const drawn = Array.from({ length: 4 * TYPICAL_SAMPLE }, () => sampleArchitecture(template, space, random));
  const costs = drawn
    .flatMap((sample) => admitTrial(sample, limits).architecture ?? [])
    .slice(0, TYPICAL_SAMPLE)
    .sort((a, b) => networkShapes(a).macs - networkShapes(b).macs);
  const median = costs[Math.floor(costs.length / 2)];
  return median === undefined ? null : trialMacs(median, training.epochs, data.train.count);
}
