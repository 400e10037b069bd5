import { isAddressEqual } from "viem";
import { WebSocket } from "ws";

import { MANAGER_METHODS, MAX_MESSAGE_BYTES, type Benchmark } from "../pool/messages.ts";
import { createRpcPeer } from "../pool/rpc.ts";
import type { PoolIdentity } from "../pool/signatures.ts";
import { PonasError } from "../protocol/errors.ts";

/** What a pool's endpoint says of itself to whoever asks. */
export interface PoolGreeting {
  /** a lease's miner is taken for gone when it is silent for so long */
  readonly heartbeatMs: number;
  /** shortest time between two checkpoints of a lease; 0: none are taken */
  readonly checkpointMs: number;
  /** how it counts points, name and parameters; null where it does not say */
  readonly scheme: string | null;
}

/**
 * Asks a pool's endpoint who it is, and leaves: without a signature there is neither a session nor a lease.
 * @throws PonasError unavailable, timeout; integrity where it talks nonsense; chain-mismatch where it is of another pool
 */
export async function probePool(options: {
  readonly url: string;
  readonly benchmark: Benchmark;
  readonly expected: PoolIdentity;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}): Promise<PoolGreeting> {
  const { url, benchmark, expected, timeoutMs, signal } = options;
  const socket = new WebSocket(url, {
    handshakeTimeout: timeoutMs,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
  });
  const manager = createRpcPeer({
    serves: {},
    handlers: {},
    calls: MANAGER_METHODS,
    send: (text) => socket.send(text),
    // What it has to say beside its answer is not looked at.
    onOffence: () => undefined,
    onDefect: () => undefined,
  });
  const stop = (): void => socket.terminate();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string, cause?: unknown): void => {
        manager.end(`The link to the pool at ${url} ended: ${why}.`);
        reject(new PonasError("unavailable", `There is no pool to be had at ${url}: ${why}.`, { cause }));
      };
      socket.once("open", () => resolve());
      socket.on("error", (error) => fail(error.message, error));
      socket.on("close", (code, reason) => fail(reason.toString("utf8").replace(/\.$/, "") || `code ${code}`));
      socket.on("message", (data: Buffer) => manager.receive(data.toString("utf8")));
    });
    const hello = await manager.request(
      "mining.subscribe",
      { client: "ponas dry run", benchmark },
      { timeoutMs, signal },
    );
    if (hello.chainId !== expected.chainId || !isAddressEqual(hello.pool, expected.pool)) {
      throw new PonasError(
        "chain-mismatch",
        `The endpoint ${url} is of pool ${hello.pool} on chain ${hello.chainId}, not of ${expected.pool} on chain ${expected.chainId}.`,
      );
    }
    const { heartbeatMs, checkpointMs, scheme } = hello;
    return { heartbeatMs, checkpointMs, scheme: scheme?.text ?? null };
  } catch (error) {
    if (signal.aborted) throw new PonasError("aborted", "Stopped.", { cause: error });
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
    manager.end("The pool was only asked who it is.");
    socket.terminate();
  }
}
