import { expect } from "chai";

import { buildPointsTree, type PointsTree } from "../../offchain/pool/points-tree.ts";
import { BURN_REASONS, CREDIT_REASONS, OBJECTION_KINDS, OBJECTION_STATES } from "../../offchain/protocol/abi.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import type { IPool, Pool } from "../../types/ethers-contracts/index.ts";
import { accountOf, good, leafOf, objectMissing, receiptOf, splitOf, win } from "./pool-support.ts";
import {
  at,
  cidOf,
  digest,
  ethers,
  goTo,
  now,
  REWARD,
  units,
  world,
  worldOfQuirks,
  worldWithDisputes,
  type Signer,
  type World,
} from "./support.ts";

const WINDOW = 200;
const STAKE = REWARD / 20n;
const BOND = REWARD / 1000n;
const reason = (names: readonly string[], name: string): bigint => BigInt(names.indexOf(name));

/** Won, collected and split among mia, max and ada; `change` is what the manager posts instead of the honest split. */
async function posted(
  options: {
    readonly points?: Record<string, bigint>;
    readonly change?: (split: ReturnType<typeof splitOf>) => IPool.SplitStruct;
    readonly world?: () => Promise<World>;
    readonly reward?: bigint;
    readonly terms?: Partial<IPool.PoolParamsStruct>;
  } = {},
) {
  const { change = (split) => split, reward = REWARD } = options;
  const w = await (options.world ?? world)();
  const pool = await w.createPool(options.terms);
  const points = options.points ?? { [w.mia.address]: 10n, [w.max.address]: 20n, [w.ada.address]: 30n };
  const tree = buildPointsTree(Object.entries(points).map(([a, p]) => ({ account: a as Address, points: p })));
  const taskId = await win(w, pool, good, reward);
  await pool.collect(taskId);
  await pool.connect(w.manager).postSplit(taskId, change(splitOf(tree)), cidOf("shares"));
  for (const who of [w.stranger, w.ben, w.cleo]) await w.token.connect(who).approve(pool, units(1000));
  return { w, pool, taskId, tree };
}

const indexOf = (tree: PointsTree, who: Signer): number =>
  tree.leaves.findIndex(({ account }) => account === who.address);
/** Answers objection `id` with the leaf of that index. */
const answer = (pool: Pool, taskId: bigint, tree: PointsTree, id: number, index: number, by: Signer) =>
  pool.connect(by).answer(taskId, id, leafOf(tree, index), tree.proof(index));
const end = async (pool: Pool, taskId: bigint): Promise<void> => goTo((await pool.accountOf(taskId)).deadline);

/** float + credits + burned + every task's unclaimed part, fee, stake and bonds: what the pool owes, and has. */
async function expectSolvent(w: World, pool: Pool, taskIds: readonly bigint[]): Promise<void> {
  let parts = (await pool.float()) + (await pool.burned());
  for (const taskId of taskIds) {
    const { unclaimed, fee, feePaid, stake, bonds, splitTask } = await pool.accountOf(taskId);
    parts += unclaimed + stake + bonds + (splitTask === taskId && !feePaid ? fee : 0n);
  }
  const people = [w.manager, w.mia, w.max, w.ada, w.ben, w.cleo, w.stranger];
  for (const account of people) parts += await pool.creditOf(account);
  expect(await pool.owed()).to.equal(parts);
  expect(await w.token.balanceOf(pool)).to.equal(parts);
}

