/**
 * Attacks that the contracts withstand. Each would succeed without one defence, so that none of those disappears
 * unnoticed.
 */
import { expect } from "chai";
import { hexlify } from "ethers";

import { tag, type Address, type Hex } from "../../offchain/protocol/bytes.ts";
import type { LocalAsset } from "../../types/ethers-contracts/index.ts";
import { accountOf, good, receiptOf, win } from "./pool-support.ts";
import {
  at,
  cidOf,
  CANDIDATE_BOND,
  COMMIT_BOND,
  COMMIT_FEE,
  contractAt,
  digest,
  ethers,
  expectSolvent,
  goTo,
  labels,
  modelOf,
  now,
  PHASE_LENGTHS,
  PUBLISHER_BOND,
  REWARD,
  settleAll,
  TEST_PARTS,
  UNBONDING,
  units,
  VALIDATOR_FEE,
  world,
  worldWithDisputes,
  type World,
} from "./support.ts";

const best = modelOf("best", 38);
const fair = modelOf("fair", 30);
const LARGEST = 2n ** 128n - 1n;
/** Phases in which nobody can answer between two blocks. */
const TRAP = { ...PHASE_LENGTHS, seal: 1, open: 1, shortWindow: 1, longWindow: 1 };

/** What the publisher has more or less than before its task, all of it withdrawn. */
async function gainOf(w: World, taskId: bigint, participants: Parameters<typeof settleAll>[2]): Promise<bigint> {
  await settleAll(w, taskId, participants);
  return (await w.registry.creditOf(w.publisher)) - (REWARD + PUBLISHER_BOND + VALIDATOR_FEE);
}

describe("a publisher that sets a trap", () => {
  it("earns nothing of candidates that it left no time to open", async () => {
    const w = await world();
    const taskId = await w.toSeal(
      [
        [w.ada, best],
        [w.ben, good],
      ],
      { phases: TRAP, candidateBondBps: 10_000 },
    );
    for (let i = 0; i < 2; i++) {
      await goTo((await w.schedule(taskId)).openDeadline);
      await w.advance(taskId);
    }
    expect(await w.phase(taskId)).to.equal("Void");
    expect(await gainOf(w, taskId, [w.ada, w.ben])).to.equal(0n);
    await expectSolvent(w, [taskId], [w.publisher, w.ada, w.ben]);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
  });

  it("takes nothing from a candidate whose validators it left no time to attest", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]], { phases: { ...TRAP, seal: 400, open: 300 } });
    await w.openExamined(taskId, good, w.validators);
    await goTo((await w.schedule(taskId)).windowEnd);
    await w.advance(taskId);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Unattested");
    expect((await w.registry.settlementOf(taskId, w.ada)).candidateBond).to.equal(CANDIDATE_BOND);
    expect(await gainOf(w, taskId, [w.ada])).to.equal(0n);
  });

  it("has no window that is too short for a claimant that opens and attests in one transaction", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]], { phases: { ...TRAP, seal: 400, open: 300 } });
    for (const validator of w.validators) await w.seal(taskId, validator, w.ada.address, good);
    await goTo((await w.schedule(taskId)).sealDeadline);
    const call = w.registry.interface;
    await w.registry
      .connect(w.ada)
      .multicall([
        call.encodeFunctionData("open", [taskId, hexlify(good.predictions), hexlify(labels), TEST_PARTS]),
        call.encodeFunctionData("attest", [taskId, w.validators.map((validator) => validator.address)]),
      ]);
    await w.registry.confirm(taskId);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Winner");
  });

  it("loses half of its bond however many of its own commitments share the other half", async () => {
    const w = await world();
    const taskId = await w.toAwaitKey([
      [w.publisher, good],
      [w.cleo, best],
      [w.stranger, fair],
    ]);
    await goTo((await w.schedule(taskId)).keyDeadline);
    await w.advance(taskId);
    await settleAll(w, taskId, [w.publisher, w.cleo, w.stranger]);
    const back = await Promise.all([w.publisher, w.cleo, w.stranger].map((who) => w.registry.creditOf(who)));
    const paid = REWARD + PUBLISHER_BOND + VALIDATOR_FEE + 3n * (COMMIT_BOND + COMMIT_FEE);
    expect(back.reduce((sum, credit) => sum + credit)).to.equal(paid - PUBLISHER_BOND / 2n - 3n * COMMIT_FEE);
  });
});

