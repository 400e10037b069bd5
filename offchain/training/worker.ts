/** Training in a thread of its own, so that a daemon goes on answering while a network is trained. */
import { Worker } from "node:worker_threads";

import { PonasError } from "../protocol/errors.ts";
import type { Samples } from "./samples.ts";
import type { EpochProgress, TrainingOutcome, TrainingRequest } from "./train.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

export interface WorkerOptions {
  readonly onEpoch?: (progress: EpochProgress) => void;
  /** stops within one step */
  readonly signal?: AbortSignal;
}

/** A thread that trains one network at a time; further requests wait their turn. */
export interface TrainingWorker {
  /**
   * As `trainChild`. Samples are copied into shared memory the first time they are seen, and not again.
   * @throws PonasError as `trainChild`; engine where the thread dies (the next request starts another one)
   */
  train(request: TrainingRequest, options?: WorkerOptions): Promise<TrainingOutcome>;
  /** Ends the thread; what runs or waits is rejected as aborted. */
  close(): Promise<void>;
}

/** How long an aborted training may take to stop before its thread is ended: a step and a batch of evaluation. */
const STOP_MS = 5000;

export interface TrainingWorkerOptions {
  /** limit of the thread's JavaScript heap in MiB; tensors live outside it */
  readonly maxHeapMb?: number;
}

interface Running {
  resolve(outcome: TrainingOutcome): void;
  reject(error: Error): void;
  readonly onEpoch: WorkerOptions["onEpoch"];
}

export function createTrainingWorker({ maxHeapMb = 1024 }: TrainingWorkerOptions = {}): TrainingWorker {
  const shared = new WeakMap<Samples, Samples>();
  const closing = new AbortController();
  let thread: Worker | null = null;
  let running: Running | null = null;
  let queue: Promise<unknown> = Promise.resolve();

  const settle = (): Running | null => {
    const was = running;
    running = null;
    return was;
  };

  function startThread(): Worker {
    const started = new Worker(new URL("./worker-thread.ts", import.meta.url), {
      name: "ponas-training",
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
    });
    started.on("message", (message: FromWorker) => {
      if (started !== thread) return;
      if (message.type === "epoch") running?.onEpoch?.(message.progress);
      else if (message.type === "done") settle()?.resolve(message.outcome);
      else settle()?.reject(errorOf(message));
    });
    const died = (reason: string, cause?: unknown): void => {
      if (started !== thread) return;
      thread = null;
      settle()?.reject(
        new PonasError("engine", `The training thread died: ${reason}.`, {
          cure: "train again; if it happens again with the same network, it is too large for this machine",
          cause,
        }),
      );
    };
    started.on("error", (error) => died(error.message, error));
    started.on("exit", (code) => died(`it ended with code ${code}`));
    return started;
  }

  /** Ends the thread without waiting for the training in it. */
  async function endThread(reason: PonasError): Promise<void> {
    const ending = thread;
    thread = null;
    settle()?.reject(reason);
    await ending?.terminate();
  }

  function toShared(samples: Samples): Samples {
    const known = shared.get(samples);
    if (known !== undefined) return known;
    const copy = { pixels: sharedCopy(samples.pixels), labels: sharedCopy(samples.labels), count: samples.count };
    shared.set(samples, copy);
    return copy;
  }

  async function run(request: TrainingRequest, { onEpoch, signal }: WorkerOptions): Promise<TrainingOutcome> {
    const stop = AbortSignal.any([closing.signal, ...(signal === undefined ? [] : [signal])]);
    if (stop.aborted) throw aborted(stop);
    thread ??= startThread();
    const worker = thread;
    let deadline: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      worker.postMessage({ type: "abort" } satisfies ToWorker);
      deadline = setTimeout(() => void endThread(aborted(stop)), STOP_MS);
    };
    stop.addEventListener("abort", onAbort, { once: true });
    try {
      return await new Promise<TrainingOutcome>((resolve, reject) => {
        running = { resolve, reject, onEpoch };
        const { train, validation } = request;
        const message: ToWorker = {
          type: "train",
          request: { ...request, train: toShared(train), validation: toShared(validation) },
        };
        worker.postMessage(message);
      });
    } finally {
      stop.removeEventListener("abort", onAbort);
      clearTimeout(deadline);
    }
  }

  return {
    train: (request, options = {}) => {
      const outcome = queue.then(() => run(request, options));
      // The queue only orders; each request's failure belongs to its caller.
      queue = outcome.catch(() => undefined);
      return outcome;
    },
    close: async () => {
      closing.abort();
      await endThread(new PonasError("aborted", "The training thread was closed."));
      await queue;
    },
  };
}

function aborted(signal: AbortSignal): PonasError {
  return new PonasError("aborted", "Stopped.", { cause: signal.reason });
}

function errorOf({ code, message, cure }: Extract<FromWorker, { type: "failed" }>): Error {
  return code === null ? new Error(message) : new PonasError(code, message, { cure });
}

function sharedCopy(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}
