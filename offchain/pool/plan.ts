/**
 * What a look at a task's parts calls for: who has left, who goes on where, who is made ready for it (docs/pool.md
 * "Backups"). Nothing but figures in and decisions out: the same figures give the same plan.
 */
import { highestLow, observeSpread, standardDeviation, type Spread } from "./rewards.ts";

export interface Holder {
  readonly sessionId: string;
  /** MAC/s */
  readonly speed: number;
  /** heard of within its lease's time, and not banned */
  readonly alive: boolean;
  /** was made ready as a backup */
  readonly ready: boolean;
}

export interface PartView {
  readonly part: number;
  /** best accuracy found in it, 0 … 1 */
  readonly best: number;
  readonly trials: number;
  /** of them, since its holder got it or it was split */
  readonly trialsSince: number;
  /** binary logarithm of its number of architectures */
  readonly bits: number;
  readonly holder: Holder | null;
}

export interface Move {
  readonly sessionId: string;
  readonly from: number;
  readonly to: number;
  /** had been made ready, so it lets its own trial go at once; otherwise it finishes that first */
  readonly ready: boolean;
}

export interface Plan {
  /** the lowest reward above this one is high; null: all are */
  readonly highestLow: number | null;
  /** parts whose holders have left */
  readonly left: readonly number[];
  /** backups: parts that go on with another holder */
  readonly moves: readonly Move[];
  /** σ_p where it has changed */
  readonly spread: { readonly spread: Spread; readonly rises: boolean } | null;
  readonly ready: readonly string[];
  readonly standDown: readonly string[];
  /** `adaptive`: this low-reward holder gets a half of that part */
  readonly resplit: { readonly sessionId: string; readonly from: number; readonly of: number } | null;
}

export interface PlanRules {
  /** whether low-reward miners stand in for high-reward ones that leave */
  readonly backups: boolean;
  /** trials in a part before it may be split, or its holder moved, by what was found; null: never */
  readonly resplitTrials: number | null;
}

/** True where a part's reward is known and stands above the cut. */
export function isHigh({ best, trials }: Pick<PartView, "best" | "trials">, cut: number | null): boolean {
  return trials > 0 && (cut === null || best > cut);
}

export function planSweep(parts: readonly PartView[], before: Spread | undefined, rules: PlanRules): Plan {
  const cut = highestLow(parts.filter(({ trials }) => trials > 0).map(({ best }) => best));
  const high = (view: PartView): boolean => isHigh(view, cut);
  const low = (view: PartView): boolean => view.trials > 0 && !high(view);
  const held = parts.filter(({ holder }) => holder?.alive === true);
  const left = parts.filter(({ holder }) => holder?.alive === false).map(({ part }) => part);

  // Low-reward holders, the ready ones before others; of them the one whose own search is worth least, so that one
  // that was high before better ones were found is the last to be left, and of equals the fastest.
  const spare = held
    .filter(low)
    .sort(
      ({ holder: a, best, part }, { holder: b, best: its, part: other }) =>
        Number(b!.ready) - Number(a!.ready) || best - its || b!.speed - a!.speed || part - other,
    );
  // Where there is none of them, whoever holds the least of the high rewards goes on with a higher one.
  const lesser = held.filter(high).sort((a, b) => a.best - b.best || b.part - a.part);
  const moves: Move[] = [];
  if (rules.backups) {
    const waiting = parts
      .filter((view) => high(view) && view.holder?.alive !== true)
      .sort((a, b) => b.best - a.best || a.part - b.part);
    for (const { part: to, best } of waiting) {
      const backup = spare.shift() ?? (lesser.length > 0 && lesser[0]!.best < best ? lesser.shift() : undefined);
      if (backup === undefined) break;
      const { sessionId, ready } = backup.holder!;
      moves.push({ sessionId, from: backup.part, to, ready });
    }
  }

  const watched = held.filter(high);
  const spread =
    watched.length === 0 ? null : observeSpread(before, standardDeviation(watched.map(({ best }) => best)));
  const readyNow = spare.filter(({ holder }) => holder!.ready).length;
  const wanted = rules.backups && spread?.rises === true ? Math.max(0, watched.length - readyNow) : 0;
  const readied = spare.filter(({ holder }) => !holder!.ready).slice(0, wanted);
  const standDown = parts.filter((view) => view.holder?.ready === true && !(view.holder.alive && low(view)));

  return {
    highestLow: cut,
    left,
    moves,
    spread,
    ready: readied.map(({ holder }) => holder!.sessionId),
    standDown: standDown.map(({ holder }) => holder!.sessionId),
    resplit: resplitOf(),
  };

  function resplitOf(): Plan["resplit"] {
    const { resplitTrials } = rules;
    if (resplitTrials === null) return null;
    const enough = ({ trialsSince }: PartView): boolean => trialsSince >= resplitTrials;
    const from = spare
      .filter((view) => enough(view) && !view.holder!.ready && !readied.includes(view))
      .reduce<PartView | null>((worst, view) => (worst === null || view.best < worst.best ? view : worst), null);
    const of = watched
      .filter((view) => enough(view) && view.bits > 0)
      .reduce<PartView | null>((most, view) => (most === null || view.bits > most.bits ? view : most), null);
    return from === null || of === null ? null : { sessionId: from.holder!.sessionId, from: from.part, of: of.part };
  }
}

/**
 * The free part that a strong miner gets: a high-reward one that was left, so that it goes on; else one that nobody
 * has begun, made for a speed next to the miner's; else the best of those left. Of equals the first.
 * @param cut as of `planSweep`
 * @param weightOf the speed that a part's size was made for
 */
export function chooseFree<Part extends Pick<PartView, "part" | "best" | "trials">>(
  free: readonly (Part & { readonly weight: number | null })[],
  cut: number | null,
  speed: number,
): { readonly part: Part; readonly why: "high" | "new" | "left" } | null {
  const rank = (one: Part): number => (isHigh(one, cut) ? 0 : one.trials === 0 ? 1 : 2);
  const distance = ({ weight }: { readonly weight: number | null }): number =>
    weight === null || weight === 0 ? Infinity : Math.abs(Math.log(weight / speed));
  const first = [...free].sort((a, b) => {
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    if (rank(a) === 1) return compare(distance(a), distance(b)) || a.part - b.part;
    return b.best - a.best || a.part - b.part;
  })[0];
  if (first === undefined) return null;
  return { part: first, why: (["high", "new", "left"] as const)[rank(first)]! };
}

/** Infinity equals itself, which its difference does not say. */
const compare = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
