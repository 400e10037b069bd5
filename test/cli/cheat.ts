import { expect } from "chai";

import type { TaskFiles } from "../../offchain/agents/task-files.ts";
import type { TaskState } from "../../offchain/agents/registry.ts";
import { chooseLie, lyingFiles, withLie } from "../../offchain/cli/demo/cheat/lie.ts";
import { describeCheat } from "../../offchain/cli/demo/cheat/summary.ts";
import type { CheatSummary } from "../../offchain/cli/demo/cheat/run.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

const samples = {
  pixels: Uint8Array.from([1, 1, 2, 2, 3, 3, 4, 4]),
  labels: Uint8Array.from([0, 1, 2, 1]),
  count: 4,
};

describe("The lie of the demo's liar", () => {
  it("is the first image taken wrongly of whose class the model knows another", () => {
    // Of class 2 the model knows none, so that image 2 is nothing to lie about.
    const predictions = Uint8Array.from([0, 0, 1, 1]);
    expect(chooseLie(samples, predictions)).to.deep.equal({ sample: 1, prediction: 0, claimed: 1, instead: 3 });
  });

  it("cannot be told of a model that is always right, or always wrong", () => {
    for (const predictions of [samples.labels, Uint8Array.from([3, 3, 3, 3])]) {
      expect(() => chooseLie(samples, predictions)).to.throw(PonasError, "leaves nothing to lie about");
    }
  });

  it("puts one image in the place of one other, and leaves the real test set as it is", () => {
    const lied = withLie(samples, { sample: 1, prediction: 0, claimed: 1, instead: 3 });
    expect([...lied.pixels]).to.deep.equal([1, 1, 4, 4, 3, 3, 4, 4]);
    expect(lied.labels).to.equal(samples.labels);
    expect([...samples.pixels]).to.deep.equal([1, 1, 2, 2, 3, 3, 4, 4]);
  });

  it("leaves the files of other tasks alone, and every commitment", async () => {
    const commitment = { samplesRoot: "0x01" };
    const honest = { testSet: async () => ({ samples, commitment }) } as unknown as TaskFiles;
    const lie = { sample: 0, prediction: 1, claimed: 0, instead: 2 };
    const files = lyingFiles(honest, async ({ id }) => (id === 1n ? lie : undefined));
    const first = await files.testSet({ id: 1n } as TaskState);
    expect(first.commitment).to.equal(commitment);
    expect([...first.samples.pixels.subarray(0, 2)]).to.deep.equal([3, 3]);
    expect((await files.testSet({ id: 2n } as TaskState)).samples).to.equal(samples);
  });
});

describe("What came of the lie", () => {
  it("is told in plain words: the claim, every move with its gas, and entries of one reason as one", () => {
    const account = "0x00000000000000000000000000000000000000A1";
    const token = 10n ** 18n;
    const summary: CheatSummary = {
      task: { id: 1n, phase: "Confirmed", reward: 100n * token, candidateBond: 5n * token },
      liar: { account, claimed: 97, correct: 96, total: 100, sample: 20, lost: true },
      moves: [
        {
          challenge: 1n,
          by: account,
          name: "challenger",
          call: "challenge",
          words: "challenges the prediction of image 20",
          gas: 212_345n,
          transaction: "0x01",
        },
      ],
      block: { height: 1n, winner: account, winnerRole: "solo miner", modelCid: "bafk", correct: 90, total: 100 },
      accounts: {
        accounts: [
          {
            name: "liar",
            role: "lying miner",
            address: account,
            change: -6n * token,
            entries: [
              { amount: -5n * token, reason: "bond of its claim" },
              { amount: -token / 2n, reason: "fee" },
              { amount: -token / 2n, reason: "fee" },
            ],
          },
        ],
        burned: [{ amount: token, reason: "fees of commitments" }],
      },
    };
    const lines = describeCheat(summary);
    expect(lines).to.include("97 of 100 correct were claimed; the model makes 96");
    expect(lines).to.match(/ 1 +challenger +212,345 gas +challenges the prediction of image 20/);
    expect(lines).to.match(/liar +-6\n/);
    expect(lines).to.match(/-1 +fee\n/);
    expect(lines.match(/ fee$/gm)).to.have.length(1);
  });
});
