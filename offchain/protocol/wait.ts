import { setTimeout as delay } from "node:timers/promises";

import { PonasError } from "./errors.ts";

/** Resolves after `ms` milliseconds, or rejects with an "aborted" PonasError as soon as the signal fires. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (cause) {
    throw new PonasError("aborted", "Stopped.", { cause });
  }
}

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** Gives up after this many milliseconds. */
  readonly deadlineMs: number;
  /** Whether this failure may pass by itself. */
  readonly retryable: (error: unknown) => boolean;
  /** Called once, at the first failure. */
  readonly onOutage?: (error: unknown) => void;
  /** What to throw when the deadline has passed. */
  readonly giveUp: (cause: unknown) => Error;
}

/** Calls `work` until it succeeds: back-off from 100 ms, doubling to 2 s. */
export async function withRetry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, deadlineMs, retryable, onOutage, giveUp } = options;
  const start = performance.now();
  for (let pause = 100, first = true; ; pause = Math.min(2 * pause, 2000), first = false) {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.", { cause: error });
      if (!retryable(error)) throw error;
      if (performance.now() - start + pause > deadlineMs) throw giveUp(error);
      if (first) onOutage?.(error);
      await sleep(pause, signal);
    }
  }
}
