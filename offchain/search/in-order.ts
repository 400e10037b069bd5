/** Work that runs side by side and yet is started and heard of in an order that no timing changes. */
import { PonasError } from "../protocol/errors.ts";

export interface InOrderOptions<Item, Result> {
  /** the next piece of work, or null where there is none; not called again after null */
  readonly next: () => Item | null;
  /** started at once, whatever else still runs */
  readonly run: (item: Item, signal: AbortSignal) => Promise<Result>;
  /** hears of the results in the order in which `next` gave the items */
  readonly done: (item: Item, result: Result) => void;
  /** at most so many items are begun and not yet heard of, 1 or more */
  readonly window: number;
  readonly signal?: AbortSignal;
}

/**
 * Item k + window is asked for right after `done` has heard of item k and of none after it: what `next` has heard by
 * then is the same on one worker and on many, slow or fast. The price is that an item that takes long holds back the
 * items from `window` places behind it on.
 * @throws what `run`, `next` or `done` throws first in that order, after the rest was stopped; PonasError aborted
 */
export async function runInOrder<Item, Result>(options: InOrderOptions<Item, Result>): Promise<void> {
  const { next, run, done, window, signal } = options;
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const begun: { readonly item: Item; readonly result: Promise<Result> }[] = [];
  let more = true;
  try {
    for (;;) {
      while (more && begun.length < window) {
        if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.", { cause: signal.reason });
        const item = next();
        if (item === null) {
          more = false;
          break;
        }
        const result = run(item, either);
        // It is awaited in its turn; until then a failure must not count as unhandled.
        result.catch(() => undefined);
        begun.push({ item, result });
      }
      const first = begun[0];
      if (first === undefined) return;
      const result = await first.result;
      begun.shift();
      done(first.item, result);
    }
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(begun.map(({ result }) => result));
    throw error;
  }
}
