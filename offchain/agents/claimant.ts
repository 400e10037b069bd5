/**
 * What a participant owes the chain once it has a model: commit before training ends, reveal and claim after the key
 * is out, open the predictions, collect. A solo miner and a pool manager do the same here; only the account that
 * stands on chain differs, and that is handed in as {@link Participation}.
 */
import { CID } from "multiformats/cid";
import { z } from "zod";

import { evaluateModel, type Evaluation } from "../evaluation/evaluate.ts";
import {
  claimSeal,
  commitmentHash,
  keccak256,
  validatorSeal,
  ZERO_HASH,
  type Address,
  type Hex,
} from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";
import { cidOf } from "../storage/cid.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { Duty } from "./duties.ts";
import { hasEnded, isCandidate, toHex, type CommitmentView, type Registry, type TaskState } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { shapeOf } from "./task-descriptor.ts";
import type { TaskFiles } from "./task-files.ts";

/** The account that takes part, and how it acts: by itself, or through its pool's contract. */
export interface Participation {
  readonly participant: Address;
  commit(task: TaskState, commitment: Hex): Promise<void>;
  reveal(task: TaskState, opening: Opening, claimedCorrect: number, seal: Hex): Promise<void>;
  /** Collects what the ended task owes; resolves to true when nothing is left to do. */
  collect(task: TaskState): Promise<boolean>;
}

export interface Opening {
  readonly modelRoot: Hex;
  readonly modelCid: Uint8Array;
  readonly validationCorrect: number;
  readonly validationTotal: number;
  readonly salt: Hex;
}

/** The best model so far, canonically evaluated on the validation split. */
export interface BestModel {
  readonly bytes: Uint8Array;
  readonly modelRoot: Hex;
  readonly correct: number;
  readonly total: number;
}

export interface ClaimantOptions {
  readonly taskId: bigint;
  readonly chain: ChainClient;
  readonly registry: Registry;
  readonly participation: Participation;
  readonly files: TaskFiles;
  readonly store: ModelStore;
  readonly state: StateFolder;
  readonly best: () => Promise<BestModel | undefined>;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** seconds before the end of training at which the best model is committed */
  readonly commitMargin: number;
}

const hex = z.string().regex(/^0x([0-9a-f]{2})*$/) as unknown as z.ZodType<Hex>;
const recordSchema = z.strictObject({
  modelRoot: hex,
  modelCid: hex,
  validationCorrect: z.int(),
  validationTotal: z.int(),
  salt: hex,
});
const countSchema = z.strictObject({ count: z.int().min(0) });

/**
 * The salt of a commitment: derived from the account's key by a deterministic signature, so that whoever still has
 * the key and the model can always open what was committed.
 */
export async function saltOf(chain: ChainClient, taskId: bigint, participant: Address, modelRoot: Hex): Promise<Hex> {
  const { chainId, registry } = chain.domain;
  const text = `ponas commitment salt\nchain ${chainId}\nregistry ${registry}\ntask ${taskId}\nparticipant ${participant}\nmodel ${modelRoot}`;
  return keccak256(await chain.signText(text));
}

/** Commitments in one task: a better model that comes late replaces the committed one, and each costs a burned fee. */
const MAX_COMMITMENTS = 3;

/** About 35,000 gas each: far below what a block holds. */
const ATTESTED_AT_ONCE = 100;

interface Committed {
  readonly opening: Opening;
  readonly bytes: Uint8Array;
}

