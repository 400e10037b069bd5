/** Disputes as they stand, for people: whose move it is, what is left of the clock, and who is right. */
import { largestOfEach } from "../evaluation/evaluate.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { explainError } from "../protocol/errors.ts";
import { isOfClaimant } from "./dispute-clocks.ts";
import type { DisputeSides } from "./dispute-sides.ts";
import { isOpen, type ChallengeInTask, type ChallengeStage, type DisputesContract } from "./disputes-contract.ts";
import type { DemandStage } from "./model-disputes.ts";
import type { Registry } from "./registry.ts";
import { stakeAtRisk } from "./stake.ts";

export type DisputeSide = "claimant" | "validator" | "challenger";

/** One challenge of a prediction. */
export interface ReportedChallenge {
  readonly challenge: bigint;
  readonly task: bigint;
  readonly candidate: Address;
  readonly challenger: Address;
  readonly sample: number;
  /** class that the candidate claims, and where there is one the validator sealed */
  readonly prediction: number;
  /** who answers for its seal on the candidate; null where the candidate itself answers */
  readonly validator: Address | null;
  /** what that validator may lose, in units of the asset: all that it has staked; null where it is the candidate */
  readonly stake: bigint | null;
  readonly stage: ChallengeStage;
  /** null where no clock runs */
  readonly toMove: DisputeSide | null;
  /** of the clock; 0 where it has run out, null where none runs */
  readonly secondsLeft: number | null;
  /** units of the asset */
  readonly bond: bigint;
  /** by this machine's own evaluation; null where the model was not looked at or could not be had */
  readonly right: DisputeSide | null;
  /** why the model could not be had */
  readonly unknown: string | null;
}

/** One demand for a part of a model. */
export interface ReportedDemand {
  readonly demand: bigint;
  readonly task: bigint;
  readonly candidate: Address;
  readonly challenger: Address;
  /** number of a layer; null for the architecture */
  readonly layer: number | null;
  readonly unit: number | null;
  readonly stage: DemandStage;
  readonly secondsLeft: number | null;
  /** units of the asset */
  readonly price: bigint;
}

export interface DisputeReport {
  readonly challenges: readonly ReportedChallenge[];
  readonly demands: readonly ReportedDemand[];
}

/**
 * @param all decided ones too
 * @param sides where the models are to be looked at
 */
export async function reportDisputes(options: {
  readonly chain: ChainClient;
  readonly registry: Registry;
  readonly disputes: DisputesContract;
  readonly taskIds: readonly bigint[];
  readonly all: boolean;
  readonly sides?: (taskId: bigint) => DisputeSides;
}): Promise<DisputeReport> {
  const { chain, registry, disputes, taskIds, all, sides } = options;
  const { timestamp } = await chain.head();
  const left = (deadline: number): number | null => (deadline === 0 ? null : Math.max(0, deadline - Number(timestamp)));
  const challenges: ReportedChallenge[] = [];
  const demands: ReportedDemand[] = [];

  async function judge(challenge: ChallengeInTask): Promise<Pick<ReportedChallenge, "right" | "unknown">> {
    if (sides === undefined) return { right: null, unknown: null };
    const { taskId, participant, sample, prediction, ofSeal } = challenge;
    try {
      const task = await registry.task(taskId);
      const { trace } = await sides(taskId).side(task, participant, sample);
      const [found] = largestOfEach(Float64Array.from(trace.logits), trace.logits.length);
      return { right: found !== prediction ? "challenger" : defenderOf(ofSeal), unknown: null };
    } catch (error) {
      return { right: null, unknown: explainError(error) };
    }
  }

  // Of seals there are disputes in ended tasks too.
  const tasks = all ? taskIds : [...new Set([...taskIds, ...(await disputes.tasksOfSealChallenges())])];
  for (const task of tasks) {
    for (const one of await disputes.challengesIn(task)) {
      const { id, participant, challenger, sample, prediction, stage, deadline, ofSeal, defender } = one;
      if (!all && !isOpen(stage)) continue;
      const runs = isOpen(stage) && stage !== "Queued";
      challenges.push({
        challenge: id,
        task,
        candidate: participant,
        challenger,
        sample,
        prediction,
        stage,
        validator: ofSeal ? defender : null,
        stake: ofSeal ? await stakeAtRisk(chain, defender) : null,
        toMove: !runs ? null : isOfClaimant(stage) ? defenderOf(ofSeal) : "challenger",
        secondsLeft: runs ? left(deadline) : null,
        bond: disputes.bond,
        ...(await judge(one)),
      });
    }
    for (const one of await disputes.models.demandsIn(task)) {
      if (!all && one.stage !== "Queued" && one.stage !== "Open") continue;
      demands.push({
        demand: one.id,
        task,
        candidate: one.participant,
        challenger: one.challenger,
        layer: one.unit?.layer ?? null,
        unit: one.unit?.index ?? null,
        stage: one.stage,
        secondsLeft: one.stage === "Open" ? left(one.deadline) : null,
        price: disputes.models.price,
      });
    }
  }
  return { challenges, demands };
}

const defenderOf = (ofSeal: boolean): DisputeSide => (ofSeal ? "validator" : "claimant");
