import { expect } from "chai";

import { HYPERPARAMETERS, type Architecture, type Space, type Template } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { areDisjoint, canonicalSpace } from "../../offchain/search/boxes.ts";
import {
  boxSchema,
  isMember,
  mutate,
  neighbours,
  parseSearchSpace,
  sampleArchitecture,
  spaceByName,
  spaceSize,
  type Box,
  type SearchSpace,
} from "../../offchain/search/spaces.ts";

const template: Template = { input: [28, 28, 1], classes: 10, depth: 2, head: { pool: "flatten", hidden: 0 } };
const one: Space = {
  kernelHeight: [3],
  kernelWidth: [3],
  filters: [4],
  strideHeight: [1],
  strideWidth: [1],
  poolSize: [1],
  actIntBits: [2],
  actFracBits: [4],
  weightIntBits: [2],
  weightFracBits: [4],
};
/** 3 + 4 architectures of two layers. */
const union: readonly Box[] = [
  [one, { ...one, kernelHeight: [1, 3, 5] }],
  [
    { ...one, filters: [8, 12] },
    { ...one, kernelWidth: [1, 3] },
  ],
];
const keyOf = ({ layers }: Architecture): string => JSON.stringify(layers);

function everyMember(space: SearchSpace): Set<string> {
  const random = createRandom("every member");
  return new Set(Array.from({ length: 300 }, () => keyOf(sampleArchitecture(template, space, random))));
}

describe("a union of boxes", () => {
  it("has the sum of its boxes' sizes, however large", () => {
    expect(spaceSize(union, 2)).to.equal(7n);
    expect(spaceSize([], 2)).to.equal(0n);
    const full = spaceByName("full");
    expect(spaceSize([Array<Space>(6).fill(full)], 6)).to.equal(spaceSize(full, 6));
  });

  it("is drawn from uniformly, whatever the sizes of its boxes", () => {
    const random = createRandom(11);
    const seen = new Map<string, number>();
    for (let i = 0; i < 7000; i++) {
      const architecture = sampleArchitecture(template, union, random);
      expect(isMember(architecture, union)).to.equal(true);
      seen.set(keyOf(architecture), (seen.get(keyOf(architecture)) ?? 0) + 1);
    }
    expect(seen.size).to.equal(7);
    // 1000 expected, standard deviation 29
    for (const count of seen.values()) expect(count).to.be.within(850, 1150);
  });

  it("is drawn from in proportion where sizes have forty digits", () => {
    const full = spaceByName("full");
    const [small, large] = [
      [4, 8],
      [12, 24, 36, 64, 128],
    ].map((filters) => [{ ...full, filters }, ...Array<Space>(5).fill(full)]);
    const random = createRandom(3);
    let inSmall = 0;
    for (let i = 0; i < 2000; i++) {
      const { layers } = sampleArchitecture({ ...template, depth: 6 }, [small!, large!], random);
      if (layers[0]!.filters <= 8) inSmall++;
    }
    expect(inSmall / 2000).to.be.closeTo(2 / 7, 0.04);
  });

  it("draws a choice that is listed twice no more often than others", () => {
    const random = createRandom(4);
    const space = { ...one, filters: [4, 4, 4, 8] };
    expect(spaceSize(space, 2)).to.equal(4n);
    const drawn = Array.from({ length: 1000 }, () => sampleArchitecture(template, space, random).layers[0]!.filters);
    expect(drawn.filter((filters) => filters === 4).length).to.be.within(430, 570);
  });

  it("is refused with one sentence where it is empty or of another depth", () => {
    const random = createRandom(0);
    expect(() => sampleArchitecture(template, [], random)).to.throw("The space holds no architecture.");
    const other = "A box has 2 layers, but the networks have 3.";
    expect(() => sampleArchitecture({ ...template, depth: 3 }, union, random)).to.throw(other);
    expect(() => spaceSize(union, 3)).to.throw(other);
  });

  it("has as members what any box of its depth has, and no stride of 0", () => {
    const architecture = sampleArchitecture(template, union, createRandom(1));
    const [first, second] = architecture.layers as [Architecture["layers"][0], Architecture["layers"][0]];
    expect(isMember({ ...architecture, layers: [first] }, union)).to.equal(false);
    expect(isMember({ ...architecture, layers: [first, { ...second, weightFracBits: 5 }] }, union)).to.equal(false);
    expect(isMember(architecture, [])).to.equal(false);
    const still = { ...architecture, layers: [{ ...first, strideWidth: 0 }, second] };
    expect(isMember(still, [[{ ...one, strideWidth: [0, 1] }, union[0]![1]!]])).to.equal(false);
  });
});

