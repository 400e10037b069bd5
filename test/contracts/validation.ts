import { expect } from "chai";
import { hexlify } from "ethers";

import { resultHash, ZERO_HASH, type Address } from "../../offchain/protocol/bytes.ts";
import {
  at,
  CANDIDATE_BOND,
  digest,
  expectSolvent,
  goTo,
  labels,
  modelOf,
  now,
  PHASE_LENGTHS,
  PUBLISHER_BOND,
  REWARD,
  settleAll,
  STAKES,
  TEST_COUNT,
  TEST_PARTS,
  units,
  VALIDATOR_FEE,
  world,
  worldWithDisputes,
  worldWithoutStake,
  type Signer,
} from "./support.ts";

const best = modelOf("best", 38);
const good = modelOf("good", 36);
const fair = modelOf("fair", 30);

describe("the order of candidates", () => {
  it("is decreasing in the claimed number, whatever the order of commitments and reveals", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, fair],
      [w.ben, best],
      [w.cleo, good],
    ]);
    const { participant, next } = await w.registry.examinationOf(taskId);
    expect(participant).to.equal(w.ben.address);
    expect(next).to.equal(w.cleo.address);
  });

  it("gives a tie to the earlier sequence number, even where it is revealed later", async () => {
    const w = await world();
    const same = modelOf("same", 36);
    const taskId = await w.toReveal([
      [w.ada, good],
      [w.ben, same],
    ]);
    await w.reveal(taskId, w.ben, same);
    await w.reveal(taskId, w.ada, good);
    await goTo((await w.schedule(taskId)).revealEnd);
    await w.advance(taskId);
    expect((await w.registry.examinationOf(taskId)).participant).to.equal(w.ada.address);
  });

  it("gives the same model, revealed twice, to the earlier sequence number, and keeps the later one behind it", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.cleo, good],
      [w.ada, good],
    ]);
    const { participant, next } = await w.registry.examinationOf(taskId);
    expect(participant).to.equal(w.cleo.address);
    expect(next).to.equal(w.ada.address);
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    expect((await w.registry.taskOf(taskId)).winner).to.equal(w.cleo.address);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Candidate");
  });

  it("lets the owner win where an earlier thief claims its model and then opens nothing", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.cleo, good],
      [w.ada, good],
    ]);
    await goTo((await w.schedule(taskId)).openDeadline);
    await w.advance(taskId);
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    expect((await w.registry.taskOf(taskId)).winner).to.equal(w.ada.address);
    expect(await w.stateOf(taskId, w.cleo)).to.equal("Eliminated");
  });

  it("lets a replaced commitment lose its place to one that came in between", async () => {
    const w = await world();
    const taskId = await w.toTraining();
    await w.commit(taskId, w.ada, fair);
    await w.commit(taskId, w.ben, modelOf("tie", 36));
    await w.commit(taskId, w.ada, good);
    await goTo((await w.schedule(taskId)).trainingEnd);
    await w.release(taskId);
    await goTo((await w.schedule(taskId)).revealStart);
    await w.reveal(taskId, w.ada, good);
    await w.reveal(taskId, w.ben, modelOf("tie", 36));
    await goTo((await w.schedule(taskId)).revealEnd);
    await w.advance(taskId);
    expect((await w.registry.examinationOf(taskId)).participant).to.equal(w.ben.address);
  });
});

