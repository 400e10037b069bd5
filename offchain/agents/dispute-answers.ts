/** What every defender does with the challenges that it has to answer: a claimant, a pool's manager, a validator. */
import type { Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { isOfClaimant, tidy } from "./dispute-clocks.ts";
import { answer } from "./dispute-moves.ts";
import type { DisputeSides } from "./dispute-sides.ts";
import type { ChallengeInTask, DisputesContract } from "./disputes-contract.ts";
import type { TaskState } from "./registry.ts";

/**
 * Answers each open challenge whose move it is in time, and ends what is over.
 * @returns the first failure, or undefined: one that cannot be answered holds up no other
 */
export async function answerAll(
  challenges: readonly ChallengeInTask[],
  {
    task,
    head,
    disputes,
    sides,
    log,
  }: {
    readonly task: TaskState;
    readonly head: Head;
    readonly disputes: DisputesContract;
    readonly sides: DisputeSides;
    readonly log: Log;
  },
): Promise<unknown> {
  let first: unknown;
  // Each answer is mined before the next one is sent: first the one with the least time left.
  for (const challenge of challenges.toSorted((a, b) => a.deadline - b.deadline)) {
    const { id, participant, sample, stage, deadline, moot } = challenge;
    try {
      const due = !moot && isOfClaimant(stage) && head.timestamp < BigInt(deadline);
      const done = due
        ? await answer(disputes, challenge, await sides.side(task, participant, sample))
        : await tidy(disputes, challenge, head);
      const about = { event: "defend", taskId: String(task.id), challenge: String(id) };
      if (done !== null) log.info(about, `challenge ${id}: ${done}`);
    } catch (error) {
      first ??= error;
    }
  }
  return first;
}
