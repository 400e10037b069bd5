import { expect } from "chai";

import {
  ANSWER_PERIOD,
  at,
  COMMIT_BOND,
  COMMIT_FEE,
  deployWorld,
  digest,
  ethers,
  expectSolvent,
  goTo,
  loadFixture,
  modelOf,
  now,
  PUBLISHER_BOND,
  REWARD,
  units,
  VALIDATOR_FEE,
  world,
  worldOfArithmetic,
  worldOfQuirks,
  type Signer,
} from "./support.ts";
import type { LocalAsset, QuirkyAsset } from "../../types/ethers-contracts/index.ts";

const good = modelOf("good", 36);

async function quirks() {
  const w = await worldOfQuirks();
  return { ...w, token: w.token as QuirkyAsset };
}

/** A void task, whose publisher has everything on credit. */
async function voidTask(w: Awaited<ReturnType<typeof world>>): Promise<bigint> {
  const taskId = await w.toAwaitKey([]);
  await goTo((await w.schedule(taskId)).keyDeadline);
  await w.advance(taskId);
  return taskId;
}
const ALL = REWARD + PUBLISHER_BOND + VALIDATOR_FEE;

describe("withdrawing", () => {
  it("sends the whole credit to its owner, once", async () => {
    const w = await world();
    const taskId = await voidTask(w);
    const before = await w.token.balanceOf(w.publisher);
    await expect(w.registry.connect(w.publisher).withdraw())
      .to.emit(w.registry, "Withdrawn")
      .withArgs(w.publisher.address, w.publisher.address, ALL);
    await w.registry.connect(w.publisher).withdraw();
    expect((await w.token.balanceOf(w.publisher)) - before).to.equal(ALL);
    expect(await w.registry.owed()).to.equal(0n);
    await expectSolvent(w, [taskId], [w.publisher]);
  });

  it("sends a part to another account, and never more than the credit", async () => {
    const w = await world();
    await voidTask(w);
    const before = await w.token.balanceOf(w.max);
    await w.registry.connect(w.publisher).withdrawTo(w.max, units(10));
    expect((await w.token.balanceOf(w.max)) - before).to.equal(units(10));
    await expect(w.registry.connect(w.publisher).withdrawTo(w.max, ALL))
      .to.be.revertedWithCustomError(w.registry, "InsufficientCredit")
      .withArgs(ALL - units(10), ALL);
    await expect(w.registry.connect(w.stranger).withdrawTo(w.max, 1))
      .to.be.revertedWithCustomError(w.registry, "InsufficientCredit")
      .withArgs(0n, 1n);
  });

  it("is refused to the contract itself and to nobody", async () => {
    const w = await world();
    await voidTask(w);
    for (const to of [await w.registry.getAddress(), ethers.ZeroAddress]) {
      await expect(w.registry.connect(w.publisher).withdrawTo(to, 1))
        .to.be.revertedWithCustomError(w.registry, "InvalidRecipient")
        .withArgs(to);
    }
  });

  it("of one account is not held up by another that the token refuses to pay", async () => {
    const w = await quirks();
    const taskId = await w.toAwaitKey([[w.ada, good], [w.ben, good]]); // prettier-ignore
    await goTo((await w.schedule(taskId)).keyDeadline);
    await w.advance(taskId);
    await w.registry.settle(taskId, w.ada);
    await w.registry.settle(taskId, w.ben);
    await w.token.setBlocked(w.ada, true);
    await expect(w.registry.connect(w.ada).withdraw()).to.be.revertedWithCustomError(w.token, "Blocked");
    await w.registry.connect(w.ben).withdraw();
    // the one the token refuses takes its money elsewhere
    await w.registry.connect(w.ada).withdrawTo(w.max, COMMIT_BOND);
    expect(await w.token.balanceOf(w.max)).to.equal(COMMIT_BOND);
  });

  it("has no owner in its way: what people sent without being asked changes nothing", async () => {
    const w = await world();
    const taskId = await voidTask(w);
    await w.token.connect(w.stranger).transfer(w.registry, 12345);
    expect(await w.registry.owed()).to.equal(ALL);
    await w.registry.connect(w.publisher).withdraw();
    expect(await w.token.balanceOf(w.registry)).to.equal(12345n);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
  });
});

