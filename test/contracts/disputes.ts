import { expect } from "chai";

import { traceSteps } from "../../offchain/evaluation/trace-steps.ts";
import type { TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { argmax, challenge, corrupted, disputable, play, someSetting, truth, type Setting } from "./dispute-game.ts";
import { CHALLENGE_BOND, worldOfArithmetic } from "./support.ts";

/** Random cases of each kind. */
const CASES = Number(process.env.PONAS_DISPUTES ?? 12);
const STAGES = ["None", "Queued", "Trace", "Tensor", "Rows", "Row", "Positions", "Column", "Values", "Proof", "Refuted", "Upheld", "Moot"]; // prettier-ignore

function somePlace(random: Random, { network }: Setting): TracedPlace {
  const steps = traceSteps(network.architecture);
  const step = random.integer(steps.length);
  const { height, width, channels } = steps[step]!.output;
  return { step, row: random.integer(height), column: random.integer(width), channel: random.integer(channels) };
}

describe("A dispute over one prediction", function () {
  this.timeout(0);

  it("is lost by a claimant that changed one value of its trace, wherever it is", async () => {
    const w = await worldOfArithmetic();
    for (let i = 0; i < CASES; i++) {
      const random = createRandom(`liar ${i}`);
      const setting = someSetting(random);
      const sample = random.integer(setting.labels.length);
      const place = somePlace(random, setting);
      // The changed trace has to show the claimed class still, or the chain takes no answer at all.
      const lie = [1, 2, 3].map((change) => corrupted(setting, sample, place, change));
      const claimant = lie.find(({ logits }) => argmax(logits) === setting.labels[sample]);
      if (claimant === undefined) continue;
      const taskId = await disputable(w, setting);
      const id = await challenge(w, taskId, w.stranger, sample, setting.labels);
      await play(w, id, setting, sample, { claimant, challenger: w.stranger, parts: 1 + random.integer(3) });
      expect(STAGES[Number((await w.arithmetic.challengeOf(id)).stage)], `case ${i}`).to.equal("Refuted");
      expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    }
  });

  it("is won by an honest claimant, whatever the challenger insists on", async () => {
    const w = await worldOfArithmetic();
    for (let i = 0; i < CASES; i++) {
      const random = createRandom(`honest ${i}`);
      const setting = someSetting(random);
      const sample = random.integer(setting.labels.length);
      const taskId = await disputable(w, setting);
      const id = await challenge(w, taskId, w.stranger, sample, setting.labels);
      const insists = somePlace(random, setting);
      const before = await w.arithmetic.creditOf(w.ada);
      const claimant = truth(setting, sample);
      await play(w, id, setting, sample, { claimant, challenger: w.stranger, insists, parts: 1 + random.integer(3) });
      expect(STAGES[Number((await w.arithmetic.challengeOf(id)).stage)], `case ${i}`).to.equal("Upheld");
      expect(await w.stateOf(taskId, w.ada)).to.equal("Candidate");
      expect((await w.arithmetic.creditOf(w.ada)) - before).to.equal(CHALLENGE_BOND / 2n);
      expect(await w.arithmetic.isContested(taskId, w.ada)).to.equal(false);
    }
  });
});
