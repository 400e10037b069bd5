/**
 * A miner's link to its pool, with one session and one job at a time: a miner with several workers has a link for each.
 * It outlives every outage: it reconnects with back-off, resumes its session and its job, and hands in a finished share
 * until the pool has said what becomes of it.
 */
import { isAddressEqual } from "viem";
import { WebSocket } from "ws";

import {
  CLOSE,
  MANAGER_METHODS,
  MAX_MESSAGE_BYTES,
  MAX_STANDINGS,
  MINER_METHODS,
  MODEL_CHUNK_BYTES,
  RPC_ERROR,
  type Benchmark,
  type Checkpoint,
  type Job,
  type PointsReceipt,
  type Share,
  type ShareStanding,
  type SignedShare,
  type Target,
} from "../pool/messages.ts";
import { chunkAnswer, fetchModelBytes } from "../pool/model-transfer.ts";
import { createRpcPeer, RpcError, type RpcPeer } from "../pool/rpc.ts";
import { authorizeData, shareData, type PoolIdentity, type Signer } from "../pool/signatures.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom } from "../protocol/random.ts";
import { sleep } from "../protocol/wait.ts";
import { createPoolOutbox, type FinishedShare, type PoolOutbox } from "./pool-outbox.ts";
import { isReceipt } from "./share-receipts.ts";

/** A job in a miner's hands. */
export interface MinerJob extends Job {
  /** the model file to start from, where `initial` names one; not yet decoded */
  readonly initialBytes: Uint8Array | null;
  /** fires when the pool takes the job away: another one, or none, has replaced it */
  readonly signal: AbortSignal;
}

export type ShareVerdict =
  | { readonly status: "accepted"; readonly receipt: Hex; readonly best: boolean }
  | { readonly status: "refused"; readonly reason: string };

export interface PoolConnection {
  /**
   * The job to work on: the present one until it is handed in, abandoned or taken away, then the next.
   * @throws PonasError aborted; pool where this miner can never come back (banned, replaced)
   */
  nextJob(signal?: AbortSignal): Promise<MinerJob>;
  /**
   * Signs a finished trial, keeps it, and hands it in, over as many reconnections as it takes; the lease is over
   * with this call. The same share again gets the same verdict.
   * @throws PonasError aborted (the share is kept where there is a state folder); pool as nextJob
   */
  submit(share: Share, model: Uint8Array): Promise<ShareVerdict>;
  /**
   * Gives a lease back. "infeasible": its trial cannot end in a model; "stopped": this miner will not finish it.
   * Best effort: a lease that cannot be given back runs out by itself.
   */
  abandon(lease: number, outcome: "infeasible" | "stopped", reason: string): Promise<void>;
  /** Shortest time between two checkpoints that the pool takes of one lease, in milliseconds; 0: it takes none. */
  checkpointMs(): number;
  /**
   * Hands the pool the model of a trial in progress, so that another miner can go on with it. Best effort.
   * @returns whether the pool has it
   */
  checkpoint(checkpoint: Checkpoint, model: Uint8Array): Promise<boolean>;
  /** What the next heartbeats say of the present trial. @param epoch epochs done, parts of one included */
  progress(epoch: number): void;
  /** The pool's best of the present task, as last heard. */
  target(): Target | null;
  /**
   * The latest points receipt of this miner in a task, or null.
   * @throws PonasError unavailable where the link does not come up within `requestMs`: keep the receipts of `onReceipt`
   */
  receipt(taskId: bigint): Promise<PointsReceipt | null>;
  /**
   * What has become of this miner's shares in a task, ascending by lease.
   * @throws PonasError unavailable as `receipt`
   */
  standings(taskId: bigint): Promise<ShareStanding[]>;
  /** Whether the link is up and authorised. */
  connected(): boolean;
  /** Ends the link for good; what waits is rejected as aborted. */
  close(): Promise<void>;
}

