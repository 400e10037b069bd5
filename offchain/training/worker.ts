/**
 * Training in a process of its own, so that a daemon goes on answering while a network is trained, and outlives one
 * that is too large for the machine. A worker thread would not do: ending a thread inside a native call of
 * onnxruntime aborts the whole process.
 */
import { fork, type ChildProcess } from "node:child_process";

import { PonasError } from "../protocol/errors.ts";
import type { EngineName } from "./engine.ts";
import type { Samples } from "./samples.ts";
import type { Checkpoint, EpochProgress, TrainingOutcome, TrainingRequest } from "./train.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

export interface WorkerOptions {
  readonly onEpoch?: (progress: EpochProgress) => void;
  /** as of `trainChild`'s options */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
  readonly checkpointMs?: number;
  /** stops within one step */
  readonly signal?: AbortSignal;
}

/** A process that trains one network at a time; further requests wait their turn. */
export interface TrainingWorker {
  /**
   * As `trainChild`. Samples are handed over the first time they are seen, and not again; they must not change.
   * @throws PonasError as `trainChild`; engine where the process dies (the next request starts another one)
   */
  train(request: TrainingRequest, options?: WorkerOptions): Promise<TrainingOutcome>;
  /** Ends the process; what runs or waits is rejected as aborted. */
  close(): Promise<void>;
}

export interface TrainingWorkerOptions {
  /** what the process trains with; the best engine present unless named */
  readonly engine?: EngineName;
  /** what the process finds in its environment beside what this one has, such as the GPU that it is to see */
  readonly env?: Readonly<Record<string, string>>;
  /** called with the id of each process that is started */
  readonly onStart?: (pid: number) => void;
}

/** How long an aborted training may take to stop before its process is killed: a step, or a batch of evaluation. */
const STOP_MS = 5000;
/**
 * A training makes little garbage beside large buffers that the collector does not weigh, so a process with the usual
 * young generation and one arena a thread swells for hundreds of trials before it levels off. And a worker is to fill
 * one core: a collector with threads of its own takes 7 % of the time on a core that is another worker's.
 */
const NODE_FLAGS = ["--max-semi-space-size=4", "--single-threaded-gc"];
/** Sets of samples that a process holds: training and validation of two tasks. */
const HELD_SAMPLES = 4;

interface Running {
  resolve(outcome: TrainingOutcome): void;
  reject(error: Error): void;
  readonly options: WorkerOptions;
}

/** The process starts with the first request, and does not keep its parent alive while it is idle. */
export function createTrainingWorker({ engine, env, onStart }: TrainingWorkerOptions = {}): TrainingWorker {
  const closing = new AbortController();
  let child: ChildProcess | null = null;
  let held = new Map<Samples, number>();
  let nextId = 0;
  let running: Running | null = null;
  let queue: Promise<unknown> = Promise.resolve();

  const settle = (): Running | null => {
    const was = running;
    running = null;
    return was;
  };

  function start(): ChildProcess {
    // stdout belongs to results, so whatever a library prints there goes to stderr.
    const started = fork(new URL("./worker-process.ts", import.meta.url), engine === undefined ? [] : [engine], {
      serialization: "advanced",
      execArgv: NODE_FLAGS,
      env: { MALLOC_ARENA_MAX: "2", ...process.env, ...env },
      stdio: ["ignore", 2, 2, "ipc"],
    });
    started.on("message", (message: FromWorker) => {
      if (started !== child) return;
      if (message.type === "epoch") running?.options.onEpoch?.(message.progress);
      else if (message.type === "checkpoint") running?.options.onCheckpoint?.(message.checkpoint);
      else if (message.type === "done") settle()?.resolve(message.outcome);
      else {
        // What an engine keeps is not to be trusted after it failed: a GPU that went away does not come back to a
        // process that used it, nor does memory that ran out.
        if (message.code === "engine") retire(started);
        settle()?.reject(errorOf(message));
      }
    });
    const died = (reason: string, cause?: unknown): void => {
      if (started !== child) return;
      child = null;
      settle()?.reject(
        new PonasError("engine", `The training process died: ${reason}.`, {
          cure: "train again; if it happens again with the same network, it is too large for this machine",
          cause,
        }),
      );
    };
    started.on("error", (error) => died(error.message, error));
    started.on("exit", (code, signal) =>
      died(signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`),
    );
    held = new Map();
    if (started.pid !== undefined) onStart?.(started.pid);
    return started;
  }

  /** The next request starts another process. */
  function retire(process: ChildProcess): void {
    child = null;
    process.kill("SIGKILL");
  }

  async function kill(reason: PonasError): Promise<void> {
    const ending = child;
    child = null;
    settle()?.reject(reason);
    if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return;
    const exited = new Promise((resolve) => ending.once("exit", resolve));
    ending.ref();
    ending.kill("SIGKILL");
    await exited;
  }

  /** Sends a message; where the process is gone, its `exit` event says so to whoever waits. */
  function send(worker: ChildProcess, message: ToWorker): void {
    if (worker.connected) worker.send(message, () => undefined);
  }

  /** The number by which the process knows these samples; hands them over where it does not know them yet. */
  function nameOf(worker: ChildProcess, samples: Samples): number {
    const id = held.get(samples) ?? nextId++;
    if (!held.has(samples)) send(worker, { type: "samples", id, samples });
    held.delete(samples);
    held.set(samples, id);
    return id;
  }

  function forgetOldest(worker: ChildProcess): void {
    for (const [samples, id] of [...held].slice(0, -HELD_SAMPLES)) {
      held.delete(samples);
      send(worker, { type: "forget", id });
    }
  }

  async function run(request: TrainingRequest, options: WorkerOptions): Promise<TrainingOutcome> {
    const { signal, onCheckpoint, checkpointMs = 0 } = options;
    const stop = AbortSignal.any([closing.signal, ...(signal === undefined ? [] : [signal])]);
    if (stop.aborted) throw aborted(stop);
    child ??= start();
    const worker = child;
    worker.ref();
    worker.channel?.ref();
    let deadline: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      send(worker, { type: "abort" });
      deadline = setTimeout(() => void kill(aborted(stop)), STOP_MS);
    };
    stop.addEventListener("abort", onAbort, { once: true });
    try {
      return await new Promise<TrainingOutcome>((resolve, reject) => {
        running = { resolve, reject, options };
        const named = {
          ...request,
          train: nameOf(worker, request.train),
          validation: nameOf(worker, request.validation),
        };
        forgetOldest(worker);
        send(worker, { type: "train", request: named, checkpointMs: onCheckpoint === undefined ? null : checkpointMs });
      });
    } finally {
      stop.removeEventListener("abort", onAbort);
      clearTimeout(deadline);
      worker.unref();
      worker.channel?.unref();
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
      await kill(new PonasError("aborted", "The training process was closed."));
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
