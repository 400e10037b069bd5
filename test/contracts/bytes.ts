import { expect } from "chai";
import { hexlify, keccak256, type AddressLike } from "ethers";
import { encodeAbiParameters, parseAbiParameters } from "viem";

import * as bytes from "../../offchain/protocol/bytes.ts";
import type { Address, Hex } from "../../offchain/protocol/bytes.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { buildPointsTree, paymentOf } from "../../offchain/pool/points-tree.ts";
import { deploy, ethers, loadFixture } from "./support.ts";

async function deployHarness() {
  const harness = await deploy("LibraryHarness");
  const { chainId } = await ethers.provider.getNetwork();
  return { harness, domain: { chainId, registry: (await harness.getAddress()) as Address } };
}

describe("bytes: the hashes on chain and off chain", () => {
  const random = createRandom("bytes");
  const randomBytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => random.integer(256));
  const hash = (): Hex => hexlify(randomBytes(32)) as Hex;
  const address = (): Address => ethers.getAddress(hexlify(randomBytes(20))) as Address;

  for (const length of [1, 31, 32, 33, 511, 512, 513, 1024, 10_000, 16_384]) {
    it(`agree on results and labels of ${length} samples`, async () => {
      const { harness } = await loadFixture(deployHarness);
      const data = randomBytes(length);
      expect(await harness.result(data)).to.equal(bytes.resultHash(data));
      expect(await harness.labels(data)).to.equal(bytes.labelsHash(data));
    });
  }

  it("agree on test roots", async () => {
    const { harness } = await loadFixture(deployHarness);
    for (let round = 0; round < 5; round++) {
      const shape = { height: 1 + random.integer(3), width: 1 + random.integer(3), channels: 1, classes: 1 + random.integer(256) }; // prettier-ignore
      const count = 1 + random.integer(20);
      const labels = Uint8Array.from({ length: count }, () => random.integer(shape.classes));
      const set = bytes.commitTestSet(randomBytes(count * shape.height * shape.width), labels, shape);
      const parts = { ...shape, samplesRoot: set.samplesRoot };
      expect(await harness.testRoot(count, parts, bytes.labelsHash(labels))).to.equal(set.testRoot);
    }
  });

  it("agree on commitments, keys and seals", async () => {
    const { harness, domain } = await loadFixture(deployHarness);
    for (let round = 0; round < 10; round++) {
      const taskId = BigInt(random.integer(2 ** 32)) << 100n;
      const who = address();
      const opening = {
        modelRoot: hash(),
        modelCid: randomBytes(1 + random.integer(64)),
        validationCorrect: random.integer(2 ** 32),
        validationTotal: random.integer(2 ** 32),
        salt: hash(),
      };
      const [key, result, commitment] = [hash(), hash(), hash()];
      expect(await harness.commitment(taskId, who as AddressLike, opening)).to.equal(
        bytes.commitmentHash(domain, taskId, who, opening),
      );
      expect(await harness.key(who, key)).to.equal(bytes.keyHash(domain, who, key));
      expect(await harness.claimSeal(taskId, who, opening.modelRoot, result)).to.equal(
        bytes.claimSeal(domain, taskId, who, opening.modelRoot, result),
      );
      expect(await harness.validatorSeal(taskId, commitment, who, result)).to.equal(
        bytes.validatorSeal(domain, taskId, commitment, who, result),
      );
    }
  });

  it("agree on the hash of a ledger block, whatever its own hash field says", async () => {
    const { harness } = await loadFixture(deployHarness);
    const block = { hash: hash(), parent: hash(), taskId: 7n, winner: address(), time: 1_800_000_000n, correct: 9, total: 10, modelRoot: hash(), modelCid: hexlify(randomBytes(36)) as Hex }; // prettier-ignore
    const expected = keccak256(
      encodeAbiParameters(
        parseAbiParameters("bytes32, bytes32, uint256, uint256, address, bytes32, bytes32, uint32, uint32, uint40"),
        [bytes.tag("block"), block.parent, 3n, block.taskId, block.winner, block.modelRoot, keccak256(block.modelCid) as Hex, block.correct, block.total, Number(block.time)], // prettier-ignore
      ),
    );
    expect(await harness.ledgerBlock(3, block)).to.equal(expected);
    expect(await harness.ledgerBlock(3, { ...block, hash: hash() })).to.equal(expected);
    expect(await harness.ledgerBlock(4, block)).not.to.equal(expected);
  });

  it("agree on points trees, their proofs and payments", async () => {
    const { harness } = await loadFixture(deployHarness);
    for (const size of [1, 2, 3, 7, 33]) {
      const leaves = Array.from({ length: size }, () => ({ account: address(), points: BigInt(random.integer(1000)) }));
      const tree = buildPointsTree([...leaves, { account: address(), points: 1n }]);
      const split = { root: tree.root, depth: tree.depth, count: tree.count, sum: tree.sum };
      let pre = 0n;
      for (const [index, { account, points }] of tree.leaves.entries()) {
        const leaf = { index, miner: account, points };
        expect(await harness.verify(split, leaf, tree.proof(index))).to.deep.equal([true, pre]);
        expect(await harness.payment(1_000_003, tree.sum, pre, points)).to.equal(
          paymentOf(1_000_003n, tree.sum, pre, points),
        );
        pre += points;
      }
      expect(pre).to.equal(tree.sum);
    }
  });

  it("refuse a points proof with anything changed", async () => {
    const { harness } = await loadFixture(deployHarness);
    const tree = buildPointsTree(Array.from({ length: 6 }, (_, i) => ({ account: address(), points: BigInt(i + 1) })));
    const split = { root: tree.root, depth: tree.depth, count: tree.count, sum: tree.sum };
    const { account, points } = tree.leaves[4]!;
    const leaf = { index: 4, miner: account as string, points };
    const siblings = tree.proof(4);
    const valid = async (s: typeof split, l: typeof leaf, p: typeof siblings): Promise<boolean> =>
      (await harness.verify(s, l, p)).valid;
    expect(await valid(split, leaf, siblings)).to.equal(true);
    expect(await valid({ ...split, sum: split.sum + 1n }, leaf, siblings)).to.equal(false);
    expect(await valid({ ...split, count: 7 }, leaf, siblings)).to.equal(false);
    expect(await valid({ ...split, count: 4 }, leaf, siblings)).to.equal(false);
    expect(await valid({ ...split, depth: 2 }, leaf, siblings)).to.equal(false);
    expect(await valid(split, { ...leaf, index: 5 }, siblings)).to.equal(false);
    // the same path by an index with a bit beyond the depth
    expect(await valid({ ...split, count: 20 }, { ...leaf, index: 12 }, siblings)).to.equal(false);
    expect(await valid(split, { ...leaf, points: points + 1n }, siblings)).to.equal(false);
    expect(await valid(split, { ...leaf, miner: address() }, siblings)).to.equal(false);
    expect(await valid(split, leaf, siblings.slice(1))).to.equal(false);
    expect(await valid(split, leaf, siblings.toReversed())).to.equal(false);
    const overflowing = siblings.map((node, i) => (i === 0 ? { ...node, sum: 2n ** 128n - 1n } : node));
    expect(await valid(split, leaf, overflowing)).to.equal(false);
    const shifted = siblings.map((node, i) => ({ ...node, sum: node.sum + (i === 0 ? 1n : i === 2 ? -1n : 0n) }));
    expect(await valid(split, leaf, shifted)).to.equal(false);
  });

  it("refuse a leaf whose index has bits beyond the tree's depth", async () => {
    const { harness } = await loadFixture(deployHarness);
    const miner = address();
    const verify = async (index: number): Promise<boolean> => {
      const leaf = keccak256(
        encodeAbiParameters(parseAbiParameters("bytes32, uint32, address, uint128"), [
          bytes.tag("points-leaf"), index, miner, 5n,
        ]),
      ) as Hex; // prettier-ignore
      const root = keccak256(
        encodeAbiParameters(parseAbiParameters("bytes32, uint8, uint32, bytes32, uint128"), [
          bytes.tag("points-root"), 0, 2, leaf, 5n,
        ]),
      ); // prettier-ignore
      return (await harness.verify({ root, depth: 0, count: 2, sum: 5n }, { index, miner, points: 5n }, [])).valid;
    };
    expect(await verify(0)).to.equal(true);
    expect(await verify(1)).to.equal(false);
  });
});

