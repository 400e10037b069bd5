/**
 * Checks a split's shares file: who signed what, whether the points follow from the shares by the scheme, and whether
 * they make the tree whose root was posted. Nothing here asks the manager.
 */
import { getAddress, isAddress } from "viem";
import { z } from "zod";

import { parseWith } from "../protocol/architecture.ts";
import { keccak256, type Address, type Hex } from "../protocol/bytes.ts";
import { explainError } from "../protocol/errors.ts";
import { cite, find, type Disagreement, type FetchedFile, type PoolFacts, type TaskFacts } from "./explain-facts.ts";
import { splitOf, type DerivedSplit } from "./explain-pool.ts";
import { shareSchema } from "./messages.ts";
import { buildPointsTree, parsePoints, type PointsLeaf, type PointsTree } from "./points-tree.ts";
import { isSignedBy, shareData } from "./signatures.ts";

export interface CheckedSplit extends DerivedSplit {
  readonly disagreements: readonly Disagreement[];
  /** sentences about what was checked */
  readonly verified: readonly string[];
  /** sentences about what rests on the manager's word */
  readonly trusted: readonly string[];
}

const account = z
  .string()
  .refine((text) => isAddress(text), "expected an account's address")
  .transform((text) => getAddress(text) as Address);
const hex = z
  .string()
  .regex(/^0x[0-9a-f]*$/, "expected lower-case hex")
  .transform((text) => text as Hex);
const points = z
  .string()
  .regex(/^\d{1,39}$/, "expected points as a decimal string")
  .transform((text) => BigInt(text));
const count = z.int().min(0);

const listedShareSchema = z.looseObject({
  miner: account,
  lease: z.int().min(1),
  kind: z.enum(["explore", "exploit"]),
  parent: z.int().min(1).nullable(),
  modelRoot: hex,
  share: z.unknown(),
  signature: hex,
  testCorrect: count,
  baseline: count,
  points,
});
type ListedShare = z.infer<typeof listedShareSchema>;

const fileSchema = z.looseObject({
  format: z.literal("ponas shares 1"),
  scheme: z.literal("performance"),
  chainId: z.string(),
  pool: account,
  taskId: z.string(),
  root: hex,
  total: points,
  points: z.array(z.unknown()),
  shares: z.array(listedShareSchema),
});
type SharesFile = z.infer<typeof fileSchema>;

/**
 * @param classes of the task's template, from its descriptor; null where that could not be had
 * @returns null where the pool has posted no split
 */
