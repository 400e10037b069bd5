import { expect } from "chai";

import { keyHash, ZERO_HASH, type Address } from "../../offchain/protocol/bytes.ts";
import {
  at,
  CANDIDATE_BOND,
  cidOf,
  COMMIT_BOND,
  COMMIT_FEE,
  digest,
  ethers,
  expectSolvent,
  goTo,
  KEY,
  modelOf,
  PUBLISHER_BOND,
  REWARD,
  settleAll,
  STAKES,
  TEST_COUNT,
  VALIDATOR_FEE,
  world,
  worldWithoutStake,
} from "./support.ts";

const good = modelOf("good", 36);
const fair = modelOf("fair", 30);
const poor = modelOf("poor", 5);

describe("committing", () => {
  it("is refused one second early and from the last boundary on, and taken in between", async () => {
    const { registry, publish, schedule, ada } = await world();
    const taskId = await publish();
    const { trainingStart, trainingEnd } = await schedule(taskId);
    await at(trainingStart - 1n);
    await expect(registry.connect(ada).commit(taskId, digest("a")))
      .to.be.revertedWithCustomError(registry, "WrongPhase")
      .withArgs(taskId, 1n);
    await at(trainingStart);
    await registry.connect(ada).commit(taskId, digest("a"));
    await at(trainingEnd - 1n);
    await registry.connect(ada).commit(taskId, digest("b"));
    await at(trainingEnd);
    await expect(registry.connect(ada).commit(taskId, digest("c")))
      .to.be.revertedWithCustomError(registry, "WrongPhase")
      .withArgs(taskId, 3n);
  });

  it("takes the bond once and burns the fee every time", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    const before = await w.token.balanceOf(w.ada);
    expect(await w.registry.connect(w.ada).commit.staticCall(taskId, digest("a"))).to.equal(COMMIT_BOND + COMMIT_FEE);
    await expect(w.registry.connect(w.ada).commit(taskId, digest("a")))
      .to.emit(w.registry, "Committed")
      .withArgs(taskId, w.ada.address, 1n, digest("a"))
      .and.to.emit(w.registry, "Burned")
      .withArgs(COMMIT_FEE, 0n, taskId);
    await w.registry.connect(w.ada).commit(taskId, digest("b"));
    expect(before - (await w.token.balanceOf(w.ada))).to.equal(COMMIT_BOND + 2n * COMMIT_FEE);
    expect(await w.registry.burned()).to.equal(2n * COMMIT_FEE);
    await expectSolvent(w, [taskId], [w.ada]);
  });

  it("a second time replaces the first and takes a later sequence number", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.commit(taskId, w.ada, good);
    await w.commit(taskId, w.ben, good);
    await w.commit(taskId, w.ada, fair);
    const commitment = await w.registry.commitmentOf(taskId, w.ada);
    expect(commitment.sequence).to.equal(3n);
    expect(commitment.index).to.equal(0n);
    expect(commitment.hash).to.equal(w.commitmentOf(taskId, w.ada.address, fair));
    expect((await w.registry.taskOf(taskId)).commitments).to.equal(2n);
  });

  it("is refused with a hash of zeros, or with the hash that the participant has already", async () => {
    const { registry, toTraining, ada } = await world();
    const taskId = await toTraining();
    await expect(registry.connect(ada).commit(taskId, ZERO_HASH)).to.be.revertedWithCustomError(registry, "ZeroHash");
    await registry.connect(ada).commit(taskId, digest("a"));
    await expect(registry.connect(ada).commit(taskId, digest("a")))
      .to.be.revertedWithCustomError(registry, "SameCommitment")
      .withArgs(digest("a"));
  });

  it("is not kept from a participant by somebody who copies its commitment and sends it first", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    const copied = w.commitmentOf(taskId, w.ada.address, good);
    await w.registry.connect(w.ben).commit(taskId, copied);
    await w.registry.connect(w.ada).commit(taskId, copied);
    await goTo((await w.schedule(taskId)).trainingEnd);
    await w.release(taskId);
    await goTo((await w.schedule(taskId)).revealStart);
    await w.reveal(taskId, w.ada, good);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Candidate");
  });
});

