/** Signatures of plain accounts over digests, by libsecp256k1: several times as fast as a library in JavaScript. */
import { recover, signRecoverable } from "tiny-secp256k1";
import { bytesToHex, getAddress, hexToBytes, keccak256 } from "viem";

import type { Address, Hex } from "./bytes.ts";

/** Ethereum's v of a recovery id. */
const V = 27;

/**
 * A signature over a digest: r, s (the lower one) and v in 65 bytes, deterministic (RFC 6979).
 * @param privateKey 32 bytes
 */
export function signDigest(digest: Hex, privateKey: Hex): Hex {
  const { signature, recoveryId } = signRecoverable(hexToBytes(digest), hexToBytes(privateKey));
  return bytesToHex(Uint8Array.of(...signature, V + recoveryId));
}

/** Whose signature over a digest it is; null where it is none. */
export function recoverSigner(digest: Hex, signature: Hex): Address | null {
  try {
    const bytes = hexToBytes(signature);
    const recoveryId = (bytes[64] ?? 0) - V;
    if (bytes.length !== 65 || (recoveryId !== 0 && recoveryId !== 1)) return null;
    const key = recover(hexToBytes(digest), bytes.subarray(0, 64), recoveryId, false);
    // The first byte says how the key is written.
    return key === null ? null : getAddress(`0x${keccak256(key.subarray(1)).slice(-40)}`);
  } catch {
    return null;
  }
}
