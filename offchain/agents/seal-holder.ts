/**
 * The duty of whoever challenges: to hold the stake of validators that have sealed another result than this account's own
 * evaluation gives, as soon as that stake begins to leave. A seal can be challenged only when its candidate has been
 * refuted, and friends could draw the disputes before that out until the stake is gone.
 */
import { validatorSeal, type Address } from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import type { CandidateEvaluator } from "./candidate-evaluation.ts";
import type { Duty } from "./duties.ts";
import { formatAmount, hasEnded, type Registry, type TaskState } from "./registry.ts";
import { holdSeal, isLeaving, stakeAtRisk } from "./stake.ts";

/** A stake takes many answer periods to leave, and no short window is shorter than one. */
const LOOKS_PER_SHORT_WINDOW = 4n;

export interface SealHolderOptions {
  readonly taskId: bigint;
  readonly chain: ChainClient;
  readonly registry: Registry;
  readonly evaluate: CandidateEvaluator;
  readonly log: Log;
  /** half of a stake that is worth the gas, in units of the asset */
  readonly leastGain: bigint;
}

export function createSealHolder({ taskId, chain, registry, evaluate, log, leastGain }: SealHolderOptions): Duty {
  let lookedAt = 0n;

  async function hold(task: TaskState, participant: Address, head: Head): Promise<void> {
    const candidate = await registry.commitmentOf(taskId, participant);
    if (candidate === undefined) return;
    const leaving = [];
    for (const seal of await registry.sealsOf(taskId, participant)) {
      const { validator } = seal;
      if (validator !== chain.account && (await isLeaving(chain, { taskId, participant, validator })))
        leaving.push(seal);
    }
    if (leaving.length === 0) return;
    const found = await evaluate(task, participant, head);
    if (found === undefined) return;
    for (const { validator, seal } of leaving) {
      if (seal === validatorSeal(chain.domain, taskId, candidate.hash, validator, found.result)) continue;
      const stake = await stakeAtRisk(chain, validator);
      if (stake / 2n < leastGain) continue;
      await holdSeal(chain, { taskId, participant, validator });
      log.warn(
        { event: "hold-seal", taskId: String(taskId), participant, validator, stake: String(stake) },
        `holds the stake of ${validator}, ${formatAmount(stake)}, which has begun to leave: its seal on ${participant} is ` +
          "not of what the model makes of the samples",
      );
    }
  }

  return {
    name: "hold stakes",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (hasEnded(task)) return true;
      if (task.examined === null) return;
      if (LOOKS_PER_SHORT_WINDOW * (head.timestamp - lookedAt) < BigInt(task.phases.shortWindow)) return;
      lookedAt = head.timestamp;
      const { participant, next } = task.examined;
      await hold(task, participant, head);
      // It can be sealed long before it is examined, where the disputes over this one last.
      if (next !== null) await hold(task, next, head);
      return;
    },
  };
}
