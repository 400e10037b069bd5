/**
 * What goes from step to step in the step graph: all parameters as one vector, and vectors of the same length that the
 * optimiser keeps of them. One update of one vector costs a small network far less than one for each tensor.
 */
import type { Graph } from "../evaluation/onnx-graph.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { createOptimizer, moments } from "./optimizers.ts";
import type { FormatNames } from "./formats.ts";
import { linearFormats, MAX_TRAINED_BIAS } from "./parameters.ts";
import type { StepRecipe } from "./settings.ts";

/** Where a linear layer's parameters lie in the vector: weights in ONNX's order of dimensions, and one bias a unit. */
export interface ParameterPlace {
  readonly weights: { readonly start: number; readonly size: number; readonly dims: readonly number[] };
  readonly bias: { readonly start: number; readonly size: number };
}

export interface ParameterLayout {
  /** one for each linear layer */
  readonly places: readonly ParameterPlace[];
  /** all weights come first: the start of the biases */
  readonly weightCount: number;
  readonly count: number;
}

/** The layout of a network's parameters in the vector: all weights, layer by layer, then all biases. */
export function parameterLayout(architecture: Architecture): ParameterLayout {
  const { layers } = networkShapes(architecture);
  const formats = linearFormats(architecture);
  const weightCount = formats.reduce((sum, { units, fanIn }) => sum + units * fanIn, 0);
  let [weightStart, biasStart] = [0, weightCount];
  const places = formats.map(({ units, fanIn }, index): ParameterPlace => {
    const layer = architecture.layers[index];
    const dims =
      layer === undefined
        ? [units, fanIn]
        : [units, layers[index]!.input.channels, layer.kernelHeight, layer.kernelWidth];
    const place = {
      weights: { start: weightStart, size: units * fanIn, dims },
      bias: { start: biasStart, size: units },
    };
    weightStart += units * fanIn;
    biasStart += units;
    return place;
  });
  return { places, weightCount, count: biasStart };
}

/** The vectors' names: the parameters, and what the optimiser keeps of them, 0 at the start. */
export function stateNames(settings: StepRecipe): string[] {
  return ["parameters", ...moments(settings)];
}

/** A linear layer's parameters on their grids, scaled. */
export interface QuantisedParameters {
  readonly weights: string;
  readonly bias: string;
}

/** The gradients of a layer's {@link QuantisedParameters}. */
export type ParameterGradients = QuantisedParameters;

/**
 * Rounds parameters to their grids and scales them, so that a layer's sums come out in units of the last bit of its
 * activations, half a bit (the ½ of the rounding) included; the output layer's as real logits.
 * @param rounding false leaves the rounding out and keeps the clamps
 */
export function quantiseParameters(
  graph: Graph,
  parameters: string,
  architecture: Architecture,
  names: FormatNames,
  rounding: boolean,
): QuantisedParameters[] {
  const { places, weightCount, count } = parameterLayout(architecture);
  const scalar = (value: number): string => graph.floats([value], []);
  const onGrid = (value: string, scale: string, lowest: string, highest: string, unit: string): string => {
    const scaled = graph.op("Mul", [value, scale]);
    const rounded = rounding ? graph.op("Floor", [graph.op("Add", [scaled, scalar(0.5)])]) : scaled;
    return graph.op("Mul", [graph.op("Clip", [rounded, lowest, highest]), unit]);
  };

  const { biasScale, biasUnit } = names.biases;
  const halves = linearFormats(architecture).flatMap(({ units, requantise }) =>
    new Array<number>(units).fill(requantise === null ? 0 : 0.5),
  );
  const biases = graph.op("Add", [
    onGrid(
      cut(graph, parameters, weightCount, count),
      biasScale,
      scalar(-MAX_TRAINED_BIAS),
      scalar(MAX_TRAINED_BIAS),
      biasUnit,
    ),
    graph.floats(halves, [halves.length]),
  ]);
  return places.map(({ weights, bias }, index) => {
    const { weightScale, weightMin, weightMax, unit } = names.layers[index]!;
    const own = cut(graph, parameters, weights.start, weights.start + weights.size);
    const shaped = graph.op("Reshape", [own, graph.ints(weights.dims)]);
    return {
      weights: onGrid(shaped, weightScale, weightMin, weightMax, unit),
      bias: cut(graph, biases, bias.start - weightCount, bias.start - weightCount + bias.size),
    };
  });
}

/** The gradient of the parameter vector. The optimiser keeps weights in range, so their clamp never cuts a gradient. */
export function parameterGradient(
  graph: Graph,
  gradients: readonly ParameterGradients[],
  { layers, biases: { biasGradient } }: FormatNames,
): string {
  const weights = gradients.map((gradient, index) => {
    const flat = graph.op("Reshape", [gradient.weights, graph.ints([-1])]);
    return graph.op("Mul", [flat, layers[index]!.weightGradient]);
  });
  const biases = join(
    graph,
    gradients.map(({ bias }) => bias),
  );
  return join(graph, [...weights, graph.op("Mul", [biases, biasGradient])]);
}

/** Adds the optimiser's step: inputs and outputs `next.NAME` of the vectors besides the parameters' input. */
export function updateParameters(
  graph: Graph,
  parameters: string,
  gradient: string,
  architecture: Architecture,
  names: FormatNames,
  settings: StepRecipe,
): void {
  const { places, weightCount, count } = parameterLayout(architecture);
  const kept = moments(settings).map((name) => graph.input(name, [count]));
  const [moved, ...next] = createOptimizer(graph, settings)(parameters, gradient, kept);
  const weights = places.map(({ weights: { start, size } }, index) => {
    const { lowest, highest } = names.layers[index]!;
    return graph.op("Clip", [cut(graph, moved!, start, start + size), lowest, highest]);
  });
  const results = [join(graph, [...weights, cut(graph, moved!, weightCount, count)]), ...next];
  for (const [index, name] of stateNames(settings).entries()) graph.output(results[index]!, `next.${name}`, [count]);
}

function cut(graph: Graph, vector: string, start: number, end: number): string {
  return graph.op("Slice", [vector, graph.ints([start]), graph.ints([end]), graph.ints([0])]);
}

function join(graph: Graph, vectors: readonly string[]): string {
  return vectors.length === 1 ? vectors[0]! : graph.op("Concat", vectors, { axis: 0 });
}
