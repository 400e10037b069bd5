/** The claimant's side of disputes: it answers every challenge of its candidate in time. */
import type { UnitName } from "../evaluation/model-parts.ts";
import type { Address } from "../protocol/bytes.ts";
import { createFundsWatch } from "./dispute-funds.ts";
import { answerAll } from "./dispute-answers.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import { createDisputeFiles, createDisputeSides } from "./dispute-sides.ts";
import { isOpen, type DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import type { Head } from "../protocol/chain-client.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { TaskState } from "./registry.ts";
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
  const { taskId, chain, registry, disputes, files, participant, log } = options;
  const sides = createDisputeSides(files);
  const { models } = disputes;
  const watchFunds = createFundsWatch(chain, log, 0n, "Answering a challenge");

  /** Publishes what is demanded, of queued demands too: the block waits for all of them. */
  async function publish(task: TaskState, head: Head): Promise<void> {
    const due = (await models.demandsIn(taskId)).filter(
      (one) =>
        one.participant === participant &&
        (one.stage === "Queued" || (one.stage === "Open" && head.timestamp < BigInt(one.deadline))),
    );
    if (due.length === 0) return;
    // What runs makes room for what is queued.
    const ordered = due.toSorted((a, b) => Number(a.stage === "Queued") - Number(b.stage === "Queued"));
    const published = await models.publish(ordered, await sides.openable(task, participant));
    const [only] = ordered;
    const about = { event: "publish-part", taskId: String(taskId), parts: published };
    log.info(
      about,
      published === 1
        ? `published ${nameOf(only!.unit)}, as demanded`
        : `published ${published} parts that were demanded`,
    );
  }

  return {
    name: "defend",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (task.phase === "Confirmed" || task.phase === "Void") return true;
      if (task.examined?.participant !== participant) return;
      if (task.phase === "Seal" || task.phase === "Open") await watchFunds();
      if (task.phase !== "Window") return;
      const challenges = await disputes.challengesIn(taskId);
      const against = challenges.filter((one) => one.participant === participant && !one.ofSeal && isOpen(one.stage));
      let first = await answerAll(against, { task, head, disputes, sides, log });
      try {
        await publish(task, head);
      } catch (error) {
        first ??= error;
      }
      if (first !== undefined) throw first;
    },
  };
}

const nameOf = (unit: UnitName | null): string =>
  unit === null ? "the architecture" : `unit ${unit.index} of layer ${unit.layer}`;