describe("a manager's stake", () => {
  it("is 5 % of the reward, rounded up: never more than the candidate's bond that came back with it", async () => {
    const w = await world();
    const pool = await w.createPool({}, units(8));
    const taskId = await win(w, pool, good, units(100) + 1n);
    await pool.connect(w.manager).withdrawFloat(await pool.float());
    await pool.collect(taskId);
    expect(await pool.stakeFor(units(100) + 1n)).to.equal(units(5) + 1n);
    const float = await pool.float();
    const tree = buildPointsTree([{ account: w.mia.address as Address, points: 1n }]);
    await pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares"));
    expect(await pool.float()).to.equal(float - units(5) - 1n);
    expect((await pool.accountOf(taskId)).stake).to.equal(units(5) + 1n);
    await expectSolvent(w, pool, [taskId]);
  });

  it("must be in the float when the split is posted", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    await pool.connect(w.manager).withdrawFloat((await pool.float()) - STAKE + 1n);
    const tree = buildPointsTree([{ account: w.mia.address as Address, points: 1n }]);
    const post = () => pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares"));
    await expect(post())
      .to.be.revertedWithCustomError(pool, "InsufficientFloat")
      .withArgs(STAKE - 1n, STAKE);
    await pool.connect(w.manager).deposit(1);
    await post();
    // bound: nobody takes it out as float
    await expect(pool.connect(w.manager).withdrawFloat(1)).to.be.revertedWithCustomError(pool, "InsufficientFloat");
  });

  it("comes back whole with the fee when the split is final, by anyone's call", async () => {
    const { w, pool, taskId, tree } = await posted();
    const float = await pool.float();
    await end(pool, taskId);
    await pool.connect(w.stranger).claimFee(taskId);
    expect((await pool.float()) - float).to.equal(STAKE);
    expect((await pool.accountOf(taskId)).stake).to.equal(0n);
    for (const index of tree.leaves.keys()) await pool.claim(taskId, leafOf(tree, index), tree.proof(index));
    await expectSolvent(w, pool, [taskId]);
  });

  it("can wait for objections for 30 days, and not a second longer", async () => {
    const w = await world();
    await w.createPool({ objectionWindow: 30 * 86_400 });
    await expect(w.createPool({ objectionWindow: 30 * 86_400 + 1 }))
      .to.be.revertedWithCustomError(w.poolImplementation, "InvalidPoolParameter")
      .withArgs("objectionWindow");
  });

  it("is not asked for where nothing can be objected to", async () => {
    const { pool, taskId } = await posted({ terms: { objectionWindow: 0 } });
    expect((await pool.accountOf(taskId)).stake).to.equal(0n);
  });
});

