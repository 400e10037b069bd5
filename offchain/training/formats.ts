/**
 * All that a training step computes with of a network's number formats. Networks of equal shapes differ in nothing
 * else, so a graph that takes these as inputs serves every one of them, whatever its bit widths.
 */
import type { Graph } from "../evaluation/onnx-graph.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { linearFormats, type LinearFormat } from "./parameters.ts";

/** A linear layer's numbers, or their names in a graph. */
export interface LayerFormat<T> {
  /** steps of the weights' grid in 1 */
  readonly weightScale: T;
  /** smallest and largest weight on the grid */
  readonly weightMin: T;
  readonly weightMax: T;
  /** the same two as real numbers */
  readonly lowest: T;
  readonly highest: T;
  /** what a step of the layer's accumulator is worth in the units of its sums */
  readonly unit: T;
  /** from the gradient of a scaled weight to that of the real one */
  readonly weightGradient: T;
  /** largest activation and the half bit of its rounding; of the output layer, which has none, ∞ */
  readonly limit: T;
}

/** The same for all biases of a network, one number a bias. */
export interface BiasFormat<T> {
  /** steps of the biases' grid in 1 */
  readonly biasScale: T;
  readonly biasUnit: T;
  /** from the gradient of a scaled bias to that of the real one */
  readonly biasGradient: T;
}

export interface Formats<LayerValue, BiasValue> {
  /** one for each linear layer */
  readonly layers: readonly LayerFormat<LayerValue>[];
  readonly biases: BiasFormat<BiasValue>;
}

/** The names of a network's numbers in a graph. */
export type FormatNames = Formats<string, string>;

function formatsOf(architecture: Architecture): Formats<number, readonly number[]> {
  const formats = linearFormats(architecture);
  const ofBiases = (of: (format: LinearFormat) => number): number[] =>
    formats.flatMap((format) => new Array<number>(format.units).fill(of(format)));
  const scaleOf = ({ accumulatorFractionBits }: LinearFormat): number => 2 ** accumulatorFractionBits;
  return {
    layers: formats.map((format) => {
      const { weightMin, weightMax, weightFractionBits, requantise } = format;
      const weightScale = 2 ** weightFractionBits;
      const unit = unitOf(format);
      return {
        weightScale,
        weightMin,
        weightMax,
        lowest: weightMin / weightScale,
        highest: weightMax / weightScale,
        unit,
        weightGradient: unit * weightScale,
        limit: requantise === null ? Infinity : requantise.max + 0.5,
      };
    }),
    biases: {
      biasScale: ofBiases(scaleOf),
      biasUnit: ofBiases(unitOf),
      biasGradient: ofBiases((format) => unitOf(format) * scaleOf(format)),
    },
  };
}

function unitOf({ requantise, accumulatorFractionBits }: LinearFormat): number {
  return requantise === null ? 2 ** -accumulatorFractionBits : 2 ** -requantise.shift;
}

/** A float32 tensor that a graph with formats as inputs is fed. */
export interface FormatTensor {
  readonly name: string;
  readonly values: readonly number[];
  readonly dims: readonly number[];
}

/** What to feed: for each layer's number a scalar, and the biases' vectors. */
export function formatTensors(architecture: Architecture): FormatTensor[] {
  const { layers, biases } = formatsOf(architecture);
  return [
    ...layers.flatMap((layer, index) =>
      Object.entries(layer).map(([key, value]) => ({ name: `${key}.${index}`, values: [value as number], dims: [] })),
    ),
    ...Object.entries(biases).map(([name, values]) => ({ name, values, dims: [values.length] })),
  ];
}

/** Puts a network's numbers into a graph, as inputs or as constants. */
export function declareFormats(graph: Graph, architecture: Architecture, as: "inputs" | "constants"): FormatNames {
  const names = new Map(
    formatTensors(architecture).map(({ name, values, dims }) => [
      name,
      as === "inputs" ? graph.input(name, dims) : graph.floats(values, dims),
    ]),
  );
  const { layers, biases } = formatsOf(architecture);
  const named = <T extends object>(values: T, suffix: string): Record<keyof T, string> =>
    Object.fromEntries(Object.keys(values).map((key) => [key, names.get(key + suffix)!])) as Record<keyof T, string>;
  return { layers: layers.map((layer, index) => named(layer, `.${index}`)), biases: named(biases, "") };
}
