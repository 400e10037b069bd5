import { expect } from "chai";
import { hexlify } from "ethers";

import type { Address, Hex } from "../../offchain/protocol/bytes.ts";
import { buildPointsTree, feeOf, paymentOf, splitReward } from "../../offchain/pool/points-tree.ts";
import type { IPool, Pool } from "../../types/ethers-contracts/index.ts";
import { accountOf, commitPool, good, leafOf, receiptOf, splitOf, win } from "./pool-support.ts";
import {
  at,
  CANDIDATE_BOND,
  cidOf,
  COMMIT_BOND,
  COMMIT_FEE,
  contractAt,
  deploy,
  digest,
  ethers,
  goTo,
  modelOf,
  now,
  PUBLISHER_BOND,
  REWARD,
  settleAll,
  units,
  world,
  type Signer,
  type World,
} from "./support.ts";

const DAY = 24 * 60 * 60;
/** Won, collected, and split by these points. */
async function split(w: World, pool: Pool, points: Record<string, bigint>, reward = REWARD) {
  const taskId = await win(w, pool, good, reward);
  await pool.collect(taskId);
  const tree = buildPointsTree(
    Object.entries(points).map(([account, p]) => ({ account: account as Address, points: p })),
  );
  await pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares"));
  const { deadline } = await pool.accountOf(taskId);
  await goTo(deadline);
  return { taskId, tree };
}

async function expectPoolSolvent(
  w: World,
  pool: Pool,
  taskIds: bigint[],
  accounts: (Signer | string)[],
): Promise<void> {
  let parts = await pool.float();
  for (const taskId of taskIds) {
    const { unclaimed, fee, feePaid, postedAt } = await pool.accountOf(taskId);
    parts += unclaimed + (postedAt > 0n && !feePaid ? fee : 0n);
  }
  for (const account of accounts) parts += await pool.creditOf(account);
  expect(await pool.owed()).to.equal(parts);
  expect(await w.token.balanceOf(pool)).to.equal(parts);
}

describe("creating a pool", () => {
  it("puts it where its creator was told, once per salt", async () => {
    const w = await world();
    const params: IPool.PoolParamsStruct = {
      manager: w.manager.address, receiptKey: w.receiptSigner.address, feeBps: 2000, objectionWindow: 0,
      settlementWindow: 1, receiptsWindow: 1, schemeId: digest("x"),
    }; // prettier-ignore
    const predicted = await w.factory.predict(w.stranger, digest("salt"));
    expect(await w.factory.isPool(predicted)).to.equal(false);
    await expect(w.factory.connect(w.stranger).create(params, digest("salt")))
      .to.emit(w.factory, "PoolCreated")
      .withArgs(predicted, w.manager.address, w.stranger.address, Object.values(params));
    expect(await w.factory.isPool(predicted)).to.equal(true);
    const pool = await contractAt("Pool", predicted);
    expect(await pool.manager()).to.equal(w.manager.address);
    expect(await pool.registry()).to.equal(w.registry.target);
    expect(await pool.asset()).to.equal(w.token.target);
    await expect(w.factory.connect(w.stranger).create(params, digest("salt"))).to.be.revertedWithCustomError(
      w.factory,
      "FailedDeployment",
    );
    // another creator's pool of the same salt stands elsewhere, so that nobody can take a place
    expect(await w.factory.predict(w.manager, digest("salt"))).not.to.equal(predicted);
  });

  it("is refused with parameters out of their ranges", async () => {
    const w = await world();
    const bad: [string, Partial<IPool.PoolParamsStruct>][] = [
      ["manager", { manager: ethers.ZeroAddress }],
      ["receiptKey", { receiptKey: ethers.ZeroAddress }],
      ["feeBps", { feeBps: 2001 }],
      ["objectionWindow", { objectionWindow: 30 * DAY + 1 }],
      ["settlementWindow", { settlementWindow: 0 }],
      ["settlementWindow", { settlementWindow: 30 * DAY + 1 }],
      ["receiptsWindow", { receiptsWindow: 0 }],
      ["receiptsWindow", { receiptsWindow: 30 * DAY + 1 }],
    ];
    for (const [parameter, overrides] of bad) {
      await expect(w.createPool(overrides))
        .to.be.revertedWithCustomError(w.poolImplementation, "InvalidPoolParameter")
        .withArgs(parameter);
    }
  });

  it("can be done to a clone once, and never to the code behind all pools", async () => {
    const w = await world();
    const pool = await w.createPool();
    const { manager, receiptKey, feeBps, objectionWindow, settlementWindow, receiptsWindow, schemeId } =
      await pool.terms();
    const params = { manager, receiptKey, feeBps, objectionWindow, settlementWindow, receiptsWindow, schemeId };
    for (const target of [pool, w.poolImplementation]) {
      await expect(target.initialize(params)).to.be.revertedWithCustomError(pool, "InvalidInitialization");
    }
  });
});

