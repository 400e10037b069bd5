/**
 * The heartbeat of every agent: on each new head, read the state, decide what is due, do it. No duty depends on
 * having seen an event or an earlier head, so a restart is a normal start. Every duty has a lane of its own: one that
 * waits for a file or a block holds up no other, and is not started again before it has ended.
 */
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";

export interface Duty {
  /** What it does, as the log names it: "reveal", "seal", … */
  readonly name: string;
  /** Does what is due at this head, or nothing; idempotent. Resolves to true when there will never be anything due again. */
  run(head: Head): Promise<unknown>;
}

export interface DutyOptions {
  readonly chain: ChainClient;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly duties: readonly Duty[];
  readonly followed?: Followed;
}

/** How long a head waits for its duties before the next one is looked at; those that are done sooner hold up nothing. */
const PATIENCE_MS = 1000;

interface Lanes {
  /** Starts every duty that is not at work still. */
  start(head: Head): void;
  /** Resolves when none is at work. */
  idle(): Promise<void>;
  /** True when every duty has said that it is done. */
  done(): boolean;
}

function createLanes(duties: readonly Duty[], log: Log, signal: AbortSignal): Lanes {
  const open = new Set(duties);
  const running = new Map<Duty, Promise<void>>();
  const complaints = new Map<Duty, string>();

  /** Reports a failure once, however often it repeats: a call that the chain refuses is a debug line, since somebody else moved first. */
  function complain(duty: Duty, error: unknown): void {
    const sentence = explainError(error);
    const repeated = complaints.get(duty) === sentence;
    complaints.set(duty, sentence);
    const known = error instanceof PonasError;
    if (repeated || (known && error.code === "reverted")) log.debug({ duty: duty.name }, `${duty.name}: ${sentence}`);
    else if (known) log.warn({ duty: duty.name }, `${duty.name}: ${sentence}`);
    else log.error({ duty: duty.name, err: error }, `${duty.name}: ${sentence}`);
  }

  async function run(duty: Duty, head: Head): Promise<void> {
    try {
      if ((await duty.run(head)) === true) open.delete(duty);
      complaints.delete(duty);
    } catch (error) {
      if (!signal.aborted) complain(duty, error);
    } finally {
      running.delete(duty);
    }
  }

  return {
    start: (head) => {
      if (signal.aborted) return;
      for (const duty of open) if (!running.has(duty)) running.set(duty, run(duty, head));
    },
    idle: async () => {
      while (running.size > 0) await Promise.all(running.values());
    },
    done: () => open.size === 0,
  };
}

/**
 * Runs the duties at every head, until the signal fires or every duty has said that it is done; returns when all of
 * them have come to rest. One duty's failure never stops another: it is reported, and tried again at the next head.
 */
export async function runDuties({ chain, log, signal, duties, followed }: DutyOptions): Promise<void> {
  const lanes = createLanes(duties, log, signal);
  const idle = async (): Promise<void> => void (await Promise.all([lanes.idle(), followed?.idle()]));
  for await (const head of chain.heads()) {
    if (signal.aborted) break;
    lanes.start(head);
    followed?.start(head);
    const waiting = new AbortController();
    const patience = sleep(PATIENCE_MS, AbortSignal.any([signal, waiting.signal])).catch(() => undefined);
    await Promise.race([idle(), patience]);
    waiting.abort();
    if (lanes.done()) break;
  }
  await idle();
}

/** Tasks that an agent has taken up, each with its own duties, until all of these are done. */
export interface Followed {
  /** Takes a task up; one that is followed already stays as it is. */
  follow(taskId: bigint): void;
  start(head: Head): void;
  idle(): Promise<void>;
}

/** @param onEnd is told of a task of which nothing is due any more */
export function createFollowed(options: {
  readonly dutiesFor: (taskId: bigint) => readonly Duty[];
  readonly onEnd?: (taskId: bigint) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Followed {
  const { dutiesFor, onEnd, log, signal } = options;
  const tasks = new Map<bigint, Lanes>();
  let newest: Head | undefined;
  return {
    follow: (taskId) => {
      if (tasks.has(taskId)) return;
      const lanes = createLanes(dutiesFor(taskId), log, signal);
      tasks.set(taskId, lanes);
      if (newest !== undefined) lanes.start(newest);
    },
    start: (head) => {
      newest = head;
      for (const [taskId, lanes] of tasks) {
        if (lanes.done()) {
          tasks.delete(taskId);
          onEnd?.(taskId);
        } else lanes.start(head);
      }
    },
    idle: async () => void (await Promise.all([...tasks.values()].map((lanes) => lanes.idle()))),
  };
}
