import { expect } from "chai";

import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { createAdmission } from "../../offchain/search/admission.ts";
import { keyOf, valuesOf } from "../../offchain/search/decisions.ts";
import { admit } from "../../offchain/search/feasibility.ts";
import { neighbours, sampleArchitecture, spaceByName } from "../../offchain/search/spaces.ts";
import { STRATEGY_NAMES, createStrategy, resumeStrategy } from "../../offchain/search/strategies.ts";
import type { Strategy } from "../../offchain/search/strategy.ts";
import { runTrials, template, throughJson, tinySpace } from "./kit/networks.ts";
import { surrogateReward } from "./kit/surrogate.ts";

const full = spaceByName("full");

/** A strategy that proposes what a list says, its last entry for ever, and writes down what it is told. */
function scripted(proposals: readonly Architecture[]) {
  const told: [string, number][] = [];
  let at = 0;
  const strategy: Strategy = {
    ask: () => proposals[Math.min(at++, proposals.length - 1)]!,
    tell: (architecture, reward) => told.push([keyOf(architecture), reward]),
    save: () => null,
  };
  return { strategy, told };
}

const networks = (count: number, seed: number): Architecture[] => {
  const random = createRandom(seed);
  const found: Architecture[] = [];
  while (found.length < count) {
    const architecture = sampleArchitecture(template, full, random);
    if (admit(architecture).architecture !== null) found.push(architecture);
  }
  return found;
};
const dead = ({ layers, ...rest }: Architecture): Architecture => ({
  ...rest,
  layers: layers.map((layer) => ({ ...layer, weightIntBits: 0, weightFracBits: 0 })),
});

