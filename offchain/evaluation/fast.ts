/**
 * The canonical evaluation on onnxruntime, exact to the last bit of every logit (docs/evaluation.md, "Speed").
 *
 * float32 adds integers below 2^24 exactly in any order, so a layer whose bound stays below 2^24 is one float
 * convolution; scaling its weights by the power of two of the requantisation is exact too, which leaves a floor and
 * a clip. A layer between 2^24 and 2^31 runs as several float convolutions over parts of its weights, joined in double
 * precision, and dense layers run in double precision there. Which of them is decided from the weights alone.
 *
 * That holds for plain sums of float32 products alone. TF32 cuts weights and activations to 11 bits, and Winograd's
 * and Fourier's convolutions pass through fractions that round: with either, validators with different hardware would
 * count differently. cuDNN picks its algorithms by itself and onnxruntime's package for Node cannot forbid it any, so
 * nothing is evaluated there; WebGPU has no double precision, so what needs it is not evaluated there either. The CPU
 * stands in for both.
 */
import { PonasError } from "../protocol/errors.ts";
import { linearWeights, type LinearWeights, type Model } from "./model.ts";
import { createGraph, ELEMENT, type Graph } from "./onnx-graph.ts";
import { loadCpuRuntime, runSession, type Runtime } from "./onnx-runtime.ts";
import { linearLayers, networkShapes, type LayerShapes, type LinearLayer, type NetworkShapes } from "./shapes.ts";
import { EXACT_IN_FLOAT32, splitWeights } from "./split.ts";
import { unitBounds } from "./well-formed.ts";

/** A network made ready for many samples. Not for use by two callers at once. */
export interface FastEvaluator {
  /** "single": float32 throughout; "split": at least one layer reaches 2^24 */
  readonly path: "single" | "split";
  /**
   * Logits of many samples.
   * @param pixels count × H·W·C bytes, row-major, channels last
   * @returns count × classes integers, equal to those of the reference
   * @throws PonasError aborted between two batches; engine where onnxruntime fails
   */
  logits(pixels: Uint8Array, count: number, signal?: AbortSignal): Promise<Float64Array>;
  /** Frees the session; the evaluator is of no use afterwards. */
  dispose(): Promise<void>;
}

export interface FastOptions {
  /** samples in one run; 16, or fewer where one sample's tensors are large */
  readonly batch?: number;
  /** threads of the session; 1 is the fastest a core, more parallel work goes to more worker threads */
  readonly threads?: number;
  /** where to compute; the CPU unless said otherwise, and wherever the runtime would not be exact */
  readonly runtime?: Runtime;
}

/** Measured best from 0.9 to 34 million multiplications a sample; larger batches leave the caches. */
const LARGEST_BATCH = 16;
/** Values of the largest tensor of a batch: 64 MiB of float32. */
const LARGEST_BATCH_VALUES = 2 ** 24;

/**
 * Makes a network ready to be evaluated.
 * @param model well-formed
 * @throws PonasError engine where onnxruntime refuses the graph
 */
export async function createFastEvaluator(
  model: Model,
  { batch, threads = 1, runtime: wanted }: FastOptions = {},
): Promise<FastEvaluator> {
  const { architecture } = model;
  const shapes = networkShapes(architecture);
  const [height, width, channels] = architecture.input;
  const size = height * width * channels;
  const { bytes, path } = buildGraph(model, shapes);
  const rows = batch ?? batchFor(shapes);
  const runtime = wanted?.exact === "all" || wanted?.exact === path ? wanted : await loadCpuRuntime();
  const session = await runtime.createSession(bytes, { threads });

  const logits: FastEvaluator["logits"] = async (pixels, count, signal) => {
    const result = new Float64Array(count * architecture.classes);
    for (let start = 0; start < count; start += rows) {
      if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.", { cause: signal.reason });
      const end = Math.min(start + rows, count);
      const feed = new runtime.Tensor("uint8", pixels.subarray(start * size, end * size), [
        end - start,
        height,
        width,
        channels,
      ]);
      const outputs = await runSession(runtime.name, "evaluate a network", session, { pixels: feed });
      result.set(outputs["logits"]!.data as Float32Array | Float64Array, start * architecture.classes);
    }
    return result;
  };
  return { path, logits, dispose: () => session.release() };
}

