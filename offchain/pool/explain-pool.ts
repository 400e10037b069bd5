/**
 * What a pool's contract owes of one task, re-derived from its events and the leaves of its split by the rules of
 * contracts/Pool.sol: the manager's fee, every leaf's payment, payments by receipts, and what goes to the float.
 */
import { CREDIT_REASONS } from "../protocol/abi.ts";
import { formatAmount } from "../protocol/amounts.ts";
import type { Address } from "../protocol/bytes.ts";
import {
  all,
  append,
  cite,
  find,
  type BurnReason,
  type Due,
  type Loss,
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
  readonly losses: readonly Loss[];
  /** what the pool's contract must have burned until now, by reason */
  readonly burned: ReadonlyMap<BurnReason, bigint>;
  /** sentences about contradictions within the pool's own events */
  readonly faults: readonly string[];
}

/** What follows for a split from its shares file. */
export interface DerivedSplit {
  /** the tree whose root was posted; null where no such tree could be built */
  readonly tree: PointsTree | null;
  /** how an account's points come about, in lines */
  readonly pointsOf: (account: Address) => readonly string[];
}

type EventNamed<N extends PoolEvent["name"]> = Extract<PoolEvent, { name: N }>;

/** The split of this task's own that stands: posted, and not brought down. */
export function splitOf({ events }: PoolFacts): EventNamed<"SplitPosted"> | undefined {
  return find(events, "SplitFell") === undefined ? find(events, "SplitPosted") : undefined;
}

/**
 * @param dues what the registry owes this pool
 * @param split what follows from the shares file of the split that the reward is paid by; null where there is none
 */
