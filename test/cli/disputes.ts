import { createWorkplace, expectRefusal, ponas, type Finished, type Workplace } from "./support.ts";

describe("ponas challenger and ponas disputes", function () {
  this.timeout(60_000);
  let place: Workplace;
  const run = (...args: string[]): Promise<Finished> => ponas(args, place);
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  for (const [what, args, code, sentence] of [
    ["a budget that is none", ["challenger", "run", "--parts-budget", "-1"], 2, '--parts-budget takes an amount such as 100 or 0.5, not "-1".'], // prettier-ignore
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
