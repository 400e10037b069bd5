/**
 * A miner without hardware: it speaks the pool's protocol over a channel in this process, takes for each trial the
 * virtual time that its speed gives, and reports what was recorded. It may leave, stall and lie.
 */
import { encodeModel, modelRoot } from "../../../offchain/evaluation/model.ts";
import { MANAGER_METHODS, MINER_METHODS, MODEL_CHUNK_BYTES, RPC_ERROR } from "../../../offchain/pool/messages.ts";
import type { Job, Share } from "../../../offchain/pool/messages.ts";
import { chunkAnswer } from "../../../offchain/pool/model-transfer.ts";
import type { PoolManager } from "../../../offchain/pool/manager.ts";
import { createRpcPeer, RpcError, type RpcPeer } from "../../../offchain/pool/rpc.ts";
import { authorizeData, shareData, type Signer } from "../../../offchain/pool/signatures.ts";
import { trialMs } from "../../../offchain/pool/task.ts";
import type { Architecture } from "../../../offchain/protocol/architecture.ts";
import { tag, type Hex } from "../../../offchain/protocol/bytes.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { zeroModel } from "../../evaluation/random-model.ts";
import { IDENTITY } from "../kit/world.ts";
import type { RecordedTrials } from "./recorded-trials.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Invents results in place of training: as many right as the pool's best, less a margin, so that nobody looks at once. */
export interface Lies {
  /** part of its trials that are invented, after `honestFirst` true ones */
  readonly rate: number;
  readonly honestFirst: number;
  /** how long an invented trial takes, as a part of a true one */
  readonly time: number;
  /** no audit shows them: the chance that one would have is in the shares, and the expectation follows from it */
  readonly unseen?: boolean;
}

export interface MinerSpec {
  readonly signer: Signer;
  readonly name: string;
  /** MAC/s */
  readonly speed: number;
  /** virtual milliseconds after the task's beginning */
  readonly joinsAt: number;
  /** goes without a word, and never comes back; null: stays */
  readonly leavesAt: number | null;
  /** answers nothing for a while, with its link up; begin and end */
  readonly stalls?: readonly (readonly [number, number])[];
  readonly lies?: Lies;
  /** of several accounts on one machine only one trains at a time, each a whole trial in its turn */
  readonly machine?: Machine;
}

/** One machine that several accounts share. */
export interface Machine {
  freeAt: number;
}

/** A trial that the manager has acknowledged. */
export interface Acknowledged {
  readonly miner: string;
  readonly lease: number;
  readonly at: number;
  readonly correct: number;
  readonly invented: boolean;
  readonly architecture: Architecture;
  readonly receipt: Hex;
}

export interface MinerWorld {
  readonly time: VirtualTime;
  readonly trials: RecordedTrials;
  readonly seed: number;
  readonly trainCount: number;
  readonly validationCount: number;
  /** real roots of real model files, which an audit of their form needs; otherwise a number stands for the root */
  readonly realModels: boolean;
  /** what the manager's evaluation of these bytes is to give */
  readonly register: (bytes: Uint8Array, root: Hex, architecture: Architecture, correct: number) => void;
  readonly note: (line: string) => void;
  readonly acknowledged: (share: Acknowledged) => void;
  /** a message has begun its way, or is there */
  readonly moved: (change: number) => void;
}

export interface SimulatedMiner {
  readonly spec: MinerSpec;
  /** Links up with a manager, with the session that it may have. */
  connect(manager: PoolManager): void;
  /** The manager's process is gone. */
  cutOff(): void;
  leave(): void;
  stall(): void;
  recover(): void;
  readonly banned: boolean;
  /** virtual milliseconds in which it was there, and had nothing to do */
  idleMs(): number;
  finished(): number;
}

const WAIT = { timeoutMs: 600_000 };
const RETRY_MS = 5_000;
/** Of the time that a lease gives, after so much a heartbeat is sent. */
const HEARTBEAT = 0.8;

