/**
 * Attacks on a round where there are disputes, by candidates, validators, publishers, senders of other people's messages,
 * and tokens. Each is played with all defences and without one: see dispute-attacks.ts for those on a dispute itself.
 */
import { hexlify, ZeroAddress } from "ethers";

import { blocks, commitmentHash, validatorSeal, type Address, type Hex } from "../../offchain/protocol/bytes.ts";
import type { QuirkyAsset } from "../../types/ethers-contracts/index.ts";
import { attack, ending, stageOf } from "./kit/attack.ts";
import {
  ANSWER_PERIOD,
  at,
  CANDIDATE_BOND,
  COMMIT_FEE,
  deployWorld,
  digest,
  ethers,
  goTo,
  loadFixture,
  modelOf,
  networkHelpers,
  now,
  PHASE_LENGTHS,
  PUBLISHER_BOND,
  REWARD,
  settleAll,
  VALIDATOR_FEE,
  type Model,
  type Signer,
  type World,
} from "./support.ts";

const best = modelOf("best", 38);
const good = modelOf("good", 36);

const quirkyArithmeticWorld = () => deployWorld({ disputes: "arithmetic", asset: "QuirkyAsset" });
const worldOfQuirksAndArithmetic = (): Promise<World> => loadFixture(quirkyArithmeticWorld);

/** Challenges sample 0 of a model's predictions. */
const challengeOf = (w: World, taskId: bigint, challenger: Signer, { predictions }: Model) =>
  w.arithmetic
    .connect(challenger)
    .challenge(taskId, 0, predictions.length, blocks(predictions), hexlify(predictions.subarray(0, 512)));

/** What becomes of a participant when all windows are over and anybody tries to confirm or to go on. */
async function fate(w: World, taskId: bigint, participant: Signer): Promise<string> {
  const { windowEnd } = await w.registry.examinationOf(taskId);
  if (windowEnd > 0n && (await now()) < Number(windowEnd)) await goTo(windowEnd);
  if ((await w.phase(taskId)) === "Confirmable") await w.registry.confirm(taskId);
  if ((await w.phase(taskId)) === "Advanceable") await w.advance(taskId);
  return w.stateOf(taskId, participant);
}

describe("A candidate", () => {
  attack(
    "that claims one correct prediction more than it has",
    { without: "count", withstood: "Eliminated", succeeds: "Winner" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good, good.correct + 1]]);
      await goTo((await w.schedule(taskId)).sealDeadline);
      await w.open(taskId, good);
      return fate(w, taskId, w.ada);
    },
  );

  attack(
    "that withholds its predictions",
    { without: "opening", withstood: "done, Eliminated", succeeds: "WrongPhase, Candidate" },
    async (w) => {
      const taskId = await w.toSeal([
        [w.ada, best],
        [w.ben, good],
      ]);
      await at((await w.schedule(taskId)).openDeadline);
      return `${await ending(w, w.advance(taskId))}, ${await w.stateOf(taskId, w.ada)}`;
    },
  );

  attack(
    "that floods a task with claims it cannot hold",
    {
      without: "candidates' bonds",
      withstood: `loses ${3n * (CANDIDATE_BOND + COMMIT_FEE)}`,
      succeeds: `loses ${3n * COMMIT_FEE}`,
    },
    async (w) => {
      const flood = [w.ben, w.cleo, w.stranger];
      const balances = () => Promise.all(flood.map((who) => w.token.balanceOf(who)));
      const before = await balances();
      const entries = flood.map((who, i) => [who, modelOf(`flood ${i}`, 10), 40] as const);
      const taskId = await w.toSeal([...entries, [w.ada, good]]);
      for (const [, model] of entries) {
        await goTo((await w.schedule(taskId)).sealDeadline);
        await w.open(taskId, model);
      }
      await goTo((await w.schedule(taskId)).sealDeadline);
      await w.open(taskId, good);
      if ((await fate(w, taskId, w.ada)) !== "Winner") throw new Error("the honest candidate has not won");
      await settleAll(w, taskId, flood);
      for (const who of flood) await w.registry.connect(who).withdraw();
      const after = await balances();
      return `loses ${before.reduce((sum, balance, i) => sum + balance - after[i]!, 0n)}`;
    },
  );

  attack(
    "that is refuted, to cost those behind it the time in which they are sealed",
    {
      without: "sealing ahead",
      withstood: `${PHASE_LENGTHS.seal - ANSWER_PERIOD - 1} seconds`,
      succeeds: `${PHASE_LENGTHS.seal} seconds`,
    },
    async (w) => {
      const taskId = await w.toSeal([
        [w.ada, best],
        [w.ben, good],
      ]);
      await goTo((await w.schedule(taskId)).sealDeadline);
      await w.open(taskId, best);
      await at(BigInt((await now()) + 1));
      await challengeOf(w, taskId, w.stranger, best);
      await at((await w.arithmetic.challengeOf(1)).deadline);
      await w.arithmetic.timeOut(1);
      return `${Number((await w.schedule(taskId)).sealDeadline) - (await now())} seconds`;
    },
  );
});

