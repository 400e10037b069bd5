/**
 * Every hash that two parties, or a party and the chain, must agree on. The layouts are those of docs/bytes.md, and
 * contracts/libraries holds the same ones; test/contracts/bytes.ts compares the two.
 */
import {
  bytesToHex,
  concat,
  encodeAbiParameters,
  hexToBytes,
  keccak256,
  parseAbiParameters,
  stringToBytes,
  type Address,
  type Hex,
} from "viem";

import { HYPERPARAMETERS, type Architecture, type Space, type Template } from "./architecture.ts";

export type { Address, Hex } from "viem";

export const ZERO_ADDRESS: Address = `0x${"00".repeat(20)}`;
export const ZERO_HASH: Hex = `0x${"00".repeat(32)}`;

/** T"name" = keccak256("ponas.v1.name"): the domain of one kind of hash. */
export function tag(name: string): Hex {
  return keccak256(stringToBytes(`ponas.v1.${name}`));
}

const TAG = {
  commit: tag("commit"),
  key: tag("key"),
  arch: tag("arch"),
  space: tag("space"),
  unit: tag("unit"),
  model: tag("model"),
  test: tag("test"),
  labels: tag("labels"),
  sample: tag("sample"),
  result: tag("result"),
  claim: tag("claim"),
  seal: tag("seal"),
  block: tag("block"),
} as const;

// ————— Tree —————

/** Commutative keccak of a pair, as OpenZeppelin's `Hashes.commutativeKeccak256`. */
function pair(a: Hex, b: Hex): Hex {
  return keccak256(a < b ? concat([a, b]) : concat([b, a]));
}

/** All levels of Tree(leaves), leaves first, zero-padded to a power of two. @throws RangeError without leaves */
export function treeLevels(leaves: readonly Hex[]): Hex[][] {
  if (leaves.length === 0) throw new RangeError("a tree has at least one leaf");
  let width = 1;
  while (width < leaves.length) width *= 2;
  const levels: Hex[][] = [[...leaves, ...Array<Hex>(width - leaves.length).fill(ZERO_HASH)]];
  for (let level = levels[0]!; level.length > 1; level = levels.at(-1)!) {
    levels.push(Array.from({ length: level.length / 2 }, (_, i) => pair(level[2 * i]!, level[2 * i + 1]!)));
  }
  return levels;
}

export function treeRoot(leaves: readonly Hex[]): Hex {
  return treeLevels(leaves).at(-1)![0]!;
}

/** Siblings from the leaf upwards, as OpenZeppelin's `MerkleProof` takes them. */
export function treeProof(leaves: readonly Hex[], index: number): Hex[] {
  return treeLevels(leaves)
    .slice(0, -1)
    .map((level, height) => level[(index >> height) ^ 1]!);
}

// ————— Strings of bytes —————

/** Predictions, or labels, under one hash of {@link blocks}. */
export const PREDICTION_BLOCK = 512;

/** blocks(b): keccak256 of each 512 bytes, the last one shorter. */
export function blocks(bytes: Uint8Array): Hex[] {
  const hashes: Hex[] = [];
  for (let at = 0; at < bytes.length; at += PREDICTION_BLOCK) {
    hashes.push(keccak256(bytes.subarray(at, at + PREDICTION_BLOCK)));
  }
  return hashes;
}

const HASHED_BLOCKS = parseAbiParameters("bytes32, uint32, bytes32[]");

/** result = H(T"result", n, blocks(predictions)), one byte a prediction; of a malformed model it is {@link ZERO_HASH}. */
export function resultHash(predictions: Uint8Array): Hex {
  return keccak256(encodeAbiParameters(HASHED_BLOCKS, [TAG.result, predictions.length, blocks(predictions)]));
}

/** H(T"labels", n, blocks(labels)). */
export function labelsHash(labels: Uint8Array): Hex {
  return keccak256(encodeAbiParameters(HASHED_BLOCKS, [TAG.labels, labels.length, blocks(labels)]));
}

const SAMPLE = parseAbiParameters("bytes32, uint32, bytes32");

/** Leaf i of the samples' tree: H(T"sample", i, keccak256(pixels)). */
export function sampleLeaf(index: number, pixels: Uint8Array): Hex {
  return keccak256(encodeAbiParameters(SAMPLE, [TAG.sample, index, keccak256(pixels)]));
}

export interface TestSetShape {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly classes: number;
}

/** The parts of `testRoot` that `open` needs beside the labels. */
export interface TestSetCommitment {
  readonly testRoot: Hex;
  readonly samplesRoot: Hex;
  readonly count: number;
}