describe("sealing", () => {
  it("weighs the stake of the last second of the reveal phase", async () => {
    const w = await worldWithoutStake();
    const taskId = await w.toReveal([[w.ada, good]]);
    await w.reveal(taskId, w.ada, good);
    const { revealEnd } = await w.schedule(taskId);
    await at(revealEnd - 1n);
    await w.stake.connect(w.vera).stake(7);
    await at(revealEnd);
    await w.stake.connect(w.victor).stake(STAKES[0]);
    await w.advance(taskId);
    await expect(w.seal(taskId, w.victor, w.ada.address, good))
      .to.be.revertedWithCustomError(w.registry, "NoStake")
      .withArgs(w.victor.address, revealEnd - 1n);
    await expect(w.seal(taskId, w.vera, w.ada.address, good))
      .to.emit(w.registry, "Sealed")
      .withArgs(taskId, w.ada.address, w.vera.address, 7n);
    expect((await w.registry.examinationOf(taskId)).totalStake).to.equal(7n);
  });

  it("weighs no stake that has begun to unbond or come since, and all that begins to unbond afterwards", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.stake.connect(w.victor).beginUnbonding(units(20));
    await w.stake.connect(w.vera).stake(units(1));
    await w.stake.connect(w.vlad).beginUnbonding(STAKES[2]);
    for (const validator of [w.victor, w.vera]) await w.seal(taskId, validator, w.ada.address, good);
    const time = BigInt((await now()) + 1);
    await at(time);
    await expect(w.seal(taskId, w.vlad, w.ada.address, good))
      .to.be.revertedWithCustomError(w.registry, "NoStake")
      .withArgs(w.vlad.address, time);
    await w.stake.connect(w.victor).beginUnbonding(STAKES[0] - units(20));
    const weightOf = async (validator: Signer) => (await w.registry.sealOf(taskId, w.ada, validator)).stake;
    expect(await weightOf(w.victor)).to.equal(STAKES[0] - units(20));
    expect(await weightOf(w.vera)).to.equal(STAKES[1]);
    // What it was worth is still what a quorum is of.
    expect((await w.registry.examinationOf(taskId)).totalStake).to.equal(STAKES[0] + STAKES[1] + STAKES[2]);
  });

  it("is taken up to the deadline and refused at its second", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    const { sealDeadline } = await w.schedule(taskId);
    expect(sealDeadline).to.equal(BigInt((await now()) + PHASE_LENGTHS.seal));
    await at(sealDeadline - 1n);
    await w.seal(taskId, w.victor, w.ada.address, good);
    await at(sealDeadline);
    await expect(w.seal(taskId, w.vera, w.ada.address, good))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 7n);
  });

  it("is refused twice, of zeros, and of anybody but the examined candidate", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await w.seal(taskId, w.victor, w.ada.address, good);
    await expect(w.seal(taskId, w.victor, w.ada.address, good))
      .to.be.revertedWithCustomError(w.registry, "AlreadySealed")
      .withArgs(w.victor.address);
    await expect(w.registry.connect(w.vera).seal(taskId, w.ada, ZERO_HASH)).to.be.revertedWithCustomError(
      w.registry,
      "ZeroHash",
    );
    for (const other of [w.ben.address, w.stranger.address, "0x0000000000000000000000000000000000000000"]) {
      await expect(w.registry.connect(w.vera).seal(taskId, other, digest("seal")))
        .to.be.revertedWithCustomError(w.registry, "NotExamined")
        .withArgs(taskId, other);
    }
  });

  it("of the next candidate is taken while the examined one is in its window, and only then", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await w.openExamined(taskId, good, []);
    await w.seal(taskId, w.victor, w.ben.address, fair);
    await expect(w.seal(taskId, w.vera, w.ada.address, good))
      .to.be.revertedWithCustomError(w.registry, "NotExamined")
      .withArgs(taskId, w.ada.address);
    const { windowEnd } = await w.schedule(taskId);
    await at(windowEnd);
    await expect(w.seal(taskId, w.vera, w.ben.address, fair))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 9n);
    expect((await w.registry.sealOf(taskId, w.ben, w.victor)).stake).to.equal(STAKES[0]);
  });

  it("is refused in a window that no candidate waits behind", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, []);
    await expect(w.registry.connect(w.vera).seal(taskId, "0x0000000000000000000000000000000000000000", digest("x")))
      .to.be.revertedWithCustomError(w.registry, "NotExamined")
      .withArgs(taskId, "0x0000000000000000000000000000000000000000");
  });

  it("costs a false candidate's successor no time where it was sealed in the window already", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await w.openExamined(taskId, good, []);
    const openedAt = BigInt(await now());
    for (const validator of w.validators) await w.seal(taskId, validator, w.ben.address, fair);
    const { windowEnd } = await w.schedule(taskId);
    await at(windowEnd);
    await w.advance(taskId);
    // sealing began when the one before was opened, so it is over
    expect(windowEnd).to.be.greaterThan(openedAt + BigInt(PHASE_LENGTHS.seal));
    expect((await w.schedule(taskId)).sealDeadline).to.equal(windowEnd);
    expect(await w.phase(taskId)).to.equal("Open");
    await w.toConfirmableNow(taskId, fair);
    await w.registry.confirm(taskId);
    expect((await w.registry.taskOf(taskId)).winner).to.equal(w.ben.address);
  });
});

