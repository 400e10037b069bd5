import { expect } from "chai";

import { createRandom } from "../../offchain/protocol/random.ts";
import { areDisjoint } from "../../offchain/search/boxes.ts";
import { createPartition } from "../../offchain/search/partition.ts";
import { isMember, sampleArchitecture, SPACES, spaceSize, type SearchSpace } from "../../offchain/search/spaces.ts";
import { splitSpace } from "../../offchain/search/split-space.ts";

const template = { input: [8, 8, 1], classes: 3, depth: 3, head: { pool: "global-sum", hidden: 0 } } as const;
const full = SPACES.demo as unknown as SearchSpace;
const { depth } = template;

describe("A part of a space", () => {
  it("is split into two that are it together and have nothing in common, again and again", () => {
    const random = createRandom(3);
    let space = createPartition("disjoint", { space: full as never, depth, miners: 3, seed: 1 })[1]!;
    const boxes = (space as unknown[]).length;
    for (let round = 0; ; round++) {
      const halves = splitSpace(space, depth, 0.1 + (round % 9) / 10, random);
      if (halves === null) {
        expect(round).to.be.greaterThan(5);
        break;
      }
      const [kept, given] = halves;
      expect(spaceSize(kept, depth) + spaceSize(given, depth)).to.equal(spaceSize(space, depth));
      for (const one of kept) for (const other of given) expect(areDisjoint(one, other)).to.equal(true);
      expect(Math.max(kept.length, given.length)).to.be.at.most(boxes);
      for (let i = 0; i < 5; i++) {
        const member = sampleArchitecture(template as never, space, random);
        expect([isMember(member, kept), isMember(member, given)].filter(Boolean)).to.have.length(1);
      }
      space = random.integer(2) === 0 ? kept : given;
    }
  });

  it("is split in about the asked proportion", () => {
    for (const [share, least, most] of [
      [0.5, 0.3, 0.7],
      [0.1, 0.1, 0.5],
      [0.9, 0.5, 0.9],
    ] as const) {
      const [, given] = splitSpace(full, depth, share, createRandom(1))!;
      const actual = Number(spaceSize(given, depth)) / Number(spaceSize(full, depth));
      expect(actual).to.be.within(least, most);
    }
  });

  it("is not split where it is one architecture", () => {
    const one = Object.fromEntries(Object.entries(SPACES.demo).map(([name, list]) => [name, [list[0]]]));
    expect(splitSpace(one as never, depth, 0.5, createRandom(1))).to.equal(null);
  });
});
