/**
 * A whole training step as one graph of inference operators: forward pass with fake quantisation, loss, gradients,
 * optimiser. Parameters and what the optimiser keeps of them are inputs and outputs.
 */
import { createGraph, ELEMENT, type Graph } from "../evaluation/onnx-graph.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import type { BlockSize } from "./blocked-convolution.ts";
import {
  convolution,
  crossEntropy,
  dense,
  dropFeatures,
  flatten,
  globalSum,
  maxPool,
  type GraphParameters,
  type Part,
  type PoolGradient,
} from "./differentiable.ts";
import { declareFormats, type FormatNames } from "./formats.ts";
import { linearFormats } from "./parameters.ts";
import type { StepRecipe } from "./settings.ts";
import {
  parameterGradient,
  parameterLayout,
  quantiseParameters,
  updateParameters,
  type ParameterGradients,
  type QuantisedParameters,
} from "./state.ts";

export interface StepGraphOptions {
  readonly architecture: Architecture;
  /** samples of a step */
  readonly batch: number;
  readonly settings: StepRecipe;
  /** false leaves out every rounding (gradient checks) */
  readonly rounding?: boolean;
  /** "update": the parameters after the step; "gradients": the gradients themselves (gradient checks) */
  readonly result?: "update" | "gradients";
  /** "indices" unless said otherwise */
  readonly poolGradient?: PoolGradient;
  /** of the layout for convolutions; 1 unless said otherwise, which every runtime takes */
  readonly blockSize?: BlockSize;
  /** into how many equal parts the samples are divided, see {@link piecesOf}; 1 unless said otherwise */
  readonly pieces?: number;
  /** "constants" unless said otherwise; "inputs": `formatTensors` are inputs of the graph, in which no bit width is left */
  readonly formats?: "constants" | "inputs";
}

/** A tensor of activations that is larger has left a processor's near caches before the next operator reads it. */
const NEAR_BYTES = 2 ** 21;
/** Each piece brings its own nodes, and a session takes the longer to make. */
const MOST_PIECES = 16;

/**
 * Into how many pieces to divide a step's samples on a CPU, each going forward and back before the next: so many that
 * no layer's activations take more than 2 MiB, or what halving gives. Measured, a network of CIFAR-10's size trains an
 * eighth faster so, and two processes hinder each other less.
 */
export function piecesOf(architecture: Architecture, batch: number): number {
  const values = networkShapes(architecture).layers.map(
    ({ convolution: { height, width, channels } }) => height * width * channels,
  );
  const bytes = 4 * batch * Math.max(...values);
  let pieces = 1;
  while (bytes / pieces > NEAR_BYTES && (batch / pieces) % 2 === 0 && pieces < MOST_PIECES) pieces *= 2;
  return pieces;
}

/** What dropout picks from: the units of the hidden layer, or else the last layer's feature maps. */
export function dropoutWidth({ layers, head }: Architecture): number {
  return head.hidden > 0 ? head.hidden : layers.at(-1)!.filters;
}

/**
 * The graph. Inputs: `pixels` uint8 [batch, H, W, C], `labels` uint8 [batch], `parameters` (see
 * {@link parameterLayout}); with dropout `dropoutMask` [batch, {@link dropoutWidth}]; for an update the rest of
 * `stateNames` and the scalars of `stepScalars`. Outputs: `loss`, NaN unless all parameters are finite, and
 * `predictions` int64 [batch], both of the parameters that came in; `next.NAME` of the state, or `gradient` of the
 * parameters.
 */
export function buildStepGraph(options: StepGraphOptions): Uint8Array {
  const { architecture, batch, settings, rounding = true, result = "update", formats = "constants" } = options;
  const graph = createGraph("training-step");
  const names = declareFormats(graph, architecture, formats);
  const { count } = parameterLayout(architecture);
  const parameters = graph.input("parameters", [count]);
  const quantised = quantiseParameters(graph, parameters, architecture, names, rounding);
  const passes = passesOf(graph, options, names, quantised);

  const joined = passes.map(({ predictions }) => predictions);
  const predictions = joined.length === 1 ? joined[0]! : graph.op("Concat", joined, { axis: 0 });
  const sum = (of: (pass: Pass) => string): string =>
    passes.map(of).reduce((total, value) => graph.op("Add", [total, value]));
  // Clamps and maxima can lose a NaN on its way to the loss, which is what tells that a training has diverged.
  const total = graph.op("ReduceSum", [parameters], { keepdims: 0 });
  const unlessDiverged = graph.op("Mul", [total, graph.floats([0], [])]);
  graph.output(graph.op("Add", [sum(({ loss }) => loss), unlessDiverged]), "loss", []);
  graph.output(predictions, "predictions", [batch], ELEMENT.int64);
  const gradients = quantised.map((_, index) => ({
    weights: sum((pass) => pass.gradients[index]!.weights),
    bias: sum((pass) => pass.gradients[index]!.bias),
  }));
  const gradient = parameterGradient(graph, gradients, names);
  if (result === "gradients") graph.output(gradient, "gradient", [count]);
  else updateParameters(graph, parameters, gradient, architecture, names, settings);
  return graph.encode();
}

