import { expect } from "chai";
import { AbiCoder, concat, keccak256, toUtf8Bytes, zeroPadValue } from "ethers";

import type { Architecture, Space } from "../../offchain/protocol/architecture.ts";
import * as bytes from "../../offchain/protocol/bytes.ts";
import type { Address, Hex } from "../../offchain/protocol/bytes.ts";
import { createRandom } from "../../offchain/protocol/random.ts";

// The layouts of docs/bytes.md once more, written with ethers' encoder: the code under test uses viem's.
const T = (name: string): string => keccak256(toUtf8Bytes(`ponas.v1.${name}`));
const encoder = AbiCoder.defaultAbiCoder();
const H = (types: string, ...values: unknown[]): string => keccak256(encoder.encode(types.split(" "), values));
const lengthOf = (types: string, ...values: unknown[]): number =>
  (encoder.encode(types.split(" "), values).length - 2) / 2;

const random = createRandom("protocol bytes");
const someBytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => random.integer(256));
const hash = (): Hex => bytes.bytesToHex(someBytes(32));
const address = (): Address => bytes.bytesToHex(someBytes(20));

const layer = { kernelHeight: 1, kernelWidth: 2, filters: 3, strideHeight: 4, strideWidth: 5, poolSize: 6, actIntBits: 7, actFracBits: 8, weightIntBits: 9, weightFracBits: 10 }; // prettier-ignore
const architecture: Architecture = {
  input: [28, 27, 3],
  classes: 11,
  layers: [layer, { ...layer, filters: 65535 }],
  head: { pool: "global-sum", hidden: 0 },
};
const ARCH = "bytes32 uint16 uint16 uint16 uint16 uint16[10][] uint8 uint16 uint8 uint8 uint16[2][] uint8[]";

