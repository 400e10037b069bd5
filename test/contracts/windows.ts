import { expect } from "chai";

import { chooseWindows, type Limits, type Windows } from "../../offchain/cli/windows.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { ANSWER_PERIOD, PHASE_LENGTHS, UNBONDING, world, worldOfArithmetic, type World } from "./support.ts";

const { seal, open } = PHASE_LENGTHS;
const DISPUTED: Limits = { answerPeriod: ANSWER_PERIOD, unbondingPeriod: UNBONDING };
const UNDISPUTED: Limits = { answerPeriod: 0, unbondingPeriod: UNBONDING };
const HOUR = 3600;
const WEEK = 7 * 24 * HOUR;

function refusalOf(choose: () => unknown): PonasError {
  try {
    choose();
  } catch (error) {
    expect(error).to.be.instanceOf(PonasError);
    return error as PonasError;
  }
  throw new Error("was not refused");
}

const taken = (limits: Limits, windows: Windows): boolean => {
  try {
    return chooseWindows({ seal, open, ...windows }, limits) !== undefined;
  } catch {
    return false;
  }
};

describe("The windows of a task that is published", () => {
  const longest = (limits: Limits): number =>
    Math.floor((limits.unbondingPeriod - 18 * limits.answerPeriod - seal - open) / 2);
  for (const [deployment, limits, deployed] of [
    ["with disputes", DISPUTED, worldOfArithmetic],
    ["without disputes", UNDISPUTED, world],
  ] as [string, Limits, () => Promise<World>][]) {
    it(`are refused exactly where the registry refuses them, on a deployment ${deployment}`, async () => {
      const w = await deployed();
      const shortest = Math.max(1, limits.answerPeriod);
      const cases: Windows[] = [
        { shortWindow: shortest, longWindow: shortest },
        { shortWindow: shortest, longWindow: longest(limits) },
        { shortWindow: shortest, longWindow: longest(limits) + 1 },
        { shortWindow: longest(limits), longWindow: longest(limits) },
        { shortWindow: 201, longWindow: 200 },
        ...(limits.answerPeriod > 0 ? [{ shortWindow: limits.answerPeriod - 1, longWindow: 1000 }] : []),
      ];
      const verdicts = cases.map((windows) => taken(limits, windows));
      expect(verdicts).to.include.members([true, false]);
      for (const [index, windows] of cases.entries()) {
        const params = w.paramsOf({ phases: { ...PHASE_LENGTHS, ...windows } });
        const published = w.registry.connect(w.publisher).publish(params);
        if (verdicts[index]) await published;
        else await expect(published).to.be.revertedWithCustomError(w.registry, "InvalidParameter");
      }
    });
  }

  it("are ten minutes and a day unless they are given, or as long as the deployment or the other window wants", () => {
    const short = { seal: 600, open: 300 };
    const limits = (answerPeriod: number): Limits => ({ answerPeriod, unbondingPeriod: 3 * WEEK });
    const day = 24 * HOUR;
    expect(chooseWindows(short, limits(0))).to.deep.equal({ shortWindow: 600, longWindow: day });
    expect(chooseWindows(short, limits(60))).to.deep.equal({ shortWindow: 600, longWindow: day });
    expect(chooseWindows(short, limits(HOUR))).to.deep.equal({ shortWindow: HOUR, longWindow: day });
    expect(chooseWindows(short, limits(day + 1))).to.deep.equal({ shortWindow: day + 1, longWindow: day + 1 });
    const given = { ...short, shortWindow: 7200, longWindow: 7300 };
    expect(chooseWindows(given, limits(HOUR))).to.deep.equal({ shortWindow: 7200, longWindow: 7300 });
    expect(chooseWindows({ ...short, shortWindow: 2 * day }, limits(0)).longWindow).to.equal(2 * day);
  });

  it("fit the defaults of a deployment", () => {
    const windows = chooseWindows({ seal: 600, open: 300 }, { answerPeriod: HOUR, unbondingPeriod: WEEK });
    expect(windows).to.deep.equal({ shortWindow: HOUR, longWindow: 24 * HOUR });
  });

  it("are refused in one sentence, with the option that helps", () => {
    const phases = { seal: 600, open: 300 };
    const disputed: Limits = { answerPeriod: HOUR, unbondingPeriod: WEEK };
    const early = refusalOf(() => chooseWindows({ ...phases, shortWindow: 60 }, disputed));
    expect(early.code).to.equal("usage");
    expect(early.message).to.equal(
      "A short window of 60 s is shorter than the 3600 s in which a move of a dispute is to be made on this deployment: a challenger could come too late.",
    );
    expect(early.cure).to.equal("--short-window 3600, or more");
    const crossed = refusalOf(() => chooseWindows({ ...phases, longWindow: 3000 }, disputed));
    expect(crossed.message).to.equal("A short window of 3600 s is longer than the long one of 3000 s.");
    expect(crossed.cure).to.equal("--long-window 3600, or more");

    const long = refusalOf(() => chooseWindows({ ...phases, longWindow: WEEK }, disputed));
    expect(long.message).to.match(/^Validators' stake can leave 604800 s after it is asked for .* 604800 s each\.$/);
    const cured = Number(/^--long-window (\d+), or less$/.exec(long.cure!)![1]);
    expect(chooseWindows({ ...phases, longWindow: cured }, disputed).longWindow).to.equal(cured);
    const slow = refusalOf(() => chooseWindows({ seal: 2 * WEEK, open: 300 }, disputed));
    expect(slow.cure).to.equal(`--seal, --open and twice --long-window of ${WEEK - 18 * HOUR} s or less together`);
  });
});
