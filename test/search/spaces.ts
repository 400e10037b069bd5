import { readFileSync } from "node:fs";

import { expect } from "chai";

import { membershipFault, spaceSchema, type Space, type Template } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sampleArchitecture, SPACE_NAMES, spaceByName, spaceNotes, spaceSize } from "../../offchain/search/spaces.ts";

const template: Template = { input: [28, 28, 1], classes: 10, depth: 6, head: { pool: "flatten", hidden: 0 } };

describe("search spaces", () => {
  it("are the paper's ten and the demo's, each with ten lists", () => {
    expect(SPACE_NAMES).to.deep.equal(["full", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "demo"]);
    for (const name of SPACE_NAMES) {
      const space = spaceSchema.parse(spaceByName(name));
      for (const list of Object.values(space)) expect(new Set(list).size).to.equal(list.length);
    }
  });

  it("are the paper's, verbatim but for the strides of 0 of S3, which a note tells of", () => {
    const listed = JSON.parse(readFileSync("test/search/paper-spaces.json", "utf8")) as Record<string, Space>;
    expect(Object.keys(listed)).to.deep.equal(SPACE_NAMES.filter((name) => name !== "demo"));
    for (const [name, lists] of Object.entries(listed)) {
      const { strideHeight, strideWidth } = lists;
      const zero = [strideHeight, strideWidth].some((strides) => strides.includes(0));
      expect(zero).to.equal(name === "S3");
      expect(spaceNotes(name.toLowerCase())).to.have.length(zero ? 1 : 0);
      const usable = [strideHeight, strideWidth].map((strides) => strides.filter((stride) => stride > 0));
      expect(spaceByName(name)).to.deep.equal({ ...lists, strideHeight: usable[0], strideWidth: usable[1] });
    }
  });

  it("have no stride of 0", () => {
    for (const name of SPACE_NAMES) {
      const { strideHeight, strideWidth } = spaceByName(name);
      expect([...strideHeight, ...strideWidth]).not.to.include(0);
    }
  });

  it("are found whatever the case, and a wrong name is answered with the right ones", () => {
    expect(spaceByName("s4")).to.deep.equal(spaceByName("S4"));
    expect(() => spaceByName("S10"))
      .to.throw("There is no search space called S10.")
      .with.property("cure")
      .that.matches(/full, S1, .*demo/);
    expect(() => spaceByName("__proto__")).to.throw("There is no search space called __proto__.");
  });

  it("are handed out as copies that nobody else sees changed", () => {
    spaceByName("demo").filters.push(99);
    expect(spaceByName("demo").filters).to.deep.equal([12, 24, 36]);
  });

  it("have as many members as their lists say", () => {
    const perLayer = 5n * 5n * 7n * 5n * 5n * 2n * 4n * 7n * 5n * 7n;
    expect(spaceSize(spaceByName("full"), 1)).to.equal(perLayer);
    expect(spaceSize(spaceByName("full"), 6)).to.equal(perLayer ** 6n);
    expect(spaceSize({ ...spaceByName("S9"), strideHeight: [0, 1] }, 1)).to.equal(spaceSize(spaceByName("S9"), 1) / 3n);
  });
});

describe("sampleArchitecture", () => {
  it("draws members of the task's space, the same ones for the same seed", () => {
    for (const name of SPACE_NAMES) {
      const space = spaceByName(name);
      const [one, two] = [createRandom(name), createRandom(name)];
      for (let i = 0; i < 20; i++) {
        const architecture = sampleArchitecture(template, space, one);
        expect(membershipFault(architecture, template, space)).to.equal(null);
        expect(sampleArchitecture(template, space, two)).to.deep.equal(architecture);
      }
    }
  });

  it("draws every choice about equally often", () => {
    const random = createRandom(1);
    const space = spaceByName("full");
    const seen = new Map<number, number>();
    for (let i = 0; i < 1000; i++) {
      for (const { filters } of sampleArchitecture(template, space, random).layers)
        seen.set(filters, (seen.get(filters) ?? 0) + 1);
    }
    for (const filters of space.filters) expect(seen.get(filters)).to.be.within(700, 1020);
  });

  it("never draws a stride of 0, and says which list has nothing else", () => {
    const space = { ...spaceByName("S3"), strideWidth: [0, 2] };
    const drawn = sampleArchitecture(template, space, createRandom(2)).layers.map(({ strideWidth }) => strideWidth);
    expect(new Set(drawn)).to.deep.equal(new Set([2]));
    expect(() => sampleArchitecture(template, { ...space, strideWidth: [0] }, createRandom(2))).to.throw(
      "The space has no usable choice of strideWidth.",
    );
  });
});
