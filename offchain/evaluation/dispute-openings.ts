/** What the sides of a dispute give the chain: openings of a model, a sample, and one computation (docs/protocol.md, "Disputes"). */
import {
  architectureTuple,
  labelsHash,
  sampleLeaf,
  treeProof,
  treeRoot,
  keccak256,
  type ArchitectureTuple,
  type Hex,
} from "../protocol/bytes.ts";
import { unitHashes, type Model } from "./model.ts";
import type { Trace } from "./reference.ts";
import {
  hashTrace,
  openUnit,
  openWindow,
  weightsOnTensor,
  type HashedTensor,
  type TensorOpening,
  type TracedPlace,
} from "./trace-openings.ts";
import { traceSteps, windowOf } from "./trace-steps.ts";

/** `ModelOpening` of the contracts. */
export interface ModelOpening {
  readonly architecture: ArchitectureTuple;
  readonly units: number;
  readonly unitsRoot: Hex;
}

/** `SampleOpening`. */
export interface SampleOpening {
  readonly pixels: Hex;
  readonly labels: Hex;
  readonly samplesRoot: Hex;
  readonly siblings: readonly Hex[];
}

/** `Computation`: one value, or a part of its sum. */
export interface Computation {
  readonly model: ModelOpening;
  readonly trace: ShownTrace;
  readonly claimed: Hex;
  readonly channel: number;
  readonly toKernelRow: number;
  readonly input: TensorOpening;
  readonly sample: SampleOpening;
  readonly unit: { readonly bias: number; readonly rows: Hex[]; readonly weights: Hex; readonly siblings: Hex[] };
}

/** `Trace`: hashes of the tensors, pixels not among them, and the logits. */
export interface ShownTrace {
  readonly tensors: readonly Hex[];
  readonly logits: readonly number[];
}

/** A sample's trace with every hash: what one side of a dispute knows. */
export interface KnownTrace {
  /** the pixels, then every tensor of the trace */
  readonly tensors: readonly HashedTensor[];
  readonly logits: readonly number[];
}

export function knowTrace(model: Model, pixels: Uint8Array, trace: Trace): KnownTrace {
  return { tensors: hashTrace(model, pixels, trace), logits: [...trace.logits] };
}

export function showTrace({ tensors, logits }: KnownTrace): ShownTrace {
  return { tensors: tensors.slice(1).map(({ hash }) => hash), logits };
}

/** A model as both sides open it; units are hashed once. */
export interface OpenableModel {
  readonly model: Model;
  readonly opening: ModelOpening;
  readonly units: readonly Hex[];
}

export function openModel(model: Model): OpenableModel {
  const units = unitHashes(model);
  const opening = {
    architecture: architectureTuple(model.architecture),
    units: units.length,
    unitsRoot: treeRoot(units),
  };
  return { model, opening, units };
}

/** Opens sample `index` of a test set. @param pixels of all samples @param labels of all samples */
export function openSample(pixels: Uint8Array, labels: Uint8Array, index: number): SampleOpening {
  const size = pixels.length / labels.length;
  const sample = (i: number): Uint8Array => pixels.subarray(i * size, (i + 1) * size);
  const leaves = Array.from(labels, (_, i) => sampleLeaf(i, sample(i)));
  return {
    pixels: `0x${Buffer.from(sample(index)).toString("hex")}`,
    labels: labelsHash(labels),
    samplesRoot: treeRoot(leaves),
    siblings: treeProof(leaves, index),
  };
}

const NO_TENSOR: TensorOpening = { rows: "0x", positions: [], values: "0x" };
const NO_SAMPLE: SampleOpening = {
  pixels: "0x",
  labels: `0x${"00".repeat(32)}`,
  samplesRoot: `0x${"00".repeat(32)}`,
  siblings: [],
};
const NO_UNIT: Computation["unit"] = { bias: 0, rows: [], weights: "0x", siblings: [] };

/**
 * The computation of a value from what the claimant showed: everything before the disputed step is what both sides agree on.
 * @param trace the challenger's own
 * @param shown the claimant's
 * @param claimed the values that the claimant opened at the position; "0x" for a logit
 * @param sample needed where the first step is disputed
 */
export function openComputation(
  { model, opening, units }: OpenableModel,
  trace: KnownTrace,
  shown: ShownTrace,
  place: TracedPlace,
  { claimed, sample, from = 0, to }: { claimed: Hex; sample?: SampleOpening; from?: number; to?: number },
): Computation {
  const step = traceSteps(model.architecture)[place.step]!;
  const toKernelRow = to ?? step.windowHeight;
  const window = windowOf(step, place.row, place.column, from, toKernelRow);
  const computation = {
    model: opening,
    trace: shown,
    claimed,
    channel: place.channel,
    toKernelRow,
    input: place.step === 0 ? NO_TENSOR : openWindow(trace.tensors[place.step]!, window),
    sample: place.step === 0 && sample !== undefined ? sample : NO_SAMPLE,
    unit: NO_UNIT,
  };
  if (step.linear === null) return computation;
  const unit = openUnit(model, step, place.channel);
  const before = traceSteps(model.architecture)
    .slice(0, place.step)
    .reduce((sum, { linear }) => sum + (linear?.units ?? 0), 0);
  return {
    ...computation,
    unit: {
      bias: unit.bias,
      rows: unit.rows.map((row) => keccak256(row)),
      weights: weightsOnTensor(step, place.row, unit, window),
      siblings: treeProof(units, before + place.channel),
    },
  };
}

/** Where two sides first differ: the step, or null where they agree on everything. */
export function firstDifference(own: KnownTrace, shown: ShownTrace): number | null {
  const { tensors, logits } = showTrace(own);
  const tensor = tensors.findIndex((hash, i) => hash !== shown.tensors[i]);
  if (tensor >= 0) return tensor;
  return logits.some((logit, i) => logit !== shown.logits[i]) ? tensors.length : null;
}
