/** Files on IPFS through the RPC of a node that is ours but not trusted with contents: Kubo's, or the embedded one's. */
import * as dagPb from "@ipld/dag-pb";
import { create } from "kubo-rpc-client";

import { PonasError } from "../protocol/errors.ts";
import { withRetry } from "../protocol/wait.ts";
import { createBlockReader } from "./block-rpc.ts";
import { CHUNK_BYTES, cidOf, MAX_FILE_BYTES, MAX_LINKS, parseCid, type CID } from "./cid.ts";
import { mayPass, refusal, unreachable } from "./store-errors.ts";
import { fetchFile, readRoot } from "./verified-file.ts";

export interface WaitOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds for the whole call, retries included; 60,000 where nothing is said. */
  readonly timeoutMs?: number;
}

export interface StoredFile {
  readonly cid: string;
  /** binary CIDv1, 36 bytes */
  readonly cidBytes: Uint8Array;
  /** bytes of the file */
  readonly size: number;
}

export interface ModelStore {
  /** Adds and pins a file, and makes sure that the node filed it under its canonical CID. */
  put(bytes: Uint8Array, options?: WaitOptions): Promise<StoredFile>;
  /**
   * Fetches a file from whoever has it, verified against its CID, never holding more than `maxBytes` and 64 KiB.
   * @throws PonasError unavailable or store-unreachable (try again), integrity (our own node is at fault),
   *   model-too-large or bad-input (whoever published the CID is at fault)
   */
  get(cid: string | Uint8Array, options: WaitOptions & { readonly maxBytes: number }): Promise<Uint8Array>;
  /** Fetches a file to the node and keeps it there. A CID whose shape is not canonical is refused before. */
  pin(cid: string | Uint8Array, options?: WaitOptions & { readonly maxBytes?: number }): Promise<void>;
  /** Lets the node forget a file at its next collection; unpinned is fine. */
  unpin(cid: string | Uint8Array, options?: WaitOptions): Promise<void>;
  /** True where the node holds the whole file pinned. */
  has(cid: string | Uint8Array, options?: WaitOptions): Promise<boolean>;
}

/**
 * @param rpcUrl `http://host:port`, with or without `/api/v0`
 * @throws PonasError bad-input where that is no such URL
 */
