/**
 * The canonical evaluation in plain integers, as docs/evaluation.md words it: slow, readable, and the oracle of the
 * fast path. All numbers are integers below 2^53 in a double, so all arithmetic here is exact: accumulators stay
 * below 2^31, and a requantisation multiplies by at most 2^15.
 */
import { PonasError } from "../protocol/errors.ts";
import type { LinearWeights, Model } from "./model.ts";
import {
  linearLayers,
  networkShapes,
  type LayerShapes,
  type LinearLayer,
  type NetworkShapes,
  type TensorShape,
} from "./shapes.ts";

/** One tensor of a sample's trace: integers in (row, column, channel) order. */
export interface TracedTensor extends TensorShape {
  /** "layer 0 convolution", "layer 0 pool", "row sums", "sums", "hidden" */
  readonly name: string;
  readonly values: Int32Array;
}

/** What one sample makes of every tensor (docs/protocol.md, "Trace of a sample"), and its logits. */
export interface Trace {
  /** per layer the requantised convolution, then the pool where p > 1; row sums and sums; the hidden layer */
  readonly tensors: readonly TracedTensor[];
  readonly logits: Float64Array;
}

/**
 * Logits of many samples.
 * @param model well-formed
 * @param pixels count × H·W·C bytes, row-major, channels last
 * @returns count × classes integers
 */
export function referenceLogits(model: Model, pixels: Uint8Array, count: number, signal?: AbortSignal): Float64Array {
  const { architecture } = model;
  const [height, width, channels] = architecture.input;
  const size = height * width * channels;
  const logits = new Float64Array(count * architecture.classes);
  for (let sample = 0; sample < count; sample++) {
    if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.", { cause: signal.reason });
    const trace = referenceTrace(model, pixels.subarray(sample * size, (sample + 1) * size));
    logits.set(trace.logits, sample * architecture.classes);
  }
  return logits;
}

/**
 * The trace of one sample.
 * @param model well-formed
 * @param pixels H·W·C bytes
 */
export function referenceTrace(model: Model, pixels: Uint8Array): Trace {
  const { architecture } = model;
  const shapes = networkShapes(architecture);
  const linear = linearLayers(architecture, shapes);
  const tensors: TracedTensor[] = [];

  let values: Int32Array = Int32Array.from(pixels);
  for (const [index, layer] of architecture.layers.entries()) {
    const layerShapes = shapes.layers[index]!;
    values = convolve(values, layerShapes, layer, linear[index]!, model.layers[index]!);
    tensors.push({ name: `layer ${index} convolution`, ...layerShapes.convolution, values });
    if (layer.poolSize > 1) {
      values = maxPool(values, layerShapes, layer.poolSize);
      tensors.push({ name: `layer ${index} pool`, ...layerShapes.pool, values });
    }
  }
  if (architecture.head.pool === "global-sum") {
    const sums = globalSum(values, shapes);
    tensors.push(...sums);
    values = sums[1].values;
  }
  if (model.hidden !== null) {
    const hidden = linear[architecture.layers.length]!;
    values = Int32Array.from(dense(values, hidden, model.hidden), (acc) => requantise(acc, hidden.requantise!));
    tensors.push({ name: "hidden", height: 1, width: 1, channels: hidden.units, values });
  }
  return { tensors, logits: dense(values, linear.at(-1)!, model.output) };
}

/** Rule 3: y = ⌊(acc + 2^(sh−1)) / 2^sh⌋, or acc·2^(−sh) where sh ≤ 0, clamped to 0 … max. */
export function requantise(acc: number, { shift, max }: { readonly shift: number; readonly max: number }): number {
  const y = shift > 0 ? Math.floor((acc + 2 ** (shift - 1)) / 2 ** shift) : acc * 2 ** -shift;
  return Math.min(Math.max(y, 0), max);
}

function convolve(
  input: Int32Array,
  { input: from, convolution: to, padding }: LayerShapes,
  layer: { kernelHeight: number; kernelWidth: number; strideHeight: number; strideWidth: number },
  linear: LinearLayer,
  { weights, bias }: LinearWeights,
): Int32Array {
  const output = new Int32Array(to.height * to.width * to.channels);
  for (let row = 0; row < to.height; row++) {
    for (let column = 0; column < to.width; column++) {
      for (let filter = 0; filter < to.channels; filter++) {
        let acc = bias[filter]!;
        for (let kr = 0; kr < layer.kernelHeight; kr++) {
          const y = row * layer.strideHeight + kr - padding.top;
          if (y < 0 || y >= from.height) continue;
          for (let kc = 0; kc < layer.kernelWidth; kc++) {
            const x = column * layer.strideWidth + kc - padding.left;
            if (x < 0 || x >= from.width) continue;
            const read = (y * from.width + x) * from.channels;
            const kernel = ((filter * layer.kernelHeight + kr) * layer.kernelWidth + kc) * from.channels;
            for (let channel = 0; channel < from.channels; channel++) {
              acc += input[read + channel]! * weights[kernel + channel]!;
            }
          }
        }
        output[(row * to.width + column) * to.channels + filter] = requantise(acc, linear.requantise!);
      }
    }
  }
  return output;
}

function maxPool(
  input: Int32Array,
  { convolution: from, pool: to, poolPadding }: LayerShapes,
  size: number,
): Int32Array {
  const output = new Int32Array(to.height * to.width * to.channels);
  for (let row = 0; row < to.height; row++) {
    const top = row * size - poolPadding.top;
    for (let column = 0; column < to.width; column++) {
      const left = column * size - poolPadding.left;
      for (let channel = 0; channel < to.channels; channel++) {
        let largest = -Infinity;
        for (let y = Math.max(top, 0); y < Math.min(top + size, from.height); y++) {
          for (let x = Math.max(left, 0); x < Math.min(left + size, from.width); x++) {
            largest = Math.max(largest, input[(y * from.width + x) * from.channels + channel]!);
          }
        }
        output[(row * to.width + column) * to.channels + channel] = largest;
      }
    }
  }
  return output;
}

/** Rows first (height × 1 × channels), then over the rows (1 × 1 × channels). */
function globalSum(
  input: Int32Array,
  { features: { height, width, channels } }: NetworkShapes,
): [TracedTensor, TracedTensor] {
  const rowSums = new Int32Array(height * channels);
  const sums = new Int32Array(channels);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let channel = 0; channel < channels; channel++) {
        rowSums[row * channels + channel]! += input[(row * width + column) * channels + channel]!;
      }
    }
    for (let channel = 0; channel < channels; channel++) sums[channel]! += rowSums[row * channels + channel]!;
  }
  return [
    { name: "row sums", height, width: 1, channels, values: rowSums },
    { name: "sums", height: 1, width: 1, channels, values: sums },
  ];
}

function dense(input: Int32Array, { units, fanIn }: LinearLayer, { weights, bias }: LinearWeights): Float64Array {
  return Float64Array.from({ length: units }, (_, unit) => {
    let acc = bias[unit]!;
    for (let i = 0; i < fanIn; i++) acc += input[i]! * weights[unit * fanIn + i]!;
    return acc;
  });
}
