import { expect } from "chai";

import { openModel } from "../../offchain/evaluation/dispute-openings.ts";
import { hardwareLayers, tilingCost, type HardwareBounds } from "../../offchain/evaluation/hardware.ts";
import { linearWeights, unitHashes, type Model } from "../../offchain/evaluation/model.ts";
import { linearLayers, networkShapes } from "../../offchain/evaluation/shapes.ts";
import { malformation, MAX_ACCUMULATOR, unitBounds } from "../../offchain/evaluation/well-formed.ts";
import { MALFORMATIONS } from "../../offchain/protocol/abi.ts";
import { HYPERPARAMETERS, type Architecture, type Space, type Template } from "../../offchain/protocol/architecture.ts";
import {
  architectureTuple,
  commitTestSet,
  keccak256,
  labelsHash,
  spaceHash,
  spaceTuple,
  treeProof,
  ZERO_HASH,
  type Hex,
} from "../../offchain/protocol/bytes.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { randomArchitecture, randomModel } from "../evaluation/random-model.ts";
import { deploy, loadFixture } from "./support.ts";

/** Architectures that are compared with the evaluators' own rules. */
const CASES = Number(process.env.PONAS_MALFORMED ?? 600);
/** Networks of which one unit is changed. */
const NETWORKS = Number(process.env.PONAS_MALFORMED_NETWORKS ?? 30);

async function deployHarness() {
  const WellFormed = await (await deploy("WellFormed")).getAddress();
  return deploy("WellFormedHarness", [], { WellFormed });
}

// ————— Architectures and rules that may not fit —————

type Plain<T> = T extends object ? { -readonly [K in keyof T]: Plain<T[K]> } : T;

interface Case {
  architecture: Plain<Architecture>;
  template: Plain<Template>;
  space: Plain<Space>;
  hardware: Plain<HardwareBounds>;
}

/** An architecture that its task allows. */
function allowed(random: Random): Case {
  const architecture = structuredClone(randomArchitecture(random)) as Plain<Architecture>;
  const { input, classes, layers, head } = architecture;
  const space = Object.fromEntries(
    HYPERPARAMETERS.map((name) => [
      name,
      random.shuffle([
        ...new Set([...layers.map((layer) => layer[name]), ...random.choice([[], [0], [3, 8], [17, 70]])]),
      ]),
    ]),
  ) as Plain<Space>;
  const hardware = { maxLuts: 0, minThroughput: 0 };
  if (random.next() < 0.5) {
    const shapes = networkShapes(architecture);
    const groups: number[] = [];
    for (let left = layers.length; left > 0; left -= groups.at(-1)!) groups.push(1 + random.integer(left));
    architecture.tiling = {
      tiles: layers.map(({ filters }, i) => [
        1 + random.integer(shapes.layers[i]!.input.channels),
        1 + random.integer(filters),
      ]),
      groups,
    };
    const { luts, cycles } = tilingCost(hardwareLayers(architecture), architecture.tiling as never);
    if (Number.isFinite(luts) && random.next() < 0.8) {
      // At the bounds as often as not.
      if (random.next() < 0.7) hardware.maxLuts = luts + random.choice([0, 0, 1, 1000]);
      if (random.next() < 0.7) hardware.minThroughput = Math.floor(99_999_999 / cycles) - random.choice([0, 0, 1]);
      hardware.minThroughput = Math.max(0, hardware.minThroughput);
    }
  }
  return { architecture, template: structuredClone({ input, classes, depth: layers.length, head }), space, hardware };
}

const extreme = (random: Random): number => random.choice([0, 1, 2, 16, 17, 64, 65, 129, 255, 256, 257, 65_535]);

