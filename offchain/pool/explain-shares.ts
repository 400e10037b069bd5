/**
 * Checks a split's shares file: who signed what, whether the points follow from the shares by the pool's scheme, and
 * whether they make the tree whose root was posted. Nothing here asks the manager.
 */
import { getAddress } from "viem";

import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import { auditCommitment, isDrawn } from "./audit-draw.ts";
import { cite, find, type Disagreement, type FetchedFile, type PoolFacts, type TaskFacts } from "./explain-facts.ts";
import { splitOf, type DerivedSplit } from "./explain-pool.ts";
import {
  createScheme,
  creditedWork,
  leaseWork,
  pointsByMiner,
  schemeIdOf,
  type CountedTrial,
  type PointsScheme,
} from "./points-schemes.ts";
import { buildPointsTree, type PointsLeaf, type PointsTree } from "./points-tree.ts";
import { readSharesFile, type ListedShare, type SharesFile } from "./shares-file.ts";
import { digestOf, isSignedBy, shareData, shareReceiptData } from "./signatures.ts";

export interface CheckedSplit extends DerivedSplit {
  readonly disagreements: readonly Disagreement[];
  /** sentences about what was checked */
  readonly verified: readonly string[];
  /** sentences about what rests on the manager's word */
  readonly trusted: readonly string[];
}

/** What a task's descriptor says that points depend on. */
export interface DescribedTask {
  readonly classes: number;
  /** images of one epoch */
  readonly trainCount: number;
}

type Disagree = (kind: Disagreement["kind"], message: string, account?: Address | null) => void;

/** What a check of a file adds to. */
interface Findings {
  readonly facts: TaskFacts;
  readonly pool: PoolFacts;
  readonly what: string;
  readonly disagree: Disagree;
  readonly verified: string[];
  readonly trusted: string[];
}

/**
 * @param described null where the task's descriptor could not be had
 * @returns null where no split of the pool's own stands
 */
export async function checkSplit(options: {
  readonly facts: TaskFacts;
  readonly pool: PoolFacts;
  readonly file: FetchedFile | undefined;
  readonly described: DescribedTask | null;
  readonly signal?: AbortSignal | undefined;
}): Promise<CheckedSplit | null> {
  const { facts, pool, described, signal } = options;
  const posted = splitOf(pool);
  if (posted === undefined) return null;
  const disagreements: Disagreement[] = [];
  const findings: Findings = {
    facts,
    pool,
    what: `The shares file of task ${facts.taskId} of the pool ${pool.pool}`,
    disagree: (kind, message, account = null) =>
      void disagreements.push({
        kind,
        account,
        pool: pool.pool,
        message,
        remedy: remedyOf(kind, account, facts, pool),
      }),
    verified: [],
    trusted: [],
  };
  const { what, disagree, verified, trusted } = findings;
  const file = readFetched(options.file, what, disagree);
  if (file === null) return { tree: null, pointsOf: () => [], disagreements, verified, trusted };
  verified.push(`the shares file's bytes are those of its CID (${cite(posted)})`);
  checkNames(file, described, findings);
  await checkSignatures(file, findings, signal);
  const scheme = createScheme(file.scheme);
  const shares = checkShares(file, scheme, described, findings);
  const points = scheme.score(shares.map(({ trial }) => trial));
  shares.forEach(({ listed }, i) => {
    if (listed.points === points[i]) return;
    const message = `${what} gives lease ${listed.lease} ${listed.points} points, but by the scheme "${scheme.text}" it has ${points[i]}.`;
    disagree("points", message, listed.miner);
  });
  checkWinner(file, scheme, findings);
  if (scheme.unproven !== null) trusted.push(scheme.unproven);

  const leaves = pointsByMiner(
    shares.map(({ trial }) => trial),
    points,
  );
  checkList(file, leaves, findings);
  const { root, depth, count, sum } = posted.args;
  const isPosted = (tree: PointsTree | null): boolean =>
    tree?.root === root && tree.depth === depth && tree.count === count && tree.sum === sum;
  const byShares = treeOf(leaves);
  const byList = treeOf(file.points);
  if (isPosted(byShares)) verified.push("the tree was rebuilt from the shares, and its root is the posted one");
  else {
    const follows =
      byShares === null
        ? "no tree follows"
        : `the root ${byShares.root} over ${byShares.sum} points of ${byShares.count} miners follows`;
    disagree(
      "split",
      `The pool ${pool.pool} posted the root ${root} over ${sum} points of ${count} miners (${cite(posted)}); from the shares of its file ${follows}.`,
    );
  }
  return {
    tree: [byShares, byList].find(isPosted) ?? null,
    pointsOf: (miner) => shares.flatMap((entry, i) => (entry.trial.miner === miner ? [lineOf(entry, points[i]!)] : [])),
    disagreements,
    verified,
    trusted,
  };
}