describe("what stands between a strategy and the trainers", () => {
  for (const name of STRATEGY_NAMES) {
    it(`${name}: hands out each network of a tiny space once, then says that it is used up`, () => {
      const depth = 4;
      const search = createStrategy(name, { template: { ...template, depth }, space: tinySpace, seed: 0 });
      const seen = new Set<string>();
      runTrials(search, 2 ** depth, (network) => {
        seen.add(keyOf(network));
        return surrogateReward(network, 1);
      });
      expect(seen.size).to.equal(2 ** depth);
      expect(() => search.ask())
        .to.throw(PonasError, "10000 draws from the space gave no new network within the limits, after 16 proposals.")
        .with.property("code", "not-found");
    });

    it(`${name}: never hands out what was told of, by whomever, nor what is outside the limits`, () => {
      const limits = { maxMacs: 5e6, hardware: { maxLuts: 30_000, minThroughput: 1000 } };
      const search = createStrategy(name, { template, space: spaceByName("S6"), seed: 4, ...limits });
      const seen = new Set<string>();
      for (const foreign of Array.from({ length: 20 }, (_, i) =>
        sampleArchitecture(template, spaceByName("S6"), createRandom(i)),
      )) {
        search.tell(foreign, 0.3);
        seen.add(keyOf(foreign));
      }
      runTrials(search, 40, (network) => {
        const { tiling, ...plain } = network;
        expect(tiling).to.not.equal(undefined);
        expect(admit(plain, limits).architecture).to.deep.equal(network);
        expect(seen.has(keyOf(network))).to.equal(false);
        seen.add(keyOf(network));
        return surrogateReward(network, 4);
      });
      expect(search.counts()).to.include({ asked: 40, told: 60 });
    });
  }

  it("tells the strategy 0 for what needs no training, and the known reward of what was trained", () => {
    const [a, b] = networks(2, 1) as [Architecture, Architecture];
    const { strategy, told } = scripted([a, dead(a), a, b, a]);
    const search = createAdmission("scripted", () => strategy, { template, space: full, seed: 1 });
    expect(search.ask()).to.deep.equal(a);
    search.tell(a, 0.6);
    expect(search.ask()).to.deep.equal(b);
    expect(told).to.deep.equal([
      [keyOf(a), 0.6],
      [keyOf(dead(a)), 0],
      [keyOf(a), 0.6],
    ]);
    expect(search.counts()).to.deep.equal({ asked: 2, told: 1, rejected: 1, duplicates: 1 });
  });

  it("passes over what is still being trained, and lets the first reward of a network count", () => {
    const [a, b] = networks(2, 2) as [Architecture, Architecture];
    const { strategy, told } = scripted([a, a, b]);
    const search = createAdmission("scripted", () => strategy, { template, space: full, seed: 1 });
    search.ask();
    expect(search.ask()).to.deep.equal(b);
    expect(told).to.deep.equal([]);
    search.tell(b, 0.4);
    search.tell(b, 0.9);
    search.tell(a, 0.2);
    expect(told).to.deep.equal([
      [keyOf(b), 0.4],
      [keyOf(a), 0.2],
    ]);
  });

  it("takes unknown neighbours of what a converged strategy insists on, then random networks", () => {
    const depth = 2;
    const space = { ...tinySpace, filters: [12, 24] };
    const only = sampleArchitecture({ ...template, depth }, space, createRandom(1));
    const { strategy, told } = scripted([only]);
    const search = createAdmission("scripted", () => strategy, { template: { ...template, depth }, space, seed: 1 });
    search.tell(search.ask(), 0.5);
    const around = neighbours(only, space);
    for (const _ of around) {
      const standIn = search.ask();
      expect(around.map(keyOf)).to.include(keyOf(standIn));
      search.tell(standIn, 0.2);
    }
    expect(new Set(told.map(([key]) => key)).size).to.equal(1 + around.length);
    expect(around.map(keyOf)).to.not.include(keyOf(search.ask()));
  });

  it("takes random networks where a strategy proposes nothing feasible, after it was told so often enough to learn", () => {
    const [a] = networks(1, 3) as [Architecture];
    const { strategy, told } = scripted([dead(a)]);
    const search = createAdmission("scripted", () => strategy, { template, space: full, seed: 1 });
    expect(admit(search.ask()).reason).to.equal(null);
    expect(told.length).to.equal(128);
    expect(search.counts()).to.include({ asked: 1, rejected: 128 });
  });

  it("keeps a converged controller searching", () => {
    const depth = 1;
    const space = { ...tinySpace, filters: [12, 24, 36], actFracBits: [4, 5, 6], kernelWidth: [1, 3, 5, 7] };
    const search = createStrategy("rnn-reinforce", { template: { ...template, depth }, space, seed: 3 });
    const seen = new Set<string>();
    runTrials(search, 72, (network) => {
      seen.add(keyOf(network));
      return network.layers[0]!.filters === 36 && network.layers[0]!.kernelWidth === 3 ? 0.9 : 0.1;
    });
    expect(seen.size).to.equal(72);
    expect(search.counts().duplicates).to.be.above(72);
    expect(() => search.ask()).to.throw(PonasError, "after 72 proposals");
  });

  it("ends within bounds where nothing is feasible on the hardware", () => {
    const hardware = { maxLuts: 1, minThroughput: 1 };
    const search = createStrategy("random", { template, space: full, seed: 3, hardware });
    expect(() => search.ask()).to.throw(PonasError, /^\d+ draws from the space gave no new network/);
    expect(search.counts()).to.include({ asked: 0, rejected: 128 });
  });

  it("refuses rewards that are none, and networks of other spaces, and has learnt nothing then", () => {
    const search = createStrategy("evolution", { template, space: full, seed: 1 });
    const network = search.ask();
    const before = throughJson(search.save());
    for (const reward of [NaN, -0.1, 1.1, Infinity, "0.5" as never, undefined as never]) {
      expect(() => search.tell(network, reward))
        .to.throw(PonasError, `The reward of a network is a number from 0 to 1, not ${reward}.`)
        .with.property("code", "bad-input");
    }
    const { layers } = network;
    for (const other of [layers.slice(1), [...layers, layers[0]!], layers.map((layer) => ({ ...layer, filters: 5 }))]) {
      expect(() => search.tell({ ...network, layers: other }, 0.5)).to.throw(PonasError, "not of the search's space");
    }
    expect(throughJson(search.save())).to.deep.equal(before);
  });

  it("remembers networks apart from their tilings", () => {
    const options = { template, space: spaceByName("S6"), seed: 2 };
    const bounded = createStrategy("random", { ...options, hardware: { maxLuts: 30_000, minThroughput: 1000 } });
    const free = createStrategy("random", options);
    const network = bounded.ask();
    free.tell(network, 0.4);
    const { tiling: _, ...plain } = network;
    free.tell(plain, 0.8);
    expect(free.counts().told).to.equal(1);
    expect(JSON.stringify(free.save())).to.not.include("tiles");
  });

  it("takes the rewards of trials that a crash has cut off, and a journal told again as nothing new", () => {
    const options = { template, space: spaceByName("S6"), seed: 2, hardware: { maxLuts: 30_000, minThroughput: 1000 } };
    const search = createStrategy("rnn-reinforce", options);
    const asked = Array.from({ length: 3 }, () => search.ask());
    search.tell(asked[1]!, 0.5);
    const resumed = createStrategy("rnn-reinforce", { ...options, state: throughJson(search.save()) });
    for (const network of asked) {
      search.tell(network, 0.3);
      resumed.tell(network, 0.3);
    }
    expect(resumed.save()).to.deep.equal(search.save());
    expect(resumed.counts().told).to.equal(3);
    const before = throughJson(resumed.save());
    for (const network of asked) resumed.tell(network, 0.9);
    expect(throughJson(resumed.save())).to.deep.equal(before);
  });

  it("has a state of bounded size after thousands of trials", () => {
    const search = createStrategy("local-search", { template, space: full, seed: 2 });
    for (let trial = 0; trial < 9000; trial++) {
      const network = search.ask();
      if (trial % 10 > 0) search.tell(network, 0.123456789 + trial / 1e5);
    }
    const state = throughJson(search.save()) as { known: unknown[] };
    expect(state.known.length).to.equal(8192);
    expect(JSON.stringify(state).length).to.be.below(500_000);
    createStrategy("local-search", { template, space: full, seed: 2, state });
  });

  it("begins anew, and says why, where a state is another strategy's or damaged", () => {
    const options = { template, space: full, seed: 2 };
    const fresh = createStrategy("evolution", options);
    const first = fresh.ask();
    for (const [state, why] of [
      [
        createStrategy("local-search", options).save(),
        /^The search's state is one of local-search, not of evolution\.$/,
      ],
      [{ random: 1, proposed: [] }, /^The search's state is not valid/],
    ] as const) {
      const reasons: string[] = [];
      const search = resumeStrategy("evolution", { ...options, state }, (reason) => reasons.push(reason));
      expect(reasons.length).to.equal(1);
      expect(reasons[0]).to.match(why);
      expect(valuesOf(search.ask())).to.deep.equal(valuesOf(first));
    }
    const silent = resumeStrategy("evolution", { ...options, state: fresh.save() }, (reason) => expect.fail(reason));
    expect(silent.counts().asked).to.equal(1);
    const empty = { ...options, space: [], state: fresh.save() };
    expect(() => resumeStrategy("evolution", empty, () => undefined).ask()).to.throw(PonasError);
  });
});