describe("opening", () => {
  it("counts the predictions against the labels and begins the long window", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    const end = BigInt(await now()) + 1n + BigInt(PHASE_LENGTHS.longWindow);
    await expect(w.open(taskId, good))
      .to.emit(w.registry, "Opened")
      .withArgs(taskId, w.ada.address, 36n, good.result, end);
    const examination = await w.registry.examinationOf(taskId);
    expect(examination.result).to.equal(good.result);
    expect(examination.windowEnd).to.equal(end);
    expect(examination.quorum).to.equal(false);
  });

  it("is refused a second early and at its deadline's second", async () => {
    const w = await world();
    const early = await w.toSeal([[w.ada, good]]);
    const { sealDeadline, openDeadline } = await w.schedule(early);
    await at(sealDeadline - 1n);
    await expect(w.open(early, good)).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(early, 6n);
    await at(openDeadline);
    await expect(w.open(early, good)).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(early, 9n);
    const last = await w.toSeal([[w.ada, good]]);
    await at((await w.schedule(last)).openDeadline - 1n);
    await w.open(last, good);
    expect(await w.phase(last)).to.equal("Window");
  });

  it("is refused with other predictions, labels or test set than were committed to", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    const { registry } = w;
    const [predictions, truth] = [hexlify(good.predictions), hexlify(labels)];
    await expect(registry.open(taskId, hexlify(best.predictions), truth, TEST_PARTS)).to.be.revertedWithCustomError(
      registry,
      "WrongPredictions",
    );
    const wrongLabels = labels.map((label, i) => (i === 0 ? label + 1 : label));
    await expect(registry.open(taskId, predictions, hexlify(wrongLabels), TEST_PARTS)).to.be.revertedWithCustomError(
      registry,
      "WrongTestSet",
    );
    for (const change of [{ height: 3 }, { width: 3 }, { channels: 2 }, { classes: 9 }, { samplesRoot: digest("x") }]) {
      await expect(
        registry.open(taskId, predictions, truth, { ...TEST_PARTS, ...change }),
      ).to.be.revertedWithCustomError(registry, "WrongTestSet");
    }
  });

  it("is refused with too few or too many predictions or labels", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    for (const length of [0, TEST_COUNT - 1, TEST_COUNT + 1]) {
      const odd = hexlify(new Uint8Array(length));
      await expect(w.registry.open(taskId, odd, hexlify(labels), TEST_PARTS))
        .to.be.revertedWithCustomError(w.registry, "WrongLength")
        .withArgs(BigInt(TEST_COUNT), BigInt(length));
      await expect(w.registry.open(taskId, hexlify(good.predictions), odd, TEST_PARTS))
        .to.be.revertedWithCustomError(w.registry, "WrongLength")
        .withArgs(BigInt(TEST_COUNT), BigInt(length));
    }
  });

  it("eliminates a false claim at once, too high or too low, and takes the next candidate", async () => {
    for (const claimed of [37, 35]) {
      const w = await world();
      const taskId = await w.toSeal([
        [w.ada, good, claimed],
        [w.ben, fair],
      ]);
      await goTo((await w.schedule(taskId)).sealDeadline);
      await expect(w.open(taskId, good))
        .to.emit(w.registry, "CandidateEliminated")
        .withArgs(taskId, w.ada.address, 1n, CANDIDATE_BOND)
        .and.to.emit(w.registry, "Opened")
        .withArgs(taskId, w.ada.address, 36n, good.result, 0n);
      expect(await w.phase(taskId)).to.equal("Seal");
      expect((await w.registry.examinationOf(taskId)).participant).to.equal(w.ben.address);
      expect((await w.schedule(taskId)).sealDeadline).to.equal(BigInt((await now()) + PHASE_LENGTHS.seal));
    }
  });

  it("burns half of a false claimant's bond and adds the other half to the validators' fee", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good, 37],
      [w.ben, fair],
    ]);
    const burned = await w.registry.burned();
    await goTo((await w.schedule(taskId)).sealDeadline);
    await w.open(taskId, good);
    expect((await w.registry.burned()) - burned).to.equal(CANDIDATE_BOND / 2n);
    await w.toConfirmable(taskId, fair);
    await w.registry.confirm(taskId);
    await settleAll(w, taskId, [w.ada, w.ben], w.validators);
    const fees = VALIDATOR_FEE + CANDIDATE_BOND / 2n;
    expect(await w.registry.creditOf(w.victor)).to.equal(fees / 2n);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
    await expectSolvent(w, [taskId], [w.publisher, w.ada, w.ben, ...w.validators]);
  });

  it("voids the task where the false claim was the last one", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good, 37]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    await w.open(taskId, good);
    expect(await w.phase(taskId)).to.equal("Void");
    expect(await w.registry.creditOf(w.publisher)).to.equal(
      REWARD + PUBLISHER_BOND + VALIDATOR_FEE + CANDIDATE_BOND / 2n,
    );
  });

  it("by nobody eliminates the candidate at the deadline", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await goTo((await w.schedule(taskId)).openDeadline);
    await expect(w.advance(taskId))
      .to.emit(w.registry, "CandidateEliminated")
      .withArgs(taskId, w.ada.address, 0n, CANDIDATE_BOND);
    expect((await w.registry.examinationOf(taskId)).participant).to.equal(w.ben.address);
  });

  it("takes predictions that are no class as wrong ones", async () => {
    const w = await world();
    const odd = good.predictions.map((p, i) => (i >= 36 ? 255 : p));
    const model = { ...good, predictions: odd, result: resultHash(odd) };
    const taskId = await w.toSeal([[w.ada, model]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    await w.open(taskId, model);
    expect(await w.phase(taskId)).to.equal("Window");
  });

  it("cannot be done with another participant's predictions, whose seal binds the participant", async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    // the claim seal of a thief who copied it from somebody else's reveal
    const copied = w.claimSealOf(taskId, w.ben.address, good);
    await w.registry.connect(w.ada).reveal(taskId, good.opening, 36, copied);
    await goTo((await w.schedule(taskId)).revealEnd);
    await w.advance(taskId);
    await goTo((await w.schedule(taskId)).sealDeadline);
    await expect(w.open(taskId, good)).to.be.revertedWithCustomError(w.registry, "WrongPredictions");
  });
});

