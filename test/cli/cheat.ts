import { stripVTControlCharacters } from "node:util";

import { expect } from "chai";

import type { TaskFiles } from "../../offchain/agents/task-files.ts";
import type { TaskState } from "../../offchain/agents/registry.ts";
import { createCheatCast } from "../../offchain/cli/demo/cast.ts";
import { chooseLie, lyingFiles, withLie } from "../../offchain/cli/demo/cheat/lie.ts";
import { readAccounts } from "../../offchain/cli/demo/cheat/accounts.ts";
import { describeCheat } from "../../offchain/cli/demo/cheat/summary.ts";
import type { CheatSummary } from "../../offchain/cli/demo/cheat/run.ts";
import { ENDOWMENT } from "../../offchain/cli/demo/stage.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

const DISPUTES: Address = `0x${"5".repeat(40)}`;

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

/** A chain on which nothing ever happened, but that an account has so much more than it was given. */
function quietChain(more: bigint, of: string): ChainClient {
  const at = (digit: string): Address => `0x${digit.repeat(40)}`;
  const deployment = {
    chainId: 1,
    fromBlock: 0,
    asset: at("1"),
    stake: at("2"),
    registry: at("3"),
    poolFactory: at("4"),
  };
  const holders = [deployment.stake, deployment.registry, DISPUTES] as string[];
  const read = async ({ functionName, args }: { functionName: string; args: readonly string[] }): Promise<unknown> => {
    if (functionName === "balanceOf")
      return (holders.includes(args[0]!) ? 0n : ENDOWMENT) + (args[0] === of ? more : 0n);
    if (functionName === "taskOf") return { escrow: 0n };
    if (functionName === "commitmentOf") return { state: 0 };
    return 0n;
  };
  return { deployment, read, client: { getContractEvents: async () => [] } } as unknown as ChainClient;
}

describe("The accounts of the round with a liar", () => {
  const cast = createCheatCast();
  const readWith = (more: bigint, of: string) =>
    readAccounts({ chain: quietChain(more, of), cast, disputes: DISPUTES, task: { id: 1n } as TaskState });

  it("add up where nothing has happened", async () => {
    const { accounts, burned } = await readWith(0n, "");
    expect(accounts.map(({ change, entries }) => [change, entries])).to.deep.equal(accounts.map(() => [0n, []]));
    expect(burned).to.deep.equal([]);
  });

  it("are refused where anybody has a unit too much or too little, or a contract has one that it owes nobody", async () => {
    const refused = async (more: bigint, of: string): Promise<string> =>
      readWith(more, of).then(
        () => "taken",
        (error: Error) => error.message,
      );
    expect(await refused(1n, cast.challenger.address)).to.include("what everybody was given");
    expect(await refused(-1n, cast.honest.address)).to.include("what everybody was given");
    expect(await refused(1n, DISPUTES)).to.include("what the disputes contract has");
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
          validator: null,
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
    const lines = stripVTControlCharacters(describeCheat(summary));
    expect(lines).to.include("97 of 100 correct were claimed; the model makes 96");
    expect(lines).to.match(/ 1 +challenger +212,345 gas +challenges the prediction of image 20/);
    expect(lines).to.match(/liar +-6\n/);
    expect(lines).to.match(/-1 +fee\n/);
    expect(lines.match(/ fee$/gm)).to.have.length(1);
  });
});
