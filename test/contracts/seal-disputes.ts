/** A validator answers for what it sealed of a refuted candidate: every refusal, every end, and the money. */
import { expect } from "chai";

import { CHALLENGE_STAGES } from "../../offchain/protocol/abi.ts";
import type { Setting } from "../evaluation/lies.ts";
import { challenge, disputable, movesOf, openExamined, openPrediction, type Game } from "./dispute-game.ts";
import { FALSE_LOGITS, FIRST, honest, LOGITS, lying, place, SAMPLE, send, TRUE } from "./kit/small-network.ts";
import { openOnTrial, showArchitecture, showUnit, wholeUnit, withLargeBias } from "./kit/trials.ts";
import {
  ANSWER_PERIOD,
  at,
  CANDIDATE_BOND,
  CHALLENGE_BOND,
  deploy,
  digest,
  goTo,
  modelOf,
  now,
  PHASE_LENGTHS,
  STAKES,
  UNBONDING,
  units,
  world,
  worldOfArithmetic,
  type Signer,
  type World,
} from "./support.ts";

const LARGEST = 0xffff_ffff;

/** Ada loses by silence against ben: whether she had lied or not. */
async function fallSilent(w: World, taskId: bigint, setting: Setting): Promise<void> {
  const id = await challenge(w, taskId, w.ben, SAMPLE, setting.labels);
  await goTo((await w.arithmetic.challengeOf(id)).deadline);
  await w.arithmetic.timeOut(id);
}

/** Victor sealed what ada claims, vera nothing; ada has been refuted. */
async function refuted(setting = honest, sealed = setting.labels) {
  const w = await worldOfArithmetic();
  const taskId = await disputable(w, setting, setting.labels, { sealers: [w.victor], sealed });
  await fallSilent(w, taskId, setting);
  return { w, taskId, until: Number(await w.arithmetic.sealsChallengeableUntil(taskId, w.ada)) };
}

/** The stranger challenges what victor, or the one given, sealed. */
async function challengeSeal(
  w: World,
  taskId: bigint,
  { predictions = honest.labels, sample = SAMPLE, of = w.victor } = {},
) {
  await w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.ada, of, ...openPrediction(sample, predictions));
  return w.arithmetic.challengeCount();
}

const playSeal = async (w: World, id: bigint, setting: Setting, game: Game, validator: Signer = w.victor) => {
  for (const move of movesOf(id, setting, SAMPLE, game)) await send(w, move, w.stranger, validator);
};
const stageOf = async ({ arithmetic }: World, id: bigint) =>
  CHALLENGE_STAGES[Number((await arithmetic.challengeOf(id)).stage)]!;
const outwait = async ({ arithmetic }: World, id: bigint) => {
  await goTo((await arithmetic.challengeOf(id)).deadline);
  await arithmetic.timeOut(id);
};

async function expectSolvent({ token, arithmetic, stake }: World): Promise<void> {
  for (const contract of [arithmetic, stake]) expect(await token.balanceOf(contract)).to.equal(await contract.owed());
}

/** Nothing of the validator's is lost, and nothing of it is held. */
async function expectUnharmed({ stake }: World, validator: Signer, amount: bigint): Promise<void> {
  expect(await stake.stakeOf(validator)).to.equal(amount);
  expect(await stake.holdsOf(validator)).to.equal(0n);
}

