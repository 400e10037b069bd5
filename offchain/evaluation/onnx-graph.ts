/**
 * Builds ONNX graphs from inference operators, for the evaluator's fast path and for whole training steps.
 * A value is referred to by its name; every builder call returns the names of what it made.
 */
import onnxProto from "onnx-proto";

const { onnx } = onnxProto;

/** Element types in use, by ONNX's numbers. */
export const ELEMENT = { float: 1, uint8: 2, int32: 6, int64: 7, bool: 9, double: 11 } as const;
export type Element = (typeof ELEMENT)[keyof typeof ELEMENT];

/** An attribute: an integer, a list of integers, a string, or a float (wrapped, since JavaScript cannot tell 1 from 1.0). */
export type Attribute = number | readonly number[] | string | { readonly float: number };

export interface Graph {
  /** Adds a node with one output and returns its name. @param domain of an operator that is not ONNX's own */
  op(type: string, inputs: readonly string[], attributes?: Record<string, Attribute>, domain?: string): string;
  /** Adds a node with several outputs and returns their names. */
  ops(
    type: string,
    inputs: readonly string[],
    outputs: number,
    attributes?: Record<string, Attribute>,
    domain?: string,
  ): string[];
  /** A float32 constant. @param dims [] for a scalar */
  floats(data: ArrayLike<number>, dims: readonly number[]): string;
  /** A float64 constant. */
  doubles(data: ArrayLike<number>, dims: readonly number[]): string;
  /** An int64 constant: shapes, axes, pads. A vector unless dims are given. */
  ints(data: readonly number[], dims?: readonly number[]): string;
  /** Declares an input and returns its name. */
  input(name: string, dims: readonly (number | string)[], element?: Element): string;
  /** Declares `value` as the output called `name`. */
  output(value: string, name: string, dims: readonly (number | string)[], element?: Element): void;
  /** The serialised model (opset 17, IR 8; other domains in version 1). */
  encode(): Uint8Array;
}

export function createGraph(name = "ponas"): Graph {
  const nodes: object[] = [];
  const initializers: object[] = [];
  const inputs: object[] = [];
  const outputs: object[] = [];
  const domains = new Set([""]);
  let serial = 0;
  const fresh = (stem: string): string => `${stem}_${serial++}`;

  const attribute = (key: string, value: Attribute): object => {
    const { AttributeType } = onnx.AttributeProto;
    if (typeof value === "number") return { name: key, type: AttributeType.INT, i: value };
    if (typeof value === "string") return { name: key, type: AttributeType.STRING, s: Buffer.from(value) };
    if ("float" in value) return { name: key, type: AttributeType.FLOAT, f: value.float };
    return { name: key, type: AttributeType.INTS, ints: [...value] };
  };
  const constant = (dataType: Element, bytes: ArrayBufferView, dims: readonly number[]): string => {
    const id = fresh("c");
    const rawData = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    initializers.push({ name: id, dataType, dims: [...dims], rawData });
    return id;
  };
  const valueInfo = (id: string, dims: readonly (number | string)[], elemType: Element): object => ({
    name: id,
    type: {
      tensorType: {
        elemType,
        shape: { dim: dims.map((dim) => (typeof dim === "number" ? { dimValue: dim } : { dimParam: dim })) },
      },
    },
  });
  const ops: Graph["ops"] = (opType, input, count, attributes = {}, domain = "") => {
    domains.add(domain);
    const output = Array.from({ length: count }, () => fresh(opType));
    nodes.push({
      opType,
      domain,
      name: fresh("n"),
      input: [...input],
      output,
      attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    });
    return output;
  };

  return {
    ops,
    op: (type, input, attributes, domain) => ops(type, input, 1, attributes, domain)[0]!,
    floats: (data, dims) => constant(ELEMENT.float, Float32Array.from(data), dims),
    doubles: (data, dims) => constant(ELEMENT.double, Float64Array.from(data), dims),
    ints: (data, dims = [data.length]) => constant(ELEMENT.int64, BigInt64Array.from(data, BigInt), dims),
    input: (id, dims, element = ELEMENT.float) => {
      inputs.push(valueInfo(id, dims, element));
      return id;
    },
    output: (value, id, dims, element = ELEMENT.float) => {
      nodes.push({ opType: "Identity", name: fresh("n"), input: [value], output: [id] });
      outputs.push(valueInfo(id, dims, element));
    },
    encode: () =>
      onnx.ModelProto.encode(
        onnx.ModelProto.create({
          irVersion: 8,
          producerName: "ponas",
          opsetImport: [...domains].map((domain) => ({ domain, version: domain === "" ? 17 : 1 })),
          graph: { name, node: nodes, initializer: initializers, input: inputs, output: outputs },
        }),
      ).finish(),
  };
}