describe("releasing the key", () => {
  it("is taken from anyone who knows it, from the end of training until its deadline", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    const { trainingEnd } = await w.schedule(taskId);
    await at(trainingEnd - 1n);
    await expect(w.release(taskId)).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(taskId, 2n);
    await at(trainingEnd);
    await expect(w.registry.connect(w.stranger).release(taskId, KEY))
      .to.emit(w.registry, "KeyReleased")
      .withArgs(taskId, KEY);
    const schedule = await w.schedule(taskId);
    expect(schedule.releasedAt).to.equal(trainingEnd);
    expect(schedule.revealStart).to.equal(trainingEnd + 200n);
    expect(schedule.revealEnd).to.equal(trainingEnd + 800n);
    expect((await w.registry.taskOf(taskId)).key).to.equal(KEY);
  });

  it("is refused at the deadline's second, and accepted one before", async () => {
    const w = await world();
    const [late, last] = [await w.publish(), await w.publish()];
    const { keyDeadline } = await w.schedule(last);
    expect((await w.schedule(late)).keyDeadline).to.be.lessThan(keyDeadline);
    await at(keyDeadline - 1n);
    await w.release(last);
    await expect(w.release(late)).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(late, 9n);
  });

  it("is refused with another key, and a second time", async () => {
    const w = await world();
    const taskId = await w.toAwaitKey([]);
    await expect(w.registry.connect(w.publisher).release(taskId, digest("other"))).to.be.revertedWithCustomError(
      w.registry,
      "WrongKey",
    );
    await w.release(taskId);
    await expect(w.release(taskId)).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(taskId, 4n);
  });

  it("binds the key to its publisher: another's key hash is of no use", async () => {
    const w = await world();
    const stolen = keyHash(w.domain, w.publisher.address as Address, KEY);
    await w.registry.connect(w.stranger).publish(w.paramsOf({ keyHash: stolen }));
    const taskId = await w.registry.taskCount();
    await goTo((await w.schedule(taskId)).trainingEnd);
    await expect(w.release(taskId)).to.be.revertedWithCustomError(w.registry, "WrongKey");
  });
});

describe("a key that is not released", () => {
  it("voids the task: reward and fee go back, half of the bond is burned, the rest is the committers'", async () => {
    const w = await world();
    const taskId = await w.toAwaitKey([
      [w.ada, good],
      [w.ben, fair],
      [w.cleo, poor],
    ]);
    await goTo((await w.schedule(taskId)).keyDeadline);
    await expect(w.advance(taskId)).to.emit(w.registry, "TaskVoided").withArgs(taskId, 1n);
    expect(await w.phase(taskId)).to.equal("Void");
    expect(await w.registry.creditOf(w.publisher)).to.equal(REWARD + VALIDATOR_FEE);
    expect(await w.registry.burned()).to.equal(3n * COMMIT_FEE + PUBLISHER_BOND / 2n);
    await settleAll(w, taskId, [w.cleo, w.ada, w.ben]);
    for (const who of [w.ada, w.ben, w.cleo]) {
      expect(await w.registry.creditOf(who)).to.equal(COMMIT_BOND + PUBLISHER_BOND / 6n);
    }
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
    await expectSolvent(w, [taskId], [w.publisher, w.ada, w.ben, w.cleo]);
  });

  it("shares a bond that does not divide to the last unit, whoever settles first", async () => {
    const w = await world();
    const taskId = await w.toAwaitKey(
      [
        [w.ada, good],
        [w.ben, fair],
        [w.cleo, poor],
      ],
      { publisherBond: 11 },
    );
    await goTo((await w.schedule(taskId)).keyDeadline);
    const burnedBefore = await w.registry.burned();
    await w.advance(taskId);
    // 6 of 11 are burned, 5 are shared by three
    expect((await w.registry.burned()) - burnedBefore).to.equal(6n);
    const shares: bigint[] = [];
    for (const who of [w.ada, w.ben, w.cleo]) {
      shares.push((await w.registry.settlementOf(taskId, who)).compensation);
    }
    expect(shares).to.deep.equal([1n, 2n, 2n]);
    await settleAll(w, taskId, [w.cleo, w.ben, w.ada]);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
  });

  it("gives everything back to the publisher where nobody committed", async () => {
    const w = await world();
    const taskId = await w.toAwaitKey([]);
    await goTo((await w.schedule(taskId)).keyDeadline);
    await w.advance(taskId);
    expect(await w.registry.creditOf(w.publisher)).to.equal(REWARD + PUBLISHER_BOND + VALIDATOR_FEE);
    expect(await w.registry.burned()).to.equal(0n);
  });
});

