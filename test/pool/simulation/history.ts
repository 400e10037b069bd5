/** One simulated history of a pool at work on one task: the real manager, simulated miners, virtual time. */
import { createHash } from "node:crypto";

import { asc, eq } from "drizzle-orm";

import { createPoolManager, type PoolManager } from "../../../offchain/pool/manager.ts";
import type { Decision } from "../../../offchain/pool/messages.ts";
import type { SchemeTerms } from "../../../offchain/pool/points-schemes.ts";
import type { PointsLeaf } from "../../../offchain/pool/points-tree.ts";
import { DEFAULT_RULES, type PoolRules } from "../../../offchain/pool/rules.ts";
import {
  leases,
  miners as accounts,
  parts,
  shares,
  type PartRow,
  type ShareRow,
} from "../../../offchain/pool/schema.ts";
import type { Evaluate } from "../../../offchain/pool/shares.ts";
import type { PoolTask, PoolTaskDescriptor } from "../../../offchain/pool/task.ts";
import type { Architecture } from "../../../offchain/protocol/architecture.ts";
import { tag, type Hex } from "../../../offchain/protocol/bytes.ts";
import { spaceByName } from "../../../offchain/search/spaces.ts";
import type { StrategyName } from "../../../offchain/search/strategies.ts";
import { IDENTITY, RECEIPT_KEY, SILENT } from "../kit/world.ts";
import type { FusedDatabase, MemoryDatabase } from "./memory-database.ts";
import { createSimulatedMiner, type Acknowledged, type MinerSpec, type SimulatedMiner } from "./miner.ts";
import { readRecord, type RecordedTrials } from "./recorded-trials.ts";
import { createVirtualTime } from "./virtual-time.ts";

export const START = Date.UTC(2030, 0, 1);

/** how often the product's manager looks around */
const LOOK_MS = 1000;

/** The manager's process is killed, at once or at the statement after so many, and started again after a while. */
export interface Crash {
  readonly at: number;
  readonly statements: number;
  readonly downMs: number;
}

export interface HistoryOptions {
  readonly database: MemoryDatabase;
  readonly trials: RecordedTrials;
  readonly seed: number;
  readonly miners: readonly MinerSpec[];
  /** length of the training phase in virtual milliseconds */
  readonly phaseMs: number;
  readonly rules?: Partial<PoolRules>;
  readonly strategy?: StrategyName;
  readonly scheme?: SchemeTerms;
  readonly crashes?: readonly Crash[];
  /** how often the manager looks around at the least, in virtual milliseconds */
  readonly sweepMs?: number;
  /** asked at every look around from a time on: whether the rest of the phase can be left out */
  readonly over?: { readonly from: number; readonly when: (parts: readonly PartRow[]) => boolean };
  /** whether points are counted at the end */
  readonly count?: boolean;
}

export interface HistoryShare extends ShareRow {
  readonly part: number | null;
  readonly kind: "explore" | "exploit";
  readonly parentShare: number | null;
  /** by a liar: no model is behind it */
  readonly invented: boolean;
}

export interface History {
  /** of all that happened, in order; equal for equal histories */
  readonly hash: string;
  readonly lines: readonly string[];
  readonly acknowledged: readonly Acknowledged[];
  readonly shares: readonly HistoryShare[];
  readonly parts: readonly PartRow[];
  readonly decisions: readonly Decision[];
  readonly points: readonly PointsLeaf[];
  readonly sharesFile: Uint8Array | null;
  readonly miners: readonly SimulatedMiner[];
  readonly crashes: number;
  readonly banned: ReadonlySet<string>;
  readonly endsAt: number;
}

const record = readRecord();

export const DESCRIPTOR: PoolTaskDescriptor = {
  template: record.template,
  space: spaceByName(record.space),
  settings: record.settings,
  maxModelBytes: 4_000_000,
  maxMacs: record.maxMacs,
  trainCount: record.dataset.train,
  validationCount: record.dataset.validation,
};

