/** The claimant's side of disputes: it answers every challenge of its candidate in time. */
import type { Address } from "../protocol/bytes.ts";
import { createFundsWatch } from "./dispute-funds.ts";
import { answerAll } from "./dispute-answers.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import { createDisputeFiles, createDisputeSides } from "./dispute-sides.ts";
import { isOpen, type DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createPartsPublisher } from "./parts-publisher.ts";
import { hasEnded } from "./registry.ts";
import type { TaskFiles } from "./task-files.ts";

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
  const files = createDisputeFiles(options);
  return [createDefender({ ...options, disputes, files }), createPartsPublisher({ ...options, disputes, files })];
}

/** The duty of the claimant's account, or where that is a pool, of its manager's. */
export function createDefender(options: DisputeOptions & { readonly participant: Address }): Duty {
  const { taskId, chain, registry, disputes, files, participant, log } = options;
  const sides = createDisputeSides(files);
  const watchFunds = createFundsWatch(chain, log, 0n, "Answering a challenge");

  return {
    name: "defend",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (hasEnded(task)) return true;
      if (task.examined?.participant !== participant) return;
      if (task.phase === "Seal" || task.phase === "Open") await watchFunds();
      if (task.phase !== "Window") return;
      const challenges = await disputes.challengesIn(taskId);
      const against = challenges.filter((one) => one.participant === participant && !one.ofSeal && isOpen(one.stage));
      const failure = await answerAll(against, { task, head, disputes, sides, log });
      if (failure !== undefined) throw failure;
    },
  };
}
