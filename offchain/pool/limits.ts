/** What one sender may cost: a rate for each, and a time out for those who keep breaking the rules. */

export interface TokenBuckets {
  /**
   * Takes one token of a sender's.
   * @returns 0, or milliseconds until there is one again
   */
  take(sender: string): number;
}

/** Full buckets are forgotten, so that memory follows the number of senders that are busy. */
const PRUNE_AT = 1024;

/**
 * One token bucket for each sender.
 * @param rate tokens a second that a sender may take for long
 * @param burst tokens that it may take at once; 1 or more
 * @param clock milliseconds of any origin
 */
export function createTokenBuckets(options: {
  readonly rate: number;
  readonly burst: number;
  readonly clock: () => number;
}): TokenBuckets {
  const { rate, burst, clock } = options;
  const buckets = new Map<string, { tokens: number; at: number }>();
  let pruneAt = PRUNE_AT;

  const fill = ({ tokens, at }: { tokens: number; at: number }, now: number): number =>
    Math.min(burst, tokens + (Math.max(0, now - at) / 1000) * rate);

  function prune(now: number): void {
    for (const [sender, bucket] of buckets) if (fill(bucket, now) >= burst) buckets.delete(sender);
    pruneAt = Math.max(PRUNE_AT, 2 * buckets.size);
  }

  return {
    take(sender) {
      const now = clock();
      const bucket = buckets.get(sender) ?? { tokens: burst, at: now };
      const tokens = fill(bucket, now);
      const short = tokens < 1;
      buckets.set(sender, { tokens: short ? tokens : tokens - 1, at: now });
      if (buckets.size > pruneAt) prune(now);
      return short ? Math.max(1, Math.ceil(((1 - tokens) / rate) * 1000)) : 0;
    },
  };
}

export interface TimeOuts {
  /** Notes that a sender broke the rules; the last of `strikes` within `shutOutMs` shuts it out for as long. */
  strike(sender: string, reason: string): void;
  /** Why a sender is shut out and for how much longer, or null. */
  of(sender: string): { readonly ms: number; readonly reason: string } | null;
}

export function createTimeOuts(options: {
  readonly strikes: number;
  readonly shutOutMs: number;
  readonly clock: () => number;
}): TimeOuts {
  const { strikes, shutOutMs, clock } = options;
  const noted = new Map<string, { times: number[]; until: number; reason: string }>();
  let pruneAt = PRUNE_AT;

  return {
    strike(sender, reason) {
      const now = clock();
      const entry = noted.get(sender) ?? { times: [], until: 0, reason };
      entry.times = [...entry.times.filter((time) => time > now - shutOutMs), now];
      if (entry.times.length >= strikes) Object.assign(entry, { times: [], until: now + shutOutMs, reason });
      noted.set(sender, entry);
      if (noted.size <= pruneAt) return;
      for (const [other, { times, until }] of noted) {
        if (until <= now && times.every((time) => time <= now - shutOutMs)) noted.delete(other);
      }
      pruneAt = Math.max(PRUNE_AT, 2 * noted.size);
    },
    of(sender) {
      const entry = noted.get(sender);
      const ms = (entry?.until ?? 0) - clock();
      return ms > 0 ? { ms, reason: entry!.reason } : null;
    },
  };
}
