/** Seeded lies about what a network makes of a sample, for the tests of disputes on and off chain. */
import {
  firstDifference,
  knowTrace,
  openModel,
  showTrace,
  type KnownTrace,
  type OpenableModel,
} from "../../offchain/evaluation/dispute-openings.ts";
import { linearWeights, type LinearWeights, type Model } from "../../offchain/evaluation/model.ts";
import { referenceTrace, requantise } from "../../offchain/evaluation/reference.ts";
import { hashTensor, type HashedTensor, type TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { traceSteps, windowOf, type TraceStep } from "../../offchain/evaluation/trace-steps.ts";
import type { Random } from "../../offchain/protocol/random.ts";
import { randomArchitecture, randomModel, randomPixels } from "./random-model.ts";

/** A network and a test set. */
export interface Setting {
  readonly network: Model;
  readonly openable: OpenableModel;
  readonly pixels: Uint8Array;
  /** one class a sample */
  readonly labels: Uint8Array;
}

/** A random setting whose labels are what the network predicts. */
export function someSetting(random: Random, architecture = randomArchitecture(random), samples = 8): Setting {
  const network = randomModel(random, architecture, random.choice(["any", "below-2^31"] as const));
  const pixels = randomPixels(random, architecture, samples);
  const setting = { network, openable: openModel(network), pixels, labels: new Uint8Array(samples) };
  const labels = setting.labels.map((_, i) => argmax(referenceTrace(network, pixelsOf(setting, i)).logits));
  return { ...setting, labels };
}

export function argmax(logits: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[largest]!) largest = i;
  return largest;
}

export function pixelsOf({ pixels, labels }: Pick<Setting, "pixels" | "labels">, sample: number): Uint8Array {
  const size = pixels.length / labels.length;
  return pixels.subarray(sample * size, (sample + 1) * size);
}

/** What the network truly makes of a sample. */
export function truth(setting: Setting, sample: number): KnownTrace {
  const pixels = pixelsOf(setting, sample);
  return knowTrace(setting.network, pixels, referenceTrace(setting.network, pixels));
}

/** Any value of a trace, or a logit: each step is as likely as the others. */
export function somePlace(random: Random, { network }: Pick<Setting, "network">): TracedPlace {
  const steps = traceSteps(network.architecture);
  const step = random.integer(steps.length);
  const { height, width, channels } = steps[step]!.output;
  return { step, row: random.integer(height), column: random.integer(width), channel: random.integer(channels) };
}

/** A tensor's integers in (row, column, channel) order. */
export function valuesOf({ bytes, shape: { valueBytes } }: HashedTensor): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Int32Array.from({ length: bytes.length / valueBytes }, (_, i) =>
    valueBytes === 1 ? view.getUint8(i) : valueBytes === 2 ? view.getUint16(2 * i) : view.getUint32(4 * i),
  );
}

/** The same trace with one value changed and everything else as it was: the lie is found only where it is. */
export function changed(known: KnownTrace, place: TracedPlace, change: number): KnownTrace {
  const tensor = known.tensors[place.step + 1];
  if (tensor === undefined) {
    return { ...known, logits: known.logits.map((logit, i) => (i === place.channel ? logit + change : logit)) };
  }
  const values = valuesOf(tensor);
  values[(place.row * tensor.shape.width + place.column) * tensor.shape.channels + place.channel]! += change;
  return { ...known, tensors: known.tensors.with(place.step + 1, hashTensor(values, tensor.shape)) };
}

// ————— Lies —————

export const LIES = ["one value", "followed through", "many values", "logits", "another sample", "swapped units", "another shape", "another length", "prediction"] as const; // prettier-ignore
export type Lie = (typeof LIES)[number];
/** Lies that no answer of the claimant fits: it can only let its clock run out. */
export const UNANSWERABLE: ReadonlySet<Lie> = new Set(["another shape", "another length", "prediction"]);

/**
 * What a lying claimant shows of a sample.
 * @param own the truth
 * @returns null where this network and sample have no room for such a lie
 */
export function lieAbout(
  random: Random,
  setting: Setting,
  sample: number,
  own: KnownTrace,
  lie: Lie,
): KnownTrace | null {
  const told = tell(random, setting, sample, own, lie);
  return told === null || lie === "prediction" || differs(own, told) ? told : null;
}

