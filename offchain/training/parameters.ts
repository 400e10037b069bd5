/**
 * The real numbers that training moves, and the integers that they stand for. The step graph and the export round by
 * the same rule, in the same precision: integer = ⌊x·2^f + ½⌋ in float32, clamped to the format's range. So the
 * network that is trained is, bit for bit, the one that is evaluated.
 */
import type { LinearWeights, Model } from "../evaluation/model.ts";
import { linearWeights } from "../evaluation/model.ts";
import { DENSE_WEIGHT_BITS, linearLayers, networkShapes, type LinearLayer } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { createRandom, type Random } from "../protocol/random.ts";

/** One linear layer's real-valued parameters. */
export interface LinearParameters {
  /** units × fan-in in the model's order: [filter][row][column][channel], of a dense layer [unit][input] */
  readonly weights: Float32Array;
  /** one a unit */
  readonly bias: Float32Array;
}

/** How a linear layer's integers stand for real numbers. */
export interface LinearFormat extends LinearLayer {
  /** a weight is integer · 2^−weightFractionBits */
  readonly weightFractionBits: number;
}

/** Biases in training keep to integers that float32 holds exactly. */
export const MAX_TRAINED_BIAS = 2 ** 24;

/** The linear layers of an architecture with their formats: convolutions, hidden layer where there is one, output. */
export function linearFormats(architecture: Architecture): LinearFormat[] {
  return linearLayers(architecture).map((linear, index) => ({
    ...linear,
    weightFractionBits: architecture.layers[index]?.weightFracBits ?? DENSE_WEIGHT_BITS.fraction,
  }));
}

/**
 * Initial parameters: weights normal with He's standard deviation √(2/fan-in), but at least one step of the layer's
 * grid, since all of a finer layer would round to 0; biases 0.
 */
export function initialParameters(architecture: Architecture, seed: number): LinearParameters[] {
  const random = createRandom(seed);
  const { height, width } = networkShapes(architecture).features;
  const summed = architecture.head.pool === "global-sum" ? height * width : 1;
  return linearFormats(architecture).map(({ units, fanIn, weightMin, weightMax, weightFractionBits }, index) => {
    const step = 2 ** -weightFractionBits;
    // The first dense layer after a global sum reads values that are `summed` times as large.
    const scale = index === architecture.layers.length ? 1 / summed : 1;
    const deviation = Math.max(step, scale * Math.sqrt(2 / fanIn));
    const weights = new Float32Array(units * fanIn);
    fillNormal(weights, random, deviation, weightMin * step, weightMax * step);
    return { weights, bias: new Float32Array(units) };
  });
}

// This and the like are functions of their own: a closure of each network would be compiled anew for each.
function fillNormal(values: Float32Array, random: Random, deviation: number, lowest: number, highest: number): void {
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.min(highest, Math.max(lowest, deviation * random.normal()));
  }
}

/** The real numbers that a model's integers stand for. */
export function parametersOf(model: Model): LinearParameters[] {
  const formats = linearFormats(model.architecture);
  return linearWeights(model).map(({ weights, bias }, index) => {
    const { weightFractionBits, accumulatorFractionBits } = formats[index]!;
    return {
      weights: Float32Array.from(weights, (w) => w * 2 ** -weightFractionBits),
      bias: Float32Array.from(bias, (b) => b * 2 ** -accumulatorFractionBits),
    };
  });
}

/** ⌊x·2^fractionBits + ½⌋ clamped to lowest … highest, with float32's rounding of the sum as in the step graph. */
export function roundToGrid(x: number, fractionBits: number, lowest: number, highest: number): number {
  const rounded = Math.floor(Math.fround(Math.fround(x * 2 ** fractionBits) + 0.5));
  return Math.min(highest, Math.max(lowest, rounded));
}

function fillRounded(
  integers: Int16Array | Int32Array,
  values: Float32Array,
  fractionBits: number,
  lowest: number,
  highest: number,
): void {
  for (let i = 0; i < values.length; i++) integers[i] = roundToGrid(values[i]!, fractionBits, lowest, highest);
}

/** The model that these parameters stand for. @param parameters finite numbers */
export function quantise(architecture: Architecture, parameters: readonly LinearParameters[]): Model {
  const integers = linearFormats(architecture).map((format, index): LinearWeights => {
    const { weightFractionBits, accumulatorFractionBits, weightMin, weightMax } = format;
    const { weights, bias } = parameters[index]!;
    const rounded = { weights: new Int16Array(weights.length), bias: new Int32Array(bias.length) };
    fillRounded(rounded.weights, weights, weightFractionBits, weightMin, weightMax);
    fillRounded(rounded.bias, bias, accumulatorFractionBits, -MAX_TRAINED_BIAS, MAX_TRAINED_BIAS);
    return rounded;
  });
  const depth = architecture.layers.length;
  return {
    architecture,
    layers: integers.slice(0, depth),
    hidden: architecture.head.hidden > 0 ? integers[depth]! : null,
    output: integers.at(-1)!,
  };
}
