/** A miner without sockets whose every step is a test's: it can also lie, repeat itself and keep silent. */
import { createRpcPeer, RpcError, type RpcPeer } from "../../../offchain/pool/rpc.ts";
import type { PoolManager } from "../../../offchain/pool/manager.ts";
import {
  MANAGER_METHODS,
  MINER_METHODS,
  MODEL_CHUNK_BYTES,
  RPC_ERROR,
  type Benchmark,
  type Job,
  type PointsReceipt,
  type Share,
  type Target,
} from "../../../offchain/pool/messages.ts";
import { chunkAnswer } from "../../../offchain/pool/model-transfer.ts";
import { authorizeData, shareData } from "../../../offchain/pool/signatures.ts";
import type { Hex } from "../../../offchain/protocol/bytes.ts";
import { IDENTITY, signerOf, trialOf, type Trial } from "./world.ts";

export const FAST: Benchmark = { imagesPerSecond: 1e6, macs: 1e6 };
export const SLOW: Benchmark = { imagesPerSecond: 1e-3, macs: 1 };

const WAIT = { timeoutMs: 30_000 };

/** The reason with which a promise is refused; fails where it is not. */
export async function refusalOf(promise: Promise<unknown>): Promise<RpcError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

export class ScriptedMiner {
  readonly signer;
  readonly peer: RpcPeer<typeof MANAGER_METHODS>;
  /** models it hands over, by the root it is asked for */
  readonly models = new Map<Hex, Uint8Array>();
  readonly jobs: (Job | null)[] = [];
  readonly targets: Target[] = [];
  readonly receipts: PointsReceipt[] = [];
  closed: { code: number; reason: string } | null = null;
  session: string | undefined;
  /** sends a text as it is */
  readonly raw: (text: string) => void;
  readonly hangUp: () => void;
  waiting: (() => void)[] = [];

  constructor(manager: PoolManager, key: number) {
    this.signer = signerOf(key);
    const wake = (): void => this.waiting.splice(0).forEach((resume) => resume());
    // Messages take a turn of the event loop, as over a socket.
    const link = manager.connect({
      send: (text) => setImmediate(() => this.peer.receive(text)),
      close: (code, reason) => {
        this.closed = { code, reason };
        setImmediate(() => this.peer.end(reason));
        wake();
      },
    });
    this.raw = (text) => link.receive(text);
    this.hangUp = () => {
      link.closed();
      this.peer.end("hung up");
    };
    this.peer = createRpcPeer({
      serves: MINER_METHODS,
      handlers: {
        "mining.notify": ({ job }) => {
          this.jobs.push(job);
          wake();
        },
        "mining.set_target": (target) => {
          this.targets.push(target);
          wake();
        },
        "mining.points": (receipt) => {
          this.receipts.push(receipt);
          wake();
        },
        "mining.model": ({ modelRoot, offset }) => {
          const model = this.models.get(modelRoot);
          if (model === undefined) throw new RpcError(RPC_ERROR.refused, "no such model");
          return chunkAnswer(model.length, model.subarray(offset, offset + MODEL_CHUNK_BYTES));
        },
      },
      calls: MANAGER_METHODS,
      send: (text) => setImmediate(() => link.receive(text)),
      onOffence: (reason) => {
        throw new Error(reason);
      },
      onDefect: (error) => {
        throw error;
      },
    });
  }

  async join(benchmark: Benchmark = FAST, session: string | undefined = this.session): Promise<this> {
    const hello = await this.peer.request("mining.subscribe", { client: "scripted/1", benchmark, session }, WAIT);
    const { address: miner } = this.signer;
    const signature = await this.signer.sign(authorizeData(IDENTITY, { miner, ...hello.challenge }));
    await this.peer.request("mining.authorize", { miner, signature }, WAIT);
    this.session = hello.session;
    return this;
  }

  /** Job number `index` of this link, once it has come. */
  async job(index = this.jobs.length): Promise<Job> {
    while (this.jobs.length <= index) {
      if (this.closed !== null) throw new Error(`closed: ${this.closed.reason}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    const job = this.jobs[index];
    if (job === null || job === undefined) throw new Error("there is no job");
    return job;
  }

  /** Resolves once what a push of the manager brings is there. */
  async until(arrived: () => boolean): Promise<void> {
    while (!arrived()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  async submitShare(share: Share, signature?: Hex): Promise<{ receipt: Hex; best: boolean }> {
    const signed = signature ?? (await this.signer.sign(shareData(IDENTITY, share)));
    return this.peer.request("mining.submit", { share, signature: signed }, WAIT);
  }

  /** Hands in a trial, with whatever its share is made to say. */
  async submit({ share, model }: Trial, changes: Partial<Share> = {}): Promise<{ receipt: Hex; best: boolean }> {
    const said = { ...share, ...changes };
    if (!this.models.has(said.modelRoot)) this.models.set(said.modelRoot, model);
    return this.submitShare(said);
  }

  /** Works off one job honestly. */
  async finish(job: Job): Promise<Trial> {
    const trial = await trialOf(job);
    await this.submit(trial);
    return trial;
  }
}
