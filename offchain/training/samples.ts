/** Labelled images in memory, and the files of them that a task publishes (docs/bytes.md, "test file"). */
import { createCipheriv, createDecipheriv } from "node:crypto";

import type { TestSetShape } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";

export interface Samples {
  /** count × H·W·C bytes, row-major, channels last */
  readonly pixels: Uint8Array;
  /** count bytes, each below the number of classes */
  readonly labels: Uint8Array;
  readonly count: number;
}

/** The first `limit` samples, or all of them where there are fewer; views of the same memory. */
export function firstSamples({ pixels, labels, count }: Samples, limit: number): Samples {
  if (limit >= count) return { pixels, labels, count };
  return {
    pixels: pixels.subarray(0, limit * (pixels.length / count)),
    labels: labels.subarray(0, limit),
    count: limit,
  };
}

/** The samples at these indices, in this order, copied. */
export function selectSamples({ pixels, labels, count }: Samples, indices: Uint32Array): Samples {
  const size = pixels.length / count;
  const chosen = new Uint8Array(indices.length * size);
  indices.forEach((from, to) => chosen.set(pixels.subarray(from * size, (from + 1) * size), to * size));
  return { pixels: chosen, labels: Uint8Array.from(indices, (from) => labels[from]!), count: indices.length };
}

/** A task's data file: n × (label byte ‖ pixels). */
export function encodeSamples({ pixels, labels, count }: Samples): Uint8Array {
  const size = count === 0 ? 0 : pixels.length / count;
  if (!Number.isInteger(size) || labels.length !== count) {
    throw new RangeError(`${pixels.length} pixels and ${labels.length} labels for ${count} samples`);
  }
  const bytes = new Uint8Array(count * (1 + size));
  for (let i = 0; i < count; i++) {
    bytes[i * (1 + size)] = labels[i]!;
    bytes.set(pixels.subarray(i * size, (i + 1) * size), i * (1 + size) + 1);
  }
  return bytes;
}

/**
 * Reads a task's data file.
 * @throws PonasError dataset where it is empty, is not a whole number of samples, or has a label that is no class
 */
export function decodeSamples(bytes: Uint8Array, { height, width, channels, classes }: TestSetShape): Samples {
  const size = height * width * channels;
  const count = bytes.length / (1 + size);
  if (count === 0 || !Number.isInteger(count)) {
    const shape = `${height}×${width}×${channels}`;
    throw new PonasError(
      "dataset",
      `A data file of ${bytes.length} bytes is not a whole number of samples of ${1 + size} bytes (a label and ${shape} pixels).`,
    );
  }
  const pixels = new Uint8Array(count * size);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const at = i * (1 + size);
    labels[i] = bytes[at]!;
    if (labels[i]! >= classes) {
      throw new PonasError(
        "dataset",
        `Sample ${i} of a data file has label ${labels[i]}, but there are ${classes} classes.`,
      );
    }
    pixels.set(bytes.subarray(at + 1, at + 1 + size), i * size);
  }
  return { pixels, labels, count };
}

const CIPHER = "aes-256-gcm";
const TAG_BYTES = 16;
/** A fixed nonce is safe because every key encrypts one file only. */
const NONCE = new Uint8Array(12);

/**
 * Encrypts a test set's file under its one-use key: AES-256-GCM, nonce 0, the 16-byte tag at the end.
 * @param key 32 random bytes, never used for another file
 */
export function encryptTestSet(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv(CIPHER, checkedKey(key), NONCE, { authTagLength: TAG_BYTES });
  return new Uint8Array(Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]));
}

/** @throws PonasError integrity where the key is not the file's or the file was changed */
export function decryptTestSet(encrypted: Uint8Array, key: Uint8Array): Uint8Array {
  const decipher = createDecipheriv(CIPHER, checkedKey(key), NONCE, { authTagLength: TAG_BYTES });
  try {
    decipher.setAuthTag(encrypted.subarray(-TAG_BYTES));
    return new Uint8Array(Buffer.concat([decipher.update(encrypted.subarray(0, -TAG_BYTES)), decipher.final()]));
  } catch (cause) {
    throw new PonasError(
      "integrity",
      "The test set does not decrypt: its key or its bytes are not the ones published.",
      {
        cause,
      },
    );
  }
}

function checkedKey(key: Uint8Array): Uint8Array {
  if (key.length !== 32) throw new RangeError(`a key of ${key.length} bytes instead of 32`);
  return key;
}
