/**
 * The parts of a task's space and who holds them. A part belongs to one strong miner's session: over reconnections and
 * restarts, until it leaves or turns weak. Every function takes the transaction it works in.
 */
import { and, asc, desc, eq, inArray, isNotNull, isNull, sql } from "drizzle-orm";

import { HYPERPARAMETERS, type Space } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import { createPartition, PAPER_SUBSPACES, randomSubsets } from "../search/partition.ts";
import { spaceByName, spaceSize, isMember, type SearchSpace } from "../search/spaces.ts";
import { splitSpace } from "../search/split-space.ts";
import type { Queries } from "./database.ts";
import { decide } from "./decisions.ts";
import { shareSchema } from "./messages.ts";
import { chooseFree, isHigh } from "./plan.ts";
import { WHOLE_SPACE, type KnownTrial, type Proposer } from "./proposals.ts";
import { highestLow } from "./rewards.ts";
import type { PoolRules } from "./rules.ts";
import { leases, miners, parts, sessions, shares, type PartRow, type SessionRow } from "./schema.ts";
import type { PoolTaskDescriptor } from "./task.ts";

/** How a task's space is divided among strong miners; {@link openParts} and {@link partFor} say what each does. */
export const PARTITION_RULES = ["whole", "random-subsets", "paper", "disjoint", "adaptive"] as const;
export type PartitionRule = (typeof PARTITION_RULES)[number];

export interface PartitionTask {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly seed: number;
}

/** Of the trials that a part has seen, so many of the best are told to the searches of its halves. */
const MAX_KNOWN = 500;

export function partitionRule({ partition, subspaces }: PoolRules): PartitionRule {
  return partition ?? (subspaces > 0 ? "random-subsets" : "whole");
}

/** Binary logarithm of the number of a space's architectures. */
function bitsOf(space: SearchSpace, depth: number): number {
  const size = spaceSize(space, depth);
  const digits = size.toString(2);
  // 53 leading bits are all that a double can tell.
  return size === 0n ? 0 : Math.log2(Number(BigInt(`0b${digits.slice(0, 53)}`))) + Math.max(0, digits.length - 53);
}

const randomOf = ({ taskId, seed }: PartitionTask, what: string) => createRandom(`${seed}/${taskId}/${what}`);

/**
 * The parts that a task begins with: as many as `subspaces` says, else one for every strong session that is there, and
 * at least one.
 *
 * - `whole`: none; everybody searches the whole space.
 * - `random-subsets`: Algorithm 1.
 * - `paper`: S1 … S9, of each what lies in the task's space; those of which nothing does are left out.
 * - `disjoint`, `adaptive`: parts that cover the space and do not overlap, in proportion to the sessions' speeds; parts
 *   beyond the number of sessions are as large as the slowest one's.
 * @param speeds of the strong sessions, in MAC/s
 */
export async function openParts(
  queries: Queries,
  task: PartitionTask,
  rules: PoolRules,
  speeds: readonly number[],
  now: number,
): Promise<SearchSpace[]> {
  const rule = partitionRule(rules);
  if (rule === "whole") return [];
  const { space, template } = task.descriptor;
  const count = Math.max(1, rules.subspaces > 0 ? rules.subspaces : speeds.length);
  const fastest = [...speeds].sort((a, b) => b - a).slice(0, count);
  const weights = Array.from({ length: count }, (_, i) => fastest[i] ?? fastest.at(-1) ?? 1);
  const sized = rule === "disjoint" || rule === "adaptive";
  const seed = randomOf(task, "partition").integer(2 ** 32);
  const made: SearchSpace[] =
    rule === "paper"
      ? paperSubspaces(space)
      : rule === "random-subsets"
        ? randomSubsets(space, count, seed)
        : createPartition("disjoint", { space, depth: template.depth, miners: count, seed, weights });
  const rows = made
    .map((own, i) => ({ space: own, weight: sized && speeds.length > 0 ? weights[i]! : null }))
    .filter(({ space: own }) => spaceSize(own, template.depth) > 0n)
    .map((own, part) => ({ taskId: task.taskId, part, bits: bitsOf(own.space, template.depth), ...own }));
  if (rows.length > 0) await queries.insert(parts).values(rows);
  await decide(queries, task.taskId, now, [
    {
      kind: "partition",
      reason: `The space is divided into ${rows.length} parts by ${rule}, for ${speeds.length} strong miners that are there.`,
      figures: { bits: rows.map(({ bits }) => bits) },
    },
  ]);
  return rows.map((row) => row.space);
}