describe("voting the test set wrong", () => {
  it("voids the task once a quorum of stake did", async () => {
    const w = await world();
    const taskId = await w.toTestVote([[w.ada, good]]);
    await expect(w.registry.connect(w.vera).voteTestSet(taskId))
      .to.emit(w.registry, "TestSetVoted")
      .withArgs(taskId, w.vera.address, STAKES[1]);
    expect(await w.phase(taskId)).to.equal("TestVote");
    await expect(w.registry.connect(w.victor).voteTestSet(taskId))
      .to.emit(w.registry, "TaskVoided")
      .withArgs(taskId, 2n);
    await settleAll(w, taskId, [w.ada]);
    expect(await w.registry.creditOf(w.ada)).to.equal(COMMIT_BOND + PUBLISHER_BOND / 2n);
    expect(await w.registry.creditOf(w.publisher)).to.equal(REWARD + VALIDATOR_FEE);
    await expectSolvent(w, [taskId], [w.ada, w.publisher]);
  });

  it("does nothing under a quorum", async () => {
    const w = await world();
    const taskId = await w.toTestVote([]);
    await w.registry.connect(w.vera).voteTestSet(taskId);
    await w.registry.connect(w.vlad).voteTestSet(taskId);
    expect(await w.phase(taskId)).to.equal("TestVote");
    expect((await w.registry.taskOf(taskId)).votesAgainst).to.equal(STAKES[1] + STAKES[2]);
    await goTo((await w.schedule(taskId)).revealStart);
    expect(await w.phase(taskId)).to.equal("Reveal");
  });

  it("is refused twice, without stake, before the release and from the reveal phase on", async () => {
    const w = await world();
    const early = await w.toAwaitKey([]);
    await expect(w.registry.connect(w.victor).voteTestSet(early))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(early, 3n);
    const taskId = await w.toTestVote([]);
    const { trainingEnd, revealStart } = await w.schedule(taskId);
    await w.registry.connect(w.vera).voteTestSet(taskId);
    expect(await w.registry.hasVoted(taskId, w.vera)).to.equal(true);
    await expect(w.registry.connect(w.vera).voteTestSet(taskId))
      .to.be.revertedWithCustomError(w.registry, "AlreadyVoted")
      .withArgs(w.vera.address);
    await expect(w.registry.connect(w.stranger).voteTestSet(taskId))
      .to.be.revertedWithCustomError(w.registry, "NoStake")
      .withArgs(w.stranger.address, trainingEnd - 1n);
    await at(revealStart);
    await expect(w.registry.connect(w.victor).voteTestSet(taskId))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 5n);
  });

  it("weighs the stake of the last second of training: stake that comes later does not count", async () => {
    const w = await worldWithoutStake();
    const taskId = await w.toTraining();
    const { trainingEnd } = await w.schedule(taskId);
    await at(trainingEnd - 1n);
    await w.stake.connect(w.vera).stake(1);
    await at(trainingEnd);
    await w.stake.connect(w.victor).stake(STAKES[0]);
    await w.release(taskId);
    await expect(w.registry.connect(w.victor).voteTestSet(taskId)).to.be.revertedWithCustomError(w.registry, "NoStake");
    await w.registry.connect(w.vera).voteTestSet(taskId);
    expect(await w.phase(taskId)).to.equal("Void");
  });

  it("needs a quorum of all stake to the unit, and no more", async () => {
    for (const [weight, phase] of [
      [6667n, "Void"],
      [6666n, "TestVote"],
    ] as const) {
      const w = await worldWithoutStake();
      await w.stake.connect(w.victor).stake(weight);
      await w.stake.connect(w.vera).stake(10_000n - weight);
      const taskId = await w.toTestVote([]);
      await w.registry.connect(w.victor).voteTestSet(taskId);
      expect(await w.phase(taskId)).to.equal(phase);
    }
  });

  it("gives the publisher everything where nobody committed", async () => {
    const w = await world();
    const taskId = await w.toTestVote([]);
    await w.registry.connect(w.victor).voteTestSet(taskId);
    await w.registry.connect(w.vlad).voteTestSet(taskId);
    expect(await w.registry.creditOf(w.publisher)).to.equal(REWARD + PUBLISHER_BOND + VALIDATOR_FEE);
  });
});

