import { expect } from "chai";

import { witnessFault } from "../../offchain/evaluation/hardware.ts";
import { isDead, type Architecture, type Layer } from "../../offchain/protocol/architecture.ts";
import { admit } from "../../offchain/search/feasibility.ts";

const LAYER: Layer = {
  kernelHeight: 3,
  kernelWidth: 3,
  filters: 12,
  strideHeight: 1,
  strideWidth: 1,
  poolSize: 1,
  actIntBits: 2,
  actFracBits: 4,
  weightIntBits: 2,
  weightFracBits: 4,
};
const of = (change: Partial<Layer> = {}): Architecture => ({
  input: [28, 28, 1],
  classes: 10,
  layers: [LAYER, { ...LAYER, ...change }],
  head: { pool: "flatten", hidden: 0 },
});

describe("the admission of an architecture to training", () => {
  it("lets ordinary networks pass as they are, those that shrink to one position too", () => {
    for (const architecture of [of(), of({ strideHeight: 28, strideWidth: 28 }), of({ actIntBits: 0 })]) {
      expect(admit(architecture)).to.deep.equal({ architecture, reason: null });
      expect(admit(architecture, { hardware: { maxLuts: 0, minThroughput: 0 } }).architecture).to.equal(architecture);
    }
  });

  it("names layers without bits, units that read too much, and images that cost too much", () => {
    expect(admit(of({ actIntBits: 0, actFracBits: 0 })).reason).to.match(/^a layer has no bits/);
    expect(admit(of({ weightIntBits: 0, weightFracBits: 0 })).reason).to.match(/^a layer has no bits/);
    expect(admit(of({ filters: 64 })).reason).to.equal("a unit reads 50176 values, more than 16384");
    expect(admit(of(), { maxMacs: 1000 }).reason).to.match(/^an image costs \d+ multiplications, more than 1000$/);
  });

  it("knows a hidden layer without bits as dead", () => {
    const head = { pool: "flatten", hidden: 8, hiddenActIntBits: 0, hiddenActFracBits: 0 } as const;
    expect(isDead({ ...of(), head })).to.equal(true);
    expect(isDead({ ...of(), head: { ...head, hiddenActIntBits: 1 } })).to.equal(false);
  });

  it("attaches the tiling that shows that the hardware suffices, in place of any other", () => {
    const hardware = { maxLuts: 3000, minThroughput: 5000 };
    const { architecture } = admit(of(), { hardware });
    expect(witnessFault(architecture!, hardware)).to.equal(null);
    expect({ ...architecture, tiling: undefined }).to.deep.equal({ ...of(), tiling: undefined });
    const stale = { ...of(), tiling: { tiles: [[1, 1]] as [number, number][], groups: [9] } };
    expect(admit(stale, { hardware }).architecture).to.deep.equal(architecture);
  });

  it("refuses what no tiling brings within the bounds, whatever else is in order", () => {
    // the second layer's unit: 20 to multiply, 4 + 8 to add up, 6 to cut
    expect(admit(of(), { hardware: { maxLuts: 10, minThroughput: 0 } })).to.deep.equal({
      architecture: null,
      reason: "its smallest tiling needs 38 look-up tables, more than 10",
    });
    expect(admit(of(), { hardware: { maxLuts: 0, minThroughput: 100_000 } }).reason).to.match(/^the fastest tiling/);
    expect(admit(of({ actIntBits: 5 }), { hardware: { maxLuts: 9, minThroughput: 0 } }).reason).to.match(/^its smallest/); // prettier-ignore
  });
});
