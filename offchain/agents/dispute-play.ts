/** The challenger's side of every dispute that an account has raised, over a candidate's result or over a seal. */
import type { Evaluation } from "../evaluation/evaluate.ts";
import type { Address } from "../protocol/bytes.ts";
import type { Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { press } from "./dispute-moves.ts";
import { createDisputeSides } from "./dispute-sides.ts";
import { isOfClaimant, tidy, type DisputeOptions } from "./dispute-clocks.ts";
import { isOpen, type ChallengeInTask } from "./disputes-contract.ts";
import type { TaskState } from "./registry.ts";

/** Disputes that one account may lose over one candidate before it takes its own evaluation to be at fault. */
const MOST_LOST = 2;

/**
 * Whether an account that has lost so many challenges over a candidate raises no other; it says so once.
 * @param what is challenged, in words
 */
export function createSelfDoubt(log: Log) {
  const said = new Set<Address>();
  return (participant: Address, lost: number, what: string, about: object): boolean => {
    if (lost < MOST_LOST) return false;
    if (!said.has(participant))
      log.error(about, `lost ${lost} challenges of ${what}, and raises no other: its own evaluation may be wrong`);
    said.add(participant);
    return true;
  };
}

/** The first sample of which a well-formed model says something else; undefined where there is none. */
export function firstWrong(predictions: Uint8Array, found: Evaluation | undefined): number | undefined {
  if (found === undefined || found.malformed !== null) return undefined;
  const sample = predictions.findIndex((prediction, i) => prediction !== found.predictions[i]);
  return sample < 0 ? undefined : sample;
}

/**
 * Makes every move that is due in these challenges, and ends what is over, whoever has raised it.
 * @returns the first failure, or undefined: one that cannot be moved holds up no other
 */
export type Player = (task: TaskState, challenges: readonly ChallengeInTask[], head: Head) => Promise<unknown>;

export function createPlayer({ taskId, chain, disputes, files, log }: DisputeOptions): Player {
  const sides = createDisputeSides(files);

  /** @returns what was done, in words, or null */
  async function follow(task: TaskState, challenge: ChallengeInTask, head: Head): Promise<string | null> {
    const { stage, deadline, id, moot } = challenge;
    const due = challenge.challenger === chain.account && !moot && stage !== "Queued" && !isOfClaimant(stage);
    if (!due || head.timestamp >= BigInt(deadline)) return tidy(disputes, challenge, head);
    const side = await sides.side(task, challenge.participant, challenge.sample);
    return press(disputes, challenge, await disputes.shown(id), side);
  }

  return async (task, challenges, head) => {
    let first: unknown;
    for (const challenge of challenges.filter(({ stage }) => isOpen(stage))) {
      try {
        const done = await follow(task, challenge, head);
        const about = { event: "dispute", taskId: String(taskId), challenge: String(challenge.id) };
        if (done !== null) log.info(about, `challenge ${challenge.id}: ${done}`);
      } catch (error) {
        first ??= error;
      }
    }
    return first;
  };
}
