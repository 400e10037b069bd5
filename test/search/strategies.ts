import { expect } from "chai";

import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { createEvolution } from "../../offchain/search/evolution.ts";
import { createLocalSearch } from "../../offchain/search/local-search.ts";
import { createRnnReinforce } from "../../offchain/search/rnn-reinforce.ts";
import { valuesOf } from "../../offchain/search/decisions.ts";
import { isMember, neighbours, sampleArchitecture, spaceByName } from "../../offchain/search/spaces.ts";
import { STRATEGY_NAMES, createStrategy, type StrategyName } from "../../offchain/search/strategies.ts";
import type { Strategy } from "../../offchain/search/strategy.ts";
import { runTrials, template, throughJson, tinySpace } from "./kit/networks.ts";
import { surrogateReward } from "./kit/surrogate.ts";

const full = spaceByName("full");
const S2 = spaceByName("S2");

const distance = (a: readonly number[], b: readonly number[]): number =>
  a.filter((value, decision) => value !== b[decision]).length;

/** Mean best rewards of searches of 100 trials, four side by side, each seed on a landscape of its own. */
function meanBest(name: StrategyName, seeds: number): number {
  let sum = 0;
  for (let seed = 0; seed < seeds; seed++) {
    sum += runTrials(createStrategy(name, { template, space: S2, seed }), 100, (network) =>
      surrogateReward(network, seed),
    );
  }
  return sum / seeds;
}

