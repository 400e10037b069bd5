/** What a pool gives its miners, measured on simulated histories: speed, the strategy for weak miners, steadiness of pay. */
import type { PartitionRule } from "../../../offchain/pool/parts.ts";
import { createScheme, type CountedTrial, type SchemeTerms } from "../../../offchain/pool/points-schemes.ts";
import { admitTrial, trialMacs, trialMs } from "../../../offchain/pool/task.ts";
import type { Architecture } from "../../../offchain/protocol/architecture.ts";
import { createStrategy, DEFAULT_STRATEGY } from "../../../offchain/search/strategies.ts";
import { signerOf } from "../kit/world.ts";
import { DESCRIPTOR, runHistory, speedFor, START, type History } from "./history.ts";
import type { MemoryDatabase } from "./memory-database.ts";
import type { Lies, Machine, MinerSpec } from "./miner.ts";
import type { RecordedTrials } from "./recorded-trials.ts";

export interface World {
  readonly database: MemoryDatabase;
  readonly trials: RecordedTrials;
}

const PHASE_MS = 3_600_000;
const QUIET = { sweepMs: 120_000, rules: { heartbeatMs: 600_000 } } as const;

const miner = (at: number, trials: number, changes: Partial<MinerSpec> = {}): MinerSpec => ({
  signer: signerOf(at),
  name: `miner ${at}`,
  speed: speedFor(trials, PHASE_MS),
  joinsAt: at,
  leavesAt: null,
  ...changes,
});

/** A rise of the best so far: when, in milliseconds of the phase, and how many validation images are right. */
export interface Rise {
  readonly at: number;
  readonly correct: number;
}

/** A miner on its own: the same search over the whole space, trial by trial. */
export function mineAlone(
  trials: RecordedTrials,
  { seed, speed, ms }: { readonly seed: number; readonly speed: number; readonly ms: number },
): { readonly rises: Rise[]; readonly best: Architecture; readonly work: number } {
  const { template, space, maxMacs, settings, trainCount } = DESCRIPTOR;
  const strategy = createStrategy(DEFAULT_STRATEGY, { template, space, maxMacs, seed });
  const rises: Rise[] = [];
  let best: Architecture | null = null;
  let work = 0;
  for (let now = 0; ;) {
    const proposed = strategy.ask();
    const { architecture } = admitTrial(proposed, DESCRIPTOR);
    if (architecture === null) {
      strategy.tell(proposed, 0);
      continue;
    }
    now += trialMs(architecture, settings, trainCount, speed);
    if (now > ms && best !== null) return { rises, best, work };
    work += trialMacs(architecture, settings.epochs, trainCount);
    const correct = trials.correct(architecture);
    strategy.tell(architecture, correct / DESCRIPTOR.validationCount);
    if (correct <= (rises.at(-1)?.correct ?? -1)) continue;
    rises.push({ at: now, correct });
    best = architecture;
  }
}

const risesOf = ({ acknowledged }: History): Rise[] => {
  const rises: Rise[] = [];
  for (const { at, correct } of acknowledged) {
    if (correct > (rises.at(-1)?.correct ?? -1)) rises.push({ at: at - START, correct });
  }
  return rises;
};

/** Nine subspaces by Algorithm 1; `weak` miners have a tenth of the others' speed. */
export async function weakMiners(
  { database, trials }: World,
  options: {
    readonly seed: number;
    readonly trialsStrong: number;
    /** subspaces whose miners are weak */
    readonly weak: readonly number[];
    /** whether weak miners exploit what strong ones found; otherwise they search a subspace like everybody */
    readonly strategy: boolean;
  },
): Promise<{ best: number; byPart: number[]; exploits: number }> {
  const { seed, trialsStrong, weak, strategy } = options;
  const history = await runHistory({
    database,
    trials,
    seed,
    phaseMs: PHASE_MS,
    miners: Array.from({ length: 9 }, (_, at) => miner(at, weak.includes(at) ? trialsStrong / 10 : trialsStrong)),
    ...QUIET,
    rules: {
      ...QUIET.rules,
      partition: "random-subsets",
      subspaces: 9,
      strongTrials: strategy ? trialsStrong / 2 : 0.001,
      leaseSlack: 20,
    },
  });
  const most = (shares: History["shares"]): number => Math.max(0, ...shares.map(({ correct }) => correct));
  return {
    best: most(history.shares),
    byPart: history.parts.map(({ part }) => most(history.shares.filter((share) => share.part === part))),
    exploits: history.shares.filter(({ kind }) => kind === "exploit").length,
  };
}

