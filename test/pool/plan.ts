import { expect } from "chai";

import { chooseFree, planSweep, type PartView } from "../../offchain/pool/plan.ts";
import { highestLow, observeSpread, standardDeviation } from "../../offchain/pool/rewards.ts";
import { createRandom } from "../../offchain/protocol/random.ts";

describe("Rewards of miners", () => {
  it("are told apart by two-means", () => {
    expect(highestLow([0.8, 0.2, 0.75, 0.25, 0.78])).to.equal(0.25);
    // The paper's own nine: S1, S2, S4 and S9 are the high-reward ones.
    expect(highestLow([0.81, 0.8, 0.55, 0.79, 0.45, 0.6, 0.5, 0.52, 0.76])).to.equal(0.6);
    expect(highestLow([0.1, 0.9])).to.equal(0.1);
  });

  it("are all high where there is nothing to tell apart", () => {
    for (const values of [[], [0.5], [0.5, 0.5, 0.5]]) expect(highestLow(values)).to.equal(null);
  });

  it("are cut where no other cut leaves less within the groups", () => {
    const random = createRandom(1);
    const within = (values: number[]): number => values.length * standardDeviation(values) ** 2;
    for (let round = 0; round < 200; round++) {
      const values = Array.from({ length: 2 + random.integer(8) }, () => random.integer(20) / 20);
      const cut = highestLow(values);
      if (cut === null) continue;
      const costOf = (at: number): number =>
        within(values.filter((value) => value <= at)) + within(values.filter((value) => value > at));
      const least = Math.min(...values.filter((value) => value < Math.max(...values)).map(costOf));
      expect(costOf(cut)).to.be.closeTo(least, 1e-12);
    }
  });

  it("spread by the root of the mean square from their mean", () => {
    expect(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9])).to.equal(2);
    expect(standardDeviation([])).to.equal(0);
  });

  it("rise against the mean of what σ_p was before, and are no news where they stay", () => {
    const first = observeSpread(undefined, 0.2)!;
    expect(first.rises).to.equal(true);
    expect(observeSpread(first.spread, 0.2)).to.equal(null);
    const second = observeSpread(first.spread, 0.1)!;
    expect(second.rises).to.equal(false);
    expect(second.spread.mean).to.be.closeTo(0.15, 1e-12);
    expect(observeSpread(second.spread, 0.16)!.rises).to.equal(true);
    expect(observeSpread(second.spread, 0.14)!.rises).to.equal(false);
    expect(observeSpread(undefined, 0)).to.equal(null);
  });
});

