/**
 * The rules of contracts/Disputes.sol for one challenge, in memory: so that the agents' own moves can be played by the
 * thousand. It computes values by itself, from the opened bytes alone.
 */
import { concat, hexToBytes } from "viem";

import type { Challenge, DisputesContract, Shown } from "../../offchain/agents/disputes-contract.ts";
import type { Computation, ModelOpening, ShownTrace } from "../../offchain/evaluation/dispute-openings.ts";
import { modelRoot } from "../../offchain/evaluation/model.ts";
import { traceSteps, windowOf, type TraceStep, type Window } from "../../offchain/evaluation/trace-steps.ts";
import {
  commitTestSet,
  keccak256,
  labelsHash,
  sampleLeaf,
  unitHash,
  ZERO_ADDRESS,
  type Hex,
} from "../../offchain/protocol/bytes.ts";
import { argmax, type Setting } from "./lies.ts";

/** The chain takes no such move. */
export class Refused extends Error {}

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Refused(what);
}

type Moves = Pick<
  DisputesContract,
  "answerTrace" | "pickTensor" | "answerRows" | "pickRow" | "answerPositions" | "pickColumn" | "answerValues" | "prove"
>;

/** What a task's registry knows of the candidate and of the test set. */
export function createReferee({ network, openable, pixels, labels }: Setting) {
  const { architecture } = network;
  const [height, width, channels] = architecture.input;
  const { samplesRoot } = commitTestSet(pixels, labels, { height, width, channels, classes: architecture.classes });
  const labelsRoot = labelsHash(labels);
  const steps = traceSteps(architecture);
  const root = modelRoot(network);
  const known = new WeakMap<ModelOpening, boolean>([[openable.opening, true]]);

  /** A challenge of a sample, waiting for its first answer. */
  return function challenge(sample: number) {
    let state: Challenge = {
      id: 1n,
      taskId: 1n,
      stage: "Trace",
      challenger: ZERO_ADDRESS,
      participant: ZERO_ADDRESS,
      sample,
      prediction: labels[sample]!,
      deadline: 0,
      step: 0,
      row: 0,
      column: 0,
      channel: 0,
      kernelRow: 0,
      ofSeal: false,
      defender: ZERO_ADDRESS,
    };
    let disputed: Hex = root;
    let sum = 0;
    let trace: ShownTrace | undefined;
    let shown: Shown = {};
    const move = (stage: Challenge["stage"], next: Challenge["stage"], changes: Partial<Challenge> = {}): void => {
      check(state.stage === stage, `wrong stage ${state.stage}`);
      state = { ...state, ...changes, stage: next };
    };
    const open = (bytes: Hex, hashes: number): void => {
      check(bytes.length === 2 + 64 * hashes, "length");
      check(keccak256(bytes) === disputed, "hash");
    };
    const pick = (hashes: Hex, index: number): Hex => {
      check(keccak256(hashes) === disputed && 64 * (index + 1) <= hashes.length - 2, "pick");
      return `0x${hashes.slice(2 + 64 * index, 2 + 64 * (index + 1))}`;
    };
    const checkModel = (model: ModelOpening): void => check(known.get(model) === true, "another model");
    const checkTrace = (given: ShownTrace): void =>
      check(
        trace !== undefined && given.tensors.join() === trace.tensors.join() && given.logits.join() === trace.logits.join(), // prettier-ignore
        "another trace",
      );

    const moves: Moves = {
      answerTrace: async (_id, model, given) => {
        checkModel(model);
        check(given.tensors.length === steps.length - 1, "tensors");
        check(given.logits.length === architecture.classes, "logits");
        check(argmax(given.logits) === state.prediction, "class");
        move("Trace", "Tensor");
        trace = given;
        shown = { trace: given };
      },
      pickTensor: async (_id, model, given, step) => {
        checkModel(model);
        checkTrace(given);
        check(step < steps.length, "step");
        move("Tensor", step === steps.length - 1 ? "Proof" : "Rows", { step });
        if (step < steps.length - 1) disputed = given.tensors[step]!;
      },
      answerRows: async (_id, rows) => {
        open(rows, steps[state.step]!.output.height);
        move("Rows", "Row");
        shown = { ...shown, rows };
      },
      pickRow: async (_id, rows, row) => {
        const hash = pick(rows, row);
        move("Row", "Positions", { row });
        disputed = hash;
      },
      answerPositions: async (_id, positions) => {
        open(positions, steps[state.step]!.output.width);
        move("Positions", "Column");
        shown = { ...shown, positions };
      },
      pickColumn: async (_id, positions, column) => {
        const hash = pick(positions, column);
        move("Column", "Values", { column });
        disputed = hash;
      },
      answerValues: async (_id, values) => {
        const { channels: count, valueBytes } = steps[state.step]!.output;
        check(values.length === 2 + 2 * count * valueBytes, "length");
        check(keccak256(values) === disputed, "hash");
        move("Values", "Proof");
        shown = { ...shown, values };
      },
      prove: async (_id, c) => {
        check(state.stage === "Proof", "wrong stage");
        checkModel(c.model);
        checkTrace(c.trace);
        const step = steps[state.step]!;
        check(c.channel < step.output.channels, "channel");
        check(state.kernelRow === 0 || c.channel === state.channel, "another channel");
        check(c.toKernelRow > state.kernelRow && c.toKernelRow <= step.windowHeight, "kernel rows");
        check(step.linear !== null || c.toKernelRow === step.windowHeight, "kernel rows");
        const part = compute(step, c);
        if (c.toKernelRow < step.windowHeight) {
          sum += part;
          return move("Proof", "Proof", { channel: c.channel, kernelRow: c.toKernelRow });
        }
        const computed = step.linear === null ? part : finish(step, sum + part + c.unit.bias);
        move("Proof", computed === claimedBy(step, c) ? "Upheld" : "Refuted");
      },
    };

    /** What the kernel rows of one part add; for a pool or a sum the value. */
    function compute(step: TraceStep, c: Computation): number {
      const window = windowOf(step, state.row, state.column, state.kernelRow, c.toKernelRow);
      const read = state.step === 0 ? readSample(c, window) : readTensor(step, c, window);
      const { valueBytes, channels: inputs } = step.input;
      const value = (i: number): number => parseInt(read.slice(2 * i * valueBytes, 2 * (i + 1) * valueBytes), 16);
      const positions = (window.bottom - window.top) * (window.right - window.left);
      if (step.linear === null) {
        const all = Array.from({ length: positions }, (_, i) => value(i * inputs + c.channel));
        return step.operation === "sum" ? all.reduce((a, b) => a + b, 0) : Math.max(...all);
      }
      const { rows, weights, siblings, bias } = c.unit;
      const rowBytes = 2 * step.windowWidth * inputs;
      const bytes = hexToBytes(weights);
      check(rows.length === step.windowHeight, "rows of the unit");
      check(bytes.length === (window.bottom - window.top) * rowBytes, "weights");
      const firstKernelRow = window.top - (state.row * step.strideHeight - step.paddingTop);
      for (let i = 0; i < window.bottom - window.top; i++) {
        const hash = keccak256(bytes.subarray(i * rowBytes, (i + 1) * rowBytes));
        check(hash === rows[firstKernelRow + i], "kernel row");
      }
      const leaf = unitHash(step.linear.number, c.channel, bias, rows);
      check(proves(leaf, siblings, c.model.unitsRoot), "unit");
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const firstColumn = window.left - (state.column * step.strideWidth - step.paddingLeft);
      const perRow = (window.right - window.left) * inputs;
      let acc = 0;
      for (let y = 0; y < window.bottom - window.top; y++) {
        for (let i = 0; i < perRow; i++) {
          acc += value(y * perRow + i) * view.getInt16(y * rowBytes + 2 * (firstColumn * inputs + i));
        }
      }
      return acc;
    }

    function readSample(c: Computation, window: Window): string {
      check(c.sample.labels === labelsRoot && c.sample.samplesRoot === samplesRoot, "test set");
      const given = hexToBytes(c.sample.pixels);
      check(given.length === height * width * channels, "pixels");
      check(proves(sampleLeaf(sample, given), c.sample.siblings, samplesRoot), "sample");
      let read = "";
      for (let y = window.top; y < window.bottom; y++) {
        const at = (x: number): number => 2 + 2 * (y * width + x) * channels;
        read += c.sample.pixels.slice(at(window.left), at(window.right));
      }
      return read;
    }

    function readTensor(step: TraceStep, c: Computation, window: Window): string {
      const { rows, positions, values } = c.input;
      const { height: lines, width: columns, channels: depth, valueBytes } = step.input;
      check(rows.length === 2 + 64 * lines && keccak256(rows) === c.trace.tensors[state.step - 1], "rows");
      check(positions.length === window.bottom - window.top, "positions");
      const size = 2 * depth * valueBytes;
      const count = window.right - window.left;
      check(values.length === 2 + positions.length * count * size, "values");
      for (const [i, row] of positions.entries()) {
        check(row.length === 2 + 64 * columns && word(rows, window.top + i) === keccak256(row), "row");
        for (let j = 0; j < count; j++) {
          const at = 2 + (i * count + j) * size;
          check(word(row, window.left + j) === keccak256(`0x${values.slice(at, at + size)}`), "position");
        }
      }
      return values.slice(2);
    }

    function claimedBy(step: TraceStep, c: Computation): number {
      if (state.step === steps.length - 1) return c.trace.logits[c.channel]!;
      check(keccak256(c.claimed) === disputed, "claimed values");
      const digits = 2 * step.output.valueBytes;
      return parseInt(c.claimed.slice(2 + c.channel * digits, 2 + (c.channel + 1) * digits), 16);
    }

    return {
      disputes: moves as DisputesContract,
      state: (): Challenge => state,
      shown: (): Shown => shown,
      /** The clock of whoever is to move runs out. */
      timeOut: (): void => {
        const claimants = ["Trace", "Rows", "Positions", "Values"].includes(state.stage);
        state = { ...state, stage: claimants ? "Refuted" : "Upheld" };
      },
    };
  };
}

/** Rule 3 of docs/evaluation.md in integers of any size. */
function finish({ linear }: TraceStep, sum: number): number {
  if (linear === null || linear.requantise === null) return sum;
  const { shift, max } = linear.requantise;
  const y = shift > 0 ? (BigInt(sum) + (1n << BigInt(shift - 1))) >> BigInt(shift) : BigInt(sum) << BigInt(-shift);
  return Number(y < 0n ? 0n : y > BigInt(max) ? BigInt(max) : y);
}

function word(hashes: Hex, index: number): Hex {
  return `0x${hashes.slice(2 + 64 * index, 2 + 64 * (index + 1))}`;
}

function proves(leaf: Hex, siblings: readonly Hex[], root: Hex): boolean {
  return siblings.reduce((a, b) => keccak256(a < b ? concat([a, b]) : concat([b, a])), leaf) === root;
}
