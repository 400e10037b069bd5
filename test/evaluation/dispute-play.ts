import { expect } from "chai";

import { answer, press, type Side } from "../../offchain/agents/dispute-moves.ts";
import { openSample, type Computation } from "../../offchain/evaluation/dispute-openings.ts";
import { referenceTrace } from "../../offchain/evaluation/reference.ts";
import { traceSteps } from "../../offchain/evaluation/trace-steps.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { forward, pixelsOf, someCases, someSetting, UNANSWERABLE, type Case, type Setting } from "./lies.ts";
import { createReferee, Refused } from "./referee.ts";

/** Games that are played; 10,000 once by hand. */
const GAMES = Number(process.env.PONAS_DISPUTES ?? 300);

const CLAIMANTS = new Set(["Trace", "Rows", "Positions", "Values"]);
const ENDS = new Set(["Refuted", "Upheld"]);

/** Plays the agents' own moves against each other; who has no move that is taken lets its clock run out. */
async function play(setting: Setting, referee: ReturnType<typeof createReferee>, game: Case): Promise<string> {
  const { openable, pixels, labels } = setting;
  const sample = openSample(pixels, labels, game.sample);
  const claimant: Side = { openable, trace: game.claimant, sample };
  const challenger: Side = { openable, trace: game.challenger, sample };
  const { disputes, state, shown, timeOut } = referee(game.sample);
  for (let i = 0; i < 40 && !ENDS.has(state().stage); i++) {
    try {
      if (CLAIMANTS.has(state().stage)) await answer(disputes, state(), claimant);
      else await press(disputes, state(), shown(), challenger);
    } catch (error) {
      if (!(error instanceof Refused) && !(error instanceof PonasError)) throw error;
      timeOut();
    }
  }
  return state().stage;
}

describe("Disputes played off chain by the agents' own moves", function () {
  this.timeout(0);

  it("have steps that make what the evaluator makes, computed window by window", () => {
    for (let network = 0; network < 10; network++) {
      const setting = someSetting(createRandom(`windows ${network}`), undefined, 4);
      const pixels = pixelsOf(setting, 3);
      const { tensors, logits } = referenceTrace(setting.network, pixels);
      const inputs = [Int32Array.from(pixels), ...tensors.map(({ values }) => values)];
      for (const [index, step] of traceSteps(setting.network.architecture).entries()) {
        const made = forward(setting.network, step, inputs[index]!);
        expect(made, `network ${network}, step ${index}`).to.deep.equal(Float64Array.from(inputs[index + 1] ?? logits));
      }
    }
  });

  it("are lost by every liar and never by an honest side", async () => {
    const counts: Record<string, number> = {};
    let games = 0;
    for (let network = 0; games < GAMES; network++) {
      const { setting, cases } = someCases(createRandom(`off chain ${network}`));
      const referee = createReferee(setting);
      for (const [index, game] of cases.entries()) {
        // Two honest sides have nothing to play for.
        if (game.lie === null && game.challenger === game.claimant) continue;
        const stage = await play(setting, referee, game);
        const of = `network ${network}, case ${index}: ${game.lie ?? "honest"}`;
        expect(stage, of).to.equal(game.lie === null ? "Upheld" : "Refuted");
        const kind = game.lie ?? "honest claimant, lying challenger";
        counts[kind] = (counts[kind] ?? 0) + 1;
        games++;
      }
    }
    console.log(`      ${games} games: ${JSON.stringify(counts)}`);
    for (const lie of UNANSWERABLE) expect(counts[lie], lie).to.be.greaterThan(0);
  });

  it("take no computation from another unit, sample, tensor or trace", async () => {
    const tamperings: ((c: Computation, setting: Setting, sample: number) => Computation)[] = [
      (c) => ({ ...c, unit: { ...c.unit, bias: c.unit.bias + 1 } }),
      (c) => ({ ...c, channel: c.channel + 1 }),
      (c) => ({ ...c, unit: { ...c.unit, rows: c.unit.rows.toReversed() } }),
      (c) => ({ ...c, trace: { ...c.trace, logits: c.trace.logits.map((logit) => logit + 1) } }),
      (c, { pixels, labels }, sample) => ({ ...c, sample: openSample(pixels, labels, (sample + 1) % labels.length) }),
    ];
    let tried = 0;
    for (let network = 0; tried < 10; network++) {
      const { setting, cases } = someCases(createRandom(`tampered ${network}`));
      const first = traceSteps(setting.network.architecture)[0]!;
      const game = cases.find(({ lie }) => lie === "one value" || lie === "another sample");
      if (game === undefined || first.windowHeight < 3 || first.output.channels < 2) continue;
      const { disputes, state, shown } = createReferee(setting)(game.sample);
      const sample = openSample(setting.pixels, setting.labels, game.sample);
      const side = { openable: setting.openable, sample };
      while (state().stage !== "Proof") {
        if (CLAIMANTS.has(state().stage)) await answer(disputes, state(), { ...side, trace: game.claimant });
        else await press(disputes, state(), shown(), { ...side, trace: game.challenger });
      }
      if (state().step !== 0) continue;
      for (const [index, tamper] of tamperings.entries()) {
        const tampered = {
          ...disputes,
          prove: (id: bigint, c: Computation) => disputes.prove(id, tamper(c, setting, game.sample)),
        };
        const outcome = await press(tampered, state(), shown(), { ...side, trace: game.challenger }).catch(
          (error: unknown) => error,
        );
        expect(outcome, `tampering ${index}`).to.be.instanceOf(Refused);
        tried++;
      }
    }
  });
});
