/**
 * What a chain's reorganisation does to a message that was in time on one fork: re-mined in time it is taken as it is, and
 * re-mined too late it is refused and costs its sender nothing but gas. What only time allows is refused where it has not
 * come yet.
 */
import { expect } from "chai";
import { hexlify } from "ethers";

import { blocks } from "../../offchain/protocol/bytes.ts";
import { challenge, disputable, movesOf } from "./dispute-game.ts";
import { afterSilence, attack, ending, stageOf } from "./kit/attack.ts";
import { challengeSeal, refuted } from "./kit/seals.ts";
import {
  FALSE_LOGITS,
  FIRST,
  honest,
  lying,
  place,
  playUntil,
  SAMPLE,
  send,
  TRUE,
  untilMove,
} from "./kit/small-network.ts";
import { openOnTrial, publishUnit, showArchitecture } from "./kit/trials.ts";
import { at, modelOf, networkHelpers, worldOfArithmetic, type Signer, type World } from "./support.ts";

const good = modelOf("good", 36);
const MOVES = [
  "answerTrace",
  "pickTensor",
  "answerRows",
  "pickRow",
  "answerPositions",
  "pickColumn",
  "answerValues",
  "prove",
] as const;

/** A message with the second from which on it is too late, or until which it is too early. */
interface Message {
  readonly boundary: bigint;
  readonly by: Signer;
  readonly send: () => Promise<unknown>;
}

/** What an account has anywhere. */
const moneyOf = async ({ token, registry, arithmetic }: World, { address }: Signer): Promise<bigint> =>
  (await token.balanceOf(address)) + (await registry.creditOf(address)) + (await arithmetic.creditOf(address));

/** @param refused the error with which the chain refuses the message on the wrong side of its boundary */
function inTime(name: string, refused: string, arrange: (w: World) => Promise<Message>): void {
  it(`${name} is taken in its last second on one fork, refused a second later on another, and costs nothing there`, async () => {
    const w = await worldOfArithmetic();
    const { boundary, by, send: sent } = await arrange(w);
    const fork = await networkHelpers.takeSnapshot();
    await at(boundary - 1n);
    expect(await ending(w, sent())).to.equal("done");
    await fork.restore();
    const before = await moneyOf(w, by);
    await at(boundary);
    expect(await ending(w, sent())).to.equal(refused);
    expect(await moneyOf(w, by)).to.equal(before);
    await fork.restore();
    // The same message behind another block, in time.
    await networkHelpers.mine();
    expect(await ending(w, sent())).to.equal("done");
  });
}

function inTurn(name: string, refused: string, arrange: (w: World) => Promise<Message>): void {
  it(`${name} is taken in its first second on one fork, and refused a second earlier on another`, async () => {
    const w = await worldOfArithmetic();
    const { boundary, by, send: sent } = await arrange(w);
    const fork = await networkHelpers.takeSnapshot();
    await at(boundary);
    expect(await ending(w, sent())).to.equal("done");
    await fork.restore();
    const before = await moneyOf(w, by);
    await at(boundary - 1n);
    expect(await ending(w, sent())).to.equal(refused);
    expect(await moneyOf(w, by)).to.equal(before);
  });
}