describe("A validator", () => {
  attack(
    "that copies another's seal",
    { without: "bound seal", withstood: "NothingAttested", succeeds: "done" },
    async (w, off) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      // Without the defence every seal is that of nobody, so the honest one is too.
      const by = (off ? ZeroAddress : w.victor.address) as Address;
      const value = validatorSeal(w.domain, taskId, w.commitmentOf(taskId, w.ada.address, good), by, good.result);
      await w.registry.connect(w.victor).seal(taskId, w.ada, value);
      await w.registry.connect(w.vlad).seal(taskId, w.ada, value);
      await w.openExamined(taskId, good, []);
      return ending(w, w.registry.attest(taskId, [w.vlad]));
    },
  );

  attack(
    "that evaluates nothing and seals what the claimant opens",
    { without: "seal deadline", withstood: "NotExamined, NothingAttested", succeeds: "done, done" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      await w.openExamined(taskId, good, []);
      const sealed = await ending(w, w.seal(taskId, w.vlad, w.ada.address, good));
      return `${sealed}, ${await ending(w, w.registry.attest(taskId, [w.vlad]))}`;
    },
  );

  attack(
    "that evaluates nothing and seals what the claimant has sealed",
    { without: "kinds of seals", withstood: "done, NothingAttested", succeeds: "done, done" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      const { claimSeal } = await w.registry.commitmentOf(taskId, w.ada);
      const sealed = await ending(w, w.registry.connect(w.vlad).seal(taskId, w.ada, claimSeal));
      await w.openExamined(taskId, good, []);
      return `${sealed}, ${await ending(w, w.registry.attest(taskId, [w.vlad]))}`;
    },
  );

  attack(
    "that wants to seal in time, where the claimant opens before the last block for seals",
    { without: "open after seals", withstood: "WrongPhase, then done", succeeds: "done, then NotExamined" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      const { sealDeadline } = await w.schedule(taskId);
      await at(sealDeadline - 2n);
      const opened = await ending(w, w.open(taskId, good));
      await at(sealDeadline - 1n);
      return `${opened}, then ${await ending(w, w.seal(taskId, w.victor, w.ada.address, good))}`;
    },
  );
});

describe("A quorum of validators", () => {
  attack(
    "that seals one false result of an honest candidate",
    { without: "no votes", withstood: "OnlyWithoutDisputes, Winner", succeeds: "done, Eliminated" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      const lie = digest("lie");
      for (const validator of w.validators) await w.seal(taskId, validator, w.ada.address, good, lie);
      await w.openExamined(taskId, good, []);
      const how = await ending(w, w.contradict(taskId, lie, w.validators));
      return `${how}, ${await fate(w, taskId, w.ada)}`;
    },
  );

  attack(
    "that passes over an honest candidate by sealing nothing",
    { without: "arithmetic over attendance", withstood: "Winner", succeeds: "Unattested" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      await w.openExamined(taskId, good, []);
      return fate(w, taskId, w.ada);
    },
  );

  attack(
    "that voids the test set when it has seen who would win",
    { without: "vote's end", withstood: "WrongPhase, WrongPhase, Reveal", succeeds: "done, done, Void" },
    async (w) => {
      const taskId = await w.toReveal([[w.ada, good]]);
      await w.reveal(taskId, w.ada, good);
      const votes: string[] = [];
      for (const validator of [w.victor, w.vera]) {
        votes.push(await ending(w, w.registry.connect(validator).voteTestSet(taskId)));
      }
      return `${votes.join(", ")}, ${await w.phase(taskId)}`;
    },
  );
});

describe("A publisher", () => {
  /** What the publisher has less than before its task, when all is settled. */
  const lossOf = async (w: World, taskId: bigint): Promise<string> => {
    await settleAll(w, taskId, [w.ada]);
    return `loses ${REWARD + PUBLISHER_BOND + VALIDATOR_FEE - (await w.registry.creditOf(w.publisher))}`;
  };

  attack(
    "that withholds the key when others have worked",
    { without: "publisher's bond", withstood: `loses ${PUBLISHER_BOND}`, succeeds: "loses 0" },
    async (w) => {
      const taskId = await w.toAwaitKey([[w.ada, good]]);
      await goTo((await w.schedule(taskId)).keyDeadline);
      await w.advance(taskId);
      // Without the defence what the committer is to have is not there.
      if ((await w.registry.creditOf(w.publisher)) === REWARD + PUBLISHER_BOND + VALIDATOR_FEE) return "loses 0";
      return lossOf(w, taskId);
    },
  );

  attack(
    "whose test set is not the one it committed to",
    { without: "test vote", withstood: "Void, " + `loses ${PUBLISHER_BOND}`, succeeds: "TestVote" },
    async (w) => {
      const taskId = await w.toTestVote([[w.ada, good]]);
      for (const validator of [w.victor, w.vera]) await w.registry.connect(validator).voteTestSet(taskId);
      const phase = await w.phase(taskId);
      return phase === "Void" ? `${phase}, ${await lossOf(w, taskId)}` : phase;
    },
  );
});

