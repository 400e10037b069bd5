/**
 * Models of trials in progress, so that whoever goes on with a trial that its miner lets go starts from the newest one
 * instead of from nothing. They earn nothing and prove nothing; only their form is checked.
 */
import { and, eq, inArray, sql } from "drizzle-orm";

import { decodeModel, modelRoot as rootOf } from "../evaluation/model.ts";
import { architectureHash, type Address, type Hex } from "../protocol/bytes.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { TrainingSettings } from "../training/settings.ts";
import type { Queries } from "./database.ts";
import type { Checkpoint, Share } from "./messages.ts";
import type { CheckedTask, ModelCheck } from "./model-check.ts";
import type { PoolRules } from "./rules.ts";
import { checkpoints, leases, type LeaseRow } from "./schema.ts";
import type { Serial } from "./serial.ts";

/** What became of one: kept; too early or too many at once; or of no use, and then why. */
export type CheckpointVerdict =
  | { readonly kind: "kept" }
  | { readonly kind: "later"; readonly reason: string }
  | { readonly kind: "refused"; readonly reason: string; readonly offence: boolean };

export interface CheckpointDesk {
  /** @param fetchModel asks the miner for the model's bytes; what it throws is passed on, and nothing is kept then */
  take(
    miner: Address,
    checkpoint: Checkpoint,
    maxModelBytes: number,
    fetchModel: (modelRoot: Hex, maxBytes: number) => Promise<Uint8Array>,
  ): Promise<CheckpointVerdict>;
}

/** Models on their way at the same time: they wait behind nobody's share, and take little memory. */
const MAX_AT_ONCE = 8;

export function createCheckpointDesk(options: {
  readonly queries: Queries;
  readonly rules: PoolRules;
  /** the order in which the manager writes */
  readonly writing: Serial;
  readonly clock: () => number;
}): CheckpointDesk {
  const { queries, rules, writing, clock } = options;
  const taking = new Set<number>();

  const later = (reason: string): CheckpointVerdict => ({ kind: "later", reason });
  const refuse = (reason: string, offence = false): CheckpointVerdict => ({ kind: "refused", reason, offence });
  const isOpen = inArray(leases.state, ["live", "expired"]);

  /** The lease it belongs to, or why it is not wanted. */
  async function examine(miner: Address, { lease, epochs }: Checkpoint): Promise<LeaseRow | CheckpointVerdict> {
    if (rules.checkpointMs === 0) return refuse("This pool takes no checkpoints.");
    const [row] = await queries
      .select()
      .from(leases)
      .where(and(eq(leases.id, lease), eq(leases.miner, miner), isOpen));
    if (row === undefined) return refuse(`Lease ${lease} is not yours any more.`);
    if (epochs >= row.settings.epochs) {
      return refuse(`Lease ${lease} ends after ${row.settings.epochs} epochs; a share is due then.`, true);
    }
    const now = clock();
    const [last] = await queries
      .select({ epochs: checkpoints.epochs, takenAt: checkpoints.takenAt })
      .from(checkpoints)
      .where(eq(checkpoints.leaseId, lease));
    if (last !== undefined && last.epochs >= epochs) {
      return refuse(`Lease ${lease} has a checkpoint after ${last.epochs} epochs already.`);
    }
    const since = now - (last?.takenAt ?? row.issuedAt);
    if (last !== undefined && since < rules.checkpointMs) {
      return later(`The next checkpoint of lease ${lease} may come in ${rules.checkpointMs - since} ms.`);
    }
    return row;
  }

  return {
    async take(miner, checkpoint, maxModelBytes, fetchModel) {
      const { lease, epochs, modelRoot } = checkpoint;
      if (taking.has(lease)) return later(`Another checkpoint of lease ${lease} is on its way.`);
      if (taking.size >= MAX_AT_ONCE) return later(`${taking.size} checkpoints are on their way already.`);
      taking.add(lease);
      try {
        const row = await examine(miner, checkpoint);
        if (!("taskId" in row)) return row;
        const { taskId, architecture } = row;
        const bytes = await fetchModel(modelRoot, maxModelBytes);
        try {
          const model = decodeModel(bytes, { maxBytes: maxModelBytes });
          if (rootOf(model) !== modelRoot) return refuse("The model handed over has another root.", true);
          if (architectureHash(model.architecture) !== architectureHash(architecture)) {
            return refuse(`The model handed over is of another architecture than lease ${lease}.`, true);
          }
        } catch (error) {
          if (!(error instanceof PonasError)) throw error;
          return refuse(`The checkpoint cannot be read: ${explainError(error)}`, true);
        }
        const kept = await writing(() =>
          queries.transaction(async (tx) => {
            const [open] = await tx
              .select({ id: leases.id })
              .from(leases)
              .where(and(eq(leases.id, lease), isOpen));
            if (open === undefined) return false;
            const set = { epochs, modelRoot, bytes, takenAt: clock() };
            await tx
              .insert(checkpoints)
              .values({ leaseId: lease, taskId, ...set })
              .onConflictDoUpdate({ target: checkpoints.leaseId, set });
            return true;
          }),
        );
        if (!kept) return refuse(`Lease ${lease} is not yours any more.`);
        return { kind: "kept" };
      } finally {
        taking.delete(lease);
      }
    },
  };
}

