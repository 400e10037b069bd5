/**
 * The split of a pool's reward: a Merkle sum tree over (index, miner, points), and the payments that follow from it.
 * Layout: docs/bytes.md "points tree"; contracts/libraries/PointsTree.sol holds the same one.
 */
import { encodeAbiParameters, getAddress, isAddress, keccak256, parseAbiParameters } from "viem";

import { tag, ZERO_HASH, type Address, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";

const TAG = { leaf: tag("points-leaf"), node: tag("points-node"), root: tag("points-root") } as const;
const UINT128_END = 1n << 128n;

/** One miner's points in one task; points 0 … 2^128 − 1. */
export interface PointsLeaf {
  readonly account: Address;
  readonly points: bigint;
}

/** A node of the sum tree: its hash, and the points under it. */
export interface SumNode {
  readonly hash: Hex;
  readonly sum: bigint;
}

export interface PointsTree {
  /** What a pool posts: root = H(T"points-root", depth, count, top, sum). */
  readonly root: Hex;
  readonly depth: number;
  readonly count: number;
  readonly sum: bigint;
  /** Ascending by account: a leaf's place here is its index. */
  readonly leaves: readonly PointsLeaf[];
  /** Siblings of leaf `index` from the leaf upwards, `depth` of them. @throws RangeError outside 0 … count − 1 */
  proof(index: number): SumNode[];
}

const LEAF = parseAbiParameters("bytes32, uint32, address, uint128");
const NODE = parseAbiParameters("bytes32, bytes32, uint128, bytes32, uint128");
const ROOT = parseAbiParameters("bytes32, uint8, uint32, bytes32, uint128");

const EMPTY: SumNode = { hash: ZERO_HASH, sum: 0n };

function leafNode(index: number, { account, points }: PointsLeaf): SumNode {
  return { hash: keccak256(encodeAbiParameters(LEAF, [TAG.leaf, index, account, points])), sum: points };
}

function parentOf(left: SumNode, right: SumNode): SumNode {
  const hash = keccak256(encodeAbiParameters(NODE, [TAG.node, left.hash, left.sum, right.hash, right.sum]));
  return { hash, sum: left.sum + right.sum };
}

function rootOf(depth: number, count: number, top: SumNode): Hex {
  return keccak256(encodeAbiParameters(ROOT, [TAG.root, depth, count, top.hash, top.sum]));
}

/**
 * Builds the tree of a split.
 * @param leaves in any order; addresses in any case
 * @throws PonasError bad-input: no leaves, an account twice, points out of range, all points zero
 */
export function buildPointsTree(leaves: readonly PointsLeaf[]): PointsTree {
  const sorted = leaves
    .map(({ account, points }) => {
      if (!isAddress(account)) throw new PonasError("bad-input", `${String(account)} is not an account's address.`);
      if (points < 0n || points >= UINT128_END) {
        throw new PonasError("bad-input", `${account} has ${points} points; points are from 0 to 2^128 − 1.`);
      }
      return { account: getAddress(account), points, order: account.toLowerCase() };
    })
    .sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0))
    .map(({ account, points }): PointsLeaf => ({ account, points }));
  if (sorted.length === 0) throw new PonasError("bad-input", "A split needs at least one account.");
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i]!.account === sorted[i - 1]!.account) {
      throw new PonasError("bad-input", `The account ${sorted[i]!.account} stands twice in the split.`);
    }
  }
  const sum = sorted.reduce((total, leaf) => total + leaf.points, 0n);
  if (sum === 0n) throw new PonasError("bad-input", "No account has any points, so there is nothing to split by.");
  if (sum >= UINT128_END) throw new PonasError("bad-input", "The points add up to 2^128 or more.");

  const levels: SumNode[][] = [sorted.map((leaf, index) => leafNode(index, leaf))];
  // The padding on the right is the same node at every place of a level, so each level's is hashed once.
  const padding: SumNode[] = [EMPTY];
  for (let level = levels[0]!; level.length > 1; level = levels.at(-1)!) {
    const empty = padding.at(-1)!;
    levels.push(
      Array.from({ length: Math.ceil(level.length / 2) }, (_, i) => parentOf(level[2 * i]!, level[2 * i + 1] ?? empty)),
    );
    padding.push(parentOf(empty, empty));
  }
  const depth = levels.length - 1;
  const count = sorted.length;
  return {
    root: rootOf(depth, count, levels[depth]![0]!),
    depth,
    count,
    sum,
    leaves: sorted,
    proof(index) {
      if (!Number.isInteger(index) || index < 0 || index >= count) {
        throw new RangeError(`leaf ${index} of a tree of ${count}`);
      }
      return Array.from({ length: depth }, (_, height) => levels[height]![(index >> height) ^ 1] ?? padding[height]!);
    },
  };
}

/** A leaf, and what shows that it stands under a root. */
export interface PointsProof extends PointsLeaf {
  readonly index: number;
  readonly siblings: readonly SumNode[];
}

