import type { Rules } from "../evaluation/well-formed.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { Samples } from "../training/datasets.ts";
import { PonasError } from "../protocol/errors.ts";
import type { TaskState } from "./registry.ts";
import {
  fetchDescriptor,
  fetchEncryptedTest,
  fetchSamples,
  openTestSet,
  type TaskDescriptor,
  type TestSet,
} from "./task-descriptor.ts";

/** A task's files, each fetched and checked once a process; a failed fetch is tried again at the next call. */
export interface TaskFiles {
  descriptor(task: TaskState): Promise<TaskDescriptor>;
  /** What a model must satisfy beside being well-formed. */
  rules(task: TaskState): Promise<Rules>;
  samples(task: TaskState, split: "train" | "validation"): Promise<Samples>;
  /** Fetches the encrypted test set, so that it is here when its key is released. */
  prefetchTest(task: TaskState): Promise<void>;
  /** The released test set. @throws PonasError integrity where it is not what was committed to */
  testSet(task: TaskState): Promise<TestSet>;
  /** Lets go of a task's files. */
  forget(taskId: bigint): void;
}

export function createTaskFiles(options: {
  readonly store: ModelStore;
  readonly signal: AbortSignal;
  /** how long one file may take to arrive */
  readonly timeoutMs: number;
}): TaskFiles {
  const cache = new Map<string, Promise<unknown>>();
  const once = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    let value = cache.get(key) as Promise<T> | undefined;
    if (value === undefined) {
      value = make();
      cache.set(key, value);
      const made = value;
      value.catch(() => {
        if (cache.get(key) === made) cache.delete(key);
      });
    }
    return value;
  };
  const descriptor = (task: TaskState): Promise<TaskDescriptor> =>
    once(`${task.id} descriptor`, () => fetchDescriptor(task, options));
  const encrypted = (task: TaskState): Promise<Uint8Array> =>
    once(`${task.id} encrypted`, async () => fetchEncryptedTest(await descriptor(task), options));

  return {
    descriptor,
    rules: async (task) => {
      const { template, space } = await descriptor(task);
      return { template, space, hardware: task.hardware };
    },
    samples: (task, split) =>
      once(`${task.id} ${split}`, async () => fetchSamples(await descriptor(task), split, options)),
    prefetchTest: async (task) => void (await encrypted(task)),
    testSet: (task) =>
      once(`${task.id} test`, async () => {
        if (task.key === null)
          throw new PonasError("bad-input", `The key of task ${task.id}'s test set is not released yet.`);
        return openTestSet(task, await descriptor(task), await encrypted(task), task.key);
      }),
    forget: (taskId) => {
      for (const key of cache.keys()) if (key.startsWith(`${taskId} `)) cache.delete(key);
    },
  };
}
