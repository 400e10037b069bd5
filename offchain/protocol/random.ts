/** A seeded generator of numbers; its whole state is one integer, so that it can be written down and resumed. */
export interface Random {
  /** Uniform in [0, 1), 32 bits of resolution. */
  next(): number;
  /** Uniform integer in [0, bound). @param bound 1 … 2^32 */
  integer(bound: number): number;
  /** Standard normal (Box–Muller, one value a call). */
  normal(): number;
  /** A uniformly chosen element. @throws RangeError if the list is empty */
  choice<T>(list: readonly T[]): T;
  /** Shuffles in place (Fisher–Yates) and returns the same array. */
  shuffle<T extends { length: number; [index: number]: unknown }>(list: T): T;
  /** The state after the numbers drawn so far; `createRandom(state)` goes on from there. */
  state(): number;
}

/**
 * Creates the generator used everywhere a seed is asked for: mulberry32, small, fast and the same on every machine.
 * Not for secrets.
 * @param seed any safe integer or string; strings are folded by FNV-1a
 */
export function createRandom(seed: number | string): Random {
  let state = (typeof seed === "string" ? fold(seed) : seed) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), 1 | t);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const integer = (bound: number): number => Math.floor(next() * bound);
  return {
    next,
    integer,
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    choice: (list) => {
      if (list.length === 0) throw new RangeError("choice of an empty list");
      return list[integer(list.length)] as (typeof list)[number];
    },
    shuffle: (list) => {
      for (let i = list.length - 1; i > 0; i--) {
        const j = integer(i + 1);
        const held = list[i];
        list[i] = list[j];
        list[j] = held;
      }
      return list;
    },
    state: () => state,
  };
}

function fold(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
