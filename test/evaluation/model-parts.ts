import { expect } from "chai";
import { concat, sliceHex } from "viem";

import { openModel } from "../../offchain/evaluation/dispute-openings.ts";
import {
  architectureOf,
  joinUnits,
  malformedUnit,
  openWholeUnit,
  unitNames,
} from "../../offchain/evaluation/model-parts.ts";
import { encodeModel, linearWeights, modelRoot } from "../../offchain/evaluation/model.ts";
import { linearLayers } from "../../offchain/evaluation/shapes.ts";
import { architectureTuple, keccak256 } from "../../offchain/protocol/bytes.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { randomArchitecture, randomModel } from "./random-model.ts";

describe("A model in parts", () => {
  it("is the same model again when all its units are put together", () => {
    for (let i = 0; i < 6; i++) {
      const random = createRandom(`parts ${i}`);
      const model = randomModel(random, randomArchitecture(random));
      const openable = openModel(model);
      const joined = joinUnits(architectureOf(architectureTuple(model.architecture)), (name) =>
        openWholeUnit(openable, name)!,
      );
      expect(modelRoot(joined), `case ${i}`).to.equal(modelRoot(model));
      expect(Buffer.compare(encodeModel(joined), encodeModel(model)), `case ${i}`).to.equal(0);
      expect(malformedUnit(model), `case ${i}`).to.equal(null);
    }
  });

  it("opens every kernel row of a unit under its hash, and no unit that is not there", () => {
    const random = createRandom("rows");
    const model = randomModel(random, randomArchitecture(random));
    const openable = openModel(model);
    const names = unitNames(model.architecture);
    expect(names).to.have.length(openable.units.length);
    for (const name of names.slice(0, 8)) {
      const { rows, weights } = openWholeUnit(openable, name)!;
      const size = (weights.length - 2) / 2 / rows.length;
      expect(rows).to.deep.equal(rows.map((_, i) => keccak256(sliceHex(weights, i * size, (i + 1) * size))));
    }
    const { layer } = names.at(-1)!;
    expect(openWholeUnit(openable, { layer, index: model.architecture.classes })).to.equal(undefined);
    expect(openWholeUnit(openable, { layer: layer + 1, index: 0 })).to.equal(undefined);
  });

  it("names the unit with a weight out of its range, and the one whose sums could be too large", () => {
    for (let i = 0; i < 10; i++) {
      const random = createRandom(`malformed ${i}`);
      const model = randomModel(random, randomArchitecture(random, 8));
      const at = random.integer(linearLayers(model.architecture).length);
      const linear = linearLayers(model.architecture)[at]!;
      const unit = random.integer(linear.units);
      const { weights, bias } = linearWeights(model)[at]!;
      const kept = weights[unit * linear.fanIn]!;
      weights[unit * linear.fanIn] = linear.weightMin - 1;
      expect(malformedUnit(model)).to.deep.equal({ layer: linear.number, index: unit });
      weights[unit * linear.fanIn] = kept;
      bias[unit] = -(2 ** 31);
      expect(malformedUnit(model)).to.deep.equal({ layer: linear.number, index: unit });
    }
  });

  it("refuses parts of another length, and an architecture that no model can have", () => {
    const random = createRandom("bad parts");
    const model = randomModel(random, randomArchitecture(random));
    const openable = openModel(model);
    const tuple = architectureTuple(model.architecture);
    expect(() =>
      joinUnits(model.architecture, (name) => {
        const unit = openWholeUnit(openable, name)!;
        return { ...unit, weights: concat([unit.weights, "0x0000"]) };
      }),
    ).to.throw(PonasError, "was published with other weights");
    expect(() => architectureOf({ ...tuple, height: 0 })).to.throw(PonasError, "none that a model can have");
    expect(() => architectureOf({ ...tuple, layers: [] })).to.throw(PonasError, "none that a model can have");
  });
});