describe("an objection for missing points", () => {
  it("is answered by a leaf with as many points, by anyone, and the split stands", async () => {
    const { w, pool, taskId, tree } = await posted();
    const objecting = await objectMissing(w, pool, taskId, w.mia.address, 1n, 10n);
    await expect(objecting)
      .to.emit(pool, "PointsDemanded")
      .withArgs(taskId, 1n, w.mia.address, 10n, BigInt((await now()) + WINDOW));
    expect(await pool.demandedOf(taskId, w.mia)).to.equal(10n);
    const [open] = await pool.openObjections(taskId, 10);
    expect(open!.kind).to.equal(reason(OBJECTION_KINDS, "Points"));
    expect([open!.id, open!.by, open!.points]).to.deep.equal([1n, w.mia.address, 10n]);
    const index = indexOf(tree, w.mia);
    await expect(answer(pool, taskId, tree, 1, index, w.cleo))
      .to.emit(pool, "ObjectionAnswered")
      .withArgs(taskId, 1n, BigInt(index), w.mia.address, 10n);
    expect((await pool.objectionOf(taskId, 1)).state).to.equal(reason(OBJECTION_STATES, "Answered"));
    expect(await pool.openObjections(taskId, 10)).to.have.length(0);
    expect((await pool.accountOf(taskId)).objections, "raised, open or not").to.equal(1n);
    await end(pool, taskId);
    expect(await w.splitPhase(pool, taskId)).to.equal("Claims");
    expect(await pool.burned()).to.equal(0n);
    await expectSolvent(w, pool, [taskId]);
  });

  it("is not answered by another's leaf, by fewer points, or by a leaf of another tree", async () => {
    const { w, pool, taskId, tree } = await posted();
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 11n);
    const other = buildPointsTree(tree.leaves.map(({ account }) => ({ account, points: 20n })));
    for (const [from, who] of [[tree, w.mia], [tree, w.max], [other, w.mia]] as const) {
      await expect(answer(pool, taskId, from, 1, indexOf(from, who), w.manager)).to.be.revertedWithCustomError(
        pool,
        "WrongProof",
      );
    } // prettier-ignore
    expect((await pool.objectionOf(taskId, 1)).state).to.equal(reason(OBJECTION_STATES, "Open"));
  });

  it("that is not answered brings the split down: half the stake is the miner's, half nobody's", async () => {
    const { w, pool, taskId } = await posted();
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 11n);
    await end(pool, taskId);
    await end(pool, taskId);
    expect(await w.splitPhase(pool, taskId)).to.equal("Fallen");
    const fall = pool.connect(w.stranger).finaliseFall(taskId);
    await expect(fall)
      .to.emit(pool, "SplitFell")
      .withArgs(taskId, w.mia.address, STAKE / 2n);
    await expect(fall)
      .to.emit(pool, "Burned")
      .withArgs(STAKE / 2n, reason(BURN_REASONS, "PoolStake"), taskId);
    await expect(fall)
      .to.emit(pool, "Credited")
      .withArgs(w.mia.address, STAKE / 2n, reason(CREDIT_REASONS, "Objection"), taskId);
    expect(await pool.creditOf(w.mia)).to.equal(STAKE / 2n);
    // then receipts decide, over the whole reward: the manager has no fee of a split that fell
    const account = await pool.accountOf(taskId);
    expect([account.unclaimed, account.fee, account.stake]).to.deep.equal([REWARD, 0n, 0n]);
    expect(account.splitTask, "no split pays it").to.equal(0n);
    expect(account.deadline).to.equal(account.fellAt + 500n);
    await expectSolvent(w, pool, [taskId]);
    for (const [miner, points] of [[w.mia, 11n], [w.max, 22n]] as const) {
      const signature = await receiptOf(w, pool, taskId, miner.address, 1n, points);
      await pool.submitReceipt(taskId, miner, 1, points, signature);
    } // prettier-ignore
    await end(pool, taskId);
    await pool.claimByReceipt(taskId, w.mia);
    await pool.claimByReceipt(taskId, w.max);
    expect(await pool.creditOf(w.mia)).to.equal(REWARD / 3n + STAKE / 2n);
    expect(await w.splitPhase(pool, taskId)).to.equal("Closed");
    await expectSolvent(w, pool, [taskId]);
  });

  it("of a stake of one unit burns it, and of odd stakes the larger half", async () => {
    const { w, pool, taskId } = await posted({ reward: 1n });
    await objectMissing(w, pool, taskId, w.max.address, 1n, 21n);
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    await pool.finaliseFall(taskId);
    expect([await pool.burned(), await pool.creditOf(w.max)]).to.deep.equal([1n, 0n]);
    await expectSolvent(w, pool, [taskId]);
  });

  it("pays the miner whoever sent its receipt, so that copying the message gains nothing", async () => {
    const { w, pool, taskId } = await posted();
    const signature = await receiptOf(w, pool, taskId, w.mia.address, 1n, 11n);
    await pool.connect(w.manager).objectMissing(taskId, w.mia, 1, 11, signature);
    await expect(pool.connect(w.mia).objectMissing(taskId, w.mia, 1, 11, signature))
      .to.be.revertedWithCustomError(pool, "AlreadyDemanded")
      .withArgs(11n);
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    await pool.connect(w.manager).finaliseFall(taskId);
    expect(await pool.creditOf(w.mia)).to.equal(STAKE / 2n);
    expect(await pool.creditOf(w.manager)).to.equal(0n);
  });

  it("cannot be forestalled by an earlier receipt: one of more points raises it, in the time that is left", async () => {
    const { w, pool, taskId, tree } = await posted();
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 4n);
    const { deadline } = await pool.objectionOf(taskId, 1);
    await goTo((await now()) + 50);
    await objectMissing(w, pool, taskId, w.mia.address, 2n, 11n);
    const raised = await pool.objectionOf(taskId, 1);
    expect([raised.points, raised.deadline]).to.deep.equal([11n, deadline]);
    expect((await pool.accountOf(taskId)).objections).to.equal(1n);
    await expect(answer(pool, taskId, tree, 1, indexOf(tree, w.mia), w.manager)).to.be.revertedWithCustomError(
      pool,
      "WrongProof",
    );
  });

  it("is settled by one answer for all receipts up to the leaf's points, and not for one above them", async () => {
    const { w, pool, taskId, tree } = await posted();
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 3n);
    await answer(pool, taskId, tree, 1, indexOf(tree, w.mia), w.manager);
    for (const points of [1n, 3n, 4n, 10n]) {
      await expect(objectMissing(w, pool, taskId, w.mia.address, 2n, points))
        .to.be.revertedWithCustomError(pool, "AlreadyDemanded")
        .withArgs(10n);
    }
    await objectMissing(w, pool, taskId, w.mia.address, 3n, 11n);
    expect((await pool.openObjections(taskId, 9)).map(({ id }) => id)).to.deep.equal([2n]);
  });

  it("takes no receipt that another signed, or of another task, miner, pool, or of no points", async () => {
    const { w, pool, taskId } = await posted();
    const other = await w.createPool();
    const wrong = [
      await receiptOf(w, pool, taskId + 1n, w.mia.address, 1n, 11n),
      await receiptOf(w, pool, taskId, w.max.address, 1n, 11n),
      await receiptOf(w, pool, taskId, w.mia.address, 2n, 11n),
      await receiptOf(w, pool, taskId, w.mia.address, 1n, 12n),
      await receiptOf(w, other, taskId, w.mia.address, 1n, 11n),
      await w.stranger.signMessage("11 points"),
      "0x",
    ];
    for (const signature of wrong) {
      await expect(pool.objectMissing(taskId, w.mia, 1, 11, signature)).to.be.revertedWithCustomError(
        pool,
        "WrongSignature",
      );
    }
    await expect(objectMissing(w, pool, taskId, w.mia.address, 1n, 0n))
      .to.be.revertedWithCustomError(pool, "InvalidPoolParameter")
      .withArgs("points");
  });

  it("holds the manager to the receipt key of the task, whatever key it has taken since", async () => {
    const { w, pool, taskId } = await posted();
    await pool.connect(w.manager).setTerms(300, w.stranger);
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 11n);
    expect((await pool.accountOf(taskId)).objections).to.equal(1n);
  });
});

