/**
 * Splits a layer's weights into parts whose sums float32 holds exactly, for networks whose accumulators reach 2^24.
 */

/** Integers below this are exact in float32, whatever the order in which they are summed. */
export const EXACT_IN_FLOAT32 = 2 ** 24;

/** weights = Σ parts · 2^shift */
export interface WeightPart {
  readonly weights: Int32Array;
  readonly shift: number;
}

/**
 * Cuts integer weights into balanced digits, the lowest as wide as possible, so that for every unit and part
 * Σ|part|·inputMax < 2^24. Two parts, a high and a low one, are enough for the spaces of the paper; where a unit reads
 * so much that even a digit of one bit is too wide, that digit is dealt out over several parts.
 * @param weights units × fanIn
 * @param inputMax largest value that is read, below 2^24
 */
export function splitWeights(weights: Int16Array, fanIn: number, inputMax: number): WeightPart[] {
  /** largest Σ|w| of a unit in one part */
  const budget = Math.floor((EXACT_IN_FLOAT32 - 1) / inputMax);
  const parts: WeightPart[] = [];
  let rest = Int32Array.from(weights);
  let shift = 0;
  while (!fits(rest, fanIn, budget)) {
    let width = 15;
    let digit = lowDigits(rest, width);
    while (width > 1 && !fits(digit, fanIn, budget)) digit = lowDigits(rest, --width);
    const part = trim(digit, fanIn, budget);
    parts.push({ weights: part, shift });
    rest = rest.map((w, i) => w - part[i]!);
    if (fits(digit, fanIn, budget)) {
      rest = rest.map((w) => w / 2 ** width);
      shift += width;
    }
  }
  parts.push({ weights: rest, shift });
  return parts;
}

function fits(weights: Int32Array, fanIn: number, budget: number): boolean {
  for (let start = 0; start < weights.length; start += fanIn) {
    let sum = 0;
    for (let i = start; i < start + fanIn; i++) sum += Math.abs(weights[i]!);
    if (sum > budget) return false;
  }
  return true;
}

/**
 * The remainder nearest to zero of each weight by 2^width; the weight less it is a multiple of 2^width. Halves go
 * towards zero: 1 by 2 is 0 and 1, not 1 and −1, so that what is left of a weight shrinks with every digit.
 */
function lowDigits(weights: Int32Array, width: number): Int32Array {
  const base = 2 ** width;
  return weights.map((w) => w - Math.sign(w) * base * Math.ceil(Math.abs(w) / base - 0.5));
}

/** The same weights up to each unit's budget, and 0 from there. */
function trim(weights: Int32Array, fanIn: number, budget: number): Int32Array {
  const kept = new Int32Array(weights.length);
  for (let start = 0; start < weights.length; start += fanIn) {
    let sum = 0;
    for (let i = start; i < start + fanIn; i++) {
      sum += Math.abs(weights[i]!);
      if (sum > budget) break;
      kept[i] = weights[i]!;
    }
  }
  return kept;
}