describe("attesting", () => {
  it("shortens the window once a quorum of stake matches", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, w.validators);
    const openedAt = BigInt(await now());
    await expect(w.registry.attest(taskId, [w.vera, w.vlad])).not.to.emit(w.registry, "QuorumReached");
    expect((await w.schedule(taskId)).windowEnd).to.equal(openedAt + BigInt(PHASE_LENGTHS.longWindow));
    const short = openedAt + BigInt(PHASE_LENGTHS.shortWindow);
    await expect(w.registry.attest(taskId, [w.victor]))
      .to.emit(w.registry, "Attested")
      .withArgs(taskId, w.ada.address, w.victor.address, STAKES[0])
      .and.to.emit(w.registry, "QuorumReached")
      .withArgs(taskId, w.ada.address, short);
    expect((await w.schedule(taskId)).windowEnd).to.equal(short);
  });

  it("after the short window ends the window with the quorum", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, w.validators);
    const late = BigInt((await now()) + PHASE_LENGTHS.shortWindow + 100);
    await at(late);
    await w.registry.attest(taskId, [w.victor, w.vera]);
    expect((await w.schedule(taskId)).windowEnd).to.equal(late);
    expect(await w.phase(taskId)).to.equal("Confirmable");
    // the one left out is not robbed of its share
    await w.registry.attest(taskId, [w.vlad]);
    expect((await w.registry.examinationOf(taskId)).matchingStake).to.equal(STAKES[0] + STAKES[1] + STAKES[2]);
  });

  it("passes over seals of other results, validators without a seal, and those counted before", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.seal(taskId, w.victor, w.ada.address, good);
    await w.seal(taskId, w.vera, w.ada.address, good, fair.result);
    await w.openExamined(taskId, good, []);
    await w.registry.attest(taskId, [w.vera, w.victor, w.victor, w.vlad, w.stranger]);
    expect((await w.registry.examinationOf(taskId)).matchingStake).to.equal(STAKES[0]);
    await expect(w.registry.attest(taskId, [w.victor, w.vera])).to.be.revertedWithCustomError(
      w.registry,
      "NothingAttested",
    );
    await expect(w.registry.attest(taskId, [])).to.be.revertedWithCustomError(w.registry, "NothingAttested");
  });

  it("counts no seal that was copied from another validator", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.seal(taskId, w.victor, w.ada.address, good);
    const copied = w.sealOf(taskId, w.ada.address, good, w.victor);
    await w.registry.connect(w.vera).seal(taskId, w.ada, copied);
    await w.openExamined(taskId, good, []);
    await w.registry.attest(taskId, [w.victor, w.vera]);
    expect((await w.registry.examinationOf(taskId)).matchingStake).to.equal(STAKES[0]);
  });

  it("is refused before the opening and after the block", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await expect(w.registry.attest(taskId, [w.victor]))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 6n);
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    await expect(w.registry.attest(taskId, [w.victor]))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 11n);
  });
});

