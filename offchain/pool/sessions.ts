/**
 * The miners that are connected: who they are, what they ask and send, and what they are told (docs/pool.md "Miner
 * protocol"). Nothing a miner sends can stop the manager.
 */
import { createHash, randomBytes } from "node:crypto";

import { and, eq, inArray, sql } from "drizzle-orm";

import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createCheckpointDesk } from "./checkpoints.ts";
import { auditCommitment } from "./audit-draw.ts";
import type { ModelOwners } from "./audit-desk.ts";
import type { PoolDatabase, Queries } from "./database.ts";
import { isAnyOf } from "./database-bulk.ts";
import { readDecisions } from "./decisions.ts";
import { bestShare, jobsOf, keepAllAlive, type Heartbeat, type LeaseTask } from "./leases.ts";
import {
  CLOSE,
  MANAGER_METHODS,
  MINER_METHODS,
  MODEL_CHUNK_BYTES,
  RPC_ERROR,
  type Benchmark,
  type Job,
  type PointsReceipt,
  type SchemeNotice,
  type SignedShare,
} from "./messages.ts";
import { chunkAnswer, fetchModelBytes } from "./model-transfer.ts";
import { latestReceipt } from "./points.ts";
import { readStandings } from "./reads.ts";
import { createRpcPeer, RpcError, type CallContext, type Handlers, type RpcPeer } from "./rpc.ts";
import { createTimeOuts, createTokenBuckets } from "./limits.ts";
import type { PoolRules } from "./rules.ts";
import type { Schedule } from "./schedule.ts";
import { checkpoints, leases, miners, models, sessions, shares, type LeaseRow, type SessionRow } from "./schema.ts";
import { createBatches, type Serial } from "./serial.ts";
import type { ShareDesk, ShareTask, Verdict } from "./shares.ts";
import type { SignatureCheck } from "./signature-check.ts";
import { authorizeData, digestOf, type PoolIdentity } from "./signatures.ts";

/** The task that is worked on. */
export type OpenTask = LeaseTask & ShareTask & { readonly schedule: Schedule };

/** What the pool works on at the moment. */
export interface Work {
  task(): OpenTask | null;
  /**
   * Why there is no task. `final`: it is over; otherwise the manager has only just started and does not know yet what
   * it works on, so that a share is not to be thrown away.
   */
  idle(): { readonly reason: string; readonly final: boolean };
}

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

export interface Sessions extends ModelOwners {
  /** Takes a miner's new connection. */
  connect(channel: Channel): Link;
  /** The work has begun or ended: tells everyone the target and a job, or that there is none. */
  announce(): void;
  /** Drops strangers, and gives jobs to those without one. @param slow ids of sessions whose lease has just ended */
  sweep(slow: ReadonlySet<string>): void;
  /** Sends points receipts to their miners, where they are connected. */
  hand(receipts: readonly PointsReceipt[]): void;
  /** Ids of the sessions that are connected. */
  online(): string[];
  /** Ids of sessions whose link has ended, and that have not come back in time (`lingerMs`). */
  gone(): Set<string>;
  endAll(code: number, reason: string): void;
}

interface Connection {
  readonly peer: RpcPeer<typeof MINER_METHODS>;
  readonly since: number;
  challenge: { readonly nonce: Hex; readonly expiresAt: number } | null;
  subscribed: { readonly client: string; readonly benchmark: Benchmark; readonly token: string } | null;
  session: { readonly id: string; readonly miner: Address } | null;
  /** the lease that the miner was last told of */
  lease: number | null;
  /** a job is being found for it; "again": and another must be looked for then */
  giving: boolean | "again";
  readonly offences: { readonly count: number; readonly last: string | null };
  end(code: number, reason: string): void;
}

/** Jobs, and signs of life, that are written together at most: what waits behind them waits no longer than for so many. */
const MAX_TOGETHER = 64;
const MAX_BEATS = 512;

const hashToken = (token: string): string => createHash("sha256").update(token).digest("hex");

