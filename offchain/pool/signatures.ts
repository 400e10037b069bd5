/**
 * Everything that is signed between a pool and its miners, as EIP-712 typed data. The domain names chain and pool, so
 * that nothing signed for one is worth anything at another; the chain checks `Points` (docs/protocol.md "Pools").
 */
import {
  encodeAbiParameters,
  hashTypedData,
  isAddressEqual,
  keccak256,
  parseAbiParameters,
  recoverTypedDataAddress,
  stringToBytes,
  type TypedDataDomain,
} from "viem";

import { architectureHash, tag, type Address, type Hex } from "../protocol/bytes.ts";
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

const TRIAL = parseAbiParameters("bytes32, bytes32, uint32, uint32, bytes32");

/**
 * What a share says of its trial beside its result: H(T"trial", arch, seed, epochs, keccak256 of the JSON text
 * `[trainLoss, seconds, flops]` as ECMAScript writes it).
 */
export function trialHash(share: Share): Hex {
  const { architecture, seed, epochs, trainLoss, seconds, flops } = share;
  const measured = keccak256(stringToBytes(JSON.stringify([trainLoss, seconds, flops])));
  return keccak256(encodeAbiParameters(TRIAL, [tag("trial"), architectureHash(architecture), seed, epochs, measured]));
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

/** The EIP-712 digest. */
export function digestOf(data: TypedData): Hex {
  return hashTypedData(data);
}

/** Whether `signature` is `signer`'s over `data`; a signature that cannot be read is nobody's. Plain accounts only. */
export async function isSignedBy(signer: Address, data: TypedData, signature: Hex): Promise<boolean> {
  let recovered: Address;
  try {
    recovered = await recoverTypedDataAddress({ ...data, signature });
  } catch {
    return false;
  }
  return isAddressEqual(recovered, signer);
}
