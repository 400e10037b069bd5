import { expect } from "chai";

import { describeStake } from "../../offchain/cli/commands/validator.ts";
import type { StakeStatus } from "../../offchain/agents/stake.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import { createWorkplace, expectRefusal, ponas, type Finished, type Workplace } from "./support.ts";

describe("ponas validator", () => {
  let place: Workplace;
  const run = (...args: string[]): Promise<Finished> => ponas(["validator", ...args], place);
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  for (const [what, args, code, sentence] of [
    [
      "an amount that is none",
      ["unbond", "--amount", "all"],
      2,
      '--amount takes an amount such as 100 or 0.5, not "all".',
    ],
    [
      "an amount and its contrary",
      ["unbond", "--amount", "1", "--cancel"],
      2,
      "option '--cancel' cannot be used with option '--amount",
    ],
    ["an amount of what is ready", ["withdraw", "--amount", "1"], 2, "unknown option '--amount'"],
    ["no deployment", ["status"], 1, "The deployment file deployment.json cannot be read."],
  ] as const) {
    // prettier-ignore
    it(`refuses ${what}`, async () => expectRefusal(await run(...args), code, sentence));
  }
});

describe("What ponas validator prints of a stake", () => {
  const token = 10n ** 18n;
  const account: Address = `0x${"1".repeat(40)}`;
  const idle: StakeStatus = { account, active: 600n * token, unbonding: null, holds: 0, credit: 0n };
  const unbonding = { amount: 400n * token, readyAt: 1_800_000_000, secondsLeft: 30 };

  it("says what counts, what leaves and when, and what is there to be taken", () => {
    expect(describeStake(idle)).to.equal(`${account} has 600 staked`);
    expect(describeStake({ ...idle, unbonding }).split("\n")[1]).to.equal(
      "400 unbond, and can be withdrawn from 2027-01-15T08:00:00.000Z on, in 30 s",
    );
    expect(describeStake({ ...idle, unbonding: { ...unbonding, secondsLeft: 0 } }).split("\n")[1]).to.equal(
      "400 unbond, and can be withdrawn since 2027-01-15T08:00:00.000Z",
    );
    expect(describeStake({ ...idle, unbonding }).split("\n")[2]).to.match(
      /^until it is withdrawn it can be lost: .* --stake 0/,
    );
    expect(describeStake({ ...idle, credit: token }).split("\n")[1]).to.equal("1 can be withdrawn now");
  });

  it("says what holds it", () => {
    const held = (holds: number): string => describeStake({ ...idle, holds }).split("\n")[1]!;
    expect(held(1)).to.match(/^held once, for what it sealed/);
    expect(held(2)).to.match(/^held 2 times, .* withdraw releases what is over$/);
  });
});
