/** What `ponas inspect` shows of a model file (docs/interfaces.md). */
import type { Architecture } from "../protocol/architecture.ts";
import type { Hex } from "../protocol/bytes.ts";
import { decodeModel, modelRoot, type LinearWeights, type Model } from "./model.ts";
import { networkShapes, type LayerShapes } from "./shapes.ts";
import { malformation } from "./well-formed.ts";

export interface ModelDescription {
  readonly architecture: Architecture;
  readonly modelRoot: Hex;
  /** of each convolution layer */
  readonly shapes: readonly LayerShapes[];
  readonly malformed: null | { readonly reason: string };
  /** weights [filter][row][column][channel], with `weights` only */
  readonly layers?: readonly { readonly weights: number[][][][]; readonly bias: number[] }[];
  /** weights [unit][input] */
  readonly hidden?: null | { readonly weights: number[][]; readonly bias: number[] };
  /** weights [class][input] */
  readonly output?: { readonly weights: number[][]; readonly bias: number[] };
}

/**
 * Describes a model file of one's own as plain JSON.
 * @throws PonasError malformed-model where the file cannot be read
 */
export function describeModel(
  bytes: Uint8Array,
  { weights = false }: { readonly weights?: boolean } = {},
): ModelDescription {
  const model = decodeModel(bytes, { maxBytes: bytes.length });
  const { architecture } = model;
  const reason = malformation(model);
  return {
    architecture,
    modelRoot: modelRoot(model),
    shapes: networkShapes(architecture).layers,
    malformed: reason === null ? null : { reason },
    ...(weights ? nestedWeights(model) : {}),
  };
}

function nestedWeights({
  architecture,
  layers,
  hidden,
  output,
}: Model): Required<Pick<ModelDescription, "layers" | "hidden" | "output">> {
  return {
    layers: layers.map(({ weights, bias }, index) => {
      const { kernelHeight, kernelWidth } = architecture.layers[index]!;
      const filters = nest([...weights], weights.length / bias.length);
      const rows = filters.map((filter) => nest(filter, filter.length / kernelHeight));
      return {
        weights: rows.map((filter) => filter.map((row) => nest(row, row.length / kernelWidth))),
        bias: [...bias],
      };
    }),
    hidden: hidden === null ? null : denseArrays(hidden),
    output: denseArrays(output),
  };
}

function denseArrays({ weights, bias }: LinearWeights): { weights: number[][]; bias: number[] } {
  return { weights: nest([...weights], weights.length / bias.length), bias: [...bias] };
}

function nest(values: readonly number[], length: number): number[][] {
  return Array.from({ length: values.length / length }, (_, i) => values.slice(i * length, (i + 1) * length));
}
