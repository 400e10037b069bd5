/** What a side of a dispute knows: the candidate's model, opened, and what it makes of the disputed samples. */
import { knowTrace, openModel, openSample, type OpenableModel } from "../evaluation/dispute-openings.ts";
import { decodeModel } from "../evaluation/model.ts";
import { referenceTrace } from "../evaluation/reference.ts";
import type { Address } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { Samples } from "../training/datasets.ts";
import type { Side } from "./dispute-moves.ts";
import type { Registry, TaskState } from "./registry.ts";
import type { TaskFiles } from "./task-files.ts";

/** What both sides need of a candidate's model and of the test set. */
export interface DisputeFiles {
  /** the model's canonical file */
  model(task: TaskState, participant: Address): Promise<Uint8Array>;
  testSet(task: TaskState): Promise<Samples>;
}

/** Enough for what lies on one's own node, and after a lost disk on others'. */
const MODEL_TIMEOUT_MS = 60_000;

/** The model by the CID that its reveal has published, wherever it lies: a lost disk does not matter. */
export function createDisputeFiles(options: {
  readonly registry: Registry;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly signal: AbortSignal;
  /** how long the model may take to arrive; a minute unless given */
  readonly timeoutMs?: number;
  /** files of models whose parts were published on chain, by participant */
  readonly published?: ReadonlyMap<Address, Uint8Array>;
}): DisputeFiles {
  const { registry, store, files, signal, timeoutMs = MODEL_TIMEOUT_MS, published } = options;
  return {
    model: async (task, participant) => {
      const onChain = published?.get(participant);
      if (onChain !== undefined) return onChain;
      const candidate = await registry.commitmentOf(task.id, participant);
      if (candidate === undefined)
        throw new PonasError("not-found", `${participant} has committed to no model in task ${task.id}.`);
      return store.get(candidate.modelCid, { maxBytes: task.maxModelBytes, timeoutMs, signal });
    },
    testSet: async (task) => (await files.testSet(task)).samples,
  };
}

export interface DisputeSides {
  /** A candidate's model. @throws PonasError where it cannot be had, or read */
  openable(task: TaskState, participant: Address): Promise<OpenableModel>;
  /** The model with what it makes of a sample. */
  side(task: TaskState, participant: Address, sample: number): Promise<Side>;
}

/** Keeps what was computed once. */
export function createDisputeSides(files: DisputeFiles): DisputeSides {
  const models = new Map<Address, Promise<OpenableModel>>();
  const sides = new Map<string, Promise<Side>>();
  const openable = (task: TaskState, participant: Address): Promise<OpenableModel> =>
    once(models, participant, async () =>
      openModel(decodeModel(await files.model(task, participant), { maxBytes: task.maxModelBytes })),
    );
  return {
    openable,
    side: (task, participant, sample) =>
      once(sides, `${participant} ${sample}`, async () => {
        const known = await openable(task, participant);
        const { pixels, labels } = await files.testSet(task);
        const size = pixels.length / labels.length;
        const own = pixels.subarray(sample * size, (sample + 1) * size);
        const trace = knowTrace(known.model, own, referenceTrace(known.model, own));
        return { openable: known, trace, sample: openSample(pixels, labels, sample) };
      }),
  };
}

function once<K, T>(cache: Map<K, Promise<T>>, key: K, make: () => Promise<T>): Promise<T> {
  let value = cache.get(key);
  if (value === undefined) {
    value = make();
    cache.set(key, value);
    value.catch(() => cache.delete(key));
  }
  return value;
}
