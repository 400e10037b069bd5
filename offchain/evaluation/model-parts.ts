/** A model in the parts that the chain sees: one unit with its proof, the unit that is malformed, and back to a whole. */
import { concat, hexToBytes } from "viem";

import { architectureSchema, HYPERPARAMETERS, type Architecture } from "../protocol/architecture.ts";
import { keccak256, treeProof, type ArchitectureTuple, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { OpenableModel } from "./dispute-openings.ts";
import { linearWeights, type LinearWeights, type Model } from "./model.ts";
import { linearLayers } from "./shapes.ts";
import { MAX_ACCUMULATOR, unitBounds } from "./well-formed.ts";

/** A unit by its layer's number in hashes (docs/bytes.md, "unit"). */
export interface UnitName {
  readonly layer: number;
  readonly index: number;
}

/** `UnitOpening` of the contracts, with all kernel rows. */
export interface WholeUnit {
  readonly bias: number;
  readonly rows: readonly Hex[];
  /** int16 big-endian, joined */
  readonly weights: Hex;
  readonly siblings: readonly Hex[];
}

/** All units of an architecture, in the order of their hashes. */
export function unitNames(architecture: Architecture): UnitName[] {
  return linearLayers(architecture).flatMap(({ number, units }) =>
    Array.from({ length: units }, (_, index) => ({ layer: number, index })),
  );
}

/** Opens a unit; undefined where the architecture has none of that name. */
export function openWholeUnit({ model, units }: OpenableModel, { layer, index }: UnitName): WholeUnit | undefined {
  const place = unitNames(model.architecture).findIndex((name) => name.layer === layer && name.index === index);
  if (place < 0) return undefined;
  const at = linearLayers(model.architecture).findIndex(({ number }) => number === layer);
  const linear = linearLayers(model.architecture)[at]!;
  const { weights, bias } = linearWeights(model)[at]!;
  const rowLength = linear.fanIn / linear.kernelRows;
  const rows = Array.from({ length: linear.kernelRows }, (_, row): Hex => {
    const start = index * linear.fanIn + row * rowLength;
    const bytes = Buffer.alloc(2 * rowLength);
    weights.subarray(start, start + rowLength).forEach((weight, i) => bytes.writeInt16BE(weight, 2 * i));
    return `0x${bytes.toString("hex")}`;
  });
  return {
    bias: bias[index]!,
    rows: rows.map((row) => keccak256(hexToBytes(row))),
    weights: concat(rows),
    siblings: treeProof(units, place),
  };
}

/** The first unit that is malformed by itself: a weight out of its range, or a bound of 2^31 or more; else null. */
export function malformedUnit(model: Model): UnitName | null {
  const parts = linearWeights(model);
  for (const [at, linear] of linearLayers(model.architecture).entries()) {
    const { weights } = parts[at]!;
    const { fanIn, weightMin, weightMax, number: layer } = linear;
    const stray = weights.findIndex((weight) => weight < weightMin || weight > weightMax);
    if (stray >= 0) return { layer, index: Math.floor(stray / fanIn) };
    const index = unitBounds(linear, parts[at]!).findIndex((bound) => bound >= MAX_ACCUMULATOR);
    if (index >= 0) return { layer, index };
  }
  return null;
}

/** The architecture that the chain has published. @throws PonasError malformed-model */
export function architectureOf(tuple: ArchitectureTuple): Architecture {
  const { height, width, channels, classes, layers, pool, hidden, hiddenIntBits, hiddenFracBits, tiles, groups } =
    tuple;
  const bits = { hiddenActIntBits: hiddenIntBits, hiddenActFracBits: hiddenFracBits };
  const parsed = architectureSchema.safeParse({
    input: [height, width, channels],
    classes,
    layers: layers.map((numbers) => Object.fromEntries(HYPERPARAMETERS.map((name, i) => [name, numbers[i]]))),
    head: { pool: pool === 1 ? "flatten" : "global-sum", hidden, ...(hidden > 0 ? bits : {}) },
    ...(tiles.length > 0 ? { tiling: { tiles: tiles.map(([n, m]) => [n, m]), groups: [...groups] } } : {}),
  });
  if (parsed.success) return parsed.data;
  throw new PonasError("malformed-model", "The published architecture is none that a model can have.");
}

/** The model of an architecture, from all its published units. @throws PonasError malformed-model where one does not fit */
export function joinUnits(
  architecture: Architecture,
  unit: (name: UnitName) => Pick<WholeUnit, "bias" | "weights">,
): Model {
  const parts = linearLayers(architecture).map(({ number: layer, units, fanIn }): LinearWeights => {
    const weights = new Int16Array(units * fanIn);
    const bias = new Int32Array(units);
    for (let index = 0; index < units; index++) {
      const part = unit({ layer, index });
      const bytes = Buffer.from(part.weights.slice(2), "hex");
      if (bytes.length !== 2 * fanIn)
        throw new PonasError("malformed-model", `Unit ${index} of layer ${layer} was published with other weights.`);
      for (let i = 0; i < fanIn; i++) weights[index * fanIn + i] = bytes.readInt16BE(2 * i);
      bias[index] = part.bias;
    }
    return { weights, bias };
  });
  const convolutions = architecture.layers.length;
  return {
    architecture,
    layers: parts.slice(0, convolutions),
    hidden: architecture.head.hidden > 0 ? parts[convolutions]! : null,
    output: parts.at(-1)!,
  };
}
