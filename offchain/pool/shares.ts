/**
 * Takes shares (docs/pool.md "Share = one finished trial"). One that claims a new best is checked in full before it is
 * acknowledged: model handed over, decoded and evaluated on the pool's validation split, equality with the claim. Any
 * other is acknowledged at once; whether it is audited was drawn by then, and the model stays with its miner until
 * asked for. A share and everything that follows from it is written in one transaction, before the miner hears of it.
 */
import { and, eq, inArray, sql } from "drizzle-orm";

import { isDead } from "../protocol/architecture.ts";
import { architectureHash, type Address, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Samples } from "../training/datasets.ts";
import { auditChance, isDrawn } from "./audit-draw.ts";
import { condemn, workAtRisk, type TaskAudit } from "./audits.ts";
import { handedBack } from "./checkpoints.ts";
import type { Queries } from "./database.ts";
import { bestShare } from "./leases.ts";
import type { Share, SignedShare } from "./messages.ts";
import type { ModelCheck } from "./model-check.ts";
import { creditedWork, leaseWork } from "./points-schemes.ts";
import type { Proposer } from "./proposals.ts";
import type { Serial } from "./serial.ts";
import { leases, miners, models, sessions, shares, tasks, type LeaseRow } from "./schema.ts";
import { digestOf, isSignedBy, shareData, shareReceiptData, type PoolIdentity, type Signer } from "./signatures.ts";
import { trialMacs, type PoolTaskDescriptor } from "./task.ts";

export type { Evaluate } from "./model-check.ts";

export interface ShareTask {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly validation: Samples;
  readonly endsAt: number;
  readonly proposer: Proposer;
  readonly audit: TaskAudit;
}

/** What becomes of a share. */
export type Verdict =
  /** `keep`: the model may still be asked for */
  | { readonly kind: "accepted"; readonly receipt: Hex; readonly best: boolean; readonly keep: boolean }
  /** Final, and no lie. `offence`: no honest program sends such a share. */
  | { readonly kind: "refused"; readonly reason: string; readonly offence: boolean }
  /** A lie: the miner is banned, and earns nothing in this task. */
  | { readonly kind: "false"; readonly reason: string };

export interface ShareDesk {
  /**
   * Judges one share; the same share again gets the same verdict.
   * @param fetchModel asks the miner for the model's bytes
   * @throws what `fetchModel` throws, and PonasError engine: the same share may be sent again
   */
  submit(
    task: ShareTask,
    miner: Address,
    signed: SignedShare,
    fetchModel: (modelRoot: Hex, maxBytes: number) => Promise<Uint8Array>,
  ): Promise<Verdict>;
  /** What was said to this very share before, whatever has become of its task; null: nothing final yet. */
  recall(miner: Address, signed: SignedShare): Promise<Verdict | null>;
  /** Resolves when every share that is being judged has its verdict. */
  idle(): Promise<void>;
}

/** A new speed weighs as much as all measured before: throttling is noticed within a few trials. */
const SPEED_WEIGHT = 0.5;

const refuse = (reason: string, offence = false): Verdict => ({ kind: "refused", reason, offence });

/** Why the epochs of a share are not those of its lease, or null. */
export function epochsFault(share: Share, lease: Pick<LeaseRow, "settings">): string | null {
  const { epochs, earlyStop } = lease.settings;
  const { trainLoss } = share;
  if (share.epochs > epochs) return `The share has ${share.epochs} epochs; its lease is for ${epochs}.`;
  // A loss that was no number any more ended the trial, and stands behind the epochs that had one.
  const diverged = trainLoss.length === share.epochs + 1 && trainLoss.at(-1) === null;
  if (trainLoss.length !== share.epochs && !diverged) {
    return `The share has ${share.epochs} epochs and a loss of ${trainLoss.length}.`;
  }
  if (share.epochs === epochs || diverged || isDead(share.architecture)) return null;
  if (earlyStop !== undefined && share.epochs > earlyStop.patience) return null;
  return `The share has ${share.epochs} epochs of the ${epochs} that its lease is for.`;
}

