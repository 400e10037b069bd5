/** The step graph's own gradients, in the order of the model, for comparing them with what they should be. */
import { InferenceSession, Tensor } from "onnxruntime-node";

import type { Architecture } from "../../offchain/protocol/architecture.ts";
import type { BlockSize } from "../../offchain/training/blocked-convolution.ts";
import type { PoolGradient } from "../../offchain/training/differentiable.ts";
import { linearFormats } from "../../offchain/training/parameters.ts";
import type { StepRecipe } from "../../offchain/training/settings.ts";
import { parameterLayout } from "../../offchain/training/state.ts";
import { buildStepGraph, dropoutWidth } from "../../offchain/training/step-graph.ts";

/** A linear layer's parameters or their gradients; weights in (row, column, channel) order. */
interface Values {
  readonly weights: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
}

export interface GradientRequest {
  readonly architecture: Architecture;
  readonly parameters: readonly Values[];
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
  readonly settings: StepRecipe;
  readonly rounding: boolean;
  readonly dropoutMask?: Float32Array;
  /** of the layout for convolutions; the ordinary one unless said otherwise */
  readonly blockSize?: BlockSize;
  /** that the samples go through the network in; one unless said otherwise */
  readonly pieces?: number;
  readonly poolGradient?: PoolGradient;
}

export interface Gradients {
  readonly loss: number;
  readonly predictions: number[];
  readonly gradients: { readonly weights: Float64Array; readonly bias: Float64Array }[];
}

export async function graphGradients(request: GradientRequest): Promise<Gradients> {
  const { architecture, parameters, pixels, labels, settings, rounding, dropoutMask, ...step } = request;
  const batch = labels.length;
  const { places, count } = parameterLayout(architecture);
  const formats = linearFormats(architecture);
  const vector = new Float32Array(count);
  for (const [index, { weights, bias }] of parameters.entries()) {
    const place = places[index]!;
    const { fanIn } = formats[index]!;
    vector.set(reorder(weights, channelsOf(architecture, index, fanIn), fanIn, true), place.weights.start);
    vector.set(bias, place.bias.start);
  }
  const feeds: Record<string, Tensor> = {
    pixels: new Tensor("uint8", pixels, [batch, ...architecture.input]),
    labels: new Tensor("uint8", labels, [batch]),
    parameters: new Tensor("float32", vector, [count]),
  };
  if (dropoutMask !== undefined) {
    feeds["dropoutMask"] = new Tensor("float32", dropoutMask, [batch, dropoutWidth(architecture)]);
  }
  const session = await InferenceSession.create(
    buildStepGraph({ ...step, architecture, batch, settings, rounding, result: "gradients" }),
    { intraOpNumThreads: 1, logSeverityLevel: 3 },
  );
  const outputs = await session.run(feeds);
  await session.release();
  const gradient = Float64Array.from(outputs["gradient"]!.data as Float32Array);
  return {
    loss: (outputs["loss"]!.data as Float32Array)[0]!,
    predictions: Array.from(outputs["predictions"]!.data as BigInt64Array, Number),
    gradients: places.map(({ weights, bias }, index) => {
      const { fanIn } = formats[index]!;
      const own = gradient.subarray(weights.start, weights.start + weights.size);
      return {
        weights: reorder(own, channelsOf(architecture, index, fanIn), fanIn, false),
        bias: gradient.slice(bias.start, bias.start + bias.size),
      };
    }),
  };
}

/** Each unit's weights from (row, column, channel) to (channel, row, column), the graph's order, or back. */
function reorder(values: ArrayLike<number>, channels: number, fanIn: number, toGraph: boolean): Float64Array {
  const positions = fanIn / channels;
  return new Float64Array(values.length).map((_, at) => {
    const [unit, within] = [Math.floor(at / fanIn), at % fanIn];
    const [outer, inner] = toGraph
      ? [Math.floor(within / positions), within % positions]
      : [within % channels, Math.floor(within / channels)];
    const from = toGraph ? inner * channels + outer : outer * positions + inner;
    return values[unit * fanIn + from]!;
  });
}

/** Channels that a linear layer's weights run over first: of a dense layer on flattened features, the features'. */
function channelsOf(architecture: Architecture, index: number, fanIn: number): number {
  const { input, layers, head } = architecture;
  if (index === 0) return input[2];
  if (index < layers.length || (index === layers.length && head.pool === "flatten")) return layers[index - 1]!.filters;
  return fanIn;
}