describe("A challenge of a validator's seal", function () {
  this.timeout(60_000);

  it("waits for the validator's trace, and is not one of the candidate", async () => {
    const { w, taskId } = await refuted();
    await expect(
      w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.ada, w.victor, ...openPrediction(SAMPLE, honest.labels)),
    )
      .to.emit(w.arithmetic, "SealChallenged")
      .withArgs(2n, taskId, w.ada.address, w.victor.address, w.stranger.address, SAMPLE, honest.labels[SAMPLE]);
    expect(await w.arithmetic.queryFilter(w.arithmetic.filters.Challenged(2n))).to.have.length(0);
    const [own, candidates] = [await w.arithmetic.challengeOf(2n), await w.arithmetic.challengeOf(1n)];
    expect([own.ofSeal, own.defender, own.participant]).to.deep.equal([true, w.victor.address, w.ada.address]);
    expect([candidates.ofSeal, candidates.defender]).to.deep.equal([false, w.ada.address]);
    expect(await stageOf(w, 2n)).to.equal("Trace");
    expect(Number(own.deadline)).to.equal((await now()) + ANSWER_PERIOD);
    expect(await w.arithmetic.openSealChallenges(taskId, w.ada, w.victor)).to.equal(1n);
    expect(await w.arithmetic.openSealChallenges(taskId, w.ada, w.vera)).to.equal(0n);
    expect(await w.arithmetic.openChallenges(taskId, w.ada)).to.equal(0n);
    expect(await w.arithmetic.isContested(taskId, w.ada)).to.equal(false);
    expect(await w.stake.holdsOf(w.victor)).to.equal(1n);
  });

  it("is lost by a challenger that has no wrong value to show, after all four answers: half its bond is the validator's", async () => {
    const { w, taskId } = await refuted();
    const id = await challengeSeal(w, taskId);
    const burned = await w.arithmetic.burned();
    await playSeal(w, id, honest, { claimant: TRUE, insists: place(FIRST) });
    expect(await stageOf(w, id)).to.equal("Upheld");
    expect(await w.arithmetic.creditOf(w.victor)).to.equal(CHALLENGE_BOND / 2n);
    expect(await w.arithmetic.creditOf(w.ada)).to.equal(0n);
    expect((await w.arithmetic.burned()) - burned).to.equal(CHALLENGE_BOND / 2n);
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(0n);
    await expectUnharmed(w, w.victor, STAKES[0]);
    await expectSolvent(w);
    const before = await w.token.balanceOf(w.victor);
    await w.arithmetic.connect(w.victor).withdraw();
    expect((await w.token.balanceOf(w.victor)) - before).to.equal(CHALLENGE_BOND / 2n);
  });

  it("is lost by a challenger that falls silent, and may be raised again, of the same sample too", async () => {
    const { w, taskId } = await refuted();
    const first = await challengeSeal(w, taskId);
    const second = await challengeSeal(w, taskId);
    expect(await w.stake.holdsOf(w.victor)).to.equal(2n);
    for (const id of [first, second]) {
      await send(w, movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) })[0]!, w.stranger, w.victor);
    }
    await outwait(w, second);
    await w.arithmetic.timeOut(first);
    expect(await w.arithmetic.creditOf(w.victor)).to.equal(CHALLENGE_BOND);
    await expectUnharmed(w, w.victor, STAKES[0]);
  });

  it("takes a lying validator's whole stake by proof, unbonding included: half is the challenger's, half is burned", async () => {
    const { w, taskId } = await refuted(lying);
    await w.stake.connect(w.victor).beginUnbonding(units(20));
    const id = await challengeSeal(w, taskId, { predictions: lying.labels });
    const moves = movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, insists: place(LOGITS) });
    for (const move of moves.slice(0, -1)) await send(w, move, w.stranger, w.victor);
    await expect(send(w, moves.at(-1)!, w.stranger, w.victor))
      .to.emit(w.arithmetic, "ValidatorSlashed")
      .withArgs(taskId, w.ada.address, w.victor.address, STAKES[0]);
    expect(await stageOf(w, id)).to.equal("Refuted");
    await expectUnharmed(w, w.victor, 0n);
    expect((await w.stake.unbondingOf(w.victor)).amount).to.equal(0n);
    expect(await w.stake.totalStake()).to.equal(STAKES[1] + STAKES[2]);
    expect(await w.stake.creditOf(w.stranger)).to.equal(STAKES[0] / 2n);
    expect(await w.stake.burned()).to.equal(STAKES[0] / 2n);
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(CHALLENGE_BOND);
    // The refuter of the candidate has no part in it.
    expect(await w.stake.creditOf(w.ben)).to.equal(0n);
    expect(await w.registry.creditOf(w.ben)).to.equal(CANDIDATE_BOND / 2n);
    await expectSolvent(w);
  });

  it("takes it by silence, and not twice for the same seal", async () => {
    const { w, taskId } = await refuted();
    const id = await challengeSeal(w, taskId);
    const { deadline } = await w.arithmetic.challengeOf(id);
    await at(deadline - 1n);
    await expect(w.arithmetic.timeOut(id)).to.be.revertedWithCustomError(w.arithmetic, "TooEarly");
    await at(deadline);
    await expect(w.arithmetic.timeOut(id))
      .to.emit(w.arithmetic, "Decided")
      .withArgs(id, CHALLENGE_STAGES.indexOf("Refuted"), 0n, 0n);
    await expectUnharmed(w, w.victor, 0n);
    await w.stake.connect(w.victor).stake(units(7));
    await expect(challengeSeal(w, taskId))
      .to.be.revertedWithCustomError(w.arithmetic, "SealNotChallengeable")
      .withArgs(taskId, w.ada.address, w.victor.address);
    await expect(w.arithmetic.slashValidator(taskId, w.ada, w.victor)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotSlashable",
    );
    await expectUnharmed(w, w.victor, units(7));
  });

  it("of the predictions that a validator truly made is won by it, whatever the candidate claimed", async () => {
    // Victor sealed what the model makes of the samples, ada another thing.
    const { w, taskId } = await refuted(lying, honest.labels);
    await expect(challengeSeal(w, taskId, { predictions: lying.labels })).to.be.revertedWithCustomError(
      w.arithmetic,
      "HashMismatch",
    );
    const id = await challengeSeal(w, taskId, { predictions: honest.labels });
    await playSeal(w, id, honest, { claimant: TRUE, insists: place(LOGITS) });
    expect(await stageOf(w, id)).to.equal("Upheld");
    await expectUnharmed(w, w.victor, STAKES[0]);
  });
});

