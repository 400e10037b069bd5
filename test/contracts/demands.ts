import { expect } from "chai";

import { DEMAND_STAGES } from "../../offchain/protocol/abi.ts";
import { challenge } from "./dispute-game.ts";
import { honest, SAMPLE } from "./kit/small-network.ts";
import { openOnTrial, publishUnit, wholeUnit } from "./kit/trials.ts";
import {
  ANSWER_PERIOD,
  at,
  CANDIDATE_BOND,
  DEMAND_PRICE,
  goTo,
  now,
  worldOfArithmetic,
  type World,
} from "./support.ts";

const OPENING = 0xffff_ffff;
const MODEL = honest.openable.opening as never;
const NO_UNIT = { bias: 0, rows: [], weights: "0x", siblings: [] };

const stageOf = async ({ arithmetic }: World, id: bigint) =>
  DEMAND_STAGES[Number((await arithmetic.demandOf(id)).stage)]!;

/** A task with the honest small network in its window, and demands of units of its first layer. */
async function demanded(indices: readonly number[] = [0]) {
  const w = await worldOfArithmetic();
  const { taskId } = await openOnTrial(w);
  const game = w.arithmetic.connect(w.stranger);
  for (const index of indices) await game.demand(taskId, 0, index);
  return { w, taskId, game };
}

