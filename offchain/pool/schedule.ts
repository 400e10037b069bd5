/**
 * The scheduler of one task: hands out leases, and looks at the task's parts every second or so. It is triggered by
 * what is, not by what happened: whatever was missed, the next look makes up for it.
 */
import { and, asc, desc, eq, sql } from "drizzle-orm";

import { dropCheckpoints } from "./checkpoints.ts";
import type { Queries } from "./database.ts";
import { decide, type NewDecision } from "./decisions.ts";
import { expireLeases, nextLeases, type LeaseTask } from "./leases.ts";
import { assignPart, disbelieveLiars, partitionRule, releasePart, splitFor } from "./parts.ts";
import { planSweep, type PartView, type Plan } from "./plan.ts";
import type { Proposer } from "./proposals.ts";
import type { PoolRules } from "./rules.ts";
import { leases, miners, parts, roles, sessions, spread, type LeaseRow, type SessionRow } from "./schema.ts";

export interface Schedule {
  /** The sessions' leases (`nextLeases`), in the sessions' order. */
  lease(queries: Queries, sessions: readonly SessionRow[], now: number): Promise<LeaseRow[]>;
  /**
   * @param gone ids of sessions that are known to have left, before their leases' time is over
   * @returns sessions that are to be given a job now
   */
  sweep(queries: Queries, now: number, gone: ReadonlySet<string>): Promise<string[]>;
  /** Drops what was not saved: call it after a transaction that used the schedule has failed. */
  forget(): void;
}

/** Leases whose time has run out are looked for no more often. */
const EXPIRY_MS = 1000;
/** Checkpoints of trials that are over are looked for no more often. */
const CLEANING_MS = 60_000;

export function createSchedule(options: {
  readonly task: LeaseTask;
  readonly proposer: Proposer;
  readonly rules: PoolRules;
}): Schedule {
  const { task, proposer, rules } = options;
  const { taskId } = task;
  let expiredAt = -Infinity;
  let cleanedAt = -Infinity;
  /** sessions whose leases ended while others were looked after */
  let slow = new Set<string>();

  async function expire(queries: Queries, now: number): Promise<void> {
    expiredAt = now;
    for (const id of await expireLeases(queries, task, now)) slow.add(id);
  }

  return {
    async lease(queries, wanting, now) {
      if (Math.abs(now - expiredAt) >= EXPIRY_MS) await expire(queries, now);
      return nextLeases(queries, { task, sessions: wanting, now, rules, proposer, expire: () => expire(queries, now) });
    },

    async sweep(queries, now, gone) {
      await expire(queries, now);
      await disbelieveLiars(queries, task, proposer, now);
      const moved = partitionRule(rules) === "whole" ? [] : await carryOut(queries, now, gone);
      if (Math.abs(now - cleanedAt) >= CLEANING_MS) {
        cleanedAt = now;
        await dropCheckpoints(queries);
      }
      const wake = [...new Set([...slow, ...moved])];
      slow = new Set();
      return wake;
    },

    forget() {
      proposer.forget();
      expiredAt = -Infinity;
    },
  };

  async function carryOut(queries: Queries, now: number, gone: ReadonlySet<string>): Promise<string[]> {
    const rows = await readParts(queries, taskId);
    const views = rows.map((row) => viewOf(row, now, gone));
    const [before] = await queries.select().from(spread).where(eq(spread.taskId, taskId));
    const plan = planSweep(views, before, {
      backups: rules.backups,
      resplitTrials: partitionRule(rules) === "adaptive" ? rules.resplitTrials : null,
    });
    const made: NewDecision[] = [];
    const minerOf = new Map(rows.flatMap(({ session }) => (session === null ? [] : [[session.id, session.miner]])));
    const bestOf = new Map(views.map(({ part, best }) => [part, best]));

    for (const { part, holder, best, trials } of views) {
      if (!plan.left.includes(part)) continue;
      const { sessionId } = holder!;
      const miner = minerOf.get(sessionId)!;
      await releasePart(queries, taskId, part);
      const banned = rows.find((row) => row.part === part)!.bannedAt !== null;
      made.push({
        kind: "release",
        miner,
        sessionId,
        part,
        reason: `Part ${part} is free: ${miner} ${banned ? "is banned" : "has left"}.`,
        figures: { best, trials },
      });
    }
    const wake: string[] = [];
    for (const { sessionId, from, to, ready } of plan.moves) {
      const miner = minerOf.get(sessionId)!;
      await releasePart(queries, taskId, from);
      await assignPart(queries, taskId, to, sessionId, now + rules.heartbeatMs);
      if (ready && (await letGo(queries, sessionId, now))) wake.push(sessionId);
      const when = ready ? "at once, since it was ready" : "after its present trial, since nobody was ready";
      made.push({
        kind: "backup",
        miner,
        sessionId,
        part: to,
        reason: `${miner} goes on with part ${to}, whose miner has left with a high reward, ${when}; its own part ${from} has a lower one.`,
        figures: { from, best: bestOf.get(to)!, bestOfOwn: bestOf.get(from)!, ...cutFigure(plan) },
      });
    }
    if (plan.spread !== null) {
      const { sigma, mean, samples } = plan.spread.spread;
      const set = { sigma, mean, samples };
      await queries
        .insert(spread)
        .values({ taskId, ...set })
        .onConflictDoUpdate({ target: spread.taskId, set });
      const { rises } = plan.spread;
      made.push({
        kind: "spread",
        reason: rises
          ? `The high-reward miners' bests spread more than on average so far: σ_p is ${sigma.toPrecision(3)}; ${plan.ready.length} more backups are made ready.`
          : `The high-reward miners' bests spread no more than on average so far: σ_p is ${sigma.toPrecision(3)}.`,
        figures: { sigma, meanBefore: before?.mean ?? 0, samples, ...cutFigure(plan) },
      });
    }
    for (const [ids, backup] of [
      [plan.standDown, false],
      [plan.ready, true],
    ] as const) {
      for (const sessionId of ids) {
        await queries
          .update(roles)
          .set({ backup })
          .where(and(eq(roles.taskId, taskId), eq(roles.sessionId, sessionId)));
        const miner = minerOf.get(sessionId)!;
        made.push({
          kind: backup ? "ready" : "stand-down",
          miner,
          sessionId,
          reason: backup
            ? `${miner} is ready to go on for a high-reward miner that leaves: it is strong, and its own reward is low.`
            : `${miner} is no backup any more: it has left, or is needed where it is.`,
          figures: cutFigure(plan),
        });
      }
    }
    await decide(queries, taskId, now, made);
    if (plan.resplit !== null) await resplit(queries, plan.resplit, now);
    return wake;
  }

  async function resplit(
    queries: Queries,
    { sessionId, from, of }: NonNullable<Plan["resplit"]>,
    now: number,
  ): Promise<void> {
    const [session] = await queries.select().from(sessions).where(eq(sessions.id, sessionId));
    await releasePart(queries, taskId, from);
    const part = await splitFor(queries, { task, session: session!, rules, proposer, now }, of);
    if (part === null) return assignPart(queries, taskId, from, sessionId, now + rules.heartbeatMs);
    await decide(queries, taskId, now, [
      {
        kind: "release",
        miner: session!.miner,
        sessionId,
        part: from,
        reason: `Part ${from} is free: its reward is low after ${rules.resplitTrials} trials or more, and ${session!.miner} helps with part ${of}.`,
      },
    ]);
  }

  /** Ends a session's present lease, so that it may be handed to another. @returns false where it has none */
  async function letGo(queries: Queries, sessionId: string, now: number): Promise<boolean> {
    const rows = await queries
      .update(leases)
      .set({ state: "expired", endsAt: now })
      .where(and(eq(leases.sessionId, sessionId), eq(leases.taskId, taskId), eq(leases.state, "live")))
      .returning({ id: leases.id });
    return rows.length > 0;
  }
}

