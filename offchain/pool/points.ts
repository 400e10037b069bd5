/**
 * Points of the `performance` scheme, counted once the test set is released: P_i = Σ over the miner's accepted shares
 * of max(0, correct on the test set − the lease's baseline) (docs/pool.md "Points"). The baseline of an explore lease
 * is chance, ⌈count / classes⌉; of an exploit lease what its parent gets right. Sums over leases: an identity split
 * changes nothing.
 */
import { and, asc, desc, eq, sql } from "drizzle-orm";

import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Samples } from "../training/datasets.ts";
import type { Queries } from "./database.ts";
import type { PointsReceipt } from "./messages.ts";
import { buildPointsTree, type PointsLeaf } from "./points-tree.ts";
import { leases, models, receipts, shares } from "./schema.ts";
import type { Serial } from "./serial.ts";
import type { Evaluate } from "./shares.ts";
import { pointsData, type PoolIdentity, type Signer } from "./signatures.ts";
import { rulesOf, type PoolTaskDescriptor } from "./task.ts";

/**
 * Evaluates every share on the released test set and writes down its points; what was written before stays, so a
 * restart goes on where it was.
 * @throws PonasError integrity where an accepted model has become unreadable; aborted
 */
export async function scoreShares(options: {
  readonly queries: Queries;
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly test: Samples;
  readonly evaluate: Evaluate;
  readonly evaluating: Serial;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { queries, taskId, descriptor, test, evaluate, evaluating, signal } = options;
  const { template, maxModelBytes: maxBytes } = descriptor;
  const rows = await queries
    .select({ share: shares, kind: leases.kind, parentShare: leases.parentShare })
    .from(shares)
    .innerJoin(leases, eq(leases.id, shares.leaseId))
    .where(eq(shares.taskId, taskId))
    .orderBy(asc(shares.id));
  // A parent was accepted before its children were leased, so it stands earlier in this order.
  const correctOf = new Map<number, number>();
  for (const { share, kind, parentShare } of rows) {
    if (share.testCorrect !== null && share.testTotal === test.count) {
      correctOf.set(share.id, share.testCorrect);
      continue;
    }
    const [model] = await queries
      .select({ bytes: models.bytes })
      .from(models)
      .where(and(eq(models.taskId, taskId), eq(models.modelRoot, share.modelRoot)));
    const evaluation = await evaluating(() =>
      evaluate(model!.bytes, { ...test, maxBytes, rules: rulesOf(descriptor), signal }),
    );
    if (evaluation.modelRoot !== share.modelRoot || evaluation.malformed !== null) {
      throw new PonasError("integrity", `The stored model of lease ${share.leaseId} is damaged.`);
    }
    const baseline = kind === "explore" ? Math.ceil(test.count / template.classes) : correctOf.get(parentShare!)!;
    const points = BigInt(Math.max(0, evaluation.correct - baseline));
    await queries
      .update(shares)
      .set({ testCorrect: evaluation.correct, testTotal: test.count, baseline, points })
      .where(eq(shares.id, share.id));
    correctOf.set(share.id, evaluation.correct);
  }
}

/**
 * Each miner's points in a task, ascending by account, those without any left out.
 * @throws PonasError pool where shares were not scored yet
 */
export async function pointsOf(queries: Queries, taskId: bigint): Promise<PointsLeaf[]> {
  const rows = await queries
    .select({ miner: shares.miner, points: shares.points })
    .from(shares)
    .where(and(eq(shares.taskId, taskId), eq(shares.voided, false)));
  const sums = new Map<Address, bigint>();
  for (const { miner, points } of rows) {
    if (points === null) {
      throw new PonasError("pool", `The shares of task ${taskId} are counted when its test set is released.`);
    }
    sums.set(miner, (sums.get(miner) ?? 0n) + points);
  }
  return [...sums]
    .filter(([, points]) => points > 0n)
    .map(([account, points]) => ({ account, points }))
    .sort((a, b) => (a.account.toLowerCase() < b.account.toLowerCase() ? -1 : 1));
}

/** The latest points receipt of a miner in a task. */
export async function latestReceipt(queries: Queries, taskId: bigint, miner: Address): Promise<PointsReceipt | null> {
  const [row] = await queries
    .select()
    .from(receipts)
    .where(and(eq(receipts.taskId, taskId), eq(receipts.miner, miner)))
    .orderBy(desc(receipts.sequence))
    .limit(1);
  if (row === undefined) return null;
  const { sequence, points, signature } = row;
  return { taskId, miner, sequence, points, signature };
}

/**
 * Signs and writes the points receipts that are due, and returns them; a miner whose latest receipt says the same
 * gets no other. A receipt is irrevocable, so it is only made of points that are final.
 */
export async function issueReceipts(options: {
  readonly queries: Queries;
  readonly taskId: bigint;
  readonly identity: PoolIdentity;
  readonly receiptKey: Signer;
  readonly clock: () => number;
}): Promise<PointsReceipt[]> {
  const { queries, taskId, identity, receiptKey, clock } = options;
  const issued: PointsReceipt[] = [];
  for (const { account: miner, points } of await pointsOf(queries, taskId)) {
    const latest = await latestReceipt(queries, taskId, miner);
    if (latest?.points === points) continue;
    const sequence = (latest?.sequence ?? 0) + 1;
    const signature = await receiptKey.sign(pointsData(identity, { taskId, miner, sequence, points }));
    await queries.insert(receipts).values({ taskId, miner, sequence, points, signature, issuedAt: clock() });
    issued.push({ taskId, miner, sequence, points, signature });
  }
  return issued;
}

/** A credited share as the shares file lists it. */
export interface CreditedShare {
  readonly miner: Address;
  readonly lease: number;
  readonly kind: "explore" | "exploit";
  /** lease of the share whose test accuracy is the baseline; null for explore leases */
  readonly parent: number | null;
  readonly modelRoot: Hex;
  /** the share as its miner signed it */
  readonly share: unknown;
  readonly signature: Hex;
  readonly testCorrect: number;
  readonly baseline: number;
  readonly points: string;
}

/**
 * The file that a split names by its CID: every credited share with its miner's signature, and the points that follow
 * from them. JSON with sorted keys and without white space, so that the same split gives the same bytes.
 * @throws PonasError pool where shares were not scored yet; bad-input where nobody has any points
 */
export async function writeSharesFile(queries: Queries, identity: PoolIdentity, taskId: bigint): Promise<Uint8Array> {
  const leaves = await pointsOf(queries, taskId);
  const tree = buildPointsTree(leaves);
  const parent = queries.select({ id: shares.id, leaseId: shares.leaseId }).from(shares).as("parent");
  const rows = await queries
    .select({ share: shares, kind: leases.kind, parent: parent.leaseId })
    .from(shares)
    .innerJoin(leases, eq(leases.id, shares.leaseId))
    .leftJoin(parent, eq(parent.id, leases.parentShare))
    .where(and(eq(shares.taskId, taskId), eq(shares.voided, false), sql`${shares.points} > 0`))
    .orderBy(asc(shares.id));
  const credited = rows.map(({ share: row, kind, parent: parentLease }): CreditedShare => {
    const { miner, leaseId: lease, modelRoot, share, signature, testCorrect, baseline, points } = row;
    return {
      miner,
      lease,
      kind,
      parent: parentLease,
      modelRoot,
      share,
      signature,
      testCorrect: testCorrect!,
      baseline: baseline!,
      points: points!.toString(),
    };
  });
  const file = {
    format: "ponas shares 1",
    scheme: "performance",
    chainId: identity.chainId.toString(),
    pool: identity.pool,
    taskId: taskId.toString(),
    root: tree.root,
    total: tree.sum.toString(),
    points: tree.leaves.map(({ account, points }) => ({ account, points: points.toString() })),
    shares: credited,
  };
  return Buffer.from(canonicalJson(file), "utf8");
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === "object" && entry !== null && !Array.isArray(entry)
      ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
      : entry,
  );
}
