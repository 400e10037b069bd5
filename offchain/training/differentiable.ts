/**
 * The parts of a child network with their gradients, written in ordinary ONNX inference operators.
 *
 * Tensors are N×C×H×W. Activations travel as integers (multiples of their last bit), so a layer's weights carry the
 * scale of its requantisation and one convolution gives the value that is to be rounded. Gradients go straight
 * through every rounding and stop where a clamp has cut (straight-through estimator).
 */
import { ELEMENT, type Graph } from "../evaluation/onnx-graph.ts";
import type { LayerShapes, TensorShape } from "../evaluation/shapes.ts";
import { MAX_ACTIVATION_BITS } from "../evaluation/well-formed.ts";
import type { Layer } from "../protocol/architecture.ts";
import {
  blockedConvolution,
  blockedInputGradient,
  worthBlocks,
  type BlockSize,
  type ConvolutionShape,
} from "./blocked-convolution.ts";
import { filterGradient } from "./filter-gradient.ts";

/** A part's output, and the way back: from the gradient of the output to that of the input. */
export interface Part {
  readonly output: string;
  /** Adds the nodes of the backward pass. To be called once. */
  backward(gradient: string): string;
}

/** A linear layer's parameters in the graph, quantised, and what the backward pass finds for them. */
export interface GraphParameters {
  readonly weights: string;
  readonly bias: string;
  /** clamp of the layer's activations, see `LayerFormat`; null of the output layer, which has none */
  readonly limit: string | null;
  /** called in the backward pass with the gradients of the two above */
  readonly learn: (weights: string, bias: string) => void;
}

export interface PartOptions {
  readonly graph: Graph;
  /** samples that go forward and back together */
  readonly batch: number;
  /** false leaves every rounding out and keeps the clamps: then gradients are those of the function itself */
  readonly rounding: boolean;
  /** of the layout for convolutions, see blocked-convolution.ts; 1 for the ordinary one */
  readonly blockSize: BlockSize;
  /** how max-pools send gradients back; both send them to the same places */
  readonly poolGradient: PoolGradient;
}

/**
 * "indices": by MaxUnpool, the fastest on a CPU. "mask": comparisons, for GPU providers, which
 * lack the one or the other.
 */
export type PoolGradient = "indices" | "mask";

const scalar = (graph: Graph, value: number): string => graph.floats([value], []);
const times = (graph: Graph, value: string, factor: number): string =>
  factor === 1 ? value : graph.op("Mul", [value, scalar(graph, factor)]);

/** Rule 3 of docs/evaluation.md on sums that already hold the half bit: floor and clamp to 0 … max. */
function activation({ graph, rounding }: PartOptions, sums: string, limit: string): Part {
  // Clamping half a bit higher and then flooring gives the same integers, and the clamp alone shows what was cut.
  const clamped = graph.op("Clip", [sums, scalar(graph, 0.5), limit]);
  return {
    output: rounding ? graph.op("Floor", [clamped]) : graph.op("Sub", [clamped, scalar(graph, 0.5)]),
    backward: (gradient) => {
      const inside = graph.op("And", [
        graph.op("Greater", [clamped, scalar(graph, 0.5)]),
        graph.op("Less", [clamped, limit]),
      ]);
      // On a CPU a product is faster than Where.
      return graph.op("Mul", [gradient, graph.op("Cast", [inside], { to: ELEMENT.float })]);
    },
  };
}

