import * as dagCbor from "@ipld/dag-cbor";
import { expect } from "chai";
import { concat, encodeAbiParameters, keccak256, numberToHex, stringToBytes, toHex, type Hex } from "viem";

import { HYPERPARAMETERS, type Architecture } from "../../offchain/protocol/architecture.ts";
import { architectureHash, modelRootOf, unitHash } from "../../offchain/protocol/bytes.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { decodeModel, encodeModel, linearWeights, modelRoot, type Model } from "../../offchain/evaluation/model.ts";
import { PLAIN_LAYER, randomArchitecture, randomModel, zeroModel } from "./random-model.ts";

const MAX_BYTES = 1 << 20;

const ARCHITECTURE: Architecture = {
  input: [4, 3, 2],
  classes: 3,
  layers: [
    { ...PLAIN_LAYER, kernelHeight: 3, kernelWidth: 2, filters: 2, weightIntBits: 2, weightFracBits: 6 },
    { ...PLAIN_LAYER, filters: 4, poolSize: 2 },
  ],
  head: { pool: "flatten", hidden: 5, hiddenActIntBits: 2, hiddenActFracBits: 4 },
};

function refusal(bytes: Uint8Array, maxBytes = MAX_BYTES): PonasError {
  try {
    decodeModel(bytes, { maxBytes });
  } catch (error) {
    expect(error).to.be.instanceOf(PonasError);
    return error as PonasError;
  }
  throw new Error("the file was accepted");
}

function expectMalformed(bytes: Uint8Array, message: RegExp): void {
  const error = refusal(bytes);
  expect(error.code).to.equal("malformed-model");
  expect(error.message).to.match(message);
}

/** The file as the library reads it, for changing it. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
function contentOf(model: Model): any {
  return dagCbor.decode(encodeModel(model));
}

/** Replaces the one place where `from` stands in the file. */
function patch(bytes: Uint8Array, from: Uint8Array, to: Uint8Array): Uint8Array {
  const at = Buffer.from(bytes).indexOf(from);
  expect(at).to.be.at.least(0);
  expect(Buffer.from(bytes).indexOf(from, at + 1)).to.equal(-1);
  return concat([bytes.subarray(0, at), to, bytes.subarray(at + from.length)]);
}

