/**
 * The steps from a sample's pixels to its logits: one for every tensor of a trace, in its order, and one for the
 * logits (docs/protocol.md, "Trace of a sample"). The chain derives the same from an architecture
 * (contracts/libraries/Networks.sol).
 */
import type { Architecture } from "../protocol/architecture.ts";
import { linearLayers, networkShapes, type LinearLayer, type TensorShape } from "./shapes.ts";

/** Bytes of one value in hashes and openings, big-endian: pixels 1, activations 2, sums 4. */
export type ValueBytes = 1 | 2 | 4;

export interface TracedShape extends TensorShape {
  readonly valueBytes: ValueBytes;
}

/** How one position of a tensor comes from a window of the tensor before it. */
export interface TraceStep {
  readonly operation: "linear" | "max-pool" | "sum";
  /** a linear step's layer; null for others */
  readonly linear: LinearLayer | null;
  readonly input: TracedShape;
  readonly output: TracedShape;
  readonly windowHeight: number;
  readonly windowWidth: number;
  readonly strideHeight: number;
  readonly strideWidth: number;
  /** rows and columns of the first window that lie before the tensor */
  readonly paddingTop: number;
  readonly paddingLeft: number;
}

/** All steps; the last one makes the logits. Step i reads what step i − 1 made, the first one the pixels. */
export function traceSteps(architecture: Architecture): TraceStep[] {
  const shapes = networkShapes(architecture);
  const linear = linearLayers(architecture, shapes);
  const steps: TraceStep[] = [];
  const [height, width, channels] = architecture.input;
  let input: TracedShape = { height, width, channels, valueBytes: 1 };
  const append = (step: Omit<TraceStep, "input">): void => {
    steps.push({ ...step, input });
    input = step.output;
  };

  for (const [index, layer] of architecture.layers.entries()) {
    const { convolution, pool, padding, poolPadding } = shapes.layers[index]!;
    append({
      operation: "linear",
      linear: linear[index]!,
      output: { ...convolution, valueBytes: 2 },
      windowHeight: layer.kernelHeight,
      windowWidth: layer.kernelWidth,
      strideHeight: layer.strideHeight,
      strideWidth: layer.strideWidth,
      paddingTop: padding.top,
      paddingLeft: padding.left,
    });
    if (layer.poolSize > 1) {
      append({
        operation: "max-pool",
        linear: null,
        output: { ...pool, valueBytes: 2 },
        ...square(layer.poolSize),
        paddingTop: poolPadding.top,
        paddingLeft: poolPadding.left,
      });
    }
  }
  if (architecture.head.pool === "global-sum") {
    const features = input;
    append({
      operation: "sum",
      linear: null,
      ...covering(1, features.width),
      output: { ...features, width: 1, valueBytes: 4 },
    });
    append({ operation: "sum", linear: null, ...covering(features.height, 1), output: { ...input, height: 1 } });
  }
  for (const dense of linear.slice(architecture.layers.length)) {
    append({
      operation: "linear",
      linear: dense,
      ...covering(input.height, input.width),
      output: { height: 1, width: 1, channels: dense.units, valueBytes: dense.requantise === null ? 4 : 2 },
    });
  }
  return steps;
}

function square(size: number): Pick<TraceStep, "windowHeight" | "windowWidth" | "strideHeight" | "strideWidth"> {
  return { windowHeight: size, windowWidth: size, strideHeight: size, strideWidth: size };
}

/** One window that covers so many rows and columns, without padding. */
function covering(height: number, width: number) {
  return {
    windowHeight: height,
    windowWidth: width,
    strideHeight: height,
    strideWidth: width,
    paddingTop: 0,
    paddingLeft: 0,
  };
}

/** The part of a tensor that one value reads: half-open ranges of rows and columns, cut to the tensor. */
export interface Window {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** What the kernel rows `from` … `to` − 1 of the window at (row, column) read. */
export function windowOf(step: TraceStep, row: number, column: number, from = 0, to = step.windowHeight): Window {
  const cut = (start: number, size: number): number => Math.min(Math.max(start, 0), size);
  const top = row * step.strideHeight - step.paddingTop;
  const left = column * step.strideWidth - step.paddingLeft;
  return {
    top: cut(top + from, step.input.height),
    bottom: cut(top + to, step.input.height),
    left: cut(left, step.input.width),
    right: cut(left + step.windowWidth, step.input.width),
  };
}