describe("a demand for a leaf", () => {
  it("costs a bond that an answer halves: the larger half is burned, the other is the manager's, whoever answers", async () => {
    const { w, pool, taskId, tree } = await posted({ reward: units(100) + 1n });
    const bond = await pool.bondFor(units(100) + 1n);
    expect(bond).to.equal(units("0.1") + 1n);
    const before = await w.token.balanceOf(w.stranger);
    await expect(pool.connect(w.stranger).demandLeaf(taskId, 1))
      .to.emit(pool, "LeafDemanded")
      .withArgs(taskId, 1n, w.stranger.address, 1n, bond, BigInt((await now()) + 1 + WINDOW));
    expect(before - (await w.token.balanceOf(w.stranger))).to.equal(bond);
    expect((await pool.accountOf(taskId)).bonds).to.equal(bond);
    await expectSolvent(w, pool, [taskId]);
    const float = await pool.float();
    await expect(answer(pool, taskId, tree, 1, 1, w.cleo))
      .to.emit(pool, "Burned")
      .withArgs(bond / 2n + 1n, reason(BURN_REASONS, "ObjectionBond"), taskId);
    expect((await pool.float()) - float).to.equal(bond / 2n);
    expect(await pool.burned()).to.equal(bond / 2n + 1n);
    expect((await pool.accountOf(taskId)).bonds).to.equal(0n);
    expect(await pool.creditOf(w.cleo)).to.equal(0n);
    await expectSolvent(w, pool, [taskId]);
    await end(pool, taskId);
    await expect(pool.returnBond(taskId, 1)).to.be.revertedWithCustomError(pool, "NotOpen").withArgs(1n);
  });

  it("is refused without the bond, twice, and for a leaf that there cannot be", async () => {
    const { w, pool, taskId, tree } = await posted();
    await expect(pool.connect(w.mia).demandLeaf(taskId, 0)).to.be.revertedWithCustomError(
      w.token,
      "ERC20InsufficientAllowance",
    );
    await expect(pool.connect(w.stranger).demandLeaf(taskId, 3))
      .to.be.revertedWithCustomError(pool, "InvalidPoolParameter")
      .withArgs("index");
    await pool.connect(w.stranger).demandLeaf(taskId, 0);
    const again = () => pool.connect(w.ben).demandLeaf(taskId, 0);
    await expect(again()).to.be.revertedWithCustomError(pool, "LeafAlreadyDemanded").withArgs(0n);
    await answer(pool, taskId, tree, 1, 0, w.manager);
    await expect(again()).to.be.revertedWithCustomError(pool, "LeafAlreadyDemanded").withArgs(0n);
    // answered again, by a batch that came second: nothing happens, the bond above all is paid once
    const float = await pool.float();
    await expect(answer(pool, taskId, tree, 1, 0, w.manager)).not.to.emit(pool, "ObjectionAnswered");
    expect(await pool.float()).to.equal(float);
    await expect(answer(pool, taskId, tree, 9, 0, w.manager))
      .to.be.revertedWithCustomError(pool, "NotOpen")
      .withArgs(9n);
    await expectSolvent(w, pool, [taskId]);
  });

  it("is not answered by another leaf", async () => {
    const { w, pool, taskId, tree } = await posted();
    await pool.connect(w.stranger).demandLeaf(taskId, 1);
    for (const index of [0, 2]) {
      await expect(answer(pool, taskId, tree, 1, index, w.manager)).to.be.revertedWithCustomError(pool, "WrongProof");
    }
  });

  it("brings a root down that nobody can open, so that it locks no reward", async () => {
    const { w, pool, taskId } = await posted({ change: (split) => ({ ...split, root: digest("no tree") }) });
    await pool.connect(w.stranger).demandLeaf(taskId, 0);
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    const credits = pool.creditOf(w.stranger);
    expect(await credits).to.equal(0n);
    await pool.finaliseFall(taskId);
    expect(await pool.creditOf(w.stranger)).to.equal(BOND + STAKE / 2n);
    expect((await pool.accountOf(taskId)).bonds).to.equal(0n);
    await expect(pool.returnBond(taskId, 1)).to.be.revertedWithCustomError(pool, "NotOpen").withArgs(1n);
    await expectSolvent(w, pool, [taskId]);
  });

  it("of the last leaf uncovers points behind it that nobody could claim", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    // four leaves' places, of which the manager says that there are three: the fourth one's points are nobody's
    const tree = buildPointsTree([10n, 20n, 30n, 40n].map((points, i) => ({ account: accountOf(i), points })));
    const top = tree.proof(0);
    const node = (l: { hash: string; sum: bigint }, r: { hash: string; sum: bigint }) =>
      ethers.keccak256(
        ethers.AbiCoder.defaultAbiCoder().encode(
          ["bytes32", "bytes32", "uint128", "bytes32", "uint128"],
          [digestOfTag("points-node"), l.hash, l.sum, r.hash, r.sum],
        ),
      );
    const left = { hash: node(tree.proof(1)[0]!, top[0]!), sum: 30n };
    const whole = node(left, top[1]!);
    const root = ethers.keccak256(
      ethers.AbiCoder.defaultAbiCoder().encode(
        ["bytes32", "uint8", "uint32", "bytes32", "uint128"],
        [digestOfTag("points-root"), 2, 3, whole, 100n],
      ),
    );
    await pool.connect(w.manager).postSplit(taskId, { root, depth: 2, count: 3, sum: 100n }, cidOf("shares"));
    await w.token.connect(w.stranger).approve(pool, units(1000));
    await pool.connect(w.stranger).demandLeaf(taskId, 1);
    await answer(pool, taskId, tree, 1, 1, w.manager);
    await pool.connect(w.stranger).demandLeaf(taskId, 2);
    await expect(answer(pool, taskId, tree, 2, 2, w.manager)).to.be.revertedWithCustomError(pool, "WrongProof");
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    expect(await w.splitPhase(pool, taskId)).to.equal("Fallen");
  });

  it("pays nobody for objecting to oneself: a manager that fells its own split loses half its stake", async () => {
    const { w, pool, taskId } = await posted({ change: (split) => ({ ...split, root: digest("no tree") }) });
    const wealth = async () =>
      (await w.token.balanceOf(w.manager)) + (await pool.float()) + (await pool.creditOf(w.manager));
    const before = await wealth();
    await pool.connect(w.manager).demandLeaf(taskId, 0);
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    await pool.connect(w.manager).finaliseFall(taskId);
    expect((await wealth()) - before).to.equal(STAKE / 2n);
    expect(await pool.burned()).to.equal(STAKE / 2n);
  });
});