describe("revealing", () => {
  it("makes a candidate of a claim of at least the minimum and takes its bond", async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    const seal = w.claimSealOf(taskId, w.ada.address, good);
    const before = await w.token.balanceOf(w.ada);
    await expect(w.registry.connect(w.ada).reveal(taskId, good.opening, 36, seal))
      .to.emit(w.registry, "Revealed")
      .withArgs(taskId, w.ada.address, good.opening.modelRoot, good.opening.modelCid, 36n, true);
    expect(before - (await w.token.balanceOf(w.ada))).to.equal(CANDIDATE_BOND);
    const commitment = await w.registry.commitmentOf(taskId, w.ada);
    expect(commitment.modelCid).to.equal(good.opening.modelCid);
    expect(commitment.claimSeal).to.equal(seal);
    expect(commitment.claimedCorrect).to.equal(36n);
    expect((await w.registry.taskOf(taskId)).queued).to.equal(1n);
  });

  it("is a withdrawal with no claim, or with one under the minimum, and gives the bond back in the end", async () => {
    const w = await world();
    const taskId = await w.toReveal([
      [w.ada, good],
      [w.ben, poor],
    ]);
    await expect(w.reveal(taskId, w.ada, good, 0)).to.emit(w.registry, "Revealed").withArgs(
      taskId, w.ada.address, good.opening.modelRoot, good.opening.modelCid, 0n, false,
    ); // prettier-ignore
    await w.reveal(taskId, w.ben, poor, 9);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Withdrawn");
    expect(await w.stateOf(taskId, w.ben)).to.equal("Withdrawn");
    await goTo((await w.schedule(taskId)).revealEnd);
    await w.advance(taskId);
    await settleAll(w, taskId, [w.ada, w.ben]);
    expect(await w.registry.creditOf(w.ada)).to.equal(COMMIT_BOND);
    expect(await w.registry.creditOf(w.ben)).to.equal(COMMIT_BOND);
  });

  it("without a minimum still needs one correct prediction to be a candidate", async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, poor]], { minCorrect: 0 });
    await w.reveal(taskId, w.ada, poor, 0);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Withdrawn");
  });

  it("is taken at the minimum and at every sample, and refused above", async () => {
    const w = await world();
    const all = modelOf("all", TEST_COUNT);
    const least = modelOf("least", 10);
    const taskId = await w.toReveal([
      [w.ada, all],
      [w.ben, least],
    ]);
    await expect(w.reveal(taskId, w.ada, all, 41))
      .to.be.revertedWithCustomError(w.registry, "ClaimTooLarge")
      .withArgs(41n, 40n);
    await w.reveal(taskId, w.ada, all);
    await w.reveal(taskId, w.ben, least);
    expect(await w.stateOf(taskId, w.ben)).to.equal("Candidate");
  });

  it("is refused one second early and at the boundary's second", async () => {
    const w = await world();
    const taskId = await w.toTestVote([
      [w.ada, good],
      [w.ben, fair],
      [w.cleo, poor],
    ]);
    const { revealStart, revealEnd } = await w.schedule(taskId);
    await at(revealStart - 1n);
    await expect(w.reveal(taskId, w.ada, good))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 4n);
    await at(revealStart);
    await w.reveal(taskId, w.ada, good);
    await at(revealEnd - 1n);
    await w.reveal(taskId, w.ben, fair);
    await at(revealEnd);
    await expect(w.reveal(taskId, w.cleo, poor))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 9n);
  });

  it("is refused with an opening that differs in anything", async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    const expected = w.commitmentOf(taskId, w.ada.address, good);
    const seal = w.claimSealOf(taskId, w.ada.address, good);
    const changes = [
      { modelRoot: digest("other") },
      { modelCid: cidOf("other") },
      { validationCorrect: 1 },
      { validationTotal: 1 },
      { salt: digest("other") },
    ];
    for (const change of changes) {
      const opening = { ...good.opening, ...change };
      await expect(w.registry.connect(w.ada).reveal(taskId, opening, 36, seal))
        .to.be.revertedWithCustomError(w.registry, "WrongOpening")
        .withArgs(expected, w.commitmentOf(taskId, w.ada.address, { ...good, opening } as typeof good));
    }
  });

  it("is refused for a copied commitment, which binds the one it was copied from", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.commit(taskId, w.ada, good);
    await w.registry.connect(w.ben).commit(taskId, w.commitmentOf(taskId, w.ada.address, good));
    await goTo((await w.schedule(taskId)).trainingEnd);
    await w.release(taskId);
    await goTo((await w.schedule(taskId)).revealStart);
    await w.reveal(taskId, w.ada, good);
    // all of ada's opening is public now
    await expect(w.reveal(taskId, w.ben, good)).to.be.revertedWithCustomError(w.registry, "WrongOpening");
  });

  it("is refused for a replaced commitment", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.commit(taskId, w.ada, good);
    await w.commit(taskId, w.ada, fair);
    await goTo((await w.schedule(taskId)).trainingEnd);
    await w.release(taskId);
    await goTo((await w.schedule(taskId)).revealStart);
    await expect(w.reveal(taskId, w.ada, good)).to.be.revertedWithCustomError(w.registry, "WrongOpening");
    await w.reveal(taskId, w.ada, fair);
  });

  it("is refused twice, and without a commitment", async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    await w.reveal(taskId, w.ada, good);
    await expect(w.reveal(taskId, w.ada, good))
      .to.be.revertedWithCustomError(w.registry, "AlreadyRevealed")
      .withArgs(taskId, w.ada.address);
    await expect(w.reveal(taskId, w.ben, good))
      .to.be.revertedWithCustomError(w.registry, "NoCommitment")
      .withArgs(taskId, w.ben.address);
  });

  it("is refused without a claim seal, and with a model's CID that is too long", async () => {
    const w = await world();
    const long = { ...fair, opening: { ...fair.opening, modelCid: `0x${"01".repeat(65)}` as const } };
    const taskId = await w.toReveal([
      [w.ada, good],
      [w.ben, long],
    ]);
    await expect(w.registry.connect(w.ada).reveal(taskId, good.opening, 36, ZERO_HASH)).to.be.revertedWithCustomError(
      w.registry,
      "ZeroHash",
    );
    await expect(w.reveal(taskId, w.ben, long))
      .to.be.revertedWithCustomError(w.registry, "InvalidCid")
      .withArgs(65n);
    // it can still withdraw
    await w.reveal(taskId, w.ben, long, 0);
  });

  it("belongs to one task: an opening of one does not open another", async () => {
    const w = await world();
    const first = await w.publish();
    const second = await w.publish();
    await goTo((await w.schedule(second)).trainingStart);
    const commitment = w.commitmentOf(first, w.ada.address, good);
    await w.registry.connect(w.ada).commit(first, commitment);
    await w.registry.connect(w.ada).commit(second, commitment);
    await goTo((await w.schedule(second)).trainingEnd);
    await w.release(second);
    await goTo((await w.schedule(second)).revealStart);
    await expect(w.reveal(second, w.ada, good)).to.be.revertedWithCustomError(w.registry, "WrongOpening");
  });
});

