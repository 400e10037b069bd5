/**
 * An IPFS node in this process: blocks and keys in a folder, bitswap over TCP with the peers it was told of, and
 * Kubo's RPC in front. It talks to no public bootstrap node, router or gateway.
 */
import { mkdirSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";

import { withBitswap } from "@helia/bitswap";
import type { BlockBroker } from "@helia/interface";
import { withLibp2pLight } from "@helia/libp2p";
import { identify } from "@libp2p/identify";
import { noise } from "@libp2p/noise";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { FsDatastore } from "datastore-fs";
import { createHeliaLight } from "helia";

import { PonasError } from "../protocol/errors.ts";
import { takeLock } from "../protocol/lock.ts";
import { CheckedBlockstore } from "./checked-blockstore.ts";
import { connect, keepConnected, parseAddress } from "./keep-connected.ts";
import { startRpcFace } from "./rpc-face.ts";

export interface IpfsNodeOptions {
  /** folder of blocks, pins and the node's key; made where it is missing, used by one node at a time */
  readonly dir: string;
  /** multiaddrs to listen on; a free TCP port of the loopback where nothing is said */
  readonly listen?: readonly string[];
  /** multiaddrs of nodes to stay connected to, whether they run yet or not */
  readonly peers?: readonly string[];
  /** where the RPC listens; a free port of the loopback where nothing is said. Whoever reaches it commands the node. */
  readonly rpc?: { readonly host?: string; readonly port?: number };
  /** stops the node */
  readonly signal?: AbortSignal;
}

export interface IpfsNode {
  readonly rpcUrl: string;
  readonly peerId: string;
  /** where other nodes reach this one, each with its peer ID */
  readonly multiaddrs: readonly string[];
  /** Connects once, now. @throws PonasError unavailable, bad-input */
  connect(address: string): Promise<void>;
  /** Closes every port, waits for what is under way and gives the folder back. Twice is fine. */
  stop(): Promise<void>;
}

/** Folders in use by this very process, which the lock file with its process ID cannot tell apart. */
const ours = new Set<string>();

/** @throws PonasError bad-input where the folder is in use, or an address is wrong or taken */
export async function startIpfsNode(options: IpfsNodeOptions): Promise<IpfsNode> {
  const { listen = ["/ip4/127.0.0.1/tcp/0"], peers = [], rpc = {}, signal } = options;
  if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.");
  const addresses = peers.map(parseAddress);
  for (const address of listen) parseAddress(address);

  const undo: (() => void | Promise<void>)[] = [];
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= (async () => {
      const failures: unknown[] = [];
      for (const step of undo.splice(0).reverse()) {
        try {
          await step();
        } catch (error) {
          failures.push(error); // the later steps still have to run: a port or a lock left behind is worse
        }
      }
      if (failures.length > 0) throw failures[0];
    })();
    return stopped;
  };

  try {
    const dir = openFolder(options.dir);
    undo.push(takeFolder(dir));
    const life = new AbortController();
    const store = new CheckedBlockstore(join(dir, "blocks"));
    const helia = withBitswap(
      withLibp2pLight(
        createHeliaLight({
          blockstore: store,
          datastore: new FsDatastore(join(dir, "data")),
        }),
        {
          addresses: { listen: [...listen] },
          transports: [tcp()],
          connectionEncrypters: [noise()],
          streamMuxers: [yamux()],
          services: { identify: identify() },
          // many agents on one machine are one address to libp2p, which lets in 5 a second of it
          connectionManager: { inboundConnectionThreshold: 64, maxIncomingPendingConnections: 64 },
        },
      ),
      // For that long its ledger gives a block no second time, so a peer that lost it has to wait. Not zero: a peer
      // that asks who has a block before it asks for it, as Kubo does, must come back within that time.
      { doNotResendBlockWindow: 1000 },
    );
    undo.push(async () => {
      await helia.stop();
    });
    try {
      await helia.start();
    } catch (cause) {
      const { message } = cause as Error;
      throw new PonasError("bad-input", `The IPFS node in ${dir} cannot listen on ${listen.join(", ")}: ${message}`, {
        cure: "choose another address, or stop what uses it",
        cause,
      });
    }
    const { libp2p } = helia;
    store.onStored = (cid) => {
      // not awaited: whoever stores a block does not wait for those who want it; a lost message is wanted again
      for (const broker of brokersOf(helia)) broker.announce?.(cid).catch(() => {});
    };
    const face = await startRpcFace({ helia, store, ...rpc });
    undo.push(() => face.stop());
    const keepers = addresses.map((address) => keepConnected(libp2p, address, life.signal));
    undo.push(async () => {
      life.abort();
      await Promise.all(keepers);
    });
    if (signal?.aborted) throw new PonasError("aborted", "Stopped.");
    const onAbort = (): void => void stop().catch(() => {}); // whoever calls stop() gets the failure
    signal?.addEventListener("abort", onAbort, { once: true });
    undo.push(() => signal?.removeEventListener("abort", onAbort));

    return {
      rpcUrl: face.url,
      peerId: libp2p.peerId.toString(),
      multiaddrs: libp2p.getMultiaddrs().map(String),
      connect: async (address) => {
        await connect(libp2p, parseAddress(address), life.signal);
      },
      stop,
    };
  } catch (error) {
    await stop().catch(() => {}); // the first failure is the one to tell
    throw error;
  }
}

/** @helia/interface has no name for them, the object has. */
function brokersOf(helia: object): readonly BlockBroker[] {
  if ("blockBrokers" in helia && Array.isArray(helia.blockBrokers)) return helia.blockBrokers as BlockBroker[];
  throw new TypeError("this version of Helia keeps its block brokers somewhere else");
}

/** The node's key lies in there, so it is for this user only. */
function openFolder(path: string): string {
  try {
    for (const part of ["blocks", join("data", "pin")]) mkdirSync(join(path, part), { recursive: true, mode: 0o700 });
    return realpathSync(path);
  } catch (cause) {
    throw new PonasError(
      "bad-input",
      `The IPFS node cannot use the folder ${resolve(path)}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

function takeFolder(dir: string): () => void {
  if (ours.has(dir)) {
    throw new PonasError("bad-input", `The IPFS folder ${dir} is in use by another node of this process.`, {
      cure: "give each node a folder of its own",
    });
  }
  const release = takeLock(join(dir, "lock"), `The IPFS folder ${dir}`);
  ours.add(dir);
  return () => {
    ours.delete(dir);
    release();
  };
}