/** What can be wrong with a network or be another thing in its task; the last ones in both, so that no list tells. */
const CHANGES: Record<string, (random: Random, c: Case) => void> = {
  height: (random, { architecture }) => (architecture.input[0] = extreme(random)),
  width: (random, { architecture }) => (architecture.input[1] = extreme(random)),
  channels: (random, { architecture }) => (architecture.input[2] = random.choice([0, 1, 2, 3, 4, 255, 256])),
  classes: (random, { architecture }) => (architecture.classes = extreme(random)),
  pool: (_, { architecture: { head } }) => (head.pool = head.pool === "flatten" ? "global-sum" : "flatten"),
  hidden: (random, { architecture: { head } }) => {
    head.hidden = random.choice([0, 1, 7, 300]);
    if (head.hidden > 0)
      Object.assign(head, { hiddenActIntBits: random.integer(9), hiddenActFracBits: random.integer(11) });
  },
  "hidden bits": (random, { architecture: { head } }) => {
    Object.assign(head, { hiddenActIntBits: random.integer(17), hiddenActFracBits: random.integer(17) });
  },
  hyperparameter: (random, { architecture: { layers } }) => {
    random.choice(layers)[random.choice(HYPERPARAMETERS)] = extreme(random);
  },
  "a layer more": (random, { architecture: { layers } }) => layers.push({ ...random.choice(layers) }),
  "a layer less": (_, { architecture: { layers } }) => layers.pop(),
  list: (random, { space }) => space[random.choice(HYPERPARAMETERS)].pop(),
  template: (random, { template }) => {
    random.choice([
      () => (template.depth += 1),
      () => (template.classes += 1),
      () => (template.input[random.integer(3)]! += 1),
    ])();
  },
  bounds: (random, { hardware }) => {
    random.choice([
      () => (hardware.maxLuts = Math.max(1, hardware.maxLuts - 1)),
      () => (hardware.minThroughput += 1),
      () => Object.assign(hardware, { maxLuts: 1000, minThroughput: 100 }),
    ])();
  },
  tile: (random, { architecture: { tiling } }) => {
    if (tiling !== undefined) random.choice(tiling.tiles)[random.integer(2)] = extreme(random);
  },
  tiles: (random, { architecture: { tiling } }) =>
    random.choice([() => tiling?.tiles.pop(), () => tiling?.tiles.push([1, 1])])(),
  groups: (random, { architecture: { tiling } }) =>
    random.choice([() => tiling?.groups.pop(), () => tiling?.groups.push(1), () => tiling?.groups.push(0)])(),
  "no tiling": (_, { architecture }) => delete architecture.tiling,
  "hyperparameter of the task's": (random, { architecture: { layers }, space }) => {
    const name = random.choice(HYPERPARAMETERS);
    const value = extreme(random);
    random.choice(layers)[name] = value;
    space[name].push(value);
  },
  "wide kernel of the task's": (random, { architecture: { layers }, space }) => {
    const [height, width] = [random.choice([16, 31, 64]), random.choice([16, 31, 64])];
    Object.assign(random.choice(layers), { kernelHeight: height, kernelWidth: width });
    space.kernelHeight.push(height);
    space.kernelWidth.push(width);
  },
  "large input of the task's": (random, { architecture, template }) => {
    architecture.input = [random.choice([63, 64]), 64, random.choice([1, 16])];
    template.input = [...architecture.input];
  },
};

/** What the evaluators say of the architecture alone: a network without any weight has no other fault before that one. */
function faultOf({ architecture, template, space, hardware }: Case): string | null {
  const none = { weights: new Int16Array(), bias: new Int32Array() };
  const layers = architecture.layers.map(() => none);
  const hidden = architecture.head.hidden > 0 ? none : null;
  const model = { architecture, layers, hidden, output: none } as unknown as Model;
  const fault = malformation(model, { template, space, hardware } as never)!;
  return /its shape asks for/.test(fault) ? null : fault;
}

function unitsOf({ classes, layers, head }: Plain<Architecture>): number {
  return layers.reduce((sum, { filters }) => sum + filters, head.hidden + classes);
}

function openUnitOf(model: Model, layer: number, unit: number) {
  const linear = linearLayers(model.architecture);
  const index = linear.findIndex(({ number }) => number === layer);
  const { fanIn, kernelRows } = linear[index]!;
  const { weights, bias } = linearWeights(model)[index]!;
  const bytes = Buffer.alloc(2 * fanIn);
  for (let i = 0; i < fanIn; i++) bytes.writeInt16BE(weights[unit * fanIn + i]!, 2 * i);
  const rowBytes = bytes.length / kernelRows;
  const before = linear.slice(0, index).reduce((sum, { units }) => sum + units, 0);
  return {
    bias: bias[unit]!,
    rows: Array.from({ length: kernelRows }, (_, i) => keccak256(bytes.subarray(i * rowBytes, (i + 1) * rowBytes))),
    weights: `0x${bytes.toString("hex")}`,
    siblings: treeProof(unitHashes(model), before + unit) as Hex[],
  };
}

