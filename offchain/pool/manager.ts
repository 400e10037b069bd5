/**
 * The pool's manager: authorises miners, leases trials to them, checks and keeps what they find, and counts their
 * points. Its transport is handed in (a channel of text messages a miner), its state is in the database, and it may
 * be killed at any instant: what it has acknowledged is written.
 */
import { createHash, randomBytes } from "node:crypto";

import { and, asc, count, eq, inArray, ne, sql } from "drizzle-orm";

import { networkShapes } from "../evaluation/shapes.ts";
import { parseWith, type Space } from "../protocol/architecture.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom } from "../protocol/random.ts";
import { randomSubsets } from "../search/partition.ts";
import { createRandomSearch } from "../search/random-search.ts";
import { sampleArchitecture } from "../search/spaces.ts";
import type { Samples } from "../training/datasets.ts";
import type { PoolDatabase } from "./database.ts";
import { bestShare, expireLeases, isStrong, jobOf, keepAlive, nextLease, type LeaseTask } from "./leases.ts";
import {
  CLOSE,
  MANAGER_METHODS,
  MINER_METHODS,
  MODEL_CHUNK_BYTES,
  RPC_ERROR,
  type Benchmark,
  type PointsReceipt,
  type Tally,
} from "./messages.ts";
import { chunkAnswer, fetchModelBytes } from "./model-transfer.ts";
import type { PointsLeaf } from "./points-tree.ts";
import { issueReceipts, latestReceipt, pointsOf, scoreShares, writeSharesFile } from "./points.ts";
import { createProposer, type CreateStrategy } from "./proposals.ts";
import { createRpcPeer, RpcError, type CallContext, type Handlers, type RpcPeer } from "./rpc.ts";
import { DEFAULT_RULES, type PoolRules } from "./rules.ts";
import { leases, miners, models, sessions, shares, tasks, type LeaseRow, type SessionRow } from "./schema.ts";
import { createSerial } from "./serial.ts";
import { createShareDesk, type Evaluate, type ShareTask } from "./shares.ts";
import { authorizeData, isSignedBy, type PoolIdentity, type Signer } from "./signatures.ts";
import { poolTaskDescriptorSchema, type PoolTask } from "./task.ts";

/** One miner's end of a link, as the manager sees it. */
export interface Channel {
  send(text: string): void;
  /** Ends the link, with a code of `CLOSE` and a reason for people. */
  close(code: number, reason: string): void;
}

export interface Link {
  /** Takes one message of the miner; never throws. */
  receive(text: string): void;
  /** The link is gone, for whatever reason. */
  closed(): void;
}

export interface BestModel {
  readonly modelRoot: Hex;
  readonly bytes: Uint8Array;
  readonly validation: Tally;
  readonly miner: Address;
  readonly lease: number;
}

export interface AcceptedShare {
  readonly lease: number;
  readonly miner: Address;
  readonly kind: "explore" | "exploit";
  readonly modelRoot: Hex;
  readonly validation: Tally;
  /** Unix time in milliseconds */
  readonly acceptedAt: number;
  readonly voided: boolean;
  /** null until the test set is released and counted */
  readonly testCorrect: number | null;
  readonly points: bigint | null;
}

/** One connected miner's session, for people who watch. */
export interface SessionStatus {
  readonly miner: Address;
  readonly client: string;
  readonly strong: boolean | null;
  /** MAC/s */
  readonly speed: number;
  /** the trial it is on, null where it waits */
  readonly trial: { readonly lease: number; readonly kind: "explore" | "exploit"; readonly epoch: number } | null;
}

export interface PoolStatus {
  readonly taskId: bigint | null;
  readonly best: { readonly validation: Tally; readonly miner: Address; readonly modelRoot: Hex } | null;
  readonly shares: number;
  readonly sessions: readonly SessionStatus[];
  /** best validation of each miner that has an accepted share in the task */
  readonly bestOf: readonly { readonly miner: Address; readonly validation: Tally; readonly shares: number }[];
}

