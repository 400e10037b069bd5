import { expect } from "chai";

import type { TaskState } from "../../offchain/agents/registry.ts";
import { createCheatCast } from "../../offchain/cli/demo/cast.ts";
import { runCheat } from "../../offchain/cli/demo/cheat/run.ts";
import type { LogRecord, Processes } from "../../offchain/cli/demo/processes.ts";

/**
 * Every staked validator is in league with a miner that claims one right prediction too many: they seal what it claims,
 * and their quorum attests it. One challenger, who has no stake, is honest, and is killed with −9 in the middle of the
 * game.
 */
describe("A lie that every validator confirms", function () {
  this.timeout(290_000);

  it("is refuted by one honest challenger, killed and restarted in the middle, and the honest miner's block stands", async () => {
    const { liar, honest, validators, challenger } = createCheatCast();
    const records: LogRecord[] = [];
    const moves = (): LogRecord[] => records.filter(({ event }) => event === "move");
    let killedAfter = 0;
    let quorum = false;
    const meddle = async ({ examined }: TaskState, processes: Processes): Promise<void> => {
      if (examined?.participant === liar.address && examined.opened) quorum ||= examined.quorum;
      if (killedAfter === 0 && moves().length >= 3) {
        killedAfter = moves().length;
        await processes.restart("challenger");
      }
    };
    const summary = await runCheat({
      dataset: "mnist",
      space: "demo",
      training: 40,
      epochs: 1,
      trainLimit: 3000,
      minAccuracy: 20,
      seed: 5,
      validator: ["test/end-to-end/kit/colluding-validator.ts", "--liar", liar.address],
      signal: AbortSignal.timeout(280_000),
      onRecord: (record) => void records.push(record),
      onTask: () => undefined,
      onStep: () => undefined,
      meddle,
      ...(process.env.PONAS_KEEP === undefined ? {} : { keep: process.env.PONAS_KEEP }),
    });

    expect(quorum, "a quorum of stake attested the lie").to.equal(true);
    expect(summary.liar.lost).to.equal(true);
    expect(summary.liar.claimed).to.equal(summary.liar.correct + 1);
    expect(summary.block.winner).to.equal(honest.address);

    // The game was played to its end, by both sides, on both sides of the kill.
    const calls = summary.moves.map(({ call }) => call);
    expect(calls[0]).to.equal("challenge");
    expect(calls.at(-1)).to.equal("prove");
    expect(calls.filter((call) => call.startsWith("answer"))).to.have.length.within(1, 4);
    expect(killedAfter).to.be.within(3, calls.length - 1);
    expect(new Set(summary.moves.map(({ challenge }) => challenge)).size, "challenges").to.equal(1);

    expect(summary.moves.map(({ words }) => words).join(), "in words").not.to.match(/undefined|NaN/);

    // The runner has checked that nothing is missing, and that the liar's bond is halved; here, what is left to whom.
    const { candidateBond, reward } = summary.task;
    const accounts = new Map(summary.accounts.accounts.map((account) => [account.address as string, account]));
    const feesOf = (address: string): bigint =>
      accounts.get(address)!.entries.reduce((sum, { amount, reason }) => sum + (/^fee/.test(reason) ? amount : 0n), 0n);
    expect(accounts.get(liar.address)!.change).to.equal(feesOf(liar.address) - candidateBond);
    expect(accounts.get(honest.address)!.change).to.equal(feesOf(honest.address) + reward);
    expect(accounts.get(challenger.address)!.change).to.equal(candidateBond / 2n);
    // What the validators get is for the honest block: that a claim was refuted is no proof against whoever sealed it.
    for (const { address } of validators) {
      expect(accounts.get(address)!.entries.map(({ reason }) => reason)).to.deep.equal(["validator's fee"]);
    }
  });
});
