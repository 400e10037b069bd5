/**
 * What a pool's contract owes of one task, re-derived from its events and the leaves of its split by the rules of
 * contracts/Pool.sol: the manager's fee, every leaf's payment, payments by receipts, and what goes to the float.
 */
import { CREDIT_REASONS } from "../protocol/abi.ts";
import { formatAmount } from "../protocol/amounts.ts";
import type { Address } from "../protocol/bytes.ts";
import {
  all,
  cite,
  find,
  type Disagreement,
  type Due,
  type PoolEvent,
  type PoolFacts,
  type TaskFacts,
} from "./explain-facts.ts";
import { feeOf, paymentOf, type PointsTree } from "./points-tree.ts";

/** Money that a pool's manager gets back into its float: its own bonds, or a reward that nobody could claim. */
export interface FloatReturn {
  readonly account: Address;
  readonly amount: bigint;
  readonly derivation: readonly string[];
}

export interface PoolAccount {
  readonly dues: readonly Due[];
  readonly floats: readonly FloatReturn[];
  readonly disagreements: readonly Disagreement[];
  /** what the miners of the split share, after the fee; null where there is no split */
  readonly shared: bigint | null;
}

/** What follows for a split from its shares file. */
export interface DerivedSplit {
  /** the tree whose root was posted; null where no such tree could be built */
  readonly tree: PointsTree | null;
  /** how an account's points come about, in lines */
  readonly pointsOf: (account: Address) => readonly string[];
}

type EventNamed<N extends PoolEvent["name"]> = Extract<PoolEvent, { name: N }>;

/** The split that stands: the last one posted. */
export function splitOf({ events }: PoolFacts): EventNamed<"SplitPosted"> | undefined {
  return all(events, "SplitPosted").at(-1);
}

/**
 * @param dues what the registry owes this pool
 * @param split null where none was posted
 */
export function derivePool(
  facts: TaskFacts,
  pool: PoolFacts,
  dues: readonly Due[],
  split: DerivedSplit | null,
): PoolAccount {
  const { events, manager, pool: contract } = pool;
  const { taskId } = facts;
  const nothing = { dues: [], floats: [], disagreements: [], shared: null };
  const collected = find(events, "Collected");
  const bonds = dues.filter(({ reason }) => reason !== "Reward");
  const owedBonds = bonds.reduce((sum, { amount }) => sum + amount, 0n);
  const reward = dues.filter(({ reason }) => reason === "Reward").reduce((sum, { amount }) => sum + amount, 0n);
  if (collected === undefined) {
    if (dues.length === 0) return nothing;
    const derivation = [
      `collect(${taskId}) on the pool, by anyone, brings its bonds of ${formatAmount(owedBonds)} home`,
    ];
    return { ...nothing, floats: owedBonds === 0n ? [] : [{ account: manager, amount: owedBonds, derivation }] };
  }
  const disagreements: Disagreement[] = [];
  const disagree = (message: string): void =>
    void disagreements.push({ kind: "payment", account: null, pool: contract, message, remedy: null });
  if (collected.args.bonds !== owedBonds || collected.args.reward !== reward) {
    disagree(
      `The pool ${contract} collected ${collected.args.bonds} units of bonds and ${collected.args.reward} of reward ` +
        `(${cite(collected)}), but by the task's events it is owed ${owedBonds} and ${reward}.`,
    );
  }
  const floats: FloatReturn[] = [];
  if (owedBonds > 0n) {
    const derivation = [`the pool's bonds went to the manager's float (${cite(collected)})`];
    floats.push({ account: manager, amount: owedBonds, derivation });
  }
  const posted = splitOf(pool);
  if (reward === 0n) return { ...nothing, floats, disagreements };
  const won = `the pool ${contract} won ${formatAmount(reward)} (${cite(collected)})`;
  if (posted === undefined) {
    const byReceipts = paymentsByReceipts(facts, pool, reward, won);
    const reclaimed = find(events, "Reclaimed");
    if (reclaimed !== undefined) {
      if (reclaimed.args.amount !== reward) {
        disagree(
          `The pool ${contract} gave its float ${reclaimed.args.amount} units (${cite(reclaimed)}), not ${reward}.`,
        );
      }
      const derivation = [won, `no split and no receipt came in time: it went to the float (${cite(reclaimed)})`];
      floats.push({ account: manager, amount: reward, derivation });
    }
    return { dues: byReceipts, floats, disagreements, shared: null };
  }

  // ————— By the split —————

  const entered = find(events, "TaskEntered");
  const feeBps = entered?.args.feeBps ?? 0;
  if (entered === undefined) disagree(`The pool ${contract} has no TaskEntered event for task ${taskId}.`);
  const fee = feeOf(reward, feeBps);
  const rest = reward - fee;
  const feeLine =
    `the fee was fixed at ${feeBps} parts of 10000` +
    (entered === undefined ? "" : ` (${cite(entered)})`) +
    `: ⌊${reward}·${feeBps} / 10000⌋ = ${fee} units`;
  const found: Due[] = [];
  if (fee > 0n) {
    const paid = all(events, "Credited").find(({ args }) => CREDIT_REASONS[args.reason] === "PoolFee");
    found.push({
      contract,
      account: manager,
      amount: fee,
      reason: "PoolFee",
      derivation: [won, feeLine],
      transaction: paid?.transaction ?? null,
      call: paid === undefined ? `claimFee(${taskId}) on ${contract}, by anyone${whenClaimable(pool)}` : null,
    });
  }
  const { root, sum } = posted.args;
  const claims = new Map(all(events, "Claimed").map((event) => [event.args.index, event]));
  const tree = split?.tree ?? null;
  if (tree === null) return { dues: found, floats, disagreements, shared: rest };
  let pre = 0n;
  for (const [index, { account, points }] of tree.leaves.entries()) {
    const amount = paymentOf(rest, sum, pre, points);
    const claimed = claims.get(index);
    claims.delete(index);
    if (claimed !== undefined && (claimed.args.miner !== account || claimed.args.points !== points)) {
      disagree(
        `Leaf ${index} was claimed for ${claimed.args.miner} with ${claimed.args.points} points (${cite(claimed)}), ` +
          `but by the shares file it is ${account}'s with ${points}.`,
      );
    }
    if (amount > 0n) {
      found.push({
        contract,
        account,
        amount,
        reason: "PoolShare",
        derivation: [
          won,
          feeLine,
          `R = ${reward} − ${fee} = ${rest} units are the miners'`,
          `split: root ${root}, S = ${sum} points (${cite(posted)})`,
          ...(split?.pointsOf(account) ?? []),
          `leaf ${index}: p = ${points} points, pre = ${pre} to its left`,
          `payment ⌊R(pre+p)/S⌋ − ⌊R·pre/S⌋ = ⌊${rest}·${pre + points}/${sum}⌋ − ⌊${rest}·${pre}/${sum}⌋ = ${amount} units`,
        ],
        transaction: claimed?.transaction ?? null,
        call:
          claimed === undefined
            ? `claim(${taskId}, leaf ${index} with its proof) on ${contract}, by anyone${whenClaimable(pool)}`
            : null,
      });
    }
    pre += points;
  }
  for (const claimed of claims.values()) {
    disagree(
      `Leaf ${claimed.args.index} was claimed for ${claimed.args.miner} (${cite(claimed)}), but the tree of the shares file has no such leaf.`,
    );
  }
  return { dues: found, floats, disagreements, shared: rest };
}