describe("a pool's float", () => {
  it("pays commitments' bonds and fees and candidates' bonds, and gets the bonds back", async () => {
    const w = await world();
    const pool = await w.createPool({}, units(50));
    const taskId = await win(w, pool);
    expect(await pool.float()).to.equal(units(50) - COMMIT_BOND - COMMIT_FEE - CANDIDATE_BOND);
    await expect(pool.connect(w.stranger).collect(taskId))
      .to.emit(pool, "Collected")
      .withArgs(taskId, COMMIT_BOND + CANDIDATE_BOND, REWARD);
    expect(await pool.float()).to.equal(units(50) - COMMIT_FEE);
    await expectPoolSolvent(w, pool, [taskId], [w.manager]);
  });

  it("is the manager's to withdraw, and nobody else's; never more than there is", async () => {
    const w = await world();
    const pool = await w.createPool({}, units(50));
    await expect(pool.connect(w.stranger).withdrawFloat(1)).to.be.revertedWithCustomError(pool, "OnlyManager");
    await expect(pool.connect(w.manager).withdrawFloat(units(51)))
      .to.be.revertedWithCustomError(pool, "InsufficientFloat")
      .withArgs(units(50), units(51));
    await pool.connect(w.manager).withdrawFloat(units(20));
    const before = await w.token.balanceOf(w.manager);
    await pool.connect(w.manager).withdraw();
    expect((await w.token.balanceOf(w.manager)) - before).to.equal(units(20));
    await expectPoolSolvent(w, pool, [], [w.manager]);
  });

  it("is all that the manager can spend: the miners' reward pays no bond", async () => {
    const w = await world();
    const pool = await w.createPool({}, COMMIT_BOND + COMMIT_FEE + CANDIDATE_BOND);
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    await pool.connect(w.manager).withdrawFloat(await pool.float());
    expect(await w.token.balanceOf(pool)).to.be.greaterThan(REWARD);
    const next = await w.toTraining();
    await expect(commitPool(w, pool, next, good))
      .to.be.revertedWithCustomError(pool, "InsufficientFloat")
      .withArgs(0n, COMMIT_BOND + COMMIT_FEE);
    expect(await w.splitPhase(pool, next)).to.equal("None");
  });

  it("gets a compensation and a bond back where a publisher was at fault", async () => {
    const w = await world();
    const pool = await w.createPool({}, units(50));
    const taskId = await w.toTraining();
    await commitPool(w, pool, taskId, good);
    await w.commit(taskId, w.ada, good);
    await goTo((await w.schedule(taskId)).keyDeadline);
    await w.advance(taskId);
    await pool.collect(taskId);
    expect(await pool.float()).to.equal(units(50) - COMMIT_FEE + PUBLISHER_BOND / 4n);
    expect(await w.splitPhase(pool, taskId)).to.equal("Closed");
    await expectPoolSolvent(w, pool, [taskId], [w.manager]);
  });
});