describe("a candidate without a quorum, where there are no disputes", () => {
  it("is passed over and keeps its bonds where too few validators are awake", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, [w.victor]);
    await w.registry.attest(taskId, [w.victor]);
    const { windowEnd } = await w.schedule(taskId);
    await at(windowEnd);
    await expect(w.advance(taskId)).to.emit(w.registry, "CandidateEliminated").withArgs(taskId, w.ada.address, 3n, 0n);
    expect(await w.phase(taskId)).to.equal("Void");
    expect(await w.stateOf(taskId, w.ada)).to.equal("Unattested");
    expect((await w.registry.settlementOf(taskId, w.ada)).candidateBond).to.equal(CANDIDATE_BOND);
    await settleAll(w, taskId, [w.ada]);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
  });

  it("is passed over and keeps its bonds where there are no validators at all", async () => {
    const w = await worldWithoutStake();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, []);
    await goTo((await w.schedule(taskId)).windowEnd);
    await w.advance(taskId);
    expect(await w.phase(taskId)).to.equal("Void");
    expect(await w.stateOf(taskId, w.ada)).to.equal("Unattested");
  });

  it("keeps its bond where all have sealed the right result and nobody shows it: silence takes nothing", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, w.validators);
    await goTo((await w.schedule(taskId)).windowEnd);
    await expect(w.advance(taskId)).to.emit(w.registry, "CandidateEliminated").withArgs(taskId, w.ada.address, 3n, 0n);
    expect((await w.registry.settlementOf(taskId, w.ada)).candidateBond).to.equal(CANDIDATE_BOND);
  });

  it("keeps its bond where a quorum sealed something else and nobody shows it in the window", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    for (const validator of w.validators) await w.seal(taskId, validator, w.ada.address, good, fair.result);
    await w.openExamined(taskId, good, []);
    await at((await w.schedule(taskId)).windowEnd);
    await expect(w.contradict(taskId, fair.result, w.validators))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 9n);
    await w.advance(taskId);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Unattested");
  });

  it("keeps its bond where a minority sealed something else", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.seal(taskId, w.victor, w.ada.address, good, fair.result);
    await w.openExamined(taskId, good, [w.vera, w.vlad]);
    await w.registry.attest(taskId, [w.vera, w.vlad]);
    await expect(w.contradict(taskId, fair.result, [w.victor]))
      .to.be.revertedWithCustomError(w.registry, "NotContradicted")
      .withArgs(STAKES[0], STAKES[0] + STAKES[1] + STAKES[2]);
    await goTo((await w.schedule(taskId)).windowEnd);
    await w.advance(taskId);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Unattested");
  });
});

