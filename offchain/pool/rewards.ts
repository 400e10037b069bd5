/** Telling miners' rewards apart, and watching how they spread (paper §3, docs/pool.md "Backups"). */

/**
 * The highest of the low ones: the cut that two-means makes, found exactly (of all cuts of the sorted values, the one
 * with the least sum of squares within the two groups; of equals the highest cut, so that fewer are high). Needs no
 * tuning.
 * @returns null where fewer than two different values leave nothing to tell apart: all are high then
 */
export function highestLow(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const sums = [0];
  for (const value of sorted) sums.push(sums.at(-1)! + value);
  const total = sums.at(-1)!;
  let cut: number | null = null;
  let most = -Infinity;
  for (let low = 1; low < sorted.length; low++) {
    if (sorted[low] === sorted[low - 1]) continue;
    // The sum of squares within groups is least where that of the groups' means, weighted, is greatest.
    const between = sums[low]! ** 2 / low + (total - sums[low]!) ** 2 / (sorted.length - low);
    if (between >= most) {
      most = between;
      cut = sorted[low - 1]!;
    }
  }
  return cut;
}

/** σ = sqrt(1/N Σ (p_i − mean)²); 0 of none. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

/** What is remembered of σ_p: its last value, and the mean and number of all. */
export interface Spread {
  readonly sigma: number;
  readonly mean: number;
  readonly samples: number;
}

/**
 * Takes a value of σ_p in. It rises where it is above the mean of all values before it (of none: 0); a value that is
 * equal to the last one is no news.
 */
export function observeSpread(before: Spread | undefined, sigma: number): { spread: Spread; rises: boolean } | null {
  const { mean, samples } = before ?? { mean: 0, samples: 0 };
  if (sigma === (before?.sigma ?? 0)) return null;
  const spread = { sigma, mean: mean + (sigma - mean) / (samples + 1), samples: samples + 1 };
  return { spread, rises: sigma > mean };
}