describe("A demand", () => {
  it("is answered by publishing, by anybody: half its price is the claimant's, half is burned", async () => {
    const { w, taskId, game } = await demanded();
    expect(await w.arithmetic.isContested(taskId, w.ada)).to.equal(true);
    expect(await w.arithmetic.openDemands(taskId, w.ada)).to.equal(1n);
    const burned = await w.arithmetic.burned();
    const unit = wholeUnit(honest.network, 0, 0) as never;
    await expect(w.arithmetic.connect(w.ben).answerUnit(1, MODEL, unit)).to.emit(w.arithmetic, "UnitShown");
    expect(await w.arithmetic.creditOf(w.ada)).to.equal(DEMAND_PRICE / 2n);
    expect((await w.arithmetic.burned()) - burned).to.equal(DEMAND_PRICE / 2n);
    expect(await stageOf(w, 1n)).to.equal("Answered");
    await expect(w.arithmetic.answerUnit(1, MODEL, unit)).to.be.revertedWithCustomError(game, "WrongDemandStage");
    await expect(game.expireDemand(1)).to.be.revertedWithCustomError(game, "WrongDemandStage");
    await expect(game.demand(taskId, 0, 0))
      .to.be.revertedWithCustomError(game, "AlreadyDemanded")
      .withArgs(1n);
  });

  it("of the model's opening, and of a unit that does not exist, is answered by the opening", async () => {
    const { w, taskId, game } = await demanded([]);
    await game.demand(taskId, OPENING, 0);
    await game.demand(taskId, 0, 4);
    await game.demand(taskId, 77, 0);
    await expect(w.arithmetic.answerModel(1, { ...honest.openable.opening, units: 1 } as never)) //
      .to.be.revertedWithCustomError(game, "HashMismatch");
    await expect(w.arithmetic.answerUnit(1, MODEL, NO_UNIT)).to.be.revertedWithCustomError(game, "NoSuchUnit");
    await expect(w.arithmetic.answerModel(2, MODEL)).to.be.revertedWithCustomError(game, "NoSuchUnit");
    await expect(w.arithmetic.answerModel(1, MODEL)).to.emit(w.arithmetic, "ModelShown");
    for (const id of [2, 3]) {
      await expect(w.arithmetic.answerUnit(id, MODEL, NO_UNIT)).not.to.emit(w.arithmetic, "UnitShown");
    }
    for (const id of [1n, 2n, 3n]) expect(await stageOf(w, id)).to.equal("Answered");
    await expect(game.demand(taskId, OPENING, 1)).to.be.revertedWithCustomError(game, "OutOfRange");
  });

  it("takes only the unit that was demanded, whole", async () => {
    const { w, game } = await demanded();
    const unit = wholeUnit(honest.network, 0, 0);
    for (const [wrong, error] of [
      [wholeUnit(honest.network, 0, 1), "HashMismatch"],
      [{ ...unit, bias: unit.bias + 1 }, "HashMismatch"],
      [{ ...unit, weights: unit.weights.slice(0, -4) }, "WrongLength"],
      [{ ...unit, weights: `${unit.weights.slice(0, -1)}${unit.weights.endsWith("0") ? "1" : "0"}` }, "HashMismatch"],
      [{ ...unit, rows: unit.rows.slice(1) }, "HashMismatch"],
      [NO_UNIT, "HashMismatch"],
    ] as const) {
      await expect(w.arithmetic.answerUnit(1, MODEL, wrong as never)).to.be.revertedWithCustomError(game, error);
    }
  });

  it("refutes the candidate where its clock runs out, and pays who made it; one second earlier it does not", async () => {
    const { w, taskId, game } = await demanded();
    const { deadline } = await w.arithmetic.demandOf(1);
    await at(deadline - 1n);
    await expect(w.arithmetic.expireDemand(1)).to.be.revertedWithCustomError(game, "DemandRunning");
    await at(deadline);
    await expect(publishUnit(w, 1n, 0)).to.be.revertedWithCustomError(game, "DemandOver");
    await w.arithmetic.connect(w.ben).expireDemand(1);
    expect(await stageOf(w, 1n)).to.equal("Failed");
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(DEMAND_PRICE);
    expect(await w.registry.creditOf(w.stranger)).to.equal(CANDIDATE_BOND / 2n);
  });

  it("waits behind eight others, starts when there is room, and is moot once another one has refuted the candidate", async () => {
    const { w, taskId, game } = await demanded([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await stageOf(w, 8n)).to.equal("Open");
    expect(await stageOf(w, 9n)).to.equal("Queued");
    await expect(publishUnit(w, 9n, 3)).to.be.revertedWithCustomError(game, "WrongDemandStage");
    await expect(w.arithmetic.expireDemand(9)).to.be.revertedWithCustomError(game, "OutOfRange");
    await publishUnit(w, 1n, 0);
    await w.arithmetic.expireDemand(10);
    expect((await w.arithmetic.demandOf(10)).deadline).to.equal(BigInt((await now()) + ANSWER_PERIOD));
    const challengeId = await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
    await goTo((await w.arithmetic.demandOf(2)).deadline);
    await w.arithmetic.expireDemand(2);
    for (let id = 3n; id <= 10n; id++) await w.arithmetic.expireDemand(id);
    expect(await stageOf(w, 9n)).to.equal("Moot");
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(9n * DEMAND_PRICE);
    await w.arithmetic.advance(challengeId);
    expect(await w.arithmetic.openDemands(taskId, w.ada)).to.equal(0n);
    expect(await w.arithmetic.isContested(taskId, w.ada)).to.equal(false);
    expect(await w.token.balanceOf(w.arithmetic)).to.equal(await w.arithmetic.owed());
  });

  it("leaves an answer period to challenge what it brought, and for units after the opening, but not for more demands", async () => {
    const { w, taskId, game } = await demanded([]);
    const { windowEnd } = await w.registry.examinationOf(taskId);
    await at(windowEnd - 2n);
    await game.demand(taskId, OPENING, 0);
    await at(windowEnd - 1n);
    await game.demand(taskId, 0, 0);
    await at(windowEnd + 10n);
    await expect(game.demand(taskId, 0, 1)).to.be.revertedWithCustomError(game, "NotChallengeable");
    await at(windowEnd + 90n);
    await w.arithmetic.answerModel(1, MODEL);
    await at(windowEnd + 91n);
    await publishUnit(w, 2n, 0);
    await game.demand(taskId, 0, 1);
    await at(windowEnd + 189n);
    await publishUnit(w, 3n, 1);
    await at(windowEnd + 190n);
    await expect(game.demand(taskId, 0, 2)).to.be.revertedWithCustomError(game, "NotChallengeable");
    expect(await w.phase(taskId)).to.equal("Window");
    await at(windowEnd + 288n);
    const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
    await goTo((await w.arithmetic.challengeOf(id)).deadline);
    await w.arithmetic.timeOut(id);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
  });

  it("is taken only of an opened candidate, and one that answers all is confirmed", async () => {
    const { w, taskId, game } = await demanded();
    await expect(game.demand(taskId + 1n, 0, 0)).to.be.revertedWithCustomError(game, "NotChallengeable");
    const { windowEnd } = await w.registry.examinationOf(taskId);
    await publishUnit(w, 1n, 0);
    await goTo(windowEnd);
    expect(await w.phase(taskId)).to.equal("Confirmable");
    await w.registry.confirm(taskId);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Winner");
  });
});