describe("neighbours", () => {
  it("are exactly the members that differ in one decision, across boxes too", () => {
    const members = [...everyMember(union)].map((key) => JSON.parse(key) as Architecture["layers"]);
    expect(members).to.have.length(7);
    const architectures = members.map((layers): Architecture => ({ ...template, input: [28, 28, 1], layers }));
    let across = 0;
    for (const architecture of architectures) {
      const expected = architectures.filter((other) => differences(architecture, other) === 1);
      const found = neighbours(architecture, union);
      expect(found.map(keyOf).sort()).to.deep.equal(expected.map(keyOf).sort());
      across += found.filter(
        (other) => !union.some((box) => [architecture, other].every((a) => isMember(a, [box]))),
      ).length;
    }
    expect(across).to.be.above(0);
  });

  it("are all other choices of all decisions in a space, without the tiling", () => {
    const space = spaceByName("full");
    const depth = 6;
    const architecture = sampleArchitecture({ ...template, depth }, space, createRandom(9));
    const tiled = { ...architecture, tiling: { tiles: [[1, 1] as [number, number]], groups: [6] } };
    const found = neighbours(tiled, space);
    const others = HYPERPARAMETERS.reduce((sum, name) => sum + space[name].length - 1, 0);
    expect(found).to.have.length(depth * others);
    expect(new Set(found.map(keyOf)).size).to.equal(found.length);
    for (const other of found) {
      expect(differences(architecture, other)).to.equal(1);
      expect(isMember(other, space)).to.equal(true);
      expect(other).to.not.have.property("tiling");
    }
  });

  it("of a stranger are the members one step away", () => {
    const stranger = sampleArchitecture(template, { ...one, actIntBits: [3] }, createRandom(0));
    expect(neighbours(stranger, union)).to.have.length(0);
    stranger.layers[1]!.actIntBits = 2;
    const found = neighbours(stranger, union);
    expect(found).to.have.length(1);
    expect(found[0]!.layers[0]!.actIntBits).to.equal(2);
  });

  it("are drawn uniformly by mutate, the same ones for the same seed, null where there are none", () => {
    const architecture = sampleArchitecture(template, union, createRandom(1));
    const all = neighbours(architecture, union).map(keyOf);
    const [random, same] = [createRandom(8), createRandom(8)];
    const seen = new Map<string, number>();
    for (let i = 0; i < 1000; i++) {
      const mutant = keyOf(mutate(architecture, union, random)!);
      expect(mutant).to.equal(keyOf(mutate(architecture, union, same)!));
      seen.set(mutant, (seen.get(mutant) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).to.deep.equal(all.sort());
    for (const count of seen.values()) expect(count).to.be.within(700 / all.length, 1300 / all.length);
    expect(mutate(sampleArchitecture(template, one, random), one, random)).to.equal(null);
  });
});

function differences(a: Architecture, b: Architecture): number {
  return a.layers.reduce(
    (sum, layer, i) => sum + HYPERPARAMETERS.filter((name) => layer[name] !== b.layers[i]![name]).length,
    0,
  );
}

describe("boxes as JSON", () => {
  const messy = { ...one, strideHeight: [3, 0, 1, 3], filters: [12, 4, 8] };

  it("are equal JSON where they hold the same architectures", () => {
    const tidy = { ...one, strideHeight: [1, 3], filters: [4, 8, 12] };
    const shuffled = Object.fromEntries(Object.entries(messy).reverse()) as Space;
    for (const space of [messy, shuffled]) {
      expect(JSON.stringify(canonicalSpace(space))).to.equal(JSON.stringify(tidy));
      expect(JSON.stringify(boxSchema.parse([space]))).to.equal(JSON.stringify([tidy]));
      expect(JSON.stringify(parseSearchSpace(space, "It"))).to.equal(JSON.stringify(tidy));
    }
    expect(parseSearchSpace(JSON.parse(JSON.stringify(union)), "It")).to.deep.equal(union);
    expect(parseSearchSpace([], "It")).to.deep.equal([]);
  });

  it("are refused with one sentence where they are hostile or make no sense", () => {
    const { filters: _, ...lacking } = one;
    const cases: [unknown, RegExp][] = [
      [null, /^The part is not valid: /],
      ["full", /^The part is not valid: /],
      [[one], /^The part is not valid at 0: /],
      [[[]], /^The part is not valid at 0: /],
      [lacking, /^The part is not valid at filters: /],
      [{ ...one, more: [1] }, /^The part is not valid: .*more/],
      [{ ...one, filters: [] }, /^The part is not valid at filters: /],
      [{ ...one, filters: [1.5] }, /^The part is not valid at filters\.0: /],
      [{ ...one, filters: [65_536] }, /^The part is not valid at filters\.0: /],
      [{ ...one, filters: Array(257).fill(1) }, /a list has at most 256 choices\.$/],
      [{ ...one, strideWidth: [0] }, /a stride has no choice but 0\.$/],
      [[Array(65).fill(one)], /^The part is not valid at 0: /],
      [Array(129).fill([one]), /^The part is not valid: /],
      [[[one], [one, one]], /boxes have different numbers of layers\.$/],
      [[[one], [{ ...one, filters: [8, 4] }]], /two boxes overlap\.$/],
      [JSON.parse(JSON.stringify([[{ ...one, ["__proto__"]: [1] }]]).replace('"filters"', '"__proto__"')), /not valid/],
    ];
    for (const [value, sentence] of cases) {
      expect(() => parseSearchSpace(value, "The part"), JSON.stringify(value)?.slice(0, 80))
        .to.throw(sentence)
        .with.property("code", "bad-input");
    }
  });

  it("are disjoint where one decision has no common choice", () => {
    expect(areDisjoint(union[0]!, union[1]!)).to.equal(true);
    expect(areDisjoint(union[0]!, union[0]!)).to.equal(false);
    expect(areDisjoint([{ ...one, strideHeight: [0, 1] }], [{ ...one, strideHeight: [0, 2] }])).to.equal(true);
  });
});