describe("A seal cannot be challenged", function () {
  this.timeout(60_000);

  it("before its candidate is refuted, nor in a candidate's stead afterwards", async () => {
    const w = await worldOfArithmetic();
    const taskId = await disputable(w, honest, honest.labels, { sealers: [w.victor] });
    expect(await w.arithmetic.sealsChallengeableUntil(taskId, w.ada)).to.equal(0n);
    await expect(challengeSeal(w, taskId))
      .to.be.revertedWithCustomError(w.arithmetic, "SealNotChallengeable")
      .withArgs(taskId, w.ada.address, w.victor.address);
    await fallSilent(w, taskId, honest);
    await expect(challenge(w, taskId, w.stranger, SAMPLE, honest.labels)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotChallengeable",
    );
  });

  it("from the second on that is two answer periods after the refutation, though one that was is played to its end", async () => {
    const { w, taskId, until } = await refuted();
    expect(until).to.equal((await now()) + 2 * ANSWER_PERIOD);
    await at(until - 1);
    const id = await challengeSeal(w, taskId);
    await at(until);
    await expect(challengeSeal(w, taskId)).to.be.revertedWithCustomError(w.arithmetic, "SealNotChallengeable");
    await playSeal(w, id, honest, { claimant: TRUE, insists: place(FIRST) });
    expect(await stageOf(w, id)).to.equal("Upheld");
  });

  it("where there is none: of who sealed nothing, of a pool, of nobody, in another task", async () => {
    const { w, taskId } = await refuted();
    const pool = await w.createPool();
    const prediction = openPrediction(SAMPLE, honest.labels);
    const none = "0x0000000000000000000000000000000000000000";
    for (const validator of [w.vera, pool, none]) {
      await expect(w.arithmetic.challengeSeal(taskId, w.ada, validator, ...prediction)).to.be.revertedWithCustomError(
        w.arithmetic,
        "SealNotChallengeable",
      );
    }
    for (const [task, participant] of [
      [taskId, w.ben],
      [taskId + 1n, w.ada],
    ] as const) {
      await expect(
        w.arithmetic.challengeSeal(task, participant, w.victor, ...prediction),
      ).to.be.revertedWithCustomError(w.arithmetic, "SealNotChallengeable");
    }
  });

  it("by another result, block, count or sample than the sealed one has", async () => {
    const { w, taskId } = await refuted();
    const [sample, count, hashes, block] = openPrediction(SAMPLE, honest.labels);
    const refusal = (
      ...args: Parameters<typeof openPrediction> extends never ? never : [number, number, string[], string]
    ) => w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.ada, w.victor, ...args);
    const own = [...hashes];
    await expect(refusal(sample, count, [digest("other")], block)).to.be.revertedWithCustomError(
      w.arithmetic,
      "HashMismatch",
    );
    await expect(refusal(sample, count + 1, own, block)).to.be.revertedWithCustomError(w.arithmetic, "HashMismatch");
    await expect(refusal(sample, count, own, `${block.slice(0, -2)}ff`)).to.be.revertedWithCustomError(
      w.arithmetic,
      "HashMismatch",
    );
    for (const beyond of [count, LARGEST]) {
      await expect(refusal(beyond, count, own, block))
        .to.be.revertedWithCustomError(w.arithmetic, "NoSuchSample")
        .withArgs(beyond, count);
    }
    await expectUnharmed(w, w.victor, STAKES[0]);
  });

  it("at a sample that only the sealed result has, not the test set", async () => {
    const longer = Uint8Array.of(...honest.labels, 0);
    const { w, taskId } = await refuted(honest, longer);
    const beyond = honest.labels.length;
    await expect(challengeSeal(w, taskId, { predictions: longer, sample: beyond }))
      .to.be.revertedWithCustomError(w.arithmetic, "NoSuchSample")
      .withArgs(beyond, honest.labels.length);
    await challengeSeal(w, taskId, { predictions: longer });
  });

  it("for less than the bond, and holds nothing then", async () => {
    const { w, taskId } = await refuted();
    await w.token.connect(w.mia).approve(w.arithmetic, CHALLENGE_BOND);
    const prediction = openPrediction(SAMPLE, honest.labels);
    await expect(
      w.arithmetic.connect(w.mia).challengeSeal(taskId, w.ada, w.victor, ...prediction),
    ).to.be.revertedWithCustomError(w.token, "ERC20InsufficientBalance");
    expect(await w.stake.holdsOf(w.victor)).to.equal(0n);
  });
});

