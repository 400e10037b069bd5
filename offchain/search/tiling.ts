/**
 * Which tiles and which groups of layers run a network fastest on an FPGA within bounds: the search of the paper's
 * source (docs/evaluation.md, "Hardware cost"), with the same answers.
 */
import {
  boundsFault,
  costFault,
  hardwareLayers,
  maxCycles,
  throughputOf,
  tileCycles,
  tilingCost,
  unitLuts,
  type HardwareBounds,
  type HardwareLayer,
  type Tile,
  type TilingCost,
} from "../evaluation/hardware.ts";
import type { Architecture, Tiling } from "../protocol/architecture.ts";

/** One way to compute a layer. */
interface Candidate extends TilingCost {
  readonly tile: Tile;
}

/** A layer's tiles that are worth looking at. */
interface Candidates {
  /** fewer cycles, more look-up tables from each to the next */
  readonly byLuts: readonly Candidate[];
  /** more cycles, fewer look-up tables from each to the next */
  readonly byCycles: readonly Candidate[];
}

/** The first layers of a network, tiled and grouped. */
interface Partial {
  readonly before: Partial | null;
  /** tile of the last of its layers */
  readonly tile: Tile;
  /** whether that layer begins a group */
  readonly opens: boolean;
  /** look-up tables of the largest group */
  readonly luts: number;
  readonly cycles: number;
  readonly lastLuts: number;
  /** cycles of all groups but the last */
  readonly earlierCycles: number;
}

/** What decides whether a solution is kept: less is better. */
type Measure = "lastLuts" | "cycles" | "earlierCycles";

/** Start of every search: no layer yet. */
const EMPTY = { luts: 0, cycles: 0, lastLuts: 0, earlierCycles: 0 } as const;

/** What an architecture costs, and the tiling that shows it where it keeps within the bounds. */
export type TilingResult = TilingFound | TilingMissing;

interface TilingFound {
  readonly luts: number;
  /** images per second */
  readonly throughput: number;
  readonly feasible: true;
  readonly tiling: Tiling;
  readonly reason: null;
}

/**
 * Figures are of the tiling that comes nearest: the fastest within the look-up tables alone, or, where those are too
 * few for any, the smallest of all. Both are null where the cost model has none for the architecture.
 */
interface TilingMissing {
  readonly luts: number | null;
  readonly throughput: number | null;
  readonly feasible: false;
  readonly tiling: null;
  /** a clause about the architecture */
  readonly reason: string;
}

/**
 * The fastest tiling of an architecture within bounds that the search finds.
 * @param options.compat cycles as in the paper's source, which takes N for R: for comparison with its logs alone
 */
export function findTiling(
  architecture: Architecture,
  { bounds, compat }: { readonly bounds: HardwareBounds; readonly compat?: boolean },
): TilingResult {
  const layers = hardwareLayers(architecture, { compat });
  const unknown = costFault(layers);
  if (unknown !== null) return { luts: null, throughput: null, feasible: false, tiling: null, reason: unknown };
  const found = searchTiling(layers, bounds) ?? searchTiling(layers, { ...bounds, minThroughput: 0 });
  const { tiling, ...cost } = found ?? smallestTiling(layers);
  const figures = { luts: cost.luts, throughput: throughputOf(cost) };
  const reason = boundsFault(found === null ? "its smallest tiling" : "the fastest tiling found", cost, bounds);
  return reason === null
    ? { ...figures, feasible: true, tiling, reason }
    : { ...figures, feasible: false, tiling: null, reason };
}

/** One channel and one filter at a time, one layer at a time: no tiling has fewer look-up tables. */
function smallestTiling(layers: readonly HardwareLayer[]): TiledNetwork {
  const tiling: Tiling = { tiles: layers.map(() => [1, 1]), groups: layers.map(() => 1) };
  return { ...tilingCost(layers, tiling), tiling };
}

interface TiledNetwork extends TilingCost {
  readonly tiling: Tiling;
}

/**
 * The fastest tiling within the bounds that the source's search finds, or null where it finds none.
 * Layer after layer, every kept solution is extended in four ways: the layer opens a group or joins the last one, with
 * the tile of fewest look-up tables or of fewest cycles that the bounds leave room for. Kept are the Pareto fronts over
 * each two of: look-up tables of the last group, cycles, cycles before the last group.
 */