export function createModelStore({
  rpcUrl: given,
  signal: life,
}: {
  rpcUrl: string;
  signal?: AbortSignal;
}): ModelStore {
  const rpcUrl = checkUrl(given);
  const client = create({ url: `${rpcUrl}/api/v0` });
  const readBlock = createBlockReader(rpcUrl);

  /** One call with its deadline: `attempt` is repeated while the node is away, and told when time is up. */
  async function within<T>(
    { signal, timeoutMs = 60_000 }: WaitOptions,
    tooLate: (seconds: number) => PonasError,
    attempt: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (!(timeoutMs > 0 && timeoutMs < 2 ** 31))
      throw new PonasError("bad-input", `${timeoutMs} ms is no time to wait.`);
    const deadline = AbortSignal.timeout(timeoutMs);
    const stop = AbortSignal.any([life, signal].filter((one) => one !== undefined));
    const either = AbortSignal.any([deadline, stop]);
    return withRetry(
      async () => {
        try {
          either.throwIfAborted();
          return await attempt(either);
        } catch (error) {
          if (stop.aborted) throw new PonasError("aborted", "Stopped.", { cause: error });
          throw deadline.aborted ? tooLate(timeoutMs / 1000) : error;
        }
      },
      {
        signal: stop,
        deadlineMs: timeoutMs,
        retryable: (error) => !deadline.aborted && mayPass(error),
        giveUp: (cause) => (cause instanceof Error ? cause : new Error(String(cause))),
      },
    );
  }

  /** Runs a command of kubo-rpc-client and gives its failures our names. */
  async function command<T>(
    name: string,
    call: () => Promise<T>,
    alright: (message: string) => T | undefined = () => undefined,
  ) {
    try {
      return await call();
    } catch (error) {
      const { message } = error as Error;
      const status = statusOf(error);
      if (status === undefined) throw unreachable(rpcUrl, error);
      const fine = status >= 500 ? alright(message) : undefined;
      if (fine !== undefined) return fine;
      if (status < 500) throw refusal(rpcUrl, name, status, message);
      throw new PonasError("store-unreachable", `The IPFS node at ${rpcUrl} failed at ${name}: ${message}`, {
        cause: error,
      });
    }
  }

  const silent = (what: string) => (seconds: number) =>
    new PonasError("store-unreachable", `The IPFS node at ${rpcUrl} did not ${what} within ${seconds} s.`, {
      cure: "look at that node, or allow more time",
    });
  const absent = (cid: CID) => (seconds: number) =>
    new PonasError("unavailable", `The CID ${cid} did not arrive within ${seconds} s from any peer of ${rpcUrl}.`, {
      cure: "check that a node which has it runs and is connected",
    });

  return {
    put: async (bytes, options = {}) => {
      const cid = await cidOf(bytes);
      const added = await within(options, silent(`take a file of ${bytes.length} bytes`), (signal) => {
        // maxFileLinks is missing in the client's types; nodes before Kubo 0.33 do not know it and use 174
        const shape = {
          cidVersion: 1,
          rawLeaves: true,
          chunker: `size-${CHUNK_BYTES}`,
          maxFileLinks: MAX_LINKS,
        } as const;
        return command("add", () => client.add(bytes, { ...shape, pin: true, signal }));
      });
      if (added.cid.toString() !== cid.toString()) {
        throw new PonasError(
          "integrity",
          `The IPFS node at ${rpcUrl} stored the file as ${added.cid}, not as ${cid}.`,
          {
            cure: "use a node that keeps to CIDv1, raw leaves and chunks of 1048576 bytes",
          },
        );
      }
      return { cid: cid.toString(), cidBytes: cid.bytes, size: bytes.length };
    },

    get: async (from, { maxBytes, ...wait }) => {
      if (!Number.isSafeInteger(maxBytes) || maxBytes < 0)
        throw new PonasError("bad-input", `${maxBytes} is no cap in bytes.`);
      const cid = parseCid(from);
      return within(wait, absent(cid), (signal) => fetchFile(cid, maxBytes, readBlock, signal));
    },

    pin: async (from, { maxBytes = MAX_FILE_BYTES, ...wait } = {}) => {
      const cid = parseCid(from);
      await within(wait, absent(cid), async (signal) => {
        // a node pins whatever hangs below a root, for ever and without bound: so the shape comes first
        if (cid.code === dagPb.code) await readRoot(cid, maxBytes, readBlock, signal);
        else await fetchFile(cid, maxBytes, readBlock, signal);
        await command("pin/add", () => client.pin.add(cid, { signal }));
      });
    },

    unpin: async (from, options = {}) => {
      const cid = parseCid(from);
      await within(options, silent(`unpin ${cid}`), (signal) =>
        command(
          "pin/rm",
          () => client.pin.rm(cid, { signal }),
          (message) => (/not pinned/.test(message) ? cid : undefined),
        ),
      );
    },

    has: async (from, options = {}) => {
      const cid = parseCid(from);
      const listed = async (signal: AbortSignal): Promise<boolean> => {
        for await (const pin of client.pin.ls({ paths: cid, type: "recursive", signal })) {
          if (pin.cid.toString() === cid.toString()) return true;
        }
        return false;
      };
      return within(options, silent(`say whether it has ${cid}`), (signal) =>
        command(
          "pin/ls",
          () => listed(signal),
          (message) => (/not pinned/.test(message) ? false : undefined),
        ),
      );
    },
  };
}

function checkUrl(given: string): string {
  const refuse = (cause?: unknown): PonasError =>
    new PonasError("bad-input", `${JSON.stringify(given)} is not the URL of an IPFS node's RPC.`, {
      cure: "give it like http://127.0.0.1:5001",
      cause,
    });
  let url: URL;
  try {
    url = new URL(given);
  } catch (cause) {
    throw refuse(cause);
  }
  const path = url.pathname.replace(/\/+$/, "").replace(/\/api\/v0$/, "");
  if (!/^https?:$/.test(url.protocol) || path !== "" || url.search !== "" || url.username !== "") throw refuse();
  return url.origin;
}

/** The HTTP status that kubo-rpc-client's error carries, or undefined where no answer came. */
function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("response" in error) || !(error.response instanceof Response)) return undefined;
  return error.response.status;
}
