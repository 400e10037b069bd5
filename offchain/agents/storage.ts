import { join } from "node:path";

import type { Log } from "../protocol/log.ts";
import { startIpfsNode } from "../storage/ipfs-node.ts";
import { createModelStore, type ModelStore } from "../storage/model-store.ts";

export interface StorageOptions {
  /** RPC of a running IPFS node (Kubo or ours); without it this process carries a node of its own */
  readonly ipfs?: string;
  /** where the own node listens, as a multiaddr */
  readonly ipfsListen?: string;
  /** multiaddrs of nodes to stay connected to: without a public network these are who we fetch from */
  readonly peer?: readonly string[];
}

export interface Storage extends AsyncDisposable {
  readonly store: ModelStore;
}

/** Connects to the given IPFS node, or starts one in this process; disposing stops what was started. */
export async function openStorage(
  options: StorageOptions & { stateDir: string; log: Log; signal: AbortSignal },
): Promise<Storage> {
  const { ipfs, ipfsListen, peer = [], stateDir, log, signal } = options;
  if (ipfs !== undefined)
    return { store: createModelStore({ rpcUrl: ipfs, signal }), [Symbol.asyncDispose]: async () => {} };
  const node = await startIpfsNode({
    dir: join(stateDir, "ipfs"),
    listen: ipfsListen === undefined ? undefined : [ipfsListen],
    peers: [...peer],
    signal,
  });
  log.info({ event: "ipfs", addresses: node.multiaddrs }, `IPFS node listens on ${node.multiaddrs[0] ?? "nothing"}`);
  return {
    store: createModelStore({ rpcUrl: node.rpcUrl, signal }),
    [Symbol.asyncDispose]: () => node.stop(),
  };
}