describe("A malformed model", function () {
  this.timeout(0);

  it("has an architecture that the chain refutes exactly where the evaluators refuse it", async () => {
    const harness = await loadFixture(deployHarness);
    const seen = new Map<string, number>();
    for (let i = 0; i < CASES; i++) {
      const random = createRandom(`malformed ${i}`);
      const c = allowed(random);
      const changes = Array.from({ length: random.choice([0, 1, 1, 1, 2]) }, () => random.choice(Object.keys(CHANGES)));
      for (const change of changes) CHANGES[change]!(random, c);
      const { architecture, template, space, hardware } = c;
      const [height, width, channels] = template.input;
      const shape = { height, width, channels, classes: template.classes };
      const set = commitTestSet(new Uint8Array(height * width * channels), new Uint8Array(1), shape);
      await harness.setTask(
        spaceHash(space, template as never),
        set.testRoot,
        1,
        hardware.maxLuts,
        hardware.minThroughput,
      );
      const miscounted = random.next() < 0.05;
      const opening = {
        architecture: architectureTuple(architecture as Architecture),
        units: unitsOf(architecture) + (miscounted ? 1 : 0),
        unitsRoot: ZERO_HASH,
      };
      const found =
        MALFORMATIONS[
          Number(
            await harness.malformedArchitecture(opening as never, spaceTuple(space, template as never) as never, {
              ...shape,
              labels: labelsHash(new Uint8Array(1)),
              samplesRoot: set.samplesRoot,
            }),
          )
        ]!;
      const fault = faultOf(c);
      const what = `case ${i}, ${changes.join(" and ")}: ${fault}`;
      if (fault !== null) expect(found, what).not.to.equal("None");
      else expect(found, what).to.equal(miscounted ? "Units" : "None");
      seen.set(found, (seen.get(found) ?? 0) + 1);
    }
    const kinds = MALFORMATIONS.filter((kind) => kind !== "Unit" && kind !== "Bound");
    expect(kinds.filter((kind) => !seen.has(kind))).to.deep.equal([]);
    console.log(`      ${CASES} architectures: ${JSON.stringify(Object.fromEntries(seen))}`);
  });

  it("has a unit that the chain refutes exactly where a weight or a bound is out of range", async () => {
    const harness = await loadFixture(deployHarness);
    const seen = new Map<string, number>();
    for (let i = 0; i < NETWORKS; i++) {
      const random = createRandom(`unit ${i}`);
      const model = randomModel(random, randomArchitecture(random));
      const linear = linearLayers(model.architecture);
      const index = random.integer(linear.length);
      const layer = linear[index]!;
      const unit = random.integer(layer.units);
      const own = linearWeights(model)[index]!;
      const at = unit * layer.fanIn + random.integer(layer.fanIn);
      const change = random.choice(["nothing", "above", "below", "bound", "at the bound", "edges"]);
      if (change === "above" && layer.weightMax < 32_767) own.weights[at] = layer.weightMax + 1;
      if (change === "below" && layer.weightMin > -32_768) own.weights[at] = layer.weightMin - 1;
      if (change === "edges") own.weights[at] = random.choice([layer.weightMin, layer.weightMax]);
      if (change === "bound" || change === "at the bound") {
        const rest = unitBounds(layer, own)[unit]! - Math.abs(own.bias[unit]!);
        const largest = MAX_ACCUMULATOR - 1 - rest + (change === "bound" ? 1 : 0);
        if (largest <= 2 ** 31 - 1 && largest >= 0)
          own.bias[unit] = random.next() < 0.5 ? -largest : Math.min(largest, 2 ** 31 - 1);
      }
      const fault = malformation(model);
      const { opening } = openModel(model);
      const foundOf = async (which: number) =>
        MALFORMATIONS[
          Number(
            await harness.malformedUnit(
              opening as never,
              layer.number,
              which,
              openUnitOf(model, layer.number, which) as never,
            ),
          )
        ]!;
      const found = await foundOf(unit);
      const what = `network ${i}, ${change}: ${fault}`;
      expect(found, what).to.equal(fault === null ? "None" : fault.includes("2^31") ? "Bound" : "Unit");
      expect(await foundOf((unit + 1) % layer.units), what).to.equal(layer.units === 1 ? found : "None");
      seen.set(found, (seen.get(found) ?? 0) + 1);
    }
    expect([...seen.keys()].toSorted()).to.deep.equal(["Bound", "None", "Unit"]);
  });
});