/** "same" convolution with bias and requantisation. @param first true where nothing before it needs a gradient */
export function convolution(
  options: PartOptions,
  input: string,
  layer: Layer,
  shapes: LayerShapes,
  { weights, bias, limit, learn }: GraphParameters,
  first: boolean,
): Part {
  const { graph } = options;
  const { padding } = shapes;
  const shape: ConvolutionShape = {
    channels: shapes.input.channels,
    filters: layer.filters,
    kernel: [layer.kernelHeight, layer.kernelWidth],
    strides: [layer.strideHeight, layer.strideWidth],
    pads: [padding.top, padding.left, padding.bottom, padding.right],
  };
  const attributes = { kernel_shape: shape.kernel, strides: shape.strides, pads: shape.pads };
  const blocked = worthBlocks(options.blockSize, shape);
  const accumulated = blocked
    ? blockedConvolution(graph, options.blockSize, input, weights, bias, shape)
    : graph.op("Conv", [input, weights, bias], attributes);
  const active = activation(options, accumulated, limit!);
  return {
    output: active.output,
    backward: (gradient) => {
      const sums = active.backward(gradient);
      learn(
        filterGradient(graph, options.batch, input, sums, layer, shapes),
        graph.op("ReduceSum", [sums, graph.ints([0, 2, 3])], { keepdims: 0 }),
      );
      if (first) return sums;
      if (blocked && layer.strideHeight * layer.strideWidth === 1) {
        return blockedInputGradient(graph, options.blockSize, sums, weights, shape);
      }
      // Rows and columns that the last window does not reach.
      const rest = (size: number, out: number, stride: number, kernel: number, pad: number): number =>
        size - ((out - 1) * stride + kernel - pad);
      const { input: from, convolution: to } = shapes;
      return graph.op("ConvTranspose", [sums, weights], {
        ...attributes,
        output_padding: [
          rest(from.height, to.height, layer.strideHeight, layer.kernelHeight, padding.top + padding.bottom),
          rest(from.width, to.width, layer.strideWidth, layer.kernelWidth, padding.left + padding.right),
        ],
      });
    },
  };
}

/** Max-pool p×p, "same" windows that see only real elements; of equals the first in the window gets the gradient. */
export function maxPool(options: PartOptions, input: string, size: number, shapes: LayerShapes): Part {
  if (options.poolGradient === "mask") return maskedMaxPool(options, input, size, shapes);
  const { graph, batch } = options;
  const { height, width, channels } = shapes.convolution;
  const { output, indices } =
    codedMaxPool(options, input, size, shapes) ?? indexedMaxPool(options, input, size, shapes);
  return {
    output,
    // The indices count in the whole unpadded tensor, so the window's own sizes do not matter on the way back. Where a
    // training diverges there is no maximum, and what stands for its index need not lie inside.
    backward: (gradient) => {
      const last = batch * channels * height * width - 1;
      const inside = graph.op("Clip", [indices(), graph.ints([0], []), graph.ints([last], [])]);
      return graph.op("MaxUnpool", [gradient, inside, graph.ints([batch, channels, height, width])], {
        kernel_shape: [1, 1],
        strides: [1, 1],
      });
    },
  };
}

interface IndexedPool {
  readonly output: string;
  /** int64, of each output's maximum in the flat unpadded input; adds what nodes it takes */
  indices(): string;
}

function indexedMaxPool({ graph }: PartOptions, input: string, size: number, shapes: LayerShapes): IndexedPool {
  const [output, indices] = graph.ops("MaxPool", [input], 2, poolAttributes(size, shapes)) as [string, string];
  return { output, indices: () => indices };
}

/**
 * Several times as fast as onnxruntime's MaxPool with indices: each value is joined with its place in its window into
 * one number that sorts by the value, and then the earlier place. Null where such numbers are not exact in float32.
 */
