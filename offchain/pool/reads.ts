/** What the pool's database tells of a task's search, for the manager's chain side and for people who watch. */
import { and, asc, count, eq, gt, inArray, sql } from "drizzle-orm";

import type { Address, Hex } from "../protocol/bytes.ts";
import type { Queries } from "./database.ts";
import { bestShare, isStrong, type LeaseTask } from "./leases.ts";
import { MAX_STANDINGS, type ShareStanding, type Tally } from "./messages.ts";
import type { AuditState } from "./points-schemes.ts";
import type { PoolRules } from "./rules.ts";
import { leases, models, sessions, shares } from "./schema.ts";

export interface BestModel {
  readonly modelRoot: Hex;
  readonly bytes: Uint8Array;
  readonly validation: Tally;
  readonly miner: Address;
  readonly lease: number;
}

export interface AcceptedShare {
  readonly lease: number;
  readonly miner: Address;
  readonly kind: "explore" | "exploit";
  readonly modelRoot: Hex;
  readonly validation: Tally;
  /** Unix time in milliseconds */
  readonly acceptedAt: number;
  readonly voided: boolean;
  readonly audit: AuditState;
  /** why it counts for less than it might */
  readonly reason: string | null;
  /** null until the test set is released and counted */
  readonly testCorrect: number | null;
  readonly points: bigint | null;
}

/** One connected miner's session, for people who watch. */
export interface SessionStatus {
  readonly miner: Address;
  readonly client: string;
  readonly strong: boolean | null;
  /** MAC/s */
  readonly speed: number;
  /** the trial it is on, null where it waits */
  readonly trial: { readonly lease: number; readonly kind: "explore" | "exploit"; readonly epoch: number } | null;
}

export interface PoolStatus {
  readonly taskId: bigint | null;
  readonly best: { readonly validation: Tally; readonly miner: Address; readonly modelRoot: Hex } | null;
  readonly shares: number;
  readonly sessions: readonly SessionStatus[];
  /** best validation of each miner that has an accepted share in the task */
  readonly bestOf: readonly { readonly miner: Address; readonly validation: Tally; readonly shares: number }[];
}

/** The best accepted model of a task, or null. */
export async function readBest(queries: Queries, taskId: bigint): Promise<BestModel | null> {
  const share = await bestShare(queries, taskId);
  if (share === undefined) return null;
  const { modelRoot, miner, leaseId: lease, correct, total } = share;
  const [model] = await queries
    .select({ bytes: models.bytes })
    .from(models)
    .where(and(eq(models.taskId, taskId), eq(models.modelRoot, modelRoot)));
  return { modelRoot, bytes: model!.bytes, validation: { correct, total }, miner, lease };
}

/** All accepted shares of a task in the order in which they came. */
export async function readShares(queries: Queries, taskId: bigint): Promise<AcceptedShare[]> {
  const rows = await queries
    .select({ share: shares, kind: leases.kind })
    .from(shares)
    .innerJoin(leases, eq(leases.id, shares.leaseId))
    .where(eq(shares.taskId, taskId))
    .orderBy(asc(shares.id));
  return rows.map(({ share, kind }) => {
    const { leaseId: lease, miner, modelRoot, correct, total, acceptedAt } = share;
    const { voided, audit, reason, testCorrect, points } = share;
    const validation = { correct, total };
    return { lease, miner, kind, modelRoot, validation, acceptedAt, voided, audit, reason, testCorrect, points };
  });
}

/** What has become of a miner's shares in a task, ascending by lease, those after one of them. */
export async function readStandings(
  queries: Queries,
  { taskId, miner, after }: { readonly taskId: bigint; readonly miner: Address; readonly after: number },
): Promise<ShareStanding[]> {
  const rows = await queries
    .select()
    .from(shares)
    .where(and(eq(shares.taskId, taskId), eq(shares.miner, miner), gt(shares.leaseId, after)))
    .orderBy(asc(shares.leaseId))
    .limit(MAX_STANDINGS);
  return rows.map(({ leaseId: lease, modelRoot, correct, total, points, ...row }) => {
    const { audit, voided, reason, testCorrect, baseline } = row;
    const validation = { correct, total };
    return {
      lease,
      modelRoot,
      validation,
      audit,
      voided,
      reason,
      testCorrect,
      baseline,
      points: points?.toString() ?? null,
    };
  });
}

/** @param online ids of the sessions that are connected */
export async function readStatus(
  queries: Queries,
  task: LeaseTask | null,
  online: readonly string[],
  rules: PoolRules,
): Promise<PoolStatus> {
  const connected = await readSessions(queries, task, online, rules);
  if (task === null) return { taskId: null, best: null, shares: 0, sessions: connected, bestOf: [] };
  const best = await bestShare(queries, task.taskId);
  const rows = await queries
    .select({
      miner: shares.miner,
      correct: sql<number>`max(${shares.correct})`.mapWith(Number),
      total: sql<number>`max(${shares.total})`.mapWith(Number),
      accepted: count(),
    })
    .from(shares)
    .where(eq(shares.taskId, task.taskId))
    .groupBy(shares.miner)
    .orderBy(asc(shares.miner));
  const bestOf = rows.map(({ miner, correct, total, accepted }) => ({
    miner,
    validation: { correct, total },
    shares: accepted,
  }));
  return {
    taskId: task.taskId,
    best:
      best === undefined
        ? null
        : { validation: { correct: best.correct, total: best.total }, miner: best.miner, modelRoot: best.modelRoot },
    shares: rows.reduce((sum, row) => sum + row.accepted, 0),
    sessions: connected,
    bestOf,
  };
}

async function readSessions(
  queries: Queries,
  task: LeaseTask | null,
  online: readonly string[],
  rules: PoolRules,
): Promise<SessionStatus[]> {
  if (online.length === 0) return [];
  const rows = await queries
    .select({ session: sessions, lease: leases })
    .from(sessions)
    .leftJoin(leases, and(eq(leases.sessionId, sessions.id), eq(leases.state, "live")))
    .where(inArray(sessions.id, [...online]))
    .orderBy(asc(sessions.miner), asc(sessions.id));
  return rows.map(({ session: { miner, client, speed }, lease }) => ({
    miner,
    client,
    speed,
    strong: task === null ? null : isStrong(task, speed, rules),
    trial: lease === null ? null : { lease: lease.id, kind: lease.kind, epoch: lease.epoch },
  }));
}
