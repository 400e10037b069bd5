/** What a candidate's model is worth: fetched by its CID, evaluated once, by whoever does not take the claim's word. */
import { evaluateModel, type Evaluation } from "../evaluation/evaluate.ts";
import { ZERO_HASH, type Address } from "../protocol/bytes.ts";
import type { Head } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { percent } from "./claimant.ts";
import type { Registry, TaskState } from "./registry.ts";
import type { TaskFiles } from "./task-files.ts";

export interface CandidateEvaluatorOptions {
  readonly taskId: bigint;
  readonly registry: Registry;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** how long a candidate's model may take to arrive */
  readonly modelTimeoutMs: number;
  /** files of models whose parts were published on chain, by participant */
  readonly published?: ReadonlyMap<Address, Uint8Array>;
}

/**
 * A candidate's evaluation; undefined where there is no such candidate.
 * @param head bounds how long the model is waited for: whoever comes next must not wait for one that is over
 * @throws PonasError where the model has not arrived; another call tries again
 */
export type CandidateEvaluator = (task: TaskState, participant: Address, head: Head) => Promise<Evaluation | undefined>;

/** Evaluates each candidate of a task once, whoever asks first: a candidate's model never changes. */
export function createCandidateEvaluator(options: CandidateEvaluatorOptions): CandidateEvaluator {
  const { taskId, registry, store, files, log, signal, modelTimeoutMs, published } = options;
  const found = new Map<string, Promise<Evaluation>>();

  async function fetchAndEvaluate(
    task: TaskState,
    participant: Address,
    { modelCid, modelRoot }: { modelCid: Uint8Array; modelRoot: string },
    onChain: Uint8Array | undefined,
    head: Head,
  ): Promise<Evaluation> {
    const { samples } = await files.testSet(task);
    const rules = await files.rules(task);
    const nothing = (reason: string): Evaluation => ({
      correct: 0,
      total: samples.count,
      predictions: new Uint8Array(),
      result: ZERO_HASH,
      modelRoot: null,
      malformed: { reason },
    });
    let bytes: Uint8Array;
    try {
      const timeoutMs = Math.min(modelTimeoutMs, timeLeft(task, participant, head));
      bytes = onChain ?? (await store.get(modelCid, { maxBytes: task.maxModelBytes, timeoutMs, signal }));
    } catch (error) {
      // Too large, or no canonical file: the claimant's fault, as good as malformed. Anything else — it has not arrived,
      // our own node is damaged — says nothing about the model, and is tried again at the next head.
      const claimantsFault = error instanceof PonasError && ["model-too-large", "bad-input"].includes(error.code);
      if (claimantsFault) return nothing(error.message);
      throw error;
    }
    const evaluation = await evaluateModel(bytes, { ...samples, maxBytes: task.maxModelBytes, rules, signal });
    if (evaluation.modelRoot !== null && evaluation.modelRoot !== modelRoot) {
      return nothing(`the file's modelRoot is ${evaluation.modelRoot}, the commitment's is ${modelRoot}`);
    }
    return evaluation;
  }

  return async (task, participant, head) => {
    const onChain = published?.get(participant);
    const key = `${participant} ${onChain === undefined ? "file" : "parts"}`;
    const known = found.get(key);
    if (known !== undefined) return known;
    const candidate = await registry.commitmentOf(taskId, participant);
    if (candidate === undefined) return undefined;
    const underWay = found.get(key);
    if (underWay !== undefined) return underWay;
    const evaluating = fetchAndEvaluate(task, participant, candidate, onChain, head);
    found.set(key, evaluating);
    evaluating.catch(() => found.delete(key));
    const { correct, total, malformed } = await evaluating;
    const claim = `claims ${candidate.claimedCorrect}`;
    log.info(
      { event: "evaluate", taskId: String(taskId), participant, correct, total, claimed: candidate.claimedCorrect },
      malformed === null
        ? `evaluated ${participant}: ${correct} of ${total} (${percent(correct, total)}), ${claim}`
        : `evaluated ${participant}: malformed, ${claim}: ${malformed.reason}`,
    );
    return evaluating;
  };
}

/** Milliseconds until the candidate's turn is over; of one whose turn is over, whose seals are looked at, there is no end. */
function timeLeft({ examined, schedule }: TaskState, participant: Address, { timestamp }: Head): number {
  if (participant !== examined?.participant && participant !== examined?.next) return Infinity;
  const { sealDeadline, openDeadline, windowEnd } = schedule;
  const end = [sealDeadline, openDeadline, windowEnd].find((time) => time > timestamp) ?? timestamp;
  return 1000 * Math.max(1, Number(end - timestamp));
}
