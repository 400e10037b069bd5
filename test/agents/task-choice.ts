import { expect } from "chai";

import type { TaskState } from "../../offchain/agents/registry.ts";
import { trapOf } from "../../offchain/agents/task-choice.ts";

const phases = {
  initialisation: 0,
  training: 600,
  keyRelease: 60,
  testVote: 60,
  reveal: 60,
  seal: 60,
  open: 60,
  shortWindow: 60,
  longWindow: 600,
};
const task = { phases, reward: 100n, commitBond: 1n, candidateBond: 5n } as TaskState;
const terms = { minAnswer: 36, minReward: 10n };

describe("The choice of a task", () => {
  it("takes fair terms", () => {
    expect(trapOf(task, terms)).to.equal(null);
  });

  for (const phase of ["reveal", "seal", "open", "shortWindow", "longWindow"] as const) {
    it(`leaves a task alone whose ${phase} phase is over before a block is mined: its bonds would be lost unanswered`, () => {
      const trap = trapOf({ ...task, phases: { ...phases, [phase]: 1 } }, terms);
      expect(trap).to.equal(`its ${phase} phase lasts only 1 s`);
    });
  }

  it("leaves a task alone that pays next to nothing, however well it ranks", () => {
    expect(trapOf({ ...task, reward: 9n }, terms)).to.match(/reward/);
  });

  it("leaves a task alone in which more is at stake than can be won", () => {
    expect(trapOf({ ...task, candidateBond: 100n }, terms)).to.match(/bonds/);
  });
});