describe("In a challenge of a seal", function () {
  this.timeout(60_000);

  it("nobody but its validator answers the trace: not the claimant, nor a stranger, nor another validator", async () => {
    const { w, taskId } = await refuted();
    const id = await challengeSeal(w, taskId);
    const [trace] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) });
    for (const other of [w.ada, w.ben, w.stranger, w.vera]) {
      await expect(send(w, trace!, w.stranger, other))
        .to.be.revertedWithCustomError(w.arithmetic, "NotYourMove")
        .withArgs(id, other.address);
    }
    await send(w, trace!, w.stranger, w.victor);
  });

  it("nobody moves out of turn or too late, and a trace must tell the sealed class", async () => {
    const { w, taskId } = await refuted(lying);
    const id = await challengeSeal(w, taskId, { predictions: lying.labels });
    const moves = movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, insists: place(LOGITS) });
    const [honestTrace] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) });
    await expect(send(w, honestTrace!, w.stranger, w.victor)).to.be.revertedWithCustomError(w.arithmetic, "WrongClass");
    await expect(send(w, moves[1]!)).to.be.revertedWithCustomError(w.arithmetic, "WrongStage");
    await send(w, moves[0]!, w.stranger, w.victor);
    await expect(send(w, moves[1]!, w.victor)).to.be.revertedWithCustomError(w.arithmetic, "NotYourMove");
    await at((await w.arithmetic.challengeOf(id)).deadline);
    await expect(send(w, moves[1]!)).to.be.revertedWithCustomError(w.arithmetic, "TooLate");
    await w.arithmetic.timeOut(id);
    expect(await stageOf(w, id)).to.equal("Upheld");
  });

  it("unbonding does not finish before the last one is decided, and then it does", async () => {
    const { w, taskId } = await refuted();
    await w.stake.connect(w.victor).beginUnbonding(units(20));
    const first = await challengeSeal(w, taskId);
    const second = await challengeSeal(w, taskId);
    for (const id of [first, second]) {
      await send(w, movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) })[0]!, w.stranger, w.victor);
    }
    await goTo((await now()) + UNBONDING);
    const finish = () => w.stake.connect(w.victor).finishUnbonding();
    await expect(finish()).to.be.revertedWithCustomError(w.stake, "StakeHeld");
    await w.arithmetic.timeOut(first);
    await expect(finish()).to.be.revertedWithCustomError(w.stake, "StakeHeld");
    await w.arithmetic.timeOut(second);
    await finish();
    expect(await w.stake.creditOf(w.victor)).to.equal(units(20));
    await expectUnharmed(w, w.victor, STAKES[0] - units(20));
    await expectSolvent(w);
  });

  it("a ninth waits for one of eight to be decided; all are moot, and the stake is free, when one is lost", async () => {
    const { w, taskId } = await refuted();
    const ids: bigint[] = [];
    for (let i = 0; i < 9; i++) ids.push(await challengeSeal(w, taskId));
    const ninth = ids[8]!;
    expect(await stageOf(w, ninth)).to.equal("Queued");
    await expect(w.arithmetic.advance(ninth)).to.be.revertedWithCustomError(w.arithmetic, "OutOfRange");
    await send(
      w,
      movesOf(ids[0]!, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) })[0]!,
      w.stranger,
      w.victor,
    );
    await outwait(w, ids[0]!);
    await w.arithmetic.advance(ninth);
    expect(await stageOf(w, ninth)).to.equal("Trace");
    await w.arithmetic.timeOut(ids[1]!);
    expect(await w.stake.stakeOf(w.victor)).to.equal(0n);
    const answer = movesOf(ninth, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) })[0]!;
    await expect(send(w, answer, w.stranger, w.victor)).to.be.revertedWithCustomError(w.arithmetic, "WrongStage");
    await w.arithmetic.timeOut(ids[2]!);
    for (const id of ids.slice(3)) await w.arithmetic.connect(w.max).advance(id);
    for (const id of ids.slice(2)) expect(await stageOf(w, id)).to.equal("Moot");
    // One bond was lost; the other eight came back.
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(8n * CHALLENGE_BOND);
    expect(await w.stake.creditOf(w.stranger)).to.equal(STAKES[0] / 2n);
    expect(await w.arithmetic.openSealChallenges(taskId, w.ada, w.victor)).to.equal(0n);
    await expectUnharmed(w, w.victor, 0n);
    await expectSolvent(w);
  });

  it("the stake that two of its seals are challenged for is lost once, and both challengers get their bonds back", async () => {
    const w = await worldOfArithmetic();
    const params = { phases: { ...PHASE_LENGTHS, longWindow: 3_700 } };
    const tasks = [
      await disputable(w, honest, honest.labels, { sealers: [w.victor], params }),
      await disputable(w, honest, honest.labels, { sealers: [w.victor], params }),
    ];
    const lost: bigint[] = [];
    for (const taskId of tasks) lost.push(await challenge(w, taskId, w.ben, SAMPLE, honest.labels));
    await goTo((await w.arithmetic.challengeOf(lost[1]!)).deadline);
    for (const id of lost) await w.arithmetic.timeOut(id);
    const ids: bigint[] = [];
    for (const taskId of tasks) ids.push(await challengeSeal(w, taskId));
    expect(await w.stake.holdsOf(w.victor)).to.equal(2n);
    await goTo((await w.arithmetic.challengeOf(ids[1]!)).deadline);
    await w.arithmetic.timeOut(ids[0]!);
    await expect(challengeSeal(w, tasks[1]!))
      .to.be.revertedWithCustomError(w.stake, "NothingToHold")
      .withArgs(w.victor.address);
    await expect(w.arithmetic.timeOut(ids[1]!))
      .to.emit(w.arithmetic, "ValidatorSlashed")
      .withArgs(tasks[1]!, w.ada.address, w.victor.address, 0n);
    expect(await w.stake.creditOf(w.stranger)).to.equal(STAKES[0] / 2n);
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(2n * CHALLENGE_BOND);
    await expectUnharmed(w, w.victor, 0n);
    await expectSolvent(w);
  });
});

