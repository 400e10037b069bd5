import { expect } from "chai";
import { hexlify } from "ethers";

import {
  ANSWER_PERIOD,
  cidOf,
  digest,
  expectSolvent,
  goTo,
  now,
  PHASE_LENGTHS,
  PUBLISHER_BOND,
  REWARD,
  units,
  UNBONDING,
  VALIDATOR_FEE,
  world,
  worldOfArithmetic,
  type TaskParams,
} from "./support.ts";
import { ZERO_HASH } from "../../offchain/protocol/bytes.ts";

const DAY = 24 * 60 * 60;

describe("publishing a task", () => {
  it("takes reward, bond and fee into escrow and gives the task the next number", async () => {
    const w = await world();
    const before = await w.token.balanceOf(w.publisher);
    await expect(w.registry.connect(w.publisher).publish(w.paramsOf()))
      .to.emit(w.registry, "TaskPublished")
      .withArgs(1n, w.publisher.address, REWARD, cidOf("descriptor"));
    const escrow = REWARD + PUBLISHER_BOND + VALIDATOR_FEE;
    expect(before - (await w.token.balanceOf(w.publisher))).to.equal(escrow);
    const task = await w.registry.taskOf(1n);
    expect(task.escrow).to.equal(escrow);
    expect(task.publisher).to.equal(w.publisher.address);
    expect(task.params.phases.longWindow).to.equal(BigInt(PHASE_LENGTHS.longWindow));
    expect(await w.publish()).to.equal(2n);
    await expectSolvent(w, [1n, 2n], []);
  });

  it("tells every boundary that is known, and zero for those that are not", async () => {
    const w = await world();
    const taskId = await w.publish();
    const start = BigInt(await now());
    const schedule = await w.schedule(taskId);
    expect(schedule.publishedAt).to.equal(start);
    expect(schedule.trainingStart).to.equal(start + 100n);
    expect(schedule.trainingEnd).to.equal(start + 1100n);
    expect(schedule.keyDeadline).to.equal(start + 1600n);
    expect(schedule.releasedAt).to.equal(0n);
    expect(schedule.revealEnd).to.equal(0n);
    expect(schedule.sealDeadline).to.equal(0n);
    expect((await w.schedule(99n)).publishedAt).to.equal(0n);
  });

  const refused: [string, string, Partial<TaskParams>][] = [
    ["without a descriptor", "descriptorCid", { descriptorCid: "0x" }],
    ["with a descriptor's CID of 65 bytes", "descriptorCid", { descriptorCid: hexlify(new Uint8Array(65)) }],
    ["without a key hash", "keyHash", { keyHash: ZERO_HASH }],
    ["without a test root", "testRoot", { testRoot: ZERO_HASH }],
    ["without a space", "spaceHash", { spaceHash: ZERO_HASH }],
    ["without test samples", "testCount", { testCount: 0, minCorrect: 0 }],
    ["with 16385 test samples", "testCount", { testCount: 16385 }],
    ["whose minimum is above the number of samples", "minCorrect", { minCorrect: 41 }],
    ["whose models may have no bytes", "maxModelBytes", { maxModelBytes: 0 }],
    ["with a candidate's bond under 5 %", "candidateBondBps", { candidateBondBps: 499 }],
    ["with a candidate's bond over 100 %", "candidateBondBps", { candidateBondBps: 10_001 }],
    ["without a reward", "reward", { reward: 0 }],
    ["whose training takes no time", "training", { phases: { ...PHASE_LENGTHS, training: 0 } }],
    ["whose training takes over 30 days", "training", { phases: { ...PHASE_LENGTHS, training: 30 * DAY + 1 } }],
    ["whose initialisation takes over 30 days", "initialisation", { phases: { ...PHASE_LENGTHS, initialisation: 30 * DAY + 1 } }],
    ["without time to release the key", "keyRelease", { phases: { ...PHASE_LENGTHS, keyRelease: 0 } }],
    ["without time to vote", "testVote", { phases: { ...PHASE_LENGTHS, testVote: 0 } }],
    ["without time to reveal", "reveal", { phases: { ...PHASE_LENGTHS, reveal: 0 } }],
    ["without time to seal", "seal", { phases: { ...PHASE_LENGTHS, seal: 0 } }],
    ["without time to open", "open", { phases: { ...PHASE_LENGTHS, open: 0 } }],
    ["without a challenge window", "longWindow", { phases: { ...PHASE_LENGTHS, longWindow: 0 } }],
    ["whose short window is none", "shortWindow", { phases: { ...PHASE_LENGTHS, shortWindow: 0 } }],
    ["whose short window is the longer one", "shortWindow", { phases: { ...PHASE_LENGTHS, shortWindow: 901 } }],
    [
      "whose examination outlasts the validators' stake",
      "seal + open + 2 * longWindow",
      { phases: { ...PHASE_LENGTHS, longWindow: (UNBONDING - 400 - 300) / 2 + 1 } },
    ],
  ]; // prettier-ignore
  for (const [what, parameter, overrides] of refused) {
    it(`is refused ${what}`, async () => {
      const { registry, publisher, paramsOf } = await world();
      await expect(registry.connect(publisher).publish(paramsOf(overrides)))
        .to.be.revertedWithCustomError(registry, "InvalidParameter")
        .withArgs(parameter);
    });
  }

  it("is refused with a short window under the answer period of the deployment's disputes, and taken with one of it", async () => {
    const { registry, publisher, paramsOf } = await worldOfArithmetic();
    const publish = (shortWindow: number) =>
      registry.connect(publisher).publish(paramsOf({ phases: { ...PHASE_LENGTHS, shortWindow } }));
    await expect(publish(ANSWER_PERIOD - 1))
      .to.be.revertedWithCustomError(registry, "InvalidParameter")
      .withArgs("shortWindow");
    await publish(ANSWER_PERIOD);
    expect(await registry.taskCount()).to.equal(1n);
  });

  it("is refused where two windows, their disputes and the challenge of a seal outlast the validators' stake", async () => {
    const { registry, publisher, paramsOf } = await worldOfArithmetic();
    const longest = (UNBONDING - PHASE_LENGTHS.seal - PHASE_LENGTHS.open - 18 * ANSWER_PERIOD) / 2;
    const publish = (longWindow: number) =>
      registry.connect(publisher).publish(paramsOf({ phases: { ...PHASE_LENGTHS, longWindow } }));
    await expect(publish(longest + 1))
      .to.be.revertedWithCustomError(registry, "InvalidParameter")
      .withArgs("seal + open + 2 * longWindow");
    await publish(longest);
    expect(await registry.taskCount()).to.equal(1n);
  });

  it("is refused with a divisor of zero in its difficulty", async () => {
    const { registry, publisher, paramsOf } = await world();
    const difficulty = { flops: 1, networkFlops: 1, modelBytes: 1, dataBytes: 1, bandwidth: 1 };
    for (const parameter of ["networkFlops", "bandwidth"]) {
      await expect(registry.connect(publisher).publish(paramsOf({ difficulty: { ...difficulty, [parameter]: 0 } })))
        .to.be.revertedWithCustomError(registry, "InvalidParameter")
        .withArgs(parameter);
    }
  });

  it("is taken at the limits: no initialisation, one sample, windows as long as unbonding lets them be", async () => {
    const w = await world();
    const taskId = await w.publish({
      testCount: 1,
      minCorrect: 1,
      candidateBondBps: 10_000,
      publisherBond: 0,
      commitBond: 0,
      commitFee: 0,
      validatorFee: 0,
      phases: { ...PHASE_LENGTHS, initialisation: 0, longWindow: (UNBONDING - 400 - 300) / 2, shortWindow: 1 },
    });
    expect(await w.phase(taskId)).to.equal("Training");
    expect(await w.registry.candidateBondOf(taskId)).to.equal(REWARD);
  });

  it("is refused where the publisher cannot pay", async () => {
    const { registry, token, publisher, paramsOf } = await world();
    await token.connect(publisher).approve(registry, units(1));
    await expect(registry.connect(publisher).publish(paramsOf())).to.be.revertedWithCustomError(
      token,
      "ERC20InsufficientAllowance",
    );
    expect(await registry.taskCount()).to.equal(0n);
  });

  it("rounds the candidate's bond up", async () => {
    const w = await world();
    expect(await w.registry.candidateBondOf(await w.publish({ reward: 21 }))).to.equal(2n);
  });
});

