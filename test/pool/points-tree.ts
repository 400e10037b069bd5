import { expect } from "chai";
import { encodeAbiParameters, keccak256, parseAbiParameters } from "viem";

import {
  buildPointsTree,
  parsePoints,
  paymentOf,
  splitReward,
  verifyPointsProof,
  type PointsLeaf,
} from "../../offchain/pool/points-tree.ts";
import { tag, ZERO_HASH, type Address } from "../../offchain/protocol/bytes.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";

function account(number: number): Address {
  return `0x${number.toString(16).padStart(40, "0")}`;
}

function randomLeaves(random: Random, count: number): PointsLeaf[] {
  const accounts = new Set<number>();
  while (accounts.size < count) accounts.add(1 + random.integer(2 ** 32));
  return [...accounts].map((number) => ({
    account: account(number),
    points: random.next() < 0.2 ? 0n : BigInt(random.integer(2 ** 32)) ** BigInt(1 + random.integer(3)),
  }));
}

describe("The points tree", () => {
  it("hashes three leaves exactly as docs/bytes.md says", () => {
    const hash = (types: string, values: readonly unknown[]) =>
      keccak256(encodeAbiParameters(parseAbiParameters(types), values as never));
    const leaf = (i: number, p: bigint) =>
      hash("bytes32, uint32, address, uint128", [tag("points-leaf"), i, account(i + 1), p]);
    const node = (a: string, x: bigint, b: string, y: bigint) =>
      hash("bytes32, bytes32, uint128, bytes32, uint128", [tag("points-node"), a, x, b, y]);
    const left = node(leaf(0, 5n), 5n, leaf(1, 0n), 0n);
    const right = node(leaf(2, 7n), 7n, ZERO_HASH, 0n);
    const top = node(left, 5n, right, 7n);
    const root = hash("bytes32, uint8, uint32, bytes32, uint128", [tag("points-root"), 2, 3, top, 12n]);

    const tree = buildPointsTree([
      { account: account(3), points: 7n },
      { account: account(1), points: 5n },
      { account: account(2), points: 0n },
    ]);
    expect(tree.root).to.equal(root);
    expect(tree.depth).to.equal(2);
    expect(tree.count).to.equal(3);
    expect(tree.sum).to.equal(12n);
  });

  it("proves every leaf's place, and nothing else, in random trees", () => {
    const random = createRandom("points proofs");
    for (const count of [1, 2, 3, 5, 8, 9, 33]) {
      const leaves = [...randomLeaves(random, count - 1), { account: account(7), points: 11n }];
      const tree = buildPointsTree(leaves);
      let pre = 0n;
      for (const [index, leaf] of tree.leaves.entries()) {
        const siblings = tree.proof(index);
        expect(verifyPointsProof(tree, { ...leaf, index, siblings })).to.equal(pre);
        pre += leaf.points;
        const lies = [
          { ...leaf, index, siblings, points: leaf.points + 1n },
          { ...leaf, index: index + 1, siblings },
          { ...leaf, index: index ^ 1, siblings },
          { ...leaf, index: index + 2 ** siblings.length, siblings },
          { ...leaf, index, siblings, account: account(123456) },
          { ...leaf, index, siblings: siblings.slice(1) },
          { ...leaf, index, siblings: [...siblings, { hash: ZERO_HASH, sum: 0n }] },
          { ...leaf, index, siblings: siblings.map((sibling) => ({ ...sibling, sum: sibling.sum + 1n })) },
        ];
        for (const [kind, lie] of lies.entries()) {
          if (count === 1 && (kind === 5 || kind === 7)) continue;
          expect(verifyPointsProof(tree, lie), `lie ${kind} of leaf ${index} in ${count}`).to.equal(null);
        }
      }
    }
  });

  it("refuses an account twice, whatever its letters' case, and trees without leaves or points", () => {
    const twice = "0x52908400098527886e0f7030069857d2e4169ee7";
    const same = "0x52908400098527886E0F7030069857D2E4169EE7";
    const pair: PointsLeaf[] = [
      { account: twice, points: 1n },
      { account: same, points: 2n },
    ];
    expect(() => buildPointsTree(pair)).to.throw("stands twice");
    expect(() => buildPointsTree([])).to.throw("at least one account");
    expect(() => buildPointsTree([{ account: account(1), points: 0n }])).to.throw("No account has any points");
    expect(() => buildPointsTree([{ account: account(1), points: 1n << 128n }])).to.throw("from 0 to 2^128");
    const half = 1n << 127n;
    const overflow: PointsLeaf[] = [
      { account: account(1), points: half },
      { account: account(2), points: half },
    ];
    expect(() => buildPointsTree(overflow)).to.throw("2^128 or more");
  });

  it("builds 10,000 leaves in seconds and proves the last one in 14 steps", () => {
    const leaves = Array.from({ length: 10_000 }, (_, i) => ({ account: account(i * 7919 + 1), points: BigInt(i) }));
    const tree = buildPointsTree(leaves);
    const siblings = tree.proof(9_999);
    expect(siblings).to.have.length(14);
    const last = tree.leaves[9_999]!;
    expect(verifyPointsProof(tree, { ...last, index: 9_999, siblings })).to.equal(tree.sum - last.points);
  });
});