describe("a token that keeps a part of every transfer", () => {
  it("is refused wherever money comes in", async () => {
    const w = await quirks();
    const taskId = await w.toTraining();
    const pool = await w.createPool({}, 0n);
    await w.token.setFee(100);
    await expect(w.registry.connect(w.publisher).publish(w.paramsOf()))
      .to.be.revertedWithCustomError(w.registry, "InexactTransfer")
      .withArgs(ALL, (ALL * 99n) / 100n);
    await expect(w.commit(taskId, w.ada, good))
      .to.be.revertedWithCustomError(w.registry, "InexactTransfer")
      .withArgs(COMMIT_BOND + COMMIT_FEE, ((COMMIT_BOND + COMMIT_FEE) * 99n) / 100n);
    await expect(w.stake.connect(w.victor).stake(100))
      .to.be.revertedWithCustomError(w.stake, "InexactTransfer")
      .withArgs(100n, 99n);
    await expect(pool.connect(w.manager).deposit(100))
      .to.be.revertedWithCustomError(pool, "InexactTransfer")
      .withArgs(100n, 99n);
  });

  it("that begins to do so later cannot make a pool book more than it received", async () => {
    const w = await quirks();
    const pool = await w.createPool();
    const taskId = await w.toTraining();
    await pool.connect(w.manager).commit(taskId, digest("c"));
    await goTo((await w.schedule(taskId)).keyDeadline);
    await w.advance(taskId);
    await w.token.setFee(100);
    await expect(pool.collect(taskId)).to.be.revertedWithCustomError(pool, "InexactTransfer");
    await w.token.setFee(0);
    await pool.collect(taskId);
    expect(await w.token.balanceOf(pool)).to.equal(await pool.owed());
  });
});