describe("choosing a task", () => {
  it("ranks by difficulty over reward", async () => {
    const w = await world();
    const poor = await w.publish({ reward: units(50) });
    const rich = await w.publish({ reward: units(200) });
    // 1000 s of training and 10 s of transfer, per 1e-18 units
    expect(await w.registry.rankingScore(poor)).to.equal((1_010n * 10n ** 36n) / units(50));
    expect(await w.registry.rankingScore(rich)).to.equal((1_010n * 10n ** 36n) / units(200));
  });

  it("refuses to rank a task that does not exist", async () => {
    const { registry } = await world();
    for (const view of [registry.rankingScore(1), registry.candidateBondOf(1)]) {
      await expect(view).to.be.revertedWithCustomError(registry, "WrongPhase").withArgs(1n, 0n);
    }
  });

  it("lists open tasks page by page, without those that ended", async () => {
    const w = await world();
    for (let i = 0; i < 5; i++) await w.publish();
    expect(await w.registry.openTaskCount()).to.equal(5n);
    expect(await w.registry.openTasks(0, 2)).to.deep.equal([1n, 2n]);
    expect(await w.registry.openTasks(4, 100)).to.deep.equal([5n]);
    expect(await w.registry.openTasks(5, 1)).to.deep.equal([]);
    expect(await w.registry.openTasks(2n ** 256n - 1n, 2n ** 256n - 1n)).to.deep.equal([]);
    await goTo((await w.schedule(5n)).keyDeadline);
    await w.advance(2n);
    expect(await w.registry.openTaskCount()).to.equal(4n);
    expect((await w.registry.openTasks(0, 10)).toSorted()).to.deep.equal([1n, 3n, 4n, 5n]);
  });

  it("knows nothing of a task that does not exist", async () => {
    const w = await world();
    expect(await w.phase(7n)).to.equal("None");
    expect((await w.registry.taskOf(7n)).publisher).to.equal("0x0000000000000000000000000000000000000000");
    await expect(w.registry.connect(w.ada).commit(7n, digest("x")))
      .to.be.revertedWithCustomError(w.registry, "WrongPhase")
      .withArgs(7n, 0n);
  });
});