describe("The split of a reward", () => {
  it("pays the whole reward to the last unit in random splits, each within one unit of its proportion", () => {
    const random = createRandom("splits");
    for (let round = 0; round < 60; round++) {
      const leaves = [...randomLeaves(random, random.integer(20)), { account: account(3), points: 1n }];
      const amount = BigInt(random.integer(2 ** 32)) ** BigInt(random.integer(4));
      const feeBps = random.integer(10_001);
      const { payments, fee, dust, total } = splitReward({ leaves, amount, feeBps });
      const paid = payments.reduce((sum, payment) => sum + payment.amount, 0n);
      expect(dust).to.equal(0n);
      expect(paid + fee).to.equal(amount);
      const points = new Map(buildPointsTree(leaves).leaves.map((leaf) => [leaf.account, leaf.points]));
      for (const payment of payments) {
        const fair = ((amount - fee) * points.get(payment.account)!) / total;
        expect(payment.amount - fair === 0n || payment.amount - fair === 1n).to.equal(true);
      }
    }
  });

  it("gives everything after the fee to one miner with all points", () => {
    const leaves = [
      { account: account(1), points: 0n },
      { account: account(2), points: 9n },
    ];
    expect(splitReward({ leaves, amount: 1001n, feeBps: 250 }).payments.map(({ amount }) => amount)).to.deep.equal([
      0n,
      976n,
    ]);
  });

  it("never pays two disjoint intervals more than their union", () => {
    expect(paymentOf(10n, 3n, 0n, 1n) + paymentOf(10n, 3n, 1n, 2n)).to.equal(paymentOf(10n, 3n, 0n, 3n));
  });

  it("refuses a negative amount and a fee outside 0 … 10000", () => {
    const leaves = [{ account: account(1), points: 1n }];
    expect(() => splitReward({ leaves, amount: -1n, feeBps: 0 })).to.throw("negative");
    for (const feeBps of [-1, 10_001, 1.5, Number.NaN]) {
      expect(() => splitReward({ leaves, amount: 1n, feeBps })).to.throw("parts of ten thousand");
    }
  });
});

describe("A file of points", () => {
  it("is a list or an object, with points as integers or decimal strings", () => {
    const expected = [{ account: account(5), points: 2n ** 70n }];
    expect(parsePoints([{ account: account(5), points: (2n ** 70n).toString() }])).to.deep.equal(expected);
    expect(parsePoints({ [account(5)]: 12 })).to.deep.equal([{ account: account(5), points: 12n }]);
  });

  it("is refused with one sentence that names the entry", () => {
    expect(() => parsePoints(7)).to.throw("neither a list");
    expect(() => parsePoints([{ account: account(5) }])).to.throw('Entry 0 of the points has no "account"');
    expect(() => parsePoints({ "0x12": 1 })).to.throw('"0x12" is not an address');
    for (const points of [-1, 1.5, 2 ** 60, "1e3", "-4", "", null]) {
      expect(() => parsePoints({ [account(5)]: points })).to.throw("is not a non-negative integer");
    }
  });
});