describe("a candidate that waits behind another", () => {
  it("has its whole seal period where the other's window was shorter, however late somebody advances", async () => {
    const w = await world();
    const phases = { ...PHASE_LENGTHS, shortWindow: 100, longWindow: 100 };
    const taskId = await w.toSeal(
      [
        [w.ada, best],
        [w.ben, good],
      ],
      { phases },
    );
    await w.openExamined(taskId, best, []);
    await at((await w.schedule(taskId)).windowEnd + 5_000n);
    await w.advance(taskId);
    expect((await w.schedule(taskId)).sealDeadline).to.equal(BigInt((await now()) + PHASE_LENGTHS.seal - 100));
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    expect(await w.stateOf(taskId, w.ben)).to.equal("Winner");
  });

  it("has its whole seal period where the other is refuted long after a short window", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([
      [w.ada, best],
      [w.ben, good],
    ]);
    await w.openExamined(taskId, best, w.validators);
    await w.registry.attest(taskId, [...w.validators]);
    await at((await w.schedule(taskId)).windowEnd + 5_000n);
    await w.scripted.refute(w.registry, taskId, w.ada, w.max);
    const left = PHASE_LENGTHS.seal - PHASE_LENGTHS.shortWindow;
    // the attestations were one block after the opening
    expect(Number((await w.schedule(taskId)).sealDeadline) - (await now())).to.equal(left);
  });
});

describe("stake", () => {
  it("that voted cannot vote again under another name, not even where the vote outlasts its unbonding", async () => {
    const w = await world();
    const phases = { ...PHASE_LENGTHS, keyRelease: 3 * UNBONDING };
    const taskId = await w.toAwaitKey([], { phases });
    await w.stake.connect(w.victor).beginUnbonding(units(50));
    await goTo((await now()) + UNBONDING);
    await w.stake.connect(w.victor).finishUnbonding();
    await w.stake.connect(w.victor).withdrawTo(w.stranger, units(50));
    await w.token.connect(w.stranger).approve(w.stake, units(50));
    await w.stake.connect(w.stranger).stake(units(50));
    await w.release(taskId);
    await w.registry.connect(w.victor).voteTestSet(taskId);
    await expect(w.registry.connect(w.stranger).voteTestSet(taskId)).to.be.revertedWithCustomError(
      w.registry,
      "NoStake",
    );
  });

  it("short of a quorum neither confirms nor costs a bond, whatever it seals", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    // vera and vlad hold half of the stake; their seals say something else
    await w.seal(taskId, w.vera, w.ada.address, good, digest("lie"));
    await w.seal(taskId, w.vlad, w.ada.address, good, digest("lie"));
    await w.openExamined(taskId, good, [w.victor]);
    await w.registry.attest(taskId, [...w.validators]);
    await goTo((await w.schedule(taskId)).windowEnd);
    await expect(w.registry.confirm(taskId)).to.be.revertedWithCustomError(w.registry, "WrongPhase");
    await w.advance(taskId);
    expect((await w.registry.settlementOf(taskId, w.ada)).candidateBond).to.equal(units(5));
  });
});

describe("amounts at their limits", () => {
  it("run through a task and come out to the unit", async () => {
    const w = await world();
    const asset = w.token as LocalAsset;
    for (const who of [w.publisher, w.ada, w.ben]) {
      await asset.connect(who).faucet(8n * LARGEST);
      await asset.connect(who).approve(w.registry, 8n * LARGEST);
    }
    const amounts = { reward: LARGEST, publisherBond: LARGEST, commitBond: LARGEST, commitFee: LARGEST, validatorFee: LARGEST }; // prettier-ignore
    const taskId = await w.toSeal(
      [
        [w.ada, best, 39],
        [w.ben, good],
      ],
      { ...amounts, candidateBondBps: 10_000, minCorrect: 0 },
    );
    await goTo((await w.schedule(taskId)).sealDeadline);
    await w.open(taskId, best);
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    await settleAll(w, taskId, [w.ada, w.ben], w.validators);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
    expect(await w.registry.creditOf(w.ben)).to.equal(3n * LARGEST);
    await expectSolvent(w, [taskId], [w.publisher, w.ada, w.ben, ...w.validators]);
  });

  it("of one unit are slashed whole, not half", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good, 37]], { reward: 1, publisherBond: 0, commitFee: 0, validatorFee: 0 });
    await goTo((await w.schedule(taskId)).sealDeadline);
    await expect(w.open(taskId, good)).to.emit(w.registry, "Burned").withArgs(1n, 3n, taskId);
    await settleAll(w, taskId, [w.ada]);
    expect(await w.registry.owed()).to.equal(COMMIT_BOND + 2n);
  });
});

