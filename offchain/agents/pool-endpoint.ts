/**
 * The manager's WebSocket server. It knows sockets and nothing of pools: it bounds what one client can cost (size,
 * rate, connections, unread bytes), finds out who is gone, and hands text to the manager.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import { WebSocketServer, type WebSocket } from "ws";

import type { PoolManager } from "../pool/manager.ts";
import { CLOSE, MAX_MESSAGE_BYTES } from "../pool/messages.ts";
import { createTimeOuts, createTokenBuckets } from "../pool/limits.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";

export interface EndpointLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** connections a second that one network address may open for long, and how many at once */
  readonly connectionsPerSecond: number;
  readonly connectionBurst: number;
  /** longest message in bytes */
  readonly maxMessageBytes: number;
  /** messages a second that one client may send for long, and how many at once */
  readonly messagesPerSecond: number;
  readonly messageBurst: number;
  /** links of one network address that end for what was sent, within `shutOutMs`, before it is shut out for as long */
  readonly maxStrikes: number;
  readonly shutOutMs: number;
  /** bytes that wait for a client that does not read, before it is dropped */
  readonly maxUnreadBytes: number;
  /** a client that has not answered a ping of this period by the next is gone */
  readonly pingMs: number;
}

export const DEFAULT_LIMITS: EndpointLimits = {
  maxConnections: 4096,
  maxConnectionsPerAddress: 64,
  connectionsPerSecond: 5,
  connectionBurst: 200,
  maxStrikes: 10,
  shutOutMs: 60_000,
  maxMessageBytes: MAX_MESSAGE_BYTES,
  messagesPerSecond: 20,
  messageBurst: 100,
  maxUnreadBytes: 4 * MAX_MESSAGE_BYTES,
  pingMs: 15_000,
};

export interface PoolEndpoint {
  /** ws://host:port */
  readonly url: string;
  readonly port: number;
  /** Ends every link and the server; a second call does nothing. The manager is its owner's to stop. */
  stop(): Promise<void>;
}

/** A WebSocket close reason has at most 123 bytes. */
function shorten(reason: string): string {
  const bytes = Buffer.from(reason, "utf8");
  return bytes.length <= 123
    ? reason
    : `${bytes
        .subarray(0, 118)
        .toString("utf8")
        .replace(/\uFFFD+$/, "")}…`;
}

/**
 * Serves a pool's manager to its miners until the signal fires.
 * @param port 0 lets the system choose one
 * @throws PonasError bad-input where the port is taken or may not be used
 */
