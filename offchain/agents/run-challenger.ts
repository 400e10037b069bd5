/** The challenger: anybody with a bond and no stake, who evaluates every opened candidate by itself. */
import { PonasError } from "../protocol/errors.ts";
import { createChallenges, type ChallengesOptions } from "./challenges.ts";
import { createPrefetch } from "./claimant.ts";
import { createDisputesContract } from "./disputes-contract.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import { createRegistry } from "./registry.ts";

export type ChallengerOptions = ChallengesOptions;

/** How many of the newest tasks a restarted challenger looks at for bonds that it has not collected. */
const RECENT_TASKS = 50n;

/**
 * Watches every open task until the signal fires.
 * @throws PonasError not-found where the deployment has no disputes
 */
export async function runChallenger(options: ChallengerOptions): Promise<void> {
  const { chain, files, log, signal } = options;
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
  const followed = createFollowed({ dutiesFor, onEnd: files.forget, log, signal });
  let started = false;
  const watch: Duty = {
    name: "watch",
    run: async () => {
      // Tasks that ended while this process was away may still owe a bond.
      if (!started) (await registry.latestTasks(RECENT_TASKS)).forEach(followed.follow);
      started = true;
      (await registry.openTasks()).forEach(followed.follow);
    },
  };
  await runDuties({ chain, log, signal, duties: [watch], followed });
}
