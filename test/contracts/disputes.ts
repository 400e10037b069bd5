import { expect } from "chai";

import { openSample, type Computation } from "../../offchain/evaluation/dispute-openings.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { someCases, UNANSWERABLE, type Cases } from "../evaluation/lies.ts";
import { challenge, disputable, imagine, movesOf, play, type Move } from "./dispute-game.ts";
import { ANSWER_PERIOD, CHALLENGE_BOND, goTo, now, worldOfArithmetic } from "./support.ts";
import { CHALLENGE_STAGES } from "../../offchain/protocol/abi.ts";

/** Games that are played in all: 10,000 once by hand, a sample otherwise. */
const GAMES = Number(process.env.PONAS_DISPUTES ?? 120);
/** The first seed, so that a long run can be cut into pieces. */
const SEED = Number(process.env.PONAS_DISPUTES_SEED ?? 0);
/** Networks whose games are played by transactions. */
const PLAYED = 2;
const REFUSALS = ["WrongLength", "HashMismatch", "WrongClass"];

/** What a cheating challenger puts in the place of the truth in its last computation; null where it would change nothing. */
const TAMPERINGS: Record<string, (c: Computation, random: Random, cases: Cases, sample: number) => Computation | null> =
  {
    "another unit's bias": (c) =>
      c.unit.rows.length === 0 ? null : { ...c, unit: { ...c.unit, bias: c.unit.bias ^ 1 } },
    "another weight": (c, random) =>
      c.unit.weights === "0x" ? null : { ...c, unit: { ...c.unit, weights: flipped(random, c.unit.weights) } },
    "another unit": (c) => (c.unit.rows.length === 0 ? null : { ...c, unit: { ...c.unit, siblings: c.unit.siblings.slice(1) } }), // prettier-ignore
    "another input": (c, random) =>
      c.input.values === "0x" ? null : { ...c, input: { ...c.input, values: flipped(random, c.input.values) } },
    "another sample's pixels": (c, _random, { setting: { pixels, labels } }, sample) => {
      const other = openSample(pixels, labels, (sample + 1) % labels.length);
      return c.sample.pixels === "0x" ? null : { ...c, sample: other };
    },
    "another claimed value": (c, random) => (c.claimed === "0x" ? null : { ...c, claimed: flipped(random, c.claimed) }),
    "other logits": (c) => ({ ...c, trace: { ...c.trace, logits: c.trace.logits.map((logit) => logit ^ 1) } }),
    "another channel": (c) => (c.unit.rows.length === 0 ? null : { ...c, channel: c.channel ^ 1 }),
  };

function flipped(random: Random, bytes: `0x${string}`): `0x${string}` {
  const at = 2 + random.integer(bytes.length - 2);
  const digit = (parseInt(bytes[at]!, 16) ^ (1 + random.integer(15))).toString(16);
  return `0x${bytes.slice(2, at)}${digit}${bytes.slice(at + 1)}`;
}

