import { expect } from "chai";

import type { ReportedChallenge, ReportedDemand } from "../../offchain/agents/dispute-report.ts";
import { describeDisputes } from "../../offchain/cli/commands/disputes.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import { createWorkplace, expectRefusal, ponas, type Finished, type Workplace } from "./support.ts";

describe("ponas challenger and ponas disputes", () => {
  let place: Workplace;
  const run = (...args: string[]): Promise<Finished> => ponas(args, place);
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  for (const [what, args, code, sentence] of [
    ["a budget that is none", ["challenger", "run", "--parts-budget", "-1"], 2, '--parts-budget takes an amount such as 100 or 0.5, not "-1".'], // prettier-ignore
    ["a gain that is none", ["validator", "run", "--least-seal-gain", "much"], 2, '--least-seal-gain takes an amount such as 100 or 0.5, not "much".'], // prettier-ignore
    ["a time that is none", ["challenger", "run", "--model-timeout", "0"], 2, '--model-timeout takes a whole number of 1 or more, not "0".'], // prettier-ignore
    ["a stake, which a challenger has not", ["challenger", "run", "--stake", "5"], 2, "unknown option '--stake'"],
    ["a deployment that is not there", ["challenger", "run", "--deployment", "no.json"], 1, "The deployment file no.json cannot be read."], // prettier-ignore
    ["a task that is no number", ["disputes", "--task", "first"], 2, 'A task is named by its number, not "first".'],
    ["one value and many", ["disputes", "--json", "--watch"], 2, "--json prints one value, and --watch many"],
    ["no deployment", ["disputes"], 1, "The deployment file deployment.json cannot be read."],
  ] as const) {
    it(`refuse ${what}`, async () => expectRefusal(await run(...args), code, sentence));
  }
});

describe("What ponas disputes prints for people", () => {
  const address = (digit: number): Address => `0x${String(digit).repeat(40)}`;
  const token = 10n ** 18n;
  const challenge: ReportedChallenge = {
    challenge: 3n,
    task: 1n,
    candidate: address(1),
    challenger: address(2),
    sample: 5,
    prediction: 7,
    validator: null,
    stake: null,
    stage: "Rows",
    toMove: "claimant",
    secondsLeft: 12,
    bond: token,
    right: null,
    unknown: null,
  };
  const ofClaim = `challenge 3 of task 1: ${address(2)} says that class 7 of sample 5 is not what the model of ${address(1)} makes of it`; // prettier-ignore
  const describe = (one: ReportedChallenge): string => describeDisputes({ challenges: [one], demands: [] });

  it("names whose move it is and what is left of the clock, and who is right where that is known", () => {
    expect(describe(challenge)).to.equal(`${ofClaim}; bond 1; Rows, the claimant is to move, 12 s left`);
    expect(describe({ ...challenge, stage: "Queued", toMove: null, secondsLeft: null })).to.equal(`${ofClaim}; bond 1; Queued`); // prettier-ignore
    expect(describe({ ...challenge, right: "challenger" })).to.match(/12 s left; the challenger is right$/);
    expect(describe({ ...challenge, unknown: "No node has it." })).to.match(
      /12 s left; who is right is not known here: No node has it\.$/,
    );
  });

  it("says of a seal which validator answers, and that its stake is at risk", () => {
    const ofSeal: ReportedChallenge = {
      ...challenge,
      validator: address(4),
      stake: 1000n * token,
      toMove: "validator",
    };
    expect(describe({ ...ofSeal, right: "validator" })).to.equal(
      `${ofClaim}, as the validator ${address(4)} has sealed; bond 1, stake at risk 1000; Rows, the validator is to move, 12 s left; the validator is right`,
    );
    expect(describe({ ...ofSeal, stake: 0n })).to.include("; bond 1, stake at risk 0; ");
  });

  it("tells a demand for the architecture from one for a unit", () => {
    const demand: ReportedDemand = {
      demand: 4n,
      task: 1n,
      candidate: address(1),
      challenger: address(2),
      layer: null,
      unit: null,
      stage: "Open",
      secondsLeft: 3,
      price: token / 10n,
    };
    const queued: ReportedDemand = { ...demand, demand: 5n, layer: 2, unit: 0, stage: "Queued", secondsLeft: null };
    expect(describeDisputes({ challenges: [], demands: [demand, queued] }).split("\n")).to.deep.equal([
      `demand 4 of task 1: ${address(2)} demands the architecture of ${address(1)}; price 0.1; Open, 3 s left`,
      `demand 5 of task 1: ${address(2)} demands unit 0 of layer 2 of ${address(1)}; price 0.1; Queued`,
    ]);
    expect(describeDisputes({ challenges: [], demands: [] })).to.equal("There are no open disputes.");
  });
});