/** The duty that carries one task's best model from commitment to payment. */
export function createClaimant(options: ClaimantOptions): Duty {
  const { taskId, chain, registry, participation, files, store, state, best, log, signal, commitMargin } = options;
  const { participant } = participation;
  const folder = `tasks/${taskId}/${participant}`;
  /** of the live commitment, which is the only one after training */
  let evaluated: Promise<Evaluation> | undefined;
  let shared = false;

  async function openingOf(model: BestModel): Promise<Opening> {
    // The file is put on IPFS at the reveal only: until then its CID is secret.
    const { bytes: modelCid } = await cidOf(model.bytes);
    return {
      modelRoot: model.modelRoot,
      modelCid,
      validationCorrect: model.correct,
      validationTotal: model.total,
      salt: await saltOf(chain, taskId, participant, model.modelRoot),
    };
  }

  function keep(commitment: Hex, opening: Opening, bytes: Uint8Array): void {
    state.writeBytes(`${folder}/${opening.modelRoot}.model`, bytes);
    state.write(`${folder}/${commitment}.json`, { ...opening, modelCid: toHex(opening.modelCid) });
  }

  function readCommitted(commitment: Hex): Committed | undefined {
    const record = state.read(`${folder}/${commitment}.json`, recordSchema);
    const bytes = record === undefined ? undefined : state.readBytes(`${folder}/${record.modelRoot}.model`);
    if (record === undefined || bytes === undefined) return undefined;
    return { opening: { ...record, modelCid: Buffer.from(record.modelCid.slice(2), "hex") }, bytes };
  }

  async function commit(task: TaskState, head: Head): Promise<void> {
    if (head.timestamp < task.schedule.trainingEnd - BigInt(commitMargin)) return;
    const model = await best();
    if (model === undefined) return;
    if (model.bytes.length > task.maxModelBytes) {
      throw new PonasError(
        "model-too-large",
        `The best model has ${model.bytes.length} bytes, but task ${taskId} takes ${task.maxModelBytes}: it is not committed.`,
      );
    }
    const live = await registry.commitmentOf(taskId, participant);
    const committed = live === undefined ? undefined : readCommitted(live.hash);
    if (committed !== undefined && committed.opening.validationCorrect >= model.correct) return;
    const opening = await openingOf(model);
    const commitment = commitmentHash(chain.domain, taskId, participant, opening);
    const count = state.read(`${folder}/commitments.json`, countSchema)?.count ?? 0;
    const again = readCommitted(commitment) !== undefined;
    if (!again && live !== undefined && live.hash !== commitment && count >= MAX_COMMITMENTS) return;
    // Written before it is sent: a commitment that is mined can always be opened.
    keep(commitment, opening, model.bytes);
    if (live?.hash === commitment) return;
    if (!again) state.write(`${folder}/commitments.json`, { count: count + 1 });
    await participation.commit(task, commitment);
    const { modelRoot, correct, total } = model;
    log.info(
      { event: "commit", taskId: String(taskId), modelRoot, correct, total },
      `committed a model with ${percent(correct, total)} on validation`,
    );
  }

  /**
   * The model behind the live commitment: from the state folder; after a lost disk, the best model where it is the one,
   * since its salt follows from the key; or the file that the reveal has published.
   */
  async function committedModel(task: TaskState, live: CommitmentView): Promise<Committed> {
    const kept = readCommitted(live.hash);
    if (kept !== undefined) return kept;
    const model = await best();
    if (model !== undefined) {
      const opening = await openingOf(model);
      if (commitmentHash(chain.domain, taskId, participant, opening) === live.hash) {
        keep(live.hash, opening, model.bytes);
        return { opening, bytes: model.bytes };
      }
    }
    throw new PonasError(
      "not-found",
      `The model behind the commitment ${live.hash} of task ${taskId} is not in ${state.path}.`,
      { cure: "put back a copy of that folder before the end of the reveal phase, or the bond is lost" },
    );
  }

  function evaluate(task: TaskState, bytes: Uint8Array): Promise<Evaluation> {
    const evaluation = async (): Promise<Evaluation> => {
      const { samples } = await files.testSet(task);
      const rules = await files.rules(task);
      const found = await evaluateModel(bytes, { ...samples, maxBytes: task.maxModelBytes, rules, signal });
      if (found.malformed !== null) log.error({ taskId: String(taskId) }, found.malformed.reason);
      return found;
    };
    if (evaluated === undefined) {
      evaluated = evaluation();
      evaluated.catch(() => (evaluated = undefined));
    }
    return evaluated;
  }

  /** Makes the model's file one that others can fetch: once in each process, whatever the IPFS node has lost. */
  async function share(bytes: Uint8Array): Promise<void> {
    if (shared) return;
    await store.put(bytes, { signal });
    shared = true;
  }

  /** The key is out, and the reveal phase is to come: there is time to evaluate. */
  async function prepare(task: TaskState, head: Head): Promise<void> {
    const live = await registry.commitmentOf(taskId, participant);
    if (live?.state !== "Committed") return;
    const { bytes } = await committedModel(task, live);
    const patienceMs = 1000 * Number(task.schedule.revealStart - head.timestamp);
    await inTime(evaluate(task, bytes), `the test set of task ${taskId}`, patienceMs, signal);
  }

  async function reveal(task: TaskState, head: Head): Promise<void> {
    const live = await registry.commitmentOf(taskId, participant);
    if (live?.state !== "Committed") return;
    const committed = await committedModel(task, live);
    // What does not succeed until then is given up for the commitment's bond, which an unrevealed one loses.
    const { revealStart, revealEnd } = task.schedule;
    const lastCall = revealEnd - (revealEnd - revealStart) / 3n;
    const late = head.timestamp >= lastCall;
    const left = late ? Number(revealEnd - head.timestamp) / 2 : Number(lastCall - head.timestamp);
    const patienceMs = 1000 * left;
    let found: Evaluation;
    try {
      found = await inTime(evaluate(task, committed.bytes), `the test set of task ${taskId}`, patienceMs, signal);
    } catch (error) {
      if (!late || !(error instanceof PonasError) || error.code === "aborted") throw error;
      return withdraw(task, committed.opening, explainError(error));
    }
    if (!isCandidate(task, found.correct)) {
      const { correct, total } = found;
      return withdraw(task, committed.opening, `${correct} of ${total} is under the minimum of ${task.minCorrect}`);
    }
    state.writeBytes(`${folder}/${live.hash}.predictions`, found.predictions);
    try {
      await inTime(share(committed.bytes), "the IPFS node", patienceMs, signal);
    } catch (error) {
      // A candidate that nobody can fetch keeps its bond, an unrevealed one does not; it may be shared until it is examined.
      if (!late || signal.aborted) throw error;
      log.warn({ taskId: String(taskId) }, `reveals a model that is not on IPFS yet: ${explainError(error)}`);
    }
    const { modelRoot } = committed.opening;
    const seal = claimSeal(chain.domain, taskId, participant, modelRoot, found.result);
    try {
      await participation.reveal(task, committed.opening, found.correct, seal);
    } catch (error) {
      if (!late || !(error instanceof PonasError) || error.code !== "funds") throw error;
      return withdraw(task, committed.opening, `the candidate's bond cannot be paid: ${explainError(error)}`);
    }
    const cid = CID.decode(committed.opening.modelCid).toString();
    log.info(
      { event: "reveal", taskId: String(taskId), correct: found.correct, total: found.total, cid },
      `revealed: ${found.correct} of ${found.total} on the test set (${percent(found.correct, found.total)}), model ${cid}`,
    );
  }

  /** Opens the commitment without a claim: its bond comes back. */
  async function withdraw(task: TaskState, opening: Opening, reason: string): Promise<void> {
    await participation.reveal(task, opening, 0, ZERO_HASH);
    log.info({ event: "withdraw", taskId: String(taskId) }, `withdrew from task ${taskId}: ${reason}`);
  }

  /** A restarted process, or one whose IPFS node was away at the reveal, shares the candidate's file again. */
  async function stayFetchable(task: TaskState): Promise<void> {
    if (shared) return;
    const live = await registry.commitmentOf(taskId, participant);
    if (live?.state === "Candidate") await share((await committedModel(task, live)).bytes);
  }

  async function open(task: TaskState): Promise<void> {
    if (task.examined?.participant !== participant) return;
    const live = await registry.commitmentOf(taskId, participant);
    if (live === undefined) return;
    let predictions = state.readBytes(`${folder}/${live.hash}.predictions`);
    if (predictions === undefined) {
      const bytes =
        readCommitted(live.hash)?.bytes ?? (await store.get(live.modelCid, { maxBytes: task.maxModelBytes, signal }));
      predictions = (await evaluate(task, bytes)).predictions;
    }
    const { samples, commitment } = await files.testSet(task);
    const { template } = await files.descriptor(task);
    await registry.open(taskId, predictions, samples.labels, {
      ...shapeOf(template),
      samplesRoot: commitment.samplesRoot,
    });
    log.info({ event: "open", taskId: String(taskId) }, "opened the predictions: the chain counts them");
  }

  /**
   * Shows the seals that agree with the opened predictions and that their validators have not shown. They go first, for
   * their fee; but one that has gone away, or that stays silent on purpose, must not cost the block.
   */
  async function attest(task: TaskState, head: Head): Promise<void> {
    const { examined } = task;
    if (examined?.participant !== participant || examined.quorum) return;
    if (head.timestamp < examined.openedAt + BigInt(task.phases.shortWindow) / 2n) return;
    const live = await registry.commitmentOf(taskId, participant);
    if (live === undefined) return;
    const silent = (await registry.sealsOf(taskId, participant))
      .filter(
        ({ validator, seal, attested }) =>
          !attested && seal === validatorSeal(chain.domain, taskId, live.hash, validator, examined.result),
      )
      .slice(0, ATTESTED_AT_ONCE);
    if (silent.length === 0) return;
    await registry.attest(
      taskId,
      silent.map(({ validator }) => validator),
    );
    log.info(
      { event: "attest", taskId: String(taskId) },
      `attested for ${silent.length} validators of task ${taskId} that did not`,
    );
  }

  return {
    name: "claim",
    run: async (head) => {
      const task = await registry.task(taskId);
      switch (task.phase) {
        case "Training":
          return commit(task, head);
        case "TestVote":
          return prepare(task, head);
        case "Reveal":
          return reveal(task, head);
        case "Seal":
          return stayFetchable(task);
        case "Window":
          await attest(task, head);
          return stayFetchable(task);
        case "Open":
          return open(task);
        case "Confirmed":
        case "Void":
          return participation.collect(task);
        default:
          return;
      }
    },
  };
}

/** The duty that has a task's encrypted test set here before its key is released. */
export function createPrefetch({
  taskId,
  registry,
  files,
}: Pick<ClaimantOptions, "taskId" | "registry" | "files">): Duty {
  return {
    name: "prefetch",
    run: async () => {
      const task = await registry.task(taskId);
      if (hasEnded(task)) return true;
      await files.prefetchTest(task);
      return true;
    },
  };
}

/** Waits for `work` so long and no longer; the work itself goes on. @throws PonasError timeout */
export async function inTime<T>(work: Promise<T>, what: string, ms: number, signal: AbortSignal): Promise<T> {
  const over = new AbortController();
  const tooLate = sleep(ms, AbortSignal.any([signal, over.signal])).then(() => {
    throw new PonasError("timeout", `There was no answer from ${what} within ${(ms / 1000).toFixed(0)} s.`);
  });
  tooLate.catch(() => undefined);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    over.abort();
  }
}

export function percent(correct: number, total: number): string {
  return `${((100 * correct) / total).toFixed(2)} %`;
}