describe("A participant that has sealed its own candidate", function () {
  this.timeout(60_000);

  it("answers for the seal as any validator, and its stake does not escape with its candidate", async () => {
    const w = await worldOfArithmetic();
    await w.token.connect(w.ada).approve(w.stake, units(100));
    await w.stake.connect(w.ada).stake(units(9));
    const taskId = await disputable(w, lying, lying.labels, { sealers: [w.ada] });
    await fallSilent(w, taskId, lying);
    const id = await challengeSeal(w, taskId, { predictions: lying.labels, of: w.ada });
    expect(await stageOf(w, id)).to.equal("Trace");
    expect(await w.arithmetic.openChallenges(taskId, w.ada)).to.equal(0n);
    await playSeal(w, id, lying, { claimant: FALSE_LOGITS, insists: place(LOGITS) }, w.ada);
    expect(await stageOf(w, id)).to.equal("Refuted");
    await expectUnharmed(w, w.ada, 0n);
    expect(await w.stake.creditOf(w.stranger)).to.equal(units(9) / 2n);
    // Its candidate is refuted once.
    expect(await w.registry.creditOf(w.stranger)).to.equal(0n);
  });
});

describe("A challenge of a seal and its task", function () {
  this.timeout(60_000);

  it("do not wait for each other: the next candidate is examined and confirmed meanwhile", async () => {
    const w = await worldOfArithmetic();
    const taskId = await disputable(w, honest, honest.labels, { sealers: [w.victor], alike: [w.cleo] });
    await fallSilent(w, taskId, honest);
    const id = await challengeSeal(w, taskId);
    await openExamined(w, taskId, honest);
    const { participant, windowEnd } = await w.registry.examinationOf(taskId);
    expect(participant).to.equal(w.cleo.address);
    await goTo(windowEnd);
    await w.registry.confirm(taskId);
    expect(await w.stateOf(taskId, w.cleo)).to.equal("Winner");
    expect(await stageOf(w, id)).to.equal("Trace");
    await w.arithmetic.timeOut(id);
    await expectUnharmed(w, w.victor, 0n);
    expect(await w.stateOf(taskId, w.cleo)).to.equal("Winner");
  });

  it("are told apart when the task is void: a false seal is proven all the same", async () => {
    const { w, taskId } = await refuted(lying);
    expect(await w.phase(taskId)).to.equal("Void");
    const id = await challengeSeal(w, taskId, { predictions: lying.labels });
    await playSeal(w, id, lying, { claimant: FALSE_LOGITS, insists: place(LOGITS) });
    expect(await stageOf(w, id)).to.equal("Refuted");
  });
});