describe("a contradiction", () => {
  /** Ada's predictions are merely the labels, which all but the given ones have seen; ben comes after her. */
  const liar = modelOf("liar", TEST_COUNT);
  async function lied(blind: number[] = [], reward?: bigint) {
    const w = await world();
    const entries = [
      [w.ada, liar],
      [w.ben, fair],
    ] as const;
    const taskId = await w.toSeal(entries, reward === undefined ? {} : { reward });
    for (const [i, validator] of w.validators.entries()) {
      await w.seal(taskId, validator, w.ada.address, liar, blind.includes(i) ? liar.result : fair.result);
    }
    await w.openExamined(taskId, liar, []);
    return { w, taskId };
  }

  it("takes a bond at once where anyone shows that a quorum sealed one other result", async () => {
    const { w, taskId } = await lied();
    for (const validator of w.validators) await w.seal(taskId, validator, w.ben.address, fair);
    const burned = await w.registry.burned();
    await expect(w.contradict(taskId, fair.result, w.validators))
      .to.emit(w.registry, "CandidateEliminated")
      .withArgs(taskId, w.ada.address, 2n, CANDIDATE_BOND);
    expect((await w.registry.burned()) - burned).to.equal(CANDIDATE_BOND / 2n);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    // long before the window's end
    expect(await w.phase(taskId)).to.equal("Seal");
    await goTo((await w.schedule(taskId)).sealDeadline);
    await w.toConfirmableNow(taskId, fair);
    await w.registry.confirm(taskId);
    expect((await w.registry.taskOf(taskId)).winner).to.equal(w.ben.address);
    await settleAll(w, taskId, [w.ada, w.ben], w.validators);
    // the other half is the validators'
    expect(await w.registry.creditOf(w.victor)).to.equal((VALIDATOR_FEE + CANDIDATE_BOND / 2n) / 2n);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
    await expectSolvent(w, [taskId], [w.publisher, w.ada, w.ben, ...w.validators]);
  });

  it("needs no more than a quorum, whoever else sealed what", async () => {
    const { w, taskId } = await lied([2]);
    await w.registry.attest(taskId, [w.vlad]);
    await w.contradict(taskId, fair.result, w.validators);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
  });

  it("of exactly the quorum is enough, and of a unit less is not", async () => {
    for (const [stakes, enough] of [
      [[6667n, 3333n], true],
      [[6666n, 3334n], false],
    ] as const) {
      const w = await worldWithoutStake();
      await w.stake.connect(w.victor).stake(stakes[0]);
      await w.stake.connect(w.vera).stake(stakes[1]);
      const taskId = await w.toSeal([[w.ada, liar]]);
      await w.seal(taskId, w.victor, w.ada.address, liar, fair.result);
      await w.openExamined(taskId, liar, []);
      const call = w.contradict(taskId, fair.result, [w.victor]);
      if (enough) await expect(call).to.emit(w.registry, "TaskVoided");
      else await expect(call).to.be.revertedWithCustomError(w.registry, "NotContradicted").withArgs(6666n, 10_000n);
    }
  });

  it("is of one other result: seals of several, which no honest validators make, prove nothing together", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, liar]]);
    for (const [i, validator] of w.validators.entries()) {
      await w.seal(taskId, validator, w.ada.address, liar, [fair, good, best][i]!.result);
    }
    await w.openExamined(taskId, liar, []);
    for (const [i, { result }] of [fair, good, best].entries()) {
      await expect(w.contradict(taskId, result, w.validators))
        .to.be.revertedWithCustomError(w.registry, "NotContradicted")
        .withArgs(STAKES[i]!, STAKES[0] + STAKES[1] + STAKES[2]);
    }
  });

  it("takes the result of a model that is not well-formed, which is zero", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, liar]]);
    for (const validator of w.validators) await w.seal(taskId, validator, w.ada.address, liar, ZERO_HASH);
    await w.openExamined(taskId, liar, []);
    await w.contradict(taskId, ZERO_HASH, w.validators);
    expect(await w.phase(taskId)).to.equal("Void");
  });

  it("cannot be made of seals of the opened result, of nobody's, or of another candidate's", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await w.openExamined(taskId, good, w.validators);
    for (const validator of w.validators) await w.seal(taskId, validator, w.ben.address, fair);
    for (const [result, validators] of [
      [good.result, w.validators],
      [fair.result, w.validators],
      [ZERO_HASH, w.validators],
      [fair.result, []],
      [fair.result, [w.stranger, w.ada]],
    ] as const) {
      await expect(w.contradict(taskId, result, validators))
        .to.be.revertedWithCustomError(w.registry, "NotContradicted")
        .withArgs(0n, STAKES[0] + STAKES[1] + STAKES[2]);
    }
    expect(await w.phase(taskId)).to.equal("Window");
  });

  it("counts no validator twice", async () => {
    const { w, taskId } = await lied([1, 2]);
    const twice = w.registry.contradict(taskId, fair.result, [w.victor, w.victor]);
    await expect(twice).to.be.revertedWithCustomError(w.registry, "NotAscending").withArgs(w.victor.address);
    const [low, high] = [w.victor.address, w.vera.address].toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
    const descending = w.registry.contradict(taskId, fair.result, [high!, low!]);
    await expect(descending).to.be.revertedWithCustomError(w.registry, "NotAscending").withArgs(low!);
    await expect(w.contradict(taskId, fair.result, [w.victor])).to.be.revertedWithCustomError(
      w.registry,
      "NotContradicted",
    );
  });

  it("costs the false claimant its bond and gives the publisher none of it where the validators stay silent after", async () => {
    const { w, taskId } = await lied();
    await w.contradict(taskId, fair.result, w.validators);
    await goTo((await w.schedule(taskId)).openDeadline);
    await w.advance(taskId);
    expect(await w.phase(taskId)).to.equal("Void");
    expect(await w.registry.creditOf(w.publisher)).to.equal(REWARD + PUBLISHER_BOND + VALIDATOR_FEE);
    await settleAll(w, taskId, [w.ada, w.ben]);
    await expectSolvent(w, [taskId], [w.publisher, w.ada, w.ben]);
  });

  it("decides nothing where there are disputes, in which arithmetic decides", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([[w.ada, liar]]);
    for (const validator of w.validators) await w.seal(taskId, validator, w.ada.address, liar, fair.result);
    await w.openExamined(taskId, liar, []);
    await expect(w.contradict(taskId, fair.result, w.validators)).to.be.revertedWithCustomError(
      w.registry,
      "OnlyWithoutDisputes",
    );
  });
});

