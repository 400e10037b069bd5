/**
 * What a participant owes the chain once it has a model: commit before training ends, reveal and claim after the key
 * is out, open the predictions, collect. A solo miner and a pool manager do the same here; only the account that
 * stands on chain differs, and that is handed in as {@link Participation}.
 */
import { z } from "zod";

import { evaluateModel } from "../evaluation/evaluate.ts";
import { claimSeal, commitmentHash, keccak256, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { cidOf } from "../storage/cid.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { isCandidate, toHex, type Registry, type TaskState } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import type { Duty } from "./duties.ts";
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

/**
 * The salt of a commitment: derived from the account's key by a deterministic signature, so that whoever still has
 * the key and the model can always open what was committed.
 */
export async function saltOf(chain: ChainClient, taskId: bigint, participant: Address, modelRoot: Hex): Promise<Hex> {
  const { chainId, registry } = chain.domain;
  const text = `ponas commitment salt\nchain ${chainId}\nregistry ${registry}\ntask ${taskId}\nparticipant ${participant}\nmodel ${modelRoot}`;
  return keccak256(await chain.signText(text));
}

/** The duty that carries one task's best model from commitment to payment. */
export function createClaimant(options: ClaimantOptions): Duty {
  const { taskId, chain, registry, participation, files, store, state, best, log, signal, commitMargin } = options;
  const { participant } = participation;
  const folder = `tasks/${taskId}/${participant}`;

  async function commit(task: TaskState, head: Head): Promise<void> {
    if (head.timestamp < task.schedule.trainingEnd - BigInt(commitMargin)) return;
    const model = await best();
    if (model === undefined) return;
    const live = await registry.commitmentOf(taskId, participant);
    const committed = live === undefined ? undefined : state.read(`${folder}/${live.hash}.json`, recordSchema);
    if (committed !== undefined && committed.validationCorrect >= model.correct) return;
    const salt = await saltOf(chain, taskId, participant, model.modelRoot);
    // Pinned only now, and found by nobody: its CID is secret until the reveal.
    const { bytes: modelCid } = await cidOf(model.bytes);
    const opening: Opening = {
      modelRoot: model.modelRoot,
      modelCid,
      validationCorrect: model.correct,
      validationTotal: model.total,
      salt,
    };
    const commitment = commitmentHash(chain.domain, taskId, participant, opening);
    if (live?.hash === commitment) return;
    // Written before it is sent: a commitment that is mined can always be opened.
    state.writeBytes(`${folder}/${model.modelRoot}.model`, model.bytes);
    state.write(`${folder}/${commitment}.json`, { ...opening, modelCid: toHex(modelCid) });
    await participation.commit(task, commitment);
    log.info(
      {
        event: "commit",
        taskId: String(taskId),
        modelRoot: model.modelRoot,
        correct: model.correct,
        total: model.total,
      },
      `committed a model with ${percent(model.correct, model.total)} on validation`,
    );
  }

  async function reveal(task: TaskState): Promise<void> {
    const live = await registry.commitmentOf(taskId, participant);
    if (live?.state !== "Committed") return;
    const record = state.read(`${folder}/${live.hash}.json`, recordSchema);
    const bytes = record === undefined ? undefined : state.readBytes(`${folder}/${record.modelRoot}.model`);
    if (record === undefined || bytes === undefined) {
      log.error({ taskId: String(taskId) }, `the model behind the commitment ${live.hash} is not in ${state.path}`);
      return;
    }
    const { samples } = await files.testSet(task);
    const rules = await files.rules(task);
    const found = await evaluateModel(bytes, { ...samples, maxBytes: task.maxModelBytes, rules, signal });
    if (found.malformed !== null) log.error({ taskId: String(taskId) }, found.malformed.reason);
    state.writeBytes(`${folder}/${live.hash}.predictions`, found.predictions);
    const { cid, cidBytes } = await store.put(bytes, { signal });
    const opening: Opening = { ...record, modelCid: cidBytes };
    const seal = claimSeal(chain.domain, taskId, participant, record.modelRoot, found.result);
    await participation.reveal(task, opening, found.correct, seal);
    if (!isCandidate(task, found.correct)) {
      log.info(
        { event: "withdraw", taskId: String(taskId), correct: found.correct },
        `withdrew: ${found.correct} of ${found.total} is under the task's minimum of ${task.minCorrect}`,
      );
      return;
    }
    log.info(
      { event: "reveal", taskId: String(taskId), correct: found.correct, total: found.total, cid },
      `revealed: ${found.correct} of ${found.total} on the test set (${percent(found.correct, found.total)}), model ${cid}`,
    );
  }

  async function open(task: TaskState): Promise<void> {
    if (task.examined?.participant !== participant) return;
    const live = await registry.commitmentOf(taskId, participant);
    const predictions = live === undefined ? undefined : state.readBytes(`${folder}/${live.hash}.predictions`);
    if (predictions === undefined) return;
    const { samples, commitment } = await files.testSet(task);
    const { template } = await files.descriptor(task);
    await registry.open(taskId, predictions, samples.labels, {
      ...shapeOf(template),
      samplesRoot: commitment.samplesRoot,
    });
    log.info({ event: "open", taskId: String(taskId) }, "opened the predictions: the chain counts them");
  }

  return {
    name: "claim",
    run: async (head) => {
      const task = await registry.task(taskId);
      switch (task.phase) {
        case "Training":
          return commit(task, head);
        case "Reveal":
          return reveal(task);
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

export function percent(correct: number, total: number): string {
  return `${((100 * correct) / total).toFixed(2)} %`;
}
