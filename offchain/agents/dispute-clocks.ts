/** What both sides of a dispute have in common: whose move it is, and what time has made of it. */
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import type { DisputeFiles } from "./dispute-sides.ts";
import type { ChallengeInTask, ChallengeStage, DisputesContract } from "./disputes-contract.ts";
import type { Registry } from "./registry.ts";

export interface DisputeOptions {
  readonly taskId: bigint;
  readonly chain: ChainClient;
  readonly registry: Registry;
  readonly disputes: DisputesContract;
  readonly files: DisputeFiles;
  readonly log: Log;
}

const OF_CLAIMANT: ReadonlySet<ChallengeStage> = new Set<ChallengeStage>(["Trace", "Rows", "Positions", "Values"]);

export const isOfClaimant = (stage: ChallengeStage): boolean => OF_CLAIMANT.has(stage);

/**
 * Ends what is over: a challenge whose clock ran out, or that another one has made pointless; and starts a queued one
 * for which there is room. Anyone may.
 * @returns what was done, in words, or null
 */
export async function tidy(disputes: DisputesContract, challenge: ChallengeInTask, head: Head): Promise<string | null> {
  const { id, stage, ofSeal } = challenge;
  if (challenge.moot) {
    if (stage === "Queued") await disputes.advance(id);
    else await disputes.timeOut(id);
    return `gave a bond back: ${ofSeal ? "the validator has lost another one" : "the candidate is refuted"}`;
  }
  if (stage === "Queued") {
    if (challenge.running >= disputes.atOnce) return null;
    await disputes.advance(id);
    return "started a queued challenge";
  }
  if (head.timestamp < BigInt(challenge.deadline)) return null;
  await disputes.timeOut(id);
  const side = isOfClaimant(stage) ? "challenger" : ofSeal ? "validator" : "claimant";
  return `ended it for the ${side}: the other side's clock had run out`;
}