/** The leaves of an earlier task's split by which another reward is paid; null where its file does not make that root. */
export function treeOfFile(fetched: FetchedFile | undefined, root: Hex): PointsTree | null {
  const file = readFetched(fetched, "The shares file", () => undefined);
  const tree = file === null ? null : treeOf(file.points);
  return tree?.root === root ? tree : null;
}

function readFetched(fetched: FetchedFile | undefined, what: string, disagree: Disagree): SharesFile | null {
  if (fetched === undefined || "fault" in fetched) {
    disagree("file", `${what} cannot be had: ${fetched?.fault ?? "it was not fetched."}`);
    return null;
  }
  try {
    return readSharesFile(fetched.bytes, what);
  } catch (error) {
    if (!(error instanceof PonasError)) throw error;
    disagree("file", error.message);
    return null;
  }
}

/** The file is this split's, and counts as the pool and the task say. */
function checkNames(
  file: SharesFile,
  described: DescribedTask | null,
  { facts, pool, what, disagree, ...rest }: Findings,
): void {
  const entered = find(pool.events, "TaskEntered");
  const says = (name: string, said: unknown, is: unknown): void => {
    if (said !== is) disagree("file", `${what} says ${name} ${String(said)}, not ${String(is)}.`);
  };
  says("chainId", file.chainId, facts.chainId);
  says("pool", file.pool, pool.pool);
  says("taskId", file.taskId, facts.taskId);
  if (entered !== undefined) says("receiptKey", file.receiptKey, entered.args.receiptKey);
  if (schemeIdOf(file.scheme) !== pool.schemeId) {
    disagree("file", `${what} counts by the scheme "${createScheme(file.scheme).text}", which is not the pool's.`);
  }
  says("schemeText", file.schemeText, createScheme(file.scheme).text);
  const own = file.tasks.find(({ taskId }) => taskId === facts.taskId);
  if (own === undefined) disagree("file", `${what} says nothing of its own task.`);
  else {
    says("testCount", own.testCount, facts.testCount);
    if (described === null) rest.trusted.push("classes and training images: the task's descriptor could not be had");
    else {
      says("classes", own.classes, described.classes);
      says("trainCount", own.trainCount, described.trainCount);
    }
  }
  if (new Set(file.tasks.map(({ taskId }) => taskId)).size < file.tasks.length) {
    disagree("file", `${what} says twice of a task how its shares are counted.`);
  }
  for (const { taskId, audit } of file.tasks) {
    if (auditCommitment(audit.secret) === audit.commitment) continue;
    disagree("file", `${what} reveals a secret of the audits of task ${taskId} that does not hash to its commitment.`);
  }
}

