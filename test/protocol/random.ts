import { expect } from "chai";

import { createRandom, type Random } from "../../offchain/protocol/random.ts";

const draw = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.next());

describe("random", () => {
  it("gives the numbers of mulberry32", () => {
    // the published first outputs for the seed 0, as fractions of 2^32
    const random = createRandom(0);
    expect(draw(random, 3).map((x) => x * 2 ** 32)).to.deep.equal([1144304738, 1416247, 958946056]);
  });

  it("gives the same numbers for the same seed, others for another", () => {
    for (const seed of [0, 1, 0xffffffff, "a task", ""]) {
      expect(draw(createRandom(seed), 20)).to.deep.equal(draw(createRandom(seed), 20));
    }
    expect(draw(createRandom("a"), 5)).not.to.deep.equal(draw(createRandom("b"), 5));
    expect(draw(createRandom(1), 5)).not.to.deep.equal(draw(createRandom("1"), 5));
  });

  it("goes on from its state, whatever was drawn before", () => {
    const random = createRandom(7);
    random.next();
    random.normal();
    random.shuffle([1, 2, 3, 4]);
    const resumed = createRandom(random.state());
    expect(draw(resumed, 10)).to.deep.equal(draw(random, 10));
    expect(resumed.state()).to.equal(random.state());
  });

  it("stays within its bounds", () => {
    const random = createRandom("bounds");
    for (let i = 0; i < 2000; i++) {
      const [fraction, small, large] = [random.next(), random.integer(3), random.integer(2 ** 32)];
      expect(fraction >= 0 && fraction < 1 && small >= 0 && small < 3 && large >= 0 && large < 2 ** 32).to.equal(true);
      expect(Number.isInteger(small) && Number.isInteger(large)).to.equal(true);
      expect(Number.isFinite(random.normal())).to.equal(true);
    }
    expect(random.integer(1)).to.equal(0);
  });

  it("is about uniform, and its normal numbers about standard", () => {
    const random = createRandom("moments");
    const counts = [0, 0, 0, 0, 0];
    for (let i = 0; i < 5000; i++) counts[random.integer(5)]! += 1;
    for (const count of counts) expect(count).to.be.within(900, 1100);
    const normal = Array.from({ length: 5000 }, () => random.normal());
    const mean = normal.reduce((sum, x) => sum + x, 0) / normal.length;
    const variance = normal.reduce((sum, x) => sum + (x - mean) ** 2, 0) / normal.length;
    expect(mean).to.be.closeTo(0, 0.05);
    expect(variance).to.be.closeTo(1, 0.1);
  });

  it("chooses and shuffles without losing anything", () => {
    const random = createRandom(3);
    expect(() => random.choice([])).to.throw(RangeError);
    expect(random.choice(["only"])).to.equal("only");
    const list = Uint32Array.from({ length: 100 }, (_, i) => i);
    const shuffled = random.shuffle(list);
    expect(shuffled).to.equal(list);
    expect([...list]).not.to.deep.equal([...list].sort((a, b) => a - b));
    expect([...list].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 100 }, (_, i) => i));
    expect(random.shuffle([])).to.deep.equal([]);
  });
});