/** What a piece of the samples gives. */
interface Pass {
  /** of the linear layers' parameters; over all pieces they add up to those of the step, and so do the losses */
  readonly gradients: readonly ParameterGradients[];
  readonly loss: string;
  readonly predictions: string;
}

/** All pieces' ways forward and back. They share the weights alone, so a runtime ends one before it begins another. */
function passesOf(
  graph: Graph,
  options: StepGraphOptions,
  names: FormatNames,
  quantised: readonly QuantisedParameters[],
): Pass[] {
  const { architecture, batch, settings, rounding = true, poolGradient = "indices", blockSize = 1 } = options;
  const { pieces = 1 } = options;
  const shapes = networkShapes(architecture);
  const linear = linearFormats(architecture);
  const scale = logitScale(architecture);
  const width = dropoutWidth(architecture);
  const samples = batch / pieces;
  const part = { graph, batch: samples, rounding, poolGradient, blockSize };
  const pixels = graph.input("pixels", [batch, ...architecture.input], ELEMENT.uint8);
  const labels = graph.input("labels", [batch], ELEMENT.uint8);
  const mask = (settings.dropout ?? 0) > 0 ? graph.input("dropoutMask", [batch, width]) : null;

  return Array.from({ length: pieces }, (_, piece): Pass => {
    const own = (value: string): string =>
      pieces === 1
        ? value
        : graph.op("Slice", [value, ...[piece * samples, (piece + 1) * samples, 0].map((at) => graph.ints([at]))]);
    const gradients: ParameterGradients[] = [];
    const layers = quantised.map((parameter, index): GraphParameters => ({
      ...parameter,
      limit: linear[index]!.requantise === null ? null : names.layers[index]!.limit,
      learn: (weights, bias) => (gradients[index] = { weights, bias }),
    }));
    const parts: Part[] = [];
    let value = graph.op("Transpose", [graph.op("Cast", [own(pixels)], { to: ELEMENT.float })], { perm: [0, 3, 1, 2] });
    const append = (next: Part): void => {
      parts.push(next);
      value = next.output;
    };

    for (const [index, layer] of architecture.layers.entries()) {
      const layerShapes = shapes.layers[index]!;
      append(convolution(part, value, layer, layerShapes, layers[index]!, index === 0));
      if (layer.poolSize > 1) append(maxPool(part, value, layer.poolSize, layerShapes));
    }
    append((architecture.head.pool === "flatten" ? flatten : globalSum)(part, value, shapes.features));
    for (let index = architecture.layers.length; index < linear.length; index++) {
      if (index === linear.length - 1 && mask !== null) {
        append(dropFeatures(part, value, own(mask), width, linear[index]!.fanIn / width));
      }
      append(dense(part, value, layers[index]!));
    }

    const truth = graph.op("Reshape", [
      graph.op("Cast", [own(labels)], { to: ELEMENT.int32 }),
      graph.ints([samples, 1]),
    ]);
    const loss = crossEntropy(graph, value, truth, { classes: architecture.classes, scale, samples: batch });
    const predictions = graph.op("ArgMax", [value], { axis: 1, keepdims: 0 });
    parts.reduceRight((gradient, { backward }) => backward(gradient), loss.gradient());
    return { gradients, loss: loss.output, predictions };
  });
}

/**
 * What the loss multiplies the logits by; predictions do not depend on it. A global sum is as large as it has
 * positions, and the mean over them trains better.
 */
export function logitScale(architecture: Architecture): number {
  const { height, width } = networkShapes(architecture).features;
  return architecture.head.pool === "global-sum" && architecture.head.hidden === 0 ? 1 / (height * width) : 1;
}
