import type { Blocks } from "@helia/interface";
import type { CID } from "multiformats/cid";

import { sleep } from "../protocol/wait.ts";

/** Reads a block from the folder or, for as long as the signal lets it, from peers. */
export type FetchBlock = (cid: CID, signal: AbortSignal) => Promise<Uint8Array>;

const FIRST_PATIENCE_MS = 1000;
const LAST_PATIENCE_MS = 30_000;
/** A file that cannot be read is reported as missing too, and will not get better. */
const MAX_LOST = 3;
/** Longer than bitswap's debounce of 10 ms: a want that is repeated before that is taken for the one given up. */
const PAUSE_MS = 50;

/**
 * Level-triggered wants over @helia/bitswap, which says each want once and forgets it too easily: the remote answers
 * no want that it believes to have answered, a want that two callers share ends with the first of them, and a message
 * that breaks off is not sent again. So all callers of a block share one want, and it is given up and said anew with
 * growing patience until the block is here or the last caller has gone. A block that a former want brings late serves
 * the present one, so a slow link loses nothing by this.
 */
export function createBlockFetcher(blocks: Blocks): FetchBlock {
  interface Want {
    readonly block: Promise<Uint8Array>;
    readonly end: AbortController;
    callers: number;
  }
  const wants = new Map<string, Want>();

  async function read(cid: CID, signal: AbortSignal): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of blocks.get(cid, { signal })) parts.push(part);
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  async function insist(cid: CID, signal: AbortSignal): Promise<Uint8Array> {
    let lost = 0;
    for (let patience = FIRST_PATIENCE_MS; ; patience = Math.min(1.5 * patience, LAST_PATIENCE_MS)) {
      const turn = AbortSignal.timeout(Math.round(patience));
      try {
        return await read(cid, AbortSignal.any([signal, turn]));
      } catch (error) {
        // NotFoundError: it was here a moment ago, and damaged or collected; the next turn asks peers
        const again = turn.aborted || ((error as Error).name === "NotFoundError" && ++lost < MAX_LOST);
        if (signal.aborted || !again) throw error;
      }
      await sleep(PAUSE_MS, signal);
    }
  }

  return async (cid, signal) => {
    signal.throwIfAborted();
    const key = cid.toString();
    let want = wants.get(key);
    if (want === undefined) {
      const end = new AbortController();
      want = { block: insist(cid, end.signal), end, callers: 0 };
      wants.set(key, want);
    }
    want.callers++;
    const gone = Promise.withResolvers<never>();
    const onAbort = (): void => gone.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([want.block, gone.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (--want.callers === 0) {
        if (wants.get(key) === want) wants.delete(key);
        want.end.abort();
        want.block.catch(() => {}); // nobody waits for it any more
      }
    }
  };
}
