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

/** @param commitMargin seconds before the end of training that belong to committing */
export function createTaskChoice(options: {
  readonly registry: Registry;
  readonly commitMargin: number;
  readonly log: Log;
}): TaskChoice {
  const { registry, commitMargin, log } = options;
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
