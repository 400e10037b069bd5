/**
 * A whole training step as one graph of inference operators: forward pass with fake quantisation, loss, gradients,
 * optimiser. Parameters and what the optimiser keeps of them are inputs and outputs.
 */
import { createGraph, ELEMENT } from "../evaluation/onnx-graph.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
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
import { createOptimizer, moments, type StateTensor } from "./optimizers.ts";
import { linearFormats } from "./parameters.ts";
import type { StepRecipe } from "./settings.ts";

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
}

/** The parameter tensors of a network in ONNX's order of dimensions: weights and bias of each linear layer in turn. */
export function parameterTensors(architecture: Architecture): StateTensor[] {
  const shapes = networkShapes(architecture);
  return linearFormats(architecture).flatMap(({ units, fanIn }, index) => {
    const layer = architecture.layers[index];
    const dims =
      layer === undefined
        ? [units, fanIn]
        : [units, shapes.layers[index]!.input.channels, layer.kernelHeight, layer.kernelWidth];
    return [
      { name: `weights.${index}`, dims },
      { name: `bias.${index}`, dims: [units] },
    ];
  });
}

/** All that goes from step to step: the parameters, and what the optimiser keeps of them, 0 at the start. */
export function stateTensors(architecture: Architecture, settings: StepRecipe): StateTensor[] {
  const prefixes = moments(settings);
  return parameterTensors(architecture).flatMap(({ name, dims }) => [
    { name, dims },
    ...prefixes.map((prefix) => ({ name: `${prefix}.${name}`, dims })),
  ]);
}

/** What dropout picks from: the units of the hidden layer, or else the last layer's feature maps. */
export function dropoutWidth({ layers, head }: Architecture): number {
  return head.hidden > 0 ? head.hidden : layers.at(-1)!.filters;
}

/**
 * The graph. Inputs: `pixels` uint8 [batch, H, W, C], `labels` uint8 [batch], the parameters; with dropout
 * `dropoutMask` [batch, {@link dropoutWidth}]; for an update the rest of {@link stateTensors} and the scalars of
 * `stepScalars`. Outputs: `loss`, `predictions` int64 [batch] of the parameters that came in, and `next.NAME` of each
 * state tensor, or `gradient.NAME` of each parameter.
 */
export function buildStepGraph({
  architecture,
  batch,
  settings,
  rounding = true,
  result = "update",
  poolGradient = "indices",
}: StepGraphOptions): Uint8Array {
  const graph = createGraph("training-step");
  const options = { graph, batch, rounding, poolGradient };
  const shapes = networkShapes(architecture);
  const formats = linearFormats(architecture);
  const [height, width, channels] = architecture.input;

  const tensors = parameterTensors(architecture);
  for (const { name, dims } of tensors) graph.input(name, dims);
  const gradients = new Map<string, string>();
  const parametersAt = (index: number): GraphParameters => ({
    weights: `weights.${index}`,
    bias: `bias.${index}`,
    learn: (weights, bias) => gradients.set(`weights.${index}`, weights).set(`bias.${index}`, bias),
  });

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
    append(convolution(options, value, layer, layerShapes, formats[index]!, parametersAt(index), index === 0));
    if (layer.poolSize > 1) append(maxPool(options, value, layer.poolSize, layerShapes));
  }
  const drop = (positions: number): void => {
    if ((settings.dropout ?? 0) === 0) return;
    const width = dropoutWidth(architecture);
    append(dropFeatures(options, value, graph.input("dropoutMask", [batch, width]), width, positions));
  };
  append((architecture.head.pool === "flatten" ? flatten : globalSum)(options, value, shapes.features));
  for (let index = architecture.layers.length; index < formats.length; index++) {
    if (index === formats.length - 1) drop(formats[index]!.fanIn / dropoutWidth(architecture));
    append(dense(options, value, formats[index]!, parametersAt(index)));
  }

  const scale = logitScale(architecture);
  const column = graph.op("Reshape", [labels, graph.ints([batch, 1])]);
  const loss = crossEntropy(options, value, column, architecture.classes, scale);
  graph.output(loss.output, "loss", []);
  graph.output(graph.op("ArgMax", [value], { axis: 1, keepdims: 0 }), "predictions", [batch], ELEMENT.int64);
  parts.reduceRight((gradient, part) => part.backward(gradient), loss.gradient());

  if (result === "gradients") {
    for (const { name, dims } of tensors) graph.output(gradients.get(name)!, `gradient.${name}`, dims);
  } else {
    const optimizer = createOptimizer(graph, settings);
    for (const [index, tensor] of tensors.entries()) {
      const { weightMin, weightMax, weightFractionBits } = formats[index >> 1]!;
      const unit = 2 ** -weightFractionBits;
      const range = index % 2 === 0 ? ([weightMin * unit, weightMax * unit] as const) : null;
      optimizer.update(tensor, gradients.get(tensor.name)!, range);
    }
  }
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
