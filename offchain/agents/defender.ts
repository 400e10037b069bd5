/** The claimant's side of disputes: it answers every challenge of its candidate in time. */
import type { OpenableModel } from "../evaluation/dispute-openings.ts";
import { openWholeUnit, type WholeUnit } from "../evaluation/model-parts.ts";
import type { Address } from "../protocol/bytes.ts";
import { createFundsWatch } from "./dispute-funds.ts";
import { answer } from "./dispute-moves.ts";
import { isOfClaimant, tidy, type DisputeOptions } from "./dispute-clocks.ts";
import { createDisputeFiles, createDisputeSides } from "./dispute-sides.ts";
import { isOpen, type DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import type { Demand } from "./model-disputes.ts";
import type { Head } from "../protocol/chain-client.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { TaskFiles } from "./task-files.ts";

/** How long a claimant's own model may take to arrive, where its disk is lost. */
const MODEL_TIMEOUT_MS = 60_000;
const NO_UNIT: WholeUnit = { bias: 0, rows: [], weights: "0x", siblings: [] };

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

  /** Publishes what is demanded, or has a queued demand's clock start: the block waits for it. */
  async function meet(demand: Demand, openable: OpenableModel, running: number, head: Head): Promise<string | null> {
    const { id, stage, unit } = demand;
    if (stage === "Queued" && running < disputes.atOnce) {
      await models.expireDemand(id);
      return "had its clock started";
    }
    if (stage !== "Open" || head.timestamp >= BigInt(demand.deadline)) return null;
    if (unit === null) {
      await models.answerModel(id, openable.opening);
      return "published the architecture";
    }
    const opened = openWholeUnit(openable, unit);
    await models.answerUnit(id, openable.opening, opened ?? NO_UNIT);
    return opened === undefined
      ? `showed that there is no unit ${unit.index} of layer ${unit.layer}`
      : `published unit ${unit.index} of layer ${unit.layer}`;
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
      const demands = (await disputes.models.demandsIn(taskId)).filter((one) => one.participant === participant);
      const open = demands.filter(({ stage }) => stage === "Open").length;
      for (const demand of demands) {
        try {
          const done = await meet(demand, await sides.openable(task, participant), open, head);
          const about = { event: "publish-part", taskId: String(taskId), demand: String(demand.id) };
          if (done !== null) log.info(about, `demand ${demand.id}: ${done}`);
        } catch (error) {
          first ??= error;
        }
      }
      if (first !== undefined) throw first;
    },
  };
}
