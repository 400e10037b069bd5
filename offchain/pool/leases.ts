/**
 * Leases: who runs which trial until when. A lease that its miner lets go is handed out again; nothing about a lease
 * is kept in memory. Every function takes the transaction it works in.
 */
import { and, asc, count, desc, eq, inArray, lt, ne, or, sql } from "drizzle-orm";

import type { Queries } from "./database.ts";
import type { Job } from "./messages.ts";
import { WHOLE_SPACE, type Proposal, type Proposer } from "./proposals.ts";
import type { PoolRules } from "./rules.ts";
import { checkpoints, leases, shares, type LeaseRow, type SessionRow, type ShareRow } from "./schema.ts";
import { trialMs, type PoolTaskDescriptor } from "./task.ts";

export interface LeaseTask {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly subspaceCount: number;
  readonly openedAt: number;
  readonly endsAt: number;
  /** a typical architecture's trial takes typicalMacs / speed seconds */
  readonly typicalMacs: number;
}

/** Strong = can finish its subspace's budget of trials in the time that the task gives (paper §3). */
export function isStrong(task: LeaseTask, speed: number, rules: PoolRules): boolean {
  return (1000 * rules.strongTrials * task.typicalMacs) / speed <= task.endsAt - task.openedAt;
}

/** The best accepted share: most validation samples right, the earlier one of equals. */
export async function bestShare(queries: Queries, taskId: bigint): Promise<ShareRow | undefined> {
  const [best] = await queries
    .select()
    .from(shares)
    .where(eq(shares.taskId, taskId))
    .orderBy(desc(shares.correct), asc(shares.id))
    .limit(1);
  return best;
}

/**
 * Marks the leases whose time has run out.
 * @returns the sessions that were heard of to the last, but took too long: they may go on with something else
 */
export async function expireLeases(queries: Queries, taskId: bigint, now: number): Promise<string[]> {
  const rows = await queries
    .update(leases)
    .set({ state: "expired" })
    .where(
      and(eq(leases.taskId, taskId), eq(leases.state, "live"), or(lt(leases.heartbeatBy, now), lt(leases.endsAt, now))),
    )
    .returning({ sessionId: leases.sessionId, heartbeatBy: leases.heartbeatBy });
  return rows.filter(({ heartbeatBy }) => heartbeatBy >= now).map(({ sessionId }) => sessionId);
}

/**
 * The session's lease: the one it has, its last one where nobody else has taken that over, else one that another
 * miner let go, else a new trial.
 */
export async function nextLease(
  queries: Queries,
  options: {
    readonly task: LeaseTask;
    readonly session: SessionRow;
    readonly now: number;
    readonly rules: PoolRules;
    readonly proposer: Proposer;
  },
): Promise<LeaseRow> {
  const { task, session, now, rules, proposer } = options;
  const { taskId } = task;
  await expireLeases(queries, taskId, now);
  const inTask = eq(leases.taskId, taskId);
  const [own] = await queries
    .select()
    .from(leases)
    .where(and(inTask, eq(leases.sessionId, session.id), inArray(leases.state, ["live", "expired"])))
    .orderBy(desc(leases.id))
    .limit(1);
  if (own !== undefined && own.endsAt > now) return (await keepAlive(queries, own, now, rules))!;

  const best = await bestShare(queries, taskId);
  const strong = isStrong(task, session.speed, rules);
  const exploits = !strong && best !== undefined;
  const proposal = (await takeOver()) ?? (await propose());
  const expected = trialMs(proposal.architecture, proposal.settings, task.descriptor.trainCount, session.speed);
  const [lease] = await queries
    .insert(leases)
    .values({
      taskId,
      sessionId: session.id,
      miner: session.miner,
      ...proposal,
      state: "live",
      issuedAt: now,
      heartbeatBy: now + rules.heartbeatMs,
      endsAt: Math.round(Math.min(task.endsAt, now + Math.max(rules.minLeaseMs, rules.leaseSlack * expected))),
    })
    .returning();
  return lease!;

  async function takeOver(): Promise<(Proposal & { attempt: number }) | undefined> {
    const [left] = await queries
      .select()
      .from(leases)
      .where(
        and(
          inTask,
          eq(leases.state, "expired"),
          // What this session was too slow for, it does not get a second time.
          ne(leases.sessionId, session.id),
          lt(leases.attempt, rules.maxAttempts),
          eq(leases.kind, exploits ? "exploit" : "explore"),
        ),
      )
      .orderBy(asc(leases.id))
      .limit(1);
    if (left === undefined) return undefined;
    await queries.update(leases).set({ state: "reissued" }).where(eq(leases.id, left.id));
    const { kind, part, architecture, seed, settings, parentShare, continues, attempt } = left;
    return { kind, part, architecture, seed, settings, parentShare, continues, attempt: attempt + 1 };
  }

  async function propose(): Promise<Proposal> {
    const [row] = await queries.select({ issued: count() }).from(leases).where(inTask);
    const index = row!.issued;
    if (exploits) return proposer.exploit(best!, index);
    return proposer.explore(queries, strong ? await partOf() : WHOLE_SPACE, index);
  }

  /** The session's subspace: the one it has been on, else the next one nobody was given, round and round. */
  async function partOf(): Promise<number> {
    if (task.subspaceCount === 0) return WHOLE_SPACE;
    const given = await queries
      .selectDistinctOn([leases.sessionId], { sessionId: leases.sessionId, part: leases.part })
      .from(leases)
      .where(and(inTask, eq(leases.kind, "explore"), ne(leases.part, WHOLE_SPACE)))
      .orderBy(leases.sessionId, asc(leases.id));
    const mine = given.find((row) => row.sessionId === session.id);
    return mine?.part ?? given.length % task.subspaceCount;
  }
}

/**
 * Takes a sign of life: moves the lease's next deadline, and revives it where it ran out and nobody has it yet.
 * Returns undefined where it is no longer the miner's.
 */
export async function keepAlive(
  queries: Queries,
  lease: Pick<LeaseRow, "id">,
  now: number,
  rules: PoolRules,
  epoch?: number,
): Promise<LeaseRow | undefined> {
  const [row] = await queries
    .update(leases)
    .set({ state: "live", heartbeatBy: now + rules.heartbeatMs, ...(epoch === undefined ? {} : { epoch }) })
    .where(and(eq(leases.id, lease.id), inArray(leases.state, ["live", "expired"]), sql`${leases.endsAt} > ${now}`))
    .returning();
  return row;
}

/** The lease as its miner is told of it. */
export async function jobOf(queries: Queries, lease: LeaseRow): Promise<Job> {
  const { id, taskId, kind, architecture, seed, settings, parentShare, continues, heartbeatBy, endsAt } = lease;
  const { resumes, epochsBefore } = lease;
  let initial: Job["initial"] = null;
  if (resumes !== null) {
    const [left] = await queries
      .select({ modelRoot: checkpoints.modelRoot })
      .from(checkpoints)
      .where(eq(checkpoints.leaseId, resumes));
    initial = { modelRoot: left!.modelRoot, validation: null };
  } else if (continues) {
    const [parent] = await queries.select().from(shares).where(eq(shares.id, parentShare!));
    initial = { modelRoot: parent!.modelRoot, validation: { correct: parent!.correct, total: parent!.total } };
  }
  return { lease: id, taskId, kind, architecture, seed, settings, initial, epochsBefore, heartbeatBy, endsAt };
}