async function checkSignatures(
  file: SharesFile,
  { facts, pool, what, disagree, verified }: Findings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const identity = { chainId: facts.chainId, pool: pool.pool };
  let signed = 0;
  for (const { miner, lease, modelRoot, taskId, share, signature, receipt } of file.shares) {
    signal?.throwIfAborted();
    const says = (fault: string): void => disagree("share", `${what}: the share of lease ${lease} ${fault}.`, miner);
    if (share.taskId !== taskId) says(`was signed for task ${share.taskId}`);
    else if (share.lease !== lease) says(`was signed for lease ${share.lease}`);
    else if (share.modelRoot !== modelRoot) says(`was signed for the model ${share.modelRoot}`);
    else if (!isSignedBy(miner, shareData(identity, share), signature)) says(`is not signed by ${miner}`);
    else signed += 1;
    // Another task's receipts may be of another key.
    if (taskId !== facts.taskId) continue;
    const digest = digestOf(shareData(identity, share));
    const accepted = shareReceiptData(identity, { taskId, miner, lease, modelRoot, share: digest });
    if (!isSignedBy(file.receiptKey, accepted, receipt)) says(`has no receipt of ${file.receiptKey}`);
  }
  verified.push(`${signed} of ${file.shares.length} shares carry their miner's valid signature (EIP-712)`);
}

interface Share {
  readonly listed: ListedShare;
  readonly trial: CountedTrial;
}

/** Every share as the scheme is to see it, with what follows put in the place of what the file says. */
function checkShares(
  file: SharesFile,
  scheme: PointsScheme,
  described: DescribedTask | null,
  findings: Findings,
): Share[] {
  const { facts, what, disagree, trusted } = findings;
  const leases = new Map<number, ListedShare>();
  const models = new Map<string, ListedShare>();
  let before = 0;
  for (const listed of file.shares) {
    const { lease, miner, modelRoot, number, voided, taskId } = listed;
    if (leases.has(lease)) disagree("share", `${what} lists the lease ${lease} twice.`, miner);
    else leases.set(lease, listed);
    if (number <= before) disagree("file", `${what} does not list its shares in ascending order at lease ${lease}.`);
    before = number;
    if (voided) continue;
    const twin = models.get(`${taskId} ${modelRoot}`);
    if (twin === undefined) models.set(`${taskId} ${modelRoot}`, listed);
    else {
      const message = `${what} counts the model ${modelRoot} twice, for the leases ${twin.lease} and ${lease}.`;
      disagree("share", message, miner);
    }
  }
  const liars = new Set(
    file.shares.filter(({ audit }) => audit === "false").map(({ taskId, miner }) => `${taskId} ${miner}`),
  );
  const newest = file.shares.findLast(({ taskId }) => taskId === facts.taskId)?.number ?? 0;
  sayTrusted(file, scheme, findings);
  const tasks = new Map(file.tasks.map((task) => [task.taskId, task]));
  let older = 0;
  const shares = file.shares.map((listed): Share => {
    const { taskId, miner, lease, kind, share, epochs, chance, audit, voided, testCorrect, number } = listed;
    const says = (message: string): void => disagree("points", `${what}: lease ${lease} ${message}.`, miner);
    const task = tasks.get(taskId);
    const parent = listed.parent === null ? undefined : leases.get(listed.parent);
    const own = taskId === facts.taskId;
    if (!own && scheme.window === null) {
      says(`is of task ${taskId}, and the scheme "${scheme.text}" counts no other task's`);
    } else if (!own && number > newest) says("is of another task, and was accepted after all of this one");
    if (!own && testCorrect !== null) says("is of another task, and counts on this one's test set");
    if (audit === "due" && !voided) says("was drawn for an audit that nobody has ended");
    if (!voided && liars.has(`${taskId} ${miner}`)) says("counts, although an audit has found its miner lying");
    const [needs, has] = [kind === "exploit", listed.parent !== null];
    if (needs !== has || needs !== (listed.parentCorrect !== null))
      says(
        `is ${kind} and has ${has ? `the parent ${listed.parent}` : "no parent"}, with ${listed.parentCorrect ?? "nothing"} correct`,
      );
    if (parent !== undefined && (parent.taskId !== taskId || parent.number >= number)) {
      says(`goes on from lease ${parent.lease}, which is not of an earlier trial of its task`);
    }
    const parentCorrect = parent?.share.validation.correct ?? listed.parentCorrect;
    if (parentCorrect !== listed.parentCorrect) {
      says(`goes on from ${listed.parentCorrect} correct on validation, but its parent's share says ${parentCorrect}`);
    }
    if (has && parent === undefined) {
      if (own) says(`goes on from lease ${listed.parent}, which the file does not list`);
      else older += 1;
    }
    if (share.epochs > epochs) says(`was for ${epochs} epochs, and its share says ${share.epochs}`);
    const { correct } = share.validation;
    let { work, baseline } = listed;
    if (task === undefined) says(`is of task ${taskId}, of which the file says nothing`);
    else {
      const trainCount = (taskId === facts.taskId ? described?.trainCount : undefined) ?? task.trainCount;
      const done = leaseWork(share.architecture, share.epochs, trainCount);
      work = creditedWork(done, correct, parentCorrect);
      if (work !== listed.work) {
        says(
          `is given work of ${listed.work}, but ${share.epochs} epochs of its network are ${done}, of which ${work} is credited`,
        );
      }
      if (chance < task.audit.rate)
        says(`was audited with a chance of ${chance} in a million, under the rate of ${task.audit.rate}`);
      if (audit === "none" && !voided && isDrawn(task.audit.secret, taskId, lease, chance)) {
        says("was drawn for an audit, and has none");
      }
    }
    if (own && testCorrect !== null) {
      if (testCorrect > facts.testCount) says(`has ${testCorrect} correct of ${facts.testCount} test samples`);
      const classes = described?.classes ?? task?.classes ?? 1;
      const follows: number =
        kind === "explore" ? Math.ceil(facts.testCount / classes) : (parent?.testCorrect ?? facts.testCount);
      if (follows !== baseline) says(`has the baseline ${baseline}, but ${sourceOf(listed, follows)}`);
      baseline = follows;
    }
    // What is counted on another task's test set is worth nothing here.
    const trial = {
      taskId,
      miner,
      number,
      testCorrect: own ? testCorrect : null,
      baseline,
      work,
      chance,
      audit,
      voided,
    };
    return { listed, trial };
  });
  if (older > 0) trusted.push(`what ${older} trials go on from: their parents are older than what the file lists`);
  return shares;
}