function differs(own: KnownTrace, told: KnownTrace): boolean {
  return (
    told.tensors.length !== own.tensors.length ||
    told.logits.length !== own.logits.length ||
    firstDifference(own, showTrace(told)) !== null
  );
}

function tell(random: Random, setting: Setting, sample: number, own: KnownTrace, lie: Lie): KnownTrace | null {
  const { network } = setting;
  switch (lie) {
    case "one value":
      return alter(own, somePlace(random, setting));
    case "many values": {
      let told = own;
      for (let i = 2 + random.integer(5); i > 0; i--) told = alter(told, somePlace(random, setting));
      return told;
    }
    case "followed through": {
      const place = somePlace(random, setting);
      return follow(network, alter(own, place), place.step + 1);
    }
    case "logits":
      return own.logits.length < 2 ? null : showing(own, random.integer(own.logits.length));
    case "another sample":
      return truth(setting, (sample + 1 + random.integer(setting.labels.length - 1)) % setting.labels.length);
    case "swapped units": {
      const swapped = swapUnits(random, network);
      const pixels = pixelsOf(setting, sample);
      return swapped === null ? null : knowTrace(network, pixels, referenceTrace(swapped, pixels));
    }
    case "another shape": {
      const index = 1 + random.integer(own.tensors.length - 1);
      const tensor = own.tensors[index]!;
      const { height, width, channels } = tensor.shape;
      if (width * channels === 1) return null;
      const shape =
        width > 1 ? { height: height * width, width: 1, channels } : { height: height * channels, width, channels: 1 };
      const told = hashTensor(valuesOf(tensor), { ...tensor.shape, ...shape });
      return { ...own, tensors: own.tensors.with(index, told) };
    }
    case "another length":
      if (random.next() < 0.5) return { ...own, logits: [...own.logits, -(2 ** 31)] };
      return {
        ...own,
        tensors: random.next() < 0.5 ? own.tensors.slice(0, -1) : [...own.tensors, own.tensors.at(-1)!],
      };
    case "prediction":
      return own.logits.length < 2 ? null : own;
  }
}

/** The lie with the least change of its logits after which the given class is the largest. */
export function showing(known: KnownTrace, prediction: number): KnownTrace {
  if (argmax(known.logits) === prediction) return known;
  const largest = Math.max(...known.logits);
  return { ...known, logits: known.logits.map((l, i) => (i === prediction ? largest : Math.min(l, largest - 1))) };
}

/** One value becomes another that the network could have made: a smaller one, or 1. */
function alter(known: KnownTrace, place: TracedPlace): KnownTrace {
  const tensor = known.tensors[place.step + 1];
  if (tensor === undefined) return changed(known, place, known.logits[place.channel]! > 0 ? -1 : 1);
  const { width, channels } = tensor.shape;
  const value = valuesOf(tensor)[(place.row * width + place.column) * channels + place.channel]!;
  return changed(known, place, value === 0 ? 1 : -1 - ((place.row + 7 * place.column + 13 * place.channel) % value));
}

/** Everything after a step as it follows from what that step is said to have made. */
function follow(model: Model, known: KnownTrace, from: number): KnownTrace {
  const steps = traceSteps(model.architecture);
  let told = known;
  for (let step = from; step < steps.length; step++) {
    const values = forward(model, steps[step]!, valuesOf(told.tensors[step]!));
    if (step === steps.length - 1) return { ...told, logits: [...values] };
    told = { ...told, tensors: told.tensors.with(step + 1, hashTensor(values, steps[step]!.output)) };
  }
  return told;
}

/** What a step makes of its input: window by window, as the chain does, and not as the evaluator does. */
export function forward(model: Model, step: TraceStep, input: Int32Array): Float64Array {
  const { height, width, channels } = step.output;
  const output = new Float64Array(height * width * channels);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let channel = 0; channel < channels; channel++) {
        output[(row * width + column) * channels + channel] = valueOf(model, step, input, row, column, channel);
      }
    }
  }
  return output;
}

