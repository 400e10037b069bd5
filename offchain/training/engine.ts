/** What runs training steps, and the engine on onnxruntime's CPU provider. */
import { InferenceSession, Tensor } from "onnxruntime-node";

import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import type { LinearParameters } from "./parameters.ts";
import { ADAM, buildStepGraph, parameterTensors, type GraphTensor } from "./step-graph.ts";

export interface StepResult {
  /** mean cross-entropy of the step's samples, in nats, before the update */
  readonly loss: number;
  /** the class that the network says of each sample, before the update */
  readonly predictions: Uint8Array;
}

/** One network in training. */
export interface Trainer {
  /**
   * Takes one step.
   * @param pixels batch × H·W·C bytes
   * @param labels batch bytes
   */
  step(pixels: Uint8Array, labels: Uint8Array, learningRate: number): Promise<StepResult>;
  /** A copy of the parameters as they are now. */
  parameters(): LinearParameters[];
  /** Gives its resources back to the engine; the trainer is of no use afterwards. */
  release(): void;
}

export interface TrainerOptions {
  readonly architecture: Architecture;
  /** samples of a step */
  readonly batch: number;
  readonly initial: readonly LinearParameters[];
}

/** Equal seeds give equal bits on one engine; engines differ from one another in the last ones. */
export interface Engine {
  readonly name: "onnx";
  /** @throws PonasError engine where the network is refused, too large for memory for instance */
  createTrainer(options: TrainerOptions): Promise<Trainer>;
  /** Frees everything that no trainer holds. */
  dispose(): Promise<void>;
}

/** Graphs that are kept ready for a further trial of the same architecture. */
const KEPT_SESSIONS = 4;

interface Entry {
  readonly session: Promise<InferenceSession>;
  users: number;
}

/** Training on onnxruntime-node: one thread, so that runs repeat bit for bit; more cores are for more workers. */
export function createOnnxEngine(): Engine {
  const entries = new Map<string, Entry>();

  function open(architecture: Architecture, batch: number): Entry {
    const { tiling: _, ...network } = architecture;
    const key = JSON.stringify([network, batch]);
    const known = entries.get(key);
    // Taken out and put in again: a Map keeps the order of insertion, so the first idle entry is the oldest.
    entries.delete(key);
    const entry = known ?? { session: createSession(architecture, batch), users: 0 };
    entries.set(key, entry);
    entry.session.catch(() => entries.delete(key));
    entry.users += 1;
    return entry;
  }

  async function trim(limit: number): Promise<void> {
    for (const [key, entry] of [...entries]) {
      if (entries.size <= limit) return;
      if (entry.users > 0) continue;
      entries.delete(key);
      await (await entry.session).release();
    }
  }

  return {
    name: "onnx",
    createTrainer: async ({ architecture, batch, initial }) => {
      const entry = open(architecture, batch);
      const session = await entry.session;
      await trim(KEPT_SESSIONS);
      return createTrainer(session, architecture, batch, initial, () => (entry.users -= 1));
    },
    dispose: () => trim(0),
  };
}

async function engineCall<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PonasError("engine", `onnxruntime could not ${what}: ${reason}.`, { cause });
  }
}

function createSession(architecture: Architecture, batch: number): Promise<InferenceSession> {
  return engineCall("build a training step", () =>
    InferenceSession.create(buildStepGraph({ architecture, batch }), {
      executionProviders: ["cpu"],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
    }),
  );
}

type Tensors = Record<string, Tensor>;

function createTrainer(
  session: InferenceSession,
  architecture: Architecture,
  batch: number,
  initial: readonly LinearParameters[],
  onRelease: () => void,
): Trainer {
  const [height, width, channels] = architecture.input;
  const tensors = parameterTensors(architecture);
  const orders = channelOrders(architecture);
  // Parameters and moments live in two sets of buffers: a step reads one and writes the other, so memory stays flat.
  const names = tensors.flatMap(({ name, dims }) => ["", "m.", "v."].map((prefix) => ({ name: prefix + name, dims })));
  let current = zeros(names);
  let spare = zeros(names);
  for (const [index, { weights, bias }] of initial.entries()) {
    const { name: weightName } = tensors[2 * index]!;
    const { name: biasName } = tensors[2 * index + 1]!;
    (current[weightName]!.data as Float32Array).set(orders[index]!.toGraph(weights));
    (current[biasName]!.data as Float32Array).set(bias);
  }
  const loss = zeros([{ name: "loss", dims: [] }])["loss"]!;
  const predictions = new Tensor("int64", new BigInt64Array(batch), [batch]);
  let steps = 0;

  return {
    step: async (pixels, labels, learningRate) => {
      steps += 1;
      const stepSize = learningRate / (1 - ADAM.beta1 ** steps);
      const secondScale = 1 / (1 - ADAM.beta2 ** steps);
      const feeds: Tensors = {
        ...current,
        pixels: new Tensor("uint8", pixels, [batch, height, width, channels]),
        labels: new Tensor("uint8", labels, [batch]),
        stepSize: new Tensor("float32", Float32Array.of(stepSize), []),
        secondScale: new Tensor("float32", Float32Array.of(secondScale), []),
      };
      const fetches: Tensors = { loss, predictions };
      for (const [name, tensor] of Object.entries(spare)) fetches[`next.${name}`] = tensor;
      await engineCall("take a training step", () => session.run(feeds, fetches));
      [current, spare] = [spare, current];
      return {
        loss: (loss.data as Float32Array)[0]!,
        predictions: Uint8Array.from(predictions.data as BigInt64Array, Number),
      };
    },
    parameters: () =>
      orders.map(({ toModel }, index) => ({
        weights: toModel(current[`weights.${index}`]!.data as Float32Array),
        bias: (current[`bias.${index}`]!.data as Float32Array).slice(),
      })),
    release: onRelease,
  };
}

function zeros(tensors: readonly GraphTensor[]): Tensors {
  return Object.fromEntries(
    tensors.map(({ name, dims }) => {
      const size = dims.reduce((product, dim) => product * dim, 1);
      return [name, new Tensor("float32", new Float32Array(size), dims)];
    }),
  );
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
