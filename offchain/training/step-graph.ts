/**
 * A whole training step as one graph of inference operators: forward pass with fake quantisation, loss, gradients,
 * optimiser. Parameters and what the optimiser keeps of them are inputs and outputs.
 */
import { createGraph, ELEMENT } from "../evaluation/onnx-graph.ts";
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
import { declareFormats } from "./formats.ts";
import { linearFormats } from "./parameters.ts";
import type { StepRecipe } from "./settings.ts";
import {
  parameterGradient,
  parameterLayout,
  quantiseParameters,
  updateParameters,
  type ParameterGradients,
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
  /** "constants" unless said otherwise; "inputs": `formatTensors` are inputs of the graph, in which no bit width is left */
  readonly formats?: "constants" | "inputs";
}

/** What dropout picks from: the units of the hidden layer, or else the last layer's feature maps. */
export function dropoutWidth({ layers, head }: Architecture): number {
  return head.hidden > 0 ? head.hidden : layers.at(-1)!.filters;
}

/**
 * The graph. Inputs: `pixels` uint8 [batch, H, W, C], `labels` uint8 [batch], `parameters` (see
 * {@link parameterLayout}); with dropout `dropoutMask` [batch, {@link dropoutWidth}]; for an update the rest of
 * `stateNames` and the scalars of `stepScalars`. Outputs: `loss`, `predictions` int64 [batch] of the parameters that
 * came in, and `next.NAME` of the state, or `gradient` of the parameters.
 */
export function buildStepGraph({
  architecture,
  batch,
  settings,
  rounding = true,
  result = "update",
  poolGradient = "indices",
  blockSize = 1,
  formats = "constants",
}: StepGraphOptions): Uint8Array {
  const graph = createGraph("training-step");
  const options = { graph, batch, rounding, poolGradient, blockSize };
  const shapes = networkShapes(architecture);
  const names = declareFormats(graph, architecture, formats);
  const linear = linearFormats(architecture);
  const [height, width, channels] = architecture.input;

  const parameters = graph.input("parameters", [parameterLayout(architecture).count]);
  const gradients: ParameterGradients[] = [];
  const layers = quantiseParameters(graph, parameters, architecture, names, rounding).map(
    (quantised, index): GraphParameters => ({
      ...quantised,
      limit: linear[index]!.requantise === null ? null : names.layers[index]!.limit,
      learn: (weights, bias) => (gradients[index] = { weights, bias }),
    }),
  );

  const pixels = graph.op("Cast", [graph.input("pixels", [batch, height, width, channels], ELEMENT.uint8)], {
    to: ELEMENT.float,
  });
  const labels = graph.op("Cast", [graph.input("labels", [batch], ELEMENT.uint8)], { to: ELEMENT.int32 });
  const parts: Part[] = [];
  let value = graph.op("Transpose", [pixels], { perm: [0, 3, 1, 2] });
  const append = (part: Part): void => {
    parts.push(part);
    value = part.output;
  };

  for (const [index, layer] of architecture.layers.entries()) {
    const layerShapes = shapes.layers[index]!;
    append(convolution(options, value, layer, layerShapes, layers[index]!, index === 0));
    if (layer.poolSize > 1) append(maxPool(options, value, layer.poolSize, layerShapes));
  }
  const drop = (positions: number): void => {
    if ((settings.dropout ?? 0) === 0) return;
    const width = dropoutWidth(architecture);
    append(dropFeatures(options, value, graph.input("dropoutMask", [batch, width]), width, positions));
  };
  append((architecture.head.pool === "flatten" ? flatten : globalSum)(options, value, shapes.features));
  for (let index = architecture.layers.length; index < linear.length; index++) {
    if (index === linear.length - 1) drop(linear[index]!.fanIn / dropoutWidth(architecture));
    append(dense(options, value, layers[index]!));
  }

  const scale = logitScale(architecture);
  const column = graph.op("Reshape", [labels, graph.ints([batch, 1])]);
  const loss = crossEntropy(options, value, column, architecture.classes, scale);
  graph.output(loss.output, "loss", []);
  graph.output(graph.op("ArgMax", [value], { axis: 1, keepdims: 0 }), "predictions", [batch], ELEMENT.int64);
  parts.reduceRight((gradient, part) => part.backward(gradient), loss.gradient());

  const gradient = parameterGradient(graph, gradients, names);
  if (result === "gradients") graph.output(gradient, "gradient", [parameterLayout(architecture).count]);
  else updateParameters(graph, parameters, gradient, architecture, names, settings);
  return graph.encode();
}

/**
 * What the loss multiplies the logits by; predictions do not depend on it. A global sum is as large as it has
 * positions, and the mean over them trains better.
 */
export function logitScale(architecture: Architecture): number {
  const { height, width } = networkShapes(architecture).features;
  return architecture.head.pool === "global-sum" && architecture.head.hidden === 0 ? 1 / (height * width) : 1;
}
