/** What the database knows of audits. Every function takes the transaction it works in. */
import { and, count, eq, inArray, ne, sql } from "drizzle-orm";

import type { Address, Hex } from "../protocol/bytes.ts";
import { CHANCE_UNIT, missingCost } from "./audit-draw.ts";
import type { Queries } from "./database.ts";
import { isAnyOf } from "./database-bulk.ts";
import { audits, leases, miners, shares, type ShareRow } from "./schema.ts";

/** How the shares of a task are drawn. */
export interface TaskAudit {
  readonly secret: Hex;
  /** least chance in millionths */
  readonly rate: number;
}

/** A pool's audit rate, 0 … 1, as the chance in millionths that no share's is below. */
export function leastChance(rate: number): number {
  return Math.min(CHANCE_UNIT, Math.max(1, Math.round(rate * CHANCE_UNIT)));
}

/**
 * The task's secret and rate; drawn and written down when the task is opened, before anything of it is leased.
 * @param rate 0 … 1; what was written before stays
 * @param secret 32 bytes that nobody else can know
 */
export async function openAudit(tx: Queries, taskId: bigint, rate: number, secret: Hex): Promise<TaskAudit> {
  await tx
    .insert(audits)
    .values({ taskId, secret, rate: leastChance(rate) })
    .onConflictDoNothing();
  const [row] = await tx.select().from(audits).where(eq(audits.taskId, taskId));
  return { secret: row!.secret, rate: row!.rate };
}

/** What one share adds to what its miner has to lose (`workAtRisk`). */
export function atRiskOf({ work, chance, audit }: Pick<ShareRow, "work" | "chance" | "audit">): bigint {
  return audit === "none" || audit === "passed" ? work : -missingCost(work, chance);
}

/**
 * What miners have to lose in a task (`auditChance`): the work of their shares, less what those that are open or missing
 * may cost. It never exceeds what a miner would be paid for; it may be below nothing.
 */
export async function workAtRisk(tx: Queries, taskId: bigint, of: readonly Address[]): Promise<Map<Address, bigint>> {
  const cost = sql`div(${shares.work} * (${CHANCE_UNIT}::numeric - ${shares.chance}), ${shares.chance})`;
  const rows = await tx
    .select({
      miner: shares.miner,
      work: sql<string>`sum(CASE WHEN ${shares.audit} IN ('none', 'passed') THEN ${shares.work} ELSE -${cost} END)`,
    })
    .from(shares)
    .where(and(eq(shares.taskId, taskId), isAnyOf(shares.miner, of), eq(shares.voided, false)))
    .groupBy(shares.miner);
  return new Map(rows.map(({ miner, work }) => [miner, BigInt(work)]));
}

/**
 * A miner was caught: bans it, voids what it has earned in the task, and lets its other leases go.
 * @param lease of the share that shows it
 * @returns the reason that its miner is told
 */
export async function condemn(
  tx: Queries,
  { taskId, miner, lease, why, now }: { taskId: bigint; miner: Address; lease: number; why: string; now: number },
): Promise<string> {
  const reason = `The share of lease ${lease} in task ${taskId} was false. ${why}`;
  return shutOut(tx, { taskId, miner, reason, now });
}

/** How a miner is banned, for whatever reason. */
export async function shutOut(
  tx: Queries,
  { taskId, miner, reason, now }: { taskId: bigint; miner: Address; reason: string; now: number },
): Promise<string> {
  await tx
    .update(leases)
    .set({ state: "expired" })
    .where(and(eq(leases.miner, miner), eq(leases.state, "live")));
  await tx
    .update(shares)
    .set({ voided: true, points: 0n, reason: sql`coalesce(${shares.reason}, ${reason})` })
    .where(and(eq(shares.taskId, taskId), eq(shares.miner, miner), eq(shares.voided, false)));
  await tx.update(miners).set({ bannedAt: now, banReason: reason }).where(eq(miners.address, miner));
  return reason;
}

/** Shares of a miner in a task whose models were drawn, asked for, and not to be had. */
export async function missingOf(tx: Queries, taskId: bigint, miner: Address): Promise<number> {
  const [row] = await tx
    .select({ missing: count() })
    .from(shares)
    .where(
      and(
        eq(shares.taskId, taskId),
        eq(shares.miner, miner),
        eq(shares.audit, "missing"),
        eq(shares.holder, "nobody"),
        eq(shares.voided, false),
      ),
    );
  return row!.missing;
}

/**
 * The time for handing over is over: what was drawn and is still open is missing, in the task and in those before it.
 */
export async function endHandOver(tx: Queries, taskIds: readonly bigint[]): Promise<void> {
  await tx
    .update(shares)
    .set({
      audit: "missing",
      reason: "It was drawn for an audit, and its model was not handed over in time.",
    })
    .where(and(inArray(shares.taskId, [...taskIds]), eq(shares.audit, "due"), eq(shares.voided, false)));
  await tx
    .update(shares)
    .set({ reason: "Its model was not handed over in time, so it could not be counted on the test set." })
    .where(
      and(
        inArray(shares.taskId, [...taskIds]),
        eq(shares.audit, "none"),
        ne(shares.holder, "manager"),
        eq(shares.voided, false),
        sql`${shares.reason} IS NULL`,
      ),
    );
}