describe("a pool's dishonest manager", () => {
  const LEAF = (index: number, miner: Address, points: bigint): Hex =>
    ethers.keccak256(
      ethers.AbiCoder.defaultAbiCoder().encode(
        ["bytes32", "uint32", "address", "uint128"],
        [tag("points-leaf"), index, miner, points],
      ),
    ) as Hex;
  const NODE = (left: [Hex, bigint], right: [Hex, bigint]): Hex =>
    ethers.keccak256(
      ethers.AbiCoder.defaultAbiCoder().encode(
        ["bytes32", "bytes32", "uint128", "bytes32", "uint128"],
        [tag("points-node"), ...left, ...right],
      ),
    ) as Hex;
  const ROOT = (depth: number, count: number, top: Hex, sum: bigint): Hex =>
    ethers.keccak256(
      ethers.AbiCoder.defaultAbiCoder().encode(
        ["bytes32", "uint8", "uint32", "bytes32", "uint128"],
        [tag("points-root"), depth, count, top, sum],
      ),
    ) as Hex;

  /** A pool whose manager posted this root, with its claims open. */
  async function posted(depth: number, count: number, top: Hex, sum: bigint) {
    const w = await world();
    const pool = await w.createPool({ feeBps: 0, objectionWindow: 0 });
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    const root = ROOT(depth, count, top, sum);
    await pool.connect(w.manager).postSplit(taskId, { root, depth, count, sum }, cidOf("shares"));
    return { w, pool, taskId };
  }
  const mia = accountOf(0) as Address;
  const max = accountOf(1) as Address;

  it("pays nobody twice by a node that states less than lies under it", async () => {
    const [left, right] = [LEAF(0, mia, 10n), LEAF(1, max, 10n)];
    const { pool, taskId } = await posted(1, 2, NODE([left, 0n], [right, 10n]), 10n);
    await pool.claim(taskId, { index: 1, miner: max, points: 10n }, [{ hash: left, sum: 0n }]);
    expect(await pool.creditOf(max)).to.equal(REWARD);
    await expect(
      pool.claim(taskId, { index: 0, miner: mia, points: 10n }, [{ hash: right, sum: 10n }]),
    ).to.be.revertedWithCustomError(pool, "WrongProof");
    await expect(
      pool.claim(taskId, { index: 0, miner: mia, points: 10n }, [{ hash: right, sum: 0n }]),
    ).to.be.revertedWithCustomError(pool, "WrongProof");
  });

  it("pays nothing by sums that run over 128 bits", async () => {
    const [left, right] = [LEAF(0, mia, LARGEST), LEAF(1, max, 6n)];
    // modulo 2^128 the sum would be 5
    const { pool, taskId } = await posted(1, 2, NODE([left, LARGEST], [right, 6n]), 5n);
    for (const [index, miner, points, other, sum] of [
      [0, mia, LARGEST, right, 6n],
      [1, max, 6n, left, LARGEST],
    ] as const) {
      await expect(pool.claim(taskId, { index, miner, points }, [{ hash: other, sum }])).to.be.revertedWithCustomError(
        pool,
        "WrongProof",
      );
    }
  });

  it("pays no leaf at another depth than the tree's", async () => {
    const [left, right] = [LEAF(0, mia, 1n), LEAF(1, max, 1n)];
    const inner = NODE([left, 1n], [right, 1n]);
    const { pool, taskId } = await posted(1, 2, NODE([inner, 2n], [LEAF(1, max, 2n), 2n]), 4n);
    const siblings = [
      { hash: right, sum: 1n },
      { hash: LEAF(1, max, 2n), sum: 2n },
    ];
    await expect(pool.claim(taskId, { index: 0, miner: mia, points: 1n }, siblings)).to.be.revertedWithCustomError(
      pool,
      "WrongProof",
    );
  });

  it("splits exactly by receipts of the most points there can be", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskId = await win(w, pool, good, 1001n);
    await pool.collect(taskId);
    await goTo((await pool.accountOf(taskId)).deadline);
    for (const miner of [w.mia, w.max]) {
      const signature = await receiptOf(w, pool, taskId, miner.address, 1n, LARGEST);
      await pool.submitReceipt(taskId, miner, 1, LARGEST, signature);
    }
    await goTo((await pool.accountOf(taskId)).deadline);
    await pool.claimByReceipt(taskId, w.mia);
    await pool.claimByReceipt(taskId, w.max);
    expect([await pool.creditOf(w.mia), await pool.creditOf(w.max)]).to.deep.equal([500n, 501n]);
  });
});

describe("money sent astray", () => {
  it("is refused by the code behind the pools, which nobody manages", async () => {
    const w = await world();
    const behind = await contractAt("Pool", await w.factory.implementation());
    await w.token.connect(w.ada).approve(behind, 5);
    await expect(behind.connect(w.ada).deposit(5))
      .to.be.revertedWithCustomError(behind, "InvalidPoolParameter")
      .withArgs("manager");
  });
});