describe("A malformed model whose candidate a friend refuted otherwise", function () {
  this.timeout(60_000);

  /** Victor sealed a malformed model; ada fell silent against ben before anybody had shown it. */
  async function saved() {
    const w = await worldOfArithmetic();
    const { network, units: unitsRoot } = withLargeBias();
    const trial = await openOnTrial(w, { unitsRoot, sealers: [w.victor] });
    await fallSilent(w, trial.taskId, honest);
    return { w, ...trial, unit: wholeUnit(network, 0, 0) };
  }

  it("can still be shown, which costs its validators their stake and refutes nothing more", async () => {
    const { w, taskId, model, unit } = await saved();
    await expect(w.arithmetic.slashValidator(taskId, w.ada, w.victor)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotSlashable",
    );
    await expect(showUnit(w, taskId, model, unit, w.stranger)).to.emit(w.arithmetic, "ModelRefuted");
    await expect(showUnit(w, taskId, model, unit, w.max)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotChallengeable",
    );
    const id = await challengeSeal(w, taskId);
    await w.arithmetic.slashValidator(taskId, w.ada, w.victor);
    expect(await w.stake.creditOf(w.stranger)).to.equal(STAKES[0] / 2n);
    expect(await w.registry.creditOf(w.stranger)).to.equal(0n);
    expect(await w.registry.creditOf(w.ben)).to.equal(CANDIDATE_BOND / 2n);
    await expect(challengeSeal(w, taskId)).to.be.revertedWithCustomError(w.arithmetic, "SealNotChallengeable");
    // What was to be played over that seal is moot.
    await w.arithmetic.advance(id);
    expect(await stageOf(w, id)).to.equal("Moot");
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(CHALLENGE_BOND);
    await expectUnharmed(w, w.victor, 0n);
    await expectSolvent(w);
  });

  it("cannot be shown any more when its seals cannot be challenged any more", async () => {
    const { w, taskId, model, unit } = await saved();
    const until = await w.arithmetic.sealsChallengeableUntil(taskId, w.ada);
    await at(until);
    await expect(showUnit(w, taskId, model, unit, w.stranger)).to.be.revertedWithCustomError(
      w.arithmetic,
      "NotChallengeable",
    );
  });

  it("is not taken for malformed where it is well-formed", async () => {
    const w = await worldOfArithmetic();
    const trial = await openOnTrial(w, { sealers: [w.victor] });
    await fallSilent(w, trial.taskId, honest);
    await expect(showArchitecture(w, trial, w.stranger)).to.be.revertedWithCustomError(w.arithmetic, "NotMalformed");
    await expectUnharmed(w, w.victor, STAKES[0]);
  });
});

