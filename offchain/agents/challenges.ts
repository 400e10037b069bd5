/** All that an account does against false claims in one task: for a validator beside its seals, for a challenger alone. */
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createCandidateEvaluator, type CandidateEvaluator } from "./candidate-evaluation.ts";
import { createChallenger } from "./challenger.ts";
import { createDisputeFiles } from "./dispute-sides.ts";
import type { DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { createSealChallenger } from "./seal-challenger.ts";
import { createSealHolder } from "./seal-holder.ts";
import { createModelChallenger } from "./model-challenger.ts";
import type { Registry } from "./registry.ts";
import type { TaskFiles } from "./task-files.ts";

/** Units of the asset that one candidate's parts may cost where nothing else is said. */
const DEFAULT_PARTS_BUDGET = 20n * 10n ** 18n;

export interface ChallengesOptions {
  readonly chain: ChainClient;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** how long a candidate's model may take to arrive; it should be well under a task's window */
  readonly modelTimeoutMs: number;
  /** units of the asset that one candidate's parts may cost, where its model cannot be fetched */
  readonly partsBudget?: bigint;
  /** half of a validator's stake that is worth a challenge of its seal, or a hold, in units of the asset; a challenge's bond unless said otherwise */
  readonly leastSealGain?: bigint;
}

/** @param disputes null where the deployment has none, or where it is left to others to challenge */
export function createChallenges(
  taskId: bigint,
  registry: Registry,
  disputes: DisputesContract | null,
  options: ChallengesOptions,
): { readonly evaluate: CandidateEvaluator; readonly duties: readonly Duty[] } {
  const { chain, store, files: taskFiles, log, signal, modelTimeoutMs: timeoutMs } = options;
  const published = new Map<Address, Uint8Array>();
  const evaluate = createCandidateEvaluator({ ...options, taskId, registry, published });
  if (disputes === null) return { evaluate, duties: [] };
  const files = createDisputeFiles({ registry, store, files: taskFiles, signal, timeoutMs, published });
  const shared = { taskId, chain, registry, disputes, files, log, evaluate };
  const partsBudget = options.partsBudget ?? DEFAULT_PARTS_BUDGET;
  return {
    evaluate,
    duties: [
      createChallenger(shared),
      createModelChallenger({ ...shared, taskFiles, published, partsBudget }),
      createSealChallenger({ ...shared, leastGain: options.leastSealGain }),
      createSealHolder({ ...shared, leastGain: options.leastSealGain ?? disputes.bond }),
    ],
  };
}