describe("the model file", () => {
  const model = randomModel(createRandom(1), ARCHITECTURE);
  const bytes = encodeModel(model);

  it("gives back what went in, and the same bytes again", () => {
    for (let seed = 0; seed < 50; seed++) {
      const random = createRandom(seed);
      const original = randomModel(random, randomArchitecture(random));
      const file = encodeModel(original);
      const decoded = decodeModel(file, { maxBytes: file.length });
      expect(decoded).to.deep.equal(original);
      expect(encodeModel(decoded)).to.deep.equal(file);
      expect(modelRoot(decoded)).to.equal(modelRoot(original));
    }
  });

  it("does not depend on the order of keys or on keys without a value", () => {
    const shuffled: Model = {
      output: model.output,
      hidden: model.hidden,
      layers: model.layers,
      architecture: {
        head: {
          hiddenActFracBits: 4,
          hiddenActIntBits: 2,
          hidden: 5,
          pool: "flatten",
        },
        tiling: undefined,
        layers: ARCHITECTURE.layers.map((layer) => Object.fromEntries(Object.entries(layer).reverse()) as never),
        classes: 3,
        input: [4, 3, 2],
      },
    };
    expect(encodeModel(shuffled)).to.deep.equal(bytes);
  });

  it("carries a tiling", () => {
    const tiling = { tiles: [[1, 2] as [number, number], [3, 4] as [number, number]], groups: [2] };
    const tiled = { ...model, architecture: { ...ARCHITECTURE, tiling } };
    expect(decodeModel(encodeModel(tiled), { maxBytes: MAX_BYTES })).to.deep.equal(tiled);
  });

  it("holds integers as big-endian bytes, unit by unit", () => {
    const zero = zeroModel(ARCHITECTURE);
    zero.layers[0]!.weights.set([1, -2, 300]);
    zero.layers[0]!.bias.set([-1, 70000]);
    const first = contentOf(zero).layers[0] as { weights: Uint8Array; bias: Uint8Array };
    expect(toHex(first.weights.subarray(0, 6))).to.equal("0x0001fffe012c");
    expect(toHex(first.bias)).to.equal("0xffffffff00011170");
  });

  it("is refused over the cap, whatever it holds", () => {
    const error = refusal(bytes, bytes.length - 1);
    expect(error.code).to.equal("model-too-large");
    expect(error.message).to.equal(`The model file has ${bytes.length} bytes, the cap is ${bytes.length - 1}.`);
    expect(refusal(new Uint8Array(10), 9).code).to.equal("model-too-large");
  });

  it("is refused cut short anywhere, and with anything behind it", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(refusal(bytes.subarray(0, length)).code).to.equal("malformed-model");
    }
    expectMalformed(new Uint8Array(), /ends after 0 bytes/);
    expectMalformed(concat([bytes, Uint8Array.of(0)]), /goes on for 1 bytes after its end/);
    expectMalformed(concat([bytes, bytes]), /after its end/);
  });

  it("is refused or is the canonical file of another model, whichever byte changes", () => {
    const random = createRandom(7);
    const outcomes = { refused: 0, another: 0 };
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at]! ^= 1 << random.integer(8);
      try {
        const decoded = decodeModel(changed, { maxBytes: MAX_BYTES });
        expect(encodeModel(decoded)).to.deep.equal(changed);
        expect(modelRoot(decoded)).to.not.equal(modelRoot(model));
        outcomes.another++;
      } catch (error) {
        expect(error).to.be.instanceOf(PonasError).with.property("code", "malformed-model");
        outcomes.refused++;
      }
    }
    expect(outcomes.refused).to.be.greaterThan(100);
    expect(outcomes.another).to.be.greaterThan(100);
  });

  it("is refused with its keys in another order", () => {
    const content = contentOf(model) as Record<string, unknown>;
    const entries = Object.keys(content).map((key) => concat([dagCbor.encode(key), dagCbor.encode(content[key])]));
    expect(entries).to.have.length(4);
    expect(concat([Uint8Array.of(0xa4), ...entries])).to.deep.equal(bytes);
    expectMalformed(concat([Uint8Array.of(0xa4), ...entries.reverse()]), /not canonical/);
  });

  it("is refused with a whole number written as a float", () => {
    const key = concat([Uint8Array.of(0x67), stringToBytes("classes")]);
    const float = dagCbor.encode(0.5);
    new DataView(float.buffer, float.byteOffset).setFloat64(1, 3);
    const changed = patch(bytes, concat([key, Uint8Array.of(3)]), concat([key, float]));
    expectMalformed(changed, /not canonical/);
  });

  it("is refused with a number in more bytes than it needs", () => {
    const key = concat([Uint8Array.of(0x67), stringToBytes("classes")]);
    const changed = patch(bytes, concat([key, Uint8Array.of(3)]), concat([key, Uint8Array.of(0x18, 3)]));
    expectMalformed(changed, /not DAG-CBOR/);
  });

  it("is refused with indefinite lengths", () => {
    expectMalformed(concat([Uint8Array.of(0xbf), bytes.subarray(1), Uint8Array.of(0xff)]), /indefinite/);
    expectMalformed(Uint8Array.of(0x5f, 0x41, 0, 0xff), /indefinite/);
  });

  it("is refused before anything is allocated for the lengths it claims", () => {
    const before = process.memoryUsage().rss;
    expectMalformed(Uint8Array.of(0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), /claims .* bytes/);
    expectMalformed(Uint8Array.of(0x5a, 0xff, 0xff, 0xff, 0xff, 1, 2), /claims 4294967295 bytes at byte 0, where 2/);
    expectMalformed(Uint8Array.of(0x9a, 0xff, 0xff, 0xff, 0xff, 1, 2), /claims 4294967295 values/);
    expectMalformed(Uint8Array.of(0xba, 0xff, 0xff, 0xff, 0xff, 1, 2), /claims 8589934590 values/);
    expectMalformed(new Uint8Array(MAX_BYTES).fill(0x81), /nests deeper/);
    const many = concat([Uint8Array.of(0x9a, 0, 0x0f, 0xff, 0xfb), new Uint8Array(MAX_BYTES - 5).fill(0x80)]);
    expectMalformed(many, /more than 4096 values/);
    const content = contentOf(model);
    content.architecture.layers[0].filters = 65535;
    content.architecture.layers[1].filters = 65535;
    expectMalformed(dagCbor.encode(content), /layer 0 has 24 weights, its shape asks for 65535 × 12/);
    expect(process.memoryUsage().rss - before).to.be.lessThan(200e6);
  });

  it("is refused with links, bytes of another kind, or no map at all", () => {
    expectMalformed(Uint8Array.of(0xd8, 0x2a, 0x41, 0), /tag/);
    expectMalformed(dagCbor.encode(null), /its content is not valid/);
    expectMalformed(dagCbor.encode([1, 2]), /its content is not valid/);
    expectMalformed(dagCbor.encode("model"), /its content is not valid/);
    expectMalformed(stringToBytes('{"architecture":{}}'), /malformed/);
  });

  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  const changes: [string, (content: any) => void, RegExp][] = [
    ["an unknown key", (c) => (c.note = "hello"), /note/],
    ["an unknown key in a layer", (c) => (c.architecture.layers[1].dilation = 2), /architecture\.layers\.1 .*dilation/],
    ["an unknown key beside weights", (c) => (c.output.scale = 1), /output .*scale/],
    [
      "a key of the language",
      (c) => Object.defineProperty(c, "__proto__", { value: 1, enumerable: true }),
      /__proto__/,
    ],
    ["a missing key", (c) => delete c.hidden, /hidden/],
    ["a missing hyperparameter", (c) => delete c.architecture.layers[0].poolSize, /architecture\.layers\.0\.poolSize/],
    ["a fraction", (c) => (c.architecture.classes = 2.5), /architecture\.classes/],
    ["a negative size", (c) => (c.architecture.layers[0].filters = -1), /architecture\.layers\.0\.filters/],
    ["an integer beyond 2^53", (c) => (c.architecture.classes = 2n ** 60n), /architecture\.classes/],
    ["an image of 65 rows", (c) => (c.architecture.input[0] = 65), /architecture\.input\.0/],
    ["null for its bits", (c) => (c.architecture.head.hiddenActIntBits = null), /architecture\.head/],
    ["weights as a list", (c) => (c.layers[0].weights = [1, 2, 3]), /layers\.0\.weights/],
    ["weights of another length", (c) => (c.layers[1].weights = new Uint8Array(18)), /layer 1 has 9 weights/],
    ["half a weight", (c) => (c.layers[1].weights = new Uint8Array(17)), /layer 1 has 8.5 weights/],
    ["biases of another length", (c) => (c.output.bias = new Uint8Array(8)), /the output layer has 2 biases/],
    ["a layer too few", (c) => c.layers.pop(), /2 layers, but there are weights for 1/],
    ["no hidden layer's weights", (c) => (c.hidden = null), /5 hidden units, but no weights/],
    [
      "a hidden layer's weights and no hidden layer",
      (c) => (c.architecture.head = { pool: "flatten", hidden: 0 }),
      /0 hidden units, but there are weights/,
    ],
  ];
  for (const [what, change, message] of changes) {
    it(`is refused with ${what}`, () => {
      const content = contentOf(model);
      change(content);
      expectMalformed(dagCbor.encode(content), message);
    });
  }

  it("is not written where weights do not fit the architecture", () => {
    const short = { ...model, output: { ...model.output, bias: new Int32Array(2) } };
    expect(() => encodeModel(short)).to.throw(PonasError, "The model cannot be written: the output layer has 2 biases");
  });
});

