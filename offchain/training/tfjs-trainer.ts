/** A network in training on TensorFlow.js: its state in tensors, what is fed to a step, and what comes back. */
import type { Tensor2D } from "@tensorflow/tfjs-core";

import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import type { StepInput, Trainer, TrainerOptions } from "./engine.ts";
import { stepScalars } from "./optimizers.ts";
import { linearFormats, type LinearParameters } from "./parameters.ts";
import type { Tf, TfjsBackend } from "./tfjs-backend.ts";
import { initialState } from "./tfjs-optimizer.ts";
import type { LinearTensors } from "./tfjs-parts.ts";
import { createStep, scoped, type LinearState, type SampleTensors } from "./tfjs-step.ts";

export function createTfjsTrainer(
  backend: Pick<TfjsBackend, "tf" | "variant">,
  { architecture, batch, initial, settings }: TrainerOptions,
): Trainer {
  const { tf } = backend;
  const step = createStep({ tf, architecture, settings });
  let state: LinearState[] = [];
  let steps = 0;
  const parametersNow = (): LinearTensors[] =>
    state.map(({ weights, bias }) => ({ weights: weights.value, bias: bias.value }));
  const release = (): void => {
    for (const { weights, bias } of state) tf.dispose([weights.value, bias.value, ...weights.kept, ...bias.kept]);
    state = [];
  };

  attempt(backend, "hold a network", () => {
    state = scoped(tf, () =>
      parameterTensors(tf, architecture, initial).map(({ weights, bias }) => ({
        weights: initialState(tf, settings, weights),
        bias: initialState(tf, settings, bias),
      })),
    );
  });

  return {
    step: async ({ learningRate, ...samples }) => {
      const { loss, predictions, next } = attempt(backend, "take a training step", () =>
        scoped(tf, () => {
          const found = step.gradients(parametersNow(), sampleTensors(tf, architecture, batch, samples));
          const scalars = stepScalars(settings, steps + 1, learningRate);
          return { ...found, next: step.update(state, found.gradients, scalars), gradients: [] };
        }),
      );
      release();
      state = next;
      steps += 1;
      // What was computed on a GPU, or why it was not, shows only here.
      return attemptLater(backend, "finish a training step", async () => {
        try {
          const [[mean], classes] = await Promise.all([loss.data(), predictions.data()]);
          return { loss: mean!, predictions: Uint8Array.from(classes) };
        } finally {
          tf.dispose([loss, predictions]);
        }
      });
    },
    parameters: () =>
      attemptLater(backend, "read a network's parameters", () =>
        Promise.all(parametersNow().map((tensors) => readParameters(tf, tensors))),
      ),
    release,
  };
}

/** A step's samples in tensors. Of arrays that are the caller's, copies are made. */
export function sampleTensors(
  tf: Tf,
  { input, classes }: Architecture,
  batch: number,
  { pixels, labels, dropoutMask }: Omit<StepInput, "learningRate">,
): SampleTensors {
  const truth = new Float32Array(batch * classes);
  for (const [sample, label] of labels.entries()) truth[sample * classes + label] = 1;
  return {
    pixels: tf.tensor4d(Float32Array.from(pixels), [batch, ...input]),
    truth: tf.tensor2d(truth, [batch, classes]),
    dropoutMask:
      dropoutMask === undefined ? null : tf.tensor2d(dropoutMask.slice(), [batch, dropoutMask.length / batch]),
  };
}

/** The parameters in tensors: units come last, where the model has them first. */
export function parameterTensors(
  tf: Tf,
  architecture: Architecture,
  parameters: readonly LinearParameters[],
): LinearTensors[] {
  const { layers } = networkShapes(architecture);
  return linearFormats(architecture).map(({ units, fanIn }, index) => {
    const layer = architecture.layers[index];
    const { weights, bias } = parameters[index]!;
    const unitsLast = scoped(tf, () => tf.transpose(tf.tensor2d(weights, [units, fanIn])));
    const shape =
      layer === undefined
        ? [fanIn, units]
        : [layer.kernelHeight, layer.kernelWidth, layers[index]!.input.channels, units];
    return { weights: tf.reshape(unitsLast, shape), bias: tf.tensor1d(bias.slice()) };
  });
}

/** A linear layer's tensors in the model's order. */
export async function readParameters(tf: Tf, { weights, bias }: LinearTensors): Promise<LinearParameters> {
  const unitsFirst = scoped(tf, () => tf.transpose(tf.reshape(weights, [-1, bias.size]) as Tensor2D));
  try {
    const [weightValues, biasValues] = await Promise.all([unitsFirst.data(), bias.data()]);
    return { weights: Float32Array.from(weightValues), bias: Float32Array.from(biasValues) };
  } finally {
    unitsFirst.dispose();
  }
}

function attempt<T>(backend: Pick<TfjsBackend, "variant">, what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw engineError(backend, what, cause);
  }
}

async function attemptLater<T>(
  backend: Pick<TfjsBackend, "variant">,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw engineError(backend, what, cause);
  }
}

function engineError({ variant }: Pick<TfjsBackend, "variant">, what: string, cause: unknown): PonasError {
  // TensorFlow's own reasons have several lines.
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\.?\s*\n\s*/g, "; ");
  const full = /out of memory|OOM|allocat|exhausted/i.test(reason);
  return new PonasError("engine", `TensorFlow.js (${variant}) could not ${what}: ${reason}.`, {
    cause,
    ...(full ? { cure: "take smaller batches, or fewer workers on the same GPU" } : {}),
  });
}
