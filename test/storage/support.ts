import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as dagPb from "@ipld/dag-pb";
import { UnixFS } from "ipfs-unixfs";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { sha256 } from "multiformats/hashes/sha2";

import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { startIpfsNode, type IpfsNode, type IpfsNodeOptions } from "../../offchain/storage/ipfs-node.ts";

export const MIB = 1 << 20;

export function randomBytes(seed: number, length: number): Uint8Array {
  const random = createRandom(seed);
  const bytes = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.next() * 2 ** 32;
  return new Uint8Array(bytes.buffer, 0, length);
}

/** The PonasError that the promise is rejected with. */
export async function failure(promise: Promise<unknown>): Promise<PonasError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PonasError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

/** Folders, nodes and servers of one test, all gone after it. */
export function createBench() {
  const undo: (() => Promise<unknown>)[] = [];
  const folder = (): string => {
    const dir = mkdtempSync(join(tmpdir(), "ponas-storage-"));
    undo.push(async () => rmSync(dir, { recursive: true, force: true }));
    return dir;
  };
  return {
    folder,
    later: (step: () => Promise<unknown>) => undo.push(step),
    node: async (options: Partial<IpfsNodeOptions> = {}): Promise<IpfsNode> => {
      const node = await startIpfsNode({ dir: folder(), ...options });
      undo.push(() => node.stop());
      return node;
    },
    /** A server that plays an IPFS node's RPC. */
    server: async (
      answer: (path: string, query: URLSearchParams, response: ServerResponse, request: IncomingMessage) => void,
      port = 0,
    ): Promise<{ url: string; port: number; close(): Promise<void> }> => {
      const server = createServer((request, response) => {
        const url = new URL(request.url!, "http://x");
        answer(url.pathname.replace("/api/v0/", ""), url.searchParams, response, request);
      });
      await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
      const close = async (): Promise<void> => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      };
      undo.push(close);
      const { port: bound } = server.address() as AddressInfo;
      return { url: `http://127.0.0.1:${bound}`, port: bound, close };
    },
    clear: async (): Promise<void> => {
      for (const step of undo.splice(0).reverse()) await step();
    },
  };
}

/** Blocks made by hand, as a publisher who keeps to no rule would make them. */
export async function rawBlock(bytes: Uint8Array): Promise<{ cid: CID; bytes: Uint8Array }> {
  return { cid: CID.createV1(raw.code, await sha256.digest(bytes)), bytes };
}

export async function rootBlock(
  blockSizes: number[],
  links: { cid: CID; size: number; name?: string }[],
  options: ConstructorParameters<typeof UnixFS>[0] = { type: "file" },
): Promise<{ cid: CID; bytes: Uint8Array }> {
  const data = new UnixFS({ ...options, blockSizes: blockSizes.map(BigInt) }).marshal();
  const node = { Data: data, Links: links.map(({ cid, size, name = "" }) => ({ Name: name, Hash: cid, Tsize: size })) };
  const bytes = dagPb.encode(dagPb.prepare(node));
  return { cid: CID.createV1(dagPb.code, await sha256.digest(bytes)), bytes };
}
