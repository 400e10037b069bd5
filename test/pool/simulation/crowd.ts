/** A crowd at one manager: heavy-tailed speeds, late joins, departures, stalls, liars, and kills of the manager. */
import { createRandom } from "../../../offchain/protocol/random.ts";
import type { World } from "./experiments.ts";
import { runHistory } from "./history.ts";
import { faultsOf } from "./invariants.ts";
import { drawPopulation } from "./population.ts";

const PHASE_MS = 1_800_000;

export interface CrowdResult {
  readonly miners: number;
  readonly shares: number;
  readonly departures: number;
  readonly liars: number;
  readonly liarsBanned: number;
  readonly honestBanned: number;
  readonly kills: number;
  readonly faults: readonly string[];
  readonly hash: string;
}

export async function crowd(
  { database, trials }: World,
  { seed, miners: count }: { readonly seed: number; readonly miners: number },
): Promise<CrowdResult> {
  const random = createRandom(`${seed}/crowd`);
  const miners = drawPopulation({ seed, count, phaseMs: PHASE_MS, trials: [0.2, 4], leaveRate: 0.1 }).map((spec) => {
    const joinsAt = random.next() < 0.5 ? random.integer(60_000) : random.integer(PHASE_MS / 2);
    const from = random.integer(PHASE_MS);
    const stalls = random.next() < 0.1 ? [[from, from + random.integer(300_000)] as const] : [];
    const lies = random.next() < 0.05 ? { rate: 0.5, honestFirst: random.integer(3), time: 0.1 } : undefined;
    return { ...spec, joinsAt, stalls, ...(lies === undefined ? {} : { lies }) };
  });
  const crashes = Array.from({ length: 3 }, (_, at) => ({
    at: ((at + 1) * PHASE_MS) / 4 + random.integer(60_000),
    statements: random.integer(100),
    downMs: 20_000,
  }));
  const history = await runHistory({
    database,
    trials,
    seed,
    miners,
    phaseMs: PHASE_MS,
    sweepMs: 60_000,
    rules: { heartbeatMs: 240_000, strongTrials: 1, handOverMs: 1000 },
    crashes,
    count: true,
  });
  const liars = new Set(miners.filter(({ lies }) => lies !== undefined).map(({ signer }) => signer.address as string));
  return {
    miners: count,
    shares: history.shares.length,
    departures: miners.filter(({ leavesAt }) => leavesAt !== null).length,
    liars: liars.size,
    liarsBanned: [...history.banned].filter((account) => liars.has(account)).length,
    honestBanned: [...history.banned].filter((account) => !liars.has(account)).length,
    kills: history.crashes,
    faults: faultsOf(history),
    hash: history.hash,
  };
}
