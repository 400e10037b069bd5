/** Reading files piece by piece, gzipped or not, so that no file is ever in memory as a whole. */
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";

import { PonasError } from "../protocol/errors.ts";

/** More content than any data set of images of 64×64×255 that this machine could hold. */
export const MAX_BYTES = 2 ** 30;
/** Small, because faults in a gzip stream are known to the piece only. */
const PIECE_BYTES = 16_384;

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** The content of one file, front to back. Offsets count uncompressed bytes. */
export interface ByteReader extends AsyncDisposable {
  /** name of the file, for sentences */
  readonly name: string;
  /** bytes read so far */
  offset(): number;
  /** Fills the array as far as the content goes. @returns number of bytes, fewer than asked for at the end only */
  read(into: Uint8Array): Promise<number>;
  /** Reads what is left. @returns number of bytes */
  drain(): Promise<number>;
  /** MD5 of the content as hex digits, once all of it is read. */
  md5(): string;
}

/** @throws PonasError dataset with a sentence about this file */
export function fileFault(sentence: string, cause?: unknown): PonasError {
  return new PonasError("dataset", sentence, { cure: "get the file again from where it is published", cause });
}

/** Size of a regular file in bytes. @throws PonasError dataset */
export function fileSize(file: string): number {
  const name = basename(file);
  try {
    const stats = statSync(file);
    if (stats.isFile()) return stats.size;
  } catch (cause) {
    throw fileFault(`${name} cannot be read: ${(cause as Error).message}.`, cause);
  }
  throw fileFault(`${name} is not a regular file.`);
}

/**
 * Opens a file; one whose name ends in .gz is read uncompressed.
 * @throws PonasError dataset, here and from every read: not a readable file, larger than 2^30 bytes, a gzip stream that
 *   breaks off, is damaged, or has something behind it; each with the offset in the file
 */
export function openBytes(file: string, { signal }: ReadOptions = {}): ByteReader {
  const name = basename(file);
  const size = fileSize(file);
  const tooLarge = (): PonasError => fileFault(`${name} is larger than ${MAX_BYTES} bytes.`);
  if (size > MAX_BYTES) throw tooLarge();

  const raw = createReadStream(file, { highWaterMark: PIECE_BYTES, signal });
  const gunzip = file.endsWith(".gz") ? createGunzip({ chunkSize: 4 * PIECE_BYTES }) : undefined;
  // What goes wrong here reaches the reader through the last stream.
  if (gunzip !== undefined) pipeline(raw, gunzip, () => undefined);
  const stream = gunzip ?? raw;
  const pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const hash = createHash("md5");
  let piece: Uint8Array = new Uint8Array();
  let at = 0;
  /** bytes before this piece */
  let before = 0;
  let ended = false;

  /** True where `piece` has bytes that were not read yet. */
  async function refill(): Promise<boolean> {
    while (at === piece.length && !ended) {
      before += piece.length;
      piece = (await nextPiece()) ?? new Uint8Array();
      at = 0;
      if (before + piece.length > MAX_BYTES) throw tooLarge();
      hash.update(piece);
    }
    return at < piece.length;
  }

  async function nextPiece(): Promise<Uint8Array | undefined> {
    try {
      const { value, done } = await pieces.next();
      if (done !== true) return value;
    } catch (cause) {
      signal?.throwIfAborted();
      throw readFault(cause as NodeJS.ErrnoException);
    }
    ended = true;
    const inflated = gunzip?.bytesWritten ?? size;
    if (inflated >= size) return undefined;
    throw fileFault(`${name} has ${size - inflated} bytes after its gzip stream, which ends at offset ${inflated}.`);
  }

  function readFault(cause: NodeJS.ErrnoException): PonasError {
    if (cause.code === "Z_BUF_ERROR") {
      return fileFault(`${name} is truncated: its gzip stream breaks off at offset ${size}.`, cause);
    }
    if (gunzip !== undefined && cause.code?.startsWith("Z_") === true) {
      const past = gunzip.bytesWritten;
      return fileFault(`${name} is damaged: its gzip stream is wrong past offset ${past} (${cause.message}).`, cause);
    }
    return fileFault(`${name} cannot be read: ${cause.message}.`, cause);
  }

  return {
    name,
    offset: () => before + at,
    read: async (into) => {
      let filled = 0;
      while (filled < into.length && (at < piece.length || (await refill()))) {
        const part = piece.subarray(at, at + into.length - filled);
        into.set(part, filled);
        filled += part.length;
        at += part.length;
      }
      return filled;
    },
    drain: async () => {
      const start = before + at;
      do at = piece.length;
      while (await refill());
      return before + at - start;
    },
    md5: () => hash.copy().digest("hex"),
    [Symbol.asyncDispose]: () => {
      raw.destroy();
      stream.destroy();
      return Promise.resolve();
    },
  };
}
