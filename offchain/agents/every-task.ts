/** Whoever looks at every task, not at its own alone: what validators and challengers have in common. */
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import type { ChallengesOptions } from "./challenges.ts";
import type { Registry } from "./registry.ts";

/** How many of the newest tasks are looked at after a start, for fees and bonds that were not collected. */
const RECENT_TASKS = 50n;

/**
 * Does what is due in every open task until the signal fires, and after a start in those that ended lately.
 * @param besides ended tasks in which something has come up, however many others were published since
 * @param own what the account has to do beside its tasks
 */
export async function followEveryTask(
  registry: Registry,
  { chain, files, log, signal }: Pick<ChallengesOptions, "chain" | "files" | "log" | "signal">,
  dutiesFor: (taskId: bigint) => readonly Duty[],
  besides: () => Promise<readonly bigint[]> = () => Promise.resolve([]),
  own: readonly Duty[] = [],
): Promise<void> {
  const followed = createFollowed({ dutiesFor, onEnd: files.forget, log, signal });
  let started = false;
  const watch: Duty = {
    name: "watch",
    run: async () => {
      // Tasks that ended while this process was away may still owe something.
      if (!started) (await registry.latestTasks(RECENT_TASKS)).forEach(followed.follow);
      started = true;
      (await registry.openTasks()).forEach(followed.follow);
      (await besides()).forEach(followed.follow);
    },
  };
  await runDuties({ chain, log, signal, duties: [watch, ...own], followed });
}
