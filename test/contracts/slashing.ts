import { expect } from "chai";
import { ZeroAddress } from "ethers";

import { CREDIT_REASONS } from "../../offchain/protocol/abi.ts";
import { ZERO_HASH } from "../../offchain/protocol/bytes.ts";
import { challenge } from "./dispute-game.ts";
import { honest, SAMPLE } from "./kit/small-network.ts";
import { openOnTrial, showUnit, wholeUnit, withLargeBias, withStrayWeight } from "./kit/trials.ts";
import {
  CANDIDATE_BOND,
  deploy,
  deployDisputes,
  goTo,
  modelOf,
  STAKES,
  units,
  worldOfArithmetic,
  type World,
} from "./support.ts";

/** A malformed model that victor sealed falsely, vera as malformed and vlad not at all; nobody has shown it yet. */
async function onTrial(malformed = withStrayWeight()) {
  const w = await worldOfArithmetic();
  const trial = await openOnTrial(w, { unitsRoot: malformed.units, sealers: [w.victor] });
  return { w, ...trial, unit: wholeUnit(malformed.network, 0, 0) };
}

const slash = (w: World, taskId: bigint, validator: { address: string }) =>
  w.arithmetic.connect(w.ben).slashValidator(taskId, w.ada, validator.address);

describe("A validator's seal on a malformed model", () => {
  it("costs all its stake, unbonding included: half is the refuter's, half is burned, once", async () => {
    const { w, taskId, model, unit } = await onTrial(withLargeBias());
    await w.stake.connect(w.victor).beginUnbonding(units(20));
    await expect(slash(w, taskId, w.victor)).to.be.revertedWithCustomError(w.arithmetic, "NotSlashable");
    await expect(showUnit(w, taskId, model, unit, w.stranger)).to.emit(w.arithmetic, "ModelRefuted");
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    expect(await w.registry.creditOf(w.stranger)).to.equal(CANDIDATE_BOND / 2n);
    const total = await w.stake.totalStake();
    await expect(slash(w, taskId, w.victor))
      .to.emit(w.arithmetic, "ValidatorSlashed")
      .withArgs(taskId, w.ada.address, w.victor.address, STAKES[0]);
    expect(await w.stake.stakeOf(w.victor)).to.equal(0n);
    expect((await w.stake.unbondingOf(w.victor)).amount).to.equal(0n);
    expect(total - (await w.stake.totalStake())).to.equal(STAKES[0] - units(20));
    expect(await w.stake.creditOf(w.stranger)).to.equal(STAKES[0] / 2n);
    expect(await w.stake.burned()).to.equal(STAKES[0] / 2n);
    expect(await w.token.balanceOf(w.stake)).to.equal(await w.stake.owed());
    await w.stake.connect(w.victor).stake(units(1));
    await expect(slash(w, taskId, w.victor)).to.be.revertedWithCustomError(w.arithmetic, "NotSlashable");
    expect(CREDIT_REASONS).to.include("StakeSlashed");
  });

  it("as malformed costs nothing, and none does not either", async () => {
    const malformed = withStrayWeight();
    const w = await worldOfArithmetic();
    const { taskId, model } = await openOnTrial(w, {
      unitsRoot: malformed.units,
      sealers: [w.vera],
      sealed: ZERO_HASH,
    });
    await showUnit(w, taskId, model, wholeUnit(malformed.network, 0, 0), w.stranger);
    for (const validator of [w.vera, w.vlad]) {
      await expect(slash(w, taskId, validator)).to.be.revertedWithCustomError(w.arithmetic, "NotSlashable");
    }
  });

  it("costs nothing where the candidate only fell silent: it may have done so to take the stake of the honest", async () => {
    const w = await worldOfArithmetic();
    const { taskId } = await openOnTrial(w, { sealers: [w.victor] });
    const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
    await goTo((await w.arithmetic.challengeOf(id)).deadline);
    await w.arithmetic.timeOut(id);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    await expect(slash(w, taskId, w.victor)).to.be.revertedWithCustomError(w.arithmetic, "NotSlashable");
  });

  it("is not taken for false where what was shown is not malformed, not opened, or of no such unit", async () => {
    const w = await worldOfArithmetic();
    const { taskId, model } = await openOnTrial(w, { sealers: [w.victor] });
    const unit = wholeUnit(honest.network, 0, 0);
    await expect(showUnit(w, taskId, model, unit, w.stranger)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotMalformed",
    );
    const other = wholeUnit(withStrayWeight().network, 0, 0);
    await expect(showUnit(w, taskId, model, other, w.stranger)).to.be.revertedWithCustomError(
      w.arithmetic,
      "HashMismatch",
    );
    await expect(
      w.arithmetic.showMalformedUnit(taskId, w.ada, model as never, 0, 4, unit as never),
    ).to.be.revertedWithCustomError(w.arithmetic, "NoSuchUnit");
    const sealed = await w.toSeal([[w.ben, modelOf("sealed", 30)]]);
    await expect(showUnit(w, sealed, model, unit, w.stranger)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotChallengeable",
    );
  });
});

describe("The stake's and the disputes' registry", () => {
  it("is set once, by who deployed them, and only the stake's own", async () => {
    const w = await worldOfArithmetic();
    const fresh = await deploy("ValidatorStake", [w.token, 1000]);
    await expect(fresh.bind(w.registry)).to.be.revertedWithCustomError(fresh, "WrongRegistry");
    await expect(fresh.connect(w.ada).bind(w.registry)).to.be.revertedWithCustomError(fresh, "OnlyDeployer");
    await expect(w.stake.bind(w.registry)).to.be.revertedWithCustomError(w.stake, "AlreadyBound");
    expect(await w.stake.registry()).to.equal(await w.registry.getAddress());
    const disputes = await deployDisputes(w.token);
    await expect(disputes.connect(w.ada).bind(w.registry)).to.be.revertedWithCustomError(disputes, "OnlyDeployer");
    await expect(disputes.bind(w.registry)).to.be.revertedWithCustomError(disputes, "InvalidParameter");
    await expect(disputes.demand(1, 0, 0)).to.be.revertedWithCustomError(disputes, "NotBound");
  });

  it("lets nobody but its disputes slash", async () => {
    const w = await worldOfArithmetic();
    await expect(w.stake.slash(w.victor, w.ada)).to.be.revertedWithCustomError(w.stake, "OnlyDisputes");
    const unbound = await deploy("ValidatorStake", [w.token, 1000]);
    expect(await unbound.registry()).to.equal(ZeroAddress);
    await expect(unbound.slash(w.victor, w.ada)).to.be.revertedWithCustomError(unbound, "OnlyDisputes");
  });
});
