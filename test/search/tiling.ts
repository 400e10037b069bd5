import { expect } from "chai";

import {
  hardwareLayers,
  throughputOf,
  tileCycles,
  tileLuts,
  tilingCost,
  witnessFault,
  type HardwareBounds,
  type HardwareLayer,
} from "../../offchain/evaluation/hardware.ts";
import type { Architecture, Template } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sampleArchitecture, spaceByName } from "../../offchain/search/spaces.ts";
import { findTiling } from "../../offchain/search/tiling.ts";
import { LOGGED, LOGGED_BOUNDS } from "../evaluation/naqs-logs.ts";

const CIFAR: Template = { input: [32, 32, 3], classes: 10, depth: 6, head: { pool: "flatten", hidden: 0 } };

interface Plan {
  readonly tiles: [number, number][];
  readonly groups: number[];
  readonly luts: number;
  readonly cycles: number;
  readonly last: number;
  readonly earlier: number;
}

/** The source's search with every tile looked at in its order, and its fronts compared pair by pair. */
function bruteForce(layers: readonly HardwareLayer[], { maxLuts, minThroughput }: HardwareBounds): Plan | undefined {
  const luts = maxLuts === 0 ? 1e15 : maxLuts;
  const allowed = (cycles: number): boolean => minThroughput * cycles < 1e8;
  let plans: Plan[] = [{ tiles: [], groups: [], luts: 0, cycles: 0, last: 0, earlier: 0 }];
  for (const layer of layers) {
    const all: { tile: [number, number]; luts: number; cycles: number }[] = [];
    for (let tn = 1; tn <= layer.channels; tn++) {
      for (let tm = 1; tm <= layer.filters; tm++) {
        all.push({ tile: [tn, tm], luts: tileLuts(layer, [tn, tm]), cycles: tileCycles(layer, [tn, tm]) });
      }
    }
    const next: Plan[] = [];
    for (const plan of plans) {
      for (const joins of plan.tiles.length === 0 ? [false] : [false, true]) {
        const taken = joins ? plan.last : 0;
        const earlier = joins ? plan.earlier : plan.cycles;
        const fitting = all.filter((one) => taken + one.luts <= luts && allowed(earlier + one.cycles));
        if (fitting.length === 0) continue;
        const least = fitting.reduce((a, b) => (b.luts < a.luts ? b : a));
        const fastest = fitting.reduce((a, b) => (b.cycles < a.cycles ? b : a));
        for (const { tile, ...cost } of [least, fastest]) {
          next.push({
            tiles: [...plan.tiles, tile],
            groups: joins ? [...plan.groups.slice(0, -1), plan.groups.at(-1)! + 1] : [...plan.groups, 1],
            luts: Math.max(plan.luts, taken + cost.luts),
            cycles: Math.max(joins ? plan.cycles : 0, earlier + cost.cycles),
            last: taken + cost.luts,
            earlier,
          });
        }
      }
    }
    plans = fronts(next);
  }
  return plans.sort((a, b) => a.cycles - b.cycles || a.luts - b.luts)[0];
}

/** Of each two measures, what no other is as good as in both; of equals the first, sorted anew for each pair. */
function fronts(plans: Plan[]): Plan[] {
  const kept = new Set<Plan>();
  const pairs = [["last", "cycles"], ["cycles", "earlier"], ["last", "earlier"]] as const; // prettier-ignore
  for (const [x, y] of pairs) {
    plans.sort((a, b) => a[x] - b[x]);
    plans.forEach((plan, at) => {
      const beaten = plans.some(
        (other, where) =>
          other[x] <= plan[x] && other[y] <= plan[y] && (other[x] < plan[x] || other[y] < plan[y] || where < at),
      );
      if (!beaten) kept.add(plan);
    });
  }
  return [...kept];
}

