/** Dividing a whole number of indivisible things in proportion to weights. */

/** How far, relative to its exact share, a portion may be off where whole numbers allow it: 1/20. */
const TOLERANCE = { numerator: 1n, denominator: 20n } as const;

/** One account's portion of the total. */
export interface Portion {
  readonly size: bigint;
  /** how much the size may grow or shrink and still be within 5 % of the exact share; 0 where it is not within it now */
  readonly room: bigint;
}

/**
 * Portions that add up to the total exactly, each within 5 % (relative) of its weight's share where whole numbers
 * allow it, and else that share rounded up or down.
 * @param weights finite, 0 or more, at least one above 0; a weight of 0 gets nothing
 */
export function apportion(total: bigint, weights: readonly number[]): Portion[] {
  const exact = weights.map(asInteger);
  const sum = exact.reduce((all, weight) => all + weight, 0n);
  const { numerator, denominator } = TOLERANCE;
  const accounts = exact.map((weight) => {
    // The exact share is share/sum.
    const share = total * weight;
    const rounded = (2n * share + sum) / (2n * sum);
    const least = ceilDivide((denominator - numerator) * share, denominator * sum);
    const most = ((denominator + numerator) * share) / (denominator * sum);
    const size = least > most ? rounded : rounded < least ? least : rounded > most ? most : rounded;
    return { share, least, most, size };
  });
  let missing = total - accounts.reduce((all, { size }) => all + size, 0n);

  const grow = (account: (typeof accounts)[number], by: bigint): void => {
    account.size += by;
    missing -= by;
  };
  const unit = missing < 0n ? -1n : 1n;
  const distance = ({ share, size }: (typeof accounts)[number]): bigint => unit * (share - size * sum);
  const byShare = accounts.filter(({ share }) => share > 0n).sort((a, b) => compare(b.share, a.share));

  // First the tolerance is used up; then those who cannot be within it anyway are rounded the other way, the nearest
  // to it before others; and what is left goes round, one each.
  for (const account of byShare) {
    const { least, most, size } = account;
    if (least <= most) grow(account, clamp(missing, least - size, most - size));
  }
  const rounded = byShare.filter((account) => account.least > account.most && distance(account) > 0n);
  for (const account of rounded.sort((a, b) => compare(distance(b), distance(a)))) {
    if (missing !== 0n) grow(account, unit);
  }
  while (missing !== 0n) {
    for (const account of byShare) if (missing !== 0n && account.size + unit >= 0n) grow(account, unit);
  }

  return accounts.map(({ size, least, most }) => {
    const room = size - least < most - size ? size - least : most - size;
    return { size, room: room > 0n ? room : 0n };
  });
}

/** A double as a whole number of 2^-1074, exactly (IEEE 754). */
function asInteger(weight: number): bigint {
  const bits = new DataView(Float64Array.of(weight).buffer).getBigUint64(0, true);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & ((1n << 52n) - 1n);
  return exponent === 0n ? fraction : (fraction | (1n << 52n)) << (exponent - 1n);
}

const ceilDivide = (a: bigint, b: bigint): bigint => (a + b - 1n) / b;
const clamp = (value: bigint, least: bigint, most: bigint): bigint =>
  value < least ? least : value > most ? most : value;
const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
