/**
 * Do backups keep the searches that matter alive? Every miner of a pool of nine leaves at a rate of one in ten per
 * phase, without a word, and nobody comes. A task is complete when every search of a high-reward subspace whose miner
 * left is carried on by another one at the end of the phase; high is what the manager's own rule says when it leaves.
 */
import { highestLow } from "../../../offchain/pool/rewards.ts";
import { isHigh } from "../../../offchain/pool/plan.ts";
import type { Decision } from "../../../offchain/pool/messages.ts";
import { DEFAULT_RULES } from "../../../offchain/pool/rules.ts";
import type { MemoryDatabase } from "./memory-database.ts";
import { runHistory, START, type History } from "./history.ts";
import { drawPopulation } from "./population.ts";
import type { RecordedTrials } from "./recorded-trials.ts";

const PHASE_MS = 3_600_000;

export interface ChurnTask {
  readonly seed: number;
  readonly departures: number;
  /** searches with a high reward: those that their miner kept to the end, and those that it left; null: nobody has left */
  readonly high: number | null;
  readonly left: number;
  /** of those left, the ones that nobody carried on at the end of the phase */
  readonly lost: number;
  /** of the lost ones, those left so late that nobody could have noticed before the end of the phase */
  readonly tooLate: number;
  /** of the lost ones, those beside which every miner that is left searches one with a higher reward */
  readonly unavoidable: number;
  /** best accuracy of the pool; null: nobody has left */
  readonly best: number | null;
}

export async function churnTask(options: {
  readonly database: MemoryDatabase;
  readonly trials: RecordedTrials;
  readonly seed: number;
  readonly backups: boolean;
}): Promise<ChurnTask> {
  const { database, trials, seed, backups } = options;
  const { heartbeatMs } = DEFAULT_RULES;
  const population = drawPopulation({ seed, count: 9, phaseMs: PHASE_MS, trials: [1.5, 6], leaveRate: 0.1 });
  // Where nobody leaves there is nothing to carry on.
  const departures = population.filter(({ leavesAt }) => leavesAt !== null).length;
  if (departures === 0)
    return { seed, departures, high: null, left: 0, lost: 0, tooLate: 0, unavoidable: 0, best: null };
  const last = Math.max(0, ...population.map(({ leavesAt }) => leavesAt ?? 0));
  const history = await runHistory({
    database,
    trials,
    seed,
    phaseMs: PHASE_MS,
    sweepMs: heartbeatMs / 3,
    rules: { partition: "random-subsets", subspaces: 9, strongTrials: 1, backups, heartbeatMs },
    miners: population,
    // When everybody has left who will, and every search with a high reward has somebody, nobody moves any more.
    over: {
      from: last + 2 * heartbeatMs,
      when: (parts) => {
        if (!backups) return true;
        const cut = highestLow(parts.filter(({ trials: done }) => done > 0).map(({ best }) => best));
        return parts.every((part) => part.sessionId !== null || !isHigh(part, cut));
      },
    },
  });
  return { seed, ...judge(history, heartbeatMs), best: bestOf(history) };
}

const bestOf = ({ acknowledged }: History): number => Math.max(0, ...acknowledged.map(({ correct }) => correct)) / 2000;

/** Who held which part when, by the manager's own decisions. */
function judge(history: History, heartbeatMs: number): Omit<ChurnTask, "seed" | "best"> {
  const { decisions, shares, parts, miners, endsAt } = history;
  const addressOf = new Map(miners.map(({ spec }) => [spec.signer.address, spec]));
  const moves = decisions.filter(({ kind }) => kind === "assign" || kind === "release" || kind === "backup");
  /** the holder of each part at a time, the manager's word */
  const holders = (until: number): Map<number, string> => {
    const held = new Map<number, string>();
    for (const move of moves) if (move.at <= until) follow(held, move);
    return held;
  };
  const follow = (held: Map<number, string>, { kind, part, miner }: Decision): void => {
    if (part === null || miner === null) return;
    if (kind === "release") held.delete(part);
    else {
      for (const [other, who] of held) if (who === miner) held.delete(other);
      held.set(part, miner);
    }
  };
  const highAt = (time: number): Set<number> => {
    const views = parts.map(({ part }) => {
      const own = shares.filter((share) => share.part === part && share.acceptedAt <= time);
      return { part, trials: own.length, best: Math.max(0, ...own.map(({ correct, total }) => correct / total)) };
    });
    const cut = highestLow(views.filter(({ trials }) => trials > 0).map(({ best }) => best));
    // As long as there is nothing to tell apart, nobody's reward is high.
    if (cut === null) return new Set();
    return new Set(views.filter((view) => isHigh(view, cut)).map(({ part }) => part));
  };

  const left = new Map<number, number>();
  let departures = 0;
  for (const { spec } of miners) {
    if (spec.leavesAt === null) continue;
    departures++;
    const at = START + spec.leavesAt;
    const held = holders(at);
    const high = highAt(at);
    for (const [part, who] of held) if (who === spec.signer.address && high.has(part)) left.set(part, at);
  }
  const alive = (who: string | undefined): boolean =>
    who !== undefined && addressOf.get(who as never)?.leavesAt === null;
  const atEnd = holders(endsAt);
  const lost = [...left].filter(([part]) => !alive(atEnd.get(part)));
  const kept = [...highAt(endsAt)].filter((part) => !left.has(part) && alive(atEnd.get(part)));
  return {
    departures,
    high: kept.length + left.size,
    left: left.size,
    lost: lost.length,
    tooLate: lost.filter(([, at]) => START + PHASE_MS - at < 1.5 * heartbeatMs).length,
    unavoidable: lost.filter(([part]) => {
      const bestOf = new Map(parts.map((one) => [one.part, one.best]));
      return [...atEnd].every(([other, who]) => !alive(who) || bestOf.get(other)! >= bestOf.get(part)!);
    }).length,
  };
}
