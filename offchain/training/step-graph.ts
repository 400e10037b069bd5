/**
 * A whole training step as one graph of inference operators: forward pass with fake quantisation, loss, gradients,
 * Adam. Parameters and moments are inputs and outputs.
 */
import { createGraph, ELEMENT, type Graph } from "../evaluation/onnx-graph.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import {
  convolution,
  crossEntropy,
  dense,
  flatten,
  globalSum,
  maxPool,
  type GraphParameters,
  type Part,
} from "./differentiable.ts";
import { linearFormats, type LinearFormat } from "./parameters.ts";

/** Adam (Kingma & Ba 2015, algorithm 1) with its usual constants. */
export const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 } as const;

export interface StepGraphOptions {
  readonly architecture: Architecture;
  /** samples of a step */
  readonly batch: number;
  /** false leaves out every rounding (gradient checks) */
  readonly rounding?: boolean;
  /** "update": new parameters and moments; "gradients": the gradients themselves (gradient checks) */
  readonly result?: "update" | "gradients";
}

/** One parameter tensor of the graph, in ONNX's order of dimensions. */
export interface GraphTensor {
  readonly name: string;
  readonly dims: readonly number[];
}

/** The parameter tensors of a network: weights and bias of each linear layer in turn. */
export function parameterTensors(architecture: Architecture): GraphTensor[] {
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

/**
 * The graph. Inputs: `pixels` uint8 [batch, H, W, C], `labels` uint8 [batch], the parameters; for an update also
 * `m.NAME`, `v.NAME`, `stepSize` = rate / (1 − β1^t) and `secondScale` = 1 / (1 − β2^t). Outputs: `loss`,
 * `predictions` int64 [batch] of the parameters that came in, and `next.NAME`, `next.m.NAME`, `next.v.NAME`, or
 * `gradient.NAME`.
 */
export function buildStepGraph({
  architecture,
  batch,
  rounding = true,
  result = "update",
}: StepGraphOptions): Uint8Array {
  const graph = createGraph("training-step");
  const options = { graph, batch, rounding };
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
  append((architecture.head.pool === "flatten" ? flatten : globalSum)(options, value, shapes.features));
  for (let index = architecture.layers.length; index < formats.length; index++) {
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
    const rates = { stepSize: graph.input("stepSize", []), secondScale: graph.input("secondScale", []) };
    for (const [index, tensor] of tensors.entries()) {
      const format = index % 2 === 0 ? formats[index / 2]! : null;
      adam(graph, tensor, gradients.get(tensor.name)!, rates, format);
    }
  }
  return graph.encode();
}

/**
 * What the loss multiplies the logits by; predictions do not depend on it. A global sum is as large as it has
 * positions, and the mean over them trains better.
 */
function logitScale(architecture: Architecture): number {
  const { height, width } = networkShapes(architecture).features;
  return architecture.head.pool === "global-sum" && architecture.head.hidden === 0 ? 1 / (height * width) : 1;
}

/** One tensor's update. Weights are kept within their format's range, where gradients still reach them. */
function adam(
  graph: Graph,
  { name, dims }: GraphTensor,
  gradient: string,
  { stepSize, secondScale }: { stepSize: string; secondScale: string },
  format: LinearFormat | null,
): void {
  const constant = (x: number): string => graph.floats([x], []);
  const blend = (old: string, fresh: string, beta: number): string =>
    graph.op("Add", [graph.op("Mul", [old, constant(beta)]), graph.op("Mul", [fresh, constant(1 - beta)])]);
  const m = blend(graph.input(`m.${name}`, dims), gradient, ADAM.beta1);
  const v = blend(graph.input(`v.${name}`, dims), graph.op("Mul", [gradient, gradient]), ADAM.beta2);
  const root = graph.op("Sqrt", [graph.op("Mul", [v, secondScale])]);
  const change = graph.op("Div", [graph.op("Mul", [m, stepSize]), graph.op("Add", [root, constant(ADAM.epsilon)])]);
  const moved = graph.op("Sub", [name, change]);
  const step = 2 ** -(format?.weightFractionBits ?? 0);
  const kept =
    format === null
      ? moved
      : graph.op("Clip", [moved, constant(format.weightMin * step), constant(format.weightMax * step)]);
  graph.output(kept, `next.${name}`, dims);
  graph.output(m, `next.m.${name}`, dims);
  graph.output(v, `next.v.${name}`, dims);
}