/** Without a split: the reward without a fee, by the latest receipt of each miner that handed one in. */
function paymentsByReceipts({ taskId }: TaskFacts, pool: PoolFacts, reward: bigint, won: string): Due[] {
  const { events, pool: contract } = pool;
  const latest = new Map<Address, EventNamed<"ReceiptSubmitted">>();
  for (const event of all(events, "ReceiptSubmitted")) {
    const known = latest.get(event.args.miner);
    if (known === undefined || event.args.sequence > known.args.sequence) latest.set(event.args.miner, event);
  }
  let points = [...latest.values()].reduce((sum, { args }) => sum + args.points, 0n);
  let unclaimed = reward;
  const dues: Due[] = [];
  const pay = (event: EventNamed<"ReceiptSubmitted">, paid: EventNamed<"ReceiptClaimed"> | null): void => {
    const { miner, points: own } = event.args;
    latest.delete(miner);
    const amount = (unclaimed * own) / points;
    const formula = `⌊${unclaimed}·${own} / ${points}⌋ = ${amount} units`;
    unclaimed -= amount;
    points -= own;
    if (amount === 0n) return;
    dues.push({
      contract,
      account: miner,
      amount,
      reason: "PoolShare",
      derivation: [
        won,
        "the manager posted no split in time: miners are paid by its signed receipts, without a fee",
        `the latest receipt handed in is for ${own} points (${cite(event)}); the contract checked its signature`,
        paid === null
          ? `of what is left, by what points are left: ${formula} (a unit more or less, as others claim first)`
          : `of what was left, by what points were left: ${formula} (${cite(paid)})`,
      ],
      transaction: paid?.transaction ?? null,
      call:
        paid === null ? `claimByReceipt(${taskId}, ${miner}) on ${contract}, by anyone${whenClaimable(pool)}` : null,
    });
  };
  for (const paid of all(events, "ReceiptClaimed")) {
    const event = latest.get(paid.args.miner);
    if (event !== undefined) pay(event, paid);
  }
  for (const event of [...latest.values()]) pay(event, null);
  return dues;
}

function whenClaimable({ phase, deadline }: PoolFacts): string {
  const waits = phase === "Objection" || phase === "Receipts" || phase === "AwaitSplit";
  return waits && deadline > 0 ? `, from ${new Date(deadline * 1000).toISOString()} on` : "";
}
