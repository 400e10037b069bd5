import { expect } from "chai";

import type { TaskState } from "../../offchain/agents/registry.ts";
import { createCheatCast } from "../../offchain/cli/demo/cast.ts";
import { runCheat } from "../../offchain/cli/demo/cheat/run.ts";
import type { LogRecord, Processes } from "../../offchain/cli/demo/processes.ts";
import { FRIENDS_STAKE, STAKE } from "./kit/colluding-validator.ts";

/**
 * Every staked validator is in league with a miner that claims one right prediction too many, and one of them with a
 * second cheat, whose model is none of the task's space, too. They seal what these claim, and the lie is attested by a
 * quorum. One challenger, who has no stake, is honest, and is killed with −9 in the middle of the game.
 */
describe("Lies that every validator confirms", function () {
  this.timeout(290_000);

  it("are refuted by one honest challenger, killed and restarted in the middle: the honest miner's block stands, and every validator loses its stake", async () => {
    const { liar, forger, honest, validators, challenger } = createCheatCast({ forged: true });
    const records: LogRecord[] = [];
    const moves = (): LogRecord[] => records.filter(({ event }) => event === "move");
    let killedAfter = 0;
    const attested = new Set<string>();
    const meddle = async ({ examined }: TaskState, processes: Processes): Promise<void> => {
      if (examined?.opened === true && examined.quorum) attested.add(examined.participant);
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
      validator: [
        "test/end-to-end/kit/colluding-validator.ts",
        "--liar",
        liar.address,
        "--forgers-friend",
        validators[2]!.name,
      ],
      forger: "test/end-to-end/kit/forger.ts",
      signal: AbortSignal.timeout(280_000),
      onRecord: (record) => void records.push(record),
      onTask: () => undefined,
      onStep: () => undefined,
      meddle,
      ...(process.env.PONAS_KEEP === undefined ? {} : { keep: process.env.PONAS_KEEP }),
    });

    expect(attested, "a quorum of stake attested the lie").to.include(liar.address);
    expect(summary.liar.lost).to.equal(true);
    expect(summary.liar.claimed).to.equal(summary.liar.correct + 1);
    expect(summary.block.winner).to.equal(honest.address);

    // The game was played to its end, by both sides, on both sides of the kill.
    const ofLie = summary.moves.filter(({ validator }) => validator === null);
    const calls = ofLie.map(({ call }) => call);
    expect(calls[0]).to.equal("challenge");
    expect(calls.at(-1)).to.equal("prove");
    expect(calls.filter((call) => call.startsWith("answer"))).to.have.length.within(1, 4);
    expect(killedAfter).to.be.within(3, calls.length - 1);
    expect(new Set(ofLie.map(({ challenge }) => challenge)).size, "challenges").to.equal(1);

    // Its refutation is no proof against those who sealed it, since a claimant can lose on purpose: each of them had to
    // answer for its own seal, and could not. Only the forger's friend may have lost its stake before, for the model that
    // is malformed whatever its claimant does.
    for (const { address } of validators.slice(0, 2)) {
      const ofSeal = summary.moves.filter(({ validator }) => validator === address);
      expect(ofSeal[0]!.call).to.equal("challengeSeal");
      expect(ofSeal.at(-1)!.words).to.match(/ – refuted$/);
    }

    expect(summary.moves.map(({ words }) => words).join(), "in words").not.to.match(/undefined|NaN/);

    // The runner has checked that nothing is missing, and that lost bonds are halved; here, what is left to whom.
    const { candidateBond, reward } = summary.task;
    const accounts = new Map(summary.accounts.accounts.map((account) => [account.address as string, account]));
    const feesOf = (address: string): bigint =>
      accounts.get(address)!.entries.reduce((sum, { amount, reason }) => sum + (/^fee/.test(reason) ? amount : 0n), 0n);
    for (const { address } of [liar, forger!]) {
      expect(accounts.get(address)!.change).to.equal(feesOf(address) - candidateBond);
    }
    expect(accounts.get(honest.address)!.change).to.equal(feesOf(honest.address) + reward);
    const stakes = validators.map(
      ({ address }) => -accounts.get(address)!.entries.find(({ amount }) => amount < 0n)!.amount,
    );
    expect(stakes).to.deep.equal([STAKE, STAKE, FRIENDS_STAKE]);
    expect(accounts.get(challenger.address)!.change).to.equal(candidateBond + STAKE + FRIENDS_STAKE / 2n);
  });
});
