/**
 * Counts a task's points once its test set is released: every model that is there is evaluated on it, the pool's
 * scheme says what each trial is worth (points-schemes.ts), and each miner gets a receipt for its sum (docs/pool.md
 * "Points"). The baseline of an explore lease is chance, ⌈count / classes⌉; of an exploit lease what its parent has right.
 */
import { and, asc, desc, eq, inArray, isNull, lte, or, sql } from "drizzle-orm";

import type { Address } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Samples } from "../training/datasets.ts";
import { auditCommitment } from "./audit-draw.ts";
import type { Queries } from "./database.ts";
import { shareSchema, type PointsReceipt } from "./messages.ts";
import type { Evaluate } from "./model-check.ts";
import { pointsByMiner, type CountedTrial, type PointsScheme } from "./points-schemes.ts";
import { buildPointsTree, type PointsLeaf } from "./points-tree.ts";
import { audits, leases, models, receipts, shares, tasks, type ShareRow } from "./schema.ts";
import type { Serial } from "./serial.ts";
import { encodeSharesFile, type SharesFile } from "./shares-file.ts";
import { pointsData, type PoolIdentity, type Signer } from "./signatures.ts";
import { poolTaskDescriptorSchema, rulesOf, type PoolTaskDescriptor } from "./task.ts";

/**
 * Evaluates every model that is there on the released test set where the scheme counts it, and writes down what it has
 * right, the baselines and the points; what was written before stays, so a restart goes on where it was.
 * @throws PonasError integrity where an accepted model has become unreadable; aborted
 */
export async function countShares(options: {
  readonly queries: Queries;
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly scheme: PointsScheme;
  readonly test: Samples;
  readonly evaluate: Evaluate;
  readonly evaluating: Serial;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { queries, taskId, descriptor, scheme, test, evaluate, evaluating, signal } = options;
  const { template, maxModelBytes: maxBytes } = descriptor;
  const chance = Math.ceil(test.count / template.classes);
  await queries.update(audits).set({ testCount: test.count }).where(eq(audits.taskId, taskId));
  const rows = await queries
    .select({ share: shares, kind: leases.kind, parentShare: leases.parentShare })
    .from(shares)
    .innerJoin(leases, eq(leases.id, shares.leaseId))
    .where(eq(shares.taskId, taskId))
    .orderBy(asc(shares.id));
  // A parent was accepted before its children were leased, so it stands earlier in this order.
  const correctOf = new Map<number, number>();
  for (const { share, kind, parentShare } of rows) {
    const counted = share.testCorrect !== null && share.testTotal === test.count;
    let testCorrect = counted ? share.testCorrect : null;
    if (!counted && scheme.countsTest && share.holder === "manager") {
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
      testCorrect = evaluation.correct;
    }
    // Where the parent's model never came, nobody knows what of it is the share's own: so nothing is.
    const baseline = kind === "explore" ? chance : (correctOf.get(parentShare!) ?? test.count);
    if (testCorrect !== null) correctOf.set(share.id, testCorrect);
    if (counted && share.baseline === baseline) continue;
    await queries
      .update(shares)
      .set({ testCorrect, testTotal: testCorrect === null ? null : test.count, baseline })
      .where(eq(shares.id, share.id));
  }
  const { trials, points } = await score(queries, taskId, scheme);
  const own = trials.flatMap((trial, i) => (trial.taskId === taskId ? [{ id: trial.number, points: points[i]! }] : []));
  for (let at = 0; at < own.length; at += UPDATED_AT_ONCE) {
    const values = own
      .slice(at, at + UPDATED_AT_ONCE)
      .map(({ id, points: worth }) => sql`(${id}::bigint, ${worth.toString()}::numeric)`);
    await queries.execute(
      sql`UPDATE shares SET points = said.points FROM (VALUES ${sql.join(values, sql`, `)}) AS said (id, points) WHERE shares.id = said.id`,
    );
  }
}

const UPDATED_AT_ONCE = 500;

interface Listed {
  readonly share: ShareRow;
  readonly kind: "explore" | "exploit";
  readonly epochs: number;
  /** lease of the parent */
  readonly parent: number | null;
  readonly parentCorrect: number | null;
}

/** The trials that a task's points follow from, ascending by number: its own, and those before it in a window. */
async function listTrials(queries: Queries, taskId: bigint, scheme: PointsScheme): Promise<Listed[]> {
  const parent = queries
    .select({ id: shares.id, leaseId: shares.leaseId, correct: shares.correct })
    .from(shares)
    .as("parent");
  const select = (condition: ReturnType<typeof and>) =>
    queries
      .select({
        share: shares,
        kind: leases.kind,
        settings: leases.settings,
        parent: parent.leaseId,
        parentCorrect: parent.correct,
      })
      .from(shares)
      .innerJoin(leases, eq(leases.id, shares.leaseId))
      .leftJoin(parent, eq(parent.id, leases.parentShare))
      .where(condition);
  const rows = await select(eq(shares.taskId, taskId));
  const last = rows.reduce((most, { share }) => Math.max(most, share.id), 0);
  if (scheme.window !== null && rows.length > 0) {
    const before = await select(and(lte(shares.id, last), eq(shares.voided, false)))
      .orderBy(desc(shares.id))
      .limit(scheme.window);
    for (const row of before) if (row.share.taskId !== taskId) rows.push(row); // more than fit into one call of push
  }
  return rows.map(({ settings: { epochs }, ...row }) => ({ ...row, epochs })).sort((a, b) => a.share.id - b.share.id);
}

async function score(
  queries: Queries,
  taskId: bigint,
  scheme: PointsScheme,
): Promise<{ rows: Listed[]; trials: CountedTrial[]; points: bigint[] }> {
  const rows = await listTrials(queries, taskId, scheme);
  const trials = rows.map(({ share }): CountedTrial => {
    const { id: number, miner, testCorrect, baseline, work, chance, audit, voided } = share;
    return { taskId: share.taskId, miner, number, testCorrect, baseline: baseline ?? 0, work, chance, audit, voided };
  });
  return { rows, trials, points: scheme.score(trials) };
}

/** Tasks before this one whose trials count with it. */
export async function earlierTasks(queries: Queries, taskId: bigint, scheme: PointsScheme): Promise<bigint[]> {
  if (scheme.window === null) return [];
  const rows = await listTrials(queries, taskId, scheme);
  return [...new Set(rows.map(({ share }) => share.taskId))].filter((id) => id !== taskId);
}

/**
 * Each miner's points in a task, ascending by account, those without any left out.
 * @throws PonasError pool where shares were not counted yet
 */
export async function pointsOf(queries: Queries, taskId: bigint, scheme: PointsScheme): Promise<PointsLeaf[]> {
  const [open] = await queries
    .select({ id: shares.id })
    .from(shares)
    .where(
      and(eq(shares.taskId, taskId), or(isNull(shares.points), and(eq(shares.audit, "due"), eq(shares.voided, false)))),
    )
    .limit(1);
  if (open !== undefined) {
    throw new PonasError("pool", `The shares of task ${taskId} are counted when its test set is released.`);
  }
  const { trials, points } = await score(queries, taskId, scheme);
  return pointsByMiner(trials, points);
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
  readonly scheme: PointsScheme;
  readonly identity: PoolIdentity;
  readonly receiptKey: Signer;
  readonly clock: () => number;
}): Promise<PointsReceipt[]> {
  const { queries, taskId, scheme, identity, receiptKey, clock } = options;
  const issued: PointsReceipt[] = [];
  for (const { account: miner, points } of await pointsOf(queries, taskId, scheme)) {
    const latest = await latestReceipt(queries, taskId, miner);
    if (latest?.points === points) continue;
    const sequence = (latest?.sequence ?? 0) + 1;
    const signature = await receiptKey.sign(pointsData(identity, { taskId, miner, sequence, points }));
    await queries.insert(receipts).values({ taskId, miner, sequence, points, signature, issuedAt: clock() });
    issued.push({ taskId, miner, sequence, points, signature });
  }
  return issued;
}

