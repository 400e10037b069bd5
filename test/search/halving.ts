import { expect } from "chai";

import { epochBudget, rungsOf } from "../../offchain/search/halving.ts";

describe("Successive halving", () => {
  it("is one rung of all epochs without a factor", () => {
    expect(rungsOf({ networks: 7, epochs: 5 })).to.deep.equal([{ networks: 7, epochs: 5, added: 5 }]);
  });

  it("trains a part of the networks a multiple of the epochs at each rung", () => {
    const rungs = rungsOf({ networks: 81, epochs: 9, eta: 3 });
    expect(rungs).to.deep.equal([
      { networks: 81, epochs: 1, added: 1 },
      { networks: 27, epochs: 3, added: 2 },
      { networks: 9, epochs: 9, added: 6 },
    ]);
    expect(epochBudget(rungs)).to.equal(81 + 54 + 54);
  });

  it("rounds epochs and networks down, but not to nothing", () => {
    expect(rungsOf({ networks: 5, epochs: 30, eta: 4 })).to.deep.equal([
      { networks: 5, epochs: 1, added: 1 },
      { networks: 1, epochs: 7, added: 6 },
      { networks: 1, epochs: 30, added: 23 },
    ]);
    expect(rungsOf({ networks: 1, epochs: 2, eta: 2 }).map(({ networks }) => networks)).to.deep.equal([1, 1]);
  });

  it("never costs more than training every network for all epochs", () => {
    for (const eta of [2, 3, 5]) {
      for (let epochs = eta; epochs < 40; epochs++) {
        for (const networks of [1, 2, 9, 100]) {
          const rungs = rungsOf({ networks, epochs, eta });
          expect(epochBudget(rungs)).to.be.at.most(networks * epochs);
          expect(rungs.at(-1)!.epochs).to.equal(epochs);
          expect(rungs.every(({ added }) => added >= 1)).to.equal(true);
        }
      }
    }
  });

  it("refuses too few epochs", () => {
    expect(() => rungsOf({ networks: 9, epochs: 2, eta: 3 })).to.throw("Halving by 3 needs at least 3 epochs, not 2.");
  });
});
