/**
 * Takes shares (docs/pool.md "Share = one finished trial"). One that claims a new best is checked in full before it is
 * acknowledged: model handed over, decoded and evaluated on the pool's validation split, equality with the claim. Any
 * other is acknowledged at once; whether it is audited was drawn by then, and the model stays with its miner until
 * asked for. A share and everything that follows from it is written in one transaction, before the miner hears of it;
 * shares that come while others are being written are written together, each judged as if it had come alone.
 */
import { isDeepStrictEqual } from "node:util";

import { and, eq, inArray, isNotNull, sql } from "drizzle-orm";

import { isDead, type Architecture } from "../protocol/architecture.ts";
import { architectureHash, type Address, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Samples } from "../training/datasets.ts";
import { auditChance, isDrawn } from "./audit-draw.ts";
import { atRiskOf, condemn, workAtRisk, type TaskAudit } from "./audits.ts";
import { given, insertAll, isAnyOf } from "./database-bulk.ts";
import { handedBack } from "./checkpoints.ts";
import type { Queries } from "./database.ts";
import { bestShare } from "./leases.ts";
import type { Share, SignedShare } from "./messages.ts";
import type { ModelCheck } from "./model-check.ts";
import { creditedWork, leaseWork } from "./points-schemes.ts";
import type { Proposer } from "./proposals.ts";
import { createBatches, type Serial } from "./serial.ts";
import type { SignatureCheck } from "./signature-check.ts";
import { leases, miners, models, sessions, shares, tasks, type LeaseRow, type ShareRow } from "./schema.ts";
import { digestOf, shareData, shareReceiptData, type PoolIdentity, type Signer } from "./signatures.ts";
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

/** Shares that are written together at most: what waits behind them waits no longer than for so many. */
const MAX_TOGETHER = 64;

/** A share on its way to its verdict. */
interface Piece {
  readonly miner: Address;
  readonly signed: SignedShare;
  readonly digest: Hex;
  /** as it will be handed out; null where the share is not signed by its miner */
  readonly receipt: Hex | null;
  /** whether it is known to be better than what its trial went on from (`handedBack`) */
  readonly gained: boolean;
  /** of a claimed best, which was checked */
  readonly bytes: Uint8Array | null;
  readonly arrivedAt: number;
}

/** What has to be done about a share before it can have its verdict: what its trial went on from evaluated, its model checked. */
type Undecided = "compare" | "check";

interface Accepted {
  readonly row: Omit<typeof shares.$inferInsert, "taskId"> & Pick<ShareRow, "taskId">;
  readonly digest: Hex;
  readonly sessionId: string;
  /** MAC/s; null of a trial that ended early without its recipe's leave */
  readonly speed: number | null;
}

const isSameArchitecture = (a: Architecture, b: Architecture): boolean =>
  isDeepStrictEqual(a, b) || architectureHash(a) === architectureHash(b);

