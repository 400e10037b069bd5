/**
 * Attacks on a validator that plays for its seal, and by validators that sealed a lie. Each is played with all defences and
 * without one: see dispute-attacks.ts for those on the same game with a claimant.
 */
import { expect } from "chai";

import type { TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { ZERO_HASH } from "../../offchain/protocol/bytes.ts";
import {
  challenge,
  changed,
  claimedModel,
  disputable,
  movesOf,
  openExamined,
  openPrediction,
  type Move,
} from "./dispute-game.ts";
import { afterSilence, attack, deadlineOf, ending, stageOf } from "./kit/attack.ts";
import { FALSE_LOGITS, FIRST, honest, LOGITS, lying, place, SAMPLE, send, TRUE } from "./kit/small-network.ts";
import { challengeSeal, refuted } from "./kit/seals.ts";
import { openOnTrial, showArchitecture } from "./kit/trials.ts";
import {
  ANSWER_PERIOD,
  at,
  CHALLENGE_BOND,
  goTo,
  modelOf,
  PHASE_LENGTHS,
  STAKES,
  UNBONDING,
  worldOfArithmetic,
  type Signer,
  type World,
} from "./support.ts";

type Setting = typeof honest;

const [STAKE] = STAKES;
/** What victor shows of the sample where it sealed the lie, or the truth. */
const shownOf = (setting: Setting) => (setting === lying ? FALSE_LOGITS : TRUE);

/** Victor's game, as far as its moves are taken: the first one that is not names why, and then its clock runs out. */
async function play(
  w: World,
  id: bigint,
  setting: Setting,
  { insists, by = w.stranger }: { insists?: TracedPlace; by?: Signer } = {},
): Promise<string> {
  for (const move of movesOf(id, setting, SAMPLE, { claimant: shownOf(setting), own: TRUE, insists })) {
    const how = await ending(w, send(w, move, by, w.victor));
    if (how !== "done") return `${how}, then ${await afterSilence(w, id)}`;
  }
  return stageOf(w, id);
}

const left = async (w: World): Promise<string> => `${await w.stake.stakeOf(w.victor)} left`;

describe("A validator that sealed a lie", () => {
  attack(
    "and lies in its own game",
    { without: "slashing", withstood: "Refuted, 0 left", succeeds: `Refuted, ${STAKE} left` },
    async (w) => {
      const taskId = await refuted(w, lying);
      return `${await play(w, await challengeSeal(w, taskId, w.stranger, lying.labels), lying)}, ${await left(w)}`;
    },
  );

  attack(
    "and is silent in its own game",
    { without: "slashing", withstood: "Refuted, 0 left", succeeds: `Refuted, ${STAKE} left` },
    async (w) => {
      const taskId = await refuted(w, lying);
      const id = await challengeSeal(w, taskId, w.stranger, lying.labels);
      return `${await afterSilence(w, id)}, ${await left(w)}`;
    },
  );

  attack(
    "about its own candidate",
    {
      without: "a seal's own defence",
      withstood: "done, Refuted, 0 left",
      succeeds: `WrongStage, Trace, ${STAKE} left`,
    },
    async (w) => {
      // Ada is the claimant, and stakes as well.
      await w.token.connect(w.ada).approve(w.stake, STAKE);
      await w.stake.connect(w.ada).stake(STAKE);
      const taskId = await disputable(w, lying, lying.labels, { sealers: [w.ada] });
      await afterSilence(w, await challenge(w, taskId, w.ben, SAMPLE, lying.labels));
      const opened = openPrediction(SAMPLE, lying.labels);
      await w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.ada, w.ada, ...opened);
      let how = "";
      for (const move of movesOf(2n, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })) {
        if ((how = await ending(w, send(w, move, w.stranger, w.ada))) !== "done") break;
      }
      await ending(w, w.arithmetic.advance(2));
      return `${how}, ${await stageOf(w, 2n)}, ${await w.stake.stakeOf(w.ada)} left`;
    },
  );

  attack(
    "whose friends hold its eight places until its seal can be challenged no more",
    {
      without: "queued challenges of a seal",
      withstood: "done, Refuted, 0 left",
      succeeds: `SealNotChallengeable, ${STAKE} left`,
    },
    async (w) => {
      const taskId = await refuted(w, lying);
      for (let i = 0; i < 8; i++) await challengeSeal(w, taskId, w.ben, lying.labels);
      const how = await ending(w, challengeSeal(w, taskId, w.stranger, lying.labels));
      if (how !== "done") return `${how}, ${await left(w)}`;
      const id = await w.arithmetic.challengeCount();
      // The friends' challenges are answered, and lost by silence, when the time is over.
      for (let friend = 2n; friend < id; friend++) {
        const [answer] = movesOf(friend, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE });
        await send(w, answer!, w.ben, w.victor);
      }
      await goTo(await w.arithmetic.sealsChallengeableUntil(taskId, w.ada));
      for (let friend = 2n; friend < id; friend++) await afterSilence(w, friend);
      await w.arithmetic.advance(id);
      return `${how}, ${await play(w, id, lying)}, ${await left(w)}`;
    },
  );

  attack(
    "whose friend loses a challenge on purpose, so that its prediction counts as examined",
    { without: "repeated challenges", withstood: "done, Refuted, 0 left", succeeds: `NoSuchSample, ${STAKE} left` },
    async (w) => {
      const taskId = await refuted(w, lying);
      const theirs = await challengeSeal(w, taskId, w.ben, lying.labels);
      const [answer] = movesOf(theirs, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE });
      await send(w, answer!, w.ben, w.victor);
      await afterSilence(w, theirs);
      const how = await ending(w, challengeSeal(w, taskId, w.stranger, lying.labels));
      if (how !== "done") return `${how}, ${await left(w)}`;
      return `${how}, ${await play(w, theirs + 1n, lying)}, ${await left(w)}`;
    },
  );

  attack(
    "whose friend wins a challenge on purpose, to bring the stake back and to make the honest one moot",
    { without: "burned stake", withstood: `Moot, loses ${STAKE / 2n}`, succeeds: "Moot, loses 0" },
    async (w) => {
      const taskId = await refuted(w, lying);
      const mine = await challengeSeal(w, taskId, w.stranger, lying.labels);
      const theirs = await challengeSeal(w, taskId, w.ben, lying.labels);
      await play(w, theirs, lying, { by: w.ben });
      await w.arithmetic.advance(mine);
      expect(await w.arithmetic.creditOf(w.stranger)).to.equal(CHALLENGE_BOND);
      return `${await stageOf(w, mine)}, loses ${STAKE - (await w.stake.creditOf(w.ben))}`;
    },
  );

  attack(
    "about a malformed model that a friend refutes otherwise, before it is shown to be malformed",
    {
      without: "malformed models that were refuted otherwise",
      withstood: "done, done, 0 left",
      succeeds: `NotChallengeable, NotSlashable, ${STAKE} left`,
    },
    async (w) => {
      const shown = await openOnTrial(w, { units: honest.openable.opening.units + 1, sealers: [w.victor] });
      await afterSilence(w, await challenge(w, shown.taskId, w.ben, SAMPLE, honest.labels));
      const how = await ending(w, showArchitecture(w, shown, w.stranger));
      const slashed = await ending(w, w.arithmetic.slashValidator(shown.taskId, w.ada, w.victor));
      return `${how}, ${slashed}, ${await left(w)}`;
    },
  );

  /** The same lie about the sample, told from the first tensor on, so that a game has all its eight moves. */
  const LONG = changed(FALSE_LOGITS, place(FIRST), 1);
  /** All moves of a game but the last one, each at its last second. */
  async function delay(w: World, id: bigint, challenger: Signer, defender: Signer): Promise<Move> {
    const moves = movesOf(id, lying, SAMPLE, { claimant: LONG, own: TRUE });
    for (const move of moves.slice(0, -1)) {
      await at((await deadlineOf(w, id)) - 1n);
      await send(w, move, challenger, defender);
    }
    await goTo((await deadlineOf(w, id)) - 4n);
    return moves.at(-1)!;
  }
  /** The longest windows with which seal, open, so many windows and so many answer periods fit the unbonding period. */
  const longest = (windows: number, periods: number) => {
    const { seal, open } = PHASE_LENGTHS;
    return { ...PHASE_LENGTHS, longWindow: (UNBONDING - seal - open - periods * ANSWER_PERIOD) / windows };
  };
  /** Challenges the examined candidate in the last seconds of its window, and refutes it as late as it goes. */
  async function refuteLate(w: World, taskId: bigint, claimant: Signer): Promise<void> {
    await goTo((await w.registry.examinationOf(taskId)).windowEnd - 2n);
    const id = await challenge(w, taskId, w.ben, SAMPLE, lying.labels);
    await send(w, await delay(w, id, w.ben, claimant), w.ben);
  }
  /** The same behind friends, eight by eight, whose challenges are answered, and lost, as late as it goes. */
  async function drawOut(w: World, taskId: bigint, claimant: Signer): Promise<void> {
    await w.stake.connect(w.stranger).holdSeal(taskId, claimant, w.victor);
    await goTo((await w.registry.examinationOf(taskId)).windowEnd - 60n);
    const friends: bigint[] = [];
    for (let i = 0; i < 24; i++) friends.push(await challenge(w, taskId, w.ben, SAMPLE, lying.labels));
    const id = await challenge(w, taskId, w.stranger, SAMPLE, lying.labels);
    for (const first of [0, 8, 16]) {
      const eight = friends.slice(first, first + 8);
      if (first > 0) for (const friend of eight) await w.arithmetic.advance(friend);
      await goTo((await deadlineOf(w, eight[0]!)) - 20n);
      for (const friend of eight) {
        await send(w, movesOf(friend, lying, SAMPLE, { claimant: LONG, own: TRUE })[0]!, w.ben, claimant);
      }
      for (const friend of eight) await afterSilence(w, friend);
    }
    await w.arithmetic.advance(id);
    await send(w, await delay(w, id, w.stranger, claimant), w.stranger);
  }
  /**
   * Victor seals cleo's lie as soon as ada's is opened, and unbonds. Both take the time that there is, until hardly any is
   * left in which victor's seal can be challenged.
   */
  async function unbonding(w: World, phases: typeof PHASE_LENGTHS, refute = refuteLate): Promise<bigint> {
    const taskId = await disputable(w, lying, lying.labels, { alike: [w.cleo], params: { phases } });
    await w.seal(taskId, w.victor, w.cleo.address, claimedModel(lying, lying.labels));
    await w.stake.connect(w.victor).beginUnbonding(STAKE);
    await refuteLate(w, taskId, w.ada);
    await goTo((await w.registry.examinationOf(taskId)).openDeadline - 2n);
    await openExamined(w, taskId, lying, lying.labels);
    await refute(w, taskId, w.cleo);
    await goTo((await w.arithmetic.sealsChallengeableUntil(taskId, w.cleo)) - 4n);
    return taskId;
  }
  const challengeIt = (w: World, taskId: bigint) =>
    w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.cleo, w.victor, ...openPrediction(SAMPLE, lying.labels));
  const lost = async (w: World): Promise<string> => {
    const { amount } = await w.stake.unbondingOf(w.victor);
    return `loses ${STAKE - amount - (await w.stake.creditOf(w.victor))}`;
  };
  const leave = (w: World): Promise<string> => ending(w, w.stake.connect(w.victor).finishUnbonding());

  attack(
    "and unbonds at once, to take its stake out of a game that is delayed as far as it goes",
    { without: "held stake", withstood: `StakeHeld, Refuted, loses ${STAKE}`, succeeds: "done, Refuted, loses 0" },
    async (w) => {
      const taskId = await unbonding(w, longest(2, 18));
      await challengeIt(w, taskId);
      const id = await w.arithmetic.challengeCount();
      const last = await delay(w, id, w.stranger, w.victor);
      const how = await leave(w);
      await send(w, last, w.stranger, w.victor);
      return `${how}, ${await stageOf(w, id)}, ${await lost(w)}`;
    },
  );

  for (const [without, phases, how] of [
    ["stake outlasts disputes", longest(2, 0), "two games that are delayed"],
    ["stake outlasts the candidate before", longest(1, 18), "two windows"],
  ] as const) {
    attack(
      `and unbonds at once, to be gone after ${how} before its seal can be challenged`,
      { without, withstood: "InvalidParameter, StillUnbonding, done", succeeds: "done, done, NothingToHold" },
      async (w, off) => {
        const published = await ending(w, w.publish({ phases }));
        const taskId = await unbonding(w, off ? phases : longest(2, 18));
        const gone = await leave(w);
        return `${published}, ${gone}, ${await ending(w, challengeIt(w, taskId))}`;
      },
    );
  }

  attack(
    "and unbonds at once, to be gone before its seal can be challenged, since friends draw the dispute out",
    { without: "held seals", withstood: "StakeHeld, done", succeeds: "done, NothingToHold" },
    async (w) => {
      const taskId = await unbonding(w, longest(2, 18), drawOut);
      const gone = await leave(w);
      return `${gone}, ${await ending(w, challengeIt(w, taskId))}`;
    },
  );

  attack(
    "after it had begun to unbond, so that its stake may be gone before its game",
    { without: "stake at the seal", withstood: "weighs 1", succeeds: `weighs ${STAKE}` },
    async (w) => {
      const model = modelOf("good", 36);
      const taskId = await w.toSeal([[w.ada, model]]);
      await w.stake.connect(w.victor).beginUnbonding(STAKE - 1n);
      await w.seal(taskId, w.victor, w.ada.address, model);
      return `weighs ${(await w.registry.sealOf(taskId, w.ada, w.victor)).stake}`;
    },
  );

  it("loses its stake once, and every challenge that it loses after that is decided all the same", async () => {
    const w = await worldOfArithmetic();
    const first = await refuted(w, lying);
    const one = await challengeSeal(w, first, w.stranger, lying.labels);
    const other = await refuted(w, lying);
    const two = await challengeSeal(w, other, w.cleo, lying.labels);
    expect(await play(w, two, lying, { by: w.cleo })).to.equal("Refuted");
    expect(await afterSilence(w, one)).to.equal("Refuted");
    expect(await w.stake.creditOf(w.cleo)).to.equal(STAKE / 2n);
    expect(await w.stake.creditOf(w.stranger)).to.equal(0n);
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(CHALLENGE_BOND);
    expect(await w.stake.holdsOf(w.victor)).to.equal(0n);
    // What it stakes anew is not lost for the old seals.
    await w.stake.connect(w.victor).stake(STAKE);
    for (const taskId of [first, other]) {
      expect(await ending(w, challengeSeal(w, taskId, w.stranger, lying.labels))).to.equal("SealNotChallengeable");
    }
  });
});