export function createShareDesk(options: {
  readonly queries: Queries;
  readonly identity: PoolIdentity;
  readonly receiptKey: Signer;
  readonly check: ModelCheck;
  /** the order in which the manager writes */
  readonly writing: Serial;
  readonly clock: () => number;
  /** A share was written whose model is with its miner. */
  readonly onTaken?: () => void;
}): ShareDesk {
  const { queries, identity, receiptKey, check, writing, clock, onTaken } = options;
  const judging = new Map<string, { readonly digest: Hex; readonly verdict: Promise<Verdict> }>();

  /** Everything that can be said without the model; null where there is nothing against the share. */
  async function examine(
    { taskId, descriptor, endsAt }: ShareTask,
    miner: Address,
    { share, signature }: SignedShare,
    digest: Hex,
    lease: LeaseRow | undefined,
  ): Promise<Verdict | null> {
    if (share.taskId !== taskId) return refuse(`The pool is not working on task ${share.taskId}.`);
    if (lease === undefined || lease.taskId !== taskId) return refuse(`There is no lease ${share.lease}.`, true);
    if (lease.miner !== miner) return refuse(`Lease ${share.lease} belongs to another miner.`, true);
    if (!(await isSignedBy(miner, shareData(identity, share), signature))) {
      return refuse(`The share of lease ${share.lease} is not signed by ${miner}.`, true);
    }
    const earlier = await earlierVerdict(lease, digest);
    if (earlier !== null) return earlier;
    if (clock() > endsAt) return refuse(`Task ${taskId} takes no more shares.`);
    if (architectureHash(share.architecture) !== architectureHash(lease.architecture) || share.seed !== lease.seed) {
      return refuse(`The share is of another trial than lease ${share.lease}.`, true);
    }
    const fault = epochsFault(share, lease);
    if (fault !== null) return refuse(fault, true);
    if (share.validation.total !== descriptor.validationCount) {
      return refuse(
        `The share counts ${share.validation.total} validation samples; there are ${descriptor.validationCount}.`,
        true,
      );
    }
    return null;
  }

  async function earlierVerdict(lease: LeaseRow, digest: Hex): Promise<Verdict | null> {
    if (lease.state === "live" || lease.state === "expired") return null;
    if (lease.state === "reissued" || lease.state === "given-up") {
      return refuse(`Lease ${lease.id} ran out and was given to another miner.`);
    }
    if (lease.shareDigest !== digest) return refuse(`Lease ${lease.id} has had its share; there is one a lease.`);
    if (lease.state !== "done") return refuse(lease.refusal ?? `Lease ${lease.id} is closed.`);
    const [share] = await queries.select().from(shares).where(eq(shares.leaseId, lease.id));
    return {
      kind: "accepted",
      receipt: share!.receipt,
      best: (await bestShare(queries, lease.taskId))?.id === share!.id,
      keep: share!.holder === "miner",
    };
  }

  const duplicateOf = (share: Share): string => `The model ${share.modelRoot} is already among the pool's shares.`;

  async function isDuplicate(tx: Queries, taskId: bigint, modelRoot: Hex): Promise<boolean> {
    const rows = await tx
      .select({ id: shares.id })
      .from(shares)
      .where(and(eq(shares.taskId, taskId), eq(shares.modelRoot, modelRoot)));
    return rows.length > 0;
  }

  async function judge(
    task: ShareTask,
    miner: Address,
    signed: SignedShare,
    digest: Hex,
    fetchModel: (modelRoot: Hex, maxBytes: number) => Promise<Uint8Array>,
  ): Promise<Verdict> {
    const { share } = signed;
    const { taskId, descriptor } = task;
    const arrivedAt = clock();
    const [lease] = await queries.select().from(leases).where(eq(leases.id, share.lease));
    const early = await examine(task, miner, signed, digest, lease);
    if (early !== null) return early;
    if (await isDuplicate(queries, taskId, share.modelRoot)) {
      return writing(() => close(queries, lease!, digest, duplicateOf(share)));
    }
    const back = await handedBack(queries, check, task, lease!, share);
    if (back !== null) return writing(() => close(queries, lease!, digest, back));

    // The best only ever rises, so what does not beat it now never will.
    const best = await bestShare(queries, taskId);
    let bytes: Uint8Array | null = null;
    if (best === undefined || share.validation.correct > best.correct) {
      try {
        bytes = await fetchModel(share.modelRoot, descriptor.maxModelBytes);
      } catch (error) {
        // The manager leased a trial whose file does not fit: nobody's lie, and another attempt would end the same.
        if (!(error instanceof PonasError) || error.code !== "model-too-large") throw error;
        return writing(() => close(queries, lease!, digest, (error as PonasError).message));
      }
      const lie = await check.full(task, share, bytes);
      if (lie !== null) {
        await writing(() => queries.transaction((tx) => unmask(tx, lease!, digest, lie)));
        return { kind: "false", reason: lie };
      }
    }
    const receipt = await receiptKey.sign(
      shareReceiptData(identity, { taskId, miner, lease: share.lease, modelRoot: share.modelRoot, share: digest }),
    );
    const verdict = await writing(async () => {
      try {
        return await queries.transaction((tx) => accept(tx, task, lease!, signed, digest, receipt, bytes, arrivedAt));
      } catch (error) {
        task.proposer.forget();
        throw error;
      }
    });
    if (verdict.kind === "accepted" && verdict.keep) onTaken?.();
    return verdict;
  }

  async function accept(
    tx: Queries,
    { taskId, descriptor, proposer, audit }: ShareTask,
    lease: LeaseRow,
    { share, signature }: SignedShare,
    digest: Hex,
    receipt: Hex,
    /** of a claimed best, which was checked */
    bytes: Uint8Array | null,
    arrivedAt: number,
  ): Promise<Verdict> {
    // Between the first look and now the task may have been closed, the lease handed on, the same model taken.
    const [taskRow] = await tx.select({ closed: tasks.closed }).from(tasks).where(eq(tasks.taskId, taskId));
    if (taskRow!.closed) return refuse(`Task ${taskId} takes no more shares.`);
    if (await isDuplicate(tx, taskId, share.modelRoot)) return close(tx, lease, digest, duplicateOf(share));
    const [banned] = await tx.select().from(miners).where(eq(miners.address, lease.miner));
    if (banned!.bannedAt !== null) return refuse(banned!.banReason!);
    const taken = await tx
      .update(leases)
      .set({ state: "done", shareDigest: digest })
      .where(and(eq(leases.id, lease.id), inArray(leases.state, ["live", "expired"])))
      .returning({ id: leases.id });
    if (taken.length === 0) return refuse(`Lease ${lease.id} ran out and was given to another miner.`);

    const before = await bestShare(tx, taskId);
    const { correct, total } = share.validation;
    const work = creditedWork(
      leaseWork(share.architecture, share.epochs, descriptor.trainCount),
      correct,
      await parentCorrect(tx, lease),
    );
    const chance = auditChance({ rate: audit.rate, work, atRisk: await workAtRisk(tx, taskId, lease.miner) });
    const drawn = isDrawn(audit.secret, taskId, lease.id, chance);
    if (bytes !== null) await tx.insert(models).values({ taskId, modelRoot: share.modelRoot, bytes });
    await tx.insert(shares).values({
      taskId,
      leaseId: lease.id,
      miner: lease.miner,
      share: { ...share, taskId: share.taskId.toString() },
      signature,
      receipt,
      modelRoot: share.modelRoot,
      correct,
      total,
      acceptedAt: clock(),
      work,
      chance,
      audit: bytes !== null ? "passed" : drawn ? "due" : "none",
      holder: bytes !== null ? "manager" : "miner",
    });
    await proposer.tell(tx, lease.part, share.architecture, correct / total);
    if (share.epochs === lease.settings.epochs) {
      const macs = trialMacs(share.architecture, share.epochs, descriptor.trainCount);
      const speed = (1000 * macs) / Math.max(1, arrivedAt - lease.issuedAt);
      // The claimed speed of the benchmark counts for nothing once there is a measured one.
      await tx
        .update(sessions)
        .set({
          speed: sql`CASE WHEN ${sessions.measured} = 0 THEN ${speed}::double precision
                     ELSE ${sessions.speed} * ${1 - SPEED_WEIGHT}::double precision + ${SPEED_WEIGHT * speed}::double precision END`,
          measured: sql`${sessions.measured} + 1`,
        })
        .where(eq(sessions.id, lease.sessionId));
    }
    const isBest = bytes !== null && (before === undefined || correct > before.correct);
    return { kind: "accepted", receipt, best: isBest, keep: bytes === null };
  }

  /** Right on the validation split by the model that an exploit lease has to beat. */
  async function parentCorrect(tx: Queries, { parentShare }: LeaseRow): Promise<number | null> {
    if (parentShare === null) return null;
    const [parent] = await tx.select({ correct: shares.correct }).from(shares).where(eq(shares.id, parentShare));
    return parent!.correct;
  }

  /** Ends a lease without a share. */
  async function close(tx: Queries, lease: LeaseRow, digest: Hex, reason: string): Promise<Verdict> {
    await tx
      .update(leases)
      .set({ state: "refused", shareDigest: digest, refusal: reason })
      .where(and(eq(leases.id, lease.id), inArray(leases.state, ["live", "expired"])));
    return refuse(reason);
  }

  async function unmask(tx: Queries, lease: LeaseRow, digest: Hex, why: string): Promise<void> {
    const { id, taskId, miner } = lease;
    await tx.update(leases).set({ state: "refused", shareDigest: digest, refusal: why }).where(eq(leases.id, id));
    await condemn(tx, { taskId, miner, lease: id, why, now: clock() });
  }

  return {
    async recall(miner, { share }) {
      const [lease] = await queries.select().from(leases).where(eq(leases.id, share.lease));
      const digest = digestOf(shareData(identity, share));
      return lease?.miner === miner && lease.shareDigest === digest ? earlierVerdict(lease, digest) : null;
    },
    async submit(task, miner, signed, fetchModel) {
      const digest = digestOf(shareData(identity, signed.share));
      // By miner too: nobody can hold up another's share by sending one for the same lease.
      const key = `${signed.share.lease} ${miner}`;
      const running = judging.get(key);
      if (running !== undefined) {
        if (running.digest === digest) return running.verdict;
        return refuse(`Another share of lease ${signed.share.lease} is being judged.`);
      }
      const verdict = judge(task, miner, signed, digest, fetchModel);
      judging.set(key, { digest, verdict });
      try {
        return await verdict;
      } finally {
        judging.delete(key);
      }
    },
    async idle() {
      await Promise.allSettled([...judging.values()].map(({ verdict }) => verdict));
    },
  };
}