function batchFor({ layers }: NetworkShapes): number {
  const largest = layers.reduce((max, { input, convolution }) => {
    const values = [input, convolution].map((shape) => shape.height * shape.width * shape.channels);
    return Math.max(max, ...values);
  }, 1);
  return Math.min(LARGEST_BATCH, Math.max(1, Math.floor(LARGEST_BATCH_VALUES / largest)));
}

function buildGraph(model: Model, shapes: NetworkShapes): { bytes: Uint8Array; path: FastEvaluator["path"] } {
  const { architecture } = model;
  const [height, width, channels] = architecture.input;
  const linear = linearLayers(architecture, shapes);
  const integers = linearWeights(model);
  const exact = linear.map((layer, i) => unitBounds(layer, integers[i]!).every((bound) => bound < EXACT_IN_FLOAT32));

  const graph = createGraph();
  const pixels = graph.input("pixels", ["batch", height, width, channels], ELEMENT.uint8);
  let value = graph.op("Transpose", [pixels], { perm: [0, 3, 1, 2] });
  value = graph.op("Cast", [value], { to: ELEMENT.float });

  for (const [index, layer] of architecture.layers.entries()) {
    const layerShapes = shapes.layers[index]!;
    const convolution = exact[index]! ? convolveExact : convolveSplit;
    const kernel: Kernel = {
      attributes: {
        kernel_shape: [layer.kernelHeight, layer.kernelWidth],
        strides: [layer.strideHeight, layer.strideWidth],
        pads: onnxPads(layerShapes.padding),
      },
      dims: [layerShapes.input.channels, layer.kernelHeight, layer.kernelWidth],
    };
    value = convolution(graph, value, kernel, linear[index]!, integers[index]!);
    if (layer.poolSize > 1) {
      // Padding of MaxPool counts as −∞, and every window holds a real element.
      const size = layer.poolSize;
      const pads = onnxPads(layerShapes.poolPadding);
      value = graph.op("MaxPool", [value], { kernel_shape: [size, size], strides: [size, size], pads });
    }
  }

  let double = false;
  for (let index = architecture.layers.length; index < linear.length; index++) {
    const first = index === architecture.layers.length;
    if (!double && !exact[index]!) {
      value = graph.op("Cast", [value], { to: ELEMENT.double });
      double = true;
    }
    if (first && architecture.head.pool === "global-sum") {
      value = graph.op("ReduceSum", [value, graph.ints([2, 3])], { keepdims: 0 });
    } else if (first) {
      value = graph.op("Reshape", [value, graph.ints([-1, shapes.flattenLength])]);
    }
    const { weights, bias } = integers[index]!;
    const flattened = first && architecture.head.pool === "flatten";
    const ordered = flattened ? channelsFirst(weights, linear[index]!.fanIn, shapes.features.channels) : weights;
    value = dense(graph, value, linear[index]!, { weights: ordered, bias }, double);
  }
  graph.output(value, "logits", ["batch", architecture.classes], double ? ELEMENT.double : ELEMENT.float);
  return { bytes: graph.encode(), path: exact.every(Boolean) ? "single" : "split" };
}

interface Kernel {
  readonly attributes: { kernel_shape: number[]; strides: number[]; pads: number[] };
  /** channels, height, width of one filter */
  readonly dims: readonly [number, number, number];
}

function onnxPads(padding: LayerShapes["padding"]): number[] {
  return [padding.top, padding.left, padding.bottom, padding.right];
}

