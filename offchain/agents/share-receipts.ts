/** What a pool has acknowledged to a miner, held against what it posts: a share with a receipt must be listed. */
import { isAddressEqual } from "viem";
import { z } from "zod";

import { shareSchema, type SignedShare } from "../pool/messages.ts";
import { readSharesFile } from "../pool/shares-file.ts";
import { digestOf, isSignedBy, shareData, shareReceiptData, type PoolIdentity } from "../pool/signatures.ts";
import type { Address, Hex } from "../protocol/bytes.ts";

export const acceptedShareSchema = z.object({
  share: shareSchema,
  signature: z.string().transform((text) => text as Hex),
  /** the receipt key's signature over `shareReceiptData` */
  receipt: z.string().transform((text) => text as Hex),
});
/** A share that the pool has accepted, with its word on that. */
export type AcceptedShare = z.infer<typeof acceptedShareSchema>;

/** Whether a receipt is the key's word that this very share of the miner's was accepted. */
export function isReceipt(
  { share }: Pick<SignedShare, "share">,
  receipt: Hex,
  { identity, miner, receiptKey }: { identity: PoolIdentity; miner: Address; receiptKey: Address },
): boolean {
  const { taskId, lease, modelRoot } = share;
  const digest = digestOf(shareData(identity, share));
  return isSignedBy(
    receiptKey,
    shareReceiptData(identity, { taskId, miner, lease, modelRoot, share: digest }),
    receipt,
  );
}

/** How a posted shares file treats the shares of a miner that the pool has accepted. */
export interface Standing {
  /** leases whose share is not in the file as it was accepted */
  readonly missing: readonly number[];
  /** why those that are in it count for less, each reason once */
  readonly voided: readonly string[];
}

/** @throws PonasError bad-input where the bytes are no shares file */
export function standingOf(
  accepted: readonly AcceptedShare[],
  bytes: Uint8Array,
  what: string,
  miner: Address,
): Standing {
  const listed = new Map(readSharesFile(bytes, what).shares.map((share) => [share.lease, share]));
  const missing: number[] = [];
  const voided = new Set<string>();
  for (const { share } of accepted) {
    const found = listed.get(share.lease);
    const same = found !== undefined && isAddressEqual(found.miner, miner) && found.modelRoot === share.modelRoot;
    if (!same) missing.push(share.lease);
    else if (found.voided) voided.add(found.reason ?? "no reason is given");
  }
  return { missing, voided: [...voided] };
}