describe("many objections", () => {
  it("run side by side: answered in any order, the last one's deadline is the last there is", async () => {
    const points = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [accountOf(i), BigInt(i + 1)]));
    const { w, pool, taskId, tree } = await posted({ points });
    const start = (await pool.accountOf(taskId)).postedAt;
    for (let i = 0; i < 6; i++) await pool.connect(w.stranger).demandLeaf(taskId, i);
    const ids = async () => (await pool.openObjections(taskId, 100)).map(({ id }) => Number(id));
    expect(await ids()).to.deep.equal([1, 2, 3, 4, 5, 6]);
    for (const [id, left] of [
      [3, [1, 2, 4, 5, 6]],
      [1, [2, 4, 5, 6]],
      [6, [2, 4, 5]],
      [4, [2, 5]],
    ] as const) {
      await answer(pool, taskId, tree, id, id - 1, w.manager);
      expect(await ids(), `after ${id}`).to.deep.equal(left);
    }
    expect((await pool.openObjections(taskId, 1)).map(({ id }) => Number(id))).to.deep.equal([2]);
    await at(start + BigInt(WINDOW) - 1n);
    await pool.connect(w.stranger).demandLeaf(taskId, 8);
    expect(await ids()).to.deep.equal([2, 5, 7]);
    await answer(pool, taskId, tree, 2, 1, w.manager);
    await answer(pool, taskId, tree, 5, 4, w.manager);
    const { phase, deadline } = await pool.accountOf(taskId);
    expect(phase).to.equal(9n);
    expect(deadline, "twice the window at most").to.equal(start + 2n * BigInt(WINDOW) - 1n);
    await at(deadline - 1n);
    await answer(pool, taskId, tree, 7, 8, w.manager);
    expect(await w.splitPhase(pool, taskId)).to.equal("Claims");
    await expectSolvent(w, pool, [taskId]);
  });

  it("are taken until the window's last second, and answered until their own", async () => {
    const { w, pool, taskId, tree } = await posted();
    const { deadline } = await pool.accountOf(taskId);
    await at(deadline - 1n);
    await pool.connect(w.stranger).demandLeaf(taskId, 0);
    const raisedAt = BigInt(await now());
    await at(deadline);
    await expect(pool.connect(w.stranger).demandLeaf(taskId, 1))
      .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
      .withArgs(taskId, 9n);
    await expect(objectMissing(w, pool, taskId, w.mia.address, 1n, 11n))
      .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
      .withArgs(taskId, 9n);
    await expect(pool.claim(taskId, leafOf(tree, 0), tree.proof(0))).to.be.revertedWithCustomError(
      pool,
      "WrongSplitPhase",
    );
    await at(raisedAt + BigInt(WINDOW));
    await expect(answer(pool, taskId, tree, 1, 0, w.manager))
      .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
      .withArgs(taskId, 10n);
  });

  it("that were open at the fall get their bonds back, once each; the first that ran out has the stake", async () => {
    const { w, pool, taskId, tree } = await posted();
    await pool.connect(w.ben).demandLeaf(taskId, 0);
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 11n);
    await pool.connect(w.cleo).demandLeaf(taskId, 1);
    await answer(pool, taskId, tree, 1, 0, w.manager);
    await goTo((await now()) + 50);
    await pool.connect(w.stranger).demandLeaf(taskId, 2);
    await expect(pool.returnBond(taskId, 3)).to.be.revertedWithCustomError(pool, "NotOpen");
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    await goTo((await now()) + 300);
    await pool.finaliseFall(taskId);
    expect(await pool.creditOf(w.mia)).to.equal(STAKE / 2n);
    expect((await pool.accountOf(taskId)).objections, "raised, open or not").to.equal(4n);
    for (const id of [1, 2, 5]) {
      await expect(pool.returnBond(taskId, id), `objection ${id}`).to.be.revertedWithCustomError(pool, "NotOpen");
    }
    await expect(pool.returnBond(taskId, 3))
      .to.emit(pool, "Credited")
      .withArgs(w.cleo.address, BOND, reason(CREDIT_REASONS, "ObjectionBond"), taskId);
    await expect(pool.returnBond(taskId, 3)).to.be.revertedWithCustomError(pool, "NotOpen");
    await pool.returnBond(taskId, 4);
    expect([await pool.creditOf(w.ben), await pool.creditOf(w.stranger)]).to.deep.equal([0n, BOND]);
    await expectSolvent(w, pool, [taskId]);
    await expect(answer(pool, taskId, tree, 3, 1, w.manager)).to.be.revertedWithCustomError(pool, "WrongSplitPhase");
  });

  it("of one task leave the others alone", async () => {
    const { w, pool, taskId, tree } = await posted();
    const second = await win(w, pool);
    await pool.collect(second);
    await pool.connect(w.manager).postSplit(second, splitOf(tree), cidOf("shares"));
    await objectMissing(w, pool, second, w.mia.address, 1n, 11n);
    expect((await pool.accountOf(taskId)).objections).to.equal(0n);
    for (let i = 0; i < 2; i++) await end(pool, second);
    await pool.finaliseFall(second);
    await pool.claim(taskId, leafOf(tree, 0), tree.proof(0));
    await pool.claimFee(taskId);
    await expectSolvent(w, pool, [taskId, second]);
  });
});

