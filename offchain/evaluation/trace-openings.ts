/**
 * Hashes of traced tensors, and what opens a part of one under its hash (docs/bytes.md, "trace"): position =
 * keccak256(channel values, big-endian), row = keccak256(positions joined), tensor = keccak256(rows joined).
 */
import { concat } from "viem";

import { keccak256, type Hex } from "../protocol/bytes.ts";
import { linearWeights, type Model } from "./model.ts";
import type { Trace } from "./reference.ts";
import { traceSteps, type TracedShape, type TraceStep, type ValueBytes, type Window } from "./trace-steps.ts";

/** A tensor's values as they are hashed, with every hash. */
export interface HashedTensor {
  readonly shape: TracedShape;
  /** the values, big-endian, in (row, column, channel) order */
  readonly bytes: Uint8Array;
  /** [row][column] */
  readonly positions: readonly (readonly Hex[])[];
  readonly rows: readonly Hex[];
  readonly hash: Hex;
}

/** What opens a window of a tensor, as the contracts take it (`TensorOpening`). */
export interface TensorOpening {
  /** hashes of all rows, joined */
  readonly rows: Hex;
  /** for each row of the window the hashes of all its positions, joined */
  readonly positions: readonly Hex[];
  /** values of all channels of the window's positions, joined row by row */
  readonly values: Hex;
}

/** A value of a trace, or a logit (the last step, row and column 0). */
export interface TracedPlace {
  readonly step: number;
  readonly row: number;
  readonly column: number;
  readonly channel: number;
}

/** Hashes a tensor. @param values integers in (row, column, channel) order, each within the shape's bytes */
export function hashTensor(values: ArrayLike<number>, shape: TracedShape): HashedTensor {
  const bytes = bigEndian(values, shape.valueBytes);
  const size = shape.channels * shape.valueBytes;
  const positions = Array.from({ length: shape.height }, (_, row) =>
    Array.from({ length: shape.width }, (_, column) => {
      const start = (row * shape.width + column) * size;
      return keccak256(bytes.subarray(start, start + size));
    }),
  );
  const rows = positions.map((row) => keccak256(concat(row)));
  return { shape, bytes, positions, rows, hash: keccak256(concat(rows)) };
}

/** All tensors that a sample's values are read from: the pixels, then those of its trace. */
export function hashTrace({ architecture }: Model, pixels: Uint8Array, { tensors }: Trace): HashedTensor[] {
  const steps = traceSteps(architecture);
  return [
    hashTensor(pixels, steps[0]!.input),
    ...tensors.map(({ values }, index) => hashTensor(values, steps[index]!.output)),
  ];
}

/** Opens a window of a tensor. */
export function openWindow({ shape, bytes, positions, rows }: HashedTensor, window: Window): TensorOpening {
  const size = shape.channels * shape.valueBytes;
  const { top, bottom, left, right } = window;
  const lines = Array.from({ length: bottom - top }, (_, i) => top + i);
  return {
    rows: concat(rows as Hex[]),
    positions: lines.map((row) => concat(positions[row] as Hex[])),
    values: hex(
      ...lines.map((row) => bytes.subarray((row * shape.width + left) * size, (row * shape.width + right) * size)),
    ),
  };
}

/** The values of all channels of a position, big-endian. */
export function valuesAt({ shape, bytes }: HashedTensor, row: number, column: number): Hex {
  const size = shape.channels * shape.valueBytes;
  const start = (row * shape.width + column) * size;
  return hex(bytes.subarray(start, start + size));
}

/** One unit of a linear layer, as its hash binds it (docs/bytes.md, "unit"). */
export interface UnitOpening {
  readonly layer: number;
  readonly unit: number;
  readonly bias: number;
  /** for each kernel row its weights, int16 big-endian */
  readonly rows: readonly Uint8Array[];
}

/** @param index of the layer among {@link linearWeights}; @param unit filter or unit */
export function openUnit(model: Model, step: TraceStep, unit: number): UnitOpening {
  const linear = step.linear!;
  const index = Math.min(linear.number, linearWeights(model).length - 1);
  const { weights, bias } = linearWeights(model)[index]!;
  const rowSize = linear.fanIn / linear.kernelRows;
  const rows = Array.from({ length: linear.kernelRows }, (_, row) => {
    const start = unit * linear.fanIn + row * rowSize;
    return bigEndian(weights.subarray(start, start + rowSize), 2);
  });
  return { layer: linear.number, unit, bias: bias[unit]!, rows };
}

/** The kernel rows of a unit that lie on the tensor where its window stands at `row`, joined. */
export function weightsOnTensor(step: TraceStep, row: number, { rows }: UnitOpening, window: Window): Hex {
  const first = row * step.strideHeight - step.paddingTop;
  return hex(...rows.slice(window.top - first, window.bottom - first));
}

function hex(...parts: readonly Uint8Array[]): Hex {
  return `0x${Buffer.concat(parts).toString("hex")}`;
}

function bigEndian(values: ArrayLike<number>, size: ValueBytes): Uint8Array {
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (size === 1) view.setUint8(i, value);
    else if (size === 2) view.setUint16(2 * i, value);
    else view.setUint32(4 * i, value);
  }
  return bytes;
}