const TEST = parseAbiParameters("bytes32, uint32, uint16, uint16, uint16, uint16, bytes32, bytes32");

/**
 * testRoot = H(T"test", n, H, W, C, classes, labels, Tree(samples)).
 * @param pixels n × H·W·C bytes, row-major, channels last
 * @param labels n bytes, each below `classes`
 */
export function commitTestSet(pixels: Uint8Array, labels: Uint8Array, shape: TestSetShape): TestSetCommitment {
  const { height, width, channels, classes } = shape;
  const stride = height * width * channels;
  const count = labels.length;
  if (pixels.length !== count * stride) throw new RangeError(`${pixels.length} pixels for ${count} × ${stride}`);
  const samplesRoot = treeRoot(
    Array.from({ length: count }, (_, i) => sampleLeaf(i, pixels.subarray(i * stride, (i + 1) * stride))),
  );
  const testRoot = keccak256(
    encodeAbiParameters(TEST, [TAG.test, count, height, width, channels, classes, labelsHash(labels), samplesRoot]),
  );
  return { testRoot, samplesRoot, count };
}

// ————— Models —————

const ARCH = parseAbiParameters(
  "bytes32, uint16, uint16, uint16, uint16, uint16[10][], uint8, uint16, uint8, uint8, uint16[2][], uint8[]",
);
type TenNumbers = readonly [number, number, number, number, number, number, number, number, number, number];

/** An architecture as the contracts take it (`Architecture`). */
export interface ArchitectureTuple {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly classes: number;
  readonly layers: readonly TenNumbers[];
  readonly pool: number;
  readonly hidden: number;
  readonly hiddenIntBits: number;
  readonly hiddenFracBits: number;
  readonly tiles: readonly (readonly [number, number])[];
  readonly groups: readonly number[];
}

export function architectureTuple({ input, classes, layers, head, tiling }: Architecture): ArchitectureTuple {
  const [height, width, channels] = input;
  return {
    height,
    width,
    channels,
    classes,
    layers: layers.map((layer) => HYPERPARAMETERS.map((name) => layer[name]) as unknown as TenNumbers),
    pool: head.pool === "flatten" ? 1 : 0,
    hidden: head.hidden,
    hiddenIntBits: head.hiddenActIntBits ?? 0,
    hiddenFracBits: head.hiddenActFracBits ?? 0,
    tiles: tiling?.tiles ?? [],
    groups: tiling?.groups ?? [],
  };
}

/** arch = H(T"arch", H, W, C, classes, layers, pool, hidden, hiddenInt, hiddenFrac, tiles, groups). */
export function architectureHash(architecture: Architecture): Hex {
  const a = architectureTuple(architecture);
  return keccak256(
    encodeAbiParameters(ARCH, [
      TAG.arch,
      a.height,
      a.width,
      a.channels,
      a.classes,
      a.layers,
      a.pool,
      a.hidden,
      a.hiddenIntBits,
      a.hiddenFracBits,
      a.tiles,
      a.groups,
    ]),
  );
}

const SPACE = parseAbiParameters("bytes32, uint16[][], uint16, uint8, uint16, uint8, uint8");

/** `SpaceOpening` of the contracts: what a task's space hash binds. */
export interface SpaceTuple {
  /** ten lists in the order of {@link HYPERPARAMETERS} */
  readonly lists: readonly (readonly number[])[];
  readonly depth: number;
  readonly pool: number;
  readonly hidden: number;
  readonly hiddenIntBits: number;
  readonly hiddenFracBits: number;
}

export function spaceTuple(space: Space, { depth, head }: Pick<Template, "depth" | "head">): SpaceTuple {
  return {
    lists: HYPERPARAMETERS.map((name) => space[name]),
    depth,
    pool: head.pool === "flatten" ? 1 : 0,
    hidden: head.hidden,
    hiddenIntBits: head.hiddenActIntBits ?? 0,
    hiddenFracBits: head.hiddenActFracBits ?? 0,
  };
}

/** H(T"space", lists, depth, pool, hidden, hiddenInt, hiddenFrac); input and classes are under the test root. */
export function spaceHash(space: Space, template: Pick<Template, "depth" | "head">): Hex {
  const { lists, depth, pool, hidden, hiddenIntBits, hiddenFracBits } = spaceTuple(space, template);
  return keccak256(encodeAbiParameters(SPACE, [TAG.space, lists, depth, pool, hidden, hiddenIntBits, hiddenFracBits]));
}