describe("a reward without split and receipts", () => {
  /** Falls, and nobody hands in a receipt. */
  async function fell(w: World, pool: Pool, tree: PointsTree): Promise<bigint> {
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    await pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares"));
    await objectMissing(w, pool, taskId, w.mia.address, 1n, 11n);
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    await pool.finaliseFall(taskId);
    await end(pool, taskId);
    expect(await w.splitPhase(pool, taskId)).to.equal("Unclaimed");
    return taskId;
  }

  it("follows the pool's last split that somebody has claimed by, without a fee, to the last unit", async () => {
    const { w, pool, taskId, tree } = await posted({ reward: 1001n });
    await end(pool, taskId);
    await pool.claim(taskId, leafOf(tree, 0), tree.proof(0));
    expect(await pool.lastSplit()).to.equal(taskId);
    const other = buildPointsTree([{ account: w.ben.address as Address, points: 1n }]);
    const second = await fell(w, pool, other);
    await expect(pool.connect(w.stranger).reclaim(second)).to.emit(pool, "SplitAdopted").withArgs(second, taskId);
    expect((await pool.accountOf(second)).splitTask).to.equal(taskId);
    await expect(pool.claim(second, leafOf(other, 0), [])).to.be.revertedWithCustomError(pool, "WrongProof");
    const before = await pool.creditOf(w.ada);
    for (const index of tree.leaves.keys()) await pool.claim(second, leafOf(tree, index), tree.proof(index));
    expect((await pool.creditOf(w.ada)) - before).to.equal(REWARD / 2n);
    expect((await pool.accountOf(second)).unclaimed).to.equal(0n);
    await expect(pool.claimFee(second)).to.be.revertedWithCustomError(pool, "FeeAlreadyPaid");
    // an adopted split is no new one
    expect(await pool.lastSplit()).to.equal(taskId);
    await pool.claimFee(taskId);
    for (const index of [1, 2]) await pool.claim(taskId, leafOf(tree, index), tree.proof(index));
    await expectSolvent(w, pool, [taskId, second]);
  });

  it("follows it whole, without a fee, where no split was ever posted", async () => {
    const { w, pool, taskId, tree } = await posted();
    await end(pool, taskId);
    await pool.claim(taskId, leafOf(tree, 0), tree.proof(0));
    const second = await win(w, pool);
    await pool.collect(second);
    for (let i = 0; i < 2; i++) await end(pool, second);
    await pool.reclaim(second);
    expect((await pool.accountOf(second)).fee).to.equal(0n);
    for (const index of tree.leaves.keys()) await pool.claim(second, leafOf(tree, index), tree.proof(index));
    expect((await pool.accountOf(second)).unclaimed).to.equal(0n);
    await expectSolvent(w, pool, [taskId, second]);
  });

  it("follows the latest of them, whichever was claimed by last", async () => {
    const { w, pool, taskId, tree } = await posted();
    const later = await win(w, pool);
    await pool.collect(later);
    const other = buildPointsTree([{ account: w.ben.address as Address, points: 1n }]);
    await pool.connect(w.manager).postSplit(later, splitOf(other), cidOf("shares"));
    await end(pool, later);
    await pool.claim(later, leafOf(other, 0), []);
    await pool.claim(taskId, leafOf(tree, 0), tree.proof(0));
    expect(await pool.lastSplit()).to.equal(later);
  });

  it("follows the one that was claimed by first of two that were posted in the same second", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskIds = [await win(w, pool), await win(w, pool)] as const;
    const tree = buildPointsTree([{ account: w.ben.address as Address, points: 1n }]);
    for (const taskId of taskIds) await pool.collect(taskId);
    await pool
      .connect(w.manager)
      .multicall(
        taskIds.map((taskId) =>
          pool.interface.encodeFunctionData("postSplit", [taskId, splitOf(tree), cidOf("shares")]),
        ),
      );
    await end(pool, taskIds[0]);
    for (const taskId of taskIds) await pool.claim(taskId, leafOf(tree, 0), []);
    expect(await pool.lastSplit()).to.equal(taskIds[0]);
  });

  it("does not follow one that nobody has claimed by: it may be one that cannot be opened", async () => {
    const { w, pool, taskId } = await posted({ change: (split) => ({ ...split, root: digest("no tree") }) });
    await end(pool, taskId);
    await pool.claimFee(taskId);
    const other = buildPointsTree([{ account: w.ben.address as Address, points: 1n }]);
    const second = await fell(w, pool, other);
    const float = await pool.float();
    await pool.reclaim(second);
    expect((await pool.float()) - float).to.equal(REWARD);
    expect(await w.splitPhase(pool, second)).to.equal("Closed");
  });
});