describe("collecting", () => {
  it("is refused before the task's end, twice, and for a task that the pool is not in", async () => {
    const w = await world();
    const pool = await w.createPool();
    const running = await w.toTraining();
    await commitPool(w, pool, running, good);
    await expect(pool.collect(running)).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(running, 2n);
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    await expect(pool.collect(taskId)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 2n);
    await expect(pool.collect(99)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(99n, 0n);
  });

  it("books each task by itself, also where strangers settled several tasks before", async () => {
    const w = await world();
    const pool = await w.createPool();
    const [first, second] = [await win(w, pool), await win(w, pool, good, units(7))];
    await settleAll(w, first, [pool]);
    await settleAll(w, second, [pool]);
    await pool.collect(second);
    expect((await pool.accountOf(second)).reward).to.equal(units(7));
    await expectPoolSolvent(w, pool, [first, second], [w.manager]);
    await pool.collect(first);
    expect((await pool.accountOf(first)).reward).to.equal(REWARD);
    await expectPoolSolvent(w, pool, [first, second], [w.manager]);
    expect(await w.registry.creditOf(pool)).to.equal(0n);
  });
});

describe("a pool's terms", () => {
  it("of a task are those at its first commitment, whatever the manager changes later", async () => {
    const w = await world();
    const pool = await w.createPool({ feeBps: 300 });
    const taskId = await w.toTraining();
    await expect(commitPool(w, pool, taskId, good))
      .to.emit(pool, "TaskEntered")
      .withArgs(taskId, 300n, w.receiptSigner.address);
    await expect(pool.connect(w.manager).setTerms(2000, w.stranger))
      .to.emit(pool, "TermsChanged")
      .withArgs(2000n, w.stranger.address);
    await commitPool(w, pool, taskId, modelOf("later", 30));
    const account = await pool.accountOf(taskId);
    expect(account.feeBps).to.equal(300n);
    expect(account.receiptKey).to.equal(w.receiptSigner.address);
  });

  it("are changed by the manager alone, within the cap", async () => {
    const w = await world();
    const pool = await w.createPool();
    await expect(pool.connect(w.stranger).setTerms(1, w.stranger)).to.be.revertedWithCustomError(pool, "OnlyManager");
    await expect(pool.connect(w.manager).setTerms(2001, w.stranger))
      .to.be.revertedWithCustomError(pool, "InvalidPoolParameter")
      .withArgs("feeBps");
  });

  it("let only the manager act for the pool", async () => {
    const w = await world();
    const pool = await w.createPool();
    const other = pool.connect(w.stranger);
    const calls = [
      other.commit(1, digest("x")),
      other.reveal(1, good.opening, 1, digest("x")),
      other.postSplit(1, { root: digest("x"), depth: 0, count: 1, sum: 1 }, cidOf("x")),
    ];
    for (const call of calls) await expect(call).to.be.revertedWithCustomError(pool, "OnlyManager");
  });
});

describe("splitting a reward", () => {
  it("pays each miner its part by points, the manager its fee, and leaves no dust", async () => {
    const w = await world();
    const pool = await w.createPool({ feeBps: 333 });
    const reward = units(100) + 7n;
    const points = Object.fromEntries([17n, 0n, 5n, 1n, 977n, 3n, 3n].map((p, i) => [accountOf(i), p]));
    const { taskId, tree } = await split(w, pool, points, reward);
    const expected = splitReward({
      leaves: tree.leaves,
      amount: reward,
      feeBps: 333,
    });
    for (const [index, { account, amount }] of expected.payments.entries()) {
      expect(await pool.claim.staticCall(taskId, leafOf(tree, index), tree.proof(index))).to.equal(amount);
      await pool.connect(w.stranger).claim(taskId, leafOf(tree, index), tree.proof(index));
      expect(await pool.creditOf(account)).to.equal(amount);
    }
    await pool.connect(w.stranger).claimFee(taskId);
    expect(await pool.creditOf(w.manager)).to.equal(feeOf(reward, 333));
    expect((await pool.accountOf(taskId)).unclaimed).to.equal(0n);
    await expectPoolSolvent(w, pool, [taskId], [w.manager, ...tree.leaves.map((leaf) => leaf.account)]);
  });

  it("gives one miner with all the points everything but the fee", async () => {
    const w = await world();
    const pool = await w.createPool();
    const { taskId, tree } = await split(w, pool, { [w.mia.address]: 2n ** 128n - 1n });
    expect(tree.depth).to.equal(0);
    await pool.claim(taskId, leafOf(tree, 0), []);
    expect(await pool.creditOf(w.mia)).to.equal(REWARD - feeOf(REWARD, 300));
  });

  it("pays a miner without points nothing, without failing", async () => {
    const w = await world();
    const pool = await w.createPool();
    const { taskId, tree } = await split(w, pool, { [w.mia.address]: 0n, [w.max.address]: 1n });
    const index = tree.leaves.findIndex((leaf) => leaf.points === 0n);
    await expect(pool.claim(taskId, leafOf(tree, index), tree.proof(index))).not.to.emit(pool, "Credited");
    expect(await pool.isClaimed(taskId, index)).to.equal(true);
  });

  it("of a reward of one unit among three gives it to one of them", async () => {
    const w = await world();
    const pool = await w.createPool({ feeBps: 0 });
    const points = Object.fromEntries([0, 1, 2].map((i) => [accountOf(i), 1n]));
    const { taskId, tree } = await split(w, pool, points, 1n);
    let paid = 0n;
    for (let i = 0; i < 3; i++) {
      paid += await pool.claim.staticCall(taskId, leafOf(tree, i), tree.proof(i));
      await pool.claim(taskId, leafOf(tree, i), tree.proof(i));
    }
    expect(paid).to.equal(1n);
  });

  it("among 10,000 miners takes a proof of 14 nodes and still pays to the unit", async function () {
    this.timeout(60_000);
    const w = await world();
    const pool = await w.createPool();
    const points = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [accountOf(i), BigInt((i * i) % 997)]));
    const { taskId, tree } = await split(w, pool, points);
    const reward = REWARD - feeOf(REWARD, 300);
    for (const index of [0, 1, 4095, 4096, 8191, 8192, 9998, 9999]) {
      expect(tree.proof(index)).to.have.length(14);
      await pool.claim(taskId, leafOf(tree, index), tree.proof(index));
      const pre = tree.leaves.slice(0, index).reduce((sum, leaf) => sum + leaf.points, 0n);
      const { account, points: own } = tree.leaves[index]!;
      expect(await pool.creditOf(account)).to.equal(paymentOf(reward, tree.sum, pre, own));
    }
  });

  it("pays a leaf once, and nobody without a proof", async () => {
    const w = await world();
    const pool = await w.createPool();
    const { taskId, tree } = await split(w, pool, { [w.mia.address]: 3n, [w.max.address]: 4n });
    await pool.claim(taskId, leafOf(tree, 0), tree.proof(0));
    await expect(pool.claim(taskId, leafOf(tree, 0), tree.proof(0)))
      .to.be.revertedWithCustomError(pool, "AlreadyClaimed")
      .withArgs(0n);
    for (const change of [{ points: 5n }, { miner: w.stranger.address }, { index: 2 }]) {
      await expect(pool.claim(taskId, { ...leafOf(tree, 1), ...change }, tree.proof(1))).to.be.revertedWithCustomError(
        pool,
        "WrongProof",
      );
    }
    await pool.claimFee(taskId);
    await expect(pool.claimFee(taskId)).to.be.revertedWithCustomError(pool, "FeeAlreadyPaid");
  });

  it("waits for the objection window, to the second", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    const tree = buildPointsTree([{ account: w.mia.address as Address, points: 1n }]);
    await expect(pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares")))
      .to.emit(pool, "SplitPosted")
      .withArgs(taskId, tree.root, 0n, 1n, 1n, cidOf("shares"));
    const end = BigInt((await now()) + 200);
    for (const call of [() => pool.claim(taskId, leafOf(tree, 0), []), () => pool.claimFee(taskId)]) {
      await at(end - 1n);
      await expect(call()).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 3n);
    }
    await at(end);
    await pool.claim(taskId, leafOf(tree, 0), []);
  });

  it("is posted once, only of a collected reward, and only in the settlement window", async () => {
    const w = await world();
    const pool = await w.createPool();
    const tree = buildPointsTree([{ account: w.mia.address as Address, points: 1n }]);
    const post = (taskId: bigint) => pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares"));
    const taskId = await win(w, pool);
    await expect(post(taskId)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 1n);
    await pool.collect(taskId);
    const { deadline } = await pool.accountOf(taskId);
    expect(deadline).to.equal(BigInt((await now()) + 700));
    await at(deadline - 1n);
    await post(taskId);
    await expect(post(taskId)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 3n);
    const late = await win(w, pool);
    await pool.collect(late);
    await at((await pool.accountOf(late)).deadline);
    await expect(post(late)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(late, 5n);
  });

  it("is refused with no points at all, impossible trees, and without a file of shares", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    const good_ = { root: digest("root"), depth: 3, count: 8, sum: 1 };
    const bad: [string, IPool.SplitStruct, Hex][] = [
      ["sum", { ...good_, sum: 0 }, cidOf("x")],
      ["count", { ...good_, count: 0 }, cidOf("x")],
      ["count", { ...good_, count: 9 }, cidOf("x")],
      ["depth", { ...good_, depth: 33 }, cidOf("x")],
      ["sharesCid", good_, "0x"],
      ["sharesCid", good_, hexlify(new Uint8Array(65)) as Hex],
    ];
    for (const [parameter, split_, cid] of bad) {
      await expect(pool.connect(w.manager).postSplit(taskId, split_, cid))
        .to.be.revertedWithCustomError(pool, "InvalidPoolParameter")
        .withArgs(parameter);
    }
  });

  it("by a dishonest tree never pays more than the reward", async () => {
    const w = await world();
    const pool = await w.createPool({ feeBps: 0 });
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    const tree = buildPointsTree([
      { account: accountOf(0), points: 10n },
      { account: accountOf(1), points: 10n },
    ]);
    // the manager states fewer points than the leaves have: no leaf can be proven
    await pool.connect(w.manager).postSplit(taskId, { ...splitOf(tree), sum: 10 }, cidOf("x"));
    await goTo((await pool.accountOf(taskId)).deadline);
    for (const index of [0, 1]) {
      await expect(pool.claim(taskId, leafOf(tree, index), tree.proof(index))).to.be.revertedWithCustomError(
        pool,
        "WrongProof",
      );
    }
  });
});