/** What of a file nobody but the manager, or the miner concerned, can tell. */
function sayTrusted(file: SharesFile, scheme: PointsScheme, { facts, trusted }: Findings): void {
  const say = (shares: readonly ListedShare[], word: (count: string) => string): void => {
    if (shares.length > 0) trusted.push(word(shares.length === 1 ? "1 share" : `${shares.length} shares`));
  };
  const voided = file.shares.filter((share) => share.voided);
  const why = [...new Set(voided.map(({ reason }) => reason ?? "no reason given"))].join("; ");
  say(voided, (count) => `that ${count} count for nothing is the manager's word: ${why}`);
  const standing = file.shares.filter((share) => !share.voided);
  if (scheme.terms.name !== "performance") {
    say(
      standing.filter(({ audit }) => audit === "missing"),
      (count) => `that the models of ${count} were drawn and not handed over is the manager's word`,
    );
  }
  if (scheme.countsTest) {
    const own = standing.filter(({ taskId }) => taskId === facts.taskId);
    const counted = own.filter(({ testCorrect }) => testCorrect !== null);
    if (counted.length > 1) trusted.push("test counts of shares other than the winner's: their models are not public");
    say(
      own.filter(({ testCorrect }) => testCorrect === null),
      (count) => `that the models of ${count} were not there to be counted on the test set is the manager's word`,
    );
  }
  trusted.push("that no accepted share is left out: every miner holds its own receipts against the file");
  trusted.push("what each lease was for (its kind, its parent, its epochs): its miner knows its job");
  trusted.push("what audits have found, and that their secret is the one whose hash stood in the miners' jobs");
}

function sourceOf({ kind, parent }: ListedShare, follows: number): string {
  return kind === "explore" ? `chance is ${follows}` : `its parent, lease ${parent}, has ${follows}`;
}

