import { expect } from "chai";

import { at, deploy, ethers, goTo, now, UNBONDING, units, worldWithoutStake } from "./support.ts";

describe("validators' stake", () => {
  it("counts from the second it arrives, and the past does not change", async () => {
    const { stake, victor, vera } = await worldWithoutStake();
    const start = BigInt((await now()) + 100);
    await at(start);
    await stake.connect(victor).stake(10);
    await at(start + 10n);
    await stake.connect(vera).stake(5);
    await at(start + 20n);
    await stake.connect(victor).stake(1);
    await goTo(start + 30n);
    expect(await stake.stakeAt(victor, start - 1n)).to.equal(0n);
    expect(await stake.stakeAt(victor, start)).to.equal(10n);
    expect(await stake.stakeAt(victor, start + 19n)).to.equal(10n);
    expect(await stake.stakeAt(victor, start + 20n)).to.equal(11n);
    expect(await stake.totalStakeAt(start + 9n)).to.equal(10n);
    expect(await stake.totalStakeAt(start + 10n)).to.equal(15n);
    expect(await stake.totalStake()).to.equal(16n);
    expect(await stake.stakeOf(vera)).to.equal(5n);
  });

  it("of the running second, and of times to come, is not told", async () => {
    const { stake, victor } = await worldWithoutStake();
    for (const time of [BigInt(await now()), BigInt(await now()) + 1n, 2n ** 255n]) {
      await expect(stake.stakeAt(victor, time)).to.be.revertedWithCustomError(stake, "NotYetKnown").withArgs(time);
      await expect(stake.totalStakeAt(time)).to.be.revertedWithCustomError(stake, "NotYetKnown").withArgs(time);
    }
  });

  it("stops counting at once when its unbonding begins, and comes back after the period", async () => {
    const { stake, token, victor } = await worldWithoutStake();
    await stake.connect(victor).stake(units(10));
    const begun = BigInt((await now()) + 1);
    await at(begun);
    await expect(stake.connect(victor).beginUnbonding(units(4)))
      .to.emit(stake, "UnbondingBegun")
      .withArgs(victor.address, units(4), units(6), begun + BigInt(UNBONDING));
    expect(await stake.stakeOf(victor)).to.equal(units(6));
    expect(await stake.totalStake()).to.equal(units(6));
    await at(begun + BigInt(UNBONDING) - 1n);
    await expect(stake.connect(victor).finishUnbonding())
      .to.be.revertedWithCustomError(stake, "StillUnbonding")
      .withArgs(begun + BigInt(UNBONDING));
    await at(begun + BigInt(UNBONDING));
    await expect(stake.connect(victor).finishUnbonding())
      .to.emit(stake, "Credited")
      .withArgs(victor.address, units(4), 9n, 0n);
    const before = await token.balanceOf(victor);
    await stake.connect(victor).withdraw();
    expect((await token.balanceOf(victor)) - before).to.equal(units(4));
    expect(await token.balanceOf(stake)).to.equal(units(6));
    expect(await stake.owed()).to.equal(units(6));
  });

  it("that begins to unbond in two parts waits for the later one", async () => {
    const { stake, victor } = await worldWithoutStake();
    await stake.connect(victor).stake(10);
    await stake.connect(victor).beginUnbonding(4);
    await goTo((await now()) + UNBONDING - 10);
    await stake.connect(victor).beginUnbonding(3);
    const readyAt = BigInt((await now()) + UNBONDING);
    expect(await stake.unbondingOf(victor)).to.deep.equal([7n, readyAt]);
    await at(readyAt - 1n);
    await expect(stake.connect(victor).finishUnbonding()).to.be.revertedWithCustomError(stake, "StillUnbonding");
    await at(readyAt);
    await stake.connect(victor).finishUnbonding();
    expect(await stake.creditOf(victor)).to.equal(7n);
  });

  it("counts again when the unbonding is cancelled", async () => {
    const { stake, victor } = await worldWithoutStake();
    await stake.connect(victor).stake(10);
    await stake.connect(victor).beginUnbonding(10);
    await expect(stake.connect(victor).cancelUnbonding())
      .to.emit(stake, "UnbondingCancelled")
      .withArgs(victor.address, 10n, 10n);
    expect(await stake.unbondingOf(victor)).to.deep.equal([0n, 0n]);
    expect(await stake.totalStake()).to.equal(10n);
  });

  it("of several changes in one second is what the last one left", async () => {
    const { stake, victor, token } = await worldWithoutStake();
    const time = BigInt((await now()) + 5);
    await token.connect(victor).approve(stake, 100);
    await at(time);
    const { interface: s } = stake;
    await stake
      .connect(victor)
      .multicall([
        s.encodeFunctionData("stake", [10]),
        s.encodeFunctionData("beginUnbonding", [7]),
        s.encodeFunctionData("cancelUnbonding"),
        s.encodeFunctionData("beginUnbonding", [2]),
      ]);
    await goTo(time + 1n);
    expect(await stake.stakeAt(victor, time)).to.equal(8n);
    expect(await stake.totalStakeAt(time)).to.equal(8n);
  });

  it("refuses nothing, more than there is, and finishing what never began", async () => {
    const { stake, victor } = await worldWithoutStake();
    await expect(stake.connect(victor).stake(0)).to.be.revertedWithCustomError(stake, "ZeroStake");
    await expect(stake.connect(victor).beginUnbonding(0)).to.be.revertedWithCustomError(stake, "ZeroStake");
    await stake.connect(victor).stake(5);
    await expect(stake.connect(victor).beginUnbonding(6))
      .to.be.revertedWithCustomError(stake, "InsufficientStake")
      .withArgs(5n, 6n);
    for (const call of [stake.connect(victor).finishUnbonding(), stake.connect(victor).cancelUnbonding()]) {
      await expect(call).to.be.revertedWithCustomError(stake, "NothingUnbonding").withArgs(victor.address);
    }
  });

  it("in all fits 128 bits", async () => {
    const { stake, token, victor } = await worldWithoutStake();
    await token.connect(victor).faucet(2n ** 129n);
    await token.connect(victor).approve(stake, 2n ** 129n);
    await expect(stake.connect(victor).stake(2n ** 128n)).to.be.revertedWithCustomError(stake, "StakeTooLarge");
    await stake.connect(victor).stake(2n ** 128n - 1n);
    await expect(stake.connect(victor).stake(1)).to.be.revertedWithCustomError(stake, "StakeTooLarge");
  });

  it("needs an unbonding period between a second and a year", async () => {
    const { token, stake } = await worldWithoutStake();
    const factory = await ethers.getContractFactory("ValidatorStake");
    for (const period of [0, 365 * 24 * 60 * 60 + 1]) {
      await expect(factory.deploy(token, period))
        .to.be.revertedWithCustomError(stake, "InvalidUnbondingPeriod")
        .withArgs(BigInt(period));
    }
    await deploy("ValidatorStake", [token, 1]);
  });
});
