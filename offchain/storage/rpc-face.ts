/**
 * The subset of Kubo's RPC (docs.ipfs.tech/reference/kubo/rpc) that kubo-rpc-client needs, over an embedded node: so
 * agents speak to it and to a real Kubo alike. This file is the HTTP around the commands: who may ask, time limits,
 * errors.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { isIP, type AddressInfo } from "node:net";

import { PonasError } from "../protocol/errors.ts";
import { createBlockFetcher } from "./block-fetcher.ts";
import type { CheckedBlockstore } from "./checked-blockstore.ts";
import type { EmbeddedHelia } from "./keep-connected.ts";
import { createPinning } from "./pinning.ts";
import { createCommands } from "./rpc-commands.ts";
import { RpcError } from "./rpc-error.ts";

export interface RpcFace {
  /** `http://host:port` */
  readonly url: string;
  stop(): Promise<void>;
}

/** @throws PonasError bad-input where the address is taken */
export async function startRpcFace(options: {
  helia: EmbeddedHelia;
  store: CheckedBlockstore;
  host?: string;
  port?: number;
}): Promise<RpcFace> {
  const { helia, store, host = "127.0.0.1", port = 0 } = options;
  const fetchBlock = createBlockFetcher(helia.blockstore);
  const commands = createCommands(helia, createPinning(helia, store, fetchBlock), fetchBlock);
  const life = new AbortController();
  const running = new Set<Promise<void>>();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    try {
      checkCaller(request, host);
      const url = URL.parse(request.url ?? "", "http://localhost");
      const command = url?.pathname.startsWith("/api/v0/")
        ? commands.get(url.pathname.slice("/api/v0/".length))
        : undefined;
      if (url === null || command === undefined) throw new RpcError(404, `there is no command ${url?.pathname}`);
      const limit = timeLimit(url.searchParams.get("timeout"));
      const signal = AbortSignal.any([life.signal, gone.signal, ...(limit === undefined ? [] : [limit])]);
      try {
        await command({ query: url.searchParams, request, response, signal });
      } catch (error) {
        // Kubo's words, which its clients know
        throw limit?.aborted === true ? new RpcError(500, "context deadline exceeded") : error;
      }
    } catch (error) {
      fail(request, response, error);
    }
  }

  const server = createServer((request, response) => {
    const one = answer(request, response).finally(() => running.delete(one));
    running.add(one);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new PonasError("bad-input", `The IPFS node's RPC cannot listen on ${host}:${port}: ${cause.message}`, {
          cure: "choose another port, or stop what uses it",
          cause,
        }),
      ),
    );
    server.listen(port, host, resolve);
  });
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      life.abort();
      server.closeAllConnections();
      await closed;
      await Promise.all(running);
    },
  };
}

/**
 * A web page may make the reader's browser post to the loopback, also under a name of its own that resolves there.
 * Browsers then send the page's origin, and its name as the host; no client of ours does either.
 */
function checkCaller(request: IncomingMessage, host: string): void {
  if (request.method !== "POST") throw new RpcError(405, `the method is POST, not ${request.method}`);
  const { origin, referer, host: called } = request.headers;
  if (origin !== undefined || referer !== undefined) throw new RpcError(403, "web pages may not command this node");
  const name = URL.parse(`http://${called}`)?.hostname.replace(/^\[|\]$/g, "");
  if (name === undefined || (isIP(name) === 0 && name !== "localhost" && name !== host)) {
    throw new RpcError(403, `this node is not called ${called}`);
  }
}

const UNIT_MS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Kubo's `timeout` in Go's notation: "500ms", "1m30s". */
function timeLimit(text: string | null): AbortSignal | undefined {
  if (text === null || text === "") return undefined;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) throw new RpcError(400, `the timeout ${text} is no duration`);
  let ms = 0;
  for (const [, count, , unit] of text.matchAll(/(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    ms += Number(count) * UNIT_MS[unit!]!;
  return AbortSignal.timeout(Math.min(Math.ceil(ms), 2 ** 31 - 1));
}

function fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const cause = error instanceof Error ? error : new Error(String(error));
  if (response.headersSent) {
    response.destroy(); // a cut connection tells the client; a normal end would pass for the whole answer
    return;
  }
  if (!request.complete) response.setHeader("connection", "close"); // of a body that nobody reads to its end
  response.statusCode = cause instanceof RpcError ? cause.status : 500;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ Message: cause.message, Code: 0, Type: "error" }));
}
