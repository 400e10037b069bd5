/**
 * Load on a pool's manager, in a process of its own: `node generator.ts '{"url", "miners", "rate", "seconds", "pid"}'`.
 * Miners join over WebSockets, send heartbeats, and hand in shares at a rate that does not depend on the answers. A
 * share is signed when its job arrives, seconds before it is sent, so that no signing stands between its sending and
 * its acknowledgement. Prints what it measured as JSON.
 */
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";

import { WebSocket } from "ws";

import { encodeModel, modelRoot } from "../../../offchain/evaluation/model.ts";
import { authorizeData, shareData } from "../../../offchain/pool/signatures.ts";
import type { Job, Share } from "../../../offchain/pool/messages.ts";
import type { Hex } from "../../../offchain/protocol/bytes.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { randomModel } from "../../evaluation/random-model.ts";
import { IDENTITY } from "../kit/world.ts";
import { correctOf, signDigests } from "./manager-process.ts";

export interface LoadOptions {
  readonly url: string;
  readonly miners: number;
  /** shares a second, of all miners together */
  readonly rate: number;
  readonly seconds: number;
  /** the manager's process */
  readonly pid: number;
}

export interface LoadResult {
  readonly miners: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unanswered: number;
  /** shares of the wanted rate that no miner had ready */
  readonly missed: number;
  readonly rate: number;
  /** milliseconds from sending to acknowledgement */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  /** part of the shares sent that was acknowledged within 100 ms */
  readonly within100: number;
  readonly heartbeats: number;
  /** MiB of the manager's process, from the beginning of the load to its end */
  readonly rss: readonly number[];
  /** CPU milliseconds of the manager's process for each acknowledged share, everything included */
  readonly cpuPerShare: number;
  /** CPUs that the manager, and this process, had on average */
  readonly managerCpus: number;
  readonly generatorCpus: number;
  readonly load: readonly number[];
  readonly joinSeconds: number;
  readonly reasons: Readonly<Record<string, number>>;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string };
}

const cpuMs = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
};
const rssMiB = (pid: number): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024);
const text = (value: unknown): string =>
  JSON.stringify(value, (_key, entry: unknown) => (typeof entry === "bigint" ? entry.toString() : entry));