export function derivePool(
  facts: TaskFacts,
  pool: PoolFacts,
  dues: readonly Due[],
  split: DerivedSplit | null,
): PoolAccount {
  const { events, manager, pool: contract } = pool;
  const { taskId } = facts;
  const collected = find(events, "Collected");
  const bonds = sumOf(dues.filter(({ reason }) => reason !== "Reward"));
  const reward = sumOf(dues.filter(({ reason }) => reason === "Reward"));
  const floats: FloatReturn[] = [];
  const faults: string[] = [];
  if (bonds > 0n) {
    const derivation = [
      collected === undefined
        ? `collect(${taskId}) on the pool, by anyone, brings its bonds home to the manager's float`
        : `the pool's bonds went to the manager's float (${cite(collected)})`,
    ];
    floats.push({ account: manager, amount: bonds, derivation });
  }
  if (collected === undefined) return { dues: [], floats, losses: [], burned: new Map(), faults };
  if (collected.args.bonds !== bonds || collected.args.reward !== reward) {
    faults.push(
      `the pool ${contract} collected ${collected.args.bonds} units of bonds and ${collected.args.reward} of reward ` +
        `(${cite(collected)}), but by the task's events it is owed ${bonds} and ${reward}`,
    );
  }
  if (reward === 0n) return { dues: [], floats, losses: [], burned: new Map(), faults };

  const won = `the pool ${contract} won ${formatAmount(reward)} (${cite(collected)})`;
  const objections = deriveObjections(facts, pool, reward);
  append(floats, objections.floats);
  const found = [...objections.dues];
  const posted = splitOf(pool);
  const adopted = find(events, "SplitAdopted");
  if (posted !== undefined) {
    const entered = find(events, "TaskEntered");
    if (entered === undefined) faults.push(`the pool ${contract} has no TaskEntered event`);
    const feeBps = entered?.args.feeBps ?? 0;
    const fee = feeOf(reward, feeBps);
    const feeLine =
      `the fee was fixed at ${feeBps} parts of 10000` +
      (entered === undefined ? "" : ` (${cite(entered)})`) +
      `: ⌊${reward}·${feeBps} / 10000⌋ = ${fee} units`;
    const paid = find(events, "Credited", ({ args }) => CREDIT_REASONS[args.reason] === "PoolFee");
    if (fee > 0n) {
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
    const rest = reward - fee;
    const lines = [
      won,
      feeLine,
      `R = ${reward} − ${fee} = ${rest} units are the miners'`,
      `split: root ${posted.args.root}, S = ${posted.args.sum} points (${cite(posted)})`,
    ];
    append(found, paymentsBySplit({ facts, pool, rest, sum: posted.args.sum, split, lines, faults }));
  } else if (adopted !== undefined && pool.adopted !== null) {
    const { root, sum } = pool.adopted.args;
    const lines = [
      won,
      `no split and no receipt in time: paid by the tree of task ${adopted.args.fromTask}, without a fee (${cite(adopted)})`,
      `that split: root ${root}, S = ${sum} points (${cite(pool.adopted)})`,
    ];
    append(found, paymentsBySplit({ facts, pool, rest: reward, sum, split, lines, faults }));
  } else {
    append(found, paymentsByReceipts(facts, pool, reward, won));
    const reclaimed = find(events, "Reclaimed");
    if (reclaimed !== undefined) {
      if (reclaimed.args.amount !== reward) {
        faults.push(
          `the pool ${contract} gave its float ${reclaimed.args.amount} units (${cite(reclaimed)}), not ${reward}`,
        );
      }
      const derivation = [won, `no split and no receipt came in time: it went to the float (${cite(reclaimed)})`];
      floats.push({ account: manager, amount: reward, derivation });
    }
  }
  return { dues: found, floats, losses: objections.losses, burned: objections.burned, faults };
}

/** By a tree: ⌊R(pre+p)/S⌋ − ⌊R·pre/S⌋ for each of its leaves. */
function paymentsBySplit(options: {
  readonly facts: TaskFacts;
  readonly pool: PoolFacts;
  readonly rest: bigint;
  readonly sum: bigint;
  readonly split: DerivedSplit | null;
  readonly lines: readonly string[];
  readonly faults: string[];
}): Due[] {
  const { facts, pool, rest, sum, split, lines, faults } = options;
  const { pool: contract, events } = pool;
  const tree = split?.tree ?? null;
  if (tree === null) return [];
  const claims = new Map(all(events, "Claimed").map((event) => [event.args.index, event]));
  const dues: Due[] = [];
  let pre = 0n;
  for (const [index, { account, points }] of tree.leaves.entries()) {
    const amount = paymentOf(rest, sum, pre, points);
    const claimed = claims.get(index);
    claims.delete(index);
    if (claimed !== undefined && (claimed.args.miner !== account || claimed.args.points !== points)) {
      faults.push(
        `leaf ${index} was claimed for ${claimed.args.miner} with ${claimed.args.points} points (${cite(claimed)}), ` +
          `but by the shares file it is ${account}'s with ${points}`,
      );
    }
    const formula = `⌊${rest}·${pre + points} / ${sum}⌋ − ⌊${rest}·${pre} / ${sum}⌋ = ${amount} units`;
    const own = [
      `leaf ${index}: p = ${points} points, pre = ${pre} to its left`,
      `⌊R(pre+p)/S⌋ − ⌊R·pre/S⌋ = ${formula}`,
    ];
    const call = `claim(${facts.taskId}, leaf ${index} with its proof) on ${contract}, by anyone${whenClaimable(pool)}`;
    if (amount > 0n) {
      dues.push({
        contract,
        account,
        amount,
        reason: "PoolShare",
        derivation: [...lines, ...(split?.pointsOf(account) ?? []), ...own],
        transaction: claimed?.transaction ?? null,
        call: claimed === undefined ? call : null,
      });
    }
    pre += points;
  }
  for (const { args, name, block } of claims.values()) {
    faults.push(
      `leaf ${args.index} was claimed for ${args.miner} (${cite({ name, block })}), but the tree of the shares file has no such leaf`,
    );
  }
  return dues;
}

/** The manager's stake on its split, and the bonds of those who demanded leaves (contracts/Pool.sol "Objections"). */
function deriveObjections(
  { taskId }: TaskFacts,
  pool: PoolFacts,
  reward: bigint,
): Pick<PoolAccount, "dues" | "floats" | "losses" | "burned"> {
  const { events, manager, pool: contract } = pool;
  const dues: Due[] = [];
  const floats: FloatReturn[] = [];
  const losses: Loss[] = [];
  const burned = new Map<BurnReason, bigint>();
  const posted = find(events, "SplitPosted");
  const fell = find(events, "SplitFell");
  if (posted === undefined) return { dues, floats, losses, burned };
  const stake = pool.objectionWindow === 0 ? 0n : partOf(reward, STAKE_BPS);
  const stakeLine = `staked on the split: ⌈${reward}·${STAKE_BPS} / 10000⌉ = ${stake} units (${cite(posted)})`;
  if (fell !== undefined) {
    if (stake > 0n) {
      burned.set("PoolStake", stake - stake / 2n);
      losses.push({ account: manager, amount: stake, derivation: [stakeLine, `lost with the split (${cite(fell)})`] });
      dues.push({
        contract,
        account: fell.args.to,
        amount: stake / 2n,
        reason: "Objection",
        derivation: [stakeLine, `half of it is whose objection brought the split down: ⌊${stake} / 2⌋ (${cite(fell)})`],
        transaction: fell.transaction,
        call: null,
      });
    }
  } else if (stake > 0n) {
    const final = find(events, "Credited", ({ args }) => CREDIT_REASONS[args.reason] === "PoolFee");
    const derivation = [
      stakeLine,
      final === undefined ? "comes back with claimFee" : `came back with the fee (${cite(final)})`,
    ];
    floats.push({ account: manager, amount: stake, derivation });
  }

  const bond = partOf(reward, BOND_BPS);
  for (const demand of all(events, "LeafDemanded")) {
    const { by, id, index } = demand.args;
    const line = `demanded leaf ${index} with a bond of ⌈${reward}·${BOND_BPS} / 10000⌉ = ${bond} units (${cite(demand)})`;
    const answered = find(events, "ObjectionAnswered", ({ args }) => args.id === id);
    if (answered !== undefined) {
      burned.set("ObjectionBond", (burned.get("ObjectionBond") ?? 0n) + bond - bond / 2n);
      losses.push({
        account: by,
        amount: bond,
        derivation: [line, `it was answered (${cite(answered)}): half is burned`],
      });
      const derivation = [`half the bond of the demand of leaf ${index}, for its answer (${cite(answered)})`];
      floats.push({ account: manager, amount: bond / 2n, derivation });
    } else if (fell !== undefined) {
      const back = find(
        events,
        "Credited",
        ({ args }) => CREDIT_REASONS[args.reason] === "ObjectionBond" && args.account === by,
        dues.filter(({ reason, account }) => reason === "ObjectionBond" && account === by).length,
      );
      dues.push({
        contract,
        account: by,
        amount: bond,
        reason: "ObjectionBond",
        derivation: [line, `the split fell without an answer (${cite(fell)})`],
        transaction: back?.transaction ?? null,
        call: back === undefined ? `returnBond(${taskId}, ${id}) on ${contract}, by anyone` : null,
      });
    }
  }
  return { dues, floats, losses, burned };
}

/** Parts of ten thousand of a reward, rounded up. */
const partOf = (reward: bigint, bps: bigint): bigint => (reward * bps + 9_999n) / 10_000n;
/** stakeFor and bondFor of contracts/Pool.sol. */
const STAKE_BPS = 500n;
const BOND_BPS = 10n;

const sumOf = (dues: readonly Due[]): bigint => dues.reduce((sum, { amount }) => sum + amount, 0n);

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
  const waits = phase === "Objection" || phase === "Answering" || phase === "Receipts" || phase === "AwaitSplit";
  return waits && deadline > 0 ? `, from ${new Date(deadline * 1000).toISOString()} on` : "";
}
