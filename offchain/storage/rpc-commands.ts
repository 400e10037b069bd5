/** The commands behind the RPC, by their paths under `/api/v0/`; parameters and answers as Kubo documents them. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";

import { unixfs } from "@helia/unixfs";
import * as dagPb from "@ipld/dag-pb";
import { importFile } from "ipfs-unixfs-importer";
import { fixedSize } from "ipfs-unixfs-importer/chunker";
import { balanced } from "ipfs-unixfs-importer/layout";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { sha256 } from "multiformats/hashes/sha2";
import { z } from "zod";

import { PonasError } from "../protocol/errors.ts";
import type { FetchBlock } from "./block-fetcher.ts";
import { MAX_FILE_BYTES } from "./cid.ts";
import { connect, parseAddress, type EmbeddedHelia } from "./keep-connected.ts";
import type { Pinning } from "./pinning.ts";
import { RpcError } from "./rpc-error.ts";
import { withUpload } from "./rpc-upload.ts";

export interface Call {
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** fires when the caller has gone, the time it gave is over, or the node stops */
  readonly signal: AbortSignal;
}

type Command = (call: Call) => Promise<void>;

/** As bitswap: larger blocks could not travel. */
const MAX_BLOCK_BYTES = 2 << 20;

const flag = z.enum(["true", "false"]).transform((text) => text === "true");
const count = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number);

const addOptions = z.object({
  "cid-version": z
    .enum(["0", "1"])
    .default("0")
    .transform((text) => (text === "1" ? 1 : 0)),
  "raw-leaves": flag.optional(),
  chunker: z
    .string()
    .regex(/^size-\d{1,7}$/, "only chunkers of a fixed size are known")
    .default("size-262144")
    .transform((text) => Number(text.slice("size-".length)))
    .refine((size) => size > 0 && size <= MAX_BLOCK_BYTES - 1024, "of no use to bitswap"),
  "max-file-links": count.refine((links) => links > 1 && links <= 8192).default(174),
  pin: flag.default(true),
  "only-hash": flag.default(false),
  hash: z.literal("sha2-256").default("sha2-256"),
  // what would give another CID than asked for is refused, never passed over
  trickle: z.literal("false").optional(),
  inline: z.literal("false").optional(),
  nocopy: z.literal("false").optional(),
  "wrap-with-directory": z.literal("false").optional(),
});

const putOptions = z.object({
  "cid-codec": z.enum(["raw", "dag-pb"]).optional(),
  format: z.enum(["raw", "dag-pb"]).optional(),
  mhtype: z.literal("sha2-256").default("sha2-256"),
  pin: flag.default(false),
});

const KEEP_NOTHING = { put: async (cid: CID): Promise<CID> => cid };