describe("a disputes contract over a pool's splits", () => {
  it("keeps a contested split open, and brings a refuted one down for the refuter", async () => {
    const { w, pool, taskId, tree } = await posted({ world: worldWithDisputes });
    await w.scripted.setContested(taskId, pool, true);
    await pool.connect(w.cleo).demandLeaf(taskId, 0);
    await answer(pool, taskId, tree, 1, 0, w.manager);
    await pool.connect(w.ben).demandLeaf(taskId, 1);
    await end(pool, taskId);
    await expect(pool.claimFee(taskId)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 9n);
    await w.scripted.refuteSplit(pool, taskId, w.stranger);
    expect(await pool.creditOf(w.stranger)).to.equal(STAKE / 2n);
    expect((await pool.accountOf(taskId)).unclaimed).to.equal(REWARD);
    await pool.returnBond(taskId, 2);
    expect(await pool.creditOf(w.ben)).to.equal(BOND);
    await expectSolvent(w, pool, [taskId]);
  });

  it("is the only one that may", async () => {
    const { w, pool, taskId } = await posted({ world: worldWithDisputes });
    for (const who of [w.manager, w.stranger]) {
      await expect(pool.connect(who).refuteSplit(taskId, who)).to.be.revertedWithCustomError(pool, "OnlyDisputes");
    }
    const without = await posted();
    const call = without.pool.connect(without.w.stranger).refuteSplit(without.taskId, without.w.stranger);
    await expect(call).to.be.revertedWithCustomError(without.pool, "OnlyDisputes");
  });

  it("cannot touch a split that is final", async () => {
    const { w, pool, taskId, tree } = await posted({ world: worldWithDisputes });
    await end(pool, taskId);
    await pool.claim(taskId, leafOf(tree, 0), tree.proof(0));
    await expect(w.scripted.refuteSplit(pool, taskId, w.stranger))
      .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
      .withArgs(taskId, 4n);
  });
});