/** The trials of a history as the points schemes see them, on a test set that is as the records say. */
export function countedTrials({ shares }: History, trials: RecordedTrials): CountedTrial[] {
  const counted = new Map<number, number | null>();
  return shares.map(({ id, taskId, miner: account, share, work, chance, audit, voided, parentShare, invented }) => {
    const { architecture } = share as { architecture: Architecture };
    const testCorrect = invented ? null : trials.testCorrect(architecture);
    counted.set(id, testCorrect);
    const baseline = parentShare === null ? 200 : (counted.get(parentShare) ?? 2000);
    return { taskId, miner: account, number: id, testCorrect, baseline, work, chance, audit, voided };
  });
}

export const SCHEMES: readonly SchemeTerms[] = [
  { name: "performance" },
  { name: "effort" },
  { name: "blend", performance: 1, effort: 1 },
  { name: "pplns", trials: 40 },
];

/** Each account's part of the reward, 0 … 1, in each scheme. */
export function payOf(history: History, trials: RecordedTrials): Map<string, Map<string, number>> {
  const counted = countedTrials(history, trials);
  return new Map(
    SCHEMES.map((terms) => {
      const points = createScheme(terms).score(counted);
      const sums = new Map<string, bigint>();
      counted.forEach(({ miner: account }, i) => sums.set(account, (sums.get(account) ?? 0n) + points[i]!));
      const positive = [...sums].filter(([, sum]) => sum > 0n);
      const whole = Number(positive.reduce((sum, [, value]) => sum + value, 0n));
      return [terms.name, new Map(positive.map(([account, sum]) => [account, Number(sum) / whole]))] as const;
    }),
  );
}

/**
 * What one machine earns as so many accounts that take turns on it, beside three honest miners of half its speed each;
 * `asOne`: if the very same trials were one account's.
 */
export async function identities(
  { database, trials }: World,
  {
    seed,
    accounts,
    trialsOfMachine,
  }: { readonly seed: number; readonly accounts: number; readonly trialsOfMachine: number },
): Promise<{ pay: Map<string, number>; asOne: Map<string, number> }> {
  const machine: Machine = { freeAt: 0 };
  const split = Array.from({ length: accounts }, (_, at) => miner(at, trialsOfMachine, { machine }));
  const others = [20, 21, 22].map((at) => miner(at, trialsOfMachine / 2));
  const history = await runHistory({
    database,
    trials,
    seed,
    phaseMs: PHASE_MS,
    miners: [...split, ...others],
    ...QUIET,
    rules: { ...QUIET.rules, strongTrials: 0.01, leaseSlack: 40 },
  });
  const own = new Set(split.map(({ signer }) => signer.address as string));
  const payOfMachine = (of: History): Map<string, number> =>
    new Map(
      [...payOf(of, trials)].map(([scheme, pays]) => [
        scheme,
        [...pays].reduce((sum, [account, pay]) => sum + (own.has(account) ? pay : 0), 0),
      ]),
    );
  const { address } = split[0]!.signer;
  const shares = history.shares.map((share) => (own.has(share.miner) ? { ...share, miner: address } : share));
  return { pay: payOfMachine(history), asOne: payOfMachine({ ...history, shares }) };
}

/**
 * What a miner is paid that lies so, beside three honest miners of its speed; `lies` undefined: the honest one's pay.
 * `kept` is the chance that none of its invented shares is drawn, so that the pay of an `unseen` liar times it is the
 * expectation over all draws: one that is caught has nothing.
 */