export async function generate({ url, miners: count, rate, seconds, pid }: LoadOptions): Promise<LoadResult> {
  const latencies: number[] = [];
  const reasons: Record<string, number> = {};
  const ready: { send: () => void }[] = [];
  let [sent, refused, heartbeats] = [0, 0, 0];
  const note = (reason: string): void => {
    const general = reason.replace(/0x[0-9a-fA-F]+|\d+/g, "#");
    reasons[general] = (reasons[general] ?? 0) + 1;
  };

  async function join(key: number): Promise<WebSocket> {
    const signer = signDigests(key);
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const waiting = new Map<number, (message: Message) => void>();
    const models = new Map<string, Uint8Array>();
    let nextId = 1;
    let lease = 0;
    const request = (method: string, params: unknown): Promise<Message> =>
      new Promise((resolve) => {
        const id = nextId++;
        waiting.set(id, resolve);
        socket.send(text({ jsonrpc: "2.0", id, method, params }));
      });
    async function prepare(job: Job): Promise<void> {
      lease = job.lease;
      const model = randomModel(createRandom(`${job.lease}`), job.architecture);
      const root = modelRoot(model);
      models.set(root, encodeModel(model));
      const { taskId, architecture, seed, settings } = job;
      const share: Share = {
        taskId,
        lease: job.lease,
        architecture,
        seed,
        epochs: settings.epochs,
        trainLoss: Array.from({ length: settings.epochs }, (_, at) => 2 / (at + 1)),
        validation: { correct: correctOf(root), total: 30 },
        seconds: 1.25,
        flops: 1e9,
        modelRoot: root,
      };
      const signed = { share, signature: await signer.sign(shareData(IDENTITY, share)) };
      ready.push({
        send: () => {
          const start = performance.now();
          sent++;
          void request("mining.submit", signed).then(({ error }) => {
            if (error === undefined) return latencies.push(performance.now() - start);
            refused++;
            note(error.message);
          });
        },
      });
    }
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString("utf8")) as Message;
      if (message.method === undefined) {
        const resolve = waiting.get(message.id!);
        waiting.delete(message.id!);
        return resolve?.(message);
      }
      if (message.method === "mining.notify") {
        const { job, reason } = message.params as { job: unknown; reason?: string };
        if (job === null) return note(`no job: ${reason}`);
        // As the manager wrote it, but for the one integer that travels as text: the load is not to wait for its own checks.
        const given = job as Job;
        if (given.lease !== lease) void prepare({ ...given, taskId: BigInt(given.taskId) });
      } else if (message.method === "mining.model") {
        const { modelRoot: root, offset } = message.params as { modelRoot: string; offset: number };
        const model = models.get(root)!;
        const data64 = Buffer.from(model.subarray(offset)).toString("base64");
        socket.send(text({ jsonrpc: "2.0", id: message.id, result: { size: model.length, data: data64 } }));
      }
    });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    socket.on("error", (error) => note(`link: ${error.message}`));
    socket.on("close", (_code, reason) => note(`closed: ${reason.toString()}`));
    const benchmark = { imagesPerSecond: 1e6, macs: 1e6 };
    const { result } = await request("mining.subscribe", { client: "load/1", benchmark });
    const challenge = result!.challenge as { nonce: Hex; expiresAt: number };
    const signature = await signer.sign(authorizeData(IDENTITY, { miner: signer.address, ...challenge }));
    const welcome = await request("mining.authorize", { miner: signer.address, signature });
    if (welcome.error !== undefined) throw new Error(welcome.error.message);
    const beat = (): void => {
      void request("mining.heartbeat", { lease, epoch: 1 }).then(({ error }) => {
        if (error === undefined) heartbeats++;
        else note(error.message);
      });
    };
    const period = Number(result!.heartbeatMs) / 3;
    setTimeout(() => setInterval(beat, period).unref(), (period * key) / count).unref();
    return socket;
  }

  const joining = performance.now();
  let next = 1;
  const lanes = Array.from({ length: 25 }, async () => {
    const sockets: WebSocket[] = [];
    while (next <= count) sockets.push(await join(next++));
    return sockets;
  });
  const sockets = (await Promise.all(lanes)).flat();
  for (let waited = 0; ready.length < count && waited < 120_000; waited += 50) await sleep(50);
  const joinSeconds = (performance.now() - joining) / 1000;

  const rss = [rssMiB(pid)];
  const before = { manager: cpuMs(pid), own: cpuMs(process.pid), load: loadavg()[0]! };
  const start = performance.now();
  let missed = 0;
  for (let last = 0; ;) {
    const elapsed = (performance.now() - start) / 1000;
    if (elapsed >= seconds) break;
    for (; last < elapsed * rate; last++) {
      const share = ready.shift();
      if (share === undefined) missed++;
      else share.send();
    }
    if (elapsed > rss.length * Math.max(1, seconds / 12)) rss.push(rssMiB(pid));
    await sleep(5);
  }
  const took = (performance.now() - start) / 1000;
  const managerCpu = cpuMs(pid) - before.manager;
  const ownCpu = cpuMs(process.pid) - before.own;
  for (let waited = 0; latencies.length + refused < sent && waited < 10_000; waited += 20) await sleep(20);
  rss.push(rssMiB(pid));
  for (const socket of sockets) socket.removeAllListeners("close").terminate();

  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (part: number): number => Number((sorted[Math.floor(part * (sorted.length - 1))] ?? NaN).toFixed(1));
  const round = (value: number): number => Number(value.toFixed(3));
  return {
    miners: count,
    sent,
    acknowledged: latencies.length,
    refused,
    unanswered: sent - latencies.length - refused,
    missed,
    rate: round(latencies.length / took),
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: at(1),
    within100: round(sorted.filter((ms) => ms <= 100).length / Math.max(1, sent)),
    heartbeats,
    rss,
    cpuPerShare: round(managerCpu / Math.max(1, latencies.length)),
    managerCpus: round(managerCpu / took / 1000),
    generatorCpus: round(ownCpu / took / 1000),
    load: [before.load, loadavg()[0]!].map(round),
    joinSeconds: round(joinSeconds),
    reasons,
  };
}

if (process.argv[1] === import.meta.filename) {
  const result = await generate(JSON.parse(process.argv[2]!) as LoadOptions);
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