describe("objections and an asset with quirks", () => {
  async function quirky() {
    const all = await posted({ world: worldOfQuirks });
    return { ...all, token: await ethers.getContractAt("QuirkyAsset", await all.w.token.getAddress()) };
  }

  it("refuse a bond of which a part stays on the way", async () => {
    const { w, pool, taskId, token } = await quirky();
    await token.getFunction("setFee")(100);
    await expect(pool.connect(w.stranger).demandLeaf(taskId, 0)).to.be.revertedWithCustomError(pool, "InexactTransfer");
    expect((await pool.accountOf(taskId)).objections).to.equal(0n);
  });

  it("let nobody in while a bond is on its way", async () => {
    const { w, pool, taskId, tree, token } = await quirky();
    const calls = [
      pool.interface.encodeFunctionData("demandLeaf", [taskId, 1]),
      pool.interface.encodeFunctionData("answer", [taskId, 1, leafOf(tree, 0), tree.proof(0)]),
      pool.interface.encodeFunctionData("finaliseFall", [taskId]),
      pool.interface.encodeFunctionData("returnBond", [taskId, 1]),
      pool.interface.encodeFunctionData("objectMissing", [taskId, w.mia.address, 1, 1, "0x"]),
      pool.interface.encodeFunctionData("refuteSplit", [taskId, w.stranger.address]),
    ];
    for (const [index, call] of calls.slice(0, 3).entries()) {
      await token.getFunction("setReentry")(pool, call);
      await pool.connect(w.stranger).demandLeaf(taskId, index);
      expect(await token.getFunction("reentryError")()).to.equal(
        pool.interface.getError("ReentrancyGuardReentrantCall")!.selector,
      );
    }
    for (const call of calls.slice(3)) {
      await token.getFunction("setReentry")(pool, call);
      await pool.connect(w.manager).deposit(1);
      expect(await token.getFunction("reentryError")()).to.equal(
        pool.interface.getError("ReentrancyGuardReentrantCall")!.selector,
      );
    }
    await token.getFunction("setReentry")(ethers.ZeroAddress, "0x");
    await expectSolvent(w, pool, [taskId]);
  });

  it("credit a blocked payee without holding up anybody", async () => {
    const { w, pool, taskId, token } = await quirky();
    await pool.connect(w.ben).demandLeaf(taskId, 0);
    await pool.connect(w.stranger).demandLeaf(taskId, 1);
    await token.getFunction("setBlocked")(w.ben, true);
    for (let i = 0; i < 2; i++) await end(pool, taskId);
    await pool.finaliseFall(taskId);
    await pool.returnBond(taskId, 2);
    await pool.connect(w.stranger).withdraw();
    await expect(pool.connect(w.ben).withdraw()).to.be.revertedWithCustomError(token, "Blocked");
    await pool.connect(w.ben).withdrawTo(w.cleo, BOND + STAKE / 2n);
  });
});

function digestOfTag(name: string): string {
  return digest(`ponas.v1.${name}`);
}