/**
 * Points to the left of the proven leaf (`pre` of docs/protocol.md "Pools"), or null where the proof does not lead to
 * the posted root.
 */
export function verifyPointsProof(
  { root, count, sum }: { readonly root: Hex; readonly count: number; readonly sum: bigint },
  { index, account, points, siblings }: PointsProof,
): bigint | null {
  if (!Number.isInteger(index) || index < 0 || index >= count || siblings.length > 32) return null;
  if (points < 0n || points >= UINT128_END) return null;
  let node = leafNode(index, { account, points });
  let pre = 0n;
  for (const [height, sibling] of siblings.entries()) {
    if (sibling.sum < 0n || node.sum + sibling.sum >= UINT128_END) return null;
    const isRight = Math.floor(index / 2 ** height) % 2 === 1;
    if (isRight) pre += sibling.sum;
    node = isRight ? parentOf(sibling, node) : parentOf(node, sibling);
  }
  const leads = node.sum === sum && rootOf(siblings.length, count, node) === root && 2 ** siblings.length >= count;
  return leads ? pre : null;
}

/** What one leaf is paid of the reward R after the fee: ⌊R(pre+p)/S⌋ − ⌊R·pre/S⌋. */
export function paymentOf(reward: bigint, sum: bigint, pre: bigint, points: bigint): bigint {
  return (reward * (pre + points)) / sum - (reward * pre) / sum;
}

/** Parts of ten thousand that a manager keeps: ⌊amount · feeBps / 10000⌋. @param feeBps 0 … 10000 */
export function feeOf(amount: bigint, feeBps: number): bigint {
  return (amount * BigInt(feeBps)) / 10_000n;
}

export interface RewardSplit {
  readonly root: Hex;
  /** All points of the split. */
  readonly total: bigint;
  /** Ascending by account: the order of the tree's indices. */
  readonly payments: readonly { readonly account: Address; readonly amount: bigint }[];
  readonly fee: bigint;
  /** What no account gets; 0 of every honest tree. */
  readonly dust: bigint;
}

/**
 * The payments of a won reward, exactly as the pool's contract makes them.
 * @param amount the reward in the asset's smallest unit
 * @param feeBps the manager's fee in parts of ten thousand
 * @throws PonasError bad-input for a negative amount, a fee outside 0 … 10000, or leaves that make no tree
 */
export function splitReward(split: {
  readonly leaves: readonly PointsLeaf[];
  readonly amount: bigint;
  readonly feeBps: number;
}): RewardSplit {
  const { amount, feeBps } = split;
  if (amount < 0n) throw new PonasError("bad-input", `The amount to split is negative: ${amount}.`);
  if (!Number.isInteger(feeBps) || feeBps < 0 || feeBps > 10_000) {
    throw new PonasError("bad-input", `A fee is an integer from 0 to 10000 parts of ten thousand, not ${feeBps}.`);
  }
  const tree = buildPointsTree(split.leaves);
  const fee = feeOf(amount, feeBps);
  const reward = amount - fee;
  let pre = 0n;
  const payments = tree.leaves.map(({ account, points }) => {
    const paid = paymentOf(reward, tree.sum, pre, points);
    pre += points;
    return { account, amount: paid };
  });
  const dust = reward - payments.reduce((sum, payment) => sum + payment.amount, 0n);
  return { root: tree.root, total: tree.sum, payments, fee, dust };
}

/**
 * Reads the leaves of `ponas split --points FILE.json`: `[{"account": "0x…", "points": 5}, …]` or
 * `{"0x…": 5, …}`; points are a non-negative integer, or its decimal string where it does not fit a JSON number.
 * @throws PonasError bad-input that names the entry
 */
export function parsePoints(value: unknown): PointsLeaf[] {
  if (typeof value !== "object" || value === null) {
    throw new PonasError("bad-input", "The points are neither a list of {account, points} nor an object of them.", {
      cure: 'write [{"account": "0x…", "points": 5}]',
    });
  }
  const entries: [unknown, unknown][] = Array.isArray(value)
    ? value.map((entry: unknown, index) => {
        if (typeof entry !== "object" || entry === null || !("account" in entry) || !("points" in entry)) {
          throw new PonasError("bad-input", `Entry ${index} of the points has no "account" and "points".`);
        }
        return [entry.account, entry.points];
      })
    : Object.entries(value);
  return entries.map(([account, points], index) => {
    if (typeof account !== "string" || !isAddress(account)) {
      throw new PonasError("bad-input", `Entry ${index} of the points: ${JSON.stringify(account)} is not an address.`);
    }
    if (typeof points === "string" ? !/^\d{1,39}$/.test(points) : !Number.isSafeInteger(points) || Number(points) < 0) {
      throw new PonasError(
        "bad-input",
        `Entry ${index} of the points: ${JSON.stringify(points)} is not a non-negative integer.`,
        { cure: "write integers beyond 2^53 as decimal strings" },
      );
    }
    return { account, points: BigInt(points as string | number) };
  });
}
