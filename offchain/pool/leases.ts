/**
 * Leases: who runs which trial until when. A lease that its miner lets go is handed out again; nothing about a lease
 * is kept in memory. Every function takes the transaction it works in, and many leases where there may be many.
 */
import { and, asc, desc, eq, inArray, isNull, lt, ne, or, sql } from "drizzle-orm";

import type { Architecture } from "../protocol/architecture.ts";
import type { Address } from "../protocol/bytes.ts";
import type { TrainingSettings } from "../training/settings.ts";
import { checkpointOf, settingsAfter } from "./checkpoints.ts";
import type { Queries } from "./database.ts";
import { given, insertAllReturning, isAnyOf } from "./database-bulk.ts";
import { decide, type DecisionKind, type NewDecision } from "./decisions.ts";
import type { Job } from "./messages.ts";
import { heldPart, partFor, partitionRule, releasePart, type PartitionTask } from "./parts.ts";
import { WHOLE_SPACE, type Proposal, type Proposer } from "./proposals.ts";
import type { PoolRules } from "./rules.ts";
import {
  checkpoints,
  leases,
  parts,
  roles,
  sessions,
  shares,
  type LeaseRow,
  type SessionRow,
  type ShareRow,
} from "./schema.ts";
import { trialMacs, trialMs } from "./task.ts";

export interface LeaseTask extends PartitionTask {
  readonly openedAt: number;
  readonly endsAt: number;
  /** a typical architecture's trial takes typicalMacs / speed seconds */
  readonly typicalMacs: number;
}

/** Trials that a miner of this speed (MAC/s) can finish in the time that the task gives. */
export function trialsOf(task: LeaseTask, speed: number): number {
  return ((task.endsAt - task.openedAt) * speed) / (1000 * task.typicalMacs);
}

/** Strong = can finish its subspace's budget of trials in the time that the task gives (paper §3). */
export function isStrong(task: LeaseTask, speed: number, rules: PoolRules): boolean {
  return trialsOf(task, speed) >= rules.strongTrials;
}

/** A strong miner turns weak under this share of the budget, so that one at the edge does not change with every trial. */
const HYSTERESIS = 0.8;
/** A speed that a lease has disproved weighs as much as all measured before. */
const SPEED_WEIGHT = 0.5;

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
 * Marks the leases whose time has run out. A miner that was heard of to the last, but took too long, is slower than it
 * was taken for: its speed is at most the trial's cost over the time it had.
 * @returns the sessions of those miners: they may go on with something else
 */
export async function expireLeases(
  queries: Queries,
  { taskId, descriptor }: Pick<LeaseTask, "taskId" | "descriptor">,
  now: number,
): Promise<string[]> {
  const rows = await queries
    .update(leases)
    .set({ state: "expired" })
    .where(
      and(eq(leases.taskId, taskId), eq(leases.state, "live"), or(lt(leases.heartbeatBy, now), lt(leases.endsAt, now))),
    )
    .returning();
  const slow = rows.filter(({ heartbeatBy }) => heartbeatBy >= now);
  for (const { sessionId, architecture, settings, issuedAt } of slow) {
    const macs = trialMacs(architecture, settings.epochs, descriptor.trainCount);
    const most = (1000 * macs) / Math.max(1, now - issuedAt);
    await queries
      .update(sessions)
      .set({
        speed: sql`least(${sessions.speed}, CASE WHEN ${sessions.measured} = 0 THEN ${most}::double precision
                   ELSE ${sessions.speed} * ${1 - SPEED_WEIGHT}::double precision + ${SPEED_WEIGHT * most}::double precision END)`,
        measured: sql`${sessions.measured} + 1`,
      })
      .where(eq(sessions.id, sessionId));
  }
  await decide(
    queries,
    taskId,
    now,
    rows.map(({ id, sessionId, miner, part, heartbeatBy, epoch }) => ({
      kind: "expire",
      miner,
      sessionId,
      part,
      leaseId: id,
      reason:
        heartbeatBy < now
          ? `Lease ${id} is free again: ${miner} has been silent for too long.`
          : `Lease ${id} is free again: ${miner} has taken longer than it may.`,
      figures: { epoch },
    })),
  );
  return slow.map(({ sessionId }) => sessionId);
}