describe("A publisher and a quorum", () => {
  attack(
    "that end the window before a challenger's message can be mined",
    {
      without: "short window",
      withstood: "InvalidParameter, done, Eliminated",
      succeeds: "done, NotChallengeable, Winner",
    },
    async (w, off) => {
      const short = { phases: { ...PHASE_LENGTHS, shortWindow: 1 } };
      const published = await ending(w, w.publish(short));
      // Of a model that is not there its claimant shows nothing: whoever challenges it wins.
      const taskId = await w.toSeal(
        [[w.ada, good]],
        off ? short : { phases: { ...PHASE_LENGTHS, shortWindow: ANSWER_PERIOD } },
      );
      await w.openExamined(taskId, good, w.validators);
      const opened = await now();
      await w.registry.attest(taskId, [...w.validators]);
      await networkHelpers.mine();
      if ((await w.phase(taskId)) === "Confirmable") await w.registry.confirm(taskId);
      await at(opened + ANSWER_PERIOD - 1);
      const challenged = await ending(w, challengeOf(w, taskId, w.stranger, good));
      if (challenged === "done") {
        await at((await w.arithmetic.challengeOf(1)).deadline);
        await w.arithmetic.timeOut(1);
      }
      return `${published}, ${challenged}, ${await w.stateOf(taskId, w.ada)}`;
    },
  );
});

describe("A sender of other people's messages", () => {
  attack(
    "that copies a commitment, and then what opens it",
    { without: "bound commitment", withstood: "done, WrongOpening", succeeds: "done, done" },
    async (w, off) => {
      const taskId = await w.toTraining();
      const by = (off ? ZeroAddress : w.ada.address) as Address;
      const commitment = commitmentHash(w.domain, taskId, by, {
        ...good.opening,
        modelCid: ethers.getBytes(good.opening.modelCid),
      });
      const copied = await ending(w, w.registry.connect(w.ben).commit(taskId, commitment));
      await w.registry.connect(w.ada).commit(taskId, commitment);
      await goTo((await w.schedule(taskId)).trainingEnd);
      await w.release(taskId);
      await goTo((await w.schedule(taskId)).revealStart);
      return `${copied}, ${await ending(w, w.reveal(taskId, w.ben, good))}`;
    },
  );

  attack(
    "that refutes without a dispute",
    { without: "disputes alone refute", withstood: "OnlyDisputes, Candidate", succeeds: "done, Eliminated" },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      await w.openExamined(taskId, good, []);
      const how = await ending(w, w.registry.connect(w.stranger).refute(taskId, w.ada, w.stranger));
      return `${how}, ${await w.stateOf(taskId, w.ada)}`;
    },
  );
});

describe("A token", () => {
  attack(
    "that keeps a part of a challenge's bond",
    {
      without: "exact transfers",
      withstood: "InexactTransfer",
      succeeds: "done",
      in: worldOfQuirksAndArithmetic,
    },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      await w.openExamined(taskId, good, []);
      await (w.token as QuirkyAsset).setFee(100);
      return ending(w, challengeOf(w, taskId, w.stranger, good));
    },
  );

  attack(
    "that refuses to pay a challenger",
    {
      without: "pull payments",
      withstood: "done, Refuted",
      succeeds: "Blocked, Trace",
      in: worldOfQuirksAndArithmetic,
    },
    async (w) => {
      const taskId = await w.toSeal([[w.ada, good]]);
      await w.openExamined(taskId, good, []);
      await challengeOf(w, taskId, w.stranger, good);
      await (w.token as QuirkyAsset).setBlocked(w.stranger, true);
      await at((await w.arithmetic.challengeOf(1)).deadline);
      return `${await ending(w, w.arithmetic.connect(w.max).timeOut(1))}, ${await stageOf(w, 1n)}`;
    },
  );

  attack(
    "that calls back while a bond is on its way",
    {
      without: "reentrancy",
      withstood: "ReentrancyGuardReentrantCall",
      succeeds: "got in",
      in: worldOfQuirksAndArithmetic,
    },
    async (w) => {
      const asset = w.token as QuirkyAsset;
      const taskId = await w.toSeal([[w.ada, good]]);
      await w.openExamined(taskId, good, []);
      await asset.setReentry(w.arithmetic, w.arithmetic.interface.encodeFunctionData("withdraw"));
      await challengeOf(w, taskId, w.stranger, good);
      const error = (await asset.reentryError()) as Hex;
      return error === "0x" ? "got in" : w.arithmetic.interface.parseError(error)!.name;
    },
  );
});