describe("the search for a tiling", () => {
  it("finds what the authors of the source have logged, to the last tile", () => {
    for (const { architecture, luts, throughput, tiles, groups } of LOGGED) {
      const found = findTiling(architecture, { bounds: LOGGED_BOUNDS, compat: true });
      expect(found).to.deep.equal({ luts, throughput, feasible: true, tiling: { tiles, groups }, reason: null });
    }
  });

  it("finds the known figures of the same networks with rows counted as rows", () => {
    for (const { architecture, corrected } of LOGGED) {
      const { luts, throughput } = findTiling(architecture, { bounds: LOGGED_BOUNDS });
      expect({ luts, throughput: Number(throughput!.toFixed(2)) }).to.deep.equal(corrected);
    }
  });

  it("finds what a look at every tile finds", () => {
    const random = createRandom("tilings");
    const space = spaceByName("full");
    for (let round = 0; round < 120; round++) {
      const architecture = sampleArchitecture({ ...CIFAR, depth: 1 + (round % 6) }, space, random);
      const bounds = { maxLuts: random.choice([0, 1000, 5000, 20_000, 100_000]), minThroughput: random.choice([0, 10, 1000, 10_000]) }; // prettier-ignore
      const brute = bruteForce(hardwareLayers(architecture), bounds);
      const found = findTiling(architecture, { bounds });
      if (brute === undefined) {
        expect(found.feasible).to.equal(false);
        continue;
      }
      const { tiles, groups, luts, cycles } = brute;
      const throughput = throughputOf({ luts, cycles });
      expect(found).to.deep.equal({ luts, throughput, feasible: true, tiling: { tiles, groups }, reason: null });
    }
  });

  it("finds tilings that hold as witnesses, in far less than ten milliseconds each", () => {
    const random = createRandom("witnesses");
    const space = spaceByName("full");
    const architectures = Array.from({ length: 200 }, () => sampleArchitecture(CIFAR, space, random));
    const bounds = { maxLuts: 30_000, minThroughput: 1000 };
    const before = process.cpuUsage();
    const found = architectures.map((architecture) => findTiling(architecture, { bounds }));
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000 / found.length).to.be.below(10);

    let feasible = 0;
    for (const [at, { tiling, luts, throughput, reason }] of found.entries()) {
      const architecture = architectures[at]!;
      if (tiling === null) {
        expect(reason).to.match(/^the fastest tiling found takes \d+ cycles an image/);
        expect(luts).to.be.at.most(bounds.maxLuts);
        expect(throughput).to.be.at.most(bounds.minThroughput);
        continue;
      }
      feasible += 1;
      expect(witnessFault({ ...architecture, tiling }, bounds)).to.equal(null);
      const cost = tilingCost(hardwareLayers(architecture), tiling);
      expect([cost.luts, throughputOf(cost)]).to.deep.equal([luts, throughput]);
    }
    expect(feasible).to.be.within(170, 199);
  });

  it("passes every network at the paper's bounds, as they never bind", () => {
    const random = createRandom("paper's bounds");
    for (let round = 0; round < 100; round++) {
      const architecture = sampleArchitecture(CIFAR, spaceByName("full"), random);
      const { feasible } = findTiling(architecture, { bounds: { maxLuts: 100_000, minThroughput: 10 } });
      expect(feasible).to.equal(true);
    }
  });

  describe("of one network", () => {
    const { architecture } = LOGGED[0]!;
    const find = (maxLuts: number, minThroughput: number, of: Architecture = architecture) =>
      findTiling(of, { bounds: { maxLuts, minThroughput } });

    it("takes whole layers side by side where nothing is bounded", () => {
      const { tiling } = find(0, 0);
      const full = hardwareLayers(architecture).map(({ channels, filters }) => [channels, filters]);
      expect(tiling!.tiles).to.deep.equal(full);
      expect(find(0, 10).tiling).to.deep.equal(tiling);
    });

    it("shows the smallest tiling where no device of the size holds any", () => {
      const layers = hardwareLayers(architecture);
      const smallest = Math.max(...layers.map((layer) => tileLuts(layer, [1, 1])));
      const cycles = layers.reduce((sum, layer) => sum + tileCycles(layer, [1, 1]), 0);
      expect(find(smallest - 1, 10)).to.deep.equal({
        luts: smallest,
        throughput: 1e8 / cycles,
        feasible: false,
        tiling: null,
        reason: `its smallest tiling needs ${smallest} look-up tables, more than ${smallest - 1}`,
      });
      expect(find(smallest, 0).luts).to.equal(smallest);
    });

    it("shows the fastest tiling where none is fast enough", () => {
      const fastest = find(100_000, 0);
      expect(fastest.feasible).to.equal(true);
      const { luts, throughput, feasible, tiling, reason } = find(100_000, 50_000);
      expect({ luts, throughput }).to.deep.equal({ luts: fastest.luts, throughput: fastest.throughput });
      expect({ feasible, tiling }).to.deep.equal({ feasible: false, tiling: null });
      expect(reason).to.match(/^the fastest tiling found takes 21\d{3} cycles an image, and more than 50000 images per second leave at most 1999$/); // prettier-ignore
    });

    it("has no figures where the model knows no multiplier", () => {
      const layers = architecture.layers.with(0, { ...architecture.layers[0]!, actIntBits: 5, actFracBits: 0 });
      const wide = layers.with(1, { ...layers[1]!, weightIntBits: 3, weightFracBits: 3 });
      expect(find(0, 10, { ...architecture, layers: wide })).to.deep.equal({
        luts: null,
        throughput: null,
        feasible: false,
        tiling: null,
        reason: "layer 1 reads activations of 5 integer bits, and no multiplier for more than 4 is known",
      });
    });

    it("does not go by a tiling that the architecture carries already", () => {
      const tiling: Architecture["tiling"] = { tiles: [[1, 1]], groups: [9] };
      expect(find(100_000, 1000, { ...architecture, tiling })).to.deep.equal(find(100_000, 1000));
    });

    it("copes with the widest layers there can be", () => {
      const layer = { ...architecture.layers[0]!, filters: 65_535, kernelHeight: 1, kernelWidth: 1 };
      const { feasible, luts } = find(1_000_000, 0, { ...architecture, input: [64, 64, 255], layers: [layer] });
      expect(feasible).to.equal(true);
      expect(luts).to.be.at.most(1_000_000);
    });
  });
});
