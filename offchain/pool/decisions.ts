/** What the manager decided about whom, and why: written in the transaction that carries it out, and read by anybody concerned. */
import { and, asc, eq, gt } from "drizzle-orm";

import type { Address } from "../protocol/bytes.ts";
import type { Queries } from "./database.ts";
import { insertAll } from "./database-bulk.ts";
import type { Decision } from "./messages.ts";
import { decisions } from "./schema.ts";

export type DecisionKind =
  /** a task's space was divided */
  | "partition"
  /** a session was taken for strong or weak, for the first time or for another reason than before */
  | "strong"
  | "weak"
  /** a part was given to a session, taken from it, or divided */
  | "assign"
  | "release"
  | "split"
  /** a trial was leased: a strategy's proposal, or a confirmed best once more */
  | "explore"
  | "exploit"
  /** a trial that its miner let go was leased again */
  | "reissue"
  /** a lease ended without a share */
  | "expire"
  /** searches began anew without what a banned miner had reported */
  | "disbelieve"
  /** σ_p was looked at; a strong low-reward miner was made ready, or is not any more */
  | "spread"
  | "ready"
  | "stand-down"
  /** a backup went on with the part of a high-reward miner that left */
  | "backup";

export interface NewDecision {
  readonly kind: DecisionKind;
  /** one sentence */
  readonly reason: string;
  readonly miner?: Address;
  readonly sessionId?: string;
  readonly part?: number | null;
  readonly leaseId?: number;
  readonly figures?: Record<string, number | string | number[]>;
}

export async function decide(
  queries: Queries,
  taskId: bigint,
  at: number,
  made: readonly NewDecision[],
): Promise<void> {
  const common = { taskId, at, miner: null, sessionId: null, part: null, leaseId: null, figures: {} };
  await insertAll(
    queries,
    decisions,
    made.map((one) => ({ ...common, ...one })),
  );
}

/** Which decisions to read. */
export interface DecisionQuery {
  readonly taskId: bigint;
  /** the decisions after the one with this id; 0: from the first on */
  readonly after?: number;
  /** at most so many, 1 or more; 100 where it is not given */
  readonly limit?: number;
  /** only those about this miner */
  readonly miner?: Address;
}

/** Decisions of a task in the order in which they were made. */
export async function readDecisions(
  queries: Queries,
  { taskId, after = 0, limit = 100, miner }: DecisionQuery,
): Promise<Decision[]> {
  const rows = await queries
    .select()
    .from(decisions)
    .where(
      and(
        eq(decisions.taskId, taskId),
        gt(decisions.id, after),
        miner === undefined ? undefined : eq(decisions.miner, miner),
      ),
    )
    .orderBy(asc(decisions.id))
    .limit(limit);
  return rows.map(({ id, at, kind, miner: about, part, leaseId, reason, figures }) => ({
    id,
    taskId,
    at,
    kind,
    miner: about,
    part,
    lease: leaseId,
    reason,
    figures,
  }));
}
