/** The gradient of a convolution's filters as matrix products: the part of a training step that moves most memory. */
import type { Graph } from "../evaluation/onnx-graph.ts";
import type { LayerShapes } from "../evaluation/shapes.ts";
import type { Layer } from "../protocol/architecture.ts";

/** Below this many input channels one stacked product is faster than one for each kernel position. */
const STACKED_CHANNELS = 8;

/**
 * For each kernel position the matrix product of the inputs that it reads, C × places, and the gradients of the sums,
 * places × M; a place is a position of a sample.
 *
 * The padded input is cut into its stride phases, each laid out as C × (H''·W''·N), and the gradients of the sums as
 * (H'·W''·N) × M on rows of the same length, with zeros where no window starts. Then what a kernel position reads is a
 * phase shifted by a constant: one contiguous copy a channel. With the samples innermost every pad and every strided
 * cut moves runs of N values and not single ones.
 * @param input N×C×H×W
 * @param sums N×M×H'×W', the gradients of the convolution's sums
 * @returns M×C×kernelHeight×kernelWidth
 */
export function filterGradient(
  graph: Graph,
  batch: number,
  input: string,
  sums: string,
  { kernelHeight, kernelWidth, strideHeight, strideWidth, filters }: Layer,
  { input: from, convolution: to, padding }: LayerShapes,
): string {
  const { channels } = from;
  const shiftsDown = Math.floor((kernelHeight - 1) / strideHeight);
  const shiftsRight = Math.floor((kernelWidth - 1) / strideWidth);
  const width = to.width + shiftsRight;
  // The rightmost shift of the last row runs over into one more row, which is only ever multiplied by zeros.
  const height = to.height + shiftsDown + (shiftsRight > 0 ? 1 : 0);
  const places = to.height * width * batch;

  // Rows and columns that no window reaches are cut off by negative pads.
  const below = height * strideHeight - padding.top - from.height;
  const behind = width * strideWidth - padding.left - from.width;
  const turned = graph.op("Transpose", [input], { perm: [1, 2, 3, 0] });
  const padded = pad(graph, turned, [0, padding.top, padding.left, 0, 0, below, behind, 0]);
  const phases = new Map<string, string>();
  const phase = (row: number, column: number): string => {
    const key = `${row} ${column}`;
    const known = phases.get(key);
    if (known !== undefined) return known;
    const cut =
      strideHeight * strideWidth === 1
        ? padded
        : graph.op("Slice", [
            padded,
            graph.ints([row, column]),
            graph.ints([height * strideHeight, width * strideWidth]),
            graph.ints([1, 2]),
            graph.ints([strideHeight, strideWidth]),
          ]);
    const flat = graph.op("Reshape", [cut, graph.ints([channels, height * width * batch])]);
    phases.set(key, flat);
    return flat;
  };

  const columns = graph.op("Reshape", [sums, graph.ints([batch * filters, to.height * to.width])]);
  const byPlace = graph.op("Reshape", [
    graph.op("Transpose", [columns], { perm: [1, 0] }),
    graph.ints([to.height, to.width, batch * filters]),
  ]);
  const gradients = graph.op("Reshape", [
    pad(graph, byPlace, [0, 0, 0, 0, shiftsRight, 0]),
    graph.ints([places, filters]),
  ]);

  const reads: string[] = [];
  for (let row = 0; row < kernelHeight; row++) {
    for (let column = 0; column < kernelWidth; column++) {
      const whole = phase(row % strideHeight, column % strideWidth);
      const shift = (Math.floor(row / strideHeight) * width + Math.floor(column / strideWidth)) * batch;
      reads.push(
        height === to.height
          ? whole
          : graph.op("Slice", [whole, graph.ints([shift]), graph.ints([shift + places]), graph.ints([1])]),
      );
    }
  }
  const join = (parts: readonly string[]): string =>
    parts.length === 1 ? parts[0]! : graph.op("Concat", parts, { axis: 0 });
  const product =
    channels < STACKED_CHANNELS
      ? graph.op("MatMul", [join(reads), gradients])
      : join(reads.map((read) => graph.op("MatMul", [read, gradients])));
  const split = graph.op("Reshape", [product, graph.ints([kernelHeight, kernelWidth, channels, filters])]);
  return graph.op("Transpose", [split], { perm: [3, 2, 0, 1] });
}

function pad(graph: Graph, value: string, pads: readonly number[]): string {
  return pads.every((size) => size === 0) ? value : graph.op("Pad", [value, graph.ints(pads)]);
}
