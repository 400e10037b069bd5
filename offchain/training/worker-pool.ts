/** Several training processes behind one call, so that as many networks are trained at a time as there are cores. */
import { availableParallelism } from "node:os";

import { PonasError } from "../protocol/errors.ts";
import type { TrainingOutcome, TrainingRequest } from "./train.ts";
import { createTrainingWorker, type TrainingWorker, type TrainingWorkerOptions, type WorkerOptions } from "./worker.ts";

export interface WorkerPool {
  /** processes that train at a time */
  readonly size: number;
  /**
   * As `TrainingWorker.train`, on the next free process; who asks first is served first. A process that dies fails the
   * one training that it had.
   * @throws PonasError as `TrainingWorker.train`
   */
  train(request: TrainingRequest, options?: WorkerOptions): Promise<TrainingOutcome>;
  /** Ends every process; what runs or waits is rejected as aborted. */
  close(): Promise<void>;
}

export interface WorkerPoolOptions extends TrainingWorkerOptions {
  /** by default as many as there are cores: a process uses one */
  readonly workers?: number;
}

/**
 * The processes start as they are needed, and none keeps its parent alive while it is idle.
 * @throws PonasError bad-input where there are none
 */
export function createWorkerPool({ workers = availableParallelism(), ...options }: WorkerPoolOptions = {}): WorkerPool {
  if (!Number.isInteger(workers) || workers < 1) {
    throw new PonasError("bad-input", `A pool of ${workers} training processes cannot train.`);
  }
  return shareWorkers(Array.from({ length: workers }, () => createTrainingWorker(options)));
}

/** One call in front of these workers, which are its own from here on. */
export function shareWorkers(all: readonly TrainingWorker[]): WorkerPool {
  const idle = [...all];
  const waiting: ((worker: TrainingWorker) => void)[] = [];
  const closing = new AbortController();

  /** The next free process, or a rejection as soon as the signal fires. */
  function acquire(stop: AbortSignal): Promise<TrainingWorker> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        const place = waiting.indexOf(take);
        if (place >= 0) waiting.splice(place, 1);
        reject(new PonasError("aborted", "Stopped.", { cause: stop.reason }));
      };
      const take = (worker: TrainingWorker): void => {
        stop.removeEventListener("abort", onAbort);
        resolve(worker);
      };
      if (stop.aborted) return onAbort();
      // The one used last comes first: its process is running and holds the samples already.
      const free = idle.pop();
      if (free !== undefined) return resolve(free);
      stop.addEventListener("abort", onAbort, { once: true });
      waiting.push(take);
    });
  }

  function release(worker: TrainingWorker): void {
    const next = waiting.shift();
    if (next === undefined) idle.push(worker);
    else next(worker);
  }

  return {
    size: all.length,
    train: async (request, options = {}) => {
      const { signal } = options;
      const stop = signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]);
      const worker = await acquire(stop);
      try {
        return await worker.train(request, options);
      } finally {
        release(worker);
      }
    },
    close: async () => {
      closing.abort(new PonasError("aborted", "The training processes were closed."));
      await Promise.all(all.map((worker) => worker.close()));
    },
  };
}
