/**
 * Hierarchical decomposition of a space: S_i = {A : f(A) = C_i}. An architecture's decisions, in some order, are the
 * digits of its number in a mixed radix; f(A) is the interval that the number lies in, and an interval of numbers is
 * a few boxes, of which each fixes the first decisions and restricts the next one.
 */
import { HYPERPARAMETERS, type Hyperparameter, type Space } from "../protocol/architecture.ts";
import type { Random } from "../protocol/random.ts";
import { apportion, type Portion } from "./apportion.ts";
import { canonicalSpace, type Box } from "./boxes.ts";

/** Each of a part's two edges may use a little less than half of the part's room, so that no rounding crosses it. */
const SLACK = { numerator: 9n, denominator: 20n } as const;

interface Decision {
  readonly layer: number;
  readonly name: Hyperparameter;
  readonly choices: readonly number[];
}

/** Decisions as digits, the most significant first. */
interface Radix {
  readonly decisions: readonly Decision[];
  /** what one step of each digit is worth */
  readonly units: readonly bigint[];
}

/** A run of numbers: the digits before `level` as in `start`, `count` values of the digit there, the rest free. */
interface Run {
  readonly start: bigint;
  readonly level: number;
  readonly count: number;
}

/**
 * Boxes for every weight, in the order of weights, that cover the space exactly and do not overlap. Each list's share
 * of the space is within 5 % (relative) of its weight's share where whole architectures allow it, and that share
 * rounded up or down elsewhere; a weight of 0, or one whose share is rounded to none, gets no boxes.
 * @param space every list with a usable choice
 * @param weights finite, 0 or more, at least one above 0
 * @param random chooses which decisions come first and who gets which part
 */
export function decompose(space: Space, depth: number, weights: readonly number[], random: Random): Box[][] {
  const canonical = canonicalSpace(space);
  const decisions = random.shuffle(decisionsOf(canonical, depth));
  const total = decisions.reduce((size, { choices }) => size * BigInt(choices.length), 1n);
  const line = lineUp(weights, random);
  const portions = apportion(
    total,
    line.map((miner) => weights[miner]!),
  )
    .map((portion, place) => ({ ...portion, miner: line[place]! }))
    .filter(({ size }) => size > 0n);

  const candidates = [mostChoicesFirst(decisions), factorsFirst(decisions, portions.length)].map((order) => {
    const radix = radixOf(order);
    const edges = edgesOf(portions, radix);
    const runs = portions.map((_, place) => runsOf(edges[place]!, edges[place + 1]!, radix));
    return { radix, runs, count: runs.reduce((count, { length }) => count + length, 0) };
  });
  const { radix, runs } = candidates.reduce((best, other) => (other.count < best.count ? other : best));

  const parts: Box[][] = weights.map(() => []);
  const whole: Box = Array<Space>(depth).fill(canonical);
  for (const [place, { miner }] of portions.entries()) {
    parts[miner] = runs[place]!.map((run) => boxOf(run, radix, whole));
  }
  return parts;
}

/** Every decision that leaves a choice; one of those that do not where none does. */
function decisionsOf(space: Space, depth: number): Decision[] {
  const all = Array.from({ length: depth }, (_, layer) =>
    HYPERPARAMETERS.map((name) => ({ layer, name, choices: space[name] })),
  ).flat();
  const open = all.filter(({ choices }) => choices.length > 1);
  return open.length > 0 ? open : all.slice(0, 1);
}

/**
 * Who stands next to whom: by weight, since an edge between parts may be as inexact as the smaller one bears, equal
 * weights in random order, and turned by a random number of places.
 */
function lineUp(weights: readonly number[], random: Random): number[] {
  const line = random.shuffle([...weights.keys()]).sort((a, b) => weights[a]! - weights[b]!);
  const turn = random.integer(line.length);
  return [...line.slice(turn), ...line.slice(0, turn)];
}

/** The fewer digits an edge has, the fewer boxes lie beside it; large digits reach the same precision with fewer. */
function mostChoicesFirst(decisions: readonly Decision[]): Decision[] {
  return [...decisions].sort((a, b) => b.choices.length - a.choices.length);
}

/** First decisions whose numbers of choices multiply to a divisor of the number of parts: equal parts may be one box. */
function factorsFirst(decisions: readonly Decision[], parts: number): Decision[] {
  const rest = mostChoicesFirst(decisions);
  const first: Decision[] = [];
  for (let left = parts; ;) {
    const index = rest.findIndex(({ choices }) => choices.length > 1 && left % choices.length === 0);
    if (index < 0) return [...first, ...rest];
    const [decision] = rest.splice(index, 1);
    first.push(decision!);
    left /= decision!.choices.length;
  }
}

function radixOf(decisions: readonly Decision[]): Radix {
  let unit = 1n;
  const units = decisions.map(() => 0n);
  for (let level = decisions.length - 1; level >= 0; level--) {
    units[level] = unit;
    unit *= BigInt(decisions[level]!.choices.length);
  }
  return { decisions, units };
}

/** The numbers at which parts begin and end: as round as the parts' tolerance allows. */
function edgesOf(portions: readonly Portion[], radix: Radix): bigint[] {
  const edges = [0n];
  let exact = 0n;
  for (const [place, { size, room }] of portions.entries()) {
    exact += size;
    const next = portions[place + 1];
    if (next === undefined) edges.push(exact);
    else
      edges.push(roundest(exact, ((room < next.room ? room : next.room) * SLACK.numerator) / SLACK.denominator, radix));
  }
  return edges;
}

/** The number within `slack` of the exact one that has the fewest digits. */
function roundest(exact: bigint, slack: bigint, { units }: Radix): bigint {
  for (const unit of units) {
    const nearest = ((exact + unit / 2n) / unit) * unit;
    if (nearest - exact <= slack && exact - nearest <= slack) return nearest;
  }
  return exact;
}

/** The fewest runs that the numbers from `from` (inclusive) to `to` (exclusive) fall into. */
function runsOf(from: bigint, to: bigint, { decisions, units }: Radix): Run[] {
  const runs: Run[] = [];
  for (let start = from; start < to;) {
    const level = units.findIndex((unit) => start + unit <= to && start % unit === 0n);
    const unit = units[level]!;
    const radix = BigInt(decisions[level]!.choices.length);
    const digitsLeft = radix - ((start / unit) % radix);
    const unitsLeft = (to - start) / unit;
    const count = digitsLeft < unitsLeft ? digitsLeft : unitsLeft;
    runs.push({ start, level, count: Number(count) });
    start += count * unit;
  }
  return runs;
}

function boxOf({ start, level, count }: Run, { decisions, units }: Radix, whole: Box): Box {
  const box = [...whole];
  for (let at = 0; at <= level; at++) {
    const { layer, name, choices } = decisions[at]!;
    const digit = Number((start / units[at]!) % BigInt(choices.length));
    if (box[layer] === whole[layer]) box[layer] = { ...whole[layer]! };
    box[layer]![name] = choices.slice(digit, digit + (at < level ? 1 : count));
  }
  return box;
}
