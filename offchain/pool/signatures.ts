/**
 * Everything that is signed between a pool and its miners, as EIP-712 typed data. The domain names chain and pool, so
 * that nothing signed for one is worth anything at another; the chain checks `Points` (docs/protocol.md "Pools").
 */
import {
  domainSeparator,
  encodeAbiParameters,
  isAddressEqual,
  keccak256,
  parseAbiParameters,
  stringToBytes,
  type TypedDataDomain,
} from "viem";

import { architectureHash, tag, type Address, type Hex } from "../protocol/bytes.ts";
import { recoverSigner } from "../protocol/secp256k1.ts";
import type { Share } from "./messages.ts";

/** The pool contract for which something is signed. */
export interface PoolIdentity {
  readonly chainId: bigint;
  readonly pool: Address;
}

/** Typed data as ethers' `signTypedData(domain, types, message)` and viem's `signTypedData(data)` both take it. */
export interface TypedData {
  readonly domain: TypedDataDomain;
  readonly types: Record<string, { readonly name: string; readonly type: string }[]>;
  readonly primaryType: string;
  readonly message: Record<string, unknown>;
}

/** A key that signs: a miner's, or a manager's receipt key. */
export interface Signer {
  readonly address: Address;
  readonly sign: (data: TypedData) => Promise<Hex>;
}

const field = (type: string, name: string) => ({ type, name });

const TYPES = {
  Authorize: [field("address", "miner"), field("bytes32", "nonce"), field("uint64", "expiresAt")],
  Share: [
    field("uint256", "taskId"),
    field("uint64", "lease"),
    field("bytes32", "modelRoot"),
    field("uint32", "validationCorrect"),
    field("uint32", "validationTotal"),
    field("bytes32", "trial"),
  ],
  ShareReceipt: [
    field("uint256", "taskId"),
    field("address", "miner"),
    field("uint64", "lease"),
    field("bytes32", "modelRoot"),
    field("bytes32", "share"),
  ],
  Points: [
    field("uint256", "taskId"),
    field("address", "miner"),
    field("uint64", "sequence"),
    field("uint128", "points"),
  ],
};

function typed(
  { chainId, pool }: PoolIdentity,
  primaryType: keyof typeof TYPES,
  message: Record<string, unknown>,
): TypedData {
  return {
    domain: { name: "ponas pool", version: "1", chainId, verifyingContract: pool },
    types: { [primaryType]: TYPES[primaryType] },
    primaryType,
    message,
  };
}

/** A miner's answer to an endpoint's challenge. @param expiresAt Unix time in milliseconds */
export function authorizeData(
  pool: PoolIdentity,
  answer: { readonly miner: Address; readonly nonce: Hex; readonly expiresAt: number },
): TypedData {
  return typed(pool, "Authorize", { ...answer, expiresAt: BigInt(answer.expiresAt) });
}

const TRIAL_TAG = tag("trial");
const TRIAL = parseAbiParameters("bytes32, bytes32, uint32, uint32, bytes32");

/**
 * What a share says of its trial beside its result: H(T"trial", arch, seed, epochs, keccak256 of the JSON text
 * `[trainLoss, seconds, flops]` as ECMAScript writes it).
 */
export function trialHash(share: Share): Hex {
  const { architecture, seed, epochs, trainLoss, seconds, flops } = share;
  const measured = keccak256(stringToBytes(JSON.stringify([trainLoss, seconds, flops])));
  return keccak256(encodeAbiParameters(TRIAL, [TRIAL_TAG, architectureHash(architecture), seed, epochs, measured]));
}

/** What a miner signs of a finished trial. */
export function shareData(pool: PoolIdentity, share: Share): TypedData {
  return typed(pool, "Share", {
    taskId: share.taskId,
    lease: BigInt(share.lease),
    modelRoot: share.modelRoot,
    validationCorrect: share.validation.correct,
    validationTotal: share.validation.total,
    trial: trialHash(share),
  });
}

/** The manager's word that a share was accepted; `share` is the digest that the miner signed. */
export function shareReceiptData(
  pool: PoolIdentity,
  receipt: {
    readonly taskId: bigint;
    readonly miner: Address;
    readonly lease: number;
    readonly modelRoot: Hex;
    readonly share: Hex;
  },
): TypedData {
  return typed(pool, "ShareReceipt", { ...receipt, lease: BigInt(receipt.lease) });
}

/** All points of one miner in one task so far; the higher sequence supersedes. The pool's contract reads it. */
export function pointsData(
  pool: PoolIdentity,
  receipt: {
    readonly taskId: bigint;
    readonly miner: Address;
    readonly sequence: number;
    readonly points: bigint;
  },
): TypedData {
  const { taskId, miner, sequence, points } = receipt;
  return typed(pool, "Points", { taskId, miner, sequence: BigInt(sequence), points });
}

/** The EIP-712 digest: keccak256(0x1901, domain separator, struct). */
export function digestOf({ domain, types, primaryType, message }: TypedData): Hex {
  const fields = types[primaryType]!;
  const words = fields.map(({ name, type }) => wordOf(type, message[name]));
  const struct = keccak256(`0x${typeHashOf(primaryType, fields)}${words.join("")}`);
  return keccak256(`0x1901${separatorOf(domain)}${struct.slice(2)}`);
}

/** A value's 32 bytes in hex: all of ours are of one word. @throws RangeError where an integer does not fit its type */
function wordOf(type: string, value: unknown): string {
  if (!type.startsWith("uint")) return (value as Hex).slice(2).toLowerCase().padStart(64, "0");
  const integer = BigInt(value as bigint | number);
  if (integer < 0n || integer >> BigInt(type.slice(4)) !== 0n) throw new RangeError(`${integer} is no ${type}`);
  return integer.toString(16).padStart(64, "0");
}

const typeHashes = new Map<string, string>();

function typeHashOf(primaryType: string, fields: readonly { readonly name: string; readonly type: string }[]): string {
  const text = `${primaryType}(${fields.map(({ name, type }) => `${type} ${name}`).join(",")})`;
  let hash = typeHashes.get(text);
  if (hash === undefined) typeHashes.set(text, (hash = keccak256(stringToBytes(text)).slice(2)));
  return hash;
}

/** A process has to do with few pools; for one with many this is forgotten now and then. */
const MAX_SEPARATORS = 1000;
const separators = new Map<string, string>();

function separatorOf(domain: TypedDataDomain): string {
  const key = `${domain.chainId} ${domain.verifyingContract}`;
  let separator = separators.get(key);
  if (separator === undefined) {
    if (separators.size >= MAX_SEPARATORS) separators.clear();
    separators.set(key, (separator = domainSeparator({ domain }).slice(2)));
  }
  return separator;
}

/** Whether `signature` is `signer`'s over `data`; a signature that cannot be read is nobody's. Plain accounts only. */
export function isSignedBy(signer: Address, data: TypedData, signature: Hex): boolean {
  let digest: Hex;
  try {
    digest = digestOf(data);
  } catch {
    return false;
  }
  const recovered = recoverSigner(digest, signature);
  return recovered !== null && isAddressEqual(recovered, signer);
}