/** Of a lease that nobody has yet. */
type Terms = Proposal & {
  readonly attempt?: number;
  readonly resumes?: number | null;
  readonly epochsBefore?: number;
};

/**
 * Each session's lease: the one it has, its last one where nobody else has taken that over, else one that another
 * miner let go, else a new trial.
 * @param options.sessions each once; they are served in this order
 * @returns the leases in the order of the sessions
 */
export async function nextLeases(
  queries: Queries,
  options: {
    readonly task: LeaseTask;
    readonly sessions: readonly SessionRow[];
    readonly now: number;
    readonly rules: PoolRules;
    readonly proposer: Proposer;
    /** marks the leases whose time has run out (`expireLeases`) */
    readonly expire: () => Promise<void>;
  },
): Promise<LeaseRow[]> {
  const { task, now, rules, proposer } = options;
  const { taskId, descriptor } = task;
  const ids = options.sessions.map(({ id }) => id);
  const kept = new Map<string, LeaseRow>();
  const owned = await lastLeases(queries, taskId, ids);
  for (const own of owned) {
    if ((own.state === "live" || own.state === "expired") && own.endsAt > now) {
      kept.set(own.sessionId, (await keepAlive(queries, own, now, rules))!);
    }
  }
  if (owned.some(({ state, sessionId }) => state === "live" && !kept.has(sessionId))) await options.expire();
  const wanting = options.sessions.filter(({ id }) => !kept.has(id));
  if (wanting.length === 0) return ids.map((id) => kept.get(id)!);

  const [known, isAnyLeft] = await Promise.all([
    queries
      .select()
      .from(roles)
      .where(and(eq(roles.taskId, taskId), isAnyOf(roles.sessionId, ids))),
    isAnyLeftOver(queries, taskId, rules),
  ]);
  const roleOf = new Map(known.map((role) => [role.sessionId, role]));
  let best: Promise<ShareRow | undefined> | undefined;
  const rows: Omit<LeaseRow, "id">[] = [];
  const made: NewDecision[] = [];
  await proposer.together(queries, async () => {
    for (const session of wanting) rows.push(await rowFor(session));
  });
  const rowOf = new Map(rows.map((row) => [row.sessionId, row]));
  for (const { id, sessionId } of await insertAllReturning(queries, leases, rows, ["id", "sessionId"])) {
    kept.set(sessionId, { id, ...rowOf.get(sessionId)! });
  }
  const leaseOf = ({ sessionId, kind }: NewDecision): number | undefined =>
    isOfLease(kind) ? kept.get(sessionId!)!.id : undefined;
  await decide(
    queries,
    taskId,
    now,
    made.map((one) => ({ ...one, leaseId: leaseOf(one) })),
  );
  return ids.map((id) => kept.get(id)!);

  async function rowFor(session: SessionRow): Promise<Omit<LeaseRow, "id">> {
    const { strong, part } = await roleFor(session);
    const parent = strong ? undefined : await (best ??= bestShare(queries, taskId));
    const terms =
      (isAnyLeft ? await takeOver(session, parent) : undefined) ?? (await propose(session, strong, part, parent));
    const expected = trialMs(terms.architecture, terms.settings, descriptor.trainCount, session.speed);
    return {
      taskId,
      sessionId: session.id,
      miner: session.miner,
      attempt: 1,
      resumes: null,
      epochsBefore: 0,
      ...terms,
      state: "live",
      epoch: 0,
      shareDigest: null,
      refusal: null,
      issuedAt: now,
      heartbeatBy: now + rules.heartbeatMs,
      endsAt: Math.round(Math.min(task.endsAt, now + Math.max(rules.minLeaseMs, rules.leaseSlack * expected))),
    };
  }

  /** Strong or weak by the speed that is known by now, and the part that the session holds, or gets, if it is strong. */
  async function roleFor(session: SessionRow): Promise<{ strong: boolean; part: number }> {
    const { miner } = session;
    const isWhole = partitionRule(rules) === "whole";
    const before = roleOf.get(session.id);
    const can = trialsOf(task, session.speed);
    const needs = rules.strongTrials * (before?.strong === true ? HYSTERESIS : 1);
    const isStrongNow = can >= needs;
    if (before?.strong !== isStrongNow) {
      await queries
        .insert(roles)
        .values({ taskId, sessionId: session.id, strong: isStrongNow })
        .onConflictDoUpdate({ target: [roles.taskId, roles.sessionId], set: { strong: isStrongNow, backup: false } });
      const source = session.measured > 0 ? "as measured" : "as it claims";
      const decision = {
        kind: isStrongNow ? "strong" : "weak",
        miner,
        sessionId: session.id,
        reason: `${miner} is ${isStrongNow ? "strong" : "weak"}: it can finish ${can.toPrecision(3)} trials within the task, ${source}, and a part's budget is ${rules.strongTrials}.`,
        figures: { trials: can, needs, speed: session.speed, measured: session.measured },
      } as const;
      // What is decided about parts is written as it is, and comes after.
      if (isWhole) made.push(decision);
      else await decide(queries, taskId, now, [decision]);
    }
    if (isWhole) return { strong: isStrongNow, part: WHOLE_SPACE };
    const held = await heldPart(queries, taskId, session.id);
    if (isStrongNow)
      return {
        strong: true,
        part: held?.part ?? (await partFor(queries, { task, session, rules, proposer, now })) ?? WHOLE_SPACE,
      };
    if (held !== undefined) {
      await releasePart(queries, taskId, held.part);
      await decide(queries, taskId, now, [
        {
          kind: "release",
          miner,
          sessionId: session.id,
          part: held.part,
          reason: `Part ${held.part} is free: ${miner} has turned weak.`,
          figures: { trials: can, needs },
        },
      ]);
    }
    return { strong: false, part: WHOLE_SPACE };
  }

  /** A trial that another let go: of the session's own part before others, and of nobody else's. */
  async function takeOver(session: SessionRow, parent: ShareRow | undefined): Promise<Terms | undefined> {
    const { miner } = session;
    const [row] = await queries
      .select({ left: leases })
      .from(leases)
      .leftJoin(parts, and(eq(parts.taskId, leases.taskId), eq(parts.part, leases.part)))
      .where(
        and(
          eq(leases.taskId, taskId),
          eq(leases.state, "expired"),
          // What this session was too slow for, it does not get a second time.
          ne(leases.sessionId, session.id),
          lt(leases.attempt, rules.maxAttempts),
          eq(leases.kind, parent === undefined ? "explore" : "exploit"),
          or(isNull(parts.sessionId), eq(parts.sessionId, session.id)),
        ),
      )
      .orderBy(desc(sql`coalesce(${parts.sessionId} = ${session.id}, false)`), asc(leases.id))
      .limit(1);
    if (row === undefined) return undefined;
    const { left } = row;
    await queries.update(leases).set({ state: "reissued" }).where(eq(leases.id, left.id));
    const { kind, part: its, architecture, seed, parentShare, continues, attempt } = left;
    const checkpoint = rules.backups ? await checkpointOf(queries, left) : undefined;
    const done = checkpoint?.leaseId === left.id ? checkpoint.epochs : 0;
    const epochsBefore = checkpoint === undefined ? 0 : left.epochsBefore + done;
    // Without its checkpoint a trial that was itself gone on with would lack the epochs before it.
    const settings = checkpoint === undefined ? await firstSettings(left) : left.settings;
    made.push({
      kind: "reissue",
      miner,
      sessionId: session.id,
      part: its,
      reason:
        checkpoint === undefined
          ? `${miner} begins the trial of lease ${left.id} anew, which ${left.miner} has let go.`
          : `${miner} goes on with the trial of lease ${left.id}, which ${left.miner} has let go, after ${epochsBefore} epochs.`,
      figures: { before: left.id, attempt: attempt + 1, epochsBefore },
    });
    return {
      kind,
      part: its,
      architecture,
      seed,
      settings: done > 0 ? settingsAfter(settings, done) : settings,
      parentShare,
      continues,
      attempt: attempt + 1,
      resumes: checkpoint?.leaseId ?? null,
      epochsBefore,
    };
  }

  /** The whole recipe of a trial, of which a lease may have only the rest. */
  async function firstSettings(lease: LeaseRow): Promise<TrainingSettings> {
    let first = lease;
    while (first.resumes !== null) {
      [first] = (await queries.select().from(leases).where(eq(leases.id, first.resumes))) as [LeaseRow];
    }
    return first.settings;
  }

  async function propose(
    session: SessionRow,
    strong: boolean,
    part: number,
    parent: ShareRow | undefined,
  ): Promise<Proposal> {
    const { id: sessionId, miner } = session;
    const index = await proposer.number(queries);
    if (parent === undefined) {
      const proposal = await proposer.explore(queries, part, index);
      const where = proposal.part === WHOLE_SPACE ? "the whole space" : `part ${proposal.part}`;
      const why = strong
        ? part === proposal.part
          ? "it is strong"
          : `part ${part} has nothing new to offer`
        : "there is nothing to exploit yet";
      made.push({
        kind: "explore",
        miner,
        sessionId,
        part: proposal.part,
        reason: `${miner} explores ${where}: ${why}.`,
        figures: { index },
      });
      return proposal;
    }
    const fits = (architecture: Architecture, settings: TrainingSettings): boolean =>
      now + trialMs(architecture, settings, descriptor.trainCount, session.speed) < task.endsAt;
    const { how, ...proposal } = proposer.exploit(parent, index, fits);
    const what = {
      neighbour: "with one choice changed",
      reseed: "afresh, from another seed and at another rate",
      longer: "from its weights, for twice the epochs",
      continue: "from its weights, at a lower rate",
    }[how];
    made.push({
      kind: "exploit",
      miner,
      sessionId,
      part: proposal.part,
      reason: `${miner} is weak, and trains the best model, that of lease ${parent.leaseId}, ${what}.`,
      figures: { index, parent: parent.leaseId, correct: parent.correct, total: parent.total },
    });
    return proposal;
  }
}