function codedMaxPool(
  { graph, batch, rounding }: PartOptions,
  input: string,
  size: number,
  shapes: LayerShapes,
): IndexedPool | null {
  const { height, width, channels } = shapes.convolution;
  const { top, left } = shapes.poolPadding;
  const { height: rows, width: columns } = shapes.pool;
  const places = 2 ** Math.ceil(Math.log2((size - 1) * width + size));
  // Without rounding, values are not integers.
  if (!rounding || places * 2 ** MAX_ACTIVATION_BITS > 2 ** 24) return null;

  const grid = (height: number, width: number, value: (row: number, column: number) => number): string =>
    graph.floats(
      Array.from({ length: height * width }, (_, at) => value(Math.floor(at / width), at % width)),
      [height, width],
    );
  const place = (row: number, column: number): number => ((row + top) % size) * width + ((column + left) % size);
  const ranks = grid(height, width, (row, column) => places - 1 - place(row, column));
  const codes = graph.op("Add", [times(graph, input, places), ranks]);
  const best = graph.op("MaxPool", [codes], poolAttributes(size, shapes));
  const output = graph.op("Floor", [times(graph, best, 1 / places)]);
  return {
    output,
    indices: () => {
      // places · value − code = place − (places − 1)
      const back = graph.op("Sub", [times(graph, output, places), best]);
      const starts = grid(
        rows,
        columns,
        (row, column) => places - 1 + (row * size - top) * width + (column * size - left),
      );
      const inPlane = graph.op("Add", [back, starts]);
      const planes = Array.from({ length: batch * channels }, (_, plane) => plane * height * width);
      return graph.op("Add", [
        graph.op("Cast", [inPlane], { to: ELEMENT.int64 }),
        graph.ints(planes, [batch, channels, 1, 1]),
      ]);
    },
  };
}

function poolAttributes(size: number, { poolPadding: { top, left, bottom, right } }: LayerShapes) {
  return { kernel_shape: [size, size], strides: [size, size], pads: [top, left, bottom, right] };
}

/** The same with each window laid out as a row of its p² values, compared with one another. */
function maskedMaxPool({ graph, batch }: PartOptions, input: string, size: number, shapes: LayerShapes): Part {
  const { top, left, bottom, right } = shapes.poolPadding;
  const { height, width, channels } = shapes.convolution;
  const { height: rows, width: columns } = shapes.pool;
  const planes = batch * channels;
  const places = size * size;
  const padding = top + left + bottom + right > 0;
  const scalar = (value: number): string => graph.floats([value], []);

  // Activations are never negative, so padding below 0 is never the maximum.
  const padded = padding
    ? graph.op("Pad", [input, graph.ints([0, 0, top, left, 0, 0, bottom, right]), scalar(-1)])
    : input;
  const blocks = graph.op("Reshape", [padded, graph.ints([planes, rows, size, columns, size])]);
  const windows = graph.op("Reshape", [
    graph.op("Transpose", [blocks], { perm: [0, 1, 3, 2, 4] }),
    graph.ints([planes, rows, columns, places]),
  ]);
  const largest = (values: string): string => graph.op("ReduceMax", [values], { axes: [3], keepdims: 1 });
  const maximum = largest(windows);
  return {
    output: graph.op("Reshape", [maximum, graph.ints([batch, channels, rows, columns])]),
    backward: (gradient) => {
      // Of the places that hold the maximum, which quantised activations often share, the first ranks highest.
      const equal = graph.op("Cast", [graph.op("Equal", [windows, maximum])], { to: ELEMENT.float });
      const order = graph.floats(
        Array.from({ length: places }, (_, place) => places - place),
        [places],
      );
      const rank = graph.op("Mul", [equal, order]);
      const chosen = graph.op("Equal", [rank, largest(rank)]);
      const column = graph.op("Reshape", [gradient, graph.ints([planes, rows, columns, 1])]);
      const spread = graph.op("Reshape", [
        graph.op("Where", [chosen, column, scalar(0)]),
        graph.ints([planes, rows, columns, size, size]),
      ]);
      const image = graph.op("Reshape", [
        graph.op("Transpose", [spread], { perm: [0, 1, 3, 2, 4] }),
        graph.ints([batch, channels, rows * size, columns * size]),
      ]);
      if (!padding) return image;
      return graph.op("Slice", [
        image,
        graph.ints([top, left]),
        graph.ints([top + height, left + width]),
        graph.ints([2, 3]),
      ]);
    },
  };
}