describe("confirming", () => {
  it("is refused in the window and taken at its end's second", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, w.validators);
    await w.registry.attest(taskId, [...w.validators]);
    const { windowEnd } = await w.schedule(taskId);
    await at(windowEnd - 1n);
    await expect(w.registry.confirm(taskId))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 8n);
    await at(windowEnd);
    await w.registry.confirm(taskId);
    expect(await w.phase(taskId)).to.equal("Confirmed");
    await expect(w.registry.confirm(taskId))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 11n);
  });

  it("appends a block that hashes its parent, and pays the winner", async () => {
    const w = await world();
    for (const [round, model] of [good, fair].entries()) {
      const taskId = await w.toSeal([[w.ada, model]]);
      await w.toConfirmable(taskId, model);
      const parent = await w.registry.head();
      await w.registry.connect(w.stranger).confirm(taskId);
      const height = BigInt(round + 1);
      expect(await w.registry.height()).to.equal(height);
      const block = await w.registry.blockAt(height);
      expect(block.parent).to.equal(parent);
      expect(block.hash).to.equal(await w.registry.head());
      expect(block.taskId).to.equal(taskId);
      expect(block.winner).to.equal(w.ada.address);
      expect(block.modelRoot).to.equal(model.opening.modelRoot);
      expect(block.modelCid).to.equal(model.opening.modelCid);
      expect(block.correct).to.equal(BigInt(model.correct));
      expect(block.total).to.equal(BigInt(TEST_COUNT));
      expect(block.time).to.equal(BigInt(await now()));
      expect(await w.registry.creditOf(w.ada)).to.equal(REWARD * height);
    }
    expect((await w.registry.blockAt(1)).parent).to.equal(ZERO_HASH);
    for (const height of [0n, 3n]) {
      await expect(w.registry.blockAt(height))
        .to.be.revertedWithCustomError(w.registry, "NoSuchBlock")
        .withArgs(height);
    }
  });

  it("gives the publisher its bond back and the fee to those who attested, by stake, to the last unit", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]], { validatorFee: 101 });
    await w.openExamined(taskId, good, [w.victor, w.vera]);
    await w.registry.attest(taskId, [w.victor, w.vera]);
    await goTo((await w.schedule(taskId)).windowEnd);
    await w.registry.confirm(taskId);
    expect(await w.registry.creditOf(w.publisher)).to.equal(PUBLISHER_BOND);
    await w.registry.settleValidator(taskId, w.vera);
    await w.registry.settleValidator(taskId, w.victor);
    expect(await w.registry.creditOf(w.vera)).to.equal(37n);
    expect(await w.registry.creditOf(w.victor)).to.equal(64n);
    await expect(w.registry.settleValidator(taskId, w.victor)).to.be.revertedWithCustomError(
      w.registry,
      "AlreadySettled",
    );
    await expect(w.registry.settleValidator(taskId, w.vlad))
      .to.be.revertedWithCustomError(w.registry, "NotAttested")
      .withArgs(w.vlad.address);
  });
});