/** The paper's subspaces within a space: models that are not of the task's space do not count. */
function paperSubspaces(space: Space): Space[] {
  return PAPER_SUBSPACES.map(spaceByName)
    .map(
      (own) =>
        Object.fromEntries(
          HYPERPARAMETERS.map((name) => [name, own[name].filter((choice) => space[name].includes(choice))]),
        ) as Space,
    )
    .filter((own) => HYPERPARAMETERS.every((name) => own[name].length > 0));
}

/** The part that a session holds. */
export async function heldPart(queries: Queries, taskId: bigint, sessionId: string): Promise<PartRow | undefined> {
  const [row] = await queries
    .select()
    .from(parts)
    .where(and(eq(parts.taskId, taskId), eq(parts.sessionId, sessionId)));
  return row;
}

const isPart = (taskId: bigint, part: number) => and(eq(parts.taskId, taskId), eq(parts.part, part));

/** Gives a part to a session. */
export async function assignPart(
  queries: Queries,
  taskId: bigint,
  part: number,
  sessionId: string,
  keptUntil: number,
): Promise<void> {
  await queries
    .update(parts)
    .set({ sessionId, keptUntil, trialsBefore: sql`${parts.trials}` })
    .where(isPart(taskId, part));
}

/** Takes a part from whoever holds it; what was found in it stays. */
export async function releasePart(queries: Queries, taskId: bigint, part: number): Promise<void> {
  await queries.update(parts).set({ sessionId: null }).where(isPart(taskId, part));
}

/**
 * The part that a strong session without one gets (`chooseFree`). Where none is free: `random-subsets` draws one more
 * subset, `paper` begins S1 … S9 once more, and `disjoint` and `adaptive` split a part between its holder and the
 * newcomer, by their speeds: the one that would take its holder longest; `adaptive` of those with a high reward first.
 * @returns null where the space is not divided, or cannot be divided any more
 */
export async function partFor(
  queries: Queries,
  options: {
    readonly task: PartitionTask;
    readonly session: SessionRow;
    readonly rules: PoolRules;
    readonly proposer: Proposer;
    readonly now: number;
  },
): Promise<number | null> {
  const { task, session, rules, now } = options;
  const { taskId } = task;
  const rule = partitionRule(rules);
  if (rule === "whole") return null;
  const keptUntil = now + rules.heartbeatMs;
  const cut = await cutOf(queries, taskId);
  const free = await queries
    .select({ part: parts.part, best: parts.best, trials: parts.trials, weight: parts.weight })
    .from(parts)
    .where(and(eq(parts.taskId, taskId), isNull(parts.sessionId)));
  const chosen = chooseFree(free, cut, session.speed);
  if (chosen !== null) {
    const { part, best, trials } = chosen.part;
    await assignPart(queries, taskId, part, session.id, keptUntil);
    const because = {
      high: "it has a high reward and its miner has left, so it goes on first",
      new: "nobody has begun it, and its size is next to the miner's speed",
      left: "all others are taken, and of those left it is the best",
    }[chosen.why];
    await decide(queries, taskId, now, [
      {
        kind: "assign",
        miner: session.miner,
        sessionId: session.id,
        part,
        reason: `Part ${part} is ${session.miner}'s: ${because}.`,
        figures: { best, trials, speed: session.speed, free: free.length },
      },
    ]);
    return part;
  }
  return rule === "disjoint" || rule === "adaptive"
    ? splitFor(queries, options, await largest(queries, taskId, rule === "adaptive" ? cut : null))
    : addPart(queries, options, rule);
}

async function cutOf(queries: Queries, taskId: bigint): Promise<number | null> {
  const rows = await queries
    .select({ best: parts.best })
    .from(parts)
    .where(and(eq(parts.taskId, taskId), sql`${parts.trials} > 0`));
  return highestLow(rows.map(({ best }) => best));
}

