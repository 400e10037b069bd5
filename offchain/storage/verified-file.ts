/**
 * Fetching a file of which nothing is known but its CID, from a node that nobody has to trust: every block is checked
 * against its hash, and the shape of the tree against the one canonical shape before any leaf is asked for.
 */
import * as dagPb from "@ipld/dag-pb";
import { UnixFS } from "ipfs-unixfs";
import * as raw from "multiformats/codecs/raw";
import { sha256 } from "multiformats/hashes/sha2";

import { PonasError } from "../protocol/errors.ts";
import { CHUNK_BYTES, MAX_FILE_BYTES, MAX_LINKS, type CID } from "./cid.ts";

/** No canonical root is larger: 1,024 links of about 50 bytes and as many block sizes. */
const ROOT_BYTES = 64 * 1024;
/** Leaves asked for at the same time; each goes straight to its place, so this costs no memory. */
const PARALLEL = 4;

/**
 * Reads one block into `room`, verifies it against its CID and returns its length in bytes. The length may exceed the
 * room; the surplus was hashed and dropped.
 */
export type ReadBlock = (cid: CID, room: Uint8Array, signal: AbortSignal) => Promise<number>;

/**
 * Fetches a canonical file; holds at most `maxBytes` and the root block (64 KiB) at a time.
 * @throws PonasError model-too-large over `maxBytes`; bad-input where the CID names no canonical file
 */
export async function fetchFile(
  cid: CID,
  maxBytes: number,
  readBlock: ReadBlock,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const cap = Math.min(maxBytes, MAX_FILE_BYTES);
  if (cid.code === raw.code) {
    const room = new Uint8Array(Math.min(cap, CHUNK_BYTES));
    const length = await readBlock(cid, room, signal);
    if (length > cap) throw tooLarge(cid, length, maxBytes);
    if (length > CHUNK_BYTES) throw notCanonical(cid, `its one block has ${length} bytes, more than a leaf`);
    return new Uint8Array(room.buffer.transfer(length));
  }
  const { size, leaves } = await readRoot(cid, maxBytes, readBlock, signal);
  const file = new Uint8Array(size);
  const group = new AbortController();
  const either = AbortSignal.any([signal, group.signal]);
  let next = 0;
  const fetchLeaves = async (): Promise<void> => {
    for (let index = next++; index < leaves.length; index = next++) {
      const room = file.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
      const length = await readBlock(leaves[index]!, room, either);
      if (length !== room.length) {
        throw notCanonical(cid, `leaf ${index} has ${length} bytes where its root declares ${room.length}`);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL }, fetchLeaves));
  } finally {
    group.abort();
  }
  return file;
}

/**
 * Reads and checks the root of a file of more than one leaf: decoded, then compared byte for byte with the root that
 * the importer would write for a file of that size with those leaves.
 */
export async function readRoot(
  cid: CID,
  maxBytes: number,
  readBlock: ReadBlock,
  signal: AbortSignal,
): Promise<{ size: number; leaves: CID[] }> {
  const room = new Uint8Array(ROOT_BYTES);
  const length = await readBlock(cid, room, signal);
  if (length > ROOT_BYTES) throw notCanonical(cid, `its root has ${length} bytes`);
  const bytes = room.subarray(0, length);
  let unixfs: UnixFS;
  let leaves: CID[];
  try {
    const node = dagPb.decode(bytes);
    unixfs = UnixFS.unmarshal(node.Data ?? new Uint8Array());
    leaves = node.Links.map((link) => link.Hash);
  } catch (cause) {
    throw notCanonical(cid, "its root is no UnixFS node", cause);
  }
  if (unixfs.type !== "file") throw notCanonical(cid, `it is a ${unixfs.type}`);
  const size = unixfs.fileSize();
  if (size > BigInt(maxBytes)) throw tooLarge(cid, size, maxBytes);
  if (size > BigInt(MAX_FILE_BYTES) || leaves.length > MAX_LINKS) throw notCanonical(cid, `it declares ${size} bytes`);
  if (leaves.some((leaf) => leaf.version !== 1 || leaf.code !== raw.code || leaf.multihash.code !== sha256.code)) {
    throw notCanonical(cid, "it links to something else than raw leaves under sha2-256");
  }
  if (!Buffer.from(canonicalRoot(Number(size), leaves)).equals(bytes)) {
    throw notCanonical(cid, "its root is not the one that a file of that size and those leaves has");
  }
  return { size: Number(size), leaves };
}

/** The bytes of the root block of a file of `size` bytes (more than one leaf) in these leaves. */
function canonicalRoot(size: number, leaves: readonly CID[]): Uint8Array {
  const sizes: number[] = [];
  for (let at = 0; at < size; at += CHUNK_BYTES) sizes.push(Math.min(CHUNK_BYTES, size - at));
  if (sizes.length !== leaves.length || sizes.length < 2) return new Uint8Array();
  const unixfs = new UnixFS({ type: "file", blockSizes: sizes.map(BigInt) });
  const links = leaves.map((leaf, i) => ({ Name: "", Hash: leaf, Tsize: sizes[i]! }));
  return dagPb.encode(dagPb.prepare({ Data: unixfs.marshal(), Links: links }));
}

function tooLarge(cid: CID, size: number | bigint, maxBytes: number): PonasError {
  return new PonasError("model-too-large", `The file ${cid} has ${size} bytes, over the cap of ${maxBytes}.`);
}

function notCanonical(cid: CID, why: string, cause?: unknown): PonasError {
  return new PonasError("bad-input", `The CID ${cid} names no canonical file: ${why}.`, {
    cure: "add the file with CIDv1, raw leaves and chunks of 1048576 bytes",
    cause,
  });
}