export function createSessions(options: {
  readonly queries: Queries;
  readonly identity: PoolIdentity;
  /** address of the pool's receipt key */
  readonly receiptKey: Address;
  readonly rules: PoolRules;
  readonly signatures: SignatureCheck;
  readonly desk: ShareDesk;
  readonly work: Work;
  /** how the pool counts, as miners are told */
  readonly scheme: SchemeNotice;
  /** an authorised miner has come */
  readonly onJoin: (miner: Address) => void;
  /** the order in which the manager writes */
  readonly writing: Serial;
  /** what is said to a miner is said when all that it rests on is on disk */
  readonly durably: PoolDatabase["durably"];
  readonly clock: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Sessions {
  const {
    queries,
    identity,
    receiptKey,
    rules,
    signatures,
    desk,
    work,
    scheme,
    onJoin,
    writing,
    durably,
    clock,
    log,
    signal,
  } = options;
  const connections = new Set<Connection>();
  /** when the last link of a session ended that is not connected; of the newest only, after that its lease's time is over */
  const leftAt = new Map<string, number>();
  const kept = createCheckpointDesk({ queries, rules, writing, clock });
  const { requestsPerSecond, requestBurst } = rules;
  const requests = createTokenBuckets({ rate: requestsPerSecond, burst: requestBurst, clock });
  const timeOuts = createTimeOuts({ strikes: rules.maxStrikes, shutOutMs: rules.shutOutMs, clock });
  const authorised = (): Connection[] => [...connections].filter((connection) => connection.session !== null);
  const sameSession = (id: string): Connection[] => authorised().filter((other) => other.session!.id === id);
  const sameMiner = (miner: Address): Connection[] => authorised().filter((other) => other.session!.miner === miner);

  const assign = createBatches<OpenTask, string, { lease: LeaseRow; job: Job }>({
    turn: writing,
    most: MAX_TOGETHER,
    period: 2 * rules.paceMs,
    work: async (task, wanting) => {
      try {
        return await queries.transaction(async (tx) => {
          const rows = await tx.select().from(sessions).where(isAnyOf(sessions.id, wanting));
          const rowOf = new Map(rows.map((row) => [row.id, row]));
          const inOrder = [...new Set(wanting)].map((id) => rowOf.get(id)!);
          const own = await task.schedule.lease(tx, inOrder, clock());
          const jobs = await jobsOf(tx, own);
          const commitment = auditCommitment(task.audit.secret);
          const jobOf = new Map(
            own.map((lease, at) => [lease.sessionId, { lease, job: { ...jobs[at]!, auditCommitment: commitment } }]),
          );
          return wanting.map((id) => jobOf.get(id)!);
        });
      } catch (error) {
        task.schedule.forget();
        throw error;
      }
    },
  });
  const beat = createBatches<object, Heartbeat, { heartbeatBy: number; endsAt: number } | null>({
    turn: writing,
    most: MAX_BEATS,
    period: 8 * rules.paceMs,
    work: async (_, beats) => {
      const alive = await keepAllAlive(queries, beats, clock(), rules);
      const of = new Map(
        alive.map(({ lease, miner, heartbeatBy, endsAt }) => [`${lease} ${miner}`, { heartbeatBy, endsAt }]),
      );
      return beats.map(({ lease, miner }) => of.get(`${lease} ${miner}`) ?? null);
    },
  });

  /** Tells a miner of the lease that is its own now; one at a time for each link, however often it is asked for. */
  async function giveJob(connection: Connection): Promise<void> {
    if (connection.giving !== false) {
      connection.giving = "again";
      return;
    }
    try {
      do {
        connection.giving = true;
        await findJob(connection);
      } while ((connection.giving as boolean | "again") === "again");
    } finally {
      connection.giving = false;
    }
  }

  async function findJob(connection: Connection): Promise<void> {
    const { session } = connection;
    if (session === null || !connections.has(connection)) return;
    const task = work.task();
    if (task === null) {
      connection.lease = null;
      return connection.peer.notify("mining.notify", { job: null, reason: work.idle().reason });
    }
    try {
      const { lease, job } = await durably(() => assign(task, session.id));
      if (work.task() !== task || !connections.has(connection)) return;
      connection.lease = lease.id;
      connection.peer.notify("mining.notify", { job });
    } catch (error) {
      connection.lease = null;
      // A database that is away is no news for a miner: the job that it may have is still its own.
      if (error instanceof PonasError && error.retryable) return;
      log.warn({ miner: session.miner }, `No job for ${session.miner}: ${explainError(error)}`);
      connection.peer.notify("mining.notify", { job: null, reason: explainError(error).slice(0, 500) });
    }
  }

  async function giveTarget(to: readonly Connection[]): Promise<void> {
    const task = work.task();
    if (task === null) return;
    const best = await durably(() => bestShare(queries, task.taskId));
    if (best === undefined) return;
    const target = { taskId: best.taskId, best: { correct: best.correct, total: best.total } };
    for (const { peer } of to) peer.notify("mining.set_target", target);
  }

  /** Pushes are not part of an answer: what fails in one is logged, and the next sweep makes up for it. */
  function push(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!signal.aborted && !(error instanceof PonasError && error.retryable))
        log.error({ err: error }, `A push to a miner failed: ${explainError(error)}`);
    });
  }

  // ————— Links —————

  function connect(channel: Channel): Link {
    const offences = { count: 0, last: null as string | null };
    let over = false;
    const closed = (): void => {
      if (over) return;
      over = true;
      connections.delete(connection);
      const id = connection.session?.id;
      if (id !== undefined && sameSession(id).length === 0) leftAt.set(id, clock());
      peer.end("The link to the miner has ended.");
    };
    const end = (code: number, reason: string): void => {
      if (over) return;
      closed();
      channel.close(code, reason);
    };
    const offend = (reason: string): void => {
      offences.count++;
      offences.last = reason.slice(0, 1000);
      const miner = connection.session?.miner;
      log.debug({ miner, offences: offences.count }, `A message was refused: ${reason}`);
      if (offences.count < rules.maxOffences || over) return;
      if (miner !== undefined) timeOuts.strike(miner, reason.slice(0, 500));
      end(CLOSE.offences, `${offences.count} messages against the protocol, the last one: ${reason}`);
    };
    const admitRequest = (method: string): void => {
      const miner = connection.session?.miner;
      const retryAfterMs = miner === undefined ? 0 : requests.take(miner);
      if (retryAfterMs === 0) return;
      const limit = `${miner} makes more than ${rules.requestsPerSecond} requests a second; ${method} may come again in ${retryAfterMs} ms.`;
      throw new RpcError(RPC_ERROR.retry, limit, { kind: "rate", retryAfterMs });
    };
    const peer = createRpcPeer({
      serves: MANAGER_METHODS,
      handlers: handlersFor(() => connection, offend),
      calls: MINER_METHODS,
      send: (text) => channel.send(text),
      admit: admitRequest,
      durably,
      onOffence: offend,
      onDefect: (error, method) => {
        if (!signal.aborted) log.error({ err: error }, `${method} failed: ${explainError(error)}`);
      },
    });
    const connection: Connection = {
      peer,
      since: clock(),
      challenge: null,
      subscribed: null,
      session: null,
      lease: null,
      giving: false,
      offences,
      end,
    };
    if (signal.aborted) end(CLOSE.goingAway, "The pool's manager is stopping.");
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
        const { heartbeatMs, checkpointMs } = rules;
        return { session: token, chainId, pool, receiptKey, heartbeatMs, checkpointMs, challenge, scheme };
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
        if (
          !(await signatures.isSigned(miner, digestOf(authorizeData(identity, { miner, ...challenge })), signature))
        ) {
          offend("wrong signature");
          throw new RpcError(RPC_ERROR.unauthorized, `The challenge is not signed by ${miner}.`);
        }
        const out = timeOuts.of(miner);
        if (out !== null) {
          const reason = `${miner} is shut out for ${Math.ceil(out.ms / 1000)} s, for messages against the protocol; the last one: ${out.reason}`;
          context.afterReply(() => connection.end(CLOSE.offences, reason));
          throw new RpcError(RPC_ERROR.retry, reason, { kind: "shut-out", retryAfterMs: out.ms, reason: out.reason });
        }
        await admit(connection, miner, subscribed, context);
        return {};
      },

      "mining.submit": async (signed, context) => {
        const connection = own();
        const { miner } = sessionOf();
        const task = work.task();
        const verdict =
          task === null ? await desk.recall(miner, signed) : await judge(task, connection, miner, signed, offend);
        if (verdict === null) {
          const { reason, final } = work.idle();
          throw new RpcError(final ? RPC_ERROR.refused : RPC_ERROR.retry, reason);
        }
        if (verdict.kind === "accepted") {
          context.afterReply(() => {
            push(giveJob(connection));
            if (verdict.best) push(giveTarget(authorised()));
          });
          log.info(
            { lease: signed.share.lease, miner, ...signed.share.validation },
            `Share of ${miner}: ${signed.share.validation.correct} of ${signed.share.validation.total}${verdict.best ? ", the best so far" : ""}.`,
          );
          return { receipt: verdict.receipt, best: verdict.best, keep: verdict.keep };
        }
        if (verdict.kind === "false") {
          log.warn({ lease: signed.share.lease, miner }, `${miner} is banned: ${verdict.reason}`);
          context.afterReply(() => bar(miner, verdict.reason));
          throw new RpcError(RPC_ERROR.banned, verdict.reason);
        }
        if (verdict.offence) offend(verdict.reason);
        context.afterReply(() => push(giveJob(connection)));
        throw refuse(verdict.reason);
      },

      "mining.heartbeat": async ({ lease, epoch }, context) => {
        const connection = own();
        const { miner } = sessionOf();
        const alive = await beat(work, { lease, miner, epoch });
        if (alive !== null) return alive;
        context.afterReply(() => push(giveJob(connection)));
        throw refuse(`Lease ${lease} is not yours any more.`);
      },

      "mining.abandon": async ({ lease, outcome, reason }, context) => {
        const connection = own();
        const { miner } = sessionOf();
        const task = work.task();
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
        ).catch((error: unknown) => {
          task?.proposer.forget();
          throw error;
        });
        log.info({ lease, miner }, `${miner} gave lease ${lease} back as ${outcome}: ${reason}`);
        if (outcome === "infeasible") context.afterReply(() => push(giveJob(connection)));
        // A miner that stays all the same gets its next job with the sweep, and not faster than that.
        else if (connection.lease === lease) connection.lease = null;
        return {};
      },

      "mining.checkpoint": async (checkpoint) => {
        const connection = own();
        const { miner } = sessionOf();
        const task = work.task();
        if (task === null) throw refuse(work.idle().reason);
        const verdict = await kept
          .take(miner, checkpoint, task.descriptor.maxModelBytes, (modelRoot, maxBytes) =>
            fetchFrom(connection, modelRoot, maxBytes, AbortSignal.timeout(rules.modelTimeoutMs)),
          )
          .catch((error: unknown) => {
            if (!(error instanceof PonasError || error instanceof RpcError)) throw error;
            throw new RpcError(RPC_ERROR.retry, explainError(error));
          });
        if (verdict.kind === "later") throw new RpcError(RPC_ERROR.retry, verdict.reason);
        if (verdict.kind === "refused") {
          if (verdict.offence) offend(verdict.reason);
          throw refuse(verdict.reason);
        }
        return {};
      },

      "mining.decisions": async (wanted) => {
        const { miner } = sessionOf();
        return { decisions: await readDecisions(queries, { ...wanted, miner }) };
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
        const found = row ?? (await checkpointChunk(miner, modelRoot, offset));
        if (found === undefined) throw refuse(`No lease of yours starts from the model ${modelRoot}.`);
        if (offset >= found.size) throw refuse(`The model ${modelRoot} has only ${found.size} bytes.`);
        return chunkAnswer(found.size, found.chunk);
      },

      "mining.shares": async ({ taskId, after }) => {
        const { miner } = sessionOf();
        return { shares: await readStandings(queries, { taskId, miner, after }) };
      },

      "mining.status": () => {
        const { miner } = sessionOf();
        const { count, last } = own().offences;
        return {
          miner,
          sessions: new Set(sameMiner(miner).map((other) => other.session!.id)).size,
          maxSessions: rules.maxSessionsPerMiner,
          offences: count,
          maxOffences: rules.maxOffences,
          lastOffence: last,
          requestsPerSecond,
          requestBurst,
        };
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
          throw new RpcError(RPC_ERROR.banned, reason, { kind: "banned", reason: known!.banReason!.slice(0, 1000) });
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
    leftAt.delete(id);
    onJoin(miner);
    log.info({ miner, client }, `${miner} has joined.`);
    context.afterReply(() => {
      push(giveTarget([connection]));
      push(giveJob(connection));
    });
  }

  /** A run of the checkpoint that a lease of the miner's goes on from. */
  async function checkpointChunk(
    miner: Address,
    modelRoot: Hex,
    offset: number,
  ): Promise<{ size: number; chunk: Uint8Array } | undefined> {
    const [row] = await queries
      .select({
        size: sql<number>`octet_length(${checkpoints.bytes})`.mapWith(Number),
        chunk: sql<Uint8Array>`substring(${checkpoints.bytes} from ${offset + 1}::integer for ${MODEL_CHUNK_BYTES}::integer)`,
      })
      .from(checkpoints)
      .innerJoin(leases, eq(leases.resumes, checkpoints.leaseId))
      .where(
        and(eq(checkpoints.modelRoot, modelRoot), eq(leases.miner, miner), inArray(leases.state, ["live", "expired"])),
      )
      .limit(1);
    return row;
  }

  function bar(miner: Address, reason: string): void {
    for (const other of sameMiner(miner)) other.end(CLOSE.banned, reason);
  }

  /** Of a miner's links only that of the session that trained a model can say that it is lost. */
  async function fetchModel(
    { sessionId, miner }: { readonly sessionId: string; readonly miner: Address },
    modelRoot: Hex,
    maxBytes: number,
  ): Promise<Uint8Array> {
    const links = sameMiner(miner).sort(
      (a, b) => Number(b.session!.id === sessionId) - Number(a.session!.id === sessionId),
    );
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(rules.modelTimeoutMs)]);
    let failure = new PonasError("unavailable", `${miner} has no link.`);
    for (const link of links) {
      try {
        return await fetchFrom(link, modelRoot, maxBytes, deadline);
      } catch (error) {
        if (!(error instanceof PonasError || error instanceof RpcError)) throw error;
        const refused = error instanceof RpcError && error.code === RPC_ERROR.refused;
        const code = refused && link.session?.id === sessionId ? "not-found" : "unavailable";
        if (failure.code !== "not-found") {
          failure =
            error instanceof PonasError && error.code === "model-too-large"
              ? error
              : new PonasError(code, explainError(error));
        }
      }
    }
    throw failure;
  }

  const fetchFrom = (
    { peer }: Connection,
    modelRoot: Hex,
    maxBytes: number,
    deadline: AbortSignal,
  ): Promise<Uint8Array> =>
    fetchModelBytes(modelRoot, maxBytes, (request) =>
      peer.request("mining.model", request, { timeoutMs: rules.modelTimeoutMs, signal: deadline }),
    );

  /** The desk's verdict; what only delayed it goes back as "try again". */
  async function judge(
    task: OpenTask,
    connection: Connection,
    miner: Address,
    signed: SignedShare,
    offend: (reason: string) => void,
  ): Promise<Verdict> {
    // Few shares are asked for their models at once, and a signal with a timer costs as much as the rest of an answer.
    let deadline: AbortSignal | undefined;
    try {
      return await desk.submit(task, miner, signed, (modelRoot, maxBytes) => {
        deadline = AbortSignal.any([signal, AbortSignal.timeout(rules.modelTimeoutMs)]);
        return fetchFrom(connection, modelRoot, maxBytes, deadline);
      });
    } catch (error) {
      const delayed = error instanceof PonasError || error instanceof RpcError;
      if (!delayed) throw error;
      const reason =
        deadline?.aborted === true && !signal.aborted
          ? `The model ${signed.share.modelRoot} was not handed over within ${rules.modelTimeoutMs / 1000} s.`
          : explainError(error);
      log.warn({ lease: signed.share.lease, miner }, `The share of lease ${signed.share.lease} waits: ${reason}`);
      // No honest program hands over chunks that do not fit each other.
      if (error instanceof PonasError && error.code === "integrity") offend(reason);
      throw new RpcError(RPC_ERROR.retry, reason);
    }
  }

  return {
    connect,
    announce() {
      push(giveTarget(authorised()));
      for (const connection of authorised()) push(giveJob(connection));
    },
    sweep(slow) {
      const now = clock();
      for (const connection of connections) {
        if (connection.session === null && now > connection.since + rules.challengeMs) {
          connection.end(CLOSE.silent, `Nobody authorised this link within ${rules.challengeMs / 1000} s.`);
        }
      }
      if (work.task() === null) return;
      for (const connection of authorised()) {
        const waits = connection.lease === null && connection.giving === false;
        if (waits || slow.has(connection.session!.id)) push(giveJob(connection));
      }
    },
    bar,
    fetchModel,
    onlineMiners: () => [...new Set(authorised().map((connection) => connection.session!.miner))],
    hand(receipts) {
      for (const receipt of receipts) {
        for (const { peer } of sameMiner(receipt.miner)) peer.notify("mining.points", receipt);
      }
    },
    online: () => authorised().map((connection) => connection.session!.id),
    gone() {
      const now = clock();
      const { lingerMs, heartbeatMs } = rules;
      for (const [id, at] of leftAt) if (now - at > lingerMs + 2 * heartbeatMs) leftAt.delete(id);
      return new Set([...leftAt].filter(([, at]) => now - at >= lingerMs).map(([id]) => id));
    },
    endAll(code, reason) {
      for (const connection of [...connections]) connection.end(code, reason);
    },
  };
}
