/**
 * The duty of whoever has found a refuted candidate's predictions wrong by itself: to challenge the validators that had
 * sealed them, each in the game in which a claimant answers, with its whole stake for a bond. A claimant may lose on
 * purpose, so that a refutation alone says nothing of those who sealed what it claimed.
 */
import { resultHash, validatorSeal, type Address } from "../protocol/bytes.ts";
import type { Head } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { CandidateEvaluator } from "./candidate-evaluation.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import { ensureDisputeFunds } from "./dispute-funds.ts";
import { createPlayer, createSelfDoubt, firstWrong } from "./dispute-play.ts";
import { isOpen, type ChallengeInTask } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { formatAmount, hasEnded, mayHaveRefuted, type TaskState } from "./registry.ts";
import { collectLostStakes, stakeAtRisk } from "./stake.ts";

export interface SealChallengerOptions extends DisputeOptions {
  readonly evaluate: CandidateEvaluator;
  /**
   * least that there must be to win, half a validator's stake, in units of the asset; a challenge's bond unless said
   * otherwise, of which all moves cost a third at most
   */
  readonly leastGain?: bigint | undefined;
}

/** A validator that sealed what was refuted. */
interface Suspect {
  readonly validator: Address;
  /** units of the asset, unbonding ones included */
  readonly stake: bigint;
}

export function createSealChallenger(options: SealChallengerOptions): Duty {
  const { taskId, chain, registry, disputes, log, evaluate } = options;
  const leastGain = options.leastGain ?? disputes.bond;
  const play = createPlayer(options);
  const doubts = createSelfDoubt(log);

  /** Validators whose seals open to these predictions, and whom it is worth to challenge: those with most to lose first. */
  async function suspects(
    participant: Address,
    predictions: Uint8Array,
    challenges: readonly ChallengeInTask[],
  ): Promise<Suspect[]> {
    const candidate = await registry.commitmentOf(taskId, participant);
    if (candidate === undefined) return [];
    const result = resultHash(predictions);
    const sealed = (await registry.sealsOf(taskId, participant)).filter(
      ({ validator, seal }) =>
        validator !== chain.account &&
        seal === validatorSeal(chain.domain, taskId, candidate.hash, validator, result) &&
        // One challenge of one's own at a time is enough; another's may be a friend's, to be lost on purpose.
        !challenges.some(
          ({ defender, challenger, stage }) =>
            defender === validator && (stage === "Refuted" || (challenger === chain.account && isOpen(stage))),
        ),
    );
    const staked = await Promise.all(
      sealed.map(async ({ validator }) => ({ validator, stake: await stakeAtRisk(chain, validator) })),
    );
    return staked
      .filter(({ stake }) => stake / 2n >= leastGain)
      .toSorted((a, b) => (a.stake < b.stake ? 1 : a.stake > b.stake ? -1 : 0));
  }

  /** Challenges every seal on a refuted candidate that is worth it, while money lasts. */
  async function raise(
    task: TaskState,
    participant: Address,
    challenges: readonly ChallengeInTask[],
    head: Head,
  ): Promise<void> {
    const predictions = await disputes.predictionsOf(taskId, participant);
    if (predictions === undefined) return;
    const ofIt = challenges.filter((one) => one.participant === participant);
    const liars = await suspects(participant, predictions, ofIt);
    if (liars.length === 0) return;
    const found = await evaluate(task, participant, head);
    const sample = firstWrong(predictions, found);
    if (sample === undefined) return;
    const about = { event: "challenge-seal", taskId: String(taskId), participant, sample };
    const lost = ofIt.filter(({ challenger, stage }) => challenger === chain.account && stage === "Upheld");
    if (doubts(participant, lost.length, `seals on ${participant}`, about)) return;
    let first: unknown;
    for (const { validator, stake } of liars) {
      // Where the task goes on, the next candidate may have to be challenged too.
      const bonds = hasEnded(task) ? 1n : 2n;
      await ensureDisputeFunds(chain, bonds * disputes.bond, "Challenging a seal");
      try {
        await disputes.raiseAgainstSeal(taskId, participant, validator, sample, predictions);
      } catch (error) {
        if (!(error instanceof PonasError && error.code === "reverted")) throw error;
        first ??= error; // one that cannot be challenged keeps nobody from the others
        continue;
      }
      log.warn(
        { ...about, validator, stake: String(stake) },
        `challenged the seal of ${validator} on ${participant}, which is refuted, with a bond of ` +
          `${formatAmount(disputes.bond)}: its model says ${found!.predictions[sample]} of sample ${sample}, ` +
          `not ${predictions[sample]}; ${formatAmount(stake)} are at stake`,
      );
    }
    if (first !== undefined) throw first;
  }

  return {
    name: "challenge seals",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (!mayHaveRefuted(task)) return;
      const challenges = (await disputes.challengesIn(taskId)).filter(({ ofSeal }) => ofSeal);
      let first = await play(task, challenges, head);
      const refuted = await disputes.refutedLately(taskId, head);
      for (const participant of refuted) {
        try {
          await raise(task, participant, challenges, head);
        } catch (error) {
          first ??= error;
        }
      }
      if (first !== undefined) throw first;
      const running = challenges.some(({ challenger, stage }) => challenger === chain.account && isOpen(stage));
      if (!hasEnded(task) || running || refuted.length > 0) return;
      await disputes.collect(log);
      await collectLostStakes(chain, log);
      return true;
    },
  };
}
