/**
 * The validator: a staked full node that evaluates candidates in order of claimed accuracy, seals what it found before
 * any prediction is public, opens for a claimant that is away, and shows its seal once the result is open: that it
 * agrees, or with the others' that a quorum has found something else.
 */
import { claimSeal, validatorSeal, ZERO_HASH, type Address, type Hex } from "../protocol/bytes.ts";
import type { Head } from "../protocol/chain-client.ts";
import { PonasError, explainError, type ErrorCode } from "../protocol/errors.ts";
import { createChallenges, type ChallengesOptions } from "./challenges.ts";
import { createPrefetch, inTime } from "./claimant.ts";
import { createDisputesContract, type DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import { followEveryTask } from "./every-task.ts";
import { createKeeper } from "./keeper.ts";
import { createLossWatch } from "./lost-stake.ts";
import { createRegistry, hasEnded, withdrawCredit, type Examined, type Registry, type TaskState } from "./registry.ts";
import { createSealDefence, createSealWatch } from "./seal-defender.ts";
import { binaryCid, shapeOf } from "./task-descriptor.ts";

export interface ValidatorOptions extends ChallengesOptions {
  /** challenge what it found otherwise, where the deployment has disputes; true unless said otherwise. Its own seals it always defends */
  readonly challenge?: boolean;
}

/** Validates every open task until the signal fires. */
export async function runValidator(options: ValidatorOptions): Promise<void> {
  const { chain } = options;
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  const challenged = disputes === null ? undefined : createSealWatch(chain, disputes);
  const own = disputes === null ? [] : [createLossWatch(chain, options.log)];
  await followEveryTask(registry, options, (id) => dutiesFor(id, registry, disputes, options), challenged, own);
}

/** Of fetching a task's descriptor and its encrypted test set: those that come with the CIDs and not with our node. */
const FAULTS_OF_PUBLISHER: ReadonlySet<string> = new Set<ErrorCode>(["bad-input", "model-too-large"]);

/** All that is due in one task. A finished task is dropped, and taken up again where a seal of ours in it is challenged. */
function dutiesFor(
  taskId: bigint,
  registry: Registry,
  disputes: DisputesContract | null,
  options: ValidatorOptions,
): Duty[] {
  const { chain, store, files, log, signal } = options;
  const validator = chain.account;
  let unstaked = false;
  const challenging = options.challenge === false ? null : disputes;
  const { evaluate, duties: challenges } = createChallenges(taskId, registry, challenging, options);

  async function vote(task: TaskState, head: Head): Promise<void> {
    // Where nobody has committed, nobody is harmed, and the vote would be gas for nothing.
    if (task.commitments === 0 || (await registry.hasVoted(taskId, validator))) return;
    if ((await registry.stakeAt(validator, task.schedule.trainingEnd - 1n)) === 0n) return;
    const fault = await faultOfTestSet(task, head);
    if (fault === null) return;
    log.warn({ event: "vote", taskId: String(taskId) }, `voting the test set wrong: ${fault}`);
    await registry.voteTestSet(taskId);
  }

  /** Why no model can be counted on the released test set, or null where it is the one that was committed to. */
  async function faultOfTestSet(task: TaskState, head: Head): Promise<string | null> {
    const { releasedAt, revealStart } = task.schedule;
    const left = revealStart - head.timestamp;
    try {
      await inTime(
        files.prefetchTest(task),
        `those who have the test set of task ${taskId}`,
        (1000 * Number(left)) / 2,
        signal,
      );
    } catch (error) {
      if (!(error instanceof PonasError)) throw error;
      // What was not to be had in all of the training phase, and is not now, is not published.
      const absent = error.code === "unavailable" || error.code === "timeout";
      const late = 2n * left <= revealStart - releasedAt;
      if (FAULTS_OF_PUBLISHER.has(error.code) || (absent && late)) return explainError(error);
      throw error;
    }
    try {
      await files.testSet(task);
      return null;
    } catch (error) {
      if (!(error instanceof PonasError && error.code === "integrity")) throw error;
      return explainError(error);
    }
  }

  async function seal(task: TaskState, participant: Address, head: Head): Promise<void> {
    if ((await registry.sealOf(taskId, participant, validator)).seal !== ZERO_HASH) return;
    if ((await registry.stakeAt(validator, task.schedule.revealEnd - 1n)) === 0n) return;
    if ((await registry.stakeNow(validator)) === 0n) {
      if (!unstaked)
        log.warn(
          { event: "no-stake", taskId: String(taskId) },
          `seals nothing in task ${taskId}: no stake of ${validator} is active any more, and none that unbonds or is lost counts`,
        );
      unstaked = true;
      return;
    }
    const evaluation = await evaluate(task, participant, head);
    const candidate = await registry.commitmentOf(taskId, participant);
    if (evaluation === undefined || candidate === undefined) return;
    // A malformed model's zero result is nothing that could be challenged.
    if (disputes !== null && evaluation.malformed === null) await keep(task, candidate.modelCid);
    await registry.seal(
      taskId,
      participant,
      validatorSeal(chain.domain, taskId, candidate.hash, validator, evaluation.result),
    );
    log.info({ event: "seal", taskId: String(taskId), participant }, `sealed the result of ${participant}`);
  }

  /**
   * Keeps what a seal is defended with, before it is made: whoever loses a dispute on purpose to have the validators
   * challenged would withdraw the model, and its publisher the samples.
   */
  async function keep(task: TaskState, modelCid: Uint8Array): Promise<void> {
    const { data } = await files.descriptor(task);
    const descriptorCid = binaryCid(task.descriptorCid, `The descriptor of task ${taskId}`);
    await Promise.all([modelCid, descriptorCid, data.encryptedTest.cid].map((cid) => store.pin(cid, { signal })));
  }

  /** Opens for a claimant that is away, where we found what it claims. Late in the period: it is the claimant's turn first. */
  async function openFor(task: TaskState, participant: Address, head: Head): Promise<void> {
    const { sealDeadline, openDeadline } = task.schedule;
    if (head.timestamp < sealDeadline + (openDeadline - sealDeadline) / 2n) return;
    const evaluation = await evaluate(task, participant, head);
    const candidate = await registry.commitmentOf(taskId, participant);
    if (evaluation === undefined || candidate === undefined || evaluation.malformed !== null) return;
    if (claimSeal(chain.domain, taskId, participant, candidate.modelRoot, evaluation.result) !== candidate.claimSeal)
      return;
    const { template } = await files.descriptor(task);
    const { samples, commitment } = await files.testSet(task);
    const parts = { ...shapeOf(template), samplesRoot: commitment.samplesRoot };
    await registry.open(taskId, evaluation.predictions, samples.labels, parts);
    log.info(
      { event: "open", taskId: String(taskId), participant },
      `opened the predictions of ${participant}, who did not`,
    );
  }

  async function show(task: TaskState, examined: Examined, head: Head): Promise<void> {
    const { participant, result } = examined;
    const mine = await registry.sealOf(taskId, participant, validator);
    if (mine.seal === ZERO_HASH || mine.attested) return;
    const candidate = await registry.commitmentOf(taskId, participant);
    if (candidate === undefined) return;
    const matching = validatorSeal(chain.domain, taskId, candidate.hash, validator, result);
    if (matching !== mine.seal) return contradict(task, examined, candidate.hash, head);
    await registry.attest(taskId, [validator]);
    log.info({ event: "attest", taskId: String(taskId), participant }, `attested the result of ${participant}`);
  }

  /** Takes the bond of a claim that was opened with other predictions than we found, where a quorum found the same as we. */
  async function contradict(task: TaskState, examined: Examined, commitment: Hex, head: Head): Promise<void> {
    const { participant, totalStake } = examined;
    const result = (await evaluate(task, participant, head))?.result;
    if (result === undefined || result === examined.result) return;
    const same = (await registry.sealsOf(taskId, participant)).filter(
      (other) => other.seal === validatorSeal(chain.domain, taskId, commitment, other.validator, result),
    );
    const weight = same.reduce((sum, { stake }) => sum + stake, 0n);
    if (!(await registry.decides(weight, totalStake))) return;
    await registry.contradict(
      taskId,
      result,
      same.map((other) => other.validator),
    );
    log.info(
      { event: "contradict", taskId: String(taskId), participant },
      `showed that ${same.length} validators found something else than ${participant} opened`,
    );
  }

  async function collect(task: TaskState): Promise<void> {
    if (task.phase === "Confirmed") {
      const { attested, settled } = await registry.sealOf(taskId, task.winner, validator);
      if (attested && !settled) await registry.settleValidator(taskId, validator);
    }
    await withdrawCredit(registry, chain, log);
  }

  const validate: Duty = {
    name: "validate",
    run: async (head) => {
      const task = await registry.task(taskId);
      const { phase, examined } = task;
      if (hasEnded({ phase })) {
        await collect(task);
        return true;
      }
      if (phase === "TestVote") await vote(task, head);
      if (examined === null) return;
      const { participant, next } = examined;
      if (phase === "Seal") await seal(task, participant, head);
      if (phase === "Open") await openFor(task, participant, head);
      if (phase === "Window") {
        await show(task, examined, head);
        if (next !== null) await seal(task, next, head);
      }
    },
  };
  return [
    createPrefetch({ taskId, registry, files }),
    validate,
    ...(disputes === null ? [] : [createSealDefence({ ...options, taskId, registry, disputes, files })]),
    ...challenges,
    createKeeper({ taskId, registry, log, patience: 3 }),
  ];
}