export async function checkSplit(options: {
  readonly facts: TaskFacts;
  readonly pool: PoolFacts;
  readonly file: FetchedFile | undefined;
  readonly classes: number | null;
  readonly signal?: AbortSignal | undefined;
}): Promise<CheckedSplit | null> {
  const { facts, pool, file: fetched, classes, signal } = options;
  const posted = splitOf(pool);
  if (posted === undefined) return null;
  const disagreements: Disagreement[] = [];
  const disagree = (kind: Disagreement["kind"], message: string, account: Address | null = null): void =>
    void disagreements.push({ kind, account, pool: pool.pool, message, remedy: remedyOf(kind, facts, pool) });
  const nothing = { tree: null, pointsOf: () => [], verified: [], trusted: [] };
  const what = `The shares file of task ${facts.taskId} of the pool ${pool.pool}`;
  if (fetched === undefined || "fault" in fetched) {
    disagree("file", `${what} cannot be had: ${fetched?.fault ?? "it was not fetched"}`);
    return { ...nothing, disagreements };
  }
  let file: SharesFile;
  try {
    file = parseWith(fileSchema, JSON.parse(Buffer.from(fetched.bytes).toString("utf8")), what);
  } catch (error) {
    disagree("file", error instanceof SyntaxError ? `${what} is not JSON.` : explainError(error));
    return { ...nothing, disagreements };
  }
  const verified = [`the shares file's bytes are those of its CID (${cite(posted)})`];
  const trusted: string[] = [];

  // ————— The file is this split's —————

  if (BigInt(pool.schemeId) !== BigInt(keccak256(Buffer.from(file.scheme, "utf8")))) {
    disagree("file", `${what} counts by the scheme "${file.scheme}", which is not the pool's.`);
  }
  const named = { chainId: String(facts.chainId), pool: pool.pool as string, taskId: String(facts.taskId) };
  for (const [field, value] of Object.entries(named)) {
    const said = file[field as keyof typeof named];
    if (said !== value) disagree("file", `${what} says ${field} ${said}, not ${value}.`);
  }

  // ————— Shares —————

  const identity = { chainId: facts.chainId, pool: pool.pool };
  const leases = new Map<number, ListedShare>();
  const roots = new Map<Hex, ListedShare>();
  let signed = 0;
  for (const listed of file.shares) {
    signal?.throwIfAborted();
    const fault = await faultOfShare(listed, facts, identity);
    if (fault === null) signed += 1;
    else disagree("share", `${what}: the share of lease ${listed.lease} ${fault}.`, listed.miner);
    if (leases.has(listed.lease)) {
      disagree("share", `${what} lists the lease ${listed.lease} twice.`, listed.miner);
    } else leases.set(listed.lease, listed);
    const twin = roots.get(listed.modelRoot);
    if (twin !== undefined) {
      const message = `${what} counts the model ${listed.modelRoot} twice, for the leases ${twin.lease} and ${listed.lease}.`;
      disagree("share", message, listed.miner);
    } else roots.set(listed.modelRoot, listed);
  }
  verified.push(`${signed} of ${file.shares.length} shares carry their miner's valid signature (EIP-712)`);

  // ————— Points —————

  const lines = new Map<Address, string[]>();
  const sums = new Map<Address, bigint>();
  let unlisted = 0;
  for (const listed of file.shares) {
    const { miner, lease, kind, testCorrect, baseline, points: said } = listed;
    if (testCorrect > facts.testCount) {
      const message = `${what}: lease ${lease} has ${testCorrect} correct of ${facts.testCount} test samples.`;
      disagree("points", message, miner);
    }
    const classCount = classes ?? classesOf(listed);
    const parent = listed.parent === null ? undefined : leases.get(listed.parent);
    const derived = kind === "explore" ? Math.ceil(facts.testCount / classCount) : parent?.testCorrect;
    if (derived === undefined) unlisted += 1;
    else if (derived !== baseline) {
      const source = kind === "explore" ? `chance is ${derived}` : `its parent, lease ${listed.parent}, has ${derived}`;
      disagree("points", `${what}: the baseline of lease ${lease} is given as ${baseline}, but ${source}.`, miner);
    }
    const base = derived ?? baseline;
    const counted = BigInt(Math.max(0, testCorrect - base));
    if (counted !== said) {
      const message =
        `${what} gives lease ${lease} ${said} points, but ${testCorrect} correct above the baseline of ${base} ` +
        `are ${counted}.`;
      disagree("points", message, miner);
    }
    sums.set(miner, (sums.get(miner) ?? 0n) + counted);
    const above =
      kind === "explore" ? `chance, ⌈${facts.testCount}/${classCount}⌉` : `its parent's, lease ${listed.parent}`;
    const line = `lease ${lease} (${kind}): ${testCorrect} of ${facts.testCount} correct on the test set − ${base} (${above}) = ${counted} points`;
    lines.set(miner, [...(lines.get(miner) ?? []), line]);
  }
  trusted.push(
    "test counts of shares other than the winner's are the manager's word: their models are not public",
    ...(classes === null ? ["the number of classes is the shares' own: the task's descriptor could not be had"] : []),
    ...(unlisted === 0
      ? []
      : [`the baselines of ${unlisted} exploit shares, whose parents earned nothing and are not listed`]),
  );
  checkWinner({ facts, pool, roots, what, disagree, verified, trusted });

  // ————— The tree —————

  const bySharesList = [...sums].map(([miner, sum]): PointsLeaf => ({ account: miner, points: sum }));
  const byShares = treeOf(bySharesList.filter(({ points: sum }) => sum > 0n));
  const { root, depth, sum, count: leafCount } = posted.args;
  const isPosted = (tree: PointsTree | null): boolean =>
    tree?.root === root && tree.depth === depth && tree.count === leafCount && tree.sum === sum;
  let listedLeaves: PointsLeaf[] = [];
  try {
    listedLeaves = parsePoints(file.points);
  } catch (error) {
    disagree("file", `${what}: ${explainError(error)}`);
  }
  const byList = treeOf(listedLeaves);
  checkList({ leaves: listedLeaves, sums, what, disagree });
  if (file.root !== root) disagree("file", `${what} says the root ${file.root}; ${root} was posted (${cite(posted)}).`);
  if (file.total !== sum) disagree("file", `${what} says ${file.total} points; ${sum} were posted (${cite(posted)}).`);
  const tree = [byShares, byList].find(isPosted) ?? null;
  if (!isPosted(byShares)) {
    const follows =
      byShares === null ? "no tree follows" : `the tree of root ${byShares.root} over ${byShares.sum} points follows`;
    disagree(
      "split",
      `The pool ${pool.pool} posted the root ${root} over ${sum} points (${cite(posted)}); from the shares of its file ${follows}.`,
    );
  } else verified.push("the tree was rebuilt from the shares, and its root is the posted one");
  return { tree, pointsOf: (miner) => lines.get(miner) ?? [], disagreements, verified, trusted };
}