function searchTiling(layers: readonly HardwareLayer[], bounds: HardwareBounds): TiledNetwork | null {
  const maxLuts = bounds.maxLuts === 0 ? Number.MAX_VALUE : bounds.maxLuts;
  const most = maxCycles(bounds);
  let kept: Partial[] | null = null;
  for (const layer of layers) {
    const candidates = candidatesOf(layer);
    const found: Partial[] = [];
    for (const before of kept ?? [null]) {
      const { luts, cycles, lastLuts, earlierCycles } = before ?? EMPTY;
      for (const { tile, ...cost } of pick(candidates, maxLuts, most - cycles)) {
        found.push({
          before,
          tile,
          opens: true,
          luts: Math.max(luts, cost.luts),
          cycles: cycles + cost.cycles,
          lastLuts: cost.luts,
          earlierCycles: cycles,
        });
      }
      if (before === null) continue;
      for (const { tile, ...cost } of pick(candidates, maxLuts - lastLuts, most - earlierCycles)) {
        found.push({
          before,
          tile,
          opens: false,
          luts: Math.max(luts, lastLuts + cost.luts),
          cycles: Math.max(cycles, earlierCycles + cost.cycles),
          lastLuts: lastLuts + cost.luts,
          earlierCycles,
        });
      }
    }
    kept = paretoFronts(found);
  }
  const [best] = (kept ?? []).sort((a, b) => a.cycles - b.cycles || a.luts - b.luts);
  return best === undefined ? null : { luts: best.luts, cycles: best.cycles, tiling: tilingOf(best) };
}

/** The two tiles that the search tries: fewest look-up tables, fewest cycles; none where no tile fits. */
function pick({ byLuts, byCycles }: Candidates, maxLuts: number, most: number): Candidate[] {
  const smallest = firstWhere(byLuts, ({ cycles }) => cycles <= most);
  const fastest = firstWhere(byCycles, ({ luts }) => luts <= maxLuts);
  if (smallest === undefined || fastest === undefined) return [];
  return smallest.luts <= maxLuts && fastest.cycles <= most ? [smallest, fastest] : [];
}

/** Binary search in a list where `holds` is false up to somewhere and true from there on. */
function firstWhere<T>(list: readonly T[], holds: (item: T) => boolean): T | undefined {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(list[middle]!)) high = middle;
    else low = middle + 1;
  }
  return list[low];
}

/**
 * Only the smallest tile for each pair of quotients ⌈N/Tn⌉, ⌈M/Tm⌉ is looked at: any other with the same quotients
 * takes as many cycles, is no smaller in look-up tables, and comes later in the source's order, Tn before Tm, in which
 * the first of equals is taken. Of the rest, those stay that can be the first of a sorted list within some bound.
 */
function candidatesOf(layer: HardwareLayer): Candidates {
  const all: Candidate[] = [];
  for (const tn of smallestParts(layer.channels)) {
    const unit = unitLuts(layer, tn);
    for (const tm of smallestParts(layer.filters)) {
      const tile: Tile = [tn, tm];
      all.push({ tile, luts: tm * unit, cycles: tileCycles(layer, tile) });
    }
  }
  return {
    byLuts: staircase([...all].sort((a, b) => a.luts - b.luts), ({ cycles }) => cycles), // prettier-ignore
    byCycles: staircase(all.sort((a, b) => a.cycles - b.cycles), ({ luts }) => luts), // prettier-ignore
  };
}

/** Ascending, for each value that ⌈total / part⌉ takes the smallest part that gives it. */
function smallestParts(total: number): number[] {
  const parts = new Set<number>();
  for (let quotient = total; quotient >= 1; quotient--) parts.add(Math.ceil(total / quotient));
  return [...parts];
}

/** Those of a list that are less than all before them. */
function staircase<T>(sorted: readonly T[], measure: (item: T) => number): T[] {
  let least = Infinity;
  return sorted.filter((item) => {
    if (measure(item) >= least) return false;
    least = measure(item);
    return true;
  });
}

/**
 * The union of three fronts. Sorting anew what is sorted already settles ties as the source does: by the order of the
 * sorting before.
 */
function paretoFronts(found: Partial[]): Partial[] {
  const kept = new Set<Partial>();
  const add = (first: Measure, second: Measure): void => {
    found.sort((a, b) => a[first] - b[first]);
    for (const solution of front(found, first, second)) kept.add(solution);
  };
  add("lastLuts", "cycles");
  add("cycles", "earlierCycles");
  add("lastLuts", "earlierCycles");
  return [...kept];
}

/** Of solutions sorted by one measure, those that are better than all before them in the other. */
function front(sorted: readonly Partial[], first: Measure, second: Measure): Partial[] {
  const steps: Partial[] = [];
  for (const solution of sorted) {
    const last = steps.at(-1);
    if (last !== undefined && solution[second] >= last[second]) continue;
    if (last?.[first] === solution[first]) steps.pop();
    steps.push(solution);
  }
  return steps;
}

function tilingOf(solution: Partial): Tiling {
  const tiles: Tile[] = [];
  const groups: number[] = [];
  let size = 0;
  for (let layer: Partial | null = solution; layer !== null; layer = layer.before) {
    tiles.push([...layer.tile]);
    size += 1;
    if (!layer.opens) continue;
    groups.push(size);
    size = 0;
  }
  return { tiles: tiles.reverse(), groups: groups.reverse() };
}