export function createShareDesk(options: {
  readonly queries: Queries;
  readonly identity: PoolIdentity;
  readonly receiptKey: Signer;
  readonly check: ModelCheck;
  /** the order in which the manager writes */
  readonly writing: Serial;
  readonly clock: () => number;
  readonly signatures: SignatureCheck;
  readonly paceMs: number;
  /** A share was written whose model is to be asked for. */
  readonly onDrawn?: () => void;
}): ShareDesk {
  const { queries, identity, receiptKey, check, signatures, writing, clock, paceMs, onDrawn } = options;
  const judging = new Map<string, { readonly digest: Hex; readonly verdict: Promise<Verdict> }>();
  const take = createBatches<ShareTask, Piece, Verdict | Undecided>({
    // A miner that hands in waits for its receipt; the others only for their next job.
    turn: (work) => writing(work, { first: true }),
    most: MAX_TOGETHER,
    period: paceMs,
    async work(task, pieces) {
      try {
        const { verdicts, accepted } = await queries.transaction((tx) => takeTogether(tx, task, pieces));
        if (accepted.some(({ row }) => row.audit === "due")) onDrawn?.();
        return verdicts;
      } catch (error) {
        task.proposer.forget();
        throw error;
      }
    },
  });

  /** Everything that can be said of a share by itself and its lease; null where there is nothing against it. */
  async function examine(
    tx: Queries,
    { taskId, descriptor, endsAt }: ShareTask,
    { miner, signed: { share }, digest, receipt }: Piece,
    lease: LeaseRow | undefined,
  ): Promise<Verdict | null> {
    // What was said before is said again, whatever has become of the task.
    if (lease?.miner === miner && lease.shareDigest === digest) {
      const earlier = await earlierVerdict(tx, lease, digest);
      if (earlier !== null) return earlier;
    }
    if (share.taskId !== taskId) return refuse(`The pool is not working on task ${share.taskId}.`);
    if (lease === undefined || lease.taskId !== taskId) return refuse(`There is no lease ${share.lease}.`, true);
    if (lease.miner !== miner) return refuse(`Lease ${share.lease} belongs to another miner.`, true);
    if (receipt === null) return refuse(`The share of lease ${share.lease} is not signed by ${miner}.`, true);
    const earlier = await earlierVerdict(tx, lease, digest);
    if (earlier !== null) return earlier;
    if (clock() > endsAt) return refuse(`Task ${taskId} takes no more shares.`);
    if (!isSameArchitecture(share.architecture, lease.architecture) || share.seed !== lease.seed) {
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

  async function earlierVerdict(tx: Queries, lease: LeaseRow, digest: Hex): Promise<Verdict | null> {
    if (lease.state === "live" || lease.state === "expired") return null;
    if (lease.state === "reissued" || lease.state === "given-up") {
      return refuse(`Lease ${lease.id} ran out and was given to another miner.`);
    }
    if (lease.shareDigest !== digest) return refuse(`Lease ${lease.id} has had its share; there is one a lease.`);
    if (lease.state !== "done") return refuse(lease.refusal ?? `Lease ${lease.id} is closed.`);
    const [share] = await tx.select().from(shares).where(eq(shares.leaseId, lease.id));
    return {
      kind: "accepted",
      receipt: share!.receipt,
      best: (await bestShare(tx, lease.taskId))?.id === share!.id,
      keep: share!.holder === "miner",
    };
  }

  async function judge(
    task: ShareTask,
    miner: Address,
    signed: SignedShare,
    digest: Hex,
    fetchModel: (modelRoot: Hex, maxBytes: number) => Promise<Uint8Array>,
  ): Promise<Verdict> {
    const { share, signature } = signed;
    const { taskId, lease, modelRoot } = share;
    const arrivedAt = clock();
    const isSigned = await signatures.isSigned(miner, digest, signature);
    const receipt = isSigned
      ? await receiptKey.sign(shareReceiptData(identity, { taskId, miner, lease, modelRoot, share: digest }))
      : null;
    const piece: Piece = { miner, signed, digest, receipt, gained: false, bytes: null, arrivedAt };
    return decide(task, piece, fetchModel);
  }

  async function decide(
    task: ShareTask,
    piece: Piece,
    fetchModel: (modelRoot: Hex, maxBytes: number) => Promise<Uint8Array>,
  ): Promise<Verdict> {
    const { digest, miner, signed } = piece;
    const { share } = signed;
    const { taskId, descriptor } = task;
    const lease = { id: share.lease, taskId, miner };
    const verdict = await take(task, piece);
    if (verdict === "compare") {
      const [row] = await queries.select({ resumes: leases.resumes }).from(leases).where(eq(leases.id, lease.id));
      const back = await handedBack(queries, check, task, row!, share);
      if (back !== null) return writing(() => close(queries, lease, digest, back));
      return decide(task, { ...piece, gained: true }, fetchModel);
    }
    if (verdict !== "check") return verdict;
    let bytes: Uint8Array;
    try {
      bytes = await fetchModel(share.modelRoot, descriptor.maxModelBytes);
    } catch (error) {
      // The manager leased a trial whose file does not fit: nobody's lie, and another attempt would end the same.
      if (!(error instanceof PonasError) || error.code !== "model-too-large") throw error;
      return writing(() => close(queries, lease, digest, (error as PonasError).message));
    }
    const lie = await check.full(task, share, bytes);
    if (lie === null) return decide(task, { ...piece, bytes }, fetchModel);
    await writing(() => queries.transaction((tx) => unmask(tx, lease, digest, lie)));
    return { kind: "false", reason: lie };
  }

  /** Judges shares in their order, each after those before it, and writes what is accepted. */
  async function takeTogether(
    tx: Queries,
    task: ShareTask,
    pieces: readonly Piece[],
  ): Promise<{ verdicts: (Verdict | Undecided)[]; accepted: readonly Accepted[] }> {
    const { taskId, descriptor, audit, proposer } = task;
    const ids = pieces.map(({ signed }) => signed.share.lease);
    const roots = pieces.map(({ signed }) => signed.share.modelRoot);
    const of = [...new Set(pieces.map(({ miner }) => miner))];
    const [leased, [taskRow], known, barred, atRisk, bestBefore] = await Promise.all([
      tx.select().from(leases).where(isAnyOf(leases.id, ids)),
      tx.select({ closed: tasks.closed }).from(tasks).where(eq(tasks.taskId, taskId)),
      tx
        .select({ modelRoot: shares.modelRoot })
        .from(shares)
        .where(and(eq(shares.taskId, taskId), isAnyOf(shares.modelRoot, roots))),
      tx
        .select({ address: miners.address, reason: miners.banReason })
        .from(miners)
        .where(and(isAnyOf(miners.address, of), isNotNull(miners.bannedAt))),
      workAtRisk(tx, taskId, of),
      bestShare(tx, taskId),
    ]);
    const leaseOf = new Map(leased.map((lease) => [lease.id, lease]));
    const taken = new Set(known.map(({ modelRoot }) => modelRoot));
    const banned = new Map(barred.map(({ address, reason }) => [address, reason!]));
    const parents = await parentsOf(tx, leased);
    let best = bestBefore?.correct ?? -1;
    const accepted: Accepted[] = [];
    const verdicts: (Verdict | Undecided)[] = [];

    async function judgeOne(piece: Piece): Promise<Verdict | Undecided> {
      const { signed, digest, miner, bytes, arrivedAt, receipt } = piece;
      const { share, signature } = signed;
      const lease = leaseOf.get(share.lease);
      const against = await examine(tx, task, piece, lease);
      if (against !== null) return against;
      if (taskRow!.closed) return refuse(`Task ${taskId} takes no more shares.`);
      const { modelRoot } = share;
      const { correct, total } = share.validation;
      if (taken.has(modelRoot)) {
        return close(tx, lease!, digest, `The model ${modelRoot} is already among the pool's shares.`);
      }
      const ban = banned.get(miner);
      if (ban !== undefined) return refuse(ban);
      if (!piece.gained && lease!.resumes !== null) return "compare";
      // The best only ever rises, so what does not beat it now never will.
      if (bytes === null && correct > best) return "check";

      const { id: leaseId, parentShare, part } = lease!;
      const work = creditedWork(
        leaseWork(share.architecture, share.epochs, descriptor.trainCount),
        correct,
        parentShare === null ? null : parents.get(parentShare)!,
      );
      const chance = auditChance({ rate: audit.rate, work, atRisk: atRisk.get(miner) ?? 0n });
      const drawn = isDrawn(audit.secret, taskId, leaseId, chance);
      const state = bytes !== null ? "passed" : drawn ? "due" : "none";
      const row = {
        taskId,
        leaseId,
        miner,
        share: { ...share, taskId: share.taskId.toString() },
        signature,
        receipt: receipt!,
        modelRoot,
        correct,
        total,
        acceptedAt: clock(),
        work,
        chance,
        audit: state,
        holder: bytes !== null ? "manager" : "miner",
      } as const;
      if (bytes !== null) await tx.insert(models).values({ taskId, modelRoot, bytes });
      taken.add(modelRoot);
      atRisk.set(miner, (atRisk.get(miner) ?? 0n) + atRiskOf(row));
      await proposer.tell(tx, part, share.architecture, correct / total);
      const macs = trialMacs(share.architecture, share.epochs, descriptor.trainCount);
      const speed = (1000 * macs) / Math.max(1, arrivedAt - lease!.issuedAt);
      const { epochs, earlyStop } = lease!.settings;
      // A recipe that stops early does so in most of its trials; in any other something has gone wrong.
      const tells = share.epochs === epochs || (earlyStop !== undefined && share.epochs > 0);
      accepted.push({ row, digest, sessionId: lease!.sessionId, speed: tells ? speed : null });
      const isBest = correct > best;
      best = Math.max(best, correct);
      return { kind: "accepted", receipt: receipt!, best: isBest, keep: bytes === null };
    }

    await proposer.together(tx, async () => {
      for (const piece of pieces) verdicts.push(await judgeOne(piece));
    });
    await write(tx, accepted);
    return { verdicts, accepted };
  }

  async function write(tx: Queries, accepted: readonly Accepted[]): Promise<void> {
    if (accepted.length === 0) return;
    // A session's speeds one after another; nearly always there is one.
    let speeds = accepted.filter(({ speed }) => speed !== null);
    const firsts = (): Accepted[] => [...new Map(speeds.toReversed().map((one) => [one.sessionId, one])).values()];
    const now = firsts();
    await Promise.all([
      tx
        .update(leases)
        .set({ state: "done", shareDigest: sql`given.digest` })
        .from(
          given(
            [
              ["id", "bigint"],
              ["digest", "text"],
            ],
            accepted.map(({ row, digest }) => ({ id: row.leaseId, digest })),
          ),
        )
        .where(sql`${leases.id} = given.id`),
      insertAll(
        tx,
        shares,
        accepted.map(({ row }) => row),
      ),
      measure(tx, now),
    ]);
    for (let done = now; (speeds = speeds.filter((one) => !done.includes(one))).length > 0;) {
      await measure(tx, (done = firsts()));
    }
  }

  /** The claimed speed of the benchmark counts for nothing once there is a measured one. */
  async function measure(tx: Queries, of: readonly Accepted[]): Promise<void> {
    if (of.length === 0) return;
    await tx
      .update(sessions)
      .set({
        speed: sql`CASE WHEN ${sessions.measured} = 0 THEN given.speed
                   ELSE ${sessions.speed} * ${1 - SPEED_WEIGHT}::double precision + ${SPEED_WEIGHT}::double precision * given.speed END`,
        measured: sql`${sessions.measured} + 1`,
      })
      .from(
        given(
          [
            ["id", "text"],
            ["speed", "double precision"],
          ],
          of.map(({ sessionId, speed }) => ({ id: sessionId, speed })),
        ),
      )
      .where(sql`${sessions.id} = given.id`);
  }

  /** Right on the validation split by the models that exploit leases have to beat, by share. */
  async function parentsOf(tx: Queries, of: readonly LeaseRow[]): Promise<Map<number, number>> {
    const ids = of.flatMap(({ parentShare }) => (parentShare === null ? [] : [parentShare]));
    if (ids.length === 0) return new Map();
    const rows = await tx
      .select({ id: shares.id, correct: shares.correct })
      .from(shares)
      .where(isAnyOf(shares.id, ids));
    return new Map(rows.map(({ id, correct }) => [id, correct]));
  }

  /** Ends a lease without a share. */
  async function close(tx: Queries, lease: Pick<LeaseRow, "id">, digest: Hex, reason: string): Promise<Verdict> {
    await tx
      .update(leases)
      .set({ state: "refused", shareDigest: digest, refusal: reason })
      .where(and(eq(leases.id, lease.id), inArray(leases.state, ["live", "expired"])));
    return refuse(reason);
  }

  async function unmask(
    tx: Queries,
    lease: Pick<LeaseRow, "id" | "taskId" | "miner">,
    digest: Hex,
    why: string,
  ): Promise<void> {
    const { id, taskId, miner } = lease;
    await tx.update(leases).set({ state: "refused", shareDigest: digest, refusal: why }).where(eq(leases.id, id));
    await condemn(tx, { taskId, miner, lease: id, why, now: clock() });
  }

  return {
    async recall(miner, { share }) {
      const [lease] = await queries.select().from(leases).where(eq(leases.id, share.lease));
      const digest = digestOf(shareData(identity, share));
      return lease?.miner === miner && lease.shareDigest === digest ? earlierVerdict(queries, lease, digest) : null;
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
