/**
 * The file that a split names by its CID: everything that its points follow from. Whoever has it, the chain and IPFS
 * re-derives every payment.
 */
import { getAddress, isAddress } from "viem";
import { z } from "zod";

import { parseWith } from "../protocol/architecture.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import { shareSchema } from "./messages.ts";
import { AUDIT_STATES, schemeSchema } from "./points-schemes.ts";

const hash = z
  .string()
  .regex(/^0x[0-9a-f]{64}$/, "expected 32 bytes in lower-case hex")
  .transform((text) => text as Hex);
const signature = z
  .string()
  .regex(/^0x([0-9a-f]{2})+$/, "expected a signature in lower-case hex")
  .transform((text) => text as Hex);
const account = z
  .string()
  .refine((text) => isAddress(text), "expected an account's address")
  .transform((text) => getAddress(text) as Address);
const natural = z
  .string()
  .regex(/^\d{1,78}$/, "expected an integer as a decimal string")
  .transform((text) => BigInt(text));
const whole = z
  .string()
  .regex(/^-?\d{1,78}$/, "expected an integer as a decimal string")
  .transform((text) => BigInt(text));
const count = z.int().min(0);
const millionths = z.int().min(1).max(1_000_000);

/** A task of which the file lists trials: its own, and with a window those before it. */
const taskSchema = z.object({
  taskId: natural,
  /** images of one epoch: what `work` follows from */
  trainCount: z.int().min(1),
  classes: z.int().min(1),
  /** samples of the released test set; null for another task than the file's */
  testCount: count.nullable(),
  /** the least chance of an audit, in millionths; the secret of its draws, and what miners were shown of it before */
  audit: z.object({ rate: millionths, secret: hash, commitment: hash }),
});

/** An accepted trial, whether or not it counts. */
const listedShareSchema = z.object({
  /** place in the pool's order of acceptance, over all tasks */
  number: z.int().min(1),
  taskId: natural,
  miner: account,
  lease: z.int().min(1),
  kind: z.enum(["explore", "exploit"]),
  /** lease of the trial whose accuracy is the baseline; null for explore */
  parent: z.int().min(1).nullable(),
  /** what the parent has right on the validation split; it may be older than what the file lists. null for explore */
  parentCorrect: count.nullable(),
  modelRoot: hash,
  /** the share as its miner signed it (`shareData`) */
  share: shareSchema,
  signature,
  /** the receipt key's word that it was accepted (`shareReceiptData`) */
  receipt: signature,
  /** that its lease is for; the share may have fewer (`epochsFault`), and `work` goes by those */
  epochs: z.int().min(1),
  /** `creditedWork` */
  work: natural,
  /** of an audit, in millionths (`auditChance`); a claimed best passes its own check whatever is drawn */
  chance: millionths,
  audit: z.enum(AUDIT_STATES),
  voided: z.boolean(),
  /** why it counts for less than it might; null where it does not */
  reason: z.string().nullable(),
  /** right on the released test set; null where it was not counted, as trials of other tasks are not */
  testCorrect: count.nullable(),
  baseline: count,
  /** may be below zero: `missingCost` */
  points: whole,
});

/**
 * Format "ponas shares 2". Integers that may pass 2^53 are decimal strings; parsing gives bigints.
 * points: ascending by account, the tree's leaves; each is the sum of the account's shares, where that is above zero.
 */
export const sharesFileSchema = z.object({
  format: z.literal("ponas shares 2"),
  chainId: natural,
  pool: account,
  taskId: natural,
  /** signs receipts of shares */
  receiptKey: account,
  scheme: schemeSchema,
  /** what `schemeId` of the pool's contract is the hash of */
  schemeText: z.string(),
  root: hash,
  total: natural,
  points: z.array(z.object({ account, points: natural })),
  tasks: z.array(taskSchema),
  /** ascending by number */
  shares: z.array(listedShareSchema),
});
export type SharesFile = z.infer<typeof sharesFileSchema>;
export type ListedShare = SharesFile["shares"][number];

/** @throws PonasError bad-input where the bytes are not a shares file of this format */
export function readSharesFile(bytes: Uint8Array, what: string): SharesFile {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new PonasError("bad-input", `${what} is not JSON.`, { cause });
  }
  return parseWith(sharesFileSchema, json, what);
}

/** JSON with sorted keys and without white space, bigints as decimal strings: the same file is the same bytes. */
export function encodeSharesFile(file: SharesFile): Uint8Array {
  return Buffer.from(canonicalJson(file), "utf8");
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) => {
    if (typeof entry === "bigint") return entry.toString();
    return typeof entry === "object" && entry !== null && !Array.isArray(entry)
      ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
      : entry;
  });
}