describe("a manager that posts no split", () => {
  /** The settlement window has passed without a split. */
  async function vanished(overrides: Partial<IPool.PoolParamsStruct> = {}, reward = REWARD) {
    const w = await world();
    const pool = await w.createPool(overrides);
    const taskId = await win(w, pool, good, reward);
    await pool.collect(taskId);
    await goTo((await pool.accountOf(taskId)).deadline);
    const submit = async (miner: Signer, sequence: bigint, points: bigint) =>
      pool
        .connect(w.stranger)
        .submitReceipt(
          taskId,
          miner,
          sequence,
          points,
          await receiptOf(w, pool, taskId, miner.address, sequence, points),
        );
    return { w, pool, taskId, submit };
  }

  it("leaves the reward to the miners by their latest receipts, without a fee, to the last unit", async () => {
    const { w, pool, taskId, submit } = await vanished({}, 1001n);
    await submit(w.mia, 1n, 5n);
    await submit(w.mia, 4n, 20n);
    await submit(w.max, 2n, 10n);
    expect((await pool.accountOf(taskId)).receiptPoints).to.equal(30n);
    await goTo((await pool.accountOf(taskId)).deadline);
    await pool.claimByReceipt(taskId, w.max);
    await pool.claimByReceipt(taskId, w.mia);
    expect(await pool.creditOf(w.max)).to.equal(333n);
    expect(await pool.creditOf(w.mia)).to.equal(668n);
    expect(await w.splitPhase(pool, taskId)).to.equal("Closed");
    await expect(pool.claimByReceipt(taskId, w.mia))
      .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
      .withArgs(taskId, 8n);
    await expectPoolSolvent(w, pool, [taskId], [w.mia, w.max, w.manager]);
  });

  it("gets the reward where no receipt comes, so that nothing is locked", async () => {
    const { w, pool, taskId } = await vanished();
    await goTo((await pool.accountOf(taskId)).deadline);
    expect(await w.splitPhase(pool, taskId)).to.equal("Unclaimed");
    const float = await pool.float();
    await expect(pool.connect(w.stranger).reclaim(taskId)).to.emit(pool, "Reclaimed").withArgs(taskId, REWARD);
    expect((await pool.float()) - float).to.equal(REWARD);
    await expect(pool.reclaim(taskId)).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 8n);
    await expectPoolSolvent(w, pool, [taskId], [w.manager]);
  });

  it("has receipts counted once, the latest of each miner, and only with points", async () => {
    const { w, pool, taskId, submit } = await vanished();
    await submit(w.mia, 3n, 20n);
    await expect(submit(w.mia, 3n, 20n))
      .to.be.revertedWithCustomError(pool, "StaleReceipt")
      .withArgs(3n, 3n);
    await expect(submit(w.mia, 2n, 50n)).to.be.revertedWithCustomError(pool, "StaleReceipt");
    await expect(submit(w.max, 1n, 0n))
      .to.be.revertedWithCustomError(pool, "InvalidPoolParameter")
      .withArgs("points");
    // a later receipt may have fewer points: it is what the manager signed last
    await submit(w.mia, 9n, 7n);
    expect(await pool.receiptOf(taskId, w.mia)).to.deep.equal([9n, 7n]);
    await goTo((await pool.accountOf(taskId)).deadline);
    await pool.claimByReceipt(taskId, w.mia);
    expect(await pool.creditOf(w.mia)).to.equal(REWARD);
  });

  it("has no receipts accepted that another signed, or that are of another task, miner or pool", async () => {
    const { w, pool, taskId } = await vanished();
    const other = await w.createPool();
    const wrong = [
      await receiptOf(w, pool, taskId + 1n, w.mia.address, 1n, 5n),
      await receiptOf(w, pool, taskId, w.max.address, 1n, 5n),
      await receiptOf(w, pool, taskId, w.mia.address, 2n, 5n),
      await receiptOf(w, pool, taskId, w.mia.address, 1n, 6n),
      await receiptOf(w, other, taskId, w.mia.address, 1n, 5n),
      await w.stranger.signMessage("5 points"),
      "0x",
    ];
    for (const signature of wrong) {
      await expect(pool.submitReceipt(taskId, w.mia, 1, 5, signature)).to.be.revertedWithCustomError(
        pool,
        "WrongSignature",
      );
    }
  });

  it("may have signed its receipts by a contract account", async () => {
    const w = await world();
    const account = await deploy("SmartAccount", [w.receiptSigner.address]);
    const pool = await w.createPool({ receiptKey: await account.getAddress() });
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    await goTo((await pool.accountOf(taskId)).deadline);
    await pool.submitReceipt(taskId, w.mia, 1, 5, await receiptOf(w, pool, taskId, w.mia.address, 1n, 5n));
    expect((await pool.accountOf(taskId)).receiptPoints).to.equal(5n);
  });

  it("has receipts taken in their window alone, to the second, and paid after it", async () => {
    const w = await world();
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    const { deadline } = await pool.accountOf(taskId);
    const signature = await receiptOf(w, pool, taskId, w.mia.address, 1n, 5n);
    const submit = () => pool.submitReceipt(taskId, w.mia, 1, 5, signature);
    await at(deadline - 1n);
    await expect(submit()).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 2n);
    await at(deadline);
    await submit();
    await at(deadline + 499n);
    await expect(pool.claimByReceipt(taskId, w.mia))
      .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
      .withArgs(taskId, 5n);
    await at(deadline + 500n);
    await expect(submit()).to.be.revertedWithCustomError(pool, "WrongSplitPhase").withArgs(taskId, 6n);
    await expect(pool.claimByReceipt(taskId, w.max))
      .to.be.revertedWithCustomError(pool, "NoReceipt")
      .withArgs(w.max.address);
    await pool.claimByReceipt(taskId, w.mia);
  });
});