describe("A reorganisation across a deadline", () => {
  inTime("a commitment", "WrongPhase", async (w) => {
    const taskId = await w.toTraining();
    return { boundary: (await w.schedule(taskId)).trainingEnd, by: w.ada, send: () => w.commit(taskId, w.ada, good) };
  });
  inTime("a key", "WrongPhase", async (w) => {
    const taskId = await w.toAwaitKey([[w.ada, good]]);
    return { boundary: (await w.schedule(taskId)).keyDeadline, by: w.publisher, send: () => w.release(taskId) };
  });
  inTime("a vote on the test set", "WrongPhase", async (w) => {
    const taskId = await w.toTestVote([[w.ada, good]]);
    const vote = () => w.registry.connect(w.victor).voteTestSet(taskId);
    return { boundary: (await w.schedule(taskId)).revealStart, by: w.victor, send: vote };
  });
  inTime("a reveal", "WrongPhase", async (w) => {
    const taskId = await w.toReveal([[w.ada, good]]);
    return { boundary: (await w.schedule(taskId)).revealEnd, by: w.ada, send: () => w.reveal(taskId, w.ada, good) };
  });
  inTime("a seal", "WrongPhase", async (w) => {
    const taskId = await w.toSeal([[w.ada, good]]);
    const seal = () => w.seal(taskId, w.victor, w.ada.address, good);
    return { boundary: (await w.schedule(taskId)).sealDeadline, by: w.victor, send: seal };
  });
  inTime("an opening", "WrongPhase", async (w) => {
    const taskId = await w.toSeal([[w.ada, good]]);
    const { sealDeadline, openDeadline } = await w.schedule(taskId);
    await networkHelpers.time.increaseTo(sealDeadline);
    return { boundary: openDeadline, by: w.stranger, send: () => w.open(taskId, good) };
  });
  inTime("a challenge", "NotChallengeable", async (w) => {
    const taskId = await disputable(w, honest);
    const { windowEnd } = await w.registry.examinationOf(taskId);
    const predictions = honest.labels;
    const sent = () =>
      w.arithmetic
        .connect(w.stranger)
        .challenge(taskId, SAMPLE, predictions.length, blocks(predictions), hexlify(predictions));
    return { boundary: windowEnd, by: w.stranger, send: sent };
  });
  for (const name of MOVES) {
    inTime(`${name} of a dispute`, "TooLate", async (w) => {
      const { id, move, by } = await untilMove(w, name);
      return { boundary: (await w.arithmetic.challengeOf(id)).deadline, by, send: () => send(w, move) };
    });
  }

  inTime("a challenge of a seal", "SealNotChallengeable", async (w) => {
    const taskId = await refuted(w, honest);
    const boundary = await w.arithmetic.sealsChallengeableUntil(taskId, w.ada);
    return { boundary, by: w.stranger, send: () => challengeSeal(w, taskId, w.stranger, honest.labels) };
  });
  for (const name of MOVES) {
    inTime(`${name} of a game over a seal`, "TooLate", async (w) => {
      const challenged = await challengeSeal(w, await refuted(w, honest), w.stranger, honest.labels);
      const { id, move, by } = await playUntil(w, challenged, name, w.victor);
      const { deadline } = await w.arithmetic.challengeOf(id);
      return { boundary: deadline, by, send: () => send(w, move, w.stranger, w.victor) };
    });
  }
  inTime("what shows a malformed model that was refuted otherwise", "NotChallengeable", async (w) => {
    const shown = await openOnTrial(w, { units: honest.openable.opening.units + 1 });
    await afterSilence(w, await challenge(w, shown.taskId, w.ben, SAMPLE, honest.labels));
    const boundary = await w.arithmetic.sealsChallengeableUntil(shown.taskId, w.ada);
    return { boundary, by: w.stranger, send: () => showArchitecture(w, shown, w.stranger) };
  });

  inTime("a demand", "NotChallengeable", async (w) => {
    const taskId = await disputable(w, honest);
    const { windowEnd } = await w.registry.examinationOf(taskId);
    return { boundary: windowEnd, by: w.stranger, send: () => w.arithmetic.connect(w.stranger).demand(taskId, 0, 1) };
  });
  inTime("a publication on demand", "DemandOver", async (w) => {
    const taskId = await disputable(w, honest);
    await w.arithmetic.connect(w.stranger).demand(taskId, 0, 1);
    const sent = () => publishUnit(w, 1n, 1);
    return { boundary: (await w.arithmetic.demandOf(1)).deadline, by: w.ada, send: sent };
  });

  inTurn("the end of a task without a key", "WrongPhase", async (w) => {
    const taskId = await w.toAwaitKey([[w.ada, good]]);
    return { boundary: (await w.schedule(taskId)).keyDeadline, by: w.stranger, send: () => w.advance(taskId) };
  });
  inTurn("the first examination", "WrongPhase", async (w) => {
    const taskId = await w.toReveal([[w.ada, good]]);
    await w.reveal(taskId, w.ada, good);
    return { boundary: (await w.schedule(taskId)).revealEnd, by: w.stranger, send: () => w.advance(taskId) };
  });
  inTurn("the elimination of a candidate that nobody opened", "WrongPhase", async (w) => {
    const taskId = await w.toSeal([[w.ada, good]]);
    return { boundary: (await w.schedule(taskId)).openDeadline, by: w.stranger, send: () => w.advance(taskId) };
  });
  inTurn("a confirmation", "WrongPhase", async (w) => {
    const taskId = await disputable(w, honest);
    const { windowEnd } = await w.registry.examinationOf(taskId);
    return { boundary: windowEnd, by: w.stranger, send: () => w.registry.confirm(taskId) };
  });
  inTurn("the loss of a validator's stake that was silent in a game over its seal", "TooEarly", async (w) => {
    const id = await challengeSeal(w, await refuted(w, lying), w.stranger, lying.labels);
    const { deadline } = await w.arithmetic.challengeOf(id);
    return { boundary: deadline, by: w.max, send: () => w.arithmetic.connect(w.max).timeOut(id) };
  });
  inTurn("the loss of who was silent in a dispute", "TooEarly", async (w) => {
    const taskId = await disputable(w, honest);
    const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
    const { deadline } = await w.arithmetic.challengeOf(id);
    return { boundary: deadline, by: w.max, send: () => w.arithmetic.connect(w.max).timeOut(id) };
  });
});