/** The held part that takes its holder longest; of those with a reward above the cut, where there is one. */
async function largest(queries: Queries, taskId: bigint, cut: number | null): Promise<number | null> {
  const rows = await queries
    .select({ part: parts.part, bits: parts.bits, best: parts.best, trials: parts.trials, speed: sessions.speed })
    .from(parts)
    .innerJoin(sessions, eq(sessions.id, parts.sessionId))
    .where(and(eq(parts.taskId, taskId), isNotNull(parts.sessionId), sql`${parts.bits} > 0`))
    .orderBy(asc(parts.part));
  const promising = cut === null ? rows : rows.filter((row) => isHigh(row, cut));
  const from = promising.length > 0 ? promising : rows;
  const time = ({ bits, speed }: (typeof rows)[number]): number => bits - Math.log2(speed);
  return (
    from.reduce<(typeof rows)[number] | null>(
      (most, row) => (most === null || time(row) > time(most) ? row : most),
      null,
    )?.part ?? null
  );
}

async function addPart(
  queries: Queries,
  { task, session, rules, proposer, now }: Parameters<typeof partFor>[1],
  rule: "random-subsets" | "paper",
): Promise<number | null> {
  const { taskId } = task;
  const { space, template } = task.descriptor;
  const part = await nextNumber(queries, taskId);
  const own =
    rule === "paper" ? paperSubspaces(space) : randomSubsets(space, 1, randomOf(task, `part ${part}`).integer(2 ** 32));
  const chosen = own[part % Math.max(1, own.length)];
  if (chosen === undefined) return null;
  const keptUntil = now + rules.heartbeatMs;
  const bits = bitsOf(chosen, template.depth);
  await queries.insert(parts).values({ taskId, part, space: chosen, bits, sessionId: session.id, keptUntil });
  await proposer.restart(queries, part, chosen, []);
  await decide(queries, taskId, now, [
    {
      kind: "assign",
      miner: session.miner,
      sessionId: session.id,
      part,
      reason: `Part ${part} is ${session.miner}'s: no part was free, so one more was made by ${rule}.`,
      figures: { bits, speed: session.speed },
    },
  ]);
  return part;
}

async function nextNumber(queries: Queries, taskId: bigint): Promise<number> {
  const [last] = await queries
    .select({ part: parts.part })
    .from(parts)
    .where(eq(parts.taskId, taskId))
    .orderBy(desc(parts.part))
    .limit(1);
  return (last?.part ?? -1) + 1;
}

/**
 * Splits a part between its holder and another session, which gets the new one. Both searches begin with the trials
 * that lie in their half.
 * @returns the new part's number, or null where there is nothing to split
 */
export async function splitFor(
  queries: Queries,
  { task, session, rules, proposer, now }: Parameters<typeof partFor>[1],
  split: number | null,
): Promise<number | null> {
  if (split === null) return null;
  const { taskId } = task;
  const { depth } = task.descriptor.template;
  const [row] = await queries
    .select({ part: parts, speed: sessions.speed, miner: sessions.miner })
    .from(parts)
    .innerJoin(sessions, eq(sessions.id, parts.sessionId))
    .where(isPart(taskId, split));
  if (row === undefined) return null;
  const part = await nextNumber(queries, taskId);
  const share = session.speed / (session.speed + row.speed);
  const halves = splitSpace(row.part.space, depth, share, randomOf(task, `split ${part}`));
  if (halves === null) return null;
  const known = await knownTrials(queries, taskId, split);
  const half = (space: SearchSpace): Half => {
    const own = known.filter(({ architecture }) => isMember(architecture, space));
    return {
      space,
      own,
      best: own.reduce((most, { reward }) => Math.max(most, reward), 0),
      bits: bitsOf(space, depth),
    };
  };
  const [kept, given] = [half(halves[0]), half(halves[1])];
  const keptUntil = now + rules.heartbeatMs;
  await queries
    .update(parts)
    .set({ space: kept.space, bits: kept.bits, best: kept.best, trialsBefore: row.part.trials, weight: row.speed })
    .where(isPart(taskId, split));
  await queries.insert(parts).values({
    taskId,
    part,
    space: given.space,
    bits: given.bits,
    parent: split,
    weight: session.speed,
    best: given.best,
    sessionId: session.id,
    keptUntil,
  });
  await proposer.restart(queries, split, kept.space, kept.own);
  await proposer.restart(queries, part, given.space, given.own);
  await decide(queries, taskId, now, [
    {
      kind: "split",
      miner: row.miner,
      part: split,
      reason: `Part ${split} is split, since no part is free for ${session.miner}: ${row.miner} goes on with what is left of it.`,
      figures: { best: row.part.best, bits: row.part.bits, bitsLeft: kept.bits, bitsGiven: given.bits },
    },
    {
      kind: "assign",
      miner: session.miner,
      sessionId: session.id,
      part,
      reason: `Part ${part}, split off part ${split}, is ${session.miner}'s; its size follows the two miners' speeds.`,
      figures: { bits: given.bits, share, known: given.own.length },
    },
  ]);
  return part;
}

