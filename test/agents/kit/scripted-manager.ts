/** A pool's manager over a real socket whose every answer is a test's: it can stall, ban, and talk nonsense. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";

import { WebSocketServer, type WebSocket } from "ws";

import { MANAGER_METHODS, MINER_METHODS, type Job, type SignedShare } from "../../../offchain/pool/messages.ts";
import { createRpcPeer, type Handlers, type RpcPeer } from "../../../offchain/pool/rpc.ts";
import { digestOf, shareData, shareReceiptData } from "../../../offchain/pool/signatures.ts";
import type { Hex } from "../../../offchain/protocol/bytes.ts";
import { IDENTITY, RECEIPT_KEY, signerOf } from "../../pool/kit/world.ts";

export interface Caller {
  readonly peer: RpcPeer<typeof MINER_METHODS>;
  readonly socket: WebSocket;
}
type Answers = Partial<{
  [K in keyof typeof MANAGER_METHODS]: (
    params: Parameters<Handlers<typeof MANAGER_METHODS>[K]>[0],
    caller: Caller,
  ) => unknown;
}>;

export interface ScriptedManager {
  readonly url: string;
  readonly callers: Caller[];
  /** what was asked, in order */
  readonly calls: { readonly method: string; readonly params: unknown }[];
  stop(): Promise<void>;
}

/** @param answers in place of polite ones; what it gives out is not checked */
export async function startScriptedManager(answers: Answers = {}, checkpointMs = 0): Promise<ScriptedManager> {
  const calls: { method: string; params: unknown }[] = [];
  const callers: Caller[] = [];
  const polite: Answers = {
    "mining.subscribe": () => ({
      session: "ab".repeat(32),
      ...IDENTITY,
      receiptKey: RECEIPT_KEY.address,
      heartbeatMs: 30_000,
      checkpointMs,
      challenge: { nonce: `0x${"cd".repeat(32)}`, expiresAt: Date.now() + 60_000 },
    }),
    "mining.heartbeat": () => ({ heartbeatBy: Date.now() + 30_000, endsAt: Date.now() + 60_000 }),
    "mining.submit": async (signed) => ({ receipt: await receiptFor(signed), best: false }),
    "mining.points": () => ({ receipt: null }),
  };
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  server.on("connection", (socket) => {
    const handlers = Object.fromEntries(
      Object.keys(MANAGER_METHODS).map((name) => {
        const method = name as keyof typeof MANAGER_METHODS;
        const answer = (answers[method] ?? polite[method] ?? (() => ({}))) as (
          params: unknown,
          caller: Caller,
        ) => unknown;
        return [
          method,
          (params: unknown) => {
            calls.push({ method, params });
            return answer(params, caller);
          },
        ];
      }),
    ) as unknown as Handlers<typeof MANAGER_METHODS>;
    const peer = createRpcPeer({
      serves: MANAGER_METHODS,
      handlers,
      calls: MINER_METHODS,
      send: (text) => socket.send(text),
      onOffence: () => undefined,
      onDefect: (error) => {
        throw error;
      },
    });
    const caller = { peer, socket };
    callers.push(caller);
    socket.on("message", (data: Buffer) => peer.receive(data.toString("utf8")));
    socket.on("close", () => peer.end("closed"));
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    callers,
    calls,
    async stop() {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, "close");
    },
  };
}

/** The receipt of a share of this miner, as the scripted manager's key signs it. */
export function receiptFor({ share }: Pick<SignedShare, "share">, miner = signerOf(1).address): Promise<Hex> {
  const { taskId, lease, modelRoot } = share;
  const digest = digestOf(shareData(IDENTITY, share));
  return RECEIPT_KEY.sign(shareReceiptData(IDENTITY, { taskId, miner, lease, modelRoot, share: digest }));
}

/** A job for {@link startScriptedManager} to give. */
export function jobOf(lease: number, architecture: Job["architecture"], changes: Partial<Job> = {}): Job {
  return {
    lease,
    taskId: 1n,
    kind: "explore",
    architecture,
    seed: lease,
    settings: { epochs: 8, batch: 32, learningRate: 3e-3, schedule: "cosine", optimizer: "adam" },
    initial: null,
    epochsBefore: 0,
    heartbeatBy: Date.now() + 30_000,
    endsAt: Date.now() + 600_000,
    ...changes,
  };
}
