/**
 * The pool's manager: leases trials of a task to miners, checks and keeps what they find, and counts their points.
 * Its transport is handed in (a channel of text messages a miner), its state is in the database, and it may be killed
 * at any instant: what it has acknowledged is written.
 */
import { randomBytes } from "node:crypto";

import { and, eq, inArray, isNotNull, ne } from "drizzle-orm";

import { networkShapes } from "../evaluation/shapes.ts";
import { parseWith } from "../protocol/architecture.ts";
import type { Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom } from "../protocol/random.ts";
import { sampleArchitecture } from "../search/spaces.ts";
import { DEFAULT_STRATEGY, type StrategyName } from "../search/strategies.ts";
import type { Samples } from "../training/datasets.ts";
import { createAuditDesk } from "./audit-desk.ts";
import { leastChance, openAudit } from "./audits.ts";
import type { PoolDatabase, Queries } from "./database.ts";
import { readDecisions, type DecisionQuery } from "./decisions.ts";
import { isStrong, type LeaseTask } from "./leases.ts";
import { openParts } from "./parts.ts";
import { CLOSE, type Decision } from "./messages.ts";
import { createModelCheck } from "./model-check.ts";
import type { PointsLeaf } from "./points-tree.ts";
import { createScheme, type SchemeTerms } from "./points-schemes.ts";
import { countShares, earlierTasks, issueReceipts, pointsOf, writeSharesFile } from "./points.ts";
import { createProposer } from "./proposals.ts";
import { readBest, readShares, readStatus, type AcceptedShare, type BestModel, type PoolStatus } from "./reads.ts";
import { DEFAULT_RULES, type PoolRules } from "./rules.ts";
import { createSchedule } from "./schedule.ts";
import { leases, parts, sessions, tasks } from "./schema.ts";
import { createSerial } from "./serial.ts";
import { createSessions, type Channel, type Link, type OpenTask } from "./sessions.ts";
import { createShareDesk, type Evaluate } from "./shares.ts";
import { createSignatureCheck } from "./signature-check.ts";
import type { PoolIdentity, Signer } from "./signatures.ts";
import { poolTaskDescriptorSchema, type PoolTask } from "./task.ts";
import { createUpkeep } from "./upkeep.ts";

export interface PointsRequest {
  /** the released test set */
  readonly test: Samples;
  readonly signal: AbortSignal;
  /** the pool's validation split, for audits that are still open; needed where another process had the task open */
  readonly validation?: Samples;
  /** Unix time in milliseconds until which models that miners still have may be waited for; `handOverMs` at most */
  readonly until?: number;
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
   * Asks for the models that are still with their miners, as far as they count, counts every share by the pool's scheme
   * on the released test set, issues the points receipts that are due, and returns each miner's points, ascending by
   * account. Goes on where it was after a restart; asked again, it says the same.
   */
  points(taskId: bigint, options: PointsRequest): Promise<PointsLeaf[]>;
  /** The file of credited shares (`writeSharesFile`), after `points`. */
  sharesFile(taskId: bigint): Promise<Uint8Array>;
  status(): Promise<PoolStatus>;
  /** What the manager has decided in a task, and why, in order. */
  decisions(query: DecisionQuery): Promise<Decision[]>;
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
  /** how explore trials are chosen; the default strategy where none is given */
  readonly strategy?: StrategyName;
  /** 32 bytes that a task's audits are drawn by, known to nobody else; random ones where nothing is given */
  readonly auditSecret?: (taskId: bigint) => Hex;
  /** how points are counted, as the pool's contract has it; `performance` where none is given */
  readonly scheme?: SchemeTerms;
  /** Unix time in milliseconds */
  readonly clock?: () => number;
}

const randomSecret = (): Hex => `0x${randomBytes(32).toString("hex")}`;

/** Architectures whose median cost stands for a task's typical trial. */
const TYPICAL_SAMPLE = 31;

