/**
 * The parts of a child network with their gradients on TensorFlow.js: the same numbers as in differentiable.ts, where
 * the reasons stand, on tensors N×H×W×C.
 */
import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";

import type { LayerShapes, TensorShape } from "../evaluation/shapes.ts";
import type { Layer } from "../protocol/architecture.ts";
import { MAX_TRAINED_BIAS, type LinearFormat } from "./parameters.ts";
import type { Tf } from "./tfjs-backend.ts";
import { convolutionGeometry, type ConvolutionGradients } from "./tfjs-convolution.ts";
import { interleave, inverse, phases, reframe } from "./tfjs-images.ts";

/** A linear layer's parameters, or their gradients. */
export interface LinearTensors {
  /** of a convolution kh×kw×C×M, of a dense layer fan-in × units */
  readonly weights: Tensor;
  /** one a unit */
  readonly bias: Tensor;
}

/** A part that has been passed, and the way back. */
export interface Pass {
  readonly output: Tensor;
  /** what the way back needs besides the output */
  readonly saved: readonly Tensor[];
  /** From the gradient of the output to that of the input, null where nothing before it learns. */
  backward(gradient: Tensor): { readonly input: Tensor | null; readonly parameters: LinearTensors | null };
}

export interface PartOptions {
  readonly tf: Tf;
  readonly convolutions: ConvolutionGradients;
  /** false leaves every rounding out and keeps the clamps: then gradients are those of the function itself */
  readonly rounding: boolean;
}

const times = (tf: Tf, value: Tensor, factor: number): Tensor => (factor === 1 ? value : tf.mul(value, factor));

/** Parameters on their grids, so scaled that sums come out in units of the last bit of the layer's activations. */
function quantised({ tf, rounding }: PartOptions, { weights, bias }: LinearTensors, format: LinearFormat) {
  const { accumulatorFractionBits, weightFractionBits, weightMin, weightMax, requantise } = format;
  const unit = requantise === null ? 2 ** -accumulatorFractionBits : 2 ** -requantise.shift;
  const onGrid = (value: Tensor, fractionBits: number, lowest: number, highest: number): Tensor => {
    const scaled = times(tf, value, 2 ** fractionBits);
    const rounded = rounding ? tf.floor(tf.add(scaled, 0.5)) : scaled;
    return times(tf, tf.clipByValue(rounded, lowest, highest), unit);
  };
  const scaledBias = onGrid(bias, accumulatorFractionBits, -MAX_TRAINED_BIAS, MAX_TRAINED_BIAS);
  return {
    weights: onGrid(weights, weightFractionBits, weightMin, weightMax),
    bias: requantise === null ? scaledBias : tf.add(scaledBias, 0.5),
    /** Turns gradients of the two above into those of the real-valued parameters. */
    learn: (weightGradient: Tensor, biasGradient: Tensor): LinearTensors => ({
      weights: times(tf, weightGradient, unit * 2 ** weightFractionBits),
      bias: times(tf, biasGradient, unit * 2 ** accumulatorFractionBits),
    }),
  };
}

/** Requantisation of sums that already hold the half bit. */
function activation({ tf, rounding }: PartOptions, sums: Tensor, max: number) {
  const clamped = tf.clipByValue(sums, 0.5, max + 0.5);
  return {
    output: rounding ? tf.floor(clamped) : tf.sub(clamped, 0.5),
    saved: [clamped],
    // Positive strictly between the clamps; comparisons and selections take WebAssembly twice the time.
    backward: (gradient: Tensor): Tensor => {
      const inside = tf.mul(tf.sub(clamped, 0.5), tf.sub(max + 0.5, clamped));
      return tf.mul(gradient, tf.step(inside));
    },
  };
}

/** Sum over all but the last axis. A product with ones costs no transposition, which a sum over the outer axes does. */
function sumOfRows(tf: Tf, rows: Tensor2D): Tensor {
  return tf.reshape(tf.matMul(tf.ones([1, rows.shape[0]]), rows), [rows.shape[1]]);
}