describe("A look at the parts", () => {
  const rules = { backups: true, resplitTrials: null };
  interface Given {
    readonly best: number;
    readonly speed?: number;
    readonly alive?: boolean;
    readonly ready?: boolean;
    readonly free?: boolean;
    readonly trials?: number;
    readonly bits?: number;
  }
  const parts = (...given: Given[]): PartView[] =>
    given.map(({ best, speed = 1, alive = true, ready = false, free = false, trials = 10, bits = 20 }, part) => ({
      part,
      best,
      trials,
      bits,
      trialsSince: trials,
      holder: free ? null : { sessionId: `s${part}`, speed, alive, ready },
    }));

  it("calls for nothing where all are there and nothing has changed", () => {
    const views = parts({ best: 0.8 }, { best: 0.8 }, { best: 0.3 });
    expect(planSweep(views, undefined, rules)).to.deep.equal({
      highestLow: 0.3,
      left: [],
      moves: [],
      spread: null,
      ready: [],
      standDown: [],
      resplit: null,
    });
  });

  it("makes the low-reward miners with the least to leave ready when σ_p rises, the fastest of equals, one for each high-reward miner", () => {
    const views = parts(
      { best: 0.8 },
      { best: 0.7 },
      { best: 0.3, speed: 1 },
      { best: 0.3, speed: 9 },
      { best: 0.2, speed: 5 },
    );
    const plan = planSweep(views, undefined, rules);
    expect(plan.spread!.rises).to.equal(true);
    expect(plan.ready).to.deep.equal(["s4", "s3"]);
    const readied = views.map((view) => ({
      ...view,
      holder: { ...view.holder!, ready: plan.ready.includes(view.holder!.sessionId) },
    }));
    // The same look again calls for nothing.
    const again = planSweep(readied, plan.spread!.spread, rules);
    expect([again.spread, again.ready, again.standDown]).to.deep.equal([null, [], []]);
  });

  it("makes nobody ready when σ_p falls", () => {
    const views = parts({ best: 0.8 }, { best: 0.79 }, { best: 0.3 });
    const plan = planSweep(views, { sigma: 0.05, mean: 0.05, samples: 1 }, rules);
    expect(plan.spread!.rises).to.equal(false);
    expect(plan.ready).to.deep.equal([]);
  });

  it("lets a ready backup go on for a high-reward miner that has left, before a faster one that is not", () => {
    const views = parts(
      { best: 0.8, alive: false },
      { best: 0.75 },
      { best: 0.3, speed: 9 },
      { best: 0.3, ready: true },
    );
    const plan = planSweep(views, undefined, rules);
    expect(plan.left).to.deep.equal([0]);
    expect(plan.moves).to.deep.equal([{ sessionId: "s3", from: 3, to: 0, ready: true }]);
    expect(planSweep(views, undefined, { ...rules, backups: false }).moves).to.deep.equal([]);
  });

  it("takes one that is not ready where none is, and none for a low-reward miner that has left", () => {
    const views = parts(
      { best: 0.8, free: true },
      { best: 0.75 },
      { best: 0.3, speed: 2 },
      { best: 0.2, alive: false },
    );
    const plan = planSweep(views, undefined, rules);
    expect(plan.left).to.deep.equal([3]);
    expect(plan.moves).to.deep.equal([{ sessionId: "s2", from: 2, to: 0, ready: false }]);
  });

  it("takes the one whose own part is worth least, before a faster one that has more to leave", () => {
    const views = parts({ best: 0.8, alive: false }, { best: 0.75 }, { best: 0.3, speed: 9 }, { best: 0.2 });
    expect(planSweep(views, undefined, rules).moves).to.deep.equal([{ sessionId: "s3", from: 3, to: 0, ready: false }]);
  });

  it("moves each backup once, to the best part first", () => {
    const views = parts({ best: 0.8, free: true }, { best: 0.9, free: true }, { best: 0.1 }, { best: 0.85 });
    expect(planSweep(views, undefined, rules).moves).to.deep.equal([{ sessionId: "s2", from: 2, to: 1, ready: false }]);
  });

  it("moves the holder of the least of the high rewards, once, where no low one is left and the reward that waits is higher", () => {
    const views = parts({ best: 0.9, alive: false }, { best: 0.8 }, { best: 0.85 }, { best: 0.1, alive: false });
    expect(planSweep(views, undefined, rules).moves).to.deep.equal([{ sessionId: "s1", from: 1, to: 0, ready: false }]);
    // What it has left is lower than all that are held.
    const after = parts({ best: 0.9 }, { best: 0.8, alive: false }, { best: 0.85 }, { best: 0.1, alive: false });
    expect(planSweep(after, undefined, rules).moves).to.deep.equal([]);
    const lowLeft = parts({ best: 0.9, alive: false }, { best: 0.8 }, { best: 0.1 });
    expect(planSweep(lowLeft, undefined, rules).moves[0]!.from, "a low one before it").to.equal(2);
    expect(planSweep(views, undefined, { ...rules, backups: false }).moves).to.deep.equal([]);
  });

  it("has no backups where all are equal, or nobody has found anything", () => {
    expect(planSweep(parts({ best: 0.5, alive: false }, { best: 0.5 }), undefined, rules).moves).to.deep.equal([]);
    const fresh = parts({ best: 0, trials: 0, alive: false }, { best: 0, trials: 0 });
    expect(planSweep(fresh, undefined, rules)).to.deep.include({ left: [0], moves: [], ready: [] });
  });

  it("sends a backup back to the ranks when its own reward has become high, or it has left", () => {
    const views = parts(
      { best: 0.8 },
      { best: 0.79, ready: true },
      { best: 0.2, ready: true, alive: false },
      { best: 0.1 },
    );
    expect(planSweep(views, undefined, rules).standDown).to.deep.equal(["s1", "s2"]);
  });

  it("resplits the largest high-reward part for the worst low-reward miner, after enough trials of both", () => {
    const adaptive = { backups: true, resplitTrials: 8 };
    const views = parts({ best: 0.8, bits: 10 }, { best: 0.8, bits: 30 }, { best: 0.2 }, { best: 0.1 });
    expect(planSweep(views, undefined, adaptive).resplit).to.deep.equal({ sessionId: "s3", from: 3, of: 1 });
    const early = parts({ best: 0.8, trials: 5 }, { best: 0.1, trials: 9 });
    expect(planSweep(early, undefined, adaptive).resplit).to.equal(null);
    const single = parts({ best: 0.8, bits: 0 }, { best: 0.1 });
    expect(planSweep(single, undefined, adaptive).resplit).to.equal(null);
    const ready = parts({ best: 0.8 }, { best: 0.1, ready: true });
    expect(planSweep(ready, undefined, adaptive).resplit).to.equal(null);
  });

  it("chooses among free parts: high ones that were left, then new ones of a fitting size, then the best", () => {
    const part = (number: number, best: number, trials: number, weight: number | null = null) => ({
      part: number,
      best,
      trials,
      weight,
    });
    const free = [part(0, 0.2, 5), part(1, 0, 0, 10), part(2, 0.9, 5), part(3, 0, 0, 1000), part(4, 0.95, 5)];
    const order: [number, string][] = [];
    let rest = free;
    while (rest.length > 0) {
      const { part: chosen, why } = chooseFree(rest, 0.3, 500)!;
      order.push([chosen.part, why]);
      rest = rest.filter((one) => one !== chosen);
    }
    expect(order).to.deep.equal([
      [4, "high"],
      [2, "high"],
      [3, "new"],
      [1, "new"],
      [0, "left"],
    ]);
    expect(chooseFree([], null, 1)).to.equal(null);
  });
});