export function createPoolManager(options: PoolManagerOptions): PoolManager {
  const { database, identity, receiptKey, evaluate, seed, log } = options;
  const { strategy = DEFAULT_STRATEGY, clock = Date.now, auditSecret = randomSecret } = options;
  const rules: PoolRules = { ...DEFAULT_RULES, ...options.rules };
  const { queries, durably } = database;
  const stopping = new AbortController();
  const { signal } = stopping;
  const writing = createSerial();
  const evaluating = createSerial();
  const upkeep = createUpkeep({ queries, writing, clock });
  let open: OpenTask | null = null;
  let idle = { reason: "The pool has not chosen a task yet.", final: false };
  const scheme = createScheme(options.scheme ?? { name: "performance" });
  const check = createModelCheck({ evaluate, evaluating, signal });
  const signatures = createSignatureCheck({ log });
  const desk = createShareDesk({
    queries,
    identity,
    receiptKey,
    check,
    writing,
    clock,
    signatures,
    paceMs: rules.paceMs,
    onDrawn: () => auditing.wake(),
  });
  const links = createSessions({
    queries,
    identity,
    receiptKey: receiptKey.address,
    rules,
    desk,
    signatures,
    work: { task: () => open, idle: () => idle },
    scheme: { text: scheme.text, unproven: scheme.unproven, auditRate: leastChance(rules.auditRate) },
    onJoin: (miner) => auditing.wake(miner),
    writing,
    durably,
    clock,
    log,
    signal,
  });

  const auditing = createAuditDesk({
    queries,
    rules,
    check,
    owners: links,
    collects: scheme.countsTest,
    writing,
    clock,
    log,
    signal,
  });

  // What the search remembers may go beyond what was written: it is read again.
  database.onLoss(() => open?.schedule.forget());

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
    const typical = typicalMacs(task);
    const row = await writing(() =>
      queries.transaction(async (tx) => {
        const others = await tx
          .update(tasks)
          .set({ closed: true })
          .where(and(ne(tasks.taskId, taskId), eq(tasks.closed, false)))
          .returning({ taskId: tasks.taskId });
        for (const other of others) await letGo(tx, other.taskId);
        const fresh = await tx
          .insert(tasks)
          .values({ taskId, descriptor, subspaces: [], seed, openedAt: now, endsAt })
          .onConflictDoNothing()
          .returning({ taskId: tasks.taskId });
        if (fresh.length > 0)
          await divide(tx, { taskId, descriptor, seed, openedAt: now, endsAt, typicalMacs: typical });
        await tx.update(tasks).set({ endsAt }).where(eq(tasks.taskId, taskId));
        // The manager was away, not the miners: whoever held a lease has a heartbeat's time to come back.
        await tx
          .update(leases)
          .set({ heartbeatBy: now + rules.heartbeatMs })
          .where(and(eq(leases.taskId, taskId), eq(leases.state, "live")));
        await tx
          .update(parts)
          .set({ keptUntil: now + rules.heartbeatMs })
          .where(and(eq(parts.taskId, taskId), isNotNull(parts.sessionId)));
        const [written] = await tx.select().from(tasks).where(eq(tasks.taskId, taskId));
        return { ...written!, audit: await openAudit(tx, taskId, rules.auditRate, auditSecret(taskId)) };
      }),
    );
    const before = poolTaskDescriptorSchema.parse(row.descriptor);
    if (JSON.stringify(before) !== JSON.stringify(descriptor)) {
      throw new PonasError("bad-input", `Task ${taskId} was opened before with another descriptor.`);
    }
    if (row.closed) throw new PonasError("bad-input", `The pool's work on task ${taskId} is over.`);
    const proposer = createProposer({ taskId, descriptor, seed: row.seed, rules, strategy, log });
    const { openedAt, audit } = row;
    const leasing: LeaseTask = { taskId, descriptor, seed: row.seed, openedAt, endsAt, typicalMacs: typical };
    open = { ...leasing, validation, audit, proposer, schedule: createSchedule({ task: leasing, proposer, rules }) };
    auditing.watch({ taskId, descriptor, validation });
    links.announce();
  }

  /** Divides a new task's space, for the strong miners that are connected. */
  async function divide(tx: Queries, task: LeaseTask): Promise<void> {
    const online = links.online();
    const here = online.length === 0 ? [] : await tx.select().from(sessions).where(inArray(sessions.id, online));
    const speeds = here.map(({ speed }) => speed).filter((speed) => isStrong(task, speed, rules));
    const subspaces = await openParts(tx, task, rules, speeds, task.openedAt);
    if (subspaces.length > 0) await tx.update(tasks).set({ subspaces }).where(eq(tasks.taskId, task.taskId));
  }

  function typicalMacs({ taskId, descriptor }: PoolTask): number {
    const { template, space, maxMacs = Infinity, settings, trainCount } = descriptor;
    const random = createRandom(`${taskId}/typical`);
    const costs = Array.from({ length: TYPICAL_SAMPLE }, () =>
      Math.min(maxMacs, networkShapes(sampleArchitecture(template, space, random)).macs),
    ).sort((a, b) => a - b);
    return costs[TYPICAL_SAMPLE >> 1]! * settings.epochs * trainCount;
  }

  async function letGo(tx: Queries, taskId: bigint): Promise<void> {
    await tx
      .update(leases)
      .set({ state: "expired" })
      .where(and(eq(leases.taskId, taskId), eq(leases.state, "live")));
  }

  async function closeTask(reason: string): Promise<void> {
    const task = open;
    if (task === null) return;
    open = null;
    idle = { reason, final: true };
    links.announce();
    const patience = AbortSignal.any([signal, AbortSignal.timeout(rules.closeGraceMs)]);
    await Promise.race([desk.idle(), new Promise((resolve) => patience.addEventListener("abort", resolve))]);
    await writing(() =>
      queries.transaction(async (tx) => {
        await tx.update(tasks).set({ closed: true }).where(eq(tasks.taskId, task.taskId));
        await letGo(tx, task.taskId);
      }),
    );
  }

  async function sweep(): Promise<void> {
    const task = open;
    links.sweep(new Set(task === null ? [] : await writing(() => look(task))));
    await upkeep();
  }

  async function look({ schedule }: OpenTask): Promise<string[]> {
    try {
      return await queries.transaction((tx) => schedule.sweep(tx, clock(), links.gone()));
    } catch (error) {
      schedule.forget();
      throw error;
    }
  }

  async function points(taskId: bigint, request: PointsRequest): Promise<PointsLeaf[]> {
    const { test, signal: wanted, validation = null, until = Infinity } = request;
    if (open?.taskId === taskId) {
      throw new PonasError(
        "pool",
        `Task ${taskId} is still being worked on; its points are counted after it is closed.`,
      );
    }
    const [row] = await queries.select().from(tasks).where(eq(tasks.taskId, taskId));
    if (row === undefined) throw new PonasError("not-found", `The pool has never worked on task ${taskId}.`);
    const descriptor = poolTaskDescriptorSchema.parse(row.descriptor);
    const either = AbortSignal.any([wanted, signal]);
    await writing(() => queries.transaction((tx) => openAudit(tx, taskId, rules.auditRate, auditSecret(taskId))));
    const earlier = await earlierTasks(queries, taskId, scheme);
    await auditing.settle({ taskId, descriptor, validation }, { earlier, until, signal: either });
    await countShares({ queries, taskId, descriptor, scheme, test, evaluate, evaluating, signal: either });
    const issue = () => issueReceipts({ queries, taskId, scheme, identity, receiptKey, clock });
    links.hand(await durably(() => writing(issue)));
    return durably(() => pointsOf(queries, taskId, scheme));
  }

  return {
    openTask,
    closeTask,
    connect: links.connect,
    sweep,
    points,
    best: (taskId) => durably(() => readBest(queries, taskId)),
    shares: (taskId) => durably(() => readShares(queries, taskId)),
    sharesFile: (taskId) =>
      durably(() => writeSharesFile(queries, { taskId, scheme, identity, receiptKey: receiptKey.address })),
    status: () => readStatus(queries, open, links.online(), rules),
    decisions: (query) => readDecisions(queries, query),
    async stop() {
      if (signal.aborted) return;
      stopping.abort();
      links.endAll(CLOSE.goingAway, "The pool's manager is stopping.");
      await desk.idle();
      await auditing.stop();
      await writing(() => Promise.resolve());
      await signatures.stop();
    },
  };
}