describe("a token that calls back in the middle of a transfer", () => {
  const reentries = (w: Awaited<ReturnType<typeof quirks>>, taskId: bigint): [string, string, string][] => {
    const registry = w.registry.target as string;
    const stake = w.stake.target as string;
    const { interface: r } = w.registry;
    const { interface: s } = w.stake;
    return [
      ["withdraw", registry, r.encodeFunctionData("withdraw")],
      ["withdrawTo", registry, r.encodeFunctionData("withdrawTo", [w.stranger.address, 1])],
      ["publish", registry, r.encodeFunctionData("publish", [w.paramsOf()])],
      ["commit", registry, r.encodeFunctionData("commit", [taskId, digest("x")])],
      ["release", registry, r.encodeFunctionData("release", [taskId, digest("x")])],
      ["voteTestSet", registry, r.encodeFunctionData("voteTestSet", [taskId])],
      ["reveal", registry, r.encodeFunctionData("reveal", [taskId, good.opening, 1, digest("x")])],
      ["advance", registry, r.encodeFunctionData("advance", [taskId])],
      ["seal", registry, r.encodeFunctionData("seal", [taskId, w.ada.address, digest("x")])],
      ["attest", registry, r.encodeFunctionData("attest", [taskId, []])],
      ["confirm", registry, r.encodeFunctionData("confirm", [taskId])],
      ["refute", registry, r.encodeFunctionData("refute", [taskId, w.ada.address, w.ada.address])],
      ["settle", registry, r.encodeFunctionData("settle", [taskId, w.ada.address])],
      ["settleValidator", registry, r.encodeFunctionData("settleValidator", [taskId, w.ada.address])],
      ["permitAsset", registry, r.encodeFunctionData("permitAsset", [1, 1, 27, digest("r"), digest("s")])],
      ["stake", stake, s.encodeFunctionData("stake", [1])],
      ["beginUnbonding", stake, s.encodeFunctionData("beginUnbonding", [1])],
      ["cancelUnbonding", stake, s.encodeFunctionData("cancelUnbonding")],
      ["finishUnbonding", stake, s.encodeFunctionData("finishUnbonding")],
    ];
  };

  it("gets into no call of the contract that is paying or being paid", async () => {
    const w = await quirks();
    const taskId = await w.toTraining();
    const locked = w.registry.interface.getError("ReentrancyGuardReentrantCall")!.selector;
    for (const [name, target, data] of reentries(w, taskId)) {
      await w.token.setReentry(target, data);
      if (target === w.registry.target) await w.registry.connect(w.ada).commit(taskId, digest(name));
      else await w.stake.connect(w.victor).stake(1);
      expect(await w.token.reentryError(), name).to.equal(locked);
    }
  });

  it("gets into no call of a pool", async () => {
    const w = await quirks();
    const pool = await w.createPool();
    const taskId = await w.toTraining();
    const locked = pool.interface.getError("ReentrancyGuardReentrantCall")!.selector;
    const p = pool.interface;
    const leaf = { index: 0, miner: w.mia.address, points: 1 };
    const calls: [string, string][] = [
      ["deposit", p.encodeFunctionData("deposit", [1])],
      ["withdrawFloat", p.encodeFunctionData("withdrawFloat", [1])],
      ["collect", p.encodeFunctionData("collect", [taskId])],
      ["commit", p.encodeFunctionData("commit", [taskId, digest("x")])],
      ["claim", p.encodeFunctionData("claim", [taskId, leaf, []])],
      ["claimFee", p.encodeFunctionData("claimFee", [taskId])],
      ["claimByReceipt", p.encodeFunctionData("claimByReceipt", [taskId, w.mia.address])],
      ["submitReceipt", p.encodeFunctionData("submitReceipt", [taskId, w.mia.address, 1, 1, "0x"])],
      ["reclaim", p.encodeFunctionData("reclaim", [taskId])],
      ["withdraw", p.encodeFunctionData("withdraw")],
    ];
    for (const [name, data] of calls) {
      await w.token.setReentry(pool.target, data);
      await pool.connect(w.manager).commit(taskId, digest(name));
      expect(await w.token.reentryError(), name).to.equal(locked);
    }
  });
});

describe("a permit", () => {
  async function permitOf(w: Awaited<ReturnType<typeof world>>, owner: Signer, value: bigint) {
    const token = w.token as LocalAsset;
    const deadline = BigInt(await now()) + 1_000_000n;
    const domain = {
      name: await token.name(),
      version: "1",
      chainId: w.domain.chainId,
      verifyingContract: await token.getAddress(),
    };
    const types = {
      Permit: ["owner address", "spender address", "value uint256", "nonce uint256", "deadline uint256"].map(
        (field) => {
          const [name, type] = field.split(" ") as [string, string];
          return { name, type };
        },
      ),
    };
    const signature = ethers.Signature.from(
      await owner.signTypedData(domain, types, {
        owner: owner.address,
        spender: await w.registry.getAddress(),
        value,
        nonce: await token.nonces(owner),
        deadline,
      }),
    );
    return { value, deadline, v: signature.v, r: signature.r, s: signature.s };
  }

  it("and the call that needs it go in one transaction", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.token.connect(w.ada).approve(w.registry, 0);
    const { value, deadline, v, r, s } = await permitOf(w, w.ada, COMMIT_BOND + COMMIT_FEE);
    const { interface: r_ } = w.registry;
    await w.registry
      .connect(w.ada)
      .multicall([
        r_.encodeFunctionData("permitAsset", [value, deadline, v, r, s]),
        r_.encodeFunctionData("commit", [taskId, digest("a")]),
      ]);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Committed");
  });

  it("that somebody else sent first does not stop the call", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.token.connect(w.ada).approve(w.registry, 0);
    const { value, deadline, v, r, s } = await permitOf(w, w.ada, COMMIT_BOND + COMMIT_FEE);
    await (w.token as LocalAsset).connect(w.stranger).permit(w.ada, w.registry, value, deadline, v, r, s);
    const { interface: r_ } = w.registry;
    await w.registry
      .connect(w.ada)
      .multicall([
        r_.encodeFunctionData("permitAsset", [value, deadline, v, r, s]),
        r_.encodeFunctionData("commit", [taskId, digest("a")]),
      ]);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Committed");
  });

  it("of somebody else is of no use to a caller", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.token.connect(w.ada).approve(w.registry, 0);
    await w.token.connect(w.stranger).approve(w.registry, 0);
    const { value, deadline, v, r, s } = await permitOf(w, w.ada, units(100));
    const { interface: r_ } = w.registry;
    await expect(
      w.registry
        .connect(w.stranger)
        .multicall([
          r_.encodeFunctionData("permitAsset", [value, deadline, v, r, s]),
          r_.encodeFunctionData("commit", [taskId, digest("a")]),
        ]),
    ).to.be.revertedWithCustomError(w.token, "ERC20InsufficientAllowance");
  });

  it("is harmless where the token has none", async () => {
    const w = await quirks();
    await w.registry.connect(w.ada).permitAsset(1, 1, 27, digest("r"), digest("s"));
  });
});