describe("A challenger of a validator that sealed the truth", () => {
  const RUIN = "done, Refuted, 0 left";

  attack(
    "whose friend is the claimant, and has lost on purpose",
    {
      without: "shown malformations",
      withstood: `NotSlashable, Upheld, ${STAKE} left`,
      succeeds: "done, SealNotChallengeable, 0 left",
    },
    async (w) => {
      const taskId = await refuted(w, honest);
      const slashed = await ending(w, w.arithmetic.slashValidator(taskId, w.ada, w.victor));
      const how = await ending(w, challengeSeal(w, taskId, w.stranger, honest.labels));
      if (how !== "done") return `${slashed}, ${how}, ${await left(w)}`;
      const played = await play(w, await w.arithmetic.challengeCount(), honest, { insists: place(LOGITS) });
      return `${slashed}, ${played}, ${await left(w)}`;
    },
  );

  attack(
    "that says nothing after its challenge",
    { without: "side to move", withstood: `Upheld, ${STAKE} left`, succeeds: "Refuted, 0 left" },
    async (w) => {
      const id = await challengeSeal(w, await refuted(w, honest), w.stranger, honest.labels);
      await send(w, movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) })[0]!, w.stranger, w.victor);
      return `${await afterSilence(w, id)}, ${await left(w)}`;
    },
  );

  attack(
    "that comes before anybody has refuted the candidate",
    { without: "seals of refuted candidates", withstood: "SealNotChallengeable", succeeds: "done" },
    async (w) => {
      const taskId = await disputable(w, honest, honest.labels, { sealers: [w.victor] });
      return ending(w, challengeSeal(w, taskId, w.stranger, honest.labels));
    },
  );

  attack(
    "that comes when the validator does not watch any more",
    { without: "seals of refuted candidates", withstood: "SealNotChallengeable", succeeds: "done" },
    async (w) => {
      const taskId = await refuted(w, honest);
      await at(await w.arithmetic.sealsChallengeableUntil(taskId, w.ada));
      return ending(w, challengeSeal(w, taskId, w.stranger, honest.labels));
    },
  );

  attack(
    "that opens the claimant's false result as the validator's",
    { without: "sealed result", withstood: `HashMismatch, ${STAKE} left`, succeeds: RUIN },
    async (w) => {
      const taskId = await refuted(w, lying, honest.labels);
      const how = await ending(w, challengeSeal(w, taskId, w.stranger, lying.labels));
      if (how !== "done") return `${how}, ${await left(w)}`;
      // The validator can only tell the truth, which shows another class.
      const id = await w.arithmetic.challengeCount();
      return `${how}, ${await afterSilence(w, id)}, ${await left(w)}`;
    },
  );

  attack(
    "that answers for it, with the claimant's lie",
    { without: "own trace", withstood: `NotYourMove, ${STAKE} left`, succeeds: RUIN },
    async (w) => {
      const taskId = await refuted(w, honest);
      const id = await challengeSeal(w, taskId, w.stranger, honest.labels);
      const claimant = { ...TRUE, logits: TRUE.logits.map((logit) => logit - 1) };
      let how = "";
      for (const move of movesOf(id, honest, SAMPLE, { claimant })) {
        // Neither a stranger nor the claimant speaks for the validator.
        how = await ending(w, send(w, move, w.stranger, w.ada));
        if (how !== "done") return `${how}, ${await left(w)}`;
      }
      return `${how}, ${await stageOf(w, id)}, ${await left(w)}`;
    },
  );

  attack(
    "that proves against what the claimant showed in its own dispute",
    { without: "shown trace", withstood: `HashMismatch, then Upheld, ${STAKE} left`, succeeds: "Refuted, 0 left" },
    async (w) => {
      const taskId = await refuted(w, honest);
      const id = await challengeSeal(w, taskId, w.stranger, honest.labels);
      const claimant = { ...TRUE, logits: TRUE.logits.map((logit) => logit - 1) };
      const told = movesOf(id, honest, SAMPLE, { claimant });
      const [answer, pick] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) });
      for (const move of [answer!, pick!]) await send(w, move, w.stranger, w.victor);
      const how = await ending(w, send(w, told.at(-1)!, w.stranger, w.victor));
      return `${how === "done" ? "" : `${how}, then `}${await afterSilence(w, id)}, ${await left(w)}`;
    },
  );

  attack(
    "that floods it with more challenges than it can answer in one period",
    { without: "running challenges", withstood: "8 clocks", succeeds: "11 clocks" },
    async (w) => {
      const taskId = await refuted(w, honest);
      let running = 0;
      for (let i = 0; i < 11; i++) {
        const id = await challengeSeal(w, taskId, w.stranger, honest.labels);
        if ((await stageOf(w, id)) === "Trace") running++;
      }
      return `${running} clocks`;
    },
  );

  attack(
    "that floods it with challenges",
    { without: "challenge bond", withstood: `pays ${11n * CHALLENGE_BOND}`, succeeds: "pays 0" },
    async (w) => {
      const taskId = await refuted(w, honest);
      const before = await w.token.balanceOf(w.stranger);
      for (let i = 0; i < 11; i++) await challengeSeal(w, taskId, w.stranger, honest.labels);
      return `pays ${before - (await w.token.balanceOf(w.stranger))}`;
    },
  );

  attack(
    "whose lost bond comes back by its friend, the claimant",
    {
      without: "a validator's winnings",
      withstood: `the claimant has 0, the validator ${CHALLENGE_BOND / 2n}`,
      succeeds: `the claimant has ${CHALLENGE_BOND / 2n}, the validator 0`,
    },
    async (w) => {
      const id = await challengeSeal(w, await refuted(w, honest), w.stranger, honest.labels);
      await play(w, id, honest, { insists: place(LOGITS) });
      const [claimant, validator] = [await w.arithmetic.creditOf(w.ada), await w.arithmetic.creditOf(w.victor)];
      return `the claimant has ${claimant}, the validator ${validator}`;
    },
  );

  attack(
    "that names a sample that the test set does not have",
    { without: "samples of the test set", withstood: "NoSuchSample", succeeds: "done" },
    async (w) => {
      const beyond = Uint8Array.from([...honest.labels, 0]);
      const taskId = await refuted(w, honest, beyond);
      return ending(w, challengeSeal(w, taskId, w.stranger, beyond, honest.labels.length));
    },
  );

  attack(
    "that holds up those behind the refuted candidate",
    { without: "seals apart from tasks", withstood: "done, Tensor", succeeds: "WrongPhase, Tensor" },
    async (w) => {
      const phases = { ...PHASE_LENGTHS, seal: 10, shortWindow: ANSWER_PERIOD, longWindow: ANSWER_PERIOD };
      const taskId = await refuted(w, honest, honest.labels, { params: { phases }, alike: [w.ben] });
      const id = await challengeSeal(w, taskId, w.stranger, honest.labels);
      await openExamined(w, taskId, honest);
      await goTo((await deadlineOf(w, id)) - 2n);
      const [answer] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) });
      await send(w, answer!, w.stranger, w.victor);
      await goTo((await w.schedule(taskId)).windowEnd);
      const how = await ending(w, w.registry.confirm(taskId));
      return `${how}, ${await stageOf(w, id)}`;
    },
  );

  it("pays half a bond to it for each answered challenge, and holds its stake no longer than it plays", async () => {
    const w = await worldOfArithmetic();
    const taskId = await refuted(w, honest);
    const ids: bigint[] = [];
    for (let i = 0; i < 3; i++) ids.push(await challengeSeal(w, taskId, w.stranger, honest.labels));
    await w.stake.connect(w.victor).beginUnbonding(STAKE);
    expect(await w.stake.holdsOf(w.victor)).to.equal(3n);
    for (const id of ids) {
      const [answer] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) });
      await send(w, answer!, w.stranger, w.victor);
    }
    for (const id of ids) expect(await afterSilence(w, id)).to.equal("Upheld");
    expect(await w.arithmetic.creditOf(w.victor)).to.equal((3n * CHALLENGE_BOND) / 2n);
    expect(await w.arithmetic.burned()).to.equal((3n * CHALLENGE_BOND) / 2n);
    await goTo((await w.stake.unbondingOf(w.victor)).readyAt);
    expect(await ending(w, w.stake.connect(w.victor).finishUnbonding())).to.equal("done");
  });

  it("cannot open a result that was sealed in another task, or of another candidate, or the zero result", async () => {
    const w = await worldOfArithmetic();
    const other = honest.labels.with(0, (honest.labels[0]! + 1) % 3);
    await refuted(w, honest, other);
    const taskId = await refuted(w, honest);
    expect(await ending(w, challengeSeal(w, taskId, w.stranger, other))).to.equal("HashMismatch");
    const args = [taskId, w.ben, w.victor, ...openPrediction(SAMPLE, honest.labels)] as const;
    expect(await ending(w, w.arithmetic.connect(w.stranger).challengeSeal(...args))).to.equal("SealNotChallengeable");
    const shown = await openOnTrial(w, { sealers: [w.victor], sealed: ZERO_HASH });
    await afterSilence(w, await challenge(w, shown.taskId, w.ben, SAMPLE, honest.labels));
    expect(await ending(w, challengeSeal(w, shown.taskId, w.stranger, honest.labels))).to.equal("HashMismatch");
  });
});
