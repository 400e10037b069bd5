/** The claimant's side of disputes: it answers every challenge of its candidate in time. */
import type { Address } from "../protocol/bytes.ts";
import { answer } from "./dispute-moves.ts";
import { isOfClaimant, tidy, type DisputeOptions } from "./dispute-clocks.ts";
import { createDisputeFiles, createDisputeSides } from "./dispute-sides.ts";
import { isOpen, type DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { TaskFiles } from "./task-files.ts";

/** How long a claimant's own model may take to arrive, where its disk is lost. */
const MODEL_TIMEOUT_MS = 60_000;

/** The defence of a participant's candidate: nothing where the deployment has no disputes. */
export function createDefence({
  disputes,
  ...options
}: Omit<Parameters<typeof createDefender>[0], "disputes" | "files"> & {
  readonly disputes: DisputesContract | null;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly signal: AbortSignal;
}): Duty[] {
  if (disputes === null) return [];
  const files = createDisputeFiles({ ...options, timeoutMs: MODEL_TIMEOUT_MS });
  return [createDefender({ ...options, disputes, files })];
}

/** The duty of the claimant's account, or where that is a pool, of its manager's. */
export function createDefender(options: DisputeOptions & { readonly participant: Address }): Duty {
  const { taskId, registry, disputes, files, participant, log } = options;
  const sides = createDisputeSides(files);
  return {
    name: "defend",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (task.phase === "Confirmed" || task.phase === "Void") return true;
      if (task.phase !== "Window" || task.examined?.participant !== participant) return;
      const challenges = await disputes.challengesIn(taskId);
      let first: unknown;
      for (const challenge of challenges.filter((one) => one.participant === participant && isOpen(one.stage))) {
        try {
          const due = isOfClaimant(challenge.stage) && head.timestamp < BigInt(challenge.deadline);
          const done = due
            ? await answer(disputes, challenge, await sides.side(task, participant, challenge.sample))
            : await tidy(disputes, challenge, head);
          const about = { event: "defend", taskId: String(taskId), challenge: String(challenge.id) };
          if (done !== null) log.info(about, `challenge ${challenge.id}: ${done}`);
        } catch (error) {
          first ??= error;
        }
      }
      if (first !== undefined) throw first;
    },
  };
}