describe("A reorganisation of a dispute", () => {
  attack(
    "in which a challenge of another sample takes the number of the one that was answered",
    { without: "expected challenge", withstood: "WrongStage, Trace", succeeds: "done, Tensor" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const fork = await networkHelpers.takeSnapshot();
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      const [answer] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) });
      const call = w.arithmetic.interface;
      const calls = [
        call.encodeFunctionData("expectChallenge", [id, w.stranger.address, SAMPLE]),
        call.encodeFunctionData("answerTrace", answer!.args as never),
      ];
      await fork.restore();
      // A sample of the same class, so that the trace shows the claimed one.
      const other = honest.labels.findIndex((label, i) => i !== SAMPLE && label === honest.labels[SAMPLE]);
      await challenge(w, taskId, w.stranger, other, honest.labels);
      const how = await ending(w, w.arithmetic.connect(w.ada).multicall(calls));
      return `${how}, ${await stageOf(w, id)}`;
    },
  );

  it("that takes a confirmation back leaves the false claim to be challenged on the other fork", async () => {
    const w = await worldOfArithmetic();
    const taskId = await disputable(w, lying);
    const fork = await networkHelpers.takeSnapshot();
    await at((await w.schedule(taskId)).windowEnd);
    await w.registry.confirm(taskId);
    await fork.restore();
    const id = await challenge(w, taskId, w.stranger, SAMPLE, lying.labels);
    for (const move of movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })) await send(w, move);
    expect(await stageOf(w, id)).to.equal("Refuted");
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
  });

  it("that takes a refutation back takes the challenges of seals with it, which cost nothing on the other fork", async () => {
    const w = await worldOfArithmetic();
    const taskId = await disputable(w, honest, honest.labels, { sealers: [w.victor] });
    const first = await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
    const fork = await networkHelpers.takeSnapshot();
    await afterSilence(w, first);
    const id = await challengeSeal(w, taskId, w.stranger, honest.labels);
    const moves = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) });
    await fork.restore();
    // On the other fork the claimant was awake.
    await send(w, movesOf(first, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) })[0]!);
    const before = await moneyOf(w, w.stranger);
    expect(await ending(w, challengeSeal(w, taskId, w.stranger, honest.labels))).to.equal("SealNotChallengeable");
    expect(await ending(w, send(w, moves[0]!, w.stranger, w.victor))).to.equal("WrongStage");
    expect(await moneyOf(w, w.stranger)).to.equal(before);
    expect(await w.stake.holdsOf(w.victor)).to.equal(0n);
  });

  it("in which challenges change places makes no challenger move in another's game", async () => {
    const w = await worldOfArithmetic();
    const taskId = await disputable(w, honest);
    const fork = await networkHelpers.takeSnapshot();
    const mine = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
    const moves = movesOf(mine, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) });
    await fork.restore();
    // On the other fork ben's challenge came first and has the number that the stranger's had.
    await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
    expect(await challenge(w, taskId, w.stranger, SAMPLE, honest.labels)).to.equal(mine + 1n);
    await send(w, moves[0]!);
    expect(await ending(w, send(w, moves[1]!))).to.equal("NotYourMove");
  });
});