describe("bytes", () => {
  it("tags are the keccak of their names, all different", () => {
    // keccak256("ponas.v1.model"), so that both encoders being wrong alike would show
    expect(bytes.tag("model")).to.equal(T("model"));
    expect(bytes.keccak256(new Uint8Array())).to.equal(
      "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    );
    const names = ["commit", "key", "arch", "space", "unit", "model", "test", "labels", "sample", "result", "claim", "seal", "block"]; // prettier-ignore
    expect(new Set(names.map(bytes.tag)).size).to.equal(names.length);
  });

  describe("blocks", () => {
    for (const [length, lengths] of [
      [0, []],
      [1, [1]],
      [511, [511]],
      [512, [512]],
      [513, [512, 1]],
      [1024, [512, 512]],
      [1025, [512, 512, 1]],
    ] as const) {
      it(`of ${length} bytes are ${lengths.length}`, () => {
        const data = someBytes(length);
        let at = 0;
        const expected = lengths.map((size) => keccak256(data.slice(at, (at += size))));
        expect(bytes.blocks(data)).to.deep.equal(expected);
        expect(bytes.resultHash(data)).to.equal(H("bytes32 uint32 bytes32[]", T("result"), length, expected));
        expect(bytes.labelsHash(data)).to.equal(H("bytes32 uint32 bytes32[]", T("labels"), length, expected));
      });
    }

    it("read a view into a larger buffer as its own bytes", () => {
      const whole = someBytes(2000);
      expect(bytes.blocks(whole.subarray(100, 800))).to.deep.equal(bytes.blocks(whole.slice(100, 800)));
    });

    it("tell apart predictions that differ in their number alone", () => {
      expect(bytes.resultHash(new Uint8Array(512))).not.to.equal(bytes.resultHash(new Uint8Array(1024)));
      expect(bytes.resultHash(new Uint8Array(5))).not.to.equal(bytes.resultHash(new Uint8Array(6)));
    });
  });

  describe("trees", () => {
    const pair = (a: string, b: string): string => keccak256(a < b ? concat([a, b]) : concat([b, a]));
    const ZERO = zeroPadValue("0x", 32);

    it("of one leaf are that leaf, of two their sorted pair", () => {
      const [a, b] = [hash(), hash()];
      expect(bytes.treeRoot([a])).to.equal(a);
      expect(bytes.treeRoot([a, b])).to.equal(pair(a, b));
      expect(bytes.treeRoot([b, a])).to.equal(pair(a, b));
    });

    it("are padded with zero to a power of two", () => {
      const [a, b, c, d, e] = Array.from({ length: 5 }, hash) as [Hex, Hex, Hex, Hex, Hex];
      expect(bytes.treeRoot([a, b, c])).to.equal(pair(pair(a, b), pair(c, ZERO)));
      expect(bytes.treeRoot([a, b, c, d, e])).to.equal(
        pair(pair(pair(a, b), pair(c, d)), pair(pair(e, ZERO), pair(ZERO, ZERO))),
      );
      expect(bytes.treeLevels([a, b, c, d, e]).map((level) => level.length)).to.deep.equal([8, 4, 2, 1]);
    });

    it("give every leaf a proof that leads to the root, and no other leaf's", () => {
      for (const count of [1, 2, 3, 4, 5, 8, 9, 33]) {
        const leaves = Array.from({ length: count }, hash);
        const root = bytes.treeRoot(leaves);
        for (const [index, leaf] of leaves.entries()) {
          const proof = bytes.treeProof(leaves, index);
          expect(proof).to.have.length(Math.ceil(Math.log2(count)));
          expect(proof.reduce<string>(pair, leaf)).to.equal(root);
          expect(proof.reduce<string>(pair, hash())).not.to.equal(root);
        }
      }
    });

    it("need a leaf", () => {
      expect(() => bytes.treeRoot([])).to.throw(RangeError, "at least one leaf");
    });
  });

  it("no leaf's preimage has the 64 bytes of an inner node's", () => {
    const lengths = {
      sample: lengthOf("bytes32 uint32 bytes32", T("sample"), 0, hash()),
      unit: lengthOf("bytes32 uint32 uint32 int32 bytes32[]", T("unit"), 0, 0, 0, [hash()]),
      unitWithoutRows: lengthOf("bytes32 uint32 uint32 int32 bytes32[]", T("unit"), 0, 0, 0, []),
      points: lengthOf("bytes32 uint32 address uint128", T("points-leaf"), 0, address(), 0),
    };
    expect(lengths).to.deep.equal({ sample: 96, unit: 224, unitWithoutRows: 192, points: 128 });
  });

  it("hash a test set with its shape, its labels and its samples in their order", () => {
    const shape = { height: 2, width: 3, channels: 1, classes: 10 };
    const pixels = someBytes(3 * 6);
    const labels = Uint8Array.of(1, 0, 9);
    const leaves = [0, 1, 2].map((i) =>
      H("bytes32 uint32 bytes32", T("sample"), i, keccak256(pixels.slice(6 * i, 6 * i + 6))),
    ) as Hex[];
    expect(bytes.sampleLeaf(2, pixels.subarray(12))).to.equal(leaves[2]);
    const samplesRoot = bytes.treeRoot(leaves);
    const labelsHash = H("bytes32 uint32 bytes32[]", T("labels"), 3, [keccak256(labels)]);
    const types = "bytes32 uint32 uint16 uint16 uint16 uint16 bytes32 bytes32";
    const testRoot = H(types, T("test"), 3, 2, 3, 1, 10, labelsHash, samplesRoot);
    expect(bytes.commitTestSet(pixels, labels, shape)).to.deep.equal({ testRoot, samplesRoot, count: 3 });
    // height and width exchanged, the same bytes
    const turned = bytes.commitTestSet(pixels, labels, { ...shape, height: 3, width: 2 });
    expect(turned.samplesRoot).to.equal(samplesRoot);
    expect(turned.testRoot).not.to.equal(testRoot);
    expect(() => bytes.commitTestSet(pixels, labels.subarray(1), shape)).to.throw(RangeError, "18 pixels for 2 × 6");
  });

  describe("architectures", () => {
    const layers = [
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      [1, 2, 65535, 4, 5, 6, 7, 8, 9, 10],
    ];

    it("are hashed field by field in the order of the interface", () => {
      expect(bytes.architectureHash(architecture)).to.equal(
        H(ARCH, T("arch"), 28, 27, 3, 11, layers, 0, 0, 0, 0, [], []),
      );
    });

    it("are hashed with head, hidden layer and tiling", () => {
      const whole: Architecture = {
        ...architecture,
        head: { pool: "flatten", hidden: 128, hiddenActIntBits: 2, hiddenActFracBits: 5 },
        tiling: { tiles: [[4, 8], [16, 3]], groups: [2, 1] }, // prettier-ignore
      };
      expect(bytes.architectureHash(whole)).to.equal(
        H(ARCH, T("arch"), 28, 27, 3, 11, layers, 1, 128, 2, 5, [[4, 8], [16, 3]], [2, 1]), // prettier-ignore
      );
    });

    it("do not depend on the order in which a file names their fields", () => {
      const reversed = Object.fromEntries(Object.entries(layer).reverse()) as typeof layer;
      expect(bytes.architectureHash({ ...architecture, layers: [reversed, architecture.layers[1]!] })).to.equal(
        bytes.architectureHash(architecture),
      );
    });

    it("and spaces: ten lists, in which order and repetition count", () => {
      const lists = Array.from({ length: 10 }, (_, i) => [i + 1, i + 2]);
      const names = Object.keys(layer);
      const space = Object.fromEntries(names.map((name, i) => [name, lists[i]!])) as Space;
      const template = { depth: 3, head: { pool: "flatten", hidden: 5, hiddenActIntBits: 2, hiddenActFracBits: 6 } } as const; // prettier-ignore
      expect(bytes.spaceHash(space, template)).to.equal(
        H("bytes32 uint16[][] uint16 uint8 uint16 uint8 uint8", T("space"), lists, 3, 1, 5, 2, 6),
      );
      const of = (filters: number[]): unknown => bytes.spaceHash({ ...space, filters }, template);
      expect(of([4, 3])).not.to.equal(of([3, 4]));
      const bare = { depth: 1, head: { pool: "global-sum", hidden: 0 } } as const;
      expect(bytes.spaceHash(space, bare)).to.equal(
        H("bytes32 uint16[][] uint16 uint8 uint16 uint8 uint8", T("space"), lists, 1, 0, 0, 0, 0),
      );
    });
  });

  it("hash units and models, negative biases among them", () => {
    const rows = [hash(), hash()];
    const types = "bytes32 uint32 uint32 int32 bytes32[]";
    expect(bytes.unitHash(3, 70_000, -2147483648, rows)).to.equal(H(types, T("unit"), 3, 70_000, -2147483648, rows));
    const units = [hash(), hash(), hash()];
    const arch = hash();
    expect(bytes.modelRootOf(arch, units)).to.equal(
      H("bytes32 bytes32 uint32 bytes32", T("model"), arch, 3, bytes.treeRoot(units)),
    );
    // three units and the padding are not four units of which the last is zero
    expect(bytes.modelRootOf(arch, [...units, bytes.ZERO_HASH])).not.to.equal(bytes.modelRootOf(arch, units));
  });

  it("bind commitments, keys and seals to chain, registry, task and account", () => {
    const domain = { chainId: 31337n, registry: address() };
    const [who, commitment, result, salt, modelRoot] = [address(), hash(), hash(), hash(), hash()];
    const modelCid = someBytes(36);
    const opening = { modelRoot, modelCid, validationCorrect: 7, validationTotal: 4294967295, salt };
    const place = [domain.chainId, domain.registry, 5n];
    expect(bytes.commitmentHash(domain, 5n, who, opening)).to.equal(
      H("bytes32 uint256 address uint256 address bytes32 bytes32 uint32 uint32 bytes32", T("commit"), ...place, who, modelRoot, keccak256(modelCid), 7, 4294967295, salt), // prettier-ignore
    );
    expect(bytes.keyHash(domain, who, salt)).to.equal(
      H("bytes32 uint256 address address bytes32", T("key"), domain.chainId, domain.registry, who, salt),
    );
    expect(bytes.claimSeal(domain, 5n, who, modelRoot, result)).to.equal(
      H("bytes32 uint256 address uint256 address bytes32 bytes32", T("claim"), ...place, who, modelRoot, result),
    );
    const seal = bytes.validatorSeal(domain, 5n, commitment, who, result);
    expect(seal).to.equal(
      H("bytes32 uint256 address uint256 bytes32 address bytes32", T("seal"), ...place, commitment, who, result),
    );
    for (const other of [
      bytes.validatorSeal({ ...domain, chainId: 1n }, 5n, commitment, who, result),
      bytes.validatorSeal({ ...domain, registry: address() }, 5n, commitment, who, result),
      bytes.validatorSeal(domain, 6n, commitment, who, result),
      bytes.validatorSeal(domain, 5n, commitment, address(), result),
    ]) {
      expect(other).not.to.equal(seal);
    }
  });
});