describe("amounts of zero", () => {
  it("are neither transferred nor credited nor burned", async () => {
    const w = await quirks();
    // a token that calls back tells whether a transfer happened
    await w.token.setReentry(w.registry, w.registry.interface.encodeFunctionData("withdraw"));
    const taskId = await w.toTraining({ publisherBond: 0, commitBond: 0, commitFee: 0, validatorFee: 0 });
    await w.token.setReentry(w.registry, w.registry.interface.encodeFunctionData("withdraw"));
    await expect(w.commit(taskId, w.ada, good)).not.to.emit(w.token, "Transfer");
    await expect(w.registry.connect(w.ada).withdraw()).not.to.emit(w.registry, "Withdrawn");
    expect(await w.token.reentryError()).to.equal("0x");
    await at((await w.schedule(taskId)).keyDeadline);
    await expect(w.advance(taskId)).not.to.emit(w.registry, "Burned");
    await expect(w.registry.settle(taskId, w.ada)).not.to.emit(w.registry, "Credited");
  });
});

describe("a deployment", () => {
  it("is refused with a quorum of half the stake or less, or of more than all", async () => {
    const { token, stake, libraries, registry } = await world();
    const factory = await ethers.getContractFactory("TaskRegistry", { libraries });
    for (const quorum of [0, 5000, 10_001]) {
      await expect(factory.deploy(token, stake, ethers.ZeroAddress, quorum))
        .to.be.revertedWithCustomError(registry, "InvalidParameter")
        .withArgs("quorumBps");
    }
    await factory.deploy(token, stake, ethers.ZeroAddress, 5001);
  });

  it("with disputes is refused where stake may leave before any candidate can be disputed", async () => {
    const { token, arithmetic, libraries, registry } = await worldOfArithmetic();
    const factory = await ethers.getContractFactory("TaskRegistry", { libraries });
    const least = 20 * ANSWER_PERIOD + 2;
    const [short, enough] = await Promise.all(
      [least - 1, least].map((period) => ethers.deployContract("ValidatorStake", [token, period])),
    );
    await expect(factory.deploy(token, short!, arithmetic, 6667))
      .to.be.revertedWithCustomError(registry, "InvalidParameter")
      .withArgs("unbondingPeriod");
    await factory.deploy(token, enough!, arithmetic, 6667);
    await factory.deploy(token, short!, ethers.ZeroAddress, 6667);
  });

  it("is refused where stake is in another asset", async () => {
    const { stake, libraries, registry } = await world();
    const other = await loadFixture(anotherWorld);
    const factory = await ethers.getContractFactory("TaskRegistry", { libraries });
    await expect(factory.deploy(other.token, stake, ethers.ZeroAddress, 6667))
      .to.be.revertedWithCustomError(registry, "InvalidParameter")
      .withArgs("stake");
  });
});

const anotherWorld = () => deployWorld();