describe("the model root", () => {
  const model = randomModel(createRandom(2), ARCHITECTURE);

  it("follows the byte layouts", () => {
    const tag = (name: string): Hex => keccak256(stringToBytes(`ponas.v1.${name}`));
    const types = (list: string) => list.split(" ").map((type) => ({ type }));
    const hash = (list: string, values: unknown[]): Hex => keccak256(encodeAbiParameters(types(list), values));
    /** kernel rows of the four linear layers: 3 rows of 2·2, 1 of 2, flattened 2×2×4 → 2 rows of 8, hidden → 1 row of 5 */
    const rowsOf = [3, 1, 2, 1];
    const numbers = [0, 1, 2, 3];
    let level = linearWeights(model).flatMap(({ weights, bias }, index) =>
      [...bias].map((b, unit) => {
        const fanIn = weights.length / bias.length;
        const length = fanIn / rowsOf[index]!;
        const rows = Array.from({ length: rowsOf[index]! }, (_, row) => {
          const start = unit * fanIn + row * length;
          const values = [...weights.subarray(start, start + length)];
          return keccak256(concat(values.map((w) => numberToHex(w & 0xffff, { size: 2 }))));
        });
        return hash("bytes32 uint32 uint32 int32 bytes32[]", [tag("unit"), numbers[index], unit, b, rows]);
      }),
    );
    const count = level.length;
    expect(count).to.equal(2 + 4 + 5 + 3);
    while (level.length < 16) level.push(`0x${"00".repeat(32)}`);
    while (level.length > 1) {
      level = Array.from({ length: level.length / 2 }, (_, i) => {
        const [a, b] = [level[2 * i]!, level[2 * i + 1]!].sort() as [Hex, Hex];
        return keccak256(concat([a, b]));
      });
    }
    const expected = hash("bytes32 bytes32 uint32 bytes32", [
      tag("model"),
      architectureHash(ARCHITECTURE),
      count,
      level[0],
    ]);
    expect(modelRoot(model)).to.equal(expected);
  });

  it("numbers the output layer L+1 even where nothing is hidden", () => {
    const flat = zeroModel({
      ...ARCHITECTURE,
      classes: 1,
      layers: [PLAIN_LAYER],
      head: { pool: "global-sum", hidden: 0 },
    });
    const leaves = [
      unitHash(0, 0, 0, [keccak256(new Uint8Array(4))]),
      unitHash(2, 0, 0, [keccak256(new Uint8Array(2))]),
    ];
    expect(modelRoot(flat)).to.equal(modelRootOf(architectureHash(flat.architecture), leaves));
  });

  it("changes with every single weight and bias", () => {
    const roots = new Set([modelRoot(model)]);
    let changes = 0;
    for (const { weights, bias } of linearWeights(model)) {
      for (const values of [weights, bias]) {
        for (let i = 0; i < values.length; i++) {
          values[i]! ^= 1;
          roots.add(modelRoot(model));
          values[i]! ^= 1;
          changes++;
        }
      }
    }
    expect(roots.size).to.equal(changes + 1);
  });

  it("changes with every field of the architecture", () => {
    const roots = new Set<string>();
    const add = (architecture: Architecture) => roots.add(modelRoot(zeroModel(architecture)));
    add(ARCHITECTURE);
    let changes = 1;
    const change = (architecture: Architecture) => {
      add(architecture);
      changes++;
      expect(roots.size).to.equal(changes);
    };
    for (const [index, layer] of ARCHITECTURE.layers.entries()) {
      for (const name of HYPERPARAMETERS) {
        const layers = [...ARCHITECTURE.layers];
        layers[index] = { ...layer, [name]: layer[name] + 1 };
        change({ ...ARCHITECTURE, layers });
      }
    }
    for (const axis of [0, 1, 2]) {
      const input = ARCHITECTURE.input.map((dim, i) => (i === axis ? dim + 1 : dim)) as Architecture["input"];
      change({ ...ARCHITECTURE, input });
    }
    change({ ...ARCHITECTURE, classes: 4 });
    change({ ...ARCHITECTURE, head: { ...ARCHITECTURE.head, pool: "global-sum" } });
    change({ ...ARCHITECTURE, head: { ...ARCHITECTURE.head, hidden: 6 } });
    change({ ...ARCHITECTURE, head: { ...ARCHITECTURE.head, hiddenActIntBits: 3 } });
    change({ ...ARCHITECTURE, head: { ...ARCHITECTURE.head, hiddenActFracBits: 5 } });
    change({ ...ARCHITECTURE, head: { pool: "flatten", hidden: 0 } });
    change({
      ...ARCHITECTURE,
      tiling: {
        tiles: [
          [1, 1],
          [1, 1],
        ],
        groups: [2],
      },
    });
    change({
      ...ARCHITECTURE,
      tiling: {
        tiles: [
          [1, 1],
          [1, 1],
        ],
        groups: [1, 1],
      },
    });
    change({
      ...ARCHITECTURE,
      tiling: {
        tiles: [
          [1, 1],
          [1, 2],
        ],
        groups: [2],
      },
    });
    change({ ...ARCHITECTURE, layers: ARCHITECTURE.layers.slice(0, 1) });
  });
});
