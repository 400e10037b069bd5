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
  /** Does what is due at this head, or nothing; idempotent. Returns true when there will never be anything due again. */
  run(head: Head): Promise<boolean | void>;
}

export interface DutyOptions {
  readonly chain: ChainClient;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly duties: readonly Duty[];
}

/**
 * Runs the duties in order at every head, until the signal fires or every duty has said that it is done.
 * One duty's failure never stops another: what may pass by itself is tried again at the next head, and a call that
 * the chain refuses because somebody else moved first is a debug line.
 */
export async function runDuties({ chain, log, signal, duties }: DutyOptions): Promise<void> {
  const open = new Set(duties);
  const lastComplaint = new Map<Duty, string>();
  for await (const head of chain.heads()) {
    for (const duty of duties) {
      if (signal.aborted) return;
      if (!open.has(duty)) continue;
      try {
        if ((await duty.run(head)) === true) open.delete(duty);
        lastComplaint.delete(duty);
      } catch (error) {
        if (signal.aborted || (error instanceof PonasError && error.code === "aborted")) return;
        const sentence = explainError(error);
        if (lastComplaint.get(duty) === sentence) {
          log.debug({ duty: duty.name }, sentence);
          continue;
        }
        lastComplaint.set(duty, sentence);
        if (!(error instanceof PonasError)) log.error({ duty: duty.name, err: error }, `${duty.name}: ${sentence}`);
        else if (error.code === "reverted") log.debug({ duty: duty.name }, sentence);
        else log.warn({ duty: duty.name }, `${duty.name}: ${sentence}`);
      }
    }
    if (open.size === 0) return;
  }
}