export interface PoolManager {
  /**
   * Starts, or after a restart goes on with, the work on a task; any other task is closed.
   * @throws PonasError bad-input where the task was opened before with another descriptor, or is closed
   */
  openTask(task: PoolTask): Promise<void>;
  /** Ends the work on the open task: no more leases; shares that are being judged have `closeGraceMs` to be accepted. */
  closeTask(reason: string): Promise<void>;
  /** Takes a miner's new connection. */
  connect(channel: Channel): Link;
  /** What time brings: ends leases whose miners are silent, hands out jobs, drops strangers. Call it every second or so. */
  sweep(): Promise<void>;
  /** The best accepted model of a task, or null. */
  best(taskId: bigint): Promise<BestModel | null>;
  /** All accepted shares of a task in the order in which they came. */
  shares(taskId: bigint): Promise<AcceptedShare[]>;
  /**
   * Counts every share on the released test set, issues the points receipts that are due, and returns each miner's
   * points, ascending by account. Goes on where it was after a restart; asked again, it says the same.
   */
  points(taskId: bigint, options: { readonly test: Samples; readonly signal: AbortSignal }): Promise<PointsLeaf[]>;
  /** The file of credited shares (`writeSharesFile`), after `points`. */
  sharesFile(taskId: bigint): Promise<Uint8Array>;
  status(): Promise<PoolStatus>;
  /** Ends all links and waits for what is being written. The database stays open: it is its opener's. */
  stop(): Promise<void>;
}

export interface PoolManagerOptions {
  readonly database: PoolDatabase;
  readonly identity: PoolIdentity;
  /** the pool's receipt key (docs/protocol.md "Pools") */
  readonly receiptKey: Signer;
  readonly evaluate: Evaluate;
  readonly seed: number;
  readonly log: Log;
  readonly rules?: Partial<PoolRules>;
  /** random search where none is given */
  readonly createStrategy?: CreateStrategy;
  /** Unix time in milliseconds */
  readonly clock?: () => number;
}

type OpenTask = LeaseTask & ShareTask;

interface Connection {
  readonly peer: RpcPeer<typeof MINER_METHODS>;
  readonly since: number;
  challenge: { readonly nonce: Hex; readonly expiresAt: number } | null;
  subscribed: { readonly client: string; readonly benchmark: Benchmark; readonly token: string } | null;
  session: { readonly id: string; readonly miner: Address } | null;
  /** the lease that the miner was last told of */
  lease: number | null;
  end(code: number, reason: string): void;
}

const hashToken = (token: string): string => createHash("sha256").update(token).digest("hex");

/** Architectures whose median cost stands for a task's typical trial. */
const TYPICAL_SAMPLE = 31;

