import { expect } from "chai";

import type { Space } from "../../offchain/protocol/architecture.ts";
import { createPartition } from "../../offchain/search/partition.ts";
import { spaceByName, spaceSize, SPACES, type Box } from "../../offchain/search/spaces.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, type Finished, type Workplace } from "./support.ts";

describe("ponas partition", () => {
  let place: Workplace;
  const partition = (...args: string[]): Promise<Finished> => ponas(["partition", ...args], place);
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  it("prints ten lists for every miner, as Algorithm 1 draws them from the seed", async () => {
    const args = ["--space", "full", "--strategy", "random-subsets", "--miners", "5", "--seed", "7", "--json"];
    const options = { space: spaceByName("full"), depth: 6, miners: 5, seed: 7 };
    expect(jsonOf(await partition(...args))).to.deep.equal(createPartition("random-subsets", options));
  });

  it("prints the paper's subspaces, and notes what it leaves out of them", async () => {
    const finished = await partition("--space", "FULL", "--strategy", "paper", "--miners", "9", "--json");
    const { full: _, demo: __, ...nine } = SPACES;
    expect(jsonOf<Space[]>(finished)).to.deep.equal(Object.values(nine));
    expect(finished.stderr).to.match(/^note: .*stride of 0 in S3.*\n$/);
  });

  it("prints boxes for every miner that cover the space in proportion to the weights", async () => {
    const flags = ["--strategy", "disjoint", "--miners", "4", "--weights", "1,2.5,0,1e1", "--depth", "3"];
    const finished = await partition("--space", "S9", ...flags, "--json");
    const parts = jsonOf<Box[][]>(finished);
    expect(finished.stderr).to.equal("");
    const shares = parts.map((boxes) => Number(spaceSize(boxes, 3)) / Number(spaceSize(spaceByName("S9"), 3)));
    expect(shares.reduce((sum, share) => sum + share)).to.be.closeTo(1, 1e-9);
    for (const [i, weight] of [1, 2.5, 0, 10].entries()) expect(shares[i]).to.be.closeTo(weight / 13.5, weight / 270);
  });

  it("tells people each part, and that there is more where miners are many", async () => {
    const some = await partition("--space", "demo", "--strategy", "disjoint", "--miners", "2");
    expect(some.stdout).to.match(/^disjoint of demo among 2 miners, seed 0: 2\.66e19 architectures of 6 layers\n/);
    expect(some.stdout).to.match(
      /\nminer 2: \S+ architectures, 50\.0000 % of the space, in 1 box\n {2}layer \d \w+ \d+\n$/,
    );
    const many = await partition("--space", "full", "--strategy", "random-subsets", "--miners", "21");
    expect(many.stdout).to.match(/\nand 1 miners more: --json prints all\n$/);
  });

  it("refuses bad input with one sentence", async () => {
    const disjoint = ["--space", "S9", "--strategy", "disjoint"];
    const cases: [string[], number, string][] = [
      [[...disjoint, "--miners", "0"], 2, '--miners takes a whole number from 1 to 10000, not "0".'],
      [[...disjoint, "--miners", "10001"], 2, '--miners takes a whole number from 1 to 10000, not "10001".'],
      [[...disjoint, "--miners", "2", "--weights", "1,-1"], 2, '--weights takes numbers of 0 or more with commas between, not "-1".'],
      [[...disjoint, "--miners", "2", "--weights", "NaN,1"], 2, '--weights takes numbers of 0 or more with commas between, not "NaN".'],
      [[...disjoint, "--miners", "2", "--weights", "1,2,3"], 2, "--weights names 3 weights for 2 miners."],
      [["--space", "S9", "--strategy", "random-subsets", "--miners", "2", "--weights", "1,2"], 2, "--weights is for --strategy disjoint"],
      [["--space", "S4", "--strategy", "paper", "--miners", "2"], 1, "The paper's subspaces divide the full space"],
      [["--space", "S4", "--strategy", "even", "--miners", "2"], 2, "Allowed choices are random-subsets, paper, disjoint."],
    ]; // prettier-ignore
    for (const [args, code, sentence] of cases) expectRefusal(await partition(...args), code, sentence);
  });
});

describe("ponas space", () => {
  it("notes on stderr what it leaves out of the paper's space", async () => {
    using place = createWorkplace();
    const finished = await ponas(["space", "S3", "--json"], place);
    expect(jsonOf(finished)).to.deep.equal(SPACES.S3);
    expect(finished.stderr).to.match(/^note: .*stride of 0 in S3/);
  });
});