describe("search strategies", () => {
  it("evolution and local search beat random search on the same 100 trials, over 20 seeds", () => {
    const random = meanBest("random", 20);
    expect(meanBest("evolution", 20)).to.be.above(random + 0.04);
    expect(meanBest("local-search", 20)).to.be.above(random + 0.06);
  });

  for (const name of STRATEGY_NAMES) {
    describe(name, () => {
      it("proposes the same networks for the same seed and rewards, others for another seed", () => {
        const trace = (seed: number): number[][] => {
          const strategy = createStrategy(name, { template, space: full, seed });
          const networks: number[][] = [];
          runTrials(strategy, 40, (network) => {
            networks.push(valuesOf(network));
            return surrogateReward(network, 1);
          });
          return networks;
        };
        const one = trace(5);
        expect(trace(5)).to.deep.equal(one);
        expect(trace(6)).to.not.deep.equal(one);
      });

      it("goes on from its state, through JSON, bit for bit: with trials under way, told in any order, by strangers too", () => {
        const random = createRandom(`${name} events`);
        const options = { template, space: S2, seed: 8 };
        const whole = createStrategy(name, options);
        let halting = createStrategy(name, options);
        const running: ReturnType<Strategy["ask"]>[] = [];
        for (let event = 0; event < 120; event++) {
          if (random.next() < 0.3) {
            halting = createStrategy(name, { ...options, seed: 1, state: throughJson(halting.save()) });
          }
          const happens = random.next();
          if (running.length === 0 || happens < 0.5) {
            const architecture = whole.ask();
            expect(halting.ask()).to.deep.equal(architecture);
            running.push(architecture);
            continue;
          }
          const stranger = happens > 0.9;
          const [told] = stranger
            ? [sampleArchitecture(template, S2, random)]
            : running.splice(random.integer(running.length), 1);
          const reward = random.next() < 0.2 ? 0 : surrogateReward(told!, 8);
          whole.tell(told!, reward);
          halting.tell(told!, reward);
        }
        expect(halting.save()).to.deep.equal(whole.save());
      });

      it("stays inside a union of boxes", () => {
        const boxes = [
          [S2, { ...S2, filters: [24] }],
          [
            { ...S2, kernelHeight: [1, 3] },
            { ...S2, filters: [36, 64] },
          ],
        ];
        const strategy = createStrategy(name, { template: { ...template, depth: 2 }, space: boxes, seed: 3 });
        runTrials(strategy, 60, (network) => {
          expect(isMember(network, boxes)).to.equal(true);
          return surrogateReward(network, 3);
        });
        expect(strategy.counts().asked).to.equal(60);
      });

      it("refuses damaged states with one sentence", () => {
        const strategy = createStrategy(name, { template, space: S2, seed: 2 });
        runTrials(strategy, 30, (network) => surrogateReward(network, 2));
        strategy.ask();
        const good = throughJson(strategy.save()) as { inner: Record<string, unknown> };
        const { inner } = good;
        const damaged: unknown[] = [
          null,
          "{}",
          [],
          {},
          { ...good, inner: undefined },
          { ...good, inner: null },
          { ...good, inner: { ...inner, more: 1 } },
          { ...good, random: -1 },
          { ...good, random: 2 ** 32 },
          { ...good, known: [["short", 0.5]] },
          { ...good, known: [["0123456789ab", 1.5]] },
          { ...good, known: Array.from({ length: 8193 }, (_, i) => [i.toString(16).padStart(12, "0"), null]) },
          { ...good, known: undefined },
          { ...good, counts: { asked: -1, told: 0, rejected: 0, duplicates: 0 } },
          { ...good, strategy: "annealing" },
        ];
        for (const field of Object.keys(inner)) {
          for (const value of [null, "x", -1, 1e300, { "": [] }, [1e9], [[["0123456789ab", 5]]]]) {
            if (field === "centre" && value === null) continue; // a search that has not begun to climb
            damaged.push({ ...good, inner: { ...inner, [field]: value } });
          }
        }
        for (const state of damaged) {
          expect(
            () => createStrategy(name, { template, space: S2, seed: 2, state }),
            JSON.stringify(state)?.slice(0, 80),
          )
            .to.throw(PonasError, /^(The search's state|The state of the [a-z ]+) .+\.$/)
            .with.property("code", "bad-input");
        }
        // A sound state, but of another space.
        if (name !== "random") {
          expect(() => createStrategy(name, { template, space: tinySpace, seed: 2, state: good })).to.throw(
            PonasError,
            /not of the space\.$|as this space needs\.$/,
          );
        }
      });
    });
  }
});

describe("regularised evolution", () => {
  const tuning = { population: 5, tournament: 5 };

  it("begins with random networks, then changes one decision of a parent that is alive", () => {
    const evolution = createEvolution({ template, space: full, seed: 1 }, tuning);
    const told: number[][] = [];
    for (let trial = 0; trial < 60; trial++) {
      const network = evolution.ask();
      const parents = told.slice(-tuning.population).map((values) => distance(values, valuesOf(network)));
      if (trial >= tuning.population) expect(Math.min(...parents)).to.equal(1);
      else for (const apart of parents) expect(apart).to.be.above(1);
      told.push(valuesOf(network));
      evolution.tell(network, surrogateReward(network, 1));
    }
  });

  it("lets the best one die of age", () => {
    const evolution = createEvolution({ template, space: full, seed: 1 }, tuning);
    const best = evolution.ask();
    evolution.tell(best, 1);
    for (let trial = 0; trial < tuning.population; trial++) evolution.tell(evolution.ask(), 0.1);
    for (let trial = 0; trial < 20; trial++) {
      expect(distance(valuesOf(evolution.ask()), valuesOf(best))).to.be.above(1);
    }
  });

  it("breeds from another miner's network, and from none that is not feasible", () => {
    const evolution = createEvolution({ template, space: full, seed: 1 }, { population: 5, tournament: 50 });
    for (let i = 0; i < 5; i++) evolution.tell(evolution.ask(), 0.1);
    const foreign = sampleArchitecture(template, full, createRandom("another miner"));
    evolution.tell(foreign, 0.9);
    for (let i = 0; i < 10; i++) evolution.tell(sampleArchitecture(template, full, createRandom(i)), 0);
    expect(distance(valuesOf(evolution.ask()), valuesOf(foreign))).to.equal(1);
  });

  it("asks for as many random networks as the population holds while their rewards are late, and after refusals for more", () => {
    const evolution = createEvolution({ template, space: full, seed: 1 }, tuning);
    const asked = Array.from({ length: 5 }, () => evolution.ask());
    evolution.tell(asked[0]!, 0.4);
    expect(distance(valuesOf(evolution.ask()), valuesOf(asked[0]!))).to.equal(1);
    const refused = createEvolution({ template, space: full, seed: 1 }, tuning);
    for (let i = 0; i < 20; i++) refused.tell(refused.ask(), 0);
    const first = refused.ask();
    refused.tell(first, 0.4);
    expect(distance(valuesOf(refused.ask()), valuesOf(first))).to.be.above(1);
  });
});

describe("local search", () => {
  it("climbs from the best of its random networks to the first neighbour that is no worse", () => {
    const search = createLocalSearch({ template, space: full, seed: 1 }, { initial: 4, patience: 100 });
    const starts = Array.from({ length: 4 }, () => search.ask());
    [0.2, 0.5, 0.3, 0.4].forEach((reward, i) => search.tell(starts[i]!, reward));
    const [worse, same] = [search.ask(), search.ask()];
    for (const neighbour of [worse, same]) expect(distance(valuesOf(neighbour), valuesOf(starts[1]!))).to.equal(1);
    search.tell(worse, 0.49);
    expect(distance(valuesOf(search.ask()), valuesOf(starts[1]!))).to.equal(1);
    search.tell(same, 0.5);
    expect(distance(valuesOf(search.ask()), valuesOf(same))).to.equal(1);
  });

  it("looks at each neighbour once, then begins anew elsewhere; what comes late from the old climb does not call it back", () => {
    const depth = 4;
    const space = { ...tinySpace, filters: [12, 24] };
    const options = { template: { ...template, depth }, space, seed: 1 };
    const search = createLocalSearch(options, { initial: 1, patience: 100 });
    const top = search.ask();
    search.tell(top, 0.9);
    const around = neighbours(top, space);
    const seen = around.map(() => search.ask());
    expect(new Set(seen.map((network) => valuesOf(network).join())).size).to.equal(around.length);
    for (const network of seen.slice(1)) search.tell(network, 0.5);
    const elsewhere = search.ask();
    search.tell(seen[0]!, 0.8);
    search.tell(elsewhere, 0.3);
    expect(distance(valuesOf(search.ask()), valuesOf(elsewhere))).to.equal(1);
  });

  it("does not lose its patience with neighbours that are not feasible", () => {
    const search = createLocalSearch({ template, space: full, seed: 1 }, { initial: 1, patience: 3 });
    const first = search.ask();
    search.tell(first, 0.5);
    for (let i = 0; i < 20; i++) search.tell(search.ask(), i % 10 === 0 ? 0.4 : 0);
    expect(distance(valuesOf(search.ask()), valuesOf(first))).to.equal(1);
  });

  it("begins anew when its patience is over, and moves to a stranger's network that beats all before", () => {
    const search = createLocalSearch({ template, space: full, seed: 1 }, { initial: 1, patience: 3 });
    const first = search.ask();
    search.tell(first, 0.5);
    for (let i = 0; i < 3; i++) search.tell(search.ask(), 0.4);
    const second = search.ask();
    expect(distance(valuesOf(second), valuesOf(first))).to.be.above(1);
    search.tell(second, 0.3);
    const [weak, strong] = [1, 2].map((seed) => sampleArchitecture(template, full, createRandom(seed)));
    search.tell(weak!, 0.45);
    expect(distance(valuesOf(search.ask()), valuesOf(second))).to.equal(1);
    search.tell(strong!, 0.6);
    expect(distance(valuesOf(search.ask()), valuesOf(strong!))).to.equal(1);
  });
});

describe("the controller's search", () => {
  const depth = 1;
  const small = { ...tinySpace, filters: [12, 24, 36], actFracBits: [4, 5, 6] };
  const options = { template: { ...template, depth }, space: small };
  const reward = ([, , filters, , , , , actFracBits]: readonly number[]): number =>
    0.1 + (filters === 36 ? 0.4 : 0) + (actFracBits === 5 ? 0.4 : 0);

  it("learns which choices pay", () => {
    for (const seed of [1, 2, 3]) {
      const search = createRnnReinforce({ ...options, seed });
      let last = 0;
      for (let episode = 0; episode < 300; episode++) {
        const network = search.ask();
        const got = reward(valuesOf(network));
        search.tell(network, got);
        if (episode >= 250) last += got / 50;
      }
      // By chance it would be 0.1 + 0.4 / 3 + 0.4 / 3.
      expect(last).to.be.above(0.8);
    }
  });

  it("learns from its own episodes alone, once each, however late", () => {
    const search = createRnnReinforce({ ...options, seed: 1 });
    const parameters = (): unknown => (search.save() as { parameters: unknown }).parameters;
    const before = parameters();
    const asked = search.ask();
    const members = neighbours(asked, small);
    for (let i = 0; i < 50; i++) search.tell(members[i % members.length]!, 1);
    expect(search.save()).to.include({ seen: 0, baseline: 0 });
    for (let i = 0; i < 10; i++) search.tell(asked, 0.5);
    expect(search.save()).to.include({ seen: 1, baseline: 0.5 });
    expect(parameters()).to.equal(before);
    for (let i = 0; i < 4; i++) search.tell(search.ask(), 0.7);
    expect(parameters()).to.not.equal(before);
  });

  it("has the mean of the first rewards as its baseline, then the moving average, and judges a reward by the one before", () => {
    const search = createRnnReinforce({ ...options, seed: 1 });
    const saved = (): { baseline: number; batch: { advantage: number }[] } => search.save() as never;
    const rewards = Array.from({ length: 25 }, (_, i) => (i % 7) / 10);
    let average = 0;
    for (const [i, got] of rewards.entries()) {
      const network = search.ask();
      const before = saved().baseline;
      search.tell(network, got);
      const { baseline, batch } = saved();
      if (i < 19) average = rewards.slice(0, i + 1).reduce((sum, value) => sum + value, 0) / (i + 1);
      else average += (got - average) * 0.1;
      expect(baseline).to.be.closeTo(average, 1e-12);
      if (i % 5 !== 4) expect(batch.at(-1)!.advantage).to.equal(got - before);
    }
  });
});
