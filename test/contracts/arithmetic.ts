import { expect } from "chai";

import { referenceTrace, type Trace } from "../../offchain/evaluation/reference.ts";
import type { Model } from "../../offchain/evaluation/model.ts";
import {
  hashTrace,
  openUnit,
  openWindow,
  weightsOnTensor,
  type HashedTensor,
  type TracedPlace,
} from "../../offchain/evaluation/trace-openings.ts";
import { traceSteps, windowOf } from "../../offchain/evaluation/trace-steps.ts";
import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { architectureHash, architectureTuple } from "../../offchain/protocol/bytes.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { randomArchitecture, randomModel, randomPixels } from "../evaluation/random-model.ts";
import { deploy, loadFixture } from "./support.ts";

/** Networks of which every value is computed; 200 once by hand, a sample otherwise. */
const NETWORKS = Number(process.env.PONAS_ARITHMETIC_NETWORKS ?? 6);
/** Values of each network that are computed from openings; the corners of every tensor are always among them. */
const VALUES = Number(process.env.PONAS_ARITHMETIC_VALUES ?? 30);
/** Multiplications in one call: about 10 M gas. */
const MACS = 150_000;
/** Values in one call. */
const BATCH = 50;

const deployHarness = () => deploy("ArithmeticHarness");

/** Places of a trace: every one where there are few, else the corners of each tensor and others at random. */
function somePlaces(random: Random, architecture: Architecture): TracedPlace[] {
  const steps = traceSteps(architecture);
  const all = steps.flatMap(({ output: { height, width, channels } }, step) =>
    Array.from({ length: height * width * channels }, (_, i) => ({
      step,
      row: Math.floor(i / (width * channels)),
      column: Math.floor(i / channels) % width,
      channel: i % channels,
    })),
  );
  if (all.length <= VALUES) return all;
  const corners = all.filter(({ step, row, column, channel }) => {
    const { height, width, channels } = steps[step]!.output;
    return (row === 0 || row === height - 1) && (column === 0 || column === width - 1) && channel === channels - 1;
  });
  return [...corners, ...Array.from({ length: VALUES }, () => random.choice(all))];
}

function valueAt({ tensors, logits }: Trace, { step, row, column, channel }: TracedPlace): number {
  const tensor = tensors[step];
  return tensor === undefined
    ? logits[channel]!
    : tensor.values[(row * tensor.width + column) * tensor.channels + channel]!;
}

/** A network and what the evaluator makes of one sample. */
function traced(network: number) {
  const random = createRandom(`arithmetic ${network}`);
  const model = randomModel(random, randomArchitecture(random), random.choice(["any", "below-2^31"] as const));
  const [height, width, channels] = model.architecture.input;
  const pixels = randomPixels(random, model.architecture, 3).subarray(2 * height * width * channels);
  return { random, model, pixels, trace: referenceTrace(model, pixels) };
}

function opened(model: Model, hashed: readonly HashedTensor[], place: TracedPlace) {
  const step = traceSteps(model.architecture)[place.step]!;
  const window = windowOf(step, place.row, place.column);
  const unit = step.operation === "linear" ? openUnit(model, step, place.channel) : null;
  const tensor = hashed[place.step]!;
  return {
    ...place,
    tensor: tensor.hash,
    opening: openWindow(tensor, window) as never,
    bias: unit?.bias ?? 0,
    weights: unit === null ? "0x" : weightsOnTensor(step, place.row, unit, window),
  };
}

describe("The arithmetic of disputes", () => {
  it("hashes architectures as off chain", async () => {
    const random = createRandom("architectures");
    const harness = await loadFixture(deployHarness);
    for (let i = 0; i < 20; i++) {
      const drawn = randomArchitecture(random);
      const architecture =
        i % 2 === 0
          ? drawn
          : { ...drawn, tiling: { tiles: drawn.layers.map((): [number, number] => [i, 3]), groups: [1, i] } };
      expect(await harness.hash(architectureTuple(architecture) as never)).to.equal(architectureHash(architecture));
    }
  });

  it("derives the steps of a trace as off chain", async () => {
    const random = createRandom("steps");
    const harness = await loadFixture(deployHarness);
    for (let i = 0; i < 30; i++) {
      const architecture = randomArchitecture(random);
      const steps = await harness.steps(architectureTuple(architecture) as never);
      const shapes = steps.map(({ output }) =>
        [output.height, output.width, output.channels, output.valueBytes].map(Number),
      );
      expect(shapes).to.deep.equal(
        traceSteps(architecture).map(({ output: { height, width, channels, valueBytes } }) => [
          height,
          width,
          channels,
          valueBytes,
        ]),
      );
    }
  });

  it("computes every value of random networks as the evaluator does, edges included", async function () {
    this.timeout(0);
    const harness = await loadFixture(deployHarness);
    let values = 0;
    for (let network = 0; network < NETWORKS; network++) {
      const { model, pixels, trace } = traced(network);
      const { architecture } = model;
      const hashed = hashTrace(model, pixels, trace);
      for (const [index, step] of traceSteps(architecture).entries()) {
        const { height, width, channels } = step.output;
        const expected = trace.tensors[index]?.values ?? trace.logits;
        const macs = step.windowHeight * step.windowWidth * (step.linear === null ? 1 : step.input.channels) + 100;
        const batch = Math.max(1, Math.floor(MACS / macs));
        for (let channel = 0; channel < channels; channel++) {
          const unit = step.linear === null ? null : openUnit(model, step, channel);
          const given = {
            step: index,
            channel,
            tensor: hashed[index]!.bytes,
            bias: unit?.bias ?? 0,
            weights: unit === null ? "0x" : Buffer.concat(unit.rows),
          };
          for (let from = 0; from < height * width; from += batch) {
            const to = Math.min(height * width, from + batch);
            const results = await harness.computeChannel(architectureTuple(architecture) as never, given, from, to);
            const wanted = Array.from({ length: to - from }, (_, i) => expected[(from + i) * channels + channel]!);
            expect(results.map(Number), `network ${network}, step ${index}`).to.deep.equal(wanted);
            values += to - from;
          }
        }
      }
    }
    console.log(`      ${values} values of ${NETWORKS} networks`);
  });

  it("computes values from openings of what they read", async function () {
    this.timeout(0);
    const harness = await loadFixture(deployHarness);
    for (let network = 0; network < Math.min(NETWORKS, 20); network++) {
      const { model, pixels, trace, random } = traced(network);
      const { architecture } = model;
      const hashed = hashTrace(model, pixels, trace);
      const places = somePlaces(random, architecture);
      for (let start = 0; start < places.length; start += BATCH) {
        const batch = places.slice(start, start + BATCH);
        const results = await harness.compute(
          architectureTuple(architecture) as never,
          batch.map((place) => opened(model, hashed, place)),
        );
        expect(results.map(Number), `network ${network}`).to.deep.equal(batch.map((place) => valueAt(trace, place)));
      }
    }
  });
});
