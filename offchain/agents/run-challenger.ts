/** The challenger: anybody with a bond and no stake, who evaluates every opened candidate by itself. */
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createCandidateEvaluator } from "./candidate-evaluation.ts";
import { createChallenger } from "./challenger.ts";
import { createPrefetch } from "./claimant.ts";
import { createDisputeFiles } from "./dispute-sides.ts";
import { createDisputesContract } from "./disputes-contract.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import { createRegistry } from "./registry.ts";
import type { TaskFiles } from "./task-files.ts";

export interface ChallengerOptions {
  readonly chain: ChainClient;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** how long a candidate's model may take to arrive; it should be well under a task's window */
  readonly modelTimeoutMs: number;
}

/** How many of the newest tasks a restarted challenger looks at for bonds that it has not collected. */
const RECENT_TASKS = 50n;

/**
 * Watches every open task until the signal fires.
 * @throws PonasError not-found where the deployment has no disputes
 */
export async function runChallenger(options: ChallengerOptions): Promise<void> {
  const { chain, store, files, log, signal, modelTimeoutMs: timeoutMs } = options;
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  if (disputes === null) {
    throw new PonasError("not-found", "This deployment has no disputes: nobody can challenge a prediction here.");
  }
  const dutiesFor = (taskId: bigint): Duty[] => [
    createPrefetch({ taskId, registry, files }),
    createChallenger({
      taskId,
      chain,
      registry,
      disputes,
      files: createDisputeFiles({ registry, store, files, signal, timeoutMs }),
      log,
      evaluate: createCandidateEvaluator({ ...options, taskId, registry }),
    }),
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