describe("with disputes", () => {
  it("a candidate nobody attests or contests is confirmed after the long window; the fee goes back", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, []);
    const { windowEnd } = await w.schedule(taskId);
    await at(windowEnd - 1n);
    await expect(w.registry.confirm(taskId)).to.be.revertedWithCustomError(w.registry, "WrongPhase");
    await at(windowEnd);
    await w.registry.confirm(taskId);
    expect(await w.registry.creditOf(w.publisher)).to.equal(PUBLISHER_BOND + VALIDATOR_FEE);
    await settleAll(w, taskId, [w.ada]);
    expect((await w.registry.taskOf(taskId)).escrow).to.equal(0n);
  });

  it("a quorum that comes after the long window does not open it again", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, w.validators);
    const { windowEnd } = await w.schedule(taskId);
    await goTo(windowEnd + 50n);
    await expect(w.registry.attest(taskId, [...w.validators]))
      .to.emit(w.registry, "QuorumReached")
      .withArgs(taskId, w.ada.address, windowEnd);
    expect((await w.schedule(taskId)).windowEnd).to.equal(windowEnd);
    expect(await w.phase(taskId)).to.equal("Confirmable");
  });

  it("nothing is confirmed while the candidate is contested", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, []);
    await w.scripted.setContested(taskId, w.ada, true);
    await goTo((await w.schedule(taskId)).windowEnd + 1000n);
    expect(await w.phase(taskId)).to.equal("Window");
    await expect(w.registry.confirm(taskId)).to.be.revertedWithCustomError(w.registry, "WrongPhase");
    await w.scripted.setContested(taskId, w.ada, false);
    await w.registry.confirm(taskId);
  });

  it("a refuted candidate loses its bond, half to the refuter, and the next one is examined", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await w.openExamined(taskId, good, []);
    const burned = await w.registry.burned();
    await w.scripted.refute(w.registry, taskId, w.ada, w.stranger);
    expect(await w.registry.creditOf(w.stranger)).to.equal(CANDIDATE_BOND / 2n);
    expect((await w.registry.burned()) - burned).to.equal(CANDIDATE_BOND / 2n);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    expect(await w.phase(taskId)).to.equal("Seal");
    expect((await w.registry.examinationOf(taskId)).participant).to.equal(w.ben.address);
    await expectSolvent(w, [taskId], [w.stranger, w.ada, w.ben, w.publisher]);
  });

  it("only the disputes contract refutes, and only the opened candidate", async () => {
    const w = await worldWithDisputes();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await expect(w.registry.refute(taskId, w.ada, w.stranger)).to.be.revertedWithCustomError(
      w.registry,
      "OnlyDisputes",
    );
    await expect(w.scripted.refute(w.registry, taskId, w.ada, w.stranger))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 6n);
    await w.openExamined(taskId, good, []);
    await expect(w.scripted.refute(w.registry, taskId, w.ben, w.stranger))
      .to.be.revertedWithCustomError(w.registry, "NotExamined")
      .withArgs(taskId, w.ben.address);
  });

  it("nobody can refute where there are none", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.openExamined(taskId, good, []);
    await expect(w.registry.refute(taskId, w.ada, w.ada)).to.be.revertedWithCustomError(w.registry, "OnlyDisputes");
    expect(await w.registry.disputes()).to.equal("0x0000000000000000000000000000000000000000" satisfies Address);
  });
});

describe("settling", () => {
  it("is refused before the end, twice, and for those who never committed", async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    for (const call of [w.registry.settlementOf(taskId, w.ada), w.registry.settle(taskId, w.ada)]) {
      await expect(call).to.be.revertedWithCustomError(w.registry, "WrongPhase").withArgs(taskId, 6n);
    }
    await w.toConfirmable(taskId, good);
    await expect(w.registry.settleValidator(taskId, w.victor))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(taskId, 10n);
    await w.registry.confirm(taskId);
    await w.registry.connect(w.stranger).settle(taskId, w.ada);
    await expect(w.registry.settle(taskId, w.ada)).to.be.revertedWithCustomError(w.registry, "AlreadySettled");
    await expect(w.registry.settle(taskId, w.ben))
      .to.be.revertedWithCustomError(w.registry, "NoCommitment")
      .withArgs(taskId, w.ben.address);
  });

  it("tells the same before and after, but for the mark that it was done", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await w.toConfirmable(taskId, good);
    await w.registry.confirm(taskId);
    const before = await w.registry.settlementOf(taskId, w.ada);
    await w.registry.settle(taskId, w.ada);
    const after = await w.registry.settlementOf(taskId, w.ada);
    expect([...after].slice(0, 4)).to.deep.equal([...before].slice(0, 4));
    expect(before.reward).to.equal(REWARD);
    expect([before.settled, after.settled]).to.deep.equal([false, true]);
    // a candidate that was never examined keeps everything
    expect((await w.registry.settlementOf(taskId, w.ben)).candidateBond).to.equal(CANDIDATE_BOND);
  });
});