/**
 * Begins the searches anew that were told of what banned miners have reported: the whole space's, that of each part it
 * was reported of, and for an exploit trial that of each part its network lies in. Once for each miner and task.
 */
export async function disbelieveLiars(
  queries: Queries,
  { taskId, descriptor }: PartitionTask,
  proposer: Proposer,
  now: number,
): Promise<void> {
  const liars = await queries
    .select({ miner: miners.address })
    .from(miners)
    .where(
      and(
        isNotNull(miners.bannedAt),
        sql`EXISTS (SELECT 1 FROM shares WHERE task_id = ${taskId} AND miner = ${miners.address} AND voided)`,
        sql`NOT EXISTS (SELECT 1 FROM decisions WHERE task_id = ${taskId} AND miner = ${miners.address} AND kind = 'disbelieve')`,
      ),
    )
    .orderBy(asc(miners.address));
  for (const { miner } of liars) {
    const told = await queries
      .select({ part: leases.part, architecture: leases.architecture })
      .from(shares)
      .innerJoin(leases, eq(leases.id, shares.leaseId))
      .where(and(eq(shares.taskId, taskId), eq(shares.miner, miner), eq(shares.voided, true)));
    const rows = await queries.select().from(parts).where(eq(parts.taskId, taskId)).orderBy(asc(parts.part));
    const misled = rows.filter((row) =>
      told.some(({ part, architecture }) =>
        part === null || part === WHOLE_SPACE ? isMember(architecture, row.space) : part === row.part,
      ),
    );
    await proposer.restart(queries, WHOLE_SPACE, descriptor.space, await knownTrials(queries, taskId, null));
    for (const { part, space } of misled) {
      const known = (await knownTrials(queries, taskId, part)).filter(({ architecture }) =>
        isMember(architecture, space),
      );
      const best = known.reduce((most, { reward }) => Math.max(most, reward), 0);
      await queries.update(parts).set({ best, trials: known.length, trialsBefore: 0 }).where(isPart(taskId, part));
      await proposer.restart(queries, part, space, known);
    }
    await decide(queries, taskId, now, [
      {
        kind: "disbelieve",
        miner,
        reason: `The searches that heard of the trials of ${miner} begin anew without them: it is banned.`,
        figures: { trials: told.length, parts: misled.map(({ part }) => part) },
      },
    ]);
  }
}

interface Half {
  readonly space: SearchSpace;
  readonly own: readonly KnownTrial[];
  readonly best: number;
  readonly bits: number;
}

/**
 * The accepted trials of a part and of those that it was split off, the best ones; in the order in which they came.
 * @param part null: of the whole task
 */
async function knownTrials(queries: Queries, taskId: bigint, part: number | null): Promise<KnownTrial[]> {
  const all = await queries
    .select({ part: parts.part, parent: parts.parent })
    .from(parts)
    .where(eq(parts.taskId, taskId));
  const parentOf = new Map(all.map((row) => [row.part, row.parent]));
  const line: number[] = [];
  for (let at: number | null = part; at !== null; at = parentOf.get(at) ?? null) line.push(at);
  const rows = await queries
    .select({ id: shares.id, share: shares.share, correct: shares.correct, total: shares.total })
    .from(shares)
    .innerJoin(leases, eq(leases.id, shares.leaseId))
    .where(
      and(eq(shares.taskId, taskId), part === null ? undefined : inArray(leases.part, line), eq(shares.voided, false)),
    )
    .orderBy(desc(shares.correct), asc(shares.id))
    .limit(MAX_KNOWN);
  return rows
    .sort((a, b) => a.id - b.id)
    .map(({ share, correct, total }) => ({
      architecture: shareSchema.parse(share).architecture,
      reward: correct / total,
    }));
}