export interface PoolConnectionOptions {
  /** ws:// or wss:// address of the manager's endpoint */
  readonly url: string;
  /** the miner's key */
  readonly signer: Signer;
  readonly benchmark: Benchmark;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** the pool that this miner means to work for; an endpoint of any other is refused */
  readonly expected?: PoolIdentity;
  /** what must not be lost; shared by all links of a miner to one pool. In memory unless given */
  readonly outbox?: PoolOutbox;
  /** the number of this link among the miner's, from 0; 0 unless given */
  readonly worker?: number;
  /** name/version of this program */
  readonly client?: string;
  /** cap of a model to start from, in bytes */
  readonly maxModelBytes?: number;
  readonly handlers?: {
    readonly onTarget?: (target: Target) => void;
    readonly onReceipt?: (receipt: PointsReceipt) => void;
    /** there is no job at the moment, and why */
    readonly onIdle?: (reason: string) => void;
  };
  readonly timing?: Partial<ConnectionTiming>;
}

export interface ConnectionTiming {
  /** back-off between attempts to connect: doubles from the first to the last */
  readonly firstPauseMs: number;
  readonly lastPauseMs: number;
  /** for connecting, and for each small request */
  readonly requestMs: number;
  /** for the verdict on a share: the manager evaluates one model after another */
  readonly verdictMs: number;
  /** an endpoint that is not heard of for so long, its pings included, is gone */
  readonly silentMs: number;
  /** a share of another link that none has begun to hand in for so long is handed in by this one */
  readonly orphanMs: number;
}

const DEFAULT_TIMING: ConnectionTiming = {
  firstPauseMs: 200,
  lastPauseMs: 10_000,
  requestMs: 20_000,
  verdictMs: 300_000,
  silentMs: 60_000,
  orphanMs: 20_000,
};

/** So many messages that cannot be read, and it is no pool that speaks at the other end. */
const MAX_OFFENCES = 3;
/** However long a manager wants to be left in peace: its miner has shares for it. */
const LONGEST_PEACE_MS = 3_600_000;
/** Ends of a link after which only patience helps. */
const HOLD_OFF: ReadonlySet<number> = new Set([CLOSE.busy, CLOSE.flood, CLOSE.slow, CLOSE.offences]);
/** What a manager says of a share for good; anything else may be otherwise the next time. */
const FINAL: ReadonlySet<number> = new Set([RPC_ERROR.refused, RPC_ERROR.banned, RPC_ERROR.invalidParams]);

type Manager = RpcPeer<typeof MANAGER_METHODS>;

/** A deferred answer that many may wait for. */
function createGate<T>() {
  let waiting: { resolve: (value: T) => void; reject: (error: Error) => void }[] = [];
  return {
    wait: (signal?: AbortSignal): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        const entry = {
          resolve: (value: T): void => {
            signal?.removeEventListener("abort", abort);
            resolve(value);
          },
          reject: (error: Error): void => {
            signal?.removeEventListener("abort", abort);
            reject(error);
          },
        };
        const abort = (): void => {
          waiting = waiting.filter((other) => other !== entry);
          entry.reject(new PonasError("aborted", "Stopped."));
        };
        waiting.push(entry);
        if (signal?.aborted === true) abort();
        else signal?.addEventListener("abort", abort, { once: true });
      }),
    open: (value: T): void => {
      const all = waiting;
      waiting = [];
      for (const { resolve } of all) resolve(value);
    },
    fail: (error: Error): void => {
      const all = waiting;
      waiting = [];
      for (const { reject } of all) reject(error);
    },
  };
}

/** Milliseconds that a manager's answer asks to wait; 0 where it does not. */
function retryAfter(error: unknown): number {
  const data = error instanceof RpcError ? error.data : undefined;
  return data !== undefined && "retryAfterMs" in data ? Math.min(data.retryAfterMs, LONGEST_PEACE_MS) : 0;
}

