/** The claimant's side of demands: it publishes every part of its model that is asked for. */
import type { UnitName } from "../evaluation/model-parts.ts";
import type { Address } from "../protocol/bytes.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import { createDisputeSides } from "./dispute-sides.ts";
import type { Duty } from "./duties.ts";
import { hasEnded } from "./registry.ts";

/**
 * Publishes what is demanded of a participant's model, of queued demands too: the block waits for all of them. In a lane
 * of its own: hundreds of parts keep no challenge waiting.
 */
export function createPartsPublisher(options: DisputeOptions & { readonly participant: Address }): Duty {
  const { taskId, registry, disputes, files, participant, log } = options;
  const { models } = disputes;
  const sides = createDisputeSides(files);
  return {
    name: "publish parts",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (hasEnded(task)) return true;
      if (task.phase !== "Window" || task.examined?.participant !== participant) return;
      const due = (await models.demandsIn(taskId)).filter(
        (one) =>
          one.participant === participant &&
          (one.stage === "Queued" || (one.stage === "Open" && head.timestamp < BigInt(one.deadline))),
      );
      if (due.length === 0) return;
      const published = await models.publish(due, await sides.openable(task, participant));
      log.info(
        { event: "publish-part", taskId: String(taskId), parts: published },
        due.length === 1
          ? `published ${nameOf(due[0]!.unit)}, as demanded`
          : `published ${published} parts that were demanded`,
      );
    },
  };
}

const nameOf = (unit: UnitName | null): string =>
  unit === null ? "the architecture" : `unit ${unit.index} of layer ${unit.layer}`;
