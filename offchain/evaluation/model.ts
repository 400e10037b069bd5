/**
 * The model: an architecture with its integers, and its file, one deterministic byte string (docs/evaluation.md,
 * "The model file").
 *
 * The file is DAG-CBOR of `{ architecture, layers: [{ weights, bias }], hidden: null | { weights, bias }, output }`.
 * Weights are byte strings of int16, biases of int32, both big-endian, unit by unit, a unit's weights in (row, column,
 * channel) order: so a kernel row's bytes in the file are the bytes that are hashed (docs/bytes.md).
 */
import * as dagCbor from "@ipld/dag-cbor";
import { z } from "zod";

import { architectureSchema, HYPERPARAMETERS, type Architecture, type Layer } from "../protocol/architecture.ts";
import { architectureHash, keccak256, modelRootOf, unitHash, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import { scanCbor } from "./cbor-scan.ts";
import { linearLayers } from "./shapes.ts";

/** The integers of one linear layer. */
export interface LinearWeights {
  /** units × fan-in; of a convolution [filter][row][column][channel], of a dense layer [unit][input] */
  readonly weights: Int16Array;
  /** one a unit, at the scale of the accumulator */
  readonly bias: Int32Array;
}

/** A network: an architecture and all its weights. */
export interface Model {
  readonly architecture: Architecture;
  /** the convolutions, weights in [filter][row][column][channel] order */
  readonly layers: readonly LinearWeights[];
  /** the hidden dense layer, weights [unit][input]; null where the head has none */
  readonly hidden: LinearWeights | null;
  /** the output dense layer, weights [class][input] */
  readonly output: LinearWeights;
}

const linearSchema = z.strictObject({ weights: z.instanceof(Uint8Array), bias: z.instanceof(Uint8Array) });
const fileSchema = z.strictObject({
  architecture: architectureSchema,
  layers: z.array(linearSchema),
  hidden: linearSchema.nullable(),
  output: linearSchema,
});

/** The linear layers' integers, in the order of `linearLayers`. */
export function linearWeights(model: Model): LinearWeights[] {
  return [...model.layers, ...(model.hidden === null ? [] : [model.hidden]), model.output];
}

interface Lengths {
  readonly weights: { readonly length: number };
  readonly bias: { readonly length: number };
}

interface Parts {
  readonly layers: readonly Lengths[];
  readonly hidden: Lengths | null;
  readonly output: Lengths;
}

/** Where the weights do not have the lengths that the architecture gives them, or null. */
export function shapeFault(model: Parts & { readonly architecture: Architecture }): string | null {
  return lengthFault(model.architecture, model, { weight: 1, bias: 1 });
}

function lengthFault(
  architecture: Architecture,
  parts: Parts,
  elementSize: { readonly weight: number; readonly bias: number },
): string | null {
  const { layers, head } = architecture;
  if (parts.layers.length !== layers.length) {
    return `its architecture has ${layers.length} layers, but there are weights for ${parts.layers.length}`;
  }
  if ((parts.hidden !== null) !== head.hidden > 0) {
    return `its architecture has ${head.hidden} hidden units, but ${parts.hidden === null ? "no" : "there are"} weights for them`;
  }
  const given = [...parts.layers, ...(parts.hidden === null ? [] : [parts.hidden]), parts.output];
  for (const [index, linear] of linearLayers(architecture).entries()) {
    const { weights, bias } = given[index]!;
    const count = weights.length / elementSize.weight;
    if (count !== linear.units * linear.fanIn) {
      return `${linear.name} has ${count} weights, its shape asks for ${linear.units} × ${linear.fanIn}`;
    }
    if (bias.length / elementSize.bias !== linear.units) {
      return `${linear.name} has ${bias.length / elementSize.bias} biases, its shape asks for ${linear.units}`;
    }
  }
  return null;
}

/**
 * The canonical file of a model: the same network gives the same bytes.
 * @throws PonasError malformed-model where the weights do not fit the architecture
 */
export function encodeModel(model: Model): Uint8Array {
  const fault = shapeFault(model);
  if (fault !== null) throw new PonasError("malformed-model", `The model cannot be written: ${fault}.`);
  const bytesOf = ({ weights, bias }: LinearWeights) => ({ weights: int16Bytes(weights), bias: int32Bytes(bias) });
  return dagCbor.encode({
    architecture: plainArchitecture(model.architecture),
    layers: model.layers.map(bytesOf),
    hidden: model.hidden === null ? null : bytesOf(model.hidden),
    output: bytesOf(model.output),
  });
}

/** Only the known keys, and no key with an undefined value: DAG-CBOR has no undefined. */
function plainArchitecture({ input, classes, layers, head, tiling }: Architecture): Architecture {
  return {
    input,
    classes,
    layers: layers.map((layer) => Object.fromEntries(HYPERPARAMETERS.map((name) => [name, layer[name]])) as Layer),
    head: {
      pool: head.pool,
      hidden: head.hidden,
      ...(head.hiddenActIntBits === undefined ? {} : { hiddenActIntBits: head.hiddenActIntBits }),
      ...(head.hiddenActFracBits === undefined ? {} : { hiddenActFracBits: head.hiddenActFracBits }),
    },
    ...(tiling === undefined ? {} : { tiling: { tiles: tiling.tiles, groups: tiling.groups } }),
  };
}

/** Values a model file can hold: 64 layers of 10 hyperparameters with keys, weights and tilings come to half of this. */
const MAX_CBOR_ITEMS = 4096;
const MAX_CBOR_DEPTH = 8;

/**
 * Reads a model file that nobody vouches for. What comes out has weights of the lengths its architecture asks for;
 * whether it is well-formed is for `malformation` to say.
 * @param maxBytes the task's size cap
 * @throws PonasError model-too-large above the cap, malformed-model with the fault otherwise
 */
export function decodeModel(bytes: Uint8Array, { maxBytes }: { readonly maxBytes: number }): Model {
  if (bytes.length > maxBytes) {
    throw new PonasError("model-too-large", `The model file has ${bytes.length} bytes, the cap is ${maxBytes}.`);
  }
  const scanFault = scanCbor(bytes, { maxItems: MAX_CBOR_ITEMS, maxDepth: MAX_CBOR_DEPTH });
  if (scanFault !== null) throw malformed(scanFault);

  let value: unknown;
  try {
    value = dagCbor.decode(bytes);
  } catch (cause) {
    throw malformed(`it is not DAG-CBOR (${cause instanceof Error ? cause.message : String(cause)})`, cause);
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw malformed(`${path.length === 0 ? "its content" : path.join(".")} is not valid: ${message}`);
  }
  const { architecture, layers, hidden, output } = parsed.data;
  const fault = lengthFault(architecture, parsed.data, { weight: 2, bias: 4 });
  if (fault !== null) throw malformed(fault);

  const integers = (linear: z.infer<typeof linearSchema>): LinearWeights => ({
    weights: int16Values(linear.weights),
    bias: int32Values(linear.bias),
  });
  const model: Model = {
    architecture,
    layers: layers.map(integers),
    hidden: hidden === null ? null : integers(hidden),
    output: integers(output),
  };
  if (Buffer.compare(encodeModel(model), bytes) !== 0) {
    throw malformed("it is not canonical: its content encodes to other bytes (key order, number format)");
  }
  return model;
}

function malformed(fault: string, cause?: unknown): PonasError {
  return new PonasError("malformed-model", `The model file is malformed: ${fault}.`, { cause });
}

/** The leaves under a model's root: every unit of every linear layer, in their order (docs/bytes.md, "unit"). */
export function unitHashes(model: Model): Hex[] {
  const weights = linearWeights(model);
  return linearLayers(model.architecture).flatMap((linear, index) => {
    const bytes = int16Bytes(weights[index]!.weights);
    const rowBytes = (2 * linear.fanIn) / linear.kernelRows;
    return Array.from({ length: linear.units }, (_, unit) => {
      const start = unit * 2 * linear.fanIn;
      const rows = Array.from({ length: linear.kernelRows }, (_, row) =>
        keccak256(bytes.subarray(start + row * rowBytes, start + (row + 1) * rowBytes)),
      );
      return unitHash(linear.number, unit, weights[index]!.bias[unit]!, rows);
    });
  });
}

/** modelRoot of docs/bytes.md: binds the architecture and every weight and bias. */
export function modelRoot(model: Model): Hex {
  return modelRootOf(architectureHash(model.architecture), unitHashes(model));
}

function int16Bytes(values: Int16Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(2 * values.length));
  for (let i = 0; i < values.length; i++) view.setInt16(2 * i, values[i]!);
  return new Uint8Array(view.buffer);
}

function int32Bytes(values: Int32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (let i = 0; i < values.length; i++) view.setInt32(4 * i, values[i]!);
  return new Uint8Array(view.buffer);
}

function int16Values(bytes: Uint8Array): Int16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Int16Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = view.getInt16(2 * i);
  return values;
}

function int32Values(bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Int32Array(bytes.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = view.getInt32(4 * i);
  return values;
}
