/**
 * The manager's WebSocket server. It knows sockets and nothing of pools: it bounds what one client can cost (size,
 * rate, connections, unread bytes), finds out who is gone, and hands text to the manager.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import { WebSocketServer, type WebSocket } from "ws";

import type { PoolManager } from "../pool/manager.ts";
import { CLOSE, MAX_MESSAGE_BYTES } from "../pool/messages.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";

export interface EndpointLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** longest message in bytes */
  readonly maxMessageBytes: number;
  /** messages a second that one client may send for long, and how many at once */
  readonly messagesPerSecond: number;
  readonly messageBurst: number;
  /** bytes that wait for a client that does not read, before it is dropped */
  readonly maxUnreadBytes: number;
  /** a client that has not answered a ping of this period by the next is gone */
  readonly pingMs: number;
}

export const DEFAULT_LIMITS: EndpointLimits = {
  maxConnections: 1000,
  maxConnectionsPerAddress: 64,
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
  const perAddress = new Map<string, number>();
  const answered = new WeakSet<WebSocket>();

  server.on("connection", (socket: WebSocket, request: IncomingMessage) => {
    const address = request.socket.remoteAddress ?? "unknown";
    const already = perAddress.get(address) ?? 0;
    socket.on("error", (error) => log.debug({ address }, `A link failed: ${error.message}`));
    if (server.clients.size > limits.maxConnections || already >= limits.maxConnectionsPerAddress) {
      socket.close(CLOSE.busy, "Too many links; try again later.");
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
          socket.terminate();
          return;
        }
        socket.send(text);
      },
      close: end,
    });

    let allowance = limits.messageBurst;
    let counted = performance.now();
    const withinRate = (): boolean => {
      const now = performance.now();
      allowance = Math.min(limits.messageBurst, allowance + ((now - counted) / 1000) * limits.messagesPerSecond);
      counted = now;
      allowance -= 1;
      return allowance >= 0;
    };
    const drop = (code: number, reason: string): void => {
      link.closed();
      // What is still on its way from a flooder is thrown away unread.
      socket.removeAllListeners("message");
      end(code, reason);
    };
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!withinRate()) return drop(CLOSE.flood, `More than ${limits.messagesPerSecond} messages a second.`);
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