const isOfLease = (kind: DecisionKind): boolean => kind === "explore" || kind === "exploit" || kind === "reissue";

/** The last lease that each session had in a task. */
async function lastLeases(
  queries: Queries,
  taskId: bigint,
  sessionIds: readonly string[],
): Promise<Pick<LeaseRow, "id" | "sessionId" | "state" | "endsAt">[]> {
  return queries
    .select({ id: leases.id, sessionId: leases.sessionId, state: leases.state, endsAt: leases.endsAt })
    .from(leases)
    .where(
      sql`${leases.id} IN (
        SELECT (SELECT l.id FROM leases l WHERE l.session_id = given.id AND l.task_id = ${taskId.toString()}::numeric
                ORDER BY l.id DESC LIMIT 1)
        FROM unnest(${sql.param(sessionIds)}::text[]) AS given (id))`,
    );
}

/** Whether there is a trial that somebody let go, for whomever. */
async function isAnyLeftOver(queries: Queries, taskId: bigint, rules: PoolRules): Promise<boolean> {
  const [row] = await queries
    .select({ id: leases.id })
    .from(leases)
    .where(and(eq(leases.taskId, taskId), eq(leases.state, "expired"), lt(leases.attempt, rules.maxAttempts)))
    .limit(1);
  return row !== undefined;
}