/**
 * The file that a split names by its CID (shares-file.ts): every accepted share with its miner's signature and its
 * receipt, what became of it, and the points that follow. The same split gives the same bytes.
 * @throws PonasError pool where shares were not counted yet; bad-input where nobody has any points
 */
export async function writeSharesFile(
  queries: Queries,
  options: {
    readonly taskId: bigint;
    readonly scheme: PointsScheme;
    readonly identity: PoolIdentity;
    readonly receiptKey: Address;
  },
): Promise<Uint8Array> {
  const { taskId, scheme, identity, receiptKey } = options;
  const tree = buildPointsTree(await pointsOf(queries, taskId, scheme));
  const { rows, points } = await score(queries, taskId, scheme);
  const listed = rows.map(({ share: row, kind, epochs, parent, parentCorrect }, i): SharesFile["shares"][number] => {
    const { id: number, miner, leaseId: lease, modelRoot, share, signature, receipt, work, chance } = row;
    const { audit, voided, reason } = row;
    const own = row.taskId === taskId;
    return {
      number,
      taskId: row.taskId,
      miner,
      lease,
      kind,
      parent,
      parentCorrect,
      modelRoot,
      share: shareSchema.parse(share),
      signature,
      receipt,
      epochs,
      work,
      chance,
      audit,
      voided,
      reason,
      testCorrect: own ? row.testCorrect : null,
      baseline: own ? row.baseline! : 0,
      points: points[i]!,
    };
  });
  const known = await queries
    .select()
    .from(tasks)
    .innerJoin(audits, eq(audits.taskId, tasks.taskId))
    .where(inArray(tasks.taskId, [...new Set([taskId, ...rows.map(({ share }) => share.taskId)])]))
    .orderBy(asc(tasks.taskId));
  return encodeSharesFile({
    format: "ponas shares 2",
    chainId: identity.chainId,
    pool: identity.pool,
    taskId,
    receiptKey,
    scheme: scheme.terms,
    schemeText: scheme.text,
    root: tree.root,
    total: tree.sum,
    points: tree.leaves.map(({ account, points: sum }) => ({ account, points: sum })),
    tasks: known.map(({ tasks: task, audits: { rate, secret, testCount } }) => {
      const { trainCount, template } = poolTaskDescriptorSchema.parse(task.descriptor);
      return {
        taskId: task.taskId,
        trainCount,
        classes: template.classes,
        testCount: task.taskId === taskId ? testCount : null,
        audit: { rate, secret, commitment: auditCommitment(secret) },
      };
    }),
    shares: listed,
  });
}