/** What is known of a checkpoint without its bytes. */
export type CheckpointNote = Pick<typeof checkpoints.$inferSelect, "leaseId" | "epochs" | "modelRoot">;

/** The checkpoint that a lease left behind, or the one that it had itself gone on from. */
export async function checkpointOf(queries: Queries, lease: LeaseRow): Promise<CheckpointNote | undefined> {
  for (const id of [lease.id, lease.resumes]) {
    if (id === null) continue;
    const [row] = await queries
      .select({ leaseId: checkpoints.leaseId, epochs: checkpoints.epochs, modelRoot: checkpoints.modelRoot })
      .from(checkpoints)
      .where(eq(checkpoints.leaseId, id));
    if (row !== undefined) return row;
  }
  return undefined;
}

/**
 * The part of a recipe that is left after some of its epochs: the same but for their number. Whoever goes on counts its
 * epochs from those before (`epochsBefore` of its job), and so finds its place in the schedule. Early stopping counts anew.
 * @param done 1 … epochs − 1
 */
export function settingsAfter(settings: TrainingSettings, done: number): TrainingSettings {
  return { ...settings, epochs: settings.epochs - done };
}

/**
 * Why a share of a trial that its miner went on with earns nothing, or null: the checkpoint it was given, handed back as
 * it is or with a bias changed, is no better than the checkpoint.
 * @throws PonasError engine, aborted
 */
export async function handedBack(
  queries: Queries,
  check: ModelCheck,
  task: CheckedTask,
  { resumes }: Pick<LeaseRow, "resumes">,
  { validation }: Share,
): Promise<string | null> {
  if (resumes === null) return null;
  const [given] = await queries
    .select({ bytes: checkpoints.bytes })
    .from(checkpoints)
    .where(eq(checkpoints.leaseId, resumes));
  if (given === undefined) return null;
  const correct = await check.count(task, given.bytes);
  if (validation.correct > correct) return null;
  return `The share has ${validation.correct} of ${validation.total} right, and the checkpoint that its trial goes on from has ${correct}: nothing was gained.`;
}

/** Forgets the checkpoints of trials that are over; those that somebody may still go on from stay. */
export async function dropCheckpoints(queries: Queries): Promise<void> {
  await queries.execute(sql`
    DELETE FROM checkpoints AS kept
    WHERE NOT EXISTS (SELECT 1 FROM leases JOIN tasks USING (task_id)
                      WHERE (leases.id = kept.lease_id OR leases.resumes = kept.lease_id)
                        AND leases.state IN ('live', 'expired') AND NOT tasks.closed)`);
}
