import { expect } from "chai";

import { HYPERPARAMETERS, type Space, type Template } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { apportion } from "../../offchain/search/apportion.ts";
import { areDisjoint } from "../../offchain/search/boxes.ts";
import {
  createPartition,
  PARTITION_NAMES,
  randomSubsets,
  type PartitionOptions,
} from "../../offchain/search/partition.ts";
import {
  boxSchema,
  isMember,
  sampleArchitecture,
  spaceByName,
  spaceSize,
  type Box,
} from "../../offchain/search/spaces.ts";

describe("randomSubsets", () => {
  const space = spaceByName("full");

  it("gives every miner a non-empty subset of each list, in the list's order", () => {
    const parts = randomSubsets(space, 200, 7);
    expect(parts).to.have.length(200);
    for (const part of parts) {
      for (const name of HYPERPARAMETERS) {
        expect(part[name]).to.not.be.empty;
        expect(part[name]).to.deep.equal(space[name].filter((value) => part[name].includes(value)));
      }
    }
  });

  it("is the same for the same seed and another for another", () => {
    expect(randomSubsets(space, 9, 1)).to.deep.equal(randomSubsets(space, 9, 1));
    expect(randomSubsets(space, 9, 1)).to.not.deep.equal(randomSubsets(space, 9, 2));
  });

  it("draws each of the three subsets of a list of two equally often", () => {
    const seen = new Map<string, number>();
    for (const { poolSize } of randomSubsets(space, 3000, 3)) {
      seen.set(poolSize.join(), (seen.get(poolSize.join()) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).to.deep.equal(["1", "1,2", "2"]);
    for (const count of seen.values()) expect(count).to.be.within(900, 1100);
  });
});

describe("the paper's partition", () => {
  const paper = (miners: number, space = spaceByName("full")) =>
    createPartition("paper", { space, depth: 6, miners, seed: 0 });

  it("is S1 … S9, the first of them for fewer miners, from S1 again for more", () => {
    const nine = Array.from({ length: 9 }, (_, i) => spaceByName(`S${i + 1}`));
    expect(paper(9)).to.deep.equal(nine);
    expect(paper(2)).to.deep.equal(nine.slice(0, 2));
    expect(paper(20)).to.deep.equal([...nine, ...nine, ...nine.slice(0, 2)]);
  });

  it("divides the full space or one around it, and no other", () => {
    const full = spaceByName("full");
    expect(paper(1, { ...full, filters: [...full.filters, 48, 32] })).to.have.length(1);
    expect(() => paper(1, spaceByName("S4"))).to.throw(
      "The paper's subspaces divide the full space, but this space lacks choices of poolSize.",
    );
  });
});

/** Weights by kind; every one is finite and 0 or more. */
const WEIGHTS: Record<string, (miners: number) => number[]> = {
  equal: (miners) => Array<number>(miners).fill(1),
  "a million to one": (miners) => Array.from({ length: miners }, (_, i) => (i % 3 === 0 ? 1e6 : 1)),
  "one giant": (miners) => Array.from({ length: miners }, (_, i) => (i === 0 ? 1e6 : 1)),
  "heavy-tailed": (miners) => {
    const random = createRandom(miners);
    return Array.from({ length: miners }, () => 1 / (1 - random.next()));
  },
  "with zeros": (miners) => Array.from({ length: miners }, (_, i) => (i % 4 === 3 ? 0 : 0.1 + i)),
  "at the ends of doubles": (miners) =>
    Array.from({ length: miners }, (_, i) => [Number.MAX_VALUE, Number.MIN_VALUE, 1e-300, Number.MAX_VALUE][i % 4]!),
};

describe("the disjoint partition", () => {
  const disjoint = (options: Omit<PartitionOptions, "seed"> & { seed?: number }): Box[][] =>
    createPartition("disjoint", { seed: 1, ...options }) as Box[][];
  const template = (depth: number): Template => ({
    input: [28, 28, 1],
    classes: 10,
    depth,
    head: { pool: "flatten", hidden: 0 },
  });

  /** Checks sizes by counting, and everything else by random members of the space. */
  function check(space: Space, depth: number, weights: readonly number[], parts: Box[][]): void {
    const total = spaceSize(space, depth);
    const sizes = parts.map((boxes) => spaceSize(boxes, depth));
    expect(parts).to.have.length(weights.length);
    expect(sizes.reduce((sum, size) => sum + size, 0n)).to.equal(total);
    const largest = Math.max(...weights);
    const sum = weights.reduce((all, weight) => all + weight / largest, 0);
    for (const [i, weight] of weights.entries()) {
      const quota = (Number(total) / sum) * (weight / largest);
      if (quota >= 20) expect(Number(sizes[i]) / quota, `share of miner ${i}`).to.be.within(0.95, 1.05);
      else expect(Math.abs(Number(sizes[i]) - quota), `architectures of miner ${i}`).to.be.below(1);
      if (weight === 0) expect(parts[i]).to.deep.equal([]);
    }
    const random = createRandom("members");
    const boxes = parts.flat();
    for (let i = 0; i < Math.min(30, 20_000 / boxes.length); i++) {
      const architecture = sampleArchitecture(template(depth), space, random);
      expect(boxes.filter((box) => isMember(architecture, [box]))).to.have.length(1);
    }
    for (const box of boxes.slice(0, 50)) {
      const member = sampleArchitecture(template(depth), [box], random);
      expect(isMember(member, space)).to.equal(true);
      expect(JSON.stringify(boxSchema.parse(box))).to.equal(JSON.stringify(box));
    }
  }

  for (const [kind, weightsOf] of Object.entries(WEIGHTS)) {
    it(`covers the space in proportion, without overlap: weights ${kind}`, () => {
      for (const [name, depth] of [
        ["full", 6],
        ["S3", 1],
        ["S9", 2],
        ["demo", 3],
      ] as const) {
        for (const miners of [1, 2, 3, 7, 9, 64, 250]) {
          const space = spaceByName(name);
          const weights = weightsOf(miners);
          const parts = disjoint({ space, depth, miners, weights, seed: miners });
          check(space, depth, weights, parts);
          const boxes = parts.flat();
          if (miners > 9) continue;
          for (const [i, box] of boxes.entries()) {
            for (const other of boxes.slice(0, i)) expect(areDisjoint(box, other)).to.equal(true);
          }
        }
      }
    });
  }

  it("finds the whole numbers within 5 % where there are some, and rounds elsewhere", () => {
    // 21 in two: 10 and 11 are both within 5 % of 10.5
    expect(apportion(21n, [1, 1]).map(({ size }) => size)).to.have.members([10n, 11n]);
    // 15.2 is within 5 % of 15 only, 0.4 of nothing: the small ones take what is left
    const sizes = apportion(32n, [15.2, 15.2, 0.4, 0.4, 0.4, 0.4]).map(({ size }) => Number(size));
    expect(sizes.slice(0, 2)).to.deep.equal([15, 15]);
    expect(sizes.slice(2).reduce((sum, size) => sum + size, 0)).to.equal(2);
    const random = createRandom(2);
    for (let round = 0; round < 200; round++) {
      const weights = Array.from({ length: 1 + random.integer(12) }, () => 10 ** (6 * random.next()));
      const total = random.integer(5000);
      const sum = weights.reduce((a, b) => a + b, 0);
      const portions = apportion(BigInt(total), weights);
      expect(portions.reduce((all, { size }) => all + size, 0n)).to.equal(BigInt(total));
      for (const [i, { size, room }] of portions.entries()) {
        const quota = (total * weights[i]!) / sum;
        expect(Number(size) >= 0 && Number(room) >= 0).to.equal(true);
        if (quota >= 20) expect(Number(size) / quota).to.be.within(0.95, 1.05);
        else expect(Math.abs(Number(size) - quota)).to.be.below(1.5);
        if (room > 0n) expect(Number(size + room) / quota).to.be.at.most(1.05);
      }
    }
  });

  it("gives some nothing where there are more miners than architectures, and the rest one each", () => {
    const point = Object.fromEntries(HYPERPARAMETERS.map((name) => [name, [1]])) as Space;
    expect(disjoint({ space: point, depth: 6, miners: 1 })).to.deep.equal([[Array(6).fill(point)]]);
    const alone = disjoint({ space: point, depth: 6, miners: 5 });
    expect(alone.filter((boxes) => boxes.length > 0)).to.deep.equal([[Array(6).fill(point)]]);
    const four = { ...point, filters: [4, 8] };
    const parts = disjoint({ space: four, depth: 2, miners: 10 });
    expect(parts.map((boxes) => Number(spaceSize(boxes, 2))).sort()).to.deep.equal([0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it("leaves strides of 0 and repeated choices out", () => {
    const space = { ...spaceByName("S3"), strideHeight: [3, 0, 1, 1, 2], filters: [8, 4] };
    check(space, 2, [1, 1, 1], disjoint({ space, depth: 2, miners: 3 }));
  });

  it("is the same for the same seed; another seed cuts elsewhere and gives the parts to others", () => {
    const options = { space: spaceByName("full"), depth: 6, miners: 11 };
    expect(disjoint(options)).to.deep.equal(disjoint(options));
    expect(disjoint(options)).to.not.deep.equal(disjoint({ ...options, seed: 2 }));
  });

  it("gives equal miners one box each where their number is a product of choices", () => {
    for (const miners of [2, 5, 7, 10, 50, 1000, 10_000]) {
      const parts = disjoint({ space: spaceByName("full"), depth: 6, miners });
      expect(new Set(parts.map(({ length }) => length))).to.deep.equal(new Set([1]));
    }
  });

  for (const [kind, weightsOf] of Object.entries(WEIGHTS)) {
    it(`is quick, and of few boxes, for thousands of miners: weights ${kind}`, () => {
      const miners = 9973;
      const weights = weightsOf(miners);
      const space = spaceByName("full");
      const started = performance.now();
      const parts = disjoint({ space, depth: 6, miners, weights });
      expect(performance.now() - started).to.be.below(5000);
      check(space, 6, weights, parts);
      const counts = parts.map(({ length }) => length);
      expect(counts.reduce((sum, count) => sum + count, 0) / miners).to.be.below(6);
      expect(Math.max(...counts)).to.be.below(40);
    });
  }
});

describe("every partition", () => {
  const options = { space: spaceByName("full"), depth: 6, miners: 3, seed: 0 };

  it("has a part for every miner, the same for the same seed", () => {
    for (const name of PARTITION_NAMES) {
      expect(createPartition(name, options)).to.have.length(3);
      expect(createPartition(name, options)).to.deep.equal(createPartition(name, options));
    }
    expect(createPartition("random-subsets", options)).to.deep.equal(randomSubsets(options.space, 3, 0));
  });

  it("refuses what makes no sense with one sentence", () => {
    const cases: [Partial<PartitionOptions>, string][] = [
      [{ miners: 0 }, "A space is divided among 1 to 10000 miners, not 0."],
      [{ miners: 10_001 }, "A space is divided among 1 to 10000 miners, not 10001."],
      [{ miners: 1.5 }, "A space is divided among 1 to 10000 miners, not 1.5."],
      [{ miners: NaN }, "A space is divided among 1 to 10000 miners, not NaN."],
      [{ depth: 0 }, "A network has 1 to 64 layers, not 0."],
      [{ depth: 65 }, "A network has 1 to 64 layers, not 65."],
      [{ space: { ...options.space, strideWidth: [0] } }, "The space has no usable choice of strideWidth."],
      [{ weights: [1, 2] }, "There are 2 weights for 3 miners."],
      [{ weights: [1, 2, -1] }, "Weight 3 is -1, but a weight is a number of 0 or more."],
      [{ weights: [NaN, 2, 1] }, "Weight 1 is NaN, but a weight is a number of 0 or more."],
      [{ weights: [1, Infinity, 1] }, "Weight 2 is Infinity, but a weight is a number of 0 or more."],
      [{ weights: [0, 0, 0] }, "All weights are 0, so nobody would get the space."],
    ];
    for (const [change, sentence] of cases) {
      expect(() => createPartition("disjoint", { ...options, ...change }))
        .to.throw(sentence)
        .with.property("code", "bad-input");
    }
    for (const name of ["random-subsets", "paper"] as const) {
      expect(() => createPartition(name, { ...options, weights: [1, 1, 1] })).to.throw(
        `The strategy ${name} takes no weights; only disjoint does.`,
      );
    }
  });
});
