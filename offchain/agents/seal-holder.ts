/**
 * The duty of whoever challenges: to hold the stake of validators that have sealed another result than this account's own
 * evaluation gives, as soon as that stake begins to leave. A seal can be challenged only when its candidate has been
 * refuted, and friends could draw the disputes before that out until the stake is gone.
 */
import { validatorSeal, ZERO_HASH, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import type { CandidateEvaluator } from "./candidate-evaluation.ts";
import type { DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { formatAmount, hasEnded, mayHaveRefuted, type Registry, type TaskState } from "./registry.ts";
import { holdSeal, isLeaving, stakeAtRisk } from "./stake.ts";

/** A stake takes many answer periods to leave, and no short window is shorter than one. */
const LOOKS_PER_SHORT_WINDOW = 4;

export interface SealHolderOptions {
  readonly taskId: bigint;
  readonly chain: ChainClient;
  readonly registry: Registry;
  readonly disputes: Pick<DisputesContract, "refutedLately">;
  readonly evaluate: CandidateEvaluator;
  readonly log: Log;
  /** half of a stake that is worth the gas, in units of the asset */
  readonly leastGain: bigint;
}

export function createSealHolder(options: SealHolderOptions): Duty {
  const { taskId, chain, registry, disputes, evaluate, log, leastGain } = options;
  let lookAt = 0n;

  async function hold(task: TaskState, participant: Address, head: Head): Promise<void> {
    const candidate = await registry.commitmentOf(taskId, participant);
    if (candidate === undefined) return;
    const sealOn = (validator: Address, result: Hex): Hex =>
      validatorSeal(chain.domain, taskId, candidate.hash, validator, result);
    const leaving = [];
    for (const seal of await registry.sealsOf(taskId, participant)) {
      const { validator } = seal;
      if (validator !== chain.account && (await isLeaving(chain, { taskId, participant, validator })))
        leaving.push(seal);
    }
    if (leaving.length === 0) return;
    const found = await evaluate(task, participant, head);
    if (found === undefined) return;
    const examined = task.examined?.participant === participant && task.examined.opened ? task.examined : null;
    for (const { validator, seal } of leaving) {
      // Nobody can point at a wrong value of the zero result, nor of predictions that nobody has opened.
      if ([found.result, ZERO_HASH].some((result) => seal === sealOn(validator, result))) continue;
      const isOpened = examined === null || seal === sealOn(validator, examined.result);
      if (found.malformed === null && !isOpened) continue;
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
      if (head.timestamp < lookAt) return;
      const task = await registry.task(taskId);
      lookAt = head.timestamp + BigInt(Math.ceil(task.phases.shortWindow / LOOKS_PER_SHORT_WINDOW));
      if (!mayHaveRefuted(task)) return;
      const refuted = await disputes.refutedLately(taskId, head);
      if (hasEnded(task) && refuted.length === 0) return true;
      // The next one can be sealed long before it is examined, where the disputes over this one last.
      const examined = hasEnded(task) || task.examined === null ? [] : [task.examined.participant, task.examined.next];
      let first: unknown;
      for (const participant of new Set([...refuted, ...examined])) {
        try {
          if (participant !== null) await hold(task, participant, head);
        } catch (error) {
          first ??= error; // a model that does not arrive keeps nobody from the others
        }
      }
      if (first !== undefined) throw first;
      return;
    },
  };
}