/** A sign of life of a lease's miner. */
export interface Heartbeat {
  readonly lease: number;
  readonly miner: Address;
  readonly epoch: number;
}

/**
 * Takes signs of life (`keepAlive`), of one lease the last.
 * @returns the deadlines that are left of those leases that are still their miners'
 */
export async function keepAllAlive(
  queries: Queries,
  beats: readonly Heartbeat[],
  now: number,
  rules: PoolRules,
): Promise<
  { readonly lease: number; readonly miner: Address; readonly heartbeatBy: number; readonly endsAt: number }[]
> {
  const last = new Map(beats.map((beat) => [`${beat.lease} ${beat.miner}`, beat]));
  const fields = [
    ["lease", "bigint"],
    ["miner", "text"],
    ["epoch", "double precision"],
  ] as const;
  return queries
    .update(leases)
    .set({ state: "live", heartbeatBy: now + rules.heartbeatMs, epoch: sql`given.epoch` })
    .from(
      given(
        fields,
        [...last.values()].map(({ lease, miner, epoch }) => ({ lease, miner, epoch })),
      ),
    )
    .where(
      and(
        sql`${leases.id} = given.lease AND ${leases.miner} = given.miner`,
        inArray(leases.state, ["live", "expired"]),
        sql`${leases.endsAt} > ${now}`,
      ),
    )
    .returning({ lease: leases.id, miner: leases.miner, heartbeatBy: leases.heartbeatBy, endsAt: leases.endsAt });
}

