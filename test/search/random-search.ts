import { expect } from "chai";

import { networkShapes } from "../../offchain/evaluation/shapes.ts";
import { admit } from "../../offchain/search/feasibility.ts";
import { spaceByName } from "../../offchain/search/spaces.ts";
import { createStrategy } from "../../offchain/search/strategies.ts";
import type { StrategyOptions } from "../../offchain/search/strategy.ts";
import { template, tinySpace as tiny } from "./kit/networks.ts";

const createRandomSearch = (options: StrategyOptions) => createStrategy("random", options);

describe("random search", () => {
  it("proposes the same networks for the same seed", () => {
    const [one, two] = [0, 0].map((seed) => createRandomSearch({ template, space: spaceByName("full"), seed }));
    for (let i = 0; i < 20; i++) expect(one!.ask()).to.deep.equal(two!.ask());
  });

  it("proposes nothing dead, and nothing over the limit of multiplications", () => {
    const search = createRandomSearch({ template, space: spaceByName("full"), seed: 5, maxMacs: 5e6 });
    for (let i = 0; i < 100; i++) {
      const architecture = search.ask();
      expect(admit(architecture).reason).to.equal(null);
      expect(networkShapes(architecture).macs).to.be.at.most(5e6);
      search.tell(architecture, 0.1);
    }
  });

  it("proposes each network of a small space once, then says that it is used up", () => {
    const depth = 4;
    const search = createRandomSearch({ template: { ...template, depth }, space: tiny, seed: 0 });
    const seen = new Set(Array.from({ length: 2 ** depth }, () => JSON.stringify(search.ask())));
    expect(seen.size).to.equal(2 ** depth);
    expect(() => search.ask())
      .to.throw("10000 draws from the space gave no new network within the limits, after 16 proposals.")
      .with.property("code", "not-found");
  });

  it("says so at once where a space holds only dead networks", () => {
    const space = { ...tiny, actIntBits: [0], actFracBits: [0] };
    expect(() => createRandomSearch({ template, space, seed: 0 }).ask()).to.throw(/after 0 proposals/);
  });

  it("goes on from its saved state as if it had never stopped, through JSON", () => {
    const options = { template: { ...template, depth: 4 }, space: tiny, seed: 3 };
    const whole = createRandomSearch(options);
    const expected = Array.from({ length: 16 }, () => whole.ask());
    let search = createRandomSearch(options);
    const resumed = Array.from({ length: 16 }, () => {
      search = createRandomSearch({
        ...options,
        seed: 99,
        state: JSON.parse(JSON.stringify(search.save())) as unknown,
      });
      return search.ask();
    });
    expect(resumed).to.deep.equal(expected);
  });

  it("refuses a state of another kind with one sentence", () => {
    for (const state of [null, {}, { random: -1, proposed: [] }, { random: 1, proposed: ["x"] }, "abc"]) {
      expect(() => createRandomSearch({ template, space: tiny, seed: 0, state })).to.throw(
        /^The search's state is not valid/,
      );
    }
  });
});