/** "same" convolution with bias and requantisation. @param first true where nothing before it needs a gradient */
export function convolution(
  options: PartOptions,
  input: Tensor4D,
  layer: Layer,
  shapes: LayerShapes,
  format: LinearFormat,
  parameters: LinearTensors,
  first: boolean,
): Pass {
  const { tf, convolutions } = options;
  const { weights, bias, learn } = quantised(options, parameters, format);
  const filters = weights as Tensor4D;
  const geometry = convolutionGeometry(layer, shapes);
  const { strides, frame } = geometry;
  // Padding "same" is silently wrong on WebAssembly where a stride exceeds the kernel.
  const framed = reframe(tf, input, frame);
  const sums = tf.fused.conv2d({ x: framed, filter: filters, strides: [...strides], pad: "valid", bias });
  const active = activation(options, sums, format.requantise!.max);
  return {
    output: active.output,
    saved: [...(framed === input ? [] : [framed]), filters, ...active.saved],
    backward: (gradient) => {
      const through = active.backward(gradient) as Tensor4D;
      const rows = tf.reshape(through, [-1, layer.filters]) as Tensor2D;
      return {
        input: first ? null : convolutions.input(filters, through, geometry),
        parameters: learn(convolutions.filters(framed, through, geometry), sumOfRows(tf, rows)),
      };
    },
  };
}

/** Max-pool p×p, "same" windows that see only real elements; of equals the first in the window gets the gradient. */
export function maxPool({ tf }: PartOptions, input: Tensor4D, size: number, { poolPadding }: LayerShapes): Pass {
  // Activations are never negative, so padding below 0 is never the maximum.
  const framed = reframe(tf, input, poolPadding, -1);
  const output = tf.maxPool(framed, size, size, "valid");
  return {
    output,
    saved: framed === input ? [] : [framed],
    backward: (gradient) => {
      // Each place of the window takes, if it holds the maximum, what the places before it have left.
      let left: Tensor = gradient;
      const parts = phases(tf, framed, size, size).map((cell) => {
        const passed = tf.mul(left, tf.step(tf.sub(output, cell)));
        const taken = tf.sub(left, passed);
        left = passed;
        return taken as Tensor4D;
      });
      return { input: reframe(tf, interleave(tf, parts, size, size), inverse(poolPadding)), parameters: null };
    },
  };
}

/** Sum over all positions: N×C. */
export function globalSum({ tf }: PartOptions, input: Tensor4D, { height, width, channels }: TensorShape): Pass {
  const batch = input.shape[0];
  return {
    output: tf.sum(input, [1, 2]),
    saved: [],
    backward: (gradient) => ({
      input: tf.broadcastTo(tf.reshape(gradient, [batch, 1, 1, channels]), [batch, height, width, channels]),
      parameters: null,
    }),
  };
}

/** All values of a sample in (row, column, channel) order. */
export function flatten({ tf }: PartOptions, input: Tensor4D): Pass {
  const { shape } = input;
  return {
    output: tf.reshape(input, [shape[0], -1]),
    saved: [],
    backward: (gradient) => ({ input: tf.reshape(gradient, shape), parameters: null }),
  };
}

/** Dropout of N×(positions·C) values in whole channels. @param mask N×C, what each channel is multiplied by */
export function dropFeatures({ tf }: PartOptions, input: Tensor2D, mask: Tensor2D): Pass {
  const [batch, channels] = mask.shape;
  const masked = (values: Tensor): Tensor =>
    tf.reshape(tf.mul(tf.reshape(values, [batch, -1, channels]), tf.reshape(mask, [batch, 1, channels])), input.shape);
  return {
    output: masked(input),
    saved: [],
    backward: (gradient) => ({ input: masked(gradient), parameters: null }),
  };
}

/** Dense layer: requantised where its format says so, otherwise the logits. */
export function dense(options: PartOptions, input: Tensor2D, format: LinearFormat, parameters: LinearTensors): Pass {
  const { tf } = options;
  const { weights, bias, learn } = quantised(options, parameters, format);
  const sums = tf.add(tf.matMul(input, weights as Tensor2D), bias);
  const active = format.requantise === null ? null : activation(options, sums, format.requantise.max);
  return {
    output: active?.output ?? sums,
    saved: [input, weights, ...(active?.saved ?? [])],
    backward: (gradient) => {
      const through = (active?.backward(gradient) ?? gradient) as Tensor2D;
      // Transposed beforehand: WebAssembly has fast products of plain matrices only.
      return {
        input: tf.matMul(through, tf.transpose(weights as Tensor2D)),
        parameters: learn(tf.matMul(tf.transpose(input), through), sumOfRows(tf, through)),
      };
    },
  };
}

/** Mean cross-entropy of logits N×K with its gradient. @param truth N×K, 1 for each sample's class */
export function crossEntropy(tf: Tf, logits: Tensor2D, truth: Tensor2D, scale: number) {
  const [batch] = logits.shape;
  const scaled = times(tf, logits, scale);
  const picked = tf.sum(tf.mul(tf.logSoftmax(scaled), truth));
  return {
    loss: tf.mul(picked, -1 / batch),
    gradient: tf.mul(tf.sub(tf.softmax(scaled), truth), scale / batch),
  };
}
