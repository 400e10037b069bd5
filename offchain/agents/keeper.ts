import type { Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import type { Duty } from "./duties.ts";
import { hasEnded, type Registry } from "./registry.ts";

/**
 * Keeps a task moving: makes the call that anyone may make after a deadline, and appends the block of a candidate that
 * stood. Several agents keep the same task; `patience` lets one go first, so that the others need not pay for it.
 * @param patience seconds to leave to others
 */
export function createKeeper(options: {
  readonly taskId: bigint;
  readonly registry: Registry;
  readonly log: Log;
  readonly patience: number;
}): Duty {
  const { taskId, registry, log, patience } = options;
  let dueSince: { phase: string; since: bigint } | undefined;
  return {
    name: "keep",
    run: async (head: Head) => {
      const { phase } = await registry.task(taskId);
      if (hasEnded({ phase })) return true;
      if (phase !== "Advanceable" && phase !== "Confirmable") {
        dueSince = undefined;
        return;
      }
      if (dueSince?.phase !== phase) dueSince = { phase, since: head.timestamp };
      if (head.timestamp < dueSince.since + BigInt(patience)) return;
      if (phase === "Advanceable") await registry.advance(taskId);
      else await registry.confirm(taskId);
      log.debug({ taskId: String(taskId) }, phase === "Advanceable" ? "moved the task on" : "confirmed the block");
    },
  };
}