/** Starts a miner's link to a pool; it connects in the background, and its calls wait for it. */
export function connectToPool(options: PoolConnectionOptions): PoolConnection {
  const { url, signer, benchmark, log, expected, client = "ponas", maxModelBytes = 1 << 28, handlers = {} } = options;
  const { outbox = createPoolOutbox(), worker = 0 } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const stopping = new AbortController();
  const signal = AbortSignal.any([options.signal, stopping.signal]);
  const random = createRandom(`${signer.address} ${worker} back-off`);
  const linkUp = createGate<Manager>();
  const jobReady = createGate<MinerJob>();
  const verdicts = new Map<number, Promise<ShareVerdict>>();

  let link: Manager | null = null;
  /** the pool, as first heard: what is signed while the link is down is signed for it */
  let identity: PoolIdentity | null = null;
  /** what signs its receipts, as it said with the last link */
  let receiptKey: Address | null = null;
  let fatal: PonasError | null = null;
  let present: { readonly job: MinerJob; readonly control: AbortController; epoch: number } | null = null;
  let target: Target | null = null;
  /** counts the jobs heard of, so that a slow fetch of a model does not put back an older one */
  let heard = 0;
  let checkpointMs = 0;
  /** the manager ended the last link because this miner, or everyone together, asked too much of it */
  let heldOff = false;
  /** how long the manager wants to be left in peace, in milliseconds */
  let peaceMs = 0;
  /** this miner ended the last link, since there was nothing to be had from the other end */
  let givenUp = false;
  /** models that are offered as checkpoints right now */
  const offered = new Map<Hex, Uint8Array>();

  const fail = (error: PonasError): void => {
    if (fatal !== null) return;
    fatal = error;
    takeAway("the link is over");
    jobReady.fail(error);
    linkUp.fail(error);
  };

  function takeAway(reason: string): void {
    const gone = present;
    present = null;
    gone?.control.abort(new PonasError("aborted", `Lease ${gone.job.lease} was taken back: ${reason}.`));
  }

  /** The link, or the next one. @throws PonasError unavailable where `patience` ends first */
  async function ready(patience?: AbortSignal): Promise<Manager> {
    if (fatal !== null) throw fatal;
    if (link !== null) return link;
    if (patience === undefined) return linkUp.wait(signal);
    try {
      return await linkUp.wait(AbortSignal.any([signal, patience]));
    } catch (error) {
      if (fatal !== null || signal.aborted) throw error;
      throw new PonasError("unavailable", `There is no link to the pool at ${url}.`, { cause: error });
    }
  }

  // ————— What the manager says —————

  async function takeJob(manager: Manager, job: Job): Promise<void> {
    const turn = ++heard;
    // It is handed in already, and the manager will see: its verdict brings the next job.
    if (outbox.shares.has(job.lease)) return;
    if (present?.job.lease === job.lease) return;
    takeAway("the pool has given another job");
    let initialBytes: Uint8Array | null = null;
    if (job.initial !== null) {
      try {
        initialBytes = await fetchModelBytes(job.initial.modelRoot, maxModelBytes, (request) =>
          manager.request("mining.model", request, { timeoutMs: timing.requestMs, signal }),
        );
      } catch (error) {
        if (signal.aborted || turn !== heard) return;
        log.warn(`The model that lease ${job.lease} starts from did not arrive: ${explainError(error)}`);
        // After an outage the manager tells of the same job again; any other fault would only repeat itself.
        if (error instanceof PonasError && error.code === "unavailable") return;
        return abandon(job.lease, "stopped", "the model to start from did not arrive");
      }
    }
    if (turn !== heard || signal.aborted) return;
    const control = new AbortController();
    present = { job: { ...job, initialBytes, signal: AbortSignal.any([signal, control.signal]) }, control, epoch: 0 };
    jobReady.open(present.job);
  }

  /** @param leave ends the link, with the reason */
  function serve(socket: WebSocket, leave: (reason: string) => void): Manager {
    let offences = 0;
    const manager = createRpcPeer({
      serves: MINER_METHODS,
      handlers: {
        "mining.notify": ({ job, reason }) => {
          if (job !== null) return void takeJob(manager, job).catch((error: unknown) => log.error({ err: error }));
          heard++;
          takeAway(reason ?? "the pool has no job");
          handlers.onIdle?.(reason ?? "The pool has no job.");
        },
        "mining.set_target": (news) => {
          target = news;
          handlers.onTarget?.(news);
        },
        "mining.points": (news) => handlers.onReceipt?.(news),
        "mining.model": ({ modelRoot, offset }) => {
          const model = offered.get(modelRoot) ?? outbox.model(modelRoot);
          if (model === undefined) throw new RpcError(RPC_ERROR.refused, `This miner has no model ${modelRoot}.`);
          return chunkAnswer(model.length, model.subarray(offset, offset + MODEL_CHUNK_BYTES));
        },
      },
      calls: MANAGER_METHODS,
      send: (text) => {
        if (socket.readyState === socket.OPEN) socket.send(text);
      },
      onOffence: (reason) => {
        log.debug(`The pool at ${url} sent what cannot be read: ${reason}`);
        if (++offences === MAX_OFFENCES) leave(`it sends what cannot be read: ${reason}`);
      },
      onDefect: (error, method) => log.error({ err: error }, `${method} failed: ${explainError(error)}`),
    });
    return manager;
  }

  // ————— The link —————

  /** Opens one link, authorises it, and resolves with why it ended. */
  async function runLink(): Promise<string> {
    const socket = new WebSocket(url, {
      handshakeTimeout: timing.requestMs,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    });
    let left: string | null = null;
    const leave = (reason: string): void => {
      left ??= reason;
      givenUp = true;
      socket.terminate();
    };
    const manager = serve(socket, leave);
    let heardAt = performance.now();
    const hear = (): void => {
      heardAt = performance.now();
    };
    const ended = new Promise<string>((resolve) => {
      socket.on("close", (code, reason) => {
        const text = reason.toString("utf8");
        if (code === CLOSE.banned) fail(new PonasError("pool", `The pool has banned this miner: ${text}`));
        if (code === CLOSE.replaced) {
          fail(
            new PonasError("pool", "Another process has taken over this miner's session.", {
              cure: "run one process for each state folder",
            }),
          );
        }
        if (HOLD_OFF.has(code)) heldOff = true;
        resolve(left ?? (text === "" ? `the link broke (code ${code})` : text));
      });
      socket.on("error", (error) => resolve(left ?? error.message));
    });
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      hear();
      if (!isBinary) manager.receive(data.toString("utf8"));
    });
    socket.on("ping", hear);
    const stop = (): void => socket.close(1000);
    signal.addEventListener("abort", stop, { once: true });
    let beating: NodeJS.Timeout | undefined;
    let orphans: NodeJS.Timeout | undefined;
    const watching = setInterval(() => {
      if (performance.now() - heardAt > timing.silentMs) {
        leave(`nothing was heard of it for ${timing.silentMs / 1000} s.`);
      }
    }, timing.silentMs / 4);
    try {
      const opened = new Promise<true>((resolve) => socket.once("open", () => resolve(true)));
      const first = await Promise.race([opened, ended]);
      if (first !== true) return first;
      // Waiting for the end too, since a link that breaks in between would otherwise cost the whole deadline.
      const heartbeatMs = await Promise.race([authorize(manager), ended]);
      if (typeof heartbeatMs === "string") return heartbeatMs;
      beating = setInterval(() => void heartbeat(manager), heartbeatMs / 3);
      orphans = setInterval(() => handInRest(() => true), timing.orphanMs);
      return await ended;
    } finally {
      clearInterval(watching);
      clearInterval(beating);
      clearInterval(orphans);
      signal.removeEventListener("abort", stop);
      if (link === manager) link = null;
      manager.end("The link to the pool was lost.");
      socket.close();
      setTimeout(() => socket.terminate(), 1_000).unref();
    }
  }

  /** @returns the period within which the manager wants to hear of a lease, in milliseconds */
  async function authorize(manager: Manager): Promise<number> {
    const wait = { timeoutMs: timing.requestMs, signal };
    const session = outbox.session(worker);
    const hello = await manager.request("mining.subscribe", { client, benchmark, session }, wait);
    const heardOf: PoolIdentity = { chainId: hello.chainId, pool: hello.pool };
    const meant = expected ?? identity ?? heardOf;
    if (meant.chainId !== heardOf.chainId || !isAddressEqual(meant.pool, heardOf.pool)) {
      throw new PonasError(
        "chain-mismatch",
        `The endpoint ${url} is of pool ${heardOf.pool} on chain ${heardOf.chainId}, not of ${meant.pool} on chain ${meant.chainId}.`,
      );
    }
    identity = heardOf;
    const signature = await signer.sign(authorizeData(heardOf, { miner: signer.address, ...hello.challenge }));
    await manager.request("mining.authorize", { miner: signer.address, signature }, wait);
    try {
      outbox.keepSession(worker, hello.session);
    } catch (error) {
      log.warn(explainError(error));
    }
    checkpointMs = hello.checkpointMs;
    receiptKey = hello.receiptKey;
    link = manager;
    linkUp.open(manager);
    handInRest((finished) => finished.worker === worker);
    return hello.heartbeatMs;
  }

  async function heartbeat(manager: Manager): Promise<void> {
    if (present === null) return;
    const { job, epoch } = present;
    try {
      await manager.request("mining.heartbeat", { lease: job.lease, epoch }, { timeoutMs: timing.requestMs, signal });
    } catch (error) {
      const refused = error instanceof RpcError && error.code === RPC_ERROR.refused;
      if (refused && present?.job.lease === job.lease) takeAway(error.message);
    }
  }

  const jittered = (ms: number): number => ms * (0.75 + random.next() / 2);

  async function keepLinked(): Promise<void> {
    let pause = timing.firstPauseMs;
    /** what was said of the outage already */
    const said = new Set<string>();
    while (!signal.aborted && fatal === null) {
      const start = performance.now();
      let why: string;
      try {
        why = await runLink();
      } catch (error) {
        if (signal.aborted) break;
        const code = error instanceof RpcError ? error.code : null;
        if (error instanceof PonasError && error.code === "chain-mismatch") return fail(error);
        if (code === RPC_ERROR.banned || code === RPC_ERROR.unauthorized) {
          return fail(new PonasError("pool", `The pool does not admit this miner: ${explainError(error)}`));
        }
        if (!(error instanceof PonasError) && code === null) log.error({ err: error }, "The link to the pool failed.");
        if (code === RPC_ERROR.retry) heldOff = true;
        peaceMs = retryAfter(error);
        why = explainError(error);
      }
      if (signal.aborted || fatal !== null) break;
      if (performance.now() - start > timing.lastPauseMs) {
        pause = timing.firstPauseMs;
        if (!givenUp) said.clear();
      }
      const sentence = `No link to the pool at ${url}: ${why}${why.endsWith(".") ? "" : "."} Trying again.`;
      if (said.has(sentence)) log.debug(sentence);
      else log.warn(sentence);
      said.add(sentence);
      // One that asks to be left in peace is.
      if (heldOff) pause = timing.lastPauseMs;
      [heldOff, givenUp] = [false, false];
      await sleep(Math.max(jittered(pause), peaceMs), signal).catch(() => undefined);
      peaceMs = 0;
      pause = Math.min(2 * pause, timing.lastPauseMs);
    }
    if (signal.aborted) fail(new PonasError("aborted", "Stopped."));
  }

  // ————— Shares —————

  /** Hands in what was finished before, where no link is at it. */
  function handInRest(chosen: (finished: FinishedShare) => boolean): void {
    for (const finished of outbox.shares.values()) {
      if (outbox.delivering.has(finished.signed.share.lease) || !chosen(finished)) continue;
      // A failure is this link's end, which is told of elsewhere; the share stays where it is.
      void deliver(finished).catch(() => undefined);
    }
  }

  /** Hands a kept share in until there is a verdict; one delivery a lease. */
  function deliver(finished: FinishedShare): Promise<ShareVerdict> {
    const { lease } = finished.signed.share;
    const known = verdicts.get(lease);
    if (known !== undefined) return known;
    const verdict = handIn(finished);
    verdicts.set(lease, verdict);
    outbox.delivering.add(lease);
    // Once it is said, the manager remembers it better than this process.
    const forget = (): void => {
      verdicts.delete(lease);
      outbox.delivering.delete(lease);
    };
    verdict.then(forget, forget);
    return verdict;
  }

  async function handIn({ signed }: FinishedShare): Promise<ShareVerdict> {
    const { lease } = signed.share;
    for (let pause = timing.firstPauseMs; ; pause = Math.min(2 * pause, timing.lastPauseMs)) {
      const manager = await ready();
      let least: number;
      try {
        const { receipt, best, keep } = await manager.request("mining.submit", signed, {
          timeoutMs: timing.verdictMs,
          signal,
        });
        strike(lease, () => outbox.accept(lease, receipt, keep));
        await checkReceipt(signed, receipt);
        return { status: "accepted", receipt, best };
      } catch (error) {
        if (signal.aborted) throw new PonasError("aborted", "Stopped.", { cause: error });
        if (error instanceof RpcError && FINAL.has(error.code)) {
          // Its model may be another share's too: what is refused as a copy is the copy of one.
          strike(lease, () => outbox.remove(lease, true));
          log.warn(`The pool refused the share of lease ${lease}: ${error.message}`);
          return { status: "refused", reason: error.message };
        }
        log.debug(`The share of lease ${lease} waits: ${explainError(error)}`);
        least = retryAfter(error);
      }
      await sleep(Math.max(jittered(pause), least), signal);
    }
  }

  /** The pool has answered: what is left on the disk is no more than a share that would be answered again. */
  function strike(lease: number, work: () => void): void {
    try {
      work();
    } catch (error) {
      log.warn(`The share of lease ${lease} stays in the outbox: ${explainError(error)}`);
    }
  }

  /** A receipt that is nobody's word is worth nothing, whatever the manager calls the share: its miner should know. */
  async function checkReceipt(signed: SignedShare, receipt: Hex): Promise<void> {
    if (isReceipt(signed, receipt, { identity: identity!, miner: signer.address, receiptKey: receiptKey! })) return;
    log.error(
      { event: "cheated", lease: signed.share.lease },
      `The pool's receipt for the share of lease ${signed.share.lease} is not signed by its key ${receiptKey}.`,
    );
  }

  async function abandon(lease: number, outcome: "infeasible" | "stopped", reason: string): Promise<void> {
    if (present?.job.lease === lease) present = null;
    try {
      await link?.request(
        "mining.abandon",
        { lease, outcome, reason: reason.slice(0, 500) },
        { timeoutMs: timing.requestMs, signal },
      );
    } catch (error) {
      log.debug(`Lease ${lease} could not be given back: ${explainError(error)}`);
    }
  }

  const running = keepLinked().catch((error: unknown) => {
    log.error({ err: error }, `The link to the pool failed: ${explainError(error)}`);
    fail(new PonasError("pool", `The link to the pool failed: ${explainError(error)}`, { cause: error }));
  });

  return {
    async nextJob(waitSignal) {
      if (fatal !== null) throw fatal;
      if (present !== null) return present.job;
      return jobReady.wait(waitSignal === undefined ? signal : AbortSignal.any([signal, waitSignal]));
    },
    async submit(share, model) {
      const known = verdicts.get(share.lease);
      if (known !== undefined) return known;
      if (identity === null) await ready();
      const signature = await signer.sign(shareData(identity!, share));
      const finished = { signed: { share, signature }, model, worker };
      try {
        outbox.put(finished);
      } catch (error) {
        log.error({ event: "disk" }, `${explainError(error)} It is handed in from memory.`);
      }
      if (present?.job.lease === share.lease) present = null;
      return deliver(finished);
    },
    abandon,
    checkpointMs: () => checkpointMs,
    async checkpoint(checkpoint, model) {
      if (link === null || checkpointMs === 0) return false;
      offered.set(checkpoint.modelRoot, model);
      try {
        await link.request("mining.checkpoint", checkpoint, { timeoutMs: timing.requestMs, signal });
        return true;
      } catch (error) {
        log.debug(`The checkpoint of lease ${checkpoint.lease} was not taken: ${explainError(error)}`);
        return false;
      } finally {
        offered.delete(checkpoint.modelRoot);
      }
    },
    progress(epoch) {
      if (present !== null) present.epoch = epoch;
    },
    target: () => target,
    async receipt(taskId) {
      const manager = await ready(AbortSignal.timeout(timing.requestMs));
      return (await manager.request("mining.points", { taskId }, { timeoutMs: timing.requestMs, signal })).receipt;
    },
    async standings(taskId) {
      const manager = await ready(AbortSignal.timeout(timing.requestMs));
      const all: ShareStanding[] = [];
      for (;;) {
        const after = all.at(-1)?.lease ?? 0;
        const wait = { timeoutMs: timing.requestMs, signal };
        const { shares } = await manager.request("mining.shares", { taskId, after }, wait);
        // A manager that does not go on by lease would keep this up for ever.
        const fresh = shares.filter(({ lease }) => lease > after);
        for (const share of fresh) all.push(share);
        if (shares.length < MAX_STANDINGS || fresh.length === 0) return all;
      }
    },
    connected: () => link !== null,
    async close() {
      stopping.abort();
      await running;
    },
  };
}