export async function lying(
  { database, trials }: World,
  { seed, lies, trialsEach }: { readonly seed: number; readonly lies?: Lies; readonly trialsEach: number },
): Promise<{ pay: Map<string, number>; banned: boolean; invented: number; kept: number }> {
  const liar = miner(0, trialsEach, lies === undefined ? {} : { lies });
  const history = await runHistory({
    database,
    trials,
    seed,
    phaseMs: PHASE_MS,
    miners: [liar, ...[1, 2, 3].map((at) => miner(at, trialsEach))],
    ...QUIET,
    rules: { ...QUIET.rules, strongTrials: 0.01 },
  });
  const { address } = liar.signer;
  return {
    pay: new Map([...payOf(history, trials)].map(([scheme, pays]) => [scheme, pays.get(address) ?? 0])),
    banned: history.banned.has(address),
    invented: history.shares.filter(({ invented }) => invented).length,
    kept: history.shares.reduce((kept, { invented, chance }) => (invented ? kept * (1 - chance / 1e6) : kept), 1),
  };
}

/** One task of nine equal miners as a pool, and of the same nine on their own. */
export interface NineMiners {
  readonly seed: number;
  readonly shares: number;
  /**
   * What each of them reaches alone by the end of the phase, and when; and when the pool has as much, in milliseconds of
   * the phase; null: never.
   */
  readonly alone: readonly (Rise & { readonly pool: number | null })[];
  /** validation images that the pool's best network has right at the end */
  readonly best: number;
  /** whether the pool has the best network of all on the test set, and so the reward, which is 1 */
  readonly won: boolean;
  /** pay of each per unit of its verified work, by scheme; one unit is the mean of the nine in the phase */
  readonly pay: Readonly<Record<string, readonly number[]>>;
  /** the same where each mines alone */
  readonly payAlone: readonly number[];
}

/** Nine others like them mine alone in both cases; who has the best network on the test set gets the reward. */
export async function nineMiners(
  { database, trials }: World,
  options: { readonly seed: number; readonly trialsEach: number; readonly partition: PartitionRule },
): Promise<NineMiners> {
  const { seed, trialsEach, partition } = options;
  const history = await runHistory({
    database,
    trials,
    seed,
    phaseMs: PHASE_MS,
    miners: Array.from({ length: 9 }, (_, at) => miner(at, trialsEach)),
    ...QUIET,
    rules: { ...QUIET.rules, partition, strongTrials: 2 },
  });
  const speed = speedFor(trialsEach, PHASE_MS);
  const alone = Array.from({ length: 18 }, (_, at) =>
    mineAlone(trials, { seed: seed * 100 + at, speed, ms: PHASE_MS }),
  );
  const rises = risesOf(history);

  const scores = alone.map(({ best }) => trials.testCorrect(best));
  const winner = scores.indexOf(Math.max(...scores));
  const best = history.shares.reduce((most, share) => (share.correct > most.correct ? share : most));
  const score = trials.testCorrect((best.share as { architecture: Architecture }).architecture);
  const won = score >= Math.max(...scores.slice(9));
  const works = new Map<string, number>();
  for (const { miner: account, work } of history.shares) works.set(account, (works.get(account) ?? 0) + Number(work));
  const accounts = history.miners.map(({ spec }) => spec.signer.address as string);
  const mean = [...works.values()].reduce((sum, work) => sum + work, 0) / accounts.length;
  const meanAlone = alone.reduce((sum, { work }) => sum + work, 0) / alone.length;
  return {
    seed,
    shares: history.shares.length,
    alone: alone.slice(0, 9).map(({ rises: own }) => {
      const final = own.at(-1)!;
      return { ...final, pool: rises.find(({ correct }) => correct >= final.correct)?.at ?? null };
    }),
    best: best.correct,
    won,
    pay: Object.fromEntries(
      [...payOf(history, trials)].map(([scheme, pays]) => [
        scheme,
        accounts.map((account) => (won ? ((pays.get(account) ?? 0) * mean) / (works.get(account) ?? mean) : 0)),
      ]),
    ),
    payAlone: accounts.map((_, at) => (at === winner ? meanAlone / alone[at]!.work : 0)),
  };
}
