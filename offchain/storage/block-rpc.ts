/**
 * `block/get` of the Kubo RPC with a cap. Not through kubo-rpc-client: its `block.get` buffers whatever the node
 * sends, so a lying node could fill our memory. Here the bytes go from the socket to their place and into the hash.
 */
import { createHash } from "node:crypto";

import { z } from "zod";

import { PonasError } from "../protocol/errors.ts";
import { refusal, unreachable } from "./store-errors.ts";
import type { ReadBlock } from "./verified-file.ts";

/** No block that bitswap carries is larger. */
const MAX_BLOCK_BYTES = 2 << 20;

const rpcError = z.object({ Message: z.string() });

/**
 * @param rpcUrl base of the RPC, without `/api/v0`
 * @throws PonasError from the reader: store-unreachable, unavailable (the node says it has no such block), integrity
 */
export function createBlockReader(rpcUrl: string): ReadBlock {
  return async (cid, room, signal) => {
    let response: Response;
    try {
      response = await fetch(`${rpcUrl}/api/v0/block/get?arg=${cid}`, { method: "POST", redirect: "error", signal });
    } catch (cause) {
      throw unreachable(rpcUrl, cause);
    }
    if (!response.ok) {
      const message = await errorMessage(response);
      if (response.status < 500) throw refusal(rpcUrl, "block/get", response.status, message);
      throw new PonasError("unavailable", `The IPFS node at ${rpcUrl} could not give the block ${cid}: ${message}`);
    }
    const hash = createHash("sha256");
    let length = 0;
    try {
      for await (const chunk of response.body ?? []) {
        hash.update(chunk);
        if (length < room.length) room.set(chunk.subarray(0, room.length - length), length);
        length += chunk.length;
        if (length > MAX_BLOCK_BYTES) break;
      }
    } catch (cause) {
      throw unreachable(rpcUrl, cause);
    }
    if (length > MAX_BLOCK_BYTES) throw lied(rpcUrl, `sent more than ${MAX_BLOCK_BYTES} bytes as the block ${cid}`);
    if (!hash.digest().equals(cid.multihash.digest))
      throw lied(rpcUrl, `sent bytes that are not those of the block ${cid}`);
    return length;
  };
}

function lied(rpcUrl: string, what: string): PonasError {
  return new PonasError("integrity", `The IPFS node at ${rpcUrl} ${what}.`, {
    cure: "the node's disk is damaged or it lies: repair it, or use another node",
  });
}

/** The sentence of an RPC error, at most 200 characters of it; the body is read no further than 4 KiB. */
async function errorMessage(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body ?? []) {
      parts.push(chunk.subarray(0, 4096 - length));
      length += chunk.length;
      if (length >= 4096) break;
    }
  } catch {
    // what arrived before the cut is all there is to tell
  }
  const text = Buffer.concat(parts).toString("utf8").trim();
  try {
    return rpcError.parse(JSON.parse(text)).Message.slice(0, 200);
  } catch {
    return text.slice(0, 200) || response.statusText || `status ${response.status}`;
  }
}