describe("candidates' queue", () => {
  it("gives the larger claim first, and of equal claims the earlier sequence number", async () => {
    const { harness } = await loadFixture(deployHarness);
    const random = createRandom("queue");
    const entries = Array.from({ length: 60 }, (_, i) => ({
      claimed: random.integer(6),
      sequence: i + 1,
      who: ethers.zeroPadValue(ethers.toBeHex(i + 1), 20),
    }));
    for (const { claimed, sequence, who } of random.shuffle([...entries])) await harness.push(claimed, sequence, who);
    const order = entries.toSorted((a, b) => b.claimed - a.claimed || a.sequence - b.sequence);
    for (const { who } of order) {
      expect(await harness.front()).to.equal(ethers.getAddress(who));
      await harness.pop();
    }
    expect(await harness.front()).to.equal(ethers.ZeroAddress);
    await harness.pop();
  });
});

describe("ranking score", () => {
  it("is difficulty over reward, and cannot overflow at the largest factors", async () => {
    const { harness } = await loadFixture(deployHarness);
    const factors = { flops: 3n * 10n ** 15n, networkFlops: 2n * 10n ** 12n, modelBytes: 1_000, dataBytes: 2_000, bandwidth: 1_000 }; // prettier-ignore
    // 1500 s of work and 3 s of transfer for 10 units
    expect(await harness.score(factors, 10)).to.equal((1_503n * 10n ** 36n) / 10n);
    const largest = { flops: 2n ** 128n - 1n, networkFlops: 1, modelBytes: 2n ** 64n - 1n, dataBytes: 2n ** 64n - 1n, bandwidth: 1 }; // prettier-ignore
    expect(await harness.score(largest, 1)).to.equal((2n ** 128n - 1n + 2n ** 65n - 2n) * 10n ** 36n);
  });
});
