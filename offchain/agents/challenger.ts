/**
 * The duty of whoever has evaluated a candidate by itself and found another prediction than the one that was opened:
 * to challenge it, and to follow the first difference to the value that the chain computes.
 */
import type { Evaluation } from "../evaluation/evaluate.ts";
import type { Address } from "../protocol/bytes.ts";
import type { CandidateEvaluator } from "./candidate-evaluation.ts";
import { createFundsWatch, ensureDisputeFunds } from "./dispute-funds.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import { createPlayer, createSelfDoubt, firstWrong } from "./dispute-play.ts";
import { isOpen } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { formatAmount, hasEnded, withdrawCredit, type TaskState } from "./registry.ts";

/**
 * Challenges the examined candidate where its predictions are not its model's, plays what this account has challenged,
 * and takes the bonds of challenges back that others have made pointless. One challenge at a time is enough: the first
 * that is won refutes the candidate. Friends of a claimant may fill the queue: everybody's clocks are ended.
 * @param evaluate its own evaluation of a candidate
 */
export function createChallenger(options: DisputeOptions & { readonly evaluate: CandidateEvaluator }): Duty {
  const { taskId, chain, registry, disputes, log, evaluate } = options;
  const play = createPlayer(options);
  const doubts = createSelfDoubt(log);
  const watchFunds = createFundsWatch(chain, log, disputes.bond, "A challenge");

  async function raise(task: TaskState, participant: Address, found: Evaluation, lost: number): Promise<void> {
    const opened = await disputes.predictionsOf(taskId, participant);
    if (opened === undefined) return;
    const sample = firstWrong(opened, found);
    if (sample === undefined) return;
    const about = { event: "challenge", taskId: String(taskId), participant, sample };
    if (doubts(participant, lost, participant, about)) return;
    await ensureDisputeFunds(chain, disputes.bond, "A challenge");
    await disputes.raise(taskId, sample, opened);
    log.warn(
      about,
      `challenged sample ${sample} with a bond of ${formatAmount(disputes.bond)}: ${participant} opened class ` +
        `${opened[sample]}, its model says ${found.predictions[sample]}`,
    );
  }

  return {
    name: "challenge",
    run: async (head) => {
      const task = await registry.task(taskId);
      const { phase, examined } = task;
      const ended = hasEnded({ phase });
      const all = ended || examined !== null ? await disputes.challengesIn(taskId) : [];
      const challenges = all.filter(({ ofSeal }) => !ofSeal);
      const first = await play(task, challenges, head);
      const mine = challenges.filter(({ challenger }) => challenger === chain.account);
      if (ended && first === undefined) {
        if (mine.some(({ stage }) => isOpen(stage))) return;
        await disputes.collect(log);
        await withdrawCredit(registry, chain, log); // a refuter's half of the candidate's bond
        return true;
      }
      if (examined !== null && examined.participant !== chain.account) {
        // Before there is anything to challenge: then there is time to do something about it.
        if (phase === "Seal" || phase === "Open") await watchFunds();
        const found = await evaluate(task, examined.participant, head);
        const ofIt = mine.filter(({ participant }) => participant === examined.participant);
        const lost = ofIt.filter(({ stage }) => stage === "Upheld").length;
        // When it is too late the chain says: what was demanded and published late can be challenged late.
        if (phase === "Window" && found?.malformed === null && !ofIt.some(({ stage }) => isOpen(stage)))
          await raise(task, examined.participant, found, lost);
      }
      if (first !== undefined) throw first;
    },
  };
}
