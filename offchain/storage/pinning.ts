/**
 * Pins of the embedded node. Helia's own walk under a pin has no bound and counts a block once per link; ours visits
 * every block once and stops at a bound. Collection waits for adds that are under way, and the other way round, so it
 * never takes blocks that are about to be pinned.
 */
import type { GraphNode, Helia } from "@helia/interface";
import type { BlockView } from "multiformats";
import { createUnsafe } from "multiformats/block";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";

import type { FetchBlock } from "./block-fetcher.ts";
import type { CheckedBlockstore } from "./checked-blockstore.ts";

/** Bounds under one pin: no file of ponas has more than 1,025 blocks and 1 GiB. */
const MAX_BLOCKS = 4096;
const MAX_BYTES = 2 ** 31;

type UnknownBlock = BlockView<unknown, number, number, 0 | 1>;
type GetBlock = (cid: CID) => Promise<Uint8Array>;

/** Every block below a root once, the root first. @throws Error beyond the bounds */
async function* walk(root: CID, getBlock: GetBlock, getCodec: Helia["getCodec"]): AsyncGenerator<UnknownBlock> {
  const seen = new Set<string>();
  const queue = [root];
  let bytes = 0;
  for (let cid = queue.pop(); cid !== undefined; cid = queue.pop()) {
    const key = cid.toString();
    if (seen.has(key)) continue;
    seen.add(key);
    if (seen.size > MAX_BLOCKS) throw new Error(`more than ${MAX_BLOCKS} blocks hang below ${root}`);
    const content = await getBlock(cid);
    bytes += content.length;
    if (bytes > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes hang below ${root}`);
    const block = createUnsafe({ cid, bytes: content, codec: await getCodec(cid.code) });
    yield block;
    for (const [, child] of block.links()) queue.push(child);
  }
}

export interface Pinning {
  /** Runs something that writes blocks and pins them; no collection starts before it has ended. */
  whileKept<T>(work: () => Promise<T>): Promise<T>;
  /** Pins what is here already, inside {@link whileKept}. @throws NotFoundError where a block is missing */
  pinLocal(cid: CID): Promise<void>;
  /** Fetches what is missing, and pins. */
  pin(cid: CID, signal: AbortSignal): Promise<void>;
  unpin(cid: CID): Promise<void>;
  isPinned(cid: CID): Promise<boolean>;
  list(): AsyncGenerator<CID>;
  /** Deletes every block that is under no pin, and tells which, each as if it were raw. */
  collect(): Promise<CID[]>;
}

/** @param store the folder below the node, which a collection deletes from */
export function createPinning(helia: Helia, store: CheckedBlockstore, fetchBlock: FetchBlock): Pinning {
  const { blockstore, pins, getCodec } = helia;
  const readLocal: GetBlock = async (cid) => {
    const parts: Uint8Array[] = [];
    for await (const part of blockstore.get(cid, { offline: true })) parts.push(part);
    return Buffer.concat(parts);
  };
  const walker = () => ({
    walk: async function* <T>(root: CID): AsyncGenerator<GraphNode<T>> {
      for await (const block of walk(root, readLocal, getCodec)) {
        yield { block: block as GraphNode<T>["block"], depth: 0, path: [] };
      }
    },
  });
  /** Pin counts are read, changed and written back without a lock: one change at a time. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work, work);
    last = mine.catch(() => {});
    return mine;
  };
  const isPinned = async (cid: CID): Promise<boolean> => {
    try {
      await pins.get(cid);
      return true;
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return false;
      throw error;
    }
  };
  const keeping = new Set<Promise<unknown>>();
  let collecting: Promise<unknown> | undefined;
  const whileKept = async <T>(work: () => Promise<T>): Promise<T> => {
    while (collecting !== undefined) await collecting;
    const one = work();
    keeping.add(one);
    try {
      return await one;
    } finally {
      keeping.delete(one);
    }
  };
  const collect = async (): Promise<CID[]> => {
    await Promise.allSettled(keeping);
    const removed: CID[] = [];
    for await (const { cid } of store.getAll()) {
      if (await pins.isPinned(cid)) continue;
      await store.delete(cid);
      removed.push(CID.createV1(raw.code, cid.multihash)); // the folder knows only hashes; as Kubo, name them as raw
    }
    return removed;
  };
  const pinLocal = (cid: CID): Promise<void> =>
    inTurn(async () => {
      if (await isPinned(cid)) {
        // a pin does not prove that the blocks are still sound: read them, so that damage is found now
        for await (const _ of walk(cid, readLocal, getCodec));
        return;
      }
      for await (const _ of pins.add(cid, { walker }));
    });
  return {
    whileKept,
    pinLocal,
    pin: async (cid, signal) => {
      // fetched outside the lock: a CID that never arrives must not hold up a collection, and adds behind it
      for await (const _ of walk(cid, (below) => fetchBlock(below, signal), getCodec));
      await whileKept(() => pinLocal(cid));
    },
    unpin: (cid) =>
      inTurn(async () => {
        for await (const _ of pins.rm(cid, { walker }));
      }),
    isPinned,
    list: async function* () {
      for await (const { cid } of pins.ls()) yield cid;
    },
    collect: async () => {
      while (collecting !== undefined) await collecting;
      const mine = collect();
      collecting = mine.catch(() => {}).finally(() => (collecting = undefined));
      return mine;
    },
  };
}
