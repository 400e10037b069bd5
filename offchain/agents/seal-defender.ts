/** A validator's side of disputes over its seals: it answers for each as the claimant of the candidate would. */
import { ZERO_HASH } from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { answerAll } from "./dispute-answers.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import { createFundsWatch } from "./dispute-funds.ts";
import { createDisputeFiles, createDisputeSides } from "./dispute-sides.ts";
import { isOpen, type ChallengeInTask, type DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { formatAmount, hasEnded, mayHaveRefuted } from "./registry.ts";
import { stakeAtRisk } from "./stake.ts";
import type { TaskFiles } from "./task-files.ts";

/** The same duty, with the files that a validator has at hand. */
export function createSealDefence(
  options: Omit<DisputeOptions, "files"> & {
    readonly store: ModelStore;
    readonly files: TaskFiles;
    readonly signal: AbortSignal;
  },
): Duty {
  return createSealDefender({ ...options, files: createDisputeFiles(options) });
}

/**
 * Looks for challenges of seals, this account's or raised by it, in whatever task, whenever there are new challenges:
 * after a restart the task of one may lie behind any number of newer tasks.
 * @returns tasks with such a challenge
 */
export function createSealWatch(chain: ChainClient, disputes: DisputesContract): () => Promise<readonly bigint[]> {
  let seen = "0";
  return async () => {
    const newest = await disputes.newest();
    if (newest === seen) return [];
    const tasks = await disputes.tasksOfSealChallenges(chain.account);
    seen = newest;
    return tasks;
  };
}

/** Answers every challenge of this account's seals, until none can be raised any more and none runs. */
export function createSealDefender(options: DisputeOptions): Duty {
  const { taskId, chain, registry, disputes, files, log } = options;
  const sides = createDisputeSides(files);
  const watchFunds = createFundsWatch(chain, log, 0n, "Answering a challenge of a seal");
  const announced = new Set<bigint>();

  /** Says once by when this validator has to answer, and what for. */
  async function announce({ id, challenger, participant, sample, deadline }: ChallengeInTask): Promise<void> {
    if (announced.has(id) || deadline === 0) return;
    const stake = await stakeAtRisk(chain, chain.account);
    log.warn(
      { event: "seal-challenged", taskId: String(taskId), challenge: String(id), participant, challenger, deadline },
      `challenge ${id}: ${challenger} says that this validator has sealed a wrong prediction of sample ${sample} for ` +
        `${participant} in task ${taskId}; it answers by ${new Date(1000 * deadline).toISOString()}, or loses its stake of ` +
        formatAmount(stake),
    );
    announced.add(id);
  }

  /** Says once how what was announced has ended; of a lost stake the account's own duty tells. */
  function conclude({ id, challenger, stage }: ChallengeInTask): void {
    if (!announced.delete(id) || stage !== "Upheld") return;
    const about = { event: "seal-upheld", taskId: String(taskId), challenge: String(id), challenger };
    log.info(about, `challenge ${id}: the seal stands; half of the bond of ${challenger} is this validator's`);
  }

  /** Whether a seal of this account on a refuted candidate can be challenged still. */
  async function mayBeChallenged(head: Head): Promise<boolean> {
    for (const participant of await disputes.refutedLately(taskId, head)) {
      const { seal } = await registry.sealOf(taskId, participant, chain.account);
      if (seal !== ZERO_HASH) return true;
    }
    return false;
  }

  return {
    name: "defend seals",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (!mayHaveRefuted(task)) return;
      // Before there is anything to answer: then there is time to do something about it.
      if (task.phase === "Seal") await watchFunds();
      const ofSeals = (await disputes.challengesIn(taskId)).filter(
        ({ ofSeal, defender }) => ofSeal && defender === chain.account,
      );
      const against = ofSeals.filter(({ stage }) => isOpen(stage));
      let failure: unknown;
      for (const one of ofSeals) {
        if (!against.includes(one)) conclude(one);
        else await announce(one).catch((error: unknown) => void (failure ??= error)); // the answers must not wait for it
      }
      failure = (await answerAll(against, { task, head, disputes, sides, log })) ?? failure;
      if (failure !== undefined) throw failure;
      if (!hasEnded(task) || against.length > 0 || (await mayBeChallenged(head))) return;
      await disputes.collect(log);
      return true;
    },
  };
}
