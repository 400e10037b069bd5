/**
 * Takes shares: every one is checked in full before it is acknowledged — signature, lease, model handed over, decoded
 * and evaluated on the pool's validation split, equality with the claim (docs/pool.md "Share = one finished trial").
 * A share and everything that follows from it is written in one transaction, before the miner hears of it.
 */
import { and, eq, inArray, sql } from "drizzle-orm";

import type { Evaluation, EvaluationRequest } from "../evaluation/evaluate.ts";
import { decodeModel } from "../evaluation/model.ts";
import { architectureHash, type Address, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Samples } from "../training/datasets.ts";
import type { Queries } from "./database.ts";
import { bestShare } from "./leases.ts";
import type { Share, SignedShare } from "./messages.ts";
import type { Proposer } from "./proposals.ts";
import type { Serial } from "./serial.ts";
import { leases, miners, models, sessions, shares, tasks, type LeaseRow } from "./schema.ts";
import { digestOf, isSignedBy, shareData, shareReceiptData, type PoolIdentity, type Signer } from "./signatures.ts";
import { rulesOf, trialMacs, type PoolTaskDescriptor } from "./task.ts";

/** `evaluateModel` of offchain/evaluation, or what runs it elsewhere. */
export type Evaluate = (bytes: Uint8Array, request: EvaluationRequest) => Promise<Evaluation>;

export interface ShareTask {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly validation: Samples;
  readonly endsAt: number;
  readonly proposer: Proposer;
}

/** What becomes of a share. */
export type Verdict =
  | { readonly kind: "accepted"; readonly receipt: Hex; readonly best: boolean }
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

export function createShareDesk(options: {
  readonly queries: Queries;
  readonly identity: PoolIdentity;
  readonly receiptKey: Signer;
  readonly evaluate: Evaluate;
  /** the order in which the manager writes */
  readonly writing: Serial;
  /** the order in which it evaluates: one model at a time */
  readonly evaluating: Serial;
  readonly clock: () => number;
  readonly signal: AbortSignal;
}): ShareDesk {
  const { queries, identity, receiptKey, evaluate, writing, evaluating, clock, signal } = options;
  const judging = new Map<string, { readonly digest: Hex; readonly verdict: Promise<Verdict> }>();

  const refuse = (reason: string, offence = false): Verdict => ({ kind: "refused", reason, offence });

  /** Everything that can be said without the model; null where the model has to be looked at. */
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
    if (share.epochs > lease.settings.epochs) {
      return refuse(`The share has ${share.epochs} epochs; its lease is for ${lease.settings.epochs}.`, true);
    }
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
    };
  }

  const duplicateOf = (share: Share): string => `The model ${share.modelRoot} is already among the pool's shares.`;

  async function isDuplicate(tx: Queries, taskId: bigint, modelRoot: Hex): Promise<boolean> {
    const rows = await tx
      .select({ modelRoot: models.modelRoot })
      .from(models)
      .where(and(eq(models.taskId, taskId), eq(models.modelRoot, modelRoot)));
    return rows.length > 0;
  }

  /** Why the model is not what the share says, or null. */
  async function findLie(
    { descriptor, validation }: ShareTask,
    share: Share,
    bytes: Uint8Array,
  ): Promise<string | null> {
    const { maxModelBytes: maxBytes } = descriptor;
    const evaluation = await evaluating(() =>
      evaluate(bytes, { ...validation, maxBytes, rules: rulesOf(descriptor), signal }),
    );
    if (evaluation.malformed !== null) return evaluation.malformed.reason;
    if (evaluation.modelRoot !== share.modelRoot) {
      return `The model handed over has root ${evaluation.modelRoot}, the share says ${share.modelRoot}.`;
    }
    const { architecture } = decodeModel(bytes, { maxBytes });
    if (architectureHash(architecture) !== architectureHash(share.architecture)) {
      return "The model handed over is of another architecture than the share says.";
    }
    if (evaluation.correct !== share.validation.correct) {
      return `The model has ${evaluation.correct} of ${evaluation.total} validation samples right, the share says ${share.validation.correct}.`;
    }
    return null;
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

    let bytes: Uint8Array;
    try {
      bytes = await fetchModel(share.modelRoot, descriptor.maxModelBytes);
    } catch (error) {
      // The manager leased a trial whose file does not fit: nobody's lie, and another attempt would end the same.
      if (!(error instanceof PonasError) || error.code !== "model-too-large") throw error;
      return writing(() => close(queries, lease!, digest, (error as PonasError).message));
    }
    const lie = await findLie(task, share, bytes);
    if (lie !== null) {
      await condemn(lease!, digest, lie);
      return { kind: "false", reason: lie };
    }
    const receipt = await receiptKey.sign(
      shareReceiptData(identity, { taskId, miner, lease: share.lease, modelRoot: share.modelRoot, share: digest }),
    );
    return writing(async () => {
      try {
        return await queries.transaction((tx) => accept(tx, task, lease!, signed, digest, receipt, bytes, arrivedAt));
      } catch (error) {
        task.proposer.forget();
        throw error;
      }
    });
  }

  async function accept(
    tx: Queries,
    { taskId, descriptor, proposer }: ShareTask,
    lease: LeaseRow,
    { share, signature }: SignedShare,
    digest: Hex,
    receipt: Hex,
    bytes: Uint8Array,
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
    await tx.insert(models).values({ taskId, modelRoot: share.modelRoot, bytes });
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
    return { kind: "accepted", receipt, best: before === undefined || correct > before.correct };
  }

  /** Ends a lease without a share. */
  async function close(tx: Queries, lease: LeaseRow, digest: Hex, reason: string): Promise<Verdict> {
    await tx
      .update(leases)
      .set({ state: "refused", shareDigest: digest, refusal: reason })
      .where(and(eq(leases.id, lease.id), inArray(leases.state, ["live", "expired"])));
    return refuse(reason);
  }

  /** Bans the miner, voids what it has earned in this task, and lets its other leases go. */
  async function condemn(lease: LeaseRow, digest: Hex, reason: string): Promise<void> {
    const { id, taskId, miner } = lease;
    await writing(() =>
      queries.transaction(async (tx) => {
        await tx
          .update(leases)
          .set({ state: "refused", shareDigest: digest, refusal: reason })
          .where(eq(leases.id, id));
        await tx
          .update(leases)
          .set({ state: "expired" })
          .where(and(eq(leases.miner, miner), eq(leases.state, "live")));
        await tx
          .update(shares)
          .set({ voided: true })
          .where(and(eq(shares.taskId, taskId), eq(shares.miner, miner)));
        const banReason = `The share of lease ${id} in task ${taskId} was false. ${reason}`;
        await tx.update(miners).set({ bannedAt: clock(), banReason }).where(eq(miners.address, miner));
      }),
    );
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