/**
 * Takes a sign of life: moves the lease's next deadline, and revives it where it ran out and nobody has it yet.
 * Returns undefined where it is no longer the miner's.
 */
async function keepAlive(
  queries: Queries,
  lease: Pick<LeaseRow, "id">,
  now: number,
  rules: PoolRules,
): Promise<LeaseRow | undefined> {
  const [row] = await queries
    .update(leases)
    .set({ state: "live", heartbeatBy: now + rules.heartbeatMs })
    .where(and(eq(leases.id, lease.id), inArray(leases.state, ["live", "expired"]), sql`${leases.endsAt} > ${now}`))
    .returning();
  return row;
}

/** The leases as their miners are told of them. */
export async function jobsOf(queries: Queries, given: readonly LeaseRow[]): Promise<Job[]> {
  const resumed = given.flatMap(({ resumes }) => (resumes === null ? [] : [resumes]));
  const continued = given.flatMap(({ continues, parentShare }) => (continues ? [parentShare!] : []));
  const left =
    resumed.length === 0
      ? []
      : await queries
          .select({ leaseId: checkpoints.leaseId, modelRoot: checkpoints.modelRoot })
          .from(checkpoints)
          .where(isAnyOf(checkpoints.leaseId, resumed));
  const parents =
    continued.length === 0
      ? []
      : await queries
          .select({ id: shares.id, modelRoot: shares.modelRoot, correct: shares.correct, total: shares.total })
          .from(shares)
          .where(isAnyOf(shares.id, continued));
  const leftOf = new Map(left.map(({ leaseId, modelRoot }) => [leaseId, { modelRoot, validation: null }]));
  const parentOf = new Map(
    parents.map(({ id, modelRoot, correct, total }) => [id, { modelRoot, validation: { correct, total } }]),
  );
  return given.map((lease) => {
    const { id, taskId, kind, architecture, seed, settings, parentShare, continues, heartbeatBy, endsAt } = lease;
    const { resumes, epochsBefore } = lease;
    const initial = resumes !== null ? leftOf.get(resumes)! : continues ? parentOf.get(parentShare!)! : null;
    return { lease: id, taskId, kind, architecture, seed, settings, initial, epochsBefore, heartbeatBy, endsAt };
  });
}