const cutFigure = ({ highestLow }: Plan): Record<string, number> => (highestLow === null ? {} : { highestLow });

type PartState = Awaited<ReturnType<typeof readParts>>[number];

async function readParts(queries: Queries, taskId: bigint) {
  const last = queries
    .select({ heartbeatBy: leases.heartbeatBy })
    .from(leases)
    .where(and(eq(leases.sessionId, parts.sessionId), eq(leases.taskId, parts.taskId)))
    .orderBy(desc(leases.id))
    .limit(1);
  return queries
    .select({
      part: parts.part,
      best: parts.best,
      trials: parts.trials,
      trialsBefore: parts.trialsBefore,
      bits: parts.bits,
      keptUntil: parts.keptUntil,
      session: sessions,
      bannedAt: miners.bannedAt,
      ready: roles.backup,
      live: leases.id,
      heardUntil: sql<number | null>`(${last})`.mapWith(Number),
    })
    .from(parts)
    .leftJoin(sessions, eq(sessions.id, parts.sessionId))
    .leftJoin(miners, eq(miners.address, sessions.miner))
    .leftJoin(roles, and(eq(roles.taskId, parts.taskId), eq(roles.sessionId, parts.sessionId)))
    .leftJoin(leases, and(eq(leases.sessionId, parts.sessionId), eq(leases.state, "live")))
    .where(eq(parts.taskId, taskId))
    .orderBy(asc(parts.part));
}

/** A holder has left when it is banned or gone, or has no lease and its last one's time is over. */
function viewOf(row: PartState, now: number, gone: ReadonlySet<string>): PartView {
  const { part, best, trials, trialsBefore, bits, keptUntil, session, bannedAt, ready, live, heardUntil } = row;
  const heard = live !== null || keptUntil >= now || (heardUntil !== null && heardUntil >= now);
  return {
    part,
    best,
    trials,
    bits,
    trialsSince: trials - trialsBefore,
    holder:
      session === null
        ? null
        : {
            sessionId: session.id,
            speed: session.speed,
            alive: bannedAt === null && heard && !gone.has(session.id),
            ready: ready === true,
          },
  };
}
