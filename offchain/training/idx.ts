/** The IDX format, in which MNIST and its relatives are published: a big-endian header, then bytes. */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { gunzipSync } from "node:zlib";

import { PonasError } from "../protocol/errors.ts";

/** More than any data set of images of 64×64×255 that this machine could hold twice. */
const MAX_BYTES = 2 ** 30;
/** Magic numbers of unsigned bytes in so many dimensions. */
const MAGIC_BYTES = 0x0800;

export interface IdxArray {
  readonly dims: readonly number[];
  readonly data: Uint8Array;
}

/**
 * Reads an IDX file of unsigned bytes, gzipped where its name ends in .gz.
 * @param ranks the numbers of dimensions that are right here
 * @throws PonasError dataset: not readable, wrong magic number, shorter or longer than its header says
 */
export function readIdx(file: string, ranks: readonly number[]): IdxArray {
  const name = basename(file);
  const fault = (sentence: string, cause?: unknown): PonasError =>
    new PonasError("dataset", sentence, { cure: "get the file again from where it is published", cause });

  let bytes: Uint8Array;
  try {
    if (statSync(file).size > MAX_BYTES) throw fault(`${name} is larger than ${MAX_BYTES} bytes.`);
    const raw = readFileSync(file);
    bytes = file.endsWith(".gz") ? gunzipSync(raw, { maxOutputLength: MAX_BYTES }) : raw;
  } catch (cause) {
    if (cause instanceof PonasError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === "Z_BUF_ERROR") {
      throw fault(`${name} is truncated: its gzip stream breaks off at offset ${statSync(file).size}.`, cause);
    }
    throw fault(`${name} cannot be read: ${(cause as Error).message}.`, cause);
  }

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const truncated = (needed: number): PonasError =>
    fault(`${name} is truncated: it ends at offset ${bytes.length}, but its header promises ${needed} bytes.`);
  if (bytes.length < 4)
    throw fault(`${name} is truncated: it ends at offset ${bytes.length}, inside its magic number.`);
  const magic = view.getUint32(0);
  const rank = magic - MAGIC_BYTES;
  if (!ranks.includes(rank)) {
    const right = ranks.map((r) => `0x${(MAGIC_BYTES + r).toString(16).padStart(8, "0")}`).join(" or ");
    throw fault(`${name} starts with the magic number 0x${magic.toString(16).padStart(8, "0")} instead of ${right}.`);
  }
  const header = 4 + 4 * rank;
  if (bytes.length < header) throw truncated(header);
  const dims = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const size = header + dims.reduce((product, dim) => product * dim, 1);
  if (bytes.length < size) throw truncated(size);
  if (bytes.length > size) {
    throw fault(`${name} has ${bytes.length} bytes, ${bytes.length - size} more than its header says.`);
  }
  return { dims, data: new Uint8Array(bytes.subarray(header)) };
}