describe("A held seal", () => {
  const seal = (w: World, taskId: bigint) => [taskId, w.ada.address, w.victor.address] as const;
  const refusesToHold = (w: World, ...place: ReturnType<typeof seal>) =>
    expect(w.stake.holdSeal(...place))
      .to.be.revertedWithCustomError(w.stake, "SealNotHoldable")
      .withArgs(...place);
  const refusesToRelease = (w: World, taskId: bigint) =>
    expect(w.stake.releaseSeal(...seal(w, taskId)))
      .to.be.revertedWithCustomError(w.stake, "SealNotReleasable")
      .withArgs(...seal(w, taskId));
  const release = (w: World, taskId: bigint) => w.stake.connect(w.stranger).releaseSeal(...seal(w, taskId));

  it("keeps its validator's stake from leaving until the candidate has won, whoever holds and releases it", async () => {
    const w = await worldOfArithmetic();
    const taskId = await disputable(w, honest, honest.labels, { sealers: [w.victor] });
    await w.stake.connect(w.victor).beginUnbonding(STAKES[0]);
    await expect(w.stake.connect(w.stranger).holdSeal(...seal(w, taskId)))
      .to.emit(w.stake, "SealHeld")
      .withArgs(...seal(w, taskId));
    expect(await w.stake.isSealHeld(...seal(w, taskId))).to.equal(true);
    expect(await w.stake.holdsOf(w.victor)).to.equal(1n);
    await goTo((await w.registry.examinationOf(taskId)).windowEnd);
    await refusesToRelease(w, taskId);
    await w.registry.confirm(taskId);
    await goTo((await w.stake.unbondingOf(w.victor)).readyAt);
    const leave = () => w.stake.connect(w.victor).finishUnbonding();
    await expect(leave()).to.be.revertedWithCustomError(w.stake, "StakeHeld");
    await expect(release(w, taskId))
      .to.emit(w.stake, "SealReleased")
      .withArgs(...seal(w, taskId));
    await refusesToRelease(w, taskId);
    await leave();
    expect(await w.stake.creditOf(w.victor)).to.equal(STAKES[0]);
    await expectUnharmed(w, w.victor, 0n);
    await expectSolvent(w);
  });

  it("of a refuted candidate is held as long as it can be challenged, and challenges of it hold beside", async () => {
    const { w, taskId, until } = await refuted();
    await w.stake.holdSeal(...seal(w, taskId));
    const id = await challengeSeal(w, taskId);
    expect(await w.stake.holdsOf(w.victor)).to.equal(2n);
    await at(until - 1);
    await refusesToRelease(w, taskId);
    await at(until);
    await release(w, taskId);
    expect(await w.stake.holdsOf(w.victor)).to.equal(1n);
    await w.arithmetic.timeOut(id);
    expect(await stageOf(w, id)).to.equal("Refuted");
    await expectUnharmed(w, w.victor, 0n);
  });

  it("of a candidate that fell unopened, or by its count, is let go at once", async () => {
    const w = await worldOfArithmetic();
    const [model, worse] = [modelOf("good", 36), modelOf("worse", 30)];
    const taskId = await w.toSeal([
      [w.ada, model],
      [w.ben, worse],
    ]);
    await w.seal(taskId, w.victor, w.ada.address, model);
    await w.stake.holdSeal(...seal(w, taskId));
    await goTo((await w.registry.examinationOf(taskId)).openDeadline);
    await refusesToRelease(w, taskId);
    await w.registry.advance(taskId);
    await release(w, taskId);
    await expectUnharmed(w, w.victor, STAKES[0]);
    await refusesToHold(w, ...seal(w, taskId));
  });

  it("is refused where there is none, twice, of what is decided, and where nobody can lose stake", async () => {
    const { w, taskId, until } = await refuted();
    await refusesToHold(w, taskId, w.ada.address, w.vera.address);
    await refusesToHold(w, taskId, w.ben.address, w.victor.address);
    await refusesToHold(w, taskId + 1n, w.ada.address, w.victor.address);
    await refusesToRelease(w, taskId);
    await w.stake.holdSeal(...seal(w, taskId));
    await refusesToHold(w, ...seal(w, taskId));
    await goTo(until);
    await release(w, taskId);
    await refusesToHold(w, ...seal(w, taskId));

    const peaceful = await world();
    const model = modelOf("good", 36);
    const other = await peaceful.toSeal([[peaceful.ada, model]]);
    await peaceful.seal(other, peaceful.victor, peaceful.ada.address, model);
    await refusesToHold(peaceful, ...seal(peaceful, other));
    const unbound = await deploy("ValidatorStake", [peaceful.token, UNBONDING]);
    await expect(unbound.holdSeal(...seal(peaceful, other))).to.be.revertedWithCustomError(unbound, "SealNotHoldable");
  });
});

describe("Stake", () => {
  it("is held and released by the disputes alone", async () => {
    const w = await worldOfArithmetic();
    for (const call of [w.stake.hold(w.victor), w.stake.release(w.victor)]) {
      await expect(call).to.be.revertedWithCustomError(w.stake, "OnlyDisputes");
    }
  });
});