/** Why a share is not what its entry says, or null. */
async function faultOfShare(
  { share: raw, miner, lease, modelRoot, signature }: ListedShare,
  facts: TaskFacts,
  identity: { readonly chainId: bigint; readonly pool: Address },
): Promise<string | null> {
  const parsed = shareSchema.safeParse(raw);
  if (!parsed.success) return "cannot be read";
  const share = parsed.data;
  if (share.taskId !== facts.taskId) return `is one of task ${share.taskId}`;
  if (share.lease !== lease) return `was signed for lease ${share.lease}`;
  if (share.modelRoot !== modelRoot) return `was signed for the model ${share.modelRoot}`;
  const valid = await isSignedBy(miner, shareData(identity, share), signature);
  return valid ? null : `is not signed by ${miner}`;
}

function classesOf({ share }: ListedShare): number {
  const parsed = shareSchema.safeParse(share);
  return parsed.success ? parsed.data.architecture.classes : 1;
}

/** The winner's count is the chain's: predictions were counted against the labels there. */
function checkWinner(options: {
  readonly facts: TaskFacts;
  readonly pool: PoolFacts;
  readonly roots: ReadonlyMap<Hex, ListedShare>;
  readonly what: string;
  readonly disagree: (kind: Disagreement["kind"], message: string, account?: Address | null) => void;
  readonly verified: string[];
  readonly trusted: string[];
}): void {
  const { facts, pool, roots, what, disagree, verified, trusted } = options;
  const block = find(facts.events, "BlockConfirmed");
  if (block === undefined || block.args.winner !== pool.pool) return;
  const winner = roots.get(block.args.modelRoot);
  if (winner === undefined) {
    trusted.push(
      `the model that won, ${block.args.modelRoot}, is no listed share: that it earned nothing is the manager's word`,
    );
  } else if (winner.testCorrect !== block.args.correct) {
    const message = `${what} counts ${winner.testCorrect} correct for the model that won; the chain counted ${block.args.correct} (${cite(block)}).`;
    disagree("points", message, winner.miner);
  } else {
    verified.push(
      `the winner's count, ${block.args.correct}, is the chain's; its model is the share of lease ${winner.lease} by ${winner.miner}`,
    );
  }
}

/** The list of points beside the shares: the same sums, ascending by account, each account once. */
function checkList(options: {
  readonly leaves: readonly PointsLeaf[];
  readonly sums: ReadonlyMap<Address, bigint>;
  readonly what: string;
  readonly disagree: (kind: Disagreement["kind"], message: string, account?: Address | null) => void;
}): void {
  const { leaves, sums, what, disagree } = options;
  const seen = new Set<Address>();
  let before = "";
  for (const { account: said, points: listed } of leaves) {
    const miner = getAddress(said);
    const counted = sums.get(miner) ?? 0n;
    if (seen.has(miner)) disagree("points", `${what} lists ${miner} twice.`, miner);
    else if (counted !== listed) {
      disagree("points", `${what} gives ${miner} ${listed} points, but its shares have ${counted}.`, miner);
    }
    if (miner.toLowerCase() < before) disagree("file", `${what} does not list its accounts in ascending order.`);
    seen.add(miner);
    before = miner.toLowerCase();
  }
  for (const [miner, counted] of sums) {
    if (counted > 0n && !seen.has(miner)) {
      disagree("points", `${what} leaves out ${miner}, whose shares have ${counted} points.`, miner);
    }
  }
}

function treeOf(leaves: readonly PointsLeaf[]): PointsTree | null {
  try {
    return buildPointsTree(leaves);
  } catch {
    return null; // no leaves, an account twice: the caller says that no tree follows
  }
}

function remedyOf(_kind: Disagreement["kind"], _facts: TaskFacts, _pool: PoolFacts): string | null {
  return null;
}
