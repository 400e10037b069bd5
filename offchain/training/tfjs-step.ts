/** A training step on TensorFlow.js: gradients, and the update by them. The same step as step-graph.ts builds. */
import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";

import { networkShapes } from "../evaluation/shapes.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { linearFormats } from "./parameters.ts";
import type { StepRecipe } from "./settings.ts";
import { logitScale } from "./step-graph.ts";
import type { Tf } from "./tfjs-backend.ts";
import { convolutionGradients } from "./tfjs-convolution.ts";
import { updated, type ParameterState } from "./tfjs-optimizer.ts";
import {
  convolution,
  crossEntropy,
  dense,
  dropFeatures,
  flatten,
  globalSum,
  maxPool,
  type LinearTensors,
  type Pass,
  type PartOptions,
} from "./tfjs-parts.ts";

export interface StepOptions {
  readonly tf: Tf;
  readonly architecture: Architecture;
  readonly settings: StepRecipe;
  /** false leaves out every rounding (gradient checks) */
  readonly rounding?: boolean;
}

/** A step's samples as tensors. */
export interface SampleTensors {
  /** N×H×W×C, 0 … 255 */
  readonly pixels: Tensor4D;
  /** N×classes, 1 for each sample's class */
  readonly truth: Tensor2D;
  /** N×{@link dropoutWidth}, where the recipe has dropout */
  readonly dropoutMask: Tensor2D | null;
}

export interface Gradients {
  /** mean cross-entropy in nats */
  readonly loss: Scalar;
  /** int32, the class that the network says of each sample */
  readonly predictions: Tensor1D;
  /** of each linear layer's real-valued parameters */
  readonly gradients: readonly LinearTensors[];
}

/** Weights and bias of a linear layer with what the optimiser keeps of them. */
export interface LinearState {
  readonly weights: ParameterState;
  readonly bias: ParameterState;
}

export interface Step {
  gradients(parameters: readonly LinearTensors[], samples: SampleTensors): Gradients;
  /** The state after the step, in tensors of its own. @param scalars what `stepScalars` gives of the step */
  update(
    state: readonly LinearState[],
    gradients: readonly LinearTensors[],
    scalars: Readonly<Record<string, number>>,
  ): LinearState[];
}

/** The step of a network. What it returns is the caller's to dispose of; nothing else stays behind. */
export function createStep({ tf, architecture, settings, rounding = true }: StepOptions): Step {
  const options: PartOptions = { tf, rounding, convolutions: convolutionGradients(tf) };
  const { layers, head } = architecture;
  const shapes = networkShapes(architecture);
  const formats = linearFormats(architecture);

  /** The parts in order, each from its input; the numbers are those of the linear layers. */
  function* parts({ dropoutMask }: SampleTensors, parameters: readonly LinearTensors[]): Generator<PlannedPart> {
    for (const [index, layer] of layers.entries()) {
      const at = shapes.layers[index]!;
      const first = index === 0;
      yield [index, (x) => convolution(options, x as Tensor4D, layer, at, formats[index]!, parameters[index]!, first)];
      if (layer.poolSize > 1) yield [null, (x) => maxPool(options, x as Tensor4D, layer.poolSize, at)];
    }
    if (head.pool === "flatten") yield [null, (x) => flatten(options, x as Tensor4D)];
    else yield [null, (x) => globalSum(options, x as Tensor4D, shapes.features)];
    for (let index = layers.length; index < formats.length; index++) {
      if (index === formats.length - 1 && dropoutMask !== null) {
        yield [null, (x) => dropFeatures(options, x as Tensor2D, dropoutMask)];
      }
      yield [index, (x) => dense(options, x as Tensor2D, formats[index]!, parameters[index]!)];
    }
  }

  return {
    gradients: (parameters, samples) =>
      scoped(tf, () => {
        const passes: { readonly linear: number | null; readonly pass: Pass }[] = [];
        let value: Tensor = samples.pixels;
        for (const [linear, part] of parts(samples, parameters)) {
          const pass = scoped(tf, () => part(value));
          passes.push({ linear, pass });
          value = pass.output;
        }
        const predictions = tf.argMax(value, 1) as Tensor1D;
        const { loss, gradient } = crossEntropy(tf, value as Tensor2D, samples.truth, logitScale(architecture));

        const gradients: LinearTensors[] = [];
        let flowing: Tensor | null = gradient;
        for (const { linear, pass } of passes.reverse()) {
          const back: ReturnType<Pass["backward"]> = scoped(tf, () => pass.backward(flowing!));
          if (linear !== null) gradients[linear] = back.parameters!;
          // A step's tensors together would need several times the memory.
          tf.dispose([flowing!, pass.output, ...pass.saved]);
          flowing = back.input;
        }
        return { loss: loss as Scalar, predictions, gradients };
      }),
    update: (state, gradients, scalars) =>
      scoped(tf, () =>
        state.map(({ weights, bias }, index) => {
          const { weightMin, weightMax, weightFractionBits } = formats[index]!;
          const unit = 2 ** -weightFractionBits;
          const gradient = gradients[index]!;
          return {
            weights: updated(tf, settings, weights, gradient.weights, scalars, [weightMin * unit, weightMax * unit]),
            bias: updated(tf, settings, bias, gradient.bias, scalars, null),
          };
        }),
      ),
  };
}

type PlannedPart = readonly [linear: number | null, part: (input: Tensor) => Pass];

/** Disposes of every tensor that `work` makes and does not return. */
export function scoped<T extends object>(tf: Tf, work: () => T): T {
  // The declared type knows no functions among what is returned; tidy itself leaves them alone.
  return tf.tidy(work as () => never) as T;
}
