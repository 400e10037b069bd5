/**
 * Content identifiers of ponas: CIDv1, sha2-256, and one canonical way from bytes to CID, the profile
 * `unixfs-v1-2025` (IPIP-499): raw leaves of 1 MiB under a balanced dag-pb tree of at most 1,024 links. A file of at
 * most 1 MiB is its single raw leaf, so its digest is the file's sha2-256.
 */
import * as dagPb from "@ipld/dag-pb";
import { importBytes } from "ipfs-unixfs-importer";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { sha256 } from "multiformats/hashes/sha2";

import { PonasError } from "../protocol/errors.ts";

export { CID } from "multiformats/cid";

/** Bytes of a leaf. */
export const CHUNK_BYTES = 1 << 20;
/** Links of a dag-pb node. */
export const MAX_LINKS = 1024;
/** The largest file with a flat tree (1 GiB): what ponas stores and fetches. */
export const MAX_FILE_BYTES = MAX_LINKS * CHUNK_BYTES;

const KEEP_NOTHING = { put: async (cid: CID): Promise<CID> => cid };

/** The canonical CID of a file, computed without a node. @throws PonasError bad-input over {@link MAX_FILE_BYTES} */
export async function cidOf(bytes: Uint8Array): Promise<CID> {
  if (bytes.length > MAX_FILE_BYTES) {
    throw new PonasError(
      "bad-input",
      `A file of ${bytes.length} bytes is over the ${MAX_FILE_BYTES} that can be stored.`,
    );
  }
  return (await importBytes(bytes, KEEP_NOTHING, { profile: "unixfs-v1-2025" })).cid;
}

/**
 * Reads a CID from its text (any multibase) or binary form.
 * @throws PonasError bad-input unless it is a CIDv1 of a raw or dag-pb block under a full sha2-256, in its one encoding
 */
export function parseCid(from: string | Uint8Array): CID {
  const shown =
    typeof from === "string"
      ? JSON.stringify(from.slice(0, 100))
      : `0x${Buffer.from(from.slice(0, 50)).toString("hex")}`;
  let cid: CID;
  try {
    cid = typeof from === "string" ? CID.parse(from) : CID.decode(from);
  } catch (cause) {
    throw new PonasError("bad-input", `${shown} is not a CID.`, { cause });
  }
  const refuse = (why: string): PonasError =>
    new PonasError("bad-input", `The CID ${shown} ${why}.`, {
      cure: "give a CIDv1 of a raw or dag-pb block under sha2-256",
    });
  if (cid.version !== 1) throw refuse("is of version 0");
  if (cid.multihash.code !== sha256.code || cid.multihash.size !== 32) throw refuse("is not under sha2-256");
  if (cid.code !== raw.code && cid.code !== dagPb.code)
    throw refuse(`names a block of codec 0x${cid.code.toString(16)}`);
  if (from instanceof Uint8Array && !Buffer.from(from).equals(cid.bytes))
    throw refuse("is not in its shortest encoding");
  return cid;
}

/** The binary form (36 bytes) of a CID's text, as contracts hold it. @throws PonasError bad-input as {@link parseCid} */
export function cidBytes(text: string): Uint8Array {
  return parseCid(text).bytes;
}
