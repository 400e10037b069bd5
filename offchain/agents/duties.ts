/**
 * The heartbeat of every agent: on each new head, read the state, decide what is due, do it. No duty depends on
 * having seen an event or an earlier head, so a restart is a normal start.
 */
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";

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
}

/** Reports a failure once, however often it repeats: a call that the chain refuses is a debug line, since somebody else moved first. */
function createComplaints(log: Log) {
  const last = new Map<Duty, string>();
  return {
    clear: (duty: Duty): void => void last.delete(duty),
    report: (duty: Duty, error: unknown): void => {
      const sentence = explainError(error);
      const level =
        last.get(duty) === sentence || (error instanceof PonasError && error.code === "reverted") ? "debug" : "warn";
      last.set(duty, sentence);
      if (error instanceof PonasError) log[level]({ duty: duty.name }, `${duty.name}: ${sentence}`);
      else log.error({ duty: duty.name, err: error }, `${duty.name}: ${sentence}`);
    },
  };
}

/**
 * Runs the duties in order at every head, until the signal fires or every duty has said that it is done. One duty's
 * failure never stops another: it is reported, and tried again at the next head.
 */
export async function runDuties({ chain, log, signal, duties }: DutyOptions): Promise<void> {
  const open = new Set(duties);
  const complaints = createComplaints(log);
  for await (const head of chain.heads()) {
    await runDue(open, head, complaints, signal);
    if (open.size === 0 || signal.aborted) return;
  }
}

async function runDue(
  open: Set<Duty>,
  head: Head,
  complaints: ReturnType<typeof createComplaints>,
  signal: AbortSignal,
): Promise<void> {
  for (const duty of [...open]) {
    if (signal.aborted) return;
    try {
      if ((await duty.run(head)) === true) open.delete(duty);
      complaints.clear(duty);
    } catch (error) {
      if (signal.aborted) return;
      complaints.report(duty, error);
    }
  }
}

/** Tasks that an agent has taken up, each with its own duties, until all of these are done. */
export interface Followed {
  /** Takes a task up; one that is followed already stays as it is. */
  follow(taskId: bigint): void;
  /** The duty that runs all of them. */
  readonly duty: Duty;
}

export function createFollowed(options: {
  readonly dutiesFor: (taskId: bigint) => readonly Duty[];
  readonly log: Log;
  readonly signal: AbortSignal;
}): Followed {
  const { dutiesFor, log, signal } = options;
  const tasks = new Map<bigint, Set<Duty>>();
  const complaints = createComplaints(log);
  return {
    follow: (taskId) => {
      if (!tasks.has(taskId)) tasks.set(taskId, new Set(dutiesFor(taskId)));
    },
    duty: {
      name: "follow",
      run: async (head) => {
        for (const [taskId, open] of tasks) {
          await runDue(open, head, complaints, signal);
          if (open.size === 0) tasks.delete(taskId);
        }
      },
    },
  };
}