const UNIT = parseAbiParameters("bytes32, uint32, uint32, int32, bytes32[]");

/** unit = H(T"unit", layer, unit, bias, rows); rows[i] = keccak256(kernel row i as int16 big-endian). */
export function unitHash(layer: number, unit: number, bias: number, rows: readonly Hex[]): Hex {
  return keccak256(encodeAbiParameters(UNIT, [TAG.unit, layer, unit, bias, rows]));
}

const MODEL = parseAbiParameters("bytes32, bytes32, uint32, bytes32");

/** modelRoot = H(T"model", arch, count, Tree(units)). */
export function modelRootOf(arch: Hex, units: readonly Hex[]): Hex {
  return keccak256(encodeAbiParameters(MODEL, [TAG.model, arch, units.length, treeRoot(units)]));
}

// ————— Commitments and seals —————

/** Where a message belongs: no signature, commitment or seal can be replayed on another chain or contract. */
export interface Domain {
  readonly chainId: bigint;
  readonly registry: Address;
}

export interface CommitmentOpening {
  readonly modelRoot: Hex;
  /** binary CIDv1 of the model file */
  readonly modelCid: Uint8Array;
  readonly validationCorrect: number;
  readonly validationTotal: number;
  readonly salt: Hex;
}

const COMMIT = parseAbiParameters(
  "bytes32, uint256, address, uint256, address, bytes32, bytes32, uint32, uint32, bytes32",
);

export function commitmentHash(
  { chainId, registry }: Domain,
  taskId: bigint,
  participant: Address,
  { modelRoot, modelCid, validationCorrect, validationTotal, salt }: CommitmentOpening,
): Hex {
  return keccak256(
    encodeAbiParameters(COMMIT, [
      TAG.commit,
      chainId,
      registry,
      taskId,
      participant,
      modelRoot,
      keccak256(modelCid),
      validationCorrect,
      validationTotal,
      salt,
    ]),
  );
}

const KEY = parseAbiParameters("bytes32, uint256, address, address, bytes32");

/** keyHash = H(T"key", chainid, registry, publisher, key). */
export function keyHash({ chainId, registry }: Domain, publisher: Address, key: Hex): Hex {
  return keccak256(encodeAbiParameters(KEY, [TAG.key, chainId, registry, publisher, key]));
}

const CLAIM = parseAbiParameters("bytes32, uint256, address, uint256, address, bytes32, bytes32");

/** claim seal = H(T"claim", chainid, registry, taskId, participant, modelRoot, result). */
export function claimSeal(
  { chainId, registry }: Domain,
  taskId: bigint,
  participant: Address,
  modelRoot: Hex,
  result: Hex,
): Hex {
  return keccak256(encodeAbiParameters(CLAIM, [TAG.claim, chainId, registry, taskId, participant, modelRoot, result]));
}

const SEAL = parseAbiParameters("bytes32, uint256, address, uint256, bytes32, address, bytes32");

/** validator seal = H(T"seal", chainid, registry, taskId, commitment, validator, result). */
export function validatorSeal(
  { chainId, registry }: Domain,
  taskId: bigint,
  commitment: Hex,
  validator: Address,
  result: Hex,
): Hex {
  return keccak256(encodeAbiParameters(SEAL, [TAG.seal, chainId, registry, taskId, commitment, validator, result]));
}

// ————— Ledger —————

/** One block of the model ledger, but for its hash. */
export interface LedgerBlockFields {
  readonly height: bigint;
  readonly parent: Hex;
  readonly taskId: bigint;
  readonly winner: Address;
  readonly modelRoot: Hex;
  /** binary CIDv1 */
  readonly modelCid: Uint8Array;
  readonly correct: number;
  readonly total: number;
  /** seconds since 1970 */
  readonly time: number;
}

const BLOCK = parseAbiParameters(
  "bytes32, bytes32, uint256, uint256, address, bytes32, bytes32, uint32, uint32, uint40",
);

/** block = H(T"block", parent, height, taskId, winner, modelRoot, keccak256(modelCid), correct, total, time). */
export function ledgerBlockHash(block: LedgerBlockFields): Hex {
  const { parent, height, taskId, winner, modelRoot, modelCid, correct, total, time } = block;
  return keccak256(
    encodeAbiParameters(BLOCK, [
      TAG.block,
      parent,
      height,
      taskId,
      winner,
      modelRoot,
      keccak256(modelCid),
      correct,
      total,
      time,
    ]),
  );
}

export { bytesToHex, hexToBytes, keccak256 };
