/** The challenger: anybody with a bond and no stake, who evaluates every opened candidate by itself. */
import { PonasError } from "../protocol/errors.ts";
import { createChallenges, type ChallengesOptions } from "./challenges.ts";
import { createPrefetch } from "./claimant.ts";
import { createDisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { followEveryTask } from "./every-task.ts";
import { createKeeper } from "./keeper.ts";
import { createRegistry } from "./registry.ts";
import { createSealWatch } from "./seal-defender.ts";

export type ChallengerOptions = ChallengesOptions;

/**
 * Watches every open task until the signal fires.
 * @throws PonasError not-found where the deployment has no disputes
 */
export async function runChallenger(options: ChallengerOptions): Promise<void> {
  const { chain, files, log } = options;
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  if (disputes === null) {
    throw new PonasError("not-found", "This deployment has no disputes: nobody can challenge a prediction here.");
  }
  const dutiesFor = (taskId: bigint): Duty[] => [
    createPrefetch({ taskId, registry, files }),
    ...createChallenges(taskId, registry, disputes, options).duties,
    createKeeper({ taskId, registry, log, patience: 6 }),
  ];
  await followEveryTask(registry, options, dutiesFor, createSealWatch(chain, disputes));
}