export function createCommands(
  helia: EmbeddedHelia,
  pinning: Pinning,
  fetchBlock: FetchBlock,
): ReadonlyMap<string, Command> {
  const { libp2p } = helia;
  const blocks = helia.blockstore;

  const add: Command = async ({ query, request, response, signal }) => {
    const options = parse(addOptions, query);
    const version = options["cid-version"];
    const only = options["only-hash"];
    const stored = await withUpload(request, MAX_FILE_BYTES, signal, (upload) =>
      pinning.whileKept(async () => {
        const file = await importFile({ content: upload.content }, only ? KEEP_NOTHING : blocks, {
          cidVersion: version,
          rawLeaves: options["raw-leaves"] ?? version === 1,
          chunker: fixedSize({ chunkSize: options.chunker }),
          layout: balanced({ maxChildrenPerNode: options["max-file-links"] }),
          // with 1 MiB leaves the default of 50 would hold 50 MiB
          blockWriteConcurrency: 4,
        });
        upload.check();
        if (!only && options.pin) await pinning.pinLocal(file.cid);
        return file;
      }),
    );
    const hash = stored.cid.toString();
    json(response, { Name: hash, Hash: hash, Size: String(stored.size) });
  };

  const blockPut: Command = async ({ query, request, response, signal }) => {
    const options = parse(putOptions, query);
    const codec = (options["cid-codec"] ?? options.format ?? "raw") === "raw" ? raw : dagPb;
    const { cid, size } = await withUpload(request, MAX_BLOCK_BYTES, signal, (upload) =>
      pinning.whileKept(async () => {
        const parts: Uint8Array[] = [];
        for await (const part of upload.content) parts.push(part);
        upload.check();
        const block = Buffer.concat(parts);
        const made = CID.createV1(codec.code, await sha256.digest(block));
        await blocks.put(made, block, { signal });
        if (options.pin) await pinning.pinLocal(made);
        return { cid: made, size: block.length };
      }),
    );
    json(response, { Key: cid.toString(), Size: size });
  };

  const cat: Command = async ({ query, response, signal }) => {
    const { offset, length } = parse(z.object({ offset: count.optional(), length: count.optional() }), query);
    const fetched = {
      get: async function* (cid: CID) {
        yield await fetchBlock(cid, signal);
      },
      put: blocks.put.bind(blocks),
      has: blocks.has.bind(blocks),
    };
    const chunks = unixfs({ blockstore: fetched })
      .cat(cidArgument(query), { signal, offset, length })
      [Symbol.asyncIterator]();
    let step = await chunks.next(); // before the headers, so that a failure can still be told
    response.setHeader("content-type", "text/plain");
    response.setHeader("x-stream-output", "1");
    for (; step.done !== true; step = await chunks.next()) {
      if (!response.write(step.value)) await once(response, "drain", { signal });
    }
    response.end();
  };

  const pinLs: Command = async ({ query, response }) => {
    const found: CID[] = [];
    const pinned = (cid: CID) => ({ Cid: cid.toString(), Type: "recursive" });
    if (query.has("arg")) {
      const cid = cidArgument(query);
      if (!(await pinning.isPinned(cid))) throw new RpcError(500, `path '${cid}' is not pinned`);
      found.push(cid);
    } else {
      for await (const cid of pinning.list()) found.push(cid);
    }
    if (query.get("stream") === "true") return lines(response, found.map(pinned));
    json(response, { Keys: Object.fromEntries(found.map((cid) => [cid.toString(), { Type: "recursive" }])) });
  };

  const commands: Record<string, Command> = {
    version: async ({ response }) =>
      json(response, { Version: "0.43.0-ponas", Commit: "", Repo: "", System: "", Golang: "" }),
    id: async ({ response }) =>
      json(response, {
        ID: libp2p.peerId.toString(),
        PublicKey: "",
        Addresses: libp2p.getMultiaddrs().map(String),
        AgentVersion: "ponas",
        Protocols: libp2p.getProtocols(),
      }),
    add,
    cat,
    "block/put": blockPut,
    "block/get": async ({ query, response, signal }) => {
      const block = await fetchBlock(cidArgument(query), signal);
      response.setHeader("content-type", "application/octet-stream");
      response.end(block);
    },
    "block/stat": async ({ query, response, signal }) => {
      const cid = cidArgument(query);
      json(response, { Key: cid.toString(), Size: (await fetchBlock(cid, signal)).length });
    },
    "pin/add": async ({ query, response, signal }) => {
      const cid = cidArgument(query);
      await pinning.pin(cid, signal);
      json(response, { Pins: [cid.toString()] });
    },
    "pin/rm": async ({ query, response }) => {
      const cid = cidArgument(query);
      if (!(await pinning.isPinned(cid))) throw new RpcError(500, "not pinned or pinned indirectly");
      await pinning.unpin(cid);
      json(response, { Pins: [cid.toString()] });
    },
    "pin/ls": pinLs,
    "repo/gc": async ({ response }) =>
      lines(
        response,
        (await pinning.collect()).map((cid) => ({ Key: { "/": cid.toString() } })),
      ),
    "swarm/connect": async ({ query, response, signal }) => {
      const peer = await connect(libp2p, address(query.get("arg") ?? ""), signal);
      json(response, { Strings: [`connect ${peer} success`] });
    },
    "swarm/peers": async ({ response }) =>
      json(response, {
        Peers: libp2p
          .getConnections()
          .map((one) => ({ Addr: one.remoteAddr.toString(), Peer: one.remotePeer.toString() })),
      }),
  };
  return new Map(Object.entries(commands));
}

function json(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(value));
}

function lines(response: ServerResponse, values: readonly unknown[]): void {
  response.setHeader("content-type", "application/json");
  response.end(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
}

function parse<T>(schema: z.ZodType<T>, query: URLSearchParams): T {
  const parsed = schema.safeParse(Object.fromEntries(query));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new RpcError(400, `the option ${issue?.path.join(".")} cannot be served: ${issue?.message}`);
}

/** The one CID of a call; a path below it is not served. */
function cidArgument(query: URLSearchParams): CID {
  const given = query.getAll("arg");
  if (given.length !== 1) throw new RpcError(400, `argument "ipfs-path" is required, once`);
  try {
    return CID.parse(given[0]!.replace(/^\/ipfs\//, ""));
  } catch {
    throw new RpcError(400, `invalid path ${JSON.stringify(given[0]!.slice(0, 100))}: no CID`);
  }
}

function address(text: string): ReturnType<typeof parseAddress> {
  try {
    return parseAddress(text);
  } catch (error) {
    throw error instanceof PonasError ? new RpcError(400, error.message) : error;
  }
}
