import type { Head } from "../protocol/chain-client.ts";
import { explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { Registry, TaskState } from "./registry.ts";

export interface TaskChoice {
  /**
   * The open task to work on next: the lowest ranking score — the least work per reward — among those whose training
   * phase leaves time for a search (paper §2.2; the direction is our reading). The preferred one, where it still is
   * one of these, comes before any other.
   */
  choose(head: Head, preferred?: bigint): Promise<TaskState | undefined>;
  /** Leaves out for a while a task that could not be worked on: its files do not arrive, or are not what it says. */
  passOver(taskId: bigint, head: Head, reason: unknown): void;
}

/** Seconds for which a task is passed over at first; doubled every time. */
const FIRST_PAUSE = 30n;

/** What a participant asks of a task's terms before it puts a bond into it. */
export interface AcceptableTerms {
  /** seconds that reveal, seal, open and the challenge windows must at least last */
  readonly minAnswer: number;
  /** in the asset's smallest unit */
  readonly minReward: bigint;
}

/**
 * Why a task's terms are not worth a bond, or null. A publisher sets phases and bonds: where nobody can answer in time,
 * or more is at stake than can be won, participants would lose what they put in.
 */
export function trapOf(
  { phases, reward, commitBond, candidateBond }: TaskState,
  terms: AcceptableTerms,
): string | null {
  const { minAnswer, minReward } = terms;
  for (const phase of ["reveal", "seal", "open", "shortWindow", "longWindow"] as const) {
    if (phases[phase] < minAnswer) return `its ${phase} phase lasts only ${phases[phase]} s`;
  }
  if (reward < minReward) return `its reward is only ${reward} units`;
  if (commitBond + candidateBond > reward) return "its bonds are larger than its reward";
  return null;
}

/** @param commitMargin seconds before the end of training that belong to committing */
export function createTaskChoice(options: {
  readonly registry: Registry;
  readonly commitMargin: number;
  /** any terms will do where none are given */
  readonly terms?: AcceptableTerms;
  readonly log: Log;
}): TaskChoice {
  const { registry, commitMargin, terms, log } = options;
  const refused = new Set<bigint>();
  const passed = new Map<bigint, { readonly until: bigint; readonly pause: bigint }>();
  return {
    choose: async (head, preferred) => {
      let chosen: { task: TaskState; score: bigint } | undefined;
      for (const id of await registry.openTasks()) {
        if (head.timestamp < (passed.get(id)?.until ?? 0n)) continue;
        const task = await registry.task(id);
        if (task.phase !== "Initialisation" && task.phase !== "Training") continue;
        // Under twice the margin there is no time for a trial and a commitment.
        if (head.timestamp + BigInt(2 * commitMargin) > task.schedule.trainingEnd) continue;
        if (id === preferred) return task;
        const trap = terms === undefined ? null : trapOf(task, terms);
        if (trap !== null) {
          if (!refused.has(id))
            log.info({ event: "pass-over", taskId: String(id) }, `leaves task ${id} alone: ${trap}`);
          refused.add(id);
          continue;
        }
        const score = await registry.rankingScore(id);
        if (chosen === undefined || score < chosen.score) chosen = { task, score };
      }
      return chosen?.task;
    },
    passOver: (taskId, head, reason) => {
      const pause = 2n * (passed.get(taskId)?.pause ?? FIRST_PAUSE / 2n);
      passed.set(taskId, { until: head.timestamp + pause, pause });
      log.warn({ event: "pass-over", taskId: String(taskId) }, `passes over task ${taskId}: ${explainError(reason)}`);
    },
  };
}