export function createPoolManager(options: PoolManagerOptions): PoolManager {
  const { database, identity, receiptKey, evaluate, seed, log } = options;
  const { createStrategy = createRandomSearch, clock = Date.now } = options;
  const rules: PoolRules = { ...DEFAULT_RULES, ...options.rules };
  const { queries } = database;
  const stopping = new AbortController();
  const writing = createSerial();
  const evaluating = createSerial();
  const desk = createShareDesk({
    queries,
    identity,
    receiptKey,
    evaluate,
    writing,
    evaluating,
    clock,
    signal: stopping.signal,
  });
  const connections = new Set<Connection>();
  let open: OpenTask | null = null;
  let closedBecause = "The pool has not chosen a task yet.";

  const authorised = (): Connection[] => [...connections].filter((connection) => connection.session !== null);
  const sameSession = (id: string): Connection[] => authorised().filter((other) => other.session!.id === id);
  const sameMiner = (miner: Address): Connection[] => authorised().filter((other) => other.session!.miner === miner);

  // ————— Jobs —————

  /** Tells a miner of the lease that is its own now; it never hears of one that is not written. */
  async function giveJob(connection: Connection): Promise<void> {
    const { session } = connection;
    if (session === null || stopping.signal.aborted) return;
    const task = open;
    if (task === null) {
      connection.lease = null;
      return connection.peer.notify("mining.notify", { job: null, reason: closedBecause });
    }
    try {
      const { lease, job } = await writing(() =>
        queries.transaction(async (tx) => {
          const [row] = await tx.select().from(sessions).where(eq(sessions.id, session.id));
          const own = await nextLease(tx, { task, session: row!, now: clock(), rules, proposer: task.proposer });
          return { lease: own, job: await jobOf(tx, own) };
        }),
      );
      if (open !== task || !connections.has(connection)) return;
      connection.lease = lease.id;
      connection.peer.notify("mining.notify", { job });
    } catch (error) {
      task.proposer.forget();
      connection.lease = null;
      log.warn({ miner: session.miner }, `No job for ${session.miner}: ${explainError(error)}`);
      connection.peer.notify("mining.notify", { job: null, reason: explainError(error).slice(0, 500) });
    }
  }

  async function giveTarget(to: readonly Connection[]): Promise<void> {
    if (open === null) return;
    const best = await bestShare(queries, open.taskId);
    if (best === undefined) return;
    const target = { taskId: best.taskId, best: { correct: best.correct, total: best.total } };
    for (const { peer } of to) peer.notify("mining.set_target", target);
  }

  /** Pushes are not part of an answer: what fails in one is logged, and the next sweep makes up for it. */
  function push(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!stopping.signal.aborted) log.error({ err: error }, `A push to a miner failed: ${explainError(error)}`);
    });
  }

  // ————— Links —————

  function connect(channel: Channel): Link {
    let offences = 0;
    let over = false;
    const closed = (): void => {
      if (over) return;
      over = true;
      connections.delete(connection);
      peer.end("The link to the miner has ended.");
    };
    const end = (code: number, reason: string): void => {
      if (over) return;
      closed();
      channel.close(code, reason);
    };
    const offend = (reason: string): void => {
      offences++;
      log.debug({ miner: connection.session?.miner, offences }, `A message was refused: ${reason}`);
      if (offences >= rules.maxOffences) {
        end(CLOSE.offences, `${offences} messages against the protocol, the last one: ${reason}`);
      }
    };
    const peer = createRpcPeer({
      serves: MANAGER_METHODS,
      handlers: handlersFor(() => connection, offend),
      calls: MINER_METHODS,
      send: (text) => channel.send(text),
      onOffence: offend,
      onDefect: (error, method) => {
        if (!stopping.signal.aborted) log.error({ err: error }, `${method} failed: ${explainError(error)}`);
      },
    });
    const connection: Connection = {
      peer,
      since: clock(),
      challenge: null,
      subscribed: null,
      session: null,
      lease: null,
      end,
    };
    if (stopping.signal.aborted) end(CLOSE.goingAway, "The pool's manager is stopping.");
    else connections.add(connection);
    return { receive: (text) => peer.receive(text), closed };
  }

  function handlersFor(own: () => Connection, offend: (reason: string) => void): Handlers<typeof MANAGER_METHODS> {
    const sessionOf = (): { id: string; miner: Address } => {
      const { session } = own();
      if (session === null) {
        offend("not authorised");
        throw new RpcError(RPC_ERROR.unauthorized, "mining.subscribe and mining.authorize come first.");
      }
      return session;
    };
    const refuse = (reason: string): RpcError => new RpcError(RPC_ERROR.refused, reason);

    return {
      "mining.subscribe": ({ client, benchmark, session }) => {
        const connection = own();
        if (connection.session !== null) throw refuse("This link is authorised already.");
        const token = session ?? randomBytes(32).toString("hex");
        connection.subscribed = { client, benchmark, token };
        connection.challenge = {
          nonce: `0x${randomBytes(32).toString("hex")}`,
          expiresAt: clock() + rules.challengeMs,
        };
        const { chainId, pool } = identity;
        const { challenge } = connection;
        const { heartbeatMs } = rules;
        return { session: token, chainId, pool, receiptKey: receiptKey.address, heartbeatMs, challenge };
      },

      "mining.authorize": async ({ miner, signature }, context) => {
        const connection = own();
        const { challenge, subscribed } = connection;
        if (challenge === null || subscribed === null) {
          offend("no challenge");
          throw new RpcError(RPC_ERROR.unauthorized, "There is no open challenge: mining.subscribe comes first.");
        }
        // One answer a challenge, right or wrong.
        connection.challenge = null;
        if (clock() > challenge.expiresAt) throw new RpcError(RPC_ERROR.retry, "The challenge has expired.");
        if (!(await isSignedBy(miner, authorizeData(identity, { miner, ...challenge }), signature))) {
          offend("wrong signature");
          throw new RpcError(RPC_ERROR.unauthorized, `The challenge is not signed by ${miner}.`);
        }
        await admit(connection, miner, subscribed, context);
        return {};
      },

      "mining.submit": async (signed, context) => {
        const connection = own();
        const { miner } = sessionOf();
        const task = open;
        const earlier = await desk.recall(miner, signed);
        // A manager that has just started does not know yet what it works on: the share is not to be thrown away.
        if (earlier === null && task === null) throw new RpcError(RPC_ERROR.retry, closedBecause);
        const verdict = earlier ?? (await judge(task!, connection, miner, signed));
        if (verdict.kind === "accepted") {
          context.afterReply(() => {
            push(giveJob(connection));
            if (verdict.best) push(giveTarget(authorised()));
          });
          log.info(
            { lease: signed.share.lease, miner, ...signed.share.validation },
            `Share of ${miner}: ${signed.share.validation.correct} of ${signed.share.validation.total}${verdict.best ? ", the best so far" : ""}.`,
          );
          return { receipt: verdict.receipt, best: verdict.best };
        }
        if (verdict.kind === "false") {
          log.warn({ lease: signed.share.lease, miner }, `${miner} is banned: ${verdict.reason}`);
          context.afterReply(() => {
            for (const other of sameMiner(miner)) other.end(CLOSE.banned, verdict.reason);
          });
          throw new RpcError(RPC_ERROR.banned, verdict.reason);
        }
        if (verdict.offence) offend(verdict.reason);
        context.afterReply(() => push(giveJob(connection)));
        throw refuse(verdict.reason);
      },

      "mining.heartbeat": async ({ lease, epoch }, context) => {
        const connection = own();
        const { miner } = sessionOf();
        const kept = await writing(async () => {
          const row = await leaseOf(lease, miner);
          return row === undefined ? undefined : keepAlive(queries, row, clock(), rules, epoch);
        });
        if (kept === undefined) {
          context.afterReply(() => push(giveJob(connection)));
          throw refuse(`Lease ${lease} is not yours any more.`);
        }
        return { heartbeatBy: kept.heartbeatBy, endsAt: kept.endsAt };
      },

      "mining.abandon": async ({ lease, outcome, reason }, context) => {
        const connection = own();
        const { miner } = sessionOf();
        const task = open;
        await writing(() =>
          queries.transaction(async (tx) => {
            const [row] = await tx
              .update(leases)
              .set({ state: outcome === "infeasible" ? "infeasible" : "expired", endsAt: clock(), refusal: reason })
              .where(and(eq(leases.id, lease), eq(leases.miner, miner), inArray(leases.state, ["live", "expired"])))
              .returning();
            const proposed = row?.kind === "explore" && outcome === "infeasible" && row.taskId === task?.taskId;
            if (proposed) await task.proposer.tell(tx, row.part!, row.architecture, 0);
          }),
        );
        log.info({ lease, miner }, `${miner} gave lease ${lease} back as ${outcome}: ${reason}`);
        if (outcome === "infeasible") context.afterReply(() => push(giveJob(connection)));
        // A miner that stays all the same gets its next job with the sweep, and not faster than that.
        else if (connection.lease === lease) connection.lease = null;
        return {};
      },

      "mining.model": async ({ modelRoot, offset }) => {
        const { miner } = sessionOf();
        // A member sees a model only where a lease of its own starts from it.
        const [row] = await queries
          .select({
            size: sql<number>`octet_length(${models.bytes})`.mapWith(Number),
            chunk: sql<Uint8Array>`substring(${models.bytes} from ${offset + 1}::integer for ${MODEL_CHUNK_BYTES}::integer)`,
          })
          .from(models)
          .innerJoin(shares, and(eq(shares.taskId, models.taskId), eq(shares.modelRoot, models.modelRoot)))
          .innerJoin(leases, eq(leases.parentShare, shares.id))
          .where(
            and(
              eq(models.modelRoot, modelRoot),
              eq(leases.miner, miner),
              eq(leases.continues, true),
              inArray(leases.state, ["live", "expired"]),
            ),
          )
          .limit(1);
        if (row === undefined) throw refuse(`No lease of yours starts from the model ${modelRoot}.`);
        if (offset >= row.size) throw refuse(`The model ${modelRoot} has only ${row.size} bytes.`);
        return chunkAnswer(row.size, row.chunk);
      },

      "mining.points": async ({ taskId }) => {
        const { miner } = sessionOf();
        return { receipt: await latestReceipt(queries, taskId, miner) };
      },
    };
  }

  /** Writes an authorised miner's session down, or finds it again, and puts the link to work. */
  async function admit(
    connection: Connection,
    miner: Address,
    { client, benchmark, token }: NonNullable<Connection["subscribed"]>,
    context: CallContext,
  ): Promise<void> {
    const id = hashToken(token);
    const speed = benchmark.imagesPerSecond * benchmark.macs;
    await writing(() =>
      queries.transaction(async (tx) => {
        await tx.insert(miners).values({ address: miner, firstSeen: clock() }).onConflictDoNothing();
        const [known] = await tx.select().from(miners).where(eq(miners.address, miner));
        if (known!.bannedAt !== null) {
          const reason = `${miner} is banned from this pool. ${known!.banReason}`;
          context.afterReply(() => connection.end(CLOSE.banned, reason));
          throw new RpcError(RPC_ERROR.banned, reason);
        }
        const [earlier] = await tx.select().from(sessions).where(eq(sessions.id, id));
        if (earlier !== undefined && earlier.miner !== miner) {
          throw new RpcError(RPC_ERROR.unauthorized, "The session belongs to another account.");
        }
        const others = new Set(sameMiner(miner).map((other) => other.session!.id));
        if (!others.has(id) && others.size >= rules.maxSessionsPerMiner) {
          throw new RpcError(RPC_ERROR.retry, `${miner} has ${others.size} sessions already.`);
        }
        const fresh: SessionRow = { id, miner, client, speed, measured: 0, lastSeen: clock() };
        // What was measured outlives a reconnection; only a claim is replaced by a new claim.
        const kept = earlier !== undefined && earlier.measured > 0 ? {} : { speed };
        await tx
          .insert(sessions)
          .values(fresh)
          .onConflictDoUpdate({ target: sessions.id, set: { client, lastSeen: clock(), ...kept } });
      }),
    );
    for (const other of sameSession(id)) {
      if (other !== connection) other.end(CLOSE.replaced, "Another connection goes on with this session.");
    }
    if (!connections.has(connection)) return;
    connection.session = { id, miner };
    log.info({ miner, client }, `${miner} has joined.`);
    context.afterReply(() => {
      push(giveTarget([connection]));
      push(giveJob(connection));
    });
  }

  async function leaseOf(lease: number, miner: Address): Promise<LeaseRow | undefined> {
    const [row] = await queries
      .select()
      .from(leases)
      .where(and(eq(leases.id, lease), eq(leases.miner, miner)));
    return row;
  }

  /** The desk's verdict; what only delayed it goes back as "try again". */
  async function judge(
    task: OpenTask,
    connection: Connection,
    miner: Address,
    signed: Parameters<typeof desk.submit>[2],
  ) {
    const deadline = AbortSignal.any([stopping.signal, AbortSignal.timeout(rules.modelTimeoutMs)]);
    try {
      return await desk.submit(task, miner, signed, (modelRoot, maxBytes) =>
        fetchModelBytes(modelRoot, maxBytes, (request) =>
          connection.peer.request("mining.model", request, { timeoutMs: rules.modelTimeoutMs, signal: deadline }),
        ),
      );
    } catch (error) {
      const delayed = error instanceof PonasError || error instanceof RpcError;
      if (!delayed) throw error;
      const reason =
        deadline.aborted && !stopping.signal.aborted
          ? `The model ${signed.share.modelRoot} was not handed over within ${rules.modelTimeoutMs / 1000} s.`
          : explainError(error);
      log.warn({ lease: signed.share.lease, miner }, `The share of lease ${signed.share.lease} waits: ${reason}`);
      throw new RpcError(RPC_ERROR.retry, reason);
    }
  }

  // ————— Tasks —————

  async function openTask(task: PoolTask): Promise<void> {
    const { taskId, validation, endsAt } = task;
    const descriptor = parseWith(poolTaskDescriptorSchema, task.descriptor, `The descriptor of task ${taskId}`);
    if (validation.count !== descriptor.validationCount) {
      throw new PonasError(
        "bad-input",
        `Task ${taskId} has ${descriptor.validationCount} validation samples; ${validation.count} were given.`,
      );
    }
    if (open !== null && open.taskId !== taskId) await closeTask(`The pool has gone on to task ${taskId}.`);
    const now = clock();
    const row = await writing(() =>
      queries.transaction(async (tx) => {
        const others = await tx
          .update(tasks)
          .set({ closed: true })
          .where(and(ne(tasks.taskId, taskId), eq(tasks.closed, false)))
          .returning({ taskId: tasks.taskId });
        for (const other of others) await letGo(tx, other.taskId);
        const subspaces = partition(descriptor.space, taskId);
        await tx
          .insert(tasks)
          .values({ taskId, descriptor, subspaces, seed, openedAt: now, endsAt })
          .onConflictDoNothing();
        await tx.update(tasks).set({ endsAt }).where(eq(tasks.taskId, taskId));
        // The manager was away, not the miners: whoever held a lease has a heartbeat's time to come back.
        await tx
          .update(leases)
          .set({ heartbeatBy: now + rules.heartbeatMs })
          .where(and(eq(leases.taskId, taskId), eq(leases.state, "live")));
        const [written] = await tx.select().from(tasks).where(eq(tasks.taskId, taskId));
        return written!;
      }),
    );
    const before = poolTaskDescriptorSchema.parse(row.descriptor);
    if (JSON.stringify(before) !== JSON.stringify(descriptor)) {
      throw new PonasError("bad-input", `Task ${taskId} was opened before with another descriptor.`);
    }
    if (row.closed) throw new PonasError("bad-input", `The pool's work on task ${taskId} is over.`);
    open = {
      taskId,
      descriptor,
      validation,
      subspaceCount: row.subspaces.length,
      openedAt: row.openedAt,
      endsAt,
      typicalMacs: typicalMacs(task),
      proposer: createProposer({
        taskId,
        descriptor,
        subspaces: row.subspaces,
        seed: row.seed,
        rules,
        createStrategy,
        log,
      }),
    };
    push(giveTarget(authorised()));
    for (const connection of authorised()) push(giveJob(connection));
  }

  function partition(space: Space, taskId: bigint): Space[] {
    if (rules.subspaces === 0) return [];
    return randomSubsets(space, rules.subspaces, createRandom(`${seed}/${taskId}/partition`).integer(2 ** 32));
  }

  function typicalMacs({ taskId, descriptor }: PoolTask): number {
    const { template, space, maxMacs = Infinity, settings, trainCount } = descriptor;
    const random = createRandom(`${taskId}/typical`);
    const costs = Array.from({ length: TYPICAL_SAMPLE }, () =>
      Math.min(maxMacs, networkShapes(sampleArchitecture(template, space, random)).macs),
    ).sort((a, b) => a - b);
    return costs[TYPICAL_SAMPLE >> 1]! * settings.epochs * trainCount;
  }

  async function letGo(tx: typeof queries, taskId: bigint): Promise<void> {
    await tx
      .update(leases)
      .set({ state: "expired" })
      .where(and(eq(leases.taskId, taskId), eq(leases.state, "live")));
  }

  async function closeTask(reason: string): Promise<void> {
    const task = open;
    if (task === null) return;
    open = null;
    closedBecause = reason;
    for (const connection of authorised()) {
      connection.lease = null;
      connection.peer.notify("mining.notify", { job: null, reason });
    }
    const patience = AbortSignal.any([stopping.signal, AbortSignal.timeout(rules.closeGraceMs)]);
    await Promise.race([desk.idle(), new Promise((resolve) => patience.addEventListener("abort", resolve))]);
    await writing(() =>
      queries.transaction(async (tx) => {
        await tx.update(tasks).set({ closed: true }).where(eq(tasks.taskId, task.taskId));
        await letGo(tx, task.taskId);
      }),
    );
  }

  async function sweep(): Promise<void> {
    const now = clock();
    for (const connection of connections) {
      if (connection.session === null && now > connection.since + rules.challengeMs) {
        connection.end(CLOSE.silent, `Nobody authorised this link within ${rules.challengeMs / 1000} s.`);
      }
    }
    const task = open;
    if (task === null) return;
    const slow = new Set(await writing(() => expireLeases(queries, task.taskId, now)));
    for (const connection of authorised()) {
      if (connection.lease === null || slow.has(connection.session!.id)) push(giveJob(connection));
    }
  }

  // ————— Reads —————

  async function descriptorOf(taskId: bigint) {
    const [row] = await queries.select().from(tasks).where(eq(tasks.taskId, taskId));
    if (row === undefined) throw new PonasError("not-found", `The pool has never worked on task ${taskId}.`);
    return poolTaskDescriptorSchema.parse(row.descriptor);
  }

  async function pushReceipts(receipts: readonly PointsReceipt[]): Promise<void> {
    for (const receipt of receipts) {
      for (const { peer } of sameMiner(receipt.miner)) peer.notify("mining.points", receipt);
    }
  }

  return {
    openTask,
    closeTask,
    connect,
    sweep,

    async best(taskId) {
      const share = await bestShare(queries, taskId);
      if (share === undefined) return null;
      const { modelRoot, miner, leaseId: lease, correct, total } = share;
      const [model] = await queries
        .select({ bytes: models.bytes })
        .from(models)
        .where(and(eq(models.taskId, taskId), eq(models.modelRoot, modelRoot)));
      return { modelRoot, bytes: model!.bytes, validation: { correct, total }, miner, lease };
    },

    async shares(taskId) {
      const rows = await queries
        .select({ share: shares, kind: leases.kind })
        .from(shares)
        .innerJoin(leases, eq(leases.id, shares.leaseId))
        .where(eq(shares.taskId, taskId))
        .orderBy(asc(shares.id));
      return rows.map(({ share, kind }) => {
        const { leaseId: lease, miner, modelRoot, correct, total, acceptedAt, voided, testCorrect, points } = share;
        return {
          lease,
          miner,
          kind,
          modelRoot,
          validation: { correct, total },
          acceptedAt,
          voided,
          testCorrect,
          points,
        };
      });
    },

    async points(taskId, { test, signal }) {
      if (open?.taskId === taskId) {
        throw new PonasError(
          "pool",
          `Task ${taskId} is still being worked on; its points are counted after it is closed.`,
        );
      }
      const descriptor = await descriptorOf(taskId);
      const either = AbortSignal.any([signal, stopping.signal]);
      await scoreShares({ queries, taskId, descriptor, test, evaluate, evaluating, signal: either });
      await pushReceipts(await writing(() => issueReceipts({ queries, taskId, identity, receiptKey, clock })));
      return pointsOf(queries, taskId);
    },

    sharesFile: (taskId) => writeSharesFile(queries, identity, taskId),

    async status() {
      const task = open;
      if (task === null)
        return { taskId: null, best: null, shares: 0, sessions: await sessionStatus(null), bestOf: [] };
      const best = await bestShare(queries, task.taskId);
      const bestOf = await queries
        .select({
          miner: shares.miner,
          correct: sql<number>`max(${shares.correct})`.mapWith(Number),
          total: sql<number>`max(${shares.total})`.mapWith(Number),
          shares: count(),
        })
        .from(shares)
        .where(eq(shares.taskId, task.taskId))
        .groupBy(shares.miner);
      return {
        taskId: task.taskId,
        best:
          best === undefined
            ? null
            : {
                validation: { correct: best.correct, total: best.total },
                miner: best.miner,
                modelRoot: best.modelRoot,
              },
        shares: bestOf.reduce((sum, row) => sum + row.shares, 0),
        sessions: await sessionStatus(task),
        bestOf: bestOf.map(({ miner, correct, total, shares: accepted }) => ({
          miner,
          validation: { correct, total },
          shares: accepted,
        })),
      };
    },

    async stop() {
      if (stopping.signal.aborted) return;
      stopping.abort();
      for (const connection of [...connections]) connection.end(CLOSE.goingAway, "The pool's manager is stopping.");
      await desk.idle();
      await writing(() => Promise.resolve());
    },
  };

  async function sessionStatus(task: OpenTask | null): Promise<SessionStatus[]> {
    const ids = authorised().map((connection) => connection.session!.id);
    if (ids.length === 0) return [];
    const rows = await queries
      .select({ session: sessions, lease: leases })
      .from(sessions)
      .leftJoin(leases, and(eq(leases.sessionId, sessions.id), eq(leases.state, "live")))
      .where(inArray(sessions.id, ids));
    return rows.map(({ session: { miner, client, speed }, lease }) => ({
      miner,
      client,
      speed,
      strong: task === null ? null : isStrong(task, speed, rules),
      trial: lease === null ? null : { lease: lease.id, kind: lease.kind, epoch: lease.epoch },
    }));
  }
}
