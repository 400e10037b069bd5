/** A model file's way over the link, in chunks, so that no message grows with the model. */
import type { Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import { MODEL_CHUNK_BYTES } from "./messages.ts";

export interface ModelChunk {
  readonly size: number;
  /** base64 */
  readonly data: string;
}

/** The answer to `mining.model`. @param chunk bytes from the asked offset on */
export function chunkAnswer(size: number, chunk: Uint8Array): ModelChunk {
  return { size, data: Buffer.from(chunk).toString("base64") };
}

/**
 * Asks for a whole model file chunk by chunk; never holds more than `maxBytes`. What arrives is not checked against
 * `modelRoot` here.
 * @throws PonasError model-too-large, integrity where sizes do not add up; and what `ask` throws
 */
export async function fetchModelBytes(
  modelRoot: Hex,
  maxBytes: number,
  ask: (request: { modelRoot: Hex; offset: number }) => Promise<ModelChunk>,
): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  let offset = 0;
  do {
    const { size, data } = await ask({ modelRoot, offset });
    if (size > maxBytes) {
      throw new PonasError("model-too-large", `The model ${modelRoot} has ${size} bytes; the cap is ${maxBytes}.`);
    }
    const chunk = Buffer.from(data, "base64");
    bytes ??= new Uint8Array(size);
    if (size !== bytes.length || chunk.length === 0 || chunk.length > Math.min(MODEL_CHUNK_BYTES, size - offset)) {
      throw new PonasError("integrity", `The model ${modelRoot} arrives in chunks that do not add up to its size.`);
    }
    bytes.set(chunk, offset);
    offset += chunk.length;
  } while (offset < bytes.length);
  return bytes;
}