describe("commitments that are not revealed", () => {
  it("lose their bonds, to nobody", async () => {
    const w = await world();
    const taskId = await w.toReveal([
      [w.ada, good],
      [w.ben, fair],
      [w.cleo, poor],
    ]);
    await w.reveal(taskId, w.ada, good);
    await goTo((await w.schedule(taskId)).revealEnd);
    await expect(w.advance(taskId))
      .to.emit(w.registry, "Burned")
      .withArgs(2n * COMMIT_BOND, 1n, taskId);
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    await settleAll(w, taskId, [w.ada, w.ben, w.cleo], w.validators);
    expect(await w.registry.creditOf(w.ben)).to.equal(0n);
    expect(await w.registry.creditOf(w.cleo)).to.equal(0n);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
    await expectSolvent(w, [taskId], [w.ada, w.ben, w.cleo, w.publisher, ...w.validators]);
  });

  it("by anybody leave the task void and give the publisher everything back", async () => {
    const w = await world();
    const taskId = await w.toReveal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await goTo((await w.schedule(taskId)).revealEnd);
    await expect(w.advance(taskId)).to.emit(w.registry, "TaskVoided").withArgs(taskId, 3n);
    expect(await w.registry.creditOf(w.publisher)).to.equal(REWARD + PUBLISHER_BOND + VALIDATOR_FEE);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
    expect(await w.registry.head()).to.equal(ethers.ZeroHash);
    await expectSolvent(w, [taskId], [w.publisher]);
  });
});