export async function startPoolEndpoint(options: {
  readonly manager: Pick<PoolManager, "connect">;
  readonly host: string;
  readonly port: number;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly limits?: Partial<EndpointLimits>;
}): Promise<PoolEndpoint> {
  const { manager, host, port, signal, log } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const http = createServer((_request, response) => {
    response.writeHead(426, { "content-type": "text/plain" }).end("This is a mining pool's WebSocket endpoint.\n");
  });
  const server = new WebSocketServer({
    server: http,
    maxPayload: limits.maxMessageBytes,
    perMessageDeflate: false,
    clientTracking: true,
  });
  // Sockets that never say anything reach neither the pool nor its limits.
  http.headersTimeout = 10_000;
  http.requestTimeout = 20_000;
  http.maxConnections = 2 * limits.maxConnections;
  const clock = (): number => performance.now();
  const { connectionsPerSecond, connectionBurst, messagesPerSecond, messageBurst, maxStrikes, shutOutMs } = limits;
  const opening = createTokenBuckets({ rate: connectionsPerSecond, burst: connectionBurst, clock });
  const timeOuts = createTimeOuts({ strikes: maxStrikes, shutOutMs, clock });
  const perAddress = new Map<string, number>();
  const answered = new WeakSet<WebSocket>();

  /** Why there can be no further link from an address, or null. */
  function refusalOf(address: string, already: number): string | null {
    const out = timeOuts.of(address);
    if (out !== null) return `Shut out for ${Math.ceil(out.ms / 1000)} s: ${out.reason}`;
    if (server.clients.size > limits.maxConnections) return "The pool has too many links; try again later.";
    if (already >= limits.maxConnectionsPerAddress) return `More than ${already} links from one address.`;
    if (opening.take(address) > 0) return `More than ${connectionsPerSecond} new links a second from one address.`;
    return null;
  }

  server.on("connection", (socket: WebSocket, request: IncomingMessage) => {
    const address = request.socket.remoteAddress ?? "unknown";
    const already = perAddress.get(address) ?? 0;
    socket.on("error", (error: Error & { code?: string }) => {
      log.debug({ address }, `A link failed: ${error.message}`);
      // Frames that are too large or malformed; the library has ended the link with the reason.
      if (error.code?.startsWith("WS_ERR_") === true) timeOuts.strike(address, error.message);
    });
    const refusal = refusalOf(address, already);
    if (refusal !== null) {
      socket.close(CLOSE.busy, shorten(refusal));
      setTimeout(() => socket.terminate(), 2_000).unref();
      return;
    }
    perAddress.set(address, already + 1);
    answered.add(socket);

    const end = (code: number, reason: string): void => {
      log.debug({ address, code }, `A link was ended: ${reason}`);
      socket.close(code, shorten(reason));
      // A client that does not answer the close, or does not read, holds nothing for longer than this.
      setTimeout(() => socket.terminate(), 2_000).unref();
    };
    const link = manager.connect({
      send(text) {
        if (socket.readyState !== socket.OPEN) return;
        if (socket.bufferedAmount > limits.maxUnreadBytes) {
          log.warn({ address }, `A miner at ${address} does not read; its link is dropped.`);
          link.closed();
          // Should it read once more, it finds the reason behind what it has not read.
          return end(CLOSE.slow, `More than ${limits.maxUnreadBytes} bytes wait to be read.`);
        }
        socket.send(text);
      },
      close(code, reason) {
        if (code === CLOSE.offences) timeOuts.strike(address, reason);
        end(code, reason);
      },
    });

    const messages = createTokenBuckets({ rate: messagesPerSecond, burst: messageBurst, clock });
    const drop = (code: number, reason: string): void => {
      link.closed();
      timeOuts.strike(address, reason);
      // What is still on its way from a flooder is thrown away unread.
      socket.removeAllListeners("message");
      end(code, reason);
    };
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (messages.take("") > 0) return drop(CLOSE.flood, `More than ${messagesPerSecond} messages a second.`);
      if (isBinary) return drop(CLOSE.offences, "Messages are text.");
      link.receive(data.toString("utf8"));
    });
    socket.on("pong", () => answered.add(socket));
    socket.on("close", () => {
      const left = perAddress.get(address)! - 1;
      if (left === 0) perAddress.delete(address);
      else perAddress.set(address, left);
      link.closed();
    });
  });

  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException): void => {
      const why = cause.code === "EADDRINUSE" ? "is in use" : `cannot be used (${cause.code ?? cause.message})`;
      reject(
        new PonasError("bad-input", `The port ${port} on ${host} for the pool's endpoint ${why}.`, {
          cause,
          cure: "choose another port, or 0 for any",
        }),
      );
    };
    // ws passes the server's errors on.
    server.once("error", refuse);
    http.listen(port, host, () => {
      server.off("error", refuse);
      resolve();
    });
  });
  server.on("error", (error) => log.error({ err: error }, `The pool's endpoint failed: ${error.message}`));

  const pinging = setInterval(() => {
    for (const socket of server.clients) {
      if (!answered.delete(socket)) socket.terminate();
      else socket.ping();
    }
  }, limits.pingMs);
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= new Promise((resolve) => {
      signal.removeEventListener("abort", stop);
      clearInterval(pinging);
      for (const socket of server.clients) socket.close(CLOSE.goingAway, "The pool's endpoint is stopping.");
      const impatient = setTimeout(() => {
        for (const socket of server.clients) socket.terminate();
        http.closeAllConnections();
      }, 500);
      server.close();
      http.close(() => {
        clearTimeout(impatient);
        resolve();
      });
    }));
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) await stop();

  const actual = (http.address() as AddressInfo | null)?.port ?? port;
  const name = host.includes(":") ? `[${host}]` : host;
  return { url: `ws://${name}:${actual}`, port: actual, stop };
}
