/**
 * What an optimiser keeps of each parameter, and how it moves it, in ONNX operators. Every engine computes the same
 * formulas, in float32 and in the order in which they are written here; θ is the parameter, g its gradient, η the
 * learning rate, λ the weight decay (weights and biases alike), t the step, counted from 1.
 *
 * sgd (PyTorch's, with Nesterov's momentum μ; v starts at 0):
 *   g ← g + λ·θ
 *   v ← μ·v + g
 *   θ ← θ − η·(g + μ·v)
 * Without momentum: θ ← θ − η·g.
 *
 * adam (Kingma & Ba 2015, algorithm 1; decoupled decay of Loshchilov & Hutter 2019 as PyTorch's AdamW has it; m and
 * v start at 0):
 *   m ← β1·m + (1 − β1)·g
 *   v ← β2·v + (1 − β2)·(g·g)
 *   θ ← (1 − η·λ)·θ − (m·stepSize) / (√(v·secondScale) + ε)
 * with stepSize = η / (1 − β1^t) and secondScale = 1 / (1 − β2^t), computed in double precision and then rounded.
 *
 * Last of all, weights (not biases) are clamped to the range of their format, where gradients still reach them.
 * Terms with λ = 0 are left out.
 */
import type { Graph } from "../evaluation/onnx-graph.ts";
import { DEFAULT_MOMENTUM, type StepRecipe } from "./settings.ts";

export const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 } as const;

/** Names of what is kept of each parameter, 0 at the start. */
export function moments({ optimizer, momentum = DEFAULT_MOMENTUM }: StepRecipe): string[] {
  if (optimizer === "adam") return ["m", "v"];
  return momentum > 0 ? ["v"] : [];
}

/** What a step is told besides its samples. @param step counted from 1 */
export function stepScalars(
  { optimizer, weightDecay = 0 }: StepRecipe,
  step: number,
  learningRate: number,
): Record<string, number> {
  if (optimizer === "sgd") return { learningRate };
  return {
    stepSize: learningRate / (1 - ADAM.beta1 ** step),
    secondScale: 1 / (1 - ADAM.beta2 ** step),
    ...(weightDecay > 0 ? { shrink: 1 - learningRate * weightDecay } : {}),
  };
}

/** From θ, its gradient and its {@link moments} to the next θ, not clamped yet, and the next moments. */
export type Update = (theta: string, gradient: string, kept: readonly string[]) => string[];

/** The nodes of one update, on the inputs of {@link stepScalars}, which it declares. */
export function createOptimizer(graph: Graph, recipe: StepRecipe): Update {
  const { optimizer, momentum = DEFAULT_MOMENTUM, weightDecay = 0 } = recipe;
  const scalar = (value: number): string => graph.floats([value], []);
  const mul = (a: string, b: string): string => graph.op("Mul", [a, b]);
  const add = (a: string, b: string): string => graph.op("Add", [a, b]);
  const rates: Record<string, string> = {};
  for (const name of Object.keys(stepScalars(recipe, 1, 1))) rates[name] = graph.input(name, []);

  const sgd: Update = (theta, gradient, [velocity]) => {
    const g = weightDecay > 0 ? add(gradient, mul(theta, scalar(weightDecay))) : gradient;
    if (velocity === undefined) return [graph.op("Sub", [theta, mul(g, rates["learningRate"]!)])];
    const v = add(mul(velocity, scalar(momentum)), g);
    const ahead = add(g, mul(v, scalar(momentum)));
    return [graph.op("Sub", [theta, mul(ahead, rates["learningRate"]!)]), v];
  };
  const adam: Update = (theta, gradient, [first, second]) => {
    const blend = (old: string, fresh: string, beta: number): string =>
      add(mul(old, scalar(beta)), mul(fresh, scalar(1 - beta)));
    const m = blend(first!, gradient, ADAM.beta1);
    const v = blend(second!, mul(gradient, gradient), ADAM.beta2);
    const root = add(graph.op("Sqrt", [mul(v, rates["secondScale"]!)]), scalar(ADAM.epsilon));
    const change = graph.op("Div", [mul(m, rates["stepSize"]!), root]);
    const kept = weightDecay > 0 ? mul(theta, rates["shrink"]!) : theta;
    return [graph.op("Sub", [kept, change]), m, v];
  };

  return optimizer === "adam" ? adam : sgd;
}