export function createSimulatedMiner(spec: MinerSpec, world: MinerWorld): SimulatedMiner {
  const { signer, speed, name } = spec;
  const { time } = world;
  const random = createRandom(`${world.seed}/miner ${name}`);
  interface Link {
    readonly peer: RpcPeer<typeof MANAGER_METHODS>;
    readonly hangUp: () => void;
    readonly joined: { now: boolean };
  }
  let link: Link | null = null;
  let session: string | undefined;
  let heartbeatMs = 30_000;
  let gone = false;
  let banned = false;
  let stalled = false;
  let held: (() => void)[] = [];
  let target = 0;
  let trained = 0;
  let job: Job | null = null;
  let outbox: { readonly share: Share; readonly signature: Hex; readonly invented: boolean } | null = null;
  const models = new Map<
    Hex,
    { readonly architecture: Architecture; readonly lease: number; readonly correct: number }
  >();
  let idleSince: number | null = null;
  let idle = 0;

  const setIdle = (now: boolean): void => {
    if (now && idleSince === null) idleSince = time.now();
    if (!now && idleSince !== null) {
      idle += time.now() - idleSince;
      idleSince = null;
    }
  };

  /** A stalled miner does, reads and says nothing until it recovers. */
  const whenAwake = (work: () => void): void => {
    if (stalled) held.push(work);
    else work();
  };

  async function ask<T>(question: () => Promise<T>): Promise<T> {
    world.moved(1);
    let counted = true;
    const settle = (): void => {
      if (counted) world.moved(-1);
      counted = false;
    };
    // While this side does not answer the manager's questions, it cannot expect an answer either.
    releases.add(settle);
    if (stalled) settle();
    try {
      return await question();
    } finally {
      releases.delete(settle);
      settle();
    }
  }
  const releases = new Set<() => void>();

  function bytesOf(root: Hex): Uint8Array | null {
    const model = models.get(root);
    if (model === undefined) return null;
    const bytes = modelFile(model.architecture, model.lease);
    world.register(bytes, root, model.architecture, model.correct);
    return bytes;
  }

  /** The network of the architecture that knows nothing but its lease's number. */
  const modelOf = (architecture: Architecture, lease: number) => {
    const model = zeroModel(architecture);
    model.output.bias[0] = lease;
    return model;
  };
  const modelFile = (architecture: Architecture, lease: number): Uint8Array =>
    encodeModel(modelOf(architecture, lease));

  function connect(manager: PoolManager): void {
    if (gone || banned) return;
    const joined = { now: false };
    const channel = manager.connect({
      send: (text) => {
        world.moved(1);
        setImmediate(() => {
          world.moved(-1);
          whenAwake(() => peer.receive(text));
        });
      },
      close: (code, reason) => {
        peer.end(reason);
        if (link === own) link = null;
        if (code === 4001) {
          banned = true;
          world.note(`${name} is banned`);
        }
      },
    });
    const files = new Map<Hex, Uint8Array>();
    const peer = createRpcPeer({
      serves: MINER_METHODS,
      handlers: {
        "mining.notify": ({ job: given, reason }) => {
          if (given === null) {
            world.note(`${name} has no job: ${reason ?? ""}`);
            job = null;
            setIdle(true);
          } else if (given.lease !== job?.lease) begin(given);
        },
        "mining.set_target": ({ best }) => {
          target = Math.max(target, best.correct);
        },
        "mining.points": () => undefined,
        "mining.model": ({ modelRoot: root, offset }) => {
          const file = files.get(root) ?? bytesOf(root);
          if (file === null) throw new RpcError(RPC_ERROR.refused, "There is no such model.");
          files.set(root, file);
          const chunk = file.subarray(offset, offset + MODEL_CHUNK_BYTES);
          if (offset + chunk.length >= file.length) files.delete(root);
          return chunkAnswer(file.length, chunk);
        },
      },
      calls: MANAGER_METHODS,
      send: (text) => {
        world.moved(1);
        setImmediate(() => {
          world.moved(-1);
          channel.receive(text);
        });
      },
      onOffence: (reason) => world.note(`${name} was offended: ${reason}`),
      onDefect: (error) => {
        throw error;
      },
    });
    const own: Link = { peer, joined, hangUp: () => channel.closed() };
    link = own;
    void join(own).catch((error: unknown) => {
      if (!isDelay(error)) throw error;
      world.note(`${name} could not join`);
    });
  }

  async function join(own: Link): Promise<void> {
    const benchmark = { imagesPerSecond: speed, macs: 1 };
    const hello = await ask(() =>
      own.peer.request("mining.subscribe", { client: "simulated/1", benchmark, session }, WAIT),
    );
    const { address: miner } = signer;
    const signature = await signer.sign(authorizeData(IDENTITY, { miner, ...hello.challenge }));
    await ask(() => own.peer.request("mining.authorize", { miner, signature }, WAIT));
    session = hello.session;
    heartbeatMs = hello.heartbeatMs;
    own.joined.now = true;
    if (job === null) setIdle(true);
    if (outbox !== null) await submit();
  }

  /** What may pass: the manager was killed, or says "try again". */
  const isDelay = (error: unknown): boolean =>
    error instanceof PonasError || (error instanceof RpcError && error.code !== RPC_ERROR.invalidParams);

  function begin(given: Job): void {
    job = given;
    outbox = null;
    setIdle(false);
    world.note(`${name} begins lease ${given.lease} (${given.kind})`);
    const { lies } = spec;
    const invented = lies !== undefined && trained >= lies.honestFirst && random.next() < lies.rate;
    const honestly =
      trialMs(given.architecture, given.settings, world.trainCount, speed) * (0.95 + 0.1 * random.next());
    const takes = invented ? honestly * lies.time : honestly;
    const { machine } = spec;
    const from = Math.max(time.now(), machine?.freeAt ?? 0);
    if (machine !== undefined) machine.freeAt = from + takes;
    time.at(Math.ceil(from + takes), () => whenAwake(() => finish(given, invented)));
    beat(given);
  }

  function beat(given: Job): void {
    time.at(time.now() + HEARTBEAT * heartbeatMs, () =>
      whenAwake(() => {
        if (job?.lease !== given.lease || gone) return;
        beat(given);
        if (link?.joined.now !== true || outbox !== null) return;
        const { peer } = link;
        ask(() => peer.request("mining.heartbeat", { lease: given.lease, epoch: 0 }, WAIT)).catch((error: unknown) => {
          if (!isDelay(error)) throw error;
        });
      }),
    );
  }

  async function finish(given: Job, invented: boolean): Promise<void> {
    if (gone || job?.lease !== given.lease) return;
    const { architecture, lease, taskId, seed, settings } = given;
    const truly = world.trials.correct(architecture);
    const said = invented ? Math.max(0, target - 1 - random.integer(20)) : truly;
    const root = world.realModels
      ? modelRoot(modelOf(architecture, lease))
      : (`0x${tag(`${world.seed}/${lease}/${name}`).slice(2)}` as Hex);
    // An invented trial has no trained model: what there is knows nothing, and is right by chance.
    models.set(root, {
      architecture,
      lease,
      correct: invented && spec.lies?.unseen !== true ? Math.round(world.validationCount / 10) : said,
    });
    const share: Share = {
      taskId,
      lease,
      architecture,
      seed,
      epochs: settings.epochs,
      trainLoss: Array.from({ length: settings.epochs }, () => 1),
      validation: { correct: said, total: world.validationCount },
      seconds: 1,
      flops: 1,
      modelRoot: root,
    };
    outbox = { share, signature: await signer.sign(shareData(IDENTITY, share)), invented };
    trained++;
    await submit();
  }

  /** Hands the finished trial in, until there is an answer to it. */
  async function submit(): Promise<void> {
    const mine = outbox;
    const at = link;
    if (mine === null || at === null || !at.joined.now || gone) return;
    const { share, signature, invented } = mine;
    const { lease, architecture, validation } = share;
    try {
      const { receipt } = await ask(() => at.peer.request("mining.submit", { share, signature }, WAIT));
      world.note(`${name} was acknowledged lease ${lease}: ${validation.correct}`);
      world.acknowledged({
        miner: name,
        lease,
        at: time.now(),
        correct: validation.correct,
        invented,
        architecture,
        receipt,
      });
    } catch (error) {
      if (error instanceof PonasError) return; // the link is gone; the share goes out again with the next one
      if (!(error instanceof RpcError)) throw error;
      if (error.code === RPC_ERROR.retry || error.code === RPC_ERROR.internal) {
        time.at(time.now() + RETRY_MS, () => whenAwake(() => (outbox === mine ? submit() : undefined)));
        return;
      }
      world.note(`${name} was refused lease ${lease}: ${error.message}`);
    }
    if (outbox === mine) outbox = null;
    if (job?.lease === lease) {
      job = null;
      setIdle(true);
    }
  }

  function cutOff(): void {
    const at = link;
    link = null;
    at?.peer.end("The manager's process is gone.");
  }

  return {
    spec,
    connect,
    cutOff,
    leave() {
      gone = true;
      setIdle(false);
      const at = link;
      cutOff();
      at?.hangUp();
      held = [];
    },
    stall() {
      stalled = true;
      for (const settle of [...releases]) settle();
    },
    recover() {
      stalled = false;
      for (const work of held.splice(0)) work();
    },
    get banned() {
      return banned;
    },
    idleMs: () => idle + (idleSince === null ? 0 : time.now() - idleSince),
    finished: () => trained,
  };
}
