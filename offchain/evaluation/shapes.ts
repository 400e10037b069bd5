/**
 * What an architecture makes of every tensor: sizes, paddings, fan-in, number formats, work. Everything here follows
 * from the architecture alone (docs/evaluation.md, "Numbers" and "Layers").
 */
import type { Architecture } from "../protocol/architecture.ts";

/** Height × width × channels of one sample's tensor. */
export interface TensorShape {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** Elements that a window sees beyond the tensor, per side. */
export interface Padding {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

export interface LayerShapes {
  readonly input: TensorShape;
  /** the requantised convolution's output */
  readonly convolution: TensorShape;
  /** the layer's output; equal to `convolution` where the pool size is 1 */
  readonly pool: TensorShape;
  readonly padding: Padding;
  readonly poolPadding: Padding;
  /** values that one convolution output reads: kernel height · kernel width · input channels */
  readonly fanIn: number;
  /** multiplications of one sample, padding counted */
  readonly macs: number;
}

export interface NetworkShapes {
  readonly layers: readonly LayerShapes[];
  /** output of the last layer, what the head reads */
  readonly features: TensorShape;
  /** height · width · channels of `features` */
  readonly flattenLength: number;
  /** values that the head's first dense layer reads: `flattenLength`, or the channels after a global sum */
  readonly headInputs: number;
  /** multiplications of one sample, convolutions and dense layers */
  readonly macs: number;
}

/** "same": out = ⌈in/stride⌉, pad = max(0, (out−1)·stride + window − in), ⌊pad/2⌋ before, the rest after. */
export function samePadding(
  size: number,
  window: number,
  stride: number,
): { out: number; before: number; after: number } {
  const out = Math.ceil(size / stride);
  const pad = Math.max(0, (out - 1) * stride + window - size);
  const before = Math.floor(pad / 2);
  return { out, before, after: pad - before };
}

/** The shapes of every tensor of a network. */
export function networkShapes(architecture: Architecture): NetworkShapes {
  const [height, width, channels] = architecture.input;
  let input: TensorShape = { height, width, channels };
  const layers = architecture.layers.map((layer): LayerShapes => {
    const rows = samePadding(input.height, layer.kernelHeight, layer.strideHeight);
    const columns = samePadding(input.width, layer.kernelWidth, layer.strideWidth);
    const convolution = { height: rows.out, width: columns.out, channels: layer.filters };
    const poolRows = samePadding(convolution.height, layer.poolSize, layer.poolSize);
    const poolColumns = samePadding(convolution.width, layer.poolSize, layer.poolSize);
    const pool = { height: poolRows.out, width: poolColumns.out, channels: layer.filters };
    const fanIn = layer.kernelHeight * layer.kernelWidth * input.channels;
    const shapes = {
      input,
      convolution,
      pool,
      padding: paddingOf(rows, columns),
      poolPadding: paddingOf(poolRows, poolColumns),
      fanIn,
      macs: convolution.height * convolution.width * layer.filters * fanIn,
    };
    input = pool;
    return shapes;
  });
  const features = input;
  const flattenLength = features.height * features.width * features.channels;
  const { pool, hidden } = architecture.head;
  const headInputs = pool === "flatten" ? flattenLength : features.channels;
  const dense = hidden > 0 ? headInputs * hidden + hidden * architecture.classes : headInputs * architecture.classes;
  const macs = layers.reduce((sum, layer) => sum + layer.macs, dense);
  return { layers, features, flattenLength, headInputs, macs };
}

interface Sides {
  readonly before: number;
  readonly after: number;
}

function paddingOf(rows: Sides, columns: Sides): Padding {
  return { top: rows.before, bottom: rows.after, left: columns.before, right: columns.after };
}

/** Weights of dense layers have 8 bits: 1 integer bit (the sign), 7 fraction bits. */
export const DENSE_WEIGHT_BITS = { integer: 1, fraction: 7 } as const;

/** Fraction bits of a pixel: a byte b stands for b/256. */
export const PIXEL_FRACTION_BITS = 8;

/** Largest unsigned integer of so many bits; 0 where there are none. */
export function largestActivation(bits: number): number {
  return 2 ** bits - 1;
}

/** One linear layer — a convolution or a dense layer — as the integers that it computes with. */
export interface LinearLayer {
  /** "layer 0", …, "the hidden layer", "the output layer" */
  readonly name: string;
  /** number in hashes: convolutions 0 … L−1, hidden L, output L+1 also where nothing is hidden */
  readonly number: number;
  /** filters of a convolution, units of a dense layer */
  readonly units: number;
  /** rows of one unit's kernel; a dense unit on a flattened tensor is a kernel that covers it, otherwise it has 1 row */
  readonly kernelRows: number;
  /** values one unit reads = weights of one unit */
  readonly fanIn: number;
  /** largest integer that a read value can be */
  readonly inputMax: number;
  /** fraction bits of the accumulator: those of the input plus those of the weights; the bias stands at this scale */
  readonly accumulatorFractionBits: number;
  readonly weightMin: number;
  readonly weightMax: number;
  /** sh of rule 3 and the largest output; null for the output layer, whose accumulators are the logits */
  readonly requantise: { readonly shift: number; readonly max: number } | null;
}

/** All linear layers in the order in which they are computed: convolutions, hidden layer where there is one, output. */
export function linearLayers(
  architecture: Architecture,
  shapes: NetworkShapes = networkShapes(architecture),
): LinearLayer[] {
  const { layers, head, classes } = architecture;
  let inputMax = largestActivation(PIXEL_FRACTION_BITS);
  let fractionBits: number = PIXEL_FRACTION_BITS;
  const linear = layers.map((layer, index): LinearLayer => {
    const accumulatorFractionBits = fractionBits + layer.weightFracBits;
    const max = largestActivation(layer.actIntBits + layer.actFracBits);
    const description = {
      name: `layer ${index}`,
      number: index,
      units: layer.filters,
      kernelRows: layer.kernelHeight,
      fanIn: shapes.layers[index]!.fanIn,
      inputMax,
      accumulatorFractionBits,
      ...weightRange(layer.weightIntBits + layer.weightFracBits),
      requantise: { shift: accumulatorFractionBits - layer.actFracBits, max },
    };
    inputMax = max;
    fractionBits = layer.actFracBits;
    return description;
  });

  const flatten = head.pool === "flatten";
  let kernelRows = flatten ? shapes.features.height : 1;
  let fanIn = shapes.headInputs;
  if (!flatten) inputMax *= shapes.features.height * shapes.features.width;
  const weights = weightRange(DENSE_WEIGHT_BITS.integer + DENSE_WEIGHT_BITS.fraction);
  if (head.hidden > 0) {
    const actFracBits = head.hiddenActFracBits ?? 0;
    const max = largestActivation((head.hiddenActIntBits ?? 0) + actFracBits);
    const accumulatorFractionBits = fractionBits + DENSE_WEIGHT_BITS.fraction;
    linear.push({
      name: "the hidden layer",
      number: layers.length,
      units: head.hidden,
      kernelRows,
      fanIn,
      inputMax,
      accumulatorFractionBits,
      ...weights,
      requantise: { shift: accumulatorFractionBits - actFracBits, max },
    });
    kernelRows = 1;
    fanIn = head.hidden;
    inputMax = max;
    fractionBits = actFracBits;
  }
  linear.push({
    name: "the output layer",
    number: layers.length + 1,
    units: classes,
    kernelRows,
    fanIn,
    inputMax,
    accumulatorFractionBits: fractionBits + DENSE_WEIGHT_BITS.fraction,
    ...weights,
    requantise: null,
  });
  return linear;
}

/** −2^(bits−1) … 2^(bits−1) − 1; only 0 without bits. */
function weightRange(bits: number): { weightMin: number; weightMax: number } {
  return bits === 0
    ? { weightMin: 0, weightMax: 0 }
    : { weightMin: -(2 ** (bits - 1)), weightMax: 2 ** (bits - 1) - 1 };
}