/** Sum over all positions: N×C. */
export function globalSum({ graph, batch }: PartOptions, input: string, shape: TensorShape): Part {
  const { height, width, channels } = shape;
  return {
    output: graph.op("ReduceSum", [input, graph.ints([2, 3])], { keepdims: 0 }),
    backward: (gradient) =>
      graph.op("Expand", [
        graph.op("Reshape", [gradient, graph.ints([batch, channels, 1, 1])]),
        graph.ints([batch, channels, height, width]),
      ]),
  };
}

/** All values of a sample in (channel, row, column) order; the dense weights after it stand in that order too. */
export function flatten({ graph, batch }: PartOptions, input: string, shape: TensorShape): Part {
  const { height, width, channels } = shape;
  return {
    output: graph.op("Reshape", [input, graph.ints([batch, height * width * channels])]),
    backward: (gradient) => graph.op("Reshape", [gradient, graph.ints([batch, channels, height, width])]),
  };
}

/**
 * Dropout of N×(C·positions) values in whole channels: each is multiplied by its sample's and channel's entry of the
 * mask, 0 for what is left out and 1 / (1 − rate) for the rest. @param mask N×C
 */
export function dropFeatures(
  { graph, batch }: PartOptions,
  input: string,
  mask: string,
  channels: number,
  positions: number,
): Part {
  const shape = graph.ints([batch, channels, positions]);
  const factor = graph.op("Reshape", [mask, graph.ints([batch, channels, 1])]);
  const masked = (values: string): string =>
    graph.op("Reshape", [
      graph.op("Mul", [graph.op("Reshape", [values, shape]), factor]),
      graph.ints([batch, channels * positions]),
    ]);
  return { output: masked(input), backward: masked };
}

/** Dense layer: requantised where its format says so, otherwise the logits. */
export function dense(options: PartOptions, input: string, { weights, bias, limit, learn }: GraphParameters): Part {
  const { graph } = options;
  const sums = graph.op("Gemm", [input, weights, bias], { transB: 1 });
  const active = limit === null ? null : activation(options, sums, limit);
  return {
    output: active?.output ?? sums,
    backward: (gradient) => {
      const of = active?.backward(gradient) ?? gradient;
      learn(
        graph.op("Gemm", [of, input], { transA: 1 }),
        graph.op("ReduceSum", [of, graph.ints([0])], { keepdims: 0 }),
      );
      return graph.op("MatMul", [of, weights]);
    },
  };
}

export interface LossOptions {
  readonly classes: number;
  /** the logits are multiplied by it first */
  readonly scale: number;
  /** over which the mean goes: N, or more where these logits are not all */
  readonly samples: number;
}

/**
 * Mean cross-entropy, or what logits N×K contribute to it.
 * @param labels N×1 int32
 */
export function crossEntropy(graph: Graph, logits: string, labels: string, { classes, scale, samples }: LossOptions) {
  const range = graph.op("Cast", [graph.floats([...Array(classes).keys()], [1, classes])], { to: ELEMENT.int32 });
  const truth = graph.op("Cast", [graph.op("Equal", [labels, range])], { to: ELEMENT.float });
  const scaled = times(graph, logits, scale);
  // LogSoftmax in its parts: WebGPU lacks it, and one operator on the CPU would hold up every step.
  const shifted = graph.op("Sub", [scaled, graph.op("ReduceMax", [scaled], { axes: [1], keepdims: 1 })]);
  const sum = graph.op("ReduceSum", [graph.op("Exp", [shifted]), graph.ints([1])], { keepdims: 1 });
  const logProbabilities = graph.op("Sub", [shifted, graph.op("Log", [sum])]);
  const picked = graph.op("ReduceSum", [graph.op("Mul", [logProbabilities, truth]), graph.ints([0, 1])], {
    keepdims: 0,
  });
  return {
    output: times(graph, picked, -1 / samples),
    /** gradient of the logits */
    gradient: () => times(graph, graph.op("Sub", [graph.op("Softmax", [scaled], { axis: 1 }), truth]), scale / samples),
  };
}
