/** A network in training whose step is an ONNX graph: what is fed to it, and what comes back. */
import type { Tensor } from "onnxruntime-common";

import type { Runtime } from "../evaluation/onnx-runtime.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import type { Trainer, TrainerOptions } from "./engine.ts";
import { formatTensors } from "./formats.ts";
import { stepScalars } from "./optimizers.ts";
import { parameterLayout, stateNames } from "./state.ts";
import { dropoutWidth, type StepGraphOptions } from "./step-graph.ts";

export type Tensors = Record<string, Tensor>;

export interface OnnxTrainerOptions extends TrainerOptions {
  readonly runtime: Pick<Runtime, "Tensor" | "fillsOutputs">;
  /** how the graph takes number formats */
  readonly formats: StepGraphOptions["formats"];
  /** Runs the step graph once; outputs go into the tensors of `fetches`, where it fills them. */
  readonly run: (feeds: Tensors, fetches?: Tensors) => Promise<Tensors>;
  readonly onRelease: () => void;
}

export function createOnnxTrainer({
  runtime: { Tensor, fillsOutputs },
  run,
  formats,
  architecture,
  batch,
  initial,
  settings,
  onRelease,
}: OnnxTrainerOptions): Trainer {
  const [height, width, channels] = architecture.input;
  const { places, count } = parameterLayout(architecture);
  const orders = channelOrders(architecture);
  // The state lives in two sets of buffers: a step reads one and writes the other, so memory stays flat. Where the
  // runtime brings outputs of its own, those are the other set.
  const vectors = (): Tensors =>
    Object.fromEntries(
      stateNames(settings).map((name) => [name, new Tensor("float32", new Float32Array(count), [count])]),
    );
  let current = vectors();
  let spare = vectors();
  const parametersNow = (): Float32Array => current["parameters"]!.data as Float32Array;
  for (const [index, { weights, bias }] of initial.entries()) {
    parametersNow().set(orders[index]!.toGraph(weights), places[index]!.weights.start);
    parametersNow().set(bias, places[index]!.bias.start);
  }
  const loss = new Tensor("float32", new Float32Array(1), []);
  const predictions = new Tensor("int64", new BigInt64Array(batch), [batch]);
  const numbers = formats === "inputs" ? formatTensors(architecture) : [];
  const constant = Object.fromEntries(
    numbers.map(({ name, values, dims }) => [name, new Tensor("float32", Float32Array.from(values), dims)]),
  );
  let steps = 0;

  return {
    step: async ({ pixels, labels, learningRate, dropoutMask }) => {
      steps += 1;
      const feeds: Tensors = {
        ...current,
        ...constant,
        pixels: new Tensor("uint8", pixels, [batch, height, width, channels]),
        labels: new Tensor("uint8", labels, [batch]),
      };
      if (dropoutMask !== undefined) {
        feeds["dropoutMask"] = new Tensor("float32", dropoutMask, [batch, dropoutWidth(architecture)]);
      }
      for (const [name, value] of Object.entries(stepScalars(settings, steps, learningRate))) {
        feeds[name] = new Tensor("float32", Float32Array.of(value), []);
      }
      const fetches: Tensors = { loss, predictions };
      for (const [name, tensor] of Object.entries(spare)) fetches[`next.${name}`] = tensor;
      const results = await run(feeds, fillsOutputs ? fetches : undefined);
      const outputs = fillsOutputs ? fetches : results;
      const next = Object.keys(spare).map((name) => [name, outputs[`next.${name}`]!] as const);
      [current, spare] = [Object.fromEntries(next), current];
      return {
        loss: (outputs["loss"]!.data as Float32Array)[0]!,
        predictions: Uint8Array.from(outputs["predictions"]!.data as BigInt64Array, Number),
      };
    },
    parameters: async () =>
      places.map(({ weights, bias }, index) => ({
        weights: orders[index]!.toModel(parametersNow().subarray(weights.start, weights.start + weights.size)),
        bias: parametersNow().slice(bias.start, bias.start + bias.size),
      })),
    release: onRelease,
  };
}

interface ChannelOrder {
  /** from (row, column, channel), the model's order, to (channel, row, column), the graph's; a copy */
  toGraph(weights: Float32Array): Float32Array;
  /** the way back; a copy */
  toModel(weights: Float32Array): Float32Array;
}

/** How each linear layer's weights are ordered; only the first dense layer after a flatten has positions among these. */
function channelOrders(architecture: Architecture): ChannelOrder[] {
  const { layers, features, headInputs } = networkShapes(architecture);
  const flatten = architecture.head.pool === "flatten";
  const orders = layers.map(({ input, fanIn }) => channelOrder(input.channels, fanIn));
  orders.push(channelOrder(flatten ? features.channels : headInputs, headInputs));
  if (architecture.head.hidden > 0) orders.push(channelOrder(architecture.head.hidden, architecture.head.hidden));
  return orders;
}

function channelOrder(channels: number, fanIn: number): ChannelOrder {
  const positions = fanIn / channels;
  const reorder = (weights: Float32Array, fromGraph: boolean): Float32Array => {
    const ordered = new Float32Array(weights.length);
    for (let start = 0; start < weights.length; start += fanIn) {
      for (let position = 0; position < positions; position++) {
        for (let channel = 0; channel < channels; channel++) {
          const inModel = start + position * channels + channel;
          const inGraph = start + channel * positions + position;
          if (fromGraph) ordered[inModel] = weights[inGraph]!;
          else ordered[inGraph] = weights[inModel]!;
        }
      }
    }
    return ordered;
  };
  return { toGraph: (weights) => reorder(weights, false), toModel: (weights) => reorder(weights, true) };
}