/** How one share comes to its points. */
function lineOf({ listed, trial }: Share, points: bigint): string {
  const { lease, kind, reason, taskId } = listed;
  const { testCorrect, baseline, work, audit, voided } = trial;
  const counted =
    testCorrect === null
      ? []
      : [
          `${testCorrect} correct on the test set, baseline ${baseline} (${kind === "explore" ? "chance" : `lease ${listed.parent}`})`,
        ];
  const facts = [`task ${taskId}`, ...counted, `work ${work}`, `audit: ${audit}`, ...(voided ? ["void"] : [])];
  return `lease ${lease} (${kind}): ${facts.join(", ")}: ${points} points${reason === null ? "" : `; ${reason}`}`;
}

/** The winner's count is the chain's: predictions were counted against the labels there. */
function checkWinner(
  file: SharesFile,
  { countsTest }: PointsScheme,
  { facts, pool, what, disagree, verified }: Findings,
): void {
  const block = find(facts.events, "BlockConfirmed");
  if (block === undefined || block.args.winner !== pool.pool) return;
  const { modelRoot, correct } = block.args;
  const winner = file.shares.find((listed) => listed.modelRoot === modelRoot && listed.taskId === facts.taskId);
  if (winner === undefined) {
    disagree("share", `${what} lists no share with the model that won, ${modelRoot} (${cite(block)}).`);
  } else if (winner.testCorrect === null ? countsTest && !winner.voided : winner.testCorrect !== correct) {
    const message = `${what} counts ${winner.testCorrect ?? "nothing"} correct for the model that won; the chain counted ${correct} (${cite(block)}).`;
    disagree("points", message, winner.miner);
  } else {
    verified.push(
      `the winning model, ${correct} correct by the chain's count, is the share of lease ${winner.lease} by ${winner.miner}`,
    );
  }
}

/** The list of points beside the shares: the same sums, ascending by account, each account once. */
function checkList(file: SharesFile, leaves: readonly PointsLeaf[], { pool, what, disagree }: Findings): void {
  const posted = splitOf(pool)!;
  const sums = new Map(leaves.map(({ account, points }) => [account, points]));
  const seen = new Set<Address>();
  let before = "";
  for (const { account: said, points } of file.points) {
    const account = getAddress(said);
    const follows = sums.get(account) ?? 0n;
    if (seen.has(account)) disagree("points", `${what} lists ${account} twice.`, account);
    else if (follows !== points) {
      disagree("points", `${what} gives ${account} ${points} points, but its shares have ${follows}.`, account);
    }
    if (account.toLowerCase() < before) disagree("file", `${what} does not list its accounts in ascending order.`);
    seen.add(account);
    before = account.toLowerCase();
  }
  for (const { account, points } of leaves) {
    if (seen.has(account)) continue;
    disagree("points", `${what} leaves out ${account}, whose shares have ${points} points.`, account);
  }
  const { root, sum } = posted.args;
  if (file.root !== root) disagree("file", `${what} says the root ${file.root}; ${root} was posted (${cite(posted)}).`);
  if (file.total !== sum) disagree("file", `${what} says ${file.total} points; ${sum} were posted (${cite(posted)}).`);
}

function treeOf(leaves: readonly PointsLeaf[]): PointsTree | null {
  try {
    return buildPointsTree(leaves);
  } catch {
    return null; // no leaves, or an account twice: said where the list is checked
  }
}

/** What the pool's contract lets anybody do about it now (contracts/interfaces/IPool.sol "Objections"). */
function remedyOf(
  kind: Disagreement["kind"],
  account: Address | null,
  facts: TaskFacts,
  pool: PoolFacts,
): string | null {
  const posted = splitOf(pool);
  if (pool.phase !== "Objection" || posted === undefined) return null;
  const until = `until ${new Date(pool.deadline * 1000).toISOString()}`;
  const leaf = `demandLeaf(${facts.taskId}, i) on ${pool.pool} for any i below ${posted.args.count}, with a bond, ${until}`;
  if (kind === "file" || kind === "split") return leaf;
  if (account === null) return null;
  return `where ${account} was given too little: objectMissing(${facts.taskId}, ${account}, …) on ${pool.pool} with its points receipt, ${until}`;
}
