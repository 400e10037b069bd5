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

/** A float32 tensor that goes from step to step: a parameter, or something kept of one. */
export interface StateTensor {
  readonly name: string;
  readonly dims: readonly number[];
}

/** Prefixes of the tensors that are kept of each parameter, each of the parameter's own shape, 0 at the start. */
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

/**
 * Adds the update of parameters to a step's graph: the inputs of {@link stepScalars} and of {@link moments}, and the
 * outputs `next.NAME` of both kinds.
 */
export function createOptimizer(graph: Graph, recipe: StepRecipe) {
  const { optimizer, momentum = DEFAULT_MOMENTUM, weightDecay = 0 } = recipe;
  const scalar = (value: number): string => graph.floats([value], []);
  const mul = (a: string, b: string): string => graph.op("Mul", [a, b]);
  const add = (a: string, b: string): string => graph.op("Add", [a, b]);
  const rates: Record<string, string> = {};
  for (const name of Object.keys(stepScalars(recipe, 1, 1))) rates[name] = graph.input(name, []);

  const sgd = (theta: string, gradient: string, [velocity]: readonly string[]): string[] => {
    const g = weightDecay > 0 ? add(gradient, mul(theta, scalar(weightDecay))) : gradient;
    if (velocity === undefined) return [graph.op("Sub", [theta, mul(g, rates["learningRate"]!)])];
    const v = add(mul(velocity, scalar(momentum)), g);
    const ahead = add(g, mul(v, scalar(momentum)));
    return [graph.op("Sub", [theta, mul(ahead, rates["learningRate"]!)]), v];
  };
  const adam = (theta: string, gradient: string, [first, second]: readonly string[]): string[] => {
    const blend = (old: string, fresh: string, beta: number): string =>
      add(mul(old, scalar(beta)), mul(fresh, scalar(1 - beta)));
    const m = blend(first!, gradient, ADAM.beta1);
    const v = blend(second!, mul(gradient, gradient), ADAM.beta2);
    const root = add(graph.op("Sqrt", [mul(v, rates["secondScale"]!)]), scalar(ADAM.epsilon));
    const change = graph.op("Div", [mul(m, rates["stepSize"]!), root]);
    const kept = weightDecay > 0 ? mul(theta, rates["shrink"]!) : theta;
    return [graph.op("Sub", [kept, change]), m, v];
  };

  return {
    /** @param range lowest and highest value, or null where there is none */
    update: ({ name, dims }: StateTensor, gradient: string, range: readonly [number, number] | null): void => {
      const prefixes = moments(recipe);
      const old = prefixes.map((prefix) => graph.input(`${prefix}.${name}`, dims));
      const [moved, ...kept] = (optimizer === "adam" ? adam : sgd)(name, gradient, old);
      const next = range === null ? moved! : graph.op("Clip", [moved!, scalar(range[0]), scalar(range[1])]);
      graph.output(next, `next.${name}`, dims);
      for (const [index, prefix] of prefixes.entries()) graph.output(kept[index]!, `next.${prefix}.${name}`, dims);
    },
  };
}