/** The accumulators of a unit's filter, in float32, every sum exact. */
function convolveExact(
  graph: Graph,
  input: string,
  { attributes, dims }: Kernel,
  linear: LinearLayer,
  { weights, bias }: LinearWeights,
): string {
  const ordered = scaled(channelsFirst(weights, linear.fanIn, dims[0]), scaleOf(linear));
  const kernel = graph.floats(ordered, [linear.units, ...dims]);
  const offset = graph.floats(offsets(linear, bias), [linear.units]);
  return rounded(graph, graph.op("Conv", [input, kernel, offset], attributes), linear, false);
}

/** The same where sums exceed float32: parts of the weights as further filters, joined in double precision. */
function convolveSplit(
  graph: Graph,
  input: string,
  { attributes, dims }: Kernel,
  linear: LinearLayer,
  { weights, bias }: LinearWeights,
): string {
  const parts = splitWeights(weights, linear.fanIn, linear.inputMax);
  const stacked = new Float32Array(parts.length * weights.length);
  for (const [index, part] of parts.entries()) {
    const ordered = channelsFirst(part.weights, linear.fanIn, dims[0]);
    stacked.set(scaled(ordered, scaleOf(linear) * 2 ** part.shift), index * weights.length);
  }
  const sums = graph.op("Conv", [input, graph.floats(stacked, [parts.length * linear.units, ...dims])], attributes);
  const split = graph.ints(parts.map(() => linear.units));
  const doubles = graph
    .ops("Split", [sums, split], parts.length, { axis: 1 })
    .map((part) => graph.op("Cast", [part], { to: ELEMENT.double }));
  const joined = [...doubles, graph.doubles(offsets(linear, bias), [linear.units, 1, 1])].reduce((sum, part) =>
    graph.op("Add", [sum, part]),
  );
  return graph.op("Cast", [rounded(graph, joined, linear, true)], { to: ELEMENT.float });
}

function dense(
  graph: Graph,
  input: string,
  linear: LinearLayer,
  { weights, bias }: LinearWeights,
  double: boolean,
): string {
  const constant = double ? graph.doubles : graph.floats;
  const matrix = constant(scaled(weights, scaleOf(linear)), [linear.units, linear.fanIn]);
  const offset = constant(offsets(linear, bias), [linear.units]);
  return rounded(graph, graph.op("Gemm", [input, matrix, offset], { transB: 1 }), linear, double);
}

/** 2^−sh, multiplied into weights and biases beforehand: a power of two, so exact. */
function scaleOf({ requantise }: LinearLayer): number {
  return requantise === null ? 1 : 2 ** -requantise.shift;
}

function scaled(values: ArrayLike<number>, factor: number): Float64Array {
  const products = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) products[i] = values[i]! * factor;
  return products;
}

/** (bias + rounding constant) · 2^−sh */
function offsets(linear: LinearLayer, bias: Int32Array): Float64Array {
  const shift = linear.requantise?.shift ?? 0;
  const rounding = shift > 0 ? 2 ** (shift - 1) : 0;
  return Float64Array.from(bias, (b) => (b + rounding) * scaleOf(linear));
}

/** What is left of rule 3 after the scaling: floor where bits are dropped, and the clamp. */
function rounded(graph: Graph, value: string, { requantise }: LinearLayer, double: boolean): string {
  if (requantise === null) return value;
  const constant = double ? graph.doubles : graph.floats;
  const floored = requantise.shift > 0 ? graph.op("Floor", [value]) : value;
  return graph.op("Clip", [floored, constant([0], []), constant([requantise.max], [])]);
}

/** Reorders each unit's weights from (row, column, channel), the model's order, to (channel, row, column), ONNX's. */
function channelsFirst<T extends Int16Array | Int32Array>(weights: T, fanIn: number, channels: number): T {
  const positions = fanIn / channels;
  const ordered = weights.slice() as T;
  for (let start = 0; start < weights.length; start += fanIn) {
    for (let position = 0; position < positions; position++) {
      for (let channel = 0; channel < channels; channel++) {
        ordered[start + channel * positions + position] = weights[start + position * channels + channel]!;
      }
    }
  }
  return ordered;
}
