/**
 * Convolutions on onnxruntime's own tensor layout for CPUs, in which a block of channels lies side by side: up to twice
 * as fast as its ordinary ones, and the same sums. Its optimiser turns to that layout by itself only where weights are
 * constants, which in training they are not; so the step graph says it. The native CPU provider alone knows it.
 */
import { createGraph, type Graph } from "../evaluation/onnx-graph.ts";
import type { Runtime } from "../evaluation/onnx-runtime.ts";

const DOMAIN = "com.microsoft.nchwc";

/** Below this share of real channels among those that whole blocks hold the layout saves nothing. */
const LEAST_SHARE = 0.7;

/** The whole of a "same" convolution's shape. */
export interface ConvolutionShape {
  readonly channels: number;
  readonly filters: number;
  readonly kernel: readonly [height: number, width: number];
  readonly strides: readonly [down: number, right: number];
  /** top, left, bottom, right */
  readonly pads: readonly [number, number, number, number];
}

/** Channels of a block on this machine, by what its instructions hold; 1 where the layout is of no use. */
export type BlockSize = 1 | 4 | 8 | 16;

/** Asks a runtime for its block size: it lays out one tensor. */
export async function blockSizeOf({ name, Tensor, createSession }: Runtime): Promise<BlockSize> {
  if (name !== "onnx") return 1;
  const graph = createGraph("block-size");
  const dims = [1, 16, 1, 2];
  graph.output(graph.op("ReorderInput", [graph.input("x", dims)], {}, DOMAIN), "y", dims);
  try {
    const session = await createSession(graph.encode());
    const { y } = await session.run({
      x: new Tensor(
        "float32",
        Float32Array.from({ length: 32 }, (_, i) => i),
        dims,
      ),
    });
    await session.release();
    // Value 2·c stands at channel c of the first place: the places of a block's channels come first.
    const run = (y!.data as Float32Array).findIndex((value, at) => value !== 2 * at);
    return ([16, 8, 4] as const).find((size) => size === run) ?? 1;
  } catch {
    // A build of onnxruntime without the layout refuses the graph: ordinary convolutions do.
    return 1;
  }
}

/** Whether a convolution is worth its conversions. */
export function worthBlocks(block: BlockSize, { channels, filters }: ConvolutionShape): boolean {
  const share = (channels * filters) / (whole(channels, block) * whole(filters, block));
  return block > 1 && channels % 4 === 0 && filters % 4 === 0 && share >= LEAST_SHARE;
}

/** As Conv. @param weights filters × channels × kernel @param bias one a filter */
export function blockedConvolution(
  graph: Graph,
  block: BlockSize,
  input: string,
  weights: string,
  bias: string,
  shape: ConvolutionShape,
): string {
  const { filters, kernel, strides, pads } = shape;
  const rest = whole(filters, block) - filters;
  const biases = rest === 0 ? bias : graph.op("Pad", [bias, graph.ints([0, rest])]);
  return onBlocks(graph, input, [blockedWeights(graph, block, weights, shape, false), biases], filters, {
    kernel_shape: kernel,
    strides,
    pads,
  });
}

/** The gradient of the input of a convolution of stride 1: a convolution with the kernel turned about. */
export function blockedInputGradient(
  graph: Graph,
  block: BlockSize,
  gradient: string,
  weights: string,
  shape: ConvolutionShape,
): string {
  const [height, width] = shape.kernel;
  const [top, left, bottom, right] = shape.pads;
  return onBlocks(graph, gradient, [blockedWeights(graph, block, weights, shape, true)], shape.channels, {
    kernel_shape: shape.kernel,
    strides: [1, 1],
    pads: [height - 1 - top, width - 1 - left, height - 1 - bottom, width - 1 - right],
  });
}

function onBlocks(
  graph: Graph,
  input: string,
  parameters: readonly string[],
  outputs: number,
  attributes: Record<string, readonly number[]>,
): string {
  const blocks = graph.op("ReorderInput", [input], {}, DOMAIN);
  const sums = graph.op("Conv", [blocks, ...parameters], attributes, DOMAIN);
  return graph.op("ReorderOutput", [sums], { channels: outputs }, DOMAIN);
}

/** Weights as [output block][input block][row][column][input][output], filled up with zeros to whole blocks. */
function blockedWeights(
  graph: Graph,
  block: BlockSize,
  weights: string,
  { channels, filters, kernel: [height, width] }: ConvolutionShape,
  turned: boolean,
): string {
  const [inputs, outputs] = [whole(channels, block), whole(filters, block)];
  const pads = [0, 0, 0, 0, outputs - filters, inputs - channels, 0, 0];
  let value = pads.every((pad) => pad === 0) ? weights : graph.op("Pad", [weights, graph.ints(pads)]);
  if (turned && height * width > 1) {
    const places = graph.op("Reshape", [value, graph.ints([outputs, inputs, height * width])]);
    const backwards = Array.from({ length: height * width }, (_, place) => height * width - 1 - place);
    value = graph.op("Gather", [places, graph.ints(backwards)], { axis: 2 });
  }
  const blocks = graph.op("Reshape", [
    value,
    graph.ints([outputs / block, block, inputs / block, block, height, width]),
  ]);
  const perm = turned ? [2, 0, 4, 5, 1, 3] : [0, 2, 4, 5, 3, 1];
  const dims = turned ? [inputs, outputs, height, width] : [outputs, inputs, height, width];
  return graph.op("Reshape", [graph.op("Transpose", [blocks], { perm }), graph.ints(dims)]);
}

function whole(channels: number, block: number): number {
  return Math.ceil(channels / block) * block;
}
