/** What a network must satisfy to count at all (docs/evaluation.md, "Well-formed"). */
import { tilingFault, witnessFault, type HardwareBounds } from "./hardware.ts";
import { architectureSchema, membershipFault, type Space, type Template } from "../protocol/architecture.ts";
import { linearWeights, shapeFault, type LinearWeights, type Model } from "./model.ts";
import { linearLayers, networkShapes, type LinearLayer } from "./shapes.ts";

/** What a task fixes of its networks. */
export interface Rules {
  readonly template: Template;
  readonly space: Space;
  /** what a network may cost on the task's hardware; its architecture carries a tiling that shows it */
  readonly hardware?: HardwareBounds;
}

/** No traced value reads more than this many values, so that the chain can recompute one in a transaction. */
export const MAX_FAN_IN = 16_384;
/** Accumulators stay below this, so that they are exact in 32 bits on every machine. */
export const MAX_ACCUMULATOR = 2 ** 31;
export const MAX_ACTIVATION_BITS = 15;
const MAX_WEIGHT_BITS = 16;

/**
 * Why a model is malformed, as a clause about it ("layer 2 …"), or null where it is well-formed.
 * @param rules what the task fixes; without it the network may be of any kind
 */
export function malformation(model: Model, rules?: Rules): string | null {
  const { architecture } = model;
  const parsed = architectureSchema.safeParse(architecture);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    return `its architecture is not valid at ${path.join(".") || "its top"}: ${message}`;
  }
  return (
    (rules === undefined ? null : membershipFault(architecture, rules.template, rules.space)) ??
    bitsFault(model) ??
    tilingFault(architecture) ??
    fanInFault(model) ??
    (rules?.hardware === undefined ? null : witnessFault(architecture, rules.hardware)) ??
    shapeFault(model) ??
    unitFault(model)
  );
}

function bitsFault({ architecture: { layers, head } }: Model): string | null {
  for (const [index, { actIntBits, actFracBits, weightIntBits, weightFracBits }] of layers.entries()) {
    if (actIntBits + actFracBits > MAX_ACTIVATION_BITS) {
      return `layer ${index} has ${actIntBits + actFracBits} activation bits, more than ${MAX_ACTIVATION_BITS}`;
    }
    if (weightIntBits + weightFracBits > MAX_WEIGHT_BITS) {
      return `layer ${index} has ${weightIntBits + weightFracBits} weight bits, more than ${MAX_WEIGHT_BITS}`;
    }
  }
  const hiddenBits = (head.hiddenActIntBits ?? 0) + (head.hiddenActFracBits ?? 0);
  if (hiddenBits > MAX_ACTIVATION_BITS) {
    return `the hidden layer has ${hiddenBits} activation bits, more than ${MAX_ACTIVATION_BITS}`;
  }
  return null;
}

/** Pool windows and the sums' rows and columns are no larger than the tensor (64 × 64), so only weights can exceed it. */
function fanInFault({ architecture }: Model): string | null {
  const wide = linearLayers(architecture).find(({ fanIn }) => fanIn > MAX_FAN_IN);
  return wide === undefined ? null : `a unit of ${wide.name} reads ${wide.fanIn} values, more than ${MAX_FAN_IN}`;
}

function unitFault(model: Model): string | null {
  const weights = linearWeights(model);
  for (const [index, linear] of linearLayers(model.architecture, networkShapes(model.architecture)).entries()) {
    const stray = firstOutside(weights[index]!.weights, linear.weightMin, linear.weightMax);
    if (stray >= 0) {
      const value = weights[index]!.weights[stray];
      return (
        `weight ${stray % linear.fanIn} of unit ${Math.floor(stray / linear.fanIn)} of ${linear.name} is ${value}, ` +
        `outside ${linear.weightMin} … ${linear.weightMax}`
      );
    }
    const bounds = unitBounds(linear, weights[index]!);
    const unit = bounds.findIndex((bound) => bound >= MAX_ACCUMULATOR);
    if (unit >= 0) return `unit ${unit} of ${linear.name} can reach ${bounds[unit]}, which is not below 2^31`;
  }
  return null;
}

/** The index of the first value that is not lowest … highest, or −1. */
function firstOutside(values: Int16Array, lowest: number, highest: number): number {
  for (let i = 0; i < values.length; i++) if (values[i]! < lowest || values[i]! > highest) return i;
  return -1;
}

/**
 * For each unit the bound |bias| + Σ|w|·xmax + (sh > 0 ? 2^(sh−1) : 0): no accumulator, partial sum or rounded
 * accumulator is ever larger in absolute value, whatever the order of summation.
 */
export function unitBounds(linear: LinearLayer, { weights, bias }: LinearWeights): Float64Array {
  const { units, fanIn, inputMax, requantise } = linear;
  const rounding = requantise !== null && requantise.shift > 0 ? 2 ** (requantise.shift - 1) : 0;
  const bounds = new Float64Array(units);
  for (let unit = 0; unit < units; unit++) {
    let sum = 0;
    for (let i = unit * fanIn; i < (unit + 1) * fanIn; i++) sum += Math.abs(weights[i]!);
    bounds[unit] = Math.abs(bias[unit]!) + sum * inputMax + rounding;
  }
  return bounds;
}

/** The largest bound of all units of a network: below 2^24, float32 computes all of it exactly. */
export function accumulatorBound(model: Model): number {
  const weights = linearWeights(model);
  return linearLayers(model.architecture).reduce(
    (largest, linear, index) => unitBounds(linear, weights[index]!).reduce((a, b) => Math.max(a, b), largest),
    0,
  );
}
