/** Timing that a busy machine cannot turn into a wrong ratio: contenders take turns, and rounds are compared. */
import { setImmediate as yieldToEvents } from "node:timers/promises";

import { PonasError } from "../../protocol/errors.ts";

export interface Summary {
  readonly median: number;
  /** (largest − smallest) / median; 0 of one sample */
  readonly spread: number;
  /** in the order in which they were taken */
  readonly samples: readonly number[];
}

/** @param samples at least one */
export function summarise(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError("no samples to summarise");
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, spread: median === 0 ? 0 : (sorted.at(-1)! - sorted[0]!) / median, samples };
}

/** The ratio of two contenders, round by round: what slows both in one round leaves it as it is. */
export function ratioOf(one: Summary, other: Summary): Summary {
  return summarise(one.samples.map((value, round) => value / other.samples[round]!));
}

/** A rate in units per second that a piece of work has found itself, since not all of its time is to count. */
export interface OwnRate {
  readonly rate: number;
}

/**
 * One of those who take turns. Does one piece of work.
 * @returns its size in the unit of the rate, images for instance; or the turn's rate
 */
export type Work = () => Promise<number | OwnRate> | number;

export interface Turns {
  readonly rounds: number;
  /** a turn repeats the work for so long, and at least once */
  readonly turnMs: number;
  /** fewer rounds, down to one, where all of them would take longer than this */
  readonly budgetMs: number;
  readonly signal: AbortSignal;
}

/**
 * Lets contenders take turns, A B A B …, after one unmeasured piece of work each.
 * @returns each contender's rate in units per second; all have as many samples
 * @throws PonasError aborted after the piece of work that is under way
 */
export async function alternate<Name extends string>(
  contenders: Readonly<Record<Name, Work>>,
  { rounds, turnMs, budgetMs, signal }: Turns,
): Promise<Record<Name, Summary>> {
  const names = Object.keys(contenders) as Name[];
  let roundMs = 0;
  for (const name of names) {
    const start = performance.now();
    await contenders[name]();
    roundMs += Math.max(turnMs, performance.now() - start);
    await checkpoint(signal);
  }
  const affordable = Math.min(rounds, Math.max(1, Math.floor(budgetMs / roundMs)));
  const rates = new Map(names.map((name) => [name, [] as number[]]));
  for (let round = 0; round < affordable; round++) {
    for (const name of names) {
      const start = performance.now();
      let units = 0;
      let own: number | null = null;
      do {
        const done = await contenders[name]();
        if (typeof done === "number") units += done;
        else own = done.rate;
        await checkpoint(signal);
      } while (own === null && performance.now() - start < turnMs);
      rates.get(name)!.push(own ?? (1000 * units) / (performance.now() - start));
    }
  }
  return Object.fromEntries(names.map((name) => [name, summarise(rates.get(name)!)])) as Record<Name, Summary>;
}

/** Lets signals arrive, which native calls that follow one another would hold up. @throws PonasError aborted */
export async function checkpoint(signal: AbortSignal): Promise<void> {
  await yieldToEvents();
  if (signal.aborted) throw new PonasError("aborted", "Stopped.", { cause: signal.reason });
}