describe("Disputes over predictions", function () {
  this.timeout(0);

  it("are lost by whoever says what the network does not make of the sample, and never by the honest side", async () => {
    const w = await worldOfArithmetic();
    const counts: Record<string, number> = {};
    const add = (what: string) => (counts[what] = (counts[what] ?? 0) + 1);
    let games = 0;
    for (let network = SEED; games < GAMES; network++) {
      const random = createRandom(`disputes ${network}`);
      const drawn = someCases(random);
      const { setting, cases } = drawn;
      const taskId = await disputable(w, setting);
      for (const [index, { sample, claimant, challenger: own, insists, lie, parts }] of cases.entries()) {
        const of = `network ${network}, case ${index}: ${lie ?? "honest"}`;
        const task = { setting, predictions: setting.labels, sample };
        const game = { claimant, own, insists, parts };
        const { stage, refused } = await imagine(w, taskId, task, game);
        if (lie === null) expect(stage, `${of}, ${refused}`).to.equal("Upheld");
        else if (UNANSWERABLE.has(lie)) expect(refused, of).to.be.oneOf(REFUSALS);
        else expect(stage, `${of}, ${refused}`).to.equal("Refuted");
        add(lie ?? (own === claimant ? "honest claimant, insisting challenger" : "honest claimant, lying challenger"));
        games++;
        // The same game with a computation that is not of the model, the sample or the trace.
        if (lie !== null || random.next() < 0.7) continue;
        const [name, tamper] = random.choice(Object.entries(TAMPERINGS));
        const moves = (id: bigint): Move[] => {
          const all = movesOf(id, setting, sample, game);
          const last = all.at(-1)!;
          const tampered = tamper(last.args[1] as Computation, random, drawn, sample);
          return tampered === null ? [] : [...all.slice(0, -1), { ...last, args: [id, tampered] }];
        };
        const cheated = await imagine(w, taskId, task, moves);
        expect(cheated.stage, `${of}, ${name}`).to.be.oneOf([null, "Trace"]);
        if (cheated.stage === null) add(`refused: ${name}`);
      }
    }
    console.log(`      ${games} games: ${JSON.stringify(counts)}`);
  });

  it("pay the winner and eliminate the liar, move by move in transactions of both sides", async () => {
    const w = await worldOfArithmetic();
    for (let network = 0; network < PLAYED; network++) {
      const { setting, cases } = someCases(createRandom(`played ${network}`));
      const honest = cases.filter(({ lie }) => lie === null).slice(0, 2);
      const liar = cases.find(({ lie }) => lie !== null && !UNANSWERABLE.has(lie))!;
      const taskId = await disputable(w, setting);
      for (const { sample, claimant, challenger: own, insists, parts, lie } of [...honest, liar]) {
        const before = [await w.arithmetic.creditOf(w.ada), await w.arithmetic.creditOf(w.stranger)] as const;
        const id = await challenge(w, taskId, w.stranger, sample, setting.labels);
        await play(w, id, setting, sample, { claimant, own, insists, parts, challenger: w.stranger });
        const { stage } = await w.arithmetic.challengeOf(id);
        expect(CHALLENGE_STAGES[Number(stage)]).to.equal(lie === null ? "Upheld" : "Refuted");
        expect(await w.stateOf(taskId, w.ada)).to.equal(lie === null ? "Candidate" : "Eliminated");
        expect((await w.arithmetic.creditOf(w.ada)) - before[0]).to.equal(lie === null ? CHALLENGE_BOND / 2n : 0n);
        expect((await w.arithmetic.creditOf(w.stranger)) - before[1]).to.equal(lie === null ? 0n : CHALLENGE_BOND);
        expect(await w.arithmetic.isContested(taskId, w.ada)).to.equal(false);
      }
    }
  });

  it("are lost by a claimant whose trace shows another class than it predicted: no answer is taken, and its clock runs out", async () => {
    const w = await worldOfArithmetic();
    const silenced = (seed: number) => someCases(createRandom(`no answer ${seed}`));
    let seed = 0;
    while (!silenced(seed).cases.some(({ lie }) => lie === "prediction")) seed++;
    const { setting, cases } = silenced(seed);
    const { sample, claimant, challenger, insists } = cases.find(({ lie }) => lie === "prediction")!;
    const taskId = await disputable(w, setting);
    const id = await challenge(w, taskId, w.stranger, sample, setting.labels);
    const [answer] = movesOf(id, setting, sample, { claimant, own: challenger, insists });
    await expect(w.arithmetic.connect(w.ada).answerTrace(...(answer!.args as [bigint, never, never]))).to.be.revertedWithCustomError(w.arithmetic, "WrongClass"); // prettier-ignore
    await goTo((await now()) + ANSWER_PERIOD);
    await w.arithmetic.connect(w.vera).timeOut(id);
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    expect(await w.arithmetic.creditOf(w.stranger)).to.equal(CHALLENGE_BOND);
  });
});
