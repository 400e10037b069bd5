import type { Head } from "../protocol/chain-client.ts";
import type { Registry, TaskState } from "./registry.ts";

/**
 * The open task to work on next: the lowest ranking score — the least work per reward — among those whose training
 * phase leaves time for a search (paper §2.2; the direction is our reading).
 * @param commitMargin seconds before the end of training that belong to committing
 */
export async function chooseTask(registry: Registry, head: Head, commitMargin: number): Promise<TaskState | undefined> {
  let chosen: { task: TaskState; score: bigint } | undefined;
  for (const id of await registry.openTasks()) {
    const task = await registry.task(id);
    if (task.phase !== "Initialisation" && task.phase !== "Training") continue;
    // Under twice the margin there is no time for a trial and a commitment.
    if (head.timestamp + BigInt(2 * commitMargin) > task.schedule.trainingEnd) continue;
    const score = await registry.rankingScore(id);
    if (chosen === undefined || score < chosen.score) chosen = { task, score };
  }
  return chosen?.task;
}