function valueOf(model: Model, step: TraceStep, input: Int32Array, row: number, column: number, unit: number): number {
  const { operation, linear, windowWidth, strideHeight, strideWidth, paddingTop, paddingLeft } = step;
  const { width, channels } = step.input;
  const { top, bottom, left, right } = windowOf(step, row, column);
  if (linear === null) {
    let result = 0;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const value = input[(y * width + x) * channels + unit]!;
        result = operation === "sum" ? result + value : Math.max(result, value);
      }
    }
    return result;
  }
  const layers = linearWeights(model);
  const { weights, bias } = layers[Math.min(linear.number, layers.length - 1)]!;
  let sum = bias[unit]!;
  for (let y = top; y < bottom; y++) {
    const kernelRow = y - row * strideHeight + paddingTop;
    for (let x = left; x < right; x++) {
      const kernelColumn = x - column * strideWidth + paddingLeft;
      const weight = unit * linear.fanIn + (kernelRow * windowWidth + kernelColumn) * channels;
      for (let c = 0; c < channels; c++) sum += input[(y * width + x) * channels + c]! * weights[weight + c]!;
    }
  }
  return linear.requantise === null ? sum : requantise(sum, linear.requantise);
}

/** The network with two units of one layer exchanged; null where no layer has two. */
function swapUnits(random: Random, model: Model): Model | null {
  const all = linearWeights(model);
  const several = all.filter(({ bias }) => bias.length > 1);
  if (several.length === 0) return null;
  const chosen = random.choice(several);
  const a = random.integer(chosen.bias.length);
  const b = (a + 1 + random.integer(chosen.bias.length - 1)) % chosen.bias.length;
  const fanIn = chosen.weights.length / chosen.bias.length;
  const weights = chosen.weights.slice();
  weights.set(chosen.weights.subarray(b * fanIn, (b + 1) * fanIn), a * fanIn);
  weights.set(chosen.weights.subarray(a * fanIn, (a + 1) * fanIn), b * fanIn);
  const bias = chosen.bias.with(a, chosen.bias[b]!).with(b, chosen.bias[a]!);
  const swap = (part: LinearWeights): LinearWeights => (part === chosen ? { weights, bias } : part);
  return {
    ...model,
    layers: model.layers.map(swap),
    hidden: model.hidden === null ? null : swap(model.hidden),
    output: swap(model.output),
  };
}

// ————— Cases —————

/** One game: who says what of which sample. */
export interface Case {
  readonly sample: number;
  readonly claimant: KnownTrace;
  /** what the challenger knows, or pretends to */
  readonly challenger: KnownTrace;
  /** where the challenger sees a difference if it sees none; an honest one needs no such place */
  readonly insists: TracedPlace;
  /** the claimant's lie; null where the claimant is honest */
  readonly lie: Lie | null;
  /** transactions in which a sum is computed */
  readonly parts: number;
}

export interface Cases {
  /** its labels are what was predicted, truly or not */
  readonly setting: Setting;
  readonly cases: readonly Case[];
}

/** A random network, the predictions of a claimant that lies about most samples, and games over them. */
export function someCases(random: Random, lies = 3): Cases {
  const honest = someSetting(random);
  const samples = Array.from(honest.labels, (_, sample) => sample);
  const truths = samples.map((sample) => truth(honest, sample));
  const cases: Case[] = [];
  const labels = honest.labels.map((actual, sample) => {
    const own = truths[sample]!;
    const base = { sample, challenger: own, parts: 1 + random.integer(3) };
    const main = random.next() < 0.3 ? null : random.choice(LIES);
    const told = main === null ? null : lieAbout(random, honest, sample, own, main);
    const prediction =
      told === null ? actual : main === "prediction" ? (actual + 1) % own.logits.length : argmax(told.logits.slice(0, own.logits.length)); // prettier-ignore
    if (told !== null) cases.push({ ...base, claimant: told, lie: main, insists: somePlace(random, honest) });
    for (let i = 0; i < lies; i++) {
      const lie = random.choice(LIES.filter((kind) => kind !== "prediction"));
      const other = lieAbout(random, honest, sample, own, lie);
      const claimant = other === null || lie === "another length" ? other : showing(other, prediction);
      if (claimant !== null && differs(own, claimant)) {
        cases.push({ ...base, claimant, lie, insists: somePlace(random, honest) });
      }
      if (prediction !== actual) continue;
      // The claimant is honest, the challenger is not: it insists on a true value, or believes in a lie.
      const belief = random.next() < 0.5 ? lieAbout(random, honest, sample, own, random.choice(["one value", "followed through", "many values"] as const)) : null; // prettier-ignore
      cases.push({ ...base, claimant: own, challenger: belief ?? own, lie: null, insists: somePlace(random, honest) });
    }
    return prediction;
  });
  return { setting: { ...honest, labels }, cases };
}