const pixels = DESCRIPTOR.template.input.reduce((product, dim) => product * dim, 1);
const samples = (count: number) => ({ count, pixels: new Uint8Array(count * pixels), labels: new Uint8Array(count) });
const VALIDATION = samples(record.dataset.validation);
const TEST = samples(record.dataset.test);
const TASK = 1n;

/** MAC/s at which `trials` networks of the greatest cost are trained in so many milliseconds. */
export function speedFor(trials: number, ms: number): number {
  const { maxMacs, settings, trainCount } = DESCRIPTOR;
  return (1000 * trials * maxMacs! * settings.epochs * trainCount) / ms;
}

export async function runHistory(options: HistoryOptions): Promise<History> {
  const { database, trials, seed, phaseMs, rules, strategy, scheme = { name: "effort" }, crashes = [] } = options;
  const { sweepMs = 10_000, count = false, over } = options;
  const realModels = scheme.name === "performance" || scheme.name === "blend";
  await database.empty();
  const lines: string[] = [];
  const acknowledged: Acknowledged[] = [];
  let moving = 0;
  let moves = 0;
  const time = createVirtualTime(START, {
    pending: () => moving + database.pending(),
    get count() {
      return moves + database.count();
    },
  });
  const note = (line: string): void => void lines.push(`${time.now() - START} ${line}`);

  const known = new Map<string, { root: Hex; architecture: Architecture; correct: number }>();
  const keyOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64");
  const evaluate: Evaluate = (bytes, { count: total }) => {
    const { root, architecture, correct } = known.get(keyOf(bytes))!;
    const right = total === TEST.count && total !== VALIDATION.count ? 0 : correct;
    const counted = counting ? trials.testCorrect(architecture) : right;
    return Promise.resolve({ correct: counted, total, malformed: null, modelRoot: root } as never);
  };
  let counting = false;

  const task: PoolTask = {
    taskId: TASK,
    descriptor: DESCRIPTOR,
    validation: VALIDATION,
    endsAt: START + phaseMs,
  };
  let manager: PoolManager | null = null;
  let under: FusedDatabase | null = null;
  const underIsBlown = (): boolean => under?.blown ?? false;

  async function startManager(): Promise<void> {
    const own = (under = database.fused());
    const made = createPoolManager({
      database: own,
      identity: IDENTITY,
      receiptKey: RECEIPT_KEY,
      evaluate,
      seed,
      log: SILENT,
      // What the audit desk does without news it does by the machine's time, which is not a history's.
      rules: { collectPerSecond: 0, paceMs: 0, lookMs: 3_600_000, ...rules },
      strategy,
      scheme,
      auditSecret: (taskId) => tag(`audit ${seed} ${taskId}`),
      clock: time.now,
    });
    manager = {
      ...made,
      // A killed process says nothing more, not even that something failed.
      connect: ({ send, close }) =>
        made.connect({
          send: (text) => void (own.blown || send(text)),
          close: (...why) => void (own.blown || close(...why)),
        }),
    };
    await manager.openTask(task);
  }

  const miners = options.miners.map((spec) =>
    createSimulatedMiner(spec, {
      time,
      trials,
      seed,
      trainCount: DESCRIPTOR.trainCount,
      validationCount: DESCRIPTOR.validationCount,
      realModels,
      register: (bytes, root, architecture, correct) => known.set(keyOf(bytes), { root, architecture, correct }),
      note,
      acknowledged: (share) => acknowledged.push(share),
      moved: (change) => {
        moving += change;
        moves++;
      },
    }),
  );

  let crashed = 0;
  async function kill(downMs: number): Promise<void> {
    if (manager === null) return;
    const dead = manager;
    manager = null;
    moving++;
    crashed++;
    note("the manager is killed");
    under!.blow();
    for (const miner of miners) miner.cutOff();
    // Ends what would only be waiting in this process; it can neither write nor say anything any more.
    await dead.stop();
    moving--;
    moves++;
    time.at(time.now() + downMs, async () => {
      await startManager();
      note("the manager is back");
      for (const miner of miners) if (START + miner.spec.joinsAt <= time.now()) miner.connect(manager!);
    });
  }

  await startManager();
  for (const miner of miners) {
    const { joinsAt, leavesAt, stalls = [] } = miner.spec;
    time.at(START + joinsAt, () => (manager === null ? undefined : miner.connect(manager)));
    if (leavesAt !== null) {
      time.at(START + leavesAt, () => {
        note(`${miner.spec.name} leaves`);
        miner.leave();
      });
    }
    for (const [from, to] of stalls) {
      time.at(START + from, () => miner.stall());
      time.at(START + to, () => miner.recover());
    }
  }
  for (const { at, statements, downMs } of crashes) {
    time.at(START + at, () => {
      if (manager === null) return;
      if (statements === 0) return kill(downMs);
      // Now, and not in its turn: nobody answers any more, which everything would wait for.
      under!.blowAfter(statements, () => setImmediate(() => void kill(downMs)));
    });
  }
  async function sweep(): Promise<void> {
    await manager?.sweep().catch((error: unknown) => {
      if (!underIsBlown()) throw error;
    });
  }

  // The product's manager looks around every second; here it does so now and then, and when it takes one to have left.
  const looks = new Set<number>();
  for (let at = sweepMs; at < phaseMs; at += sweepMs) looks.add(at);
  const lingerMs = rules?.lingerMs ?? DEFAULT_RULES.lingerMs;
  for (const { leavesAt } of options.miners) if (leavesAt !== null) looks.add(leavesAt + lingerMs + LOOK_MS);
  for (const at of [...looks].filter((one) => one < phaseMs).sort((a, b) => a - b)) {
    await time.runUntil(START + at);
    await sweep();
    await time.settle();
    if (over === undefined || at < over.from || manager === null) continue;
    if (over.when(await under!.queries.select().from(parts))) break;
  }
  if (over === undefined) await time.runUntil(START + phaseMs);
  if (manager === null) await startManager();
  const last = manager! as PoolManager;
  await last.closeTask("The training phase is over.");
  await time.settle();
  let points: PointsLeaf[] = [];
  let sharesFile: Uint8Array | null = null;
  if (count) {
    counting = true;
    const waits = last.points(TASK, { test: TEST, signal: new AbortController().signal, until: time.now() + 60_000 });
    await time.settle();
    await time.runUntil(time.now() + 60_000);
    points = await waits;
    if (points.length > 0) sharesFile = await last.sharesFile(TASK);
  }
  const { queries } = under!;
  const rows = await queries
    .select({ share: shares, part: leases.part, kind: leases.kind, parentShare: leases.parentShare })
    .from(shares)
    .innerJoin(leases, eq(leases.id, shares.leaseId))
    .orderBy(asc(shares.id));
  const decisions: Decision[] = [];
  for (;;) {
    const more = await last.decisions({ taskId: TASK, after: decisions.at(-1)?.id ?? 0, limit: 1000 });
    if (more.length === 0) break;
    decisions.push(...more);
  }
  const division = await queries.select().from(parts).orderBy(asc(parts.part));
  const known_ = await queries.select().from(accounts);
  await last.stop();
  const inventions = new Set(acknowledged.filter(({ invented }) => invented).map(({ lease }) => lease));
  for (const { id, at, kind, miner, part, lease, reason } of decisions) {
    lines.push(`decision ${id} ${at - START} ${kind} ${miner} ${part} ${lease} ${reason}`);
  }
  for (const { account, points: sum } of points) lines.push(`points ${account} ${sum}`);
  return {
    hash: createHash("sha256").update(lines.join("\n")).digest("hex"),
    lines,
    acknowledged,
    shares: rows.map(({ share, ...lease }) => ({ ...share, ...lease, invented: inventions.has(share.leaseId) })),
    parts: division,
    decisions,
    points,
    sharesFile,
    miners,
    crashes: crashed,
    banned: new Set(known_.filter(({ bannedAt }) => bannedAt !== null).map(({ address }) => address)),
    endsAt: time.now(),
  };
}
