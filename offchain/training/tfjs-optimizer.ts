/** The updates of optimizers.ts, where the formulas stand, on TensorFlow.js. */
import type { Tensor } from "@tensorflow/tfjs-core";

import { ADAM, moments } from "./optimizers.ts";
import { DEFAULT_MOMENTUM, type StepRecipe } from "./settings.ts";
import type { Tf } from "./tfjs-backend.ts";

/** A parameter tensor and what the optimiser keeps of it, in the order of `moments`. */
export interface ParameterState {
  readonly value: Tensor;
  readonly kept: readonly Tensor[];
}

export function initialState(tf: Tf, recipe: StepRecipe, value: Tensor): ParameterState {
  return { value, kept: moments(recipe).map(() => tf.zerosLike(value)) };
}

/**
 * The state after a step, in tensors of its own.
 * @param scalars what `stepScalars` gives of the step
 * @param range lowest and highest value, or null where there is none
 */
export function updated(
  tf: Tf,
  recipe: StepRecipe,
  { value, kept }: ParameterState,
  gradient: Tensor,
  scalars: Readonly<Record<string, number>>,
  range: readonly [number, number] | null,
): ParameterState {
  const move = recipe.optimizer === "adam" ? adam : sgd;
  const next = move(tf, recipe, { value, kept }, gradient, scalars);
  return range === null ? next : { ...next, value: tf.clipByValue(next.value, ...range) };
}

type Move = (
  tf: Tf,
  recipe: StepRecipe,
  state: ParameterState,
  gradient: Tensor,
  scalars: Readonly<Record<string, number>>,
) => ParameterState;

const sgd: Move = (tf, { momentum = DEFAULT_MOMENTUM, weightDecay = 0 }, { value, kept }, gradient, scalars) => {
  const rate = scalars["learningRate"]!;
  const g = weightDecay > 0 ? tf.add(gradient, tf.mul(value, weightDecay)) : gradient;
  const [velocity] = kept;
  if (velocity === undefined) return { value: tf.sub(value, tf.mul(g, rate)), kept: [] };
  const v = tf.add(tf.mul(velocity, momentum), g);
  const ahead = tf.add(g, tf.mul(v, momentum));
  return { value: tf.sub(value, tf.mul(ahead, rate)), kept: [v] };
};

const adam: Move = (tf, { weightDecay = 0 }, { value, kept }, gradient, scalars) => {
  const [first, second] = kept;
  const blend = (old: Tensor, fresh: Tensor, beta: number): Tensor =>
    tf.add(tf.mul(old, beta), tf.mul(fresh, 1 - beta));
  const m = blend(first!, gradient, ADAM.beta1);
  const v = blend(second!, tf.mul(gradient, gradient), ADAM.beta2);
  const root = tf.add(tf.sqrt(tf.mul(v, scalars["secondScale"]!)), ADAM.epsilon);
  const change = tf.div(tf.mul(m, scalars["stepSize"]!), root);
  const decayed = weightDecay > 0 ? tf.mul(value, scalars["shrink"]!) : value;
  return { value: tf.sub(decayed, change), kept: [m, v] };
};
