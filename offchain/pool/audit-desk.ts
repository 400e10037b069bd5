/**
 * Asks miners for the models that they have kept: those that were drawn for an audit at once, those that are only
 * counted on the test set as the manager has time, and whatever is left when points are counted. It runs beside
 * everything else; what it has found is written before the next thing is asked for, so it goes on after a kill.
 */
import { and, eq, inArray, sql, type SQL } from "drizzle-orm";

import type { Address, Hex } from "../protocol/bytes.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";
import type { Samples } from "../training/datasets.ts";
import { condemn, endHandOver, missingOf, shutOut } from "./audits.ts";
import type { Queries } from "./database.ts";
import { isAnyOf } from "./database-bulk.ts";
import { shareSchema } from "./messages.ts";
import type { ModelCheck } from "./model-check.ts";
import type { PoolRules } from "./rules.ts";
import { audits, leases, models, shares, type ShareRow } from "./schema.ts";
import { createBatches, type Serial } from "./serial.ts";
import type { PoolTaskDescriptor } from "./task.ts";

/** A task whose models are asked for. */
export interface AuditedTask {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  /** null where it is not at hand: audits wait until it is */
  readonly validation: Samples | null;
}

export interface ModelOwners {
  /** Accounts with a link. */
  onlineMiners(): Address[];
  /**
   * Asks a miner for a model: the session that trained it, else others of the account.
   * @throws PonasError not-found where that session says that it has no such model; anything else may pass
   */
  fetchModel(
    owner: { readonly sessionId: string; readonly miner: Address },
    modelRoot: Hex,
    maxBytes: number,
  ): Promise<Uint8Array>;
  /** Ends all links of a miner that was banned. */
  bar(miner: Address, reason: string): void;
}

export interface AuditDesk {
  /** The task whose shares come in: drawn models are asked for, others while `collects`. */
  watch(task: AuditedTask): void;
  /** Something may be there to be asked for. @param come a miner that has a new link: what failed before may not now */
  wake(come?: Address): void;
  /**
   * Asks for what is left of a task that is closed, until it is there or its time is over; then what was drawn and is
   * not there is missing. Asked again, it says nothing new.
   * @param earlier tasks whose drawn models count with it
   * @param until Unix time in milliseconds after which nothing is waited for, where that comes before `handOverMs`
   * @throws PonasError aborted
   */
  settle(
    task: AuditedTask,
    options: { readonly earlier: readonly bigint[]; readonly until: number; readonly signal: AbortSignal },
  ): Promise<void>;
  stop(): Promise<void>;
}

/** Models that are on their way at once; one a miner. */
const MAX_AT_ONCE = 8;
/** Drawn shares that are looked up at once. */
const MAX_FOUND = 64;
/** What could not be fetched is left alone for so long. */
const REST_MS = 2_000;

export function createAuditDesk(options: {
  readonly queries: Queries;
  readonly rules: PoolRules;
  readonly check: ModelCheck;
  readonly owners: ModelOwners;
  /** whether models that were not drawn are wanted too */
  readonly collects: boolean;
  readonly writing: Serial;
  readonly clock: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
}): AuditDesk {
  const { queries, rules, check, owners, collects, writing, clock, log, signal } = options;
  const watched = new Map<bigint, AuditedTask & { settling: boolean }>();
  const busy = new Map<Address, Promise<void>>();
  /** shares that could not be had, and until when they are left alone */
  const resting = new Map<number, { readonly miner: Address; readonly until: number }>();
  let nextCollect = 0;
  let waken: () => void = () => undefined;
  let woken = new Promise<void>((resolve) => (waken = resolve));

  function wake(come?: Address): void {
    for (const [id, { miner }] of resting) if (miner === come) resting.delete(id);
    isNews = true;
    waken();
  }

  type Wanted = ShareRow & { readonly sessionId: string };

  /** drawn ones that nobody was asked for yet; there may be more where there is news, or some time has passed */
  let found: Wanted[] = [];
  let isNews = true;
  let lookAt = 0;
  const keep = createBatches<object, { readonly row: Wanted; readonly bytes: Uint8Array }, undefined>({
    turn: writing,
    most: MAX_AT_ONCE,
    period: 3 * rules.paceMs,
    work: (_, kept) =>
      queries.transaction(async (tx) => {
        await tx
          .insert(models)
          .values(kept.map(({ row: { taskId, modelRoot }, bytes }) => ({ taskId, modelRoot, bytes })))
          .onConflictDoNothing();
        const ids = kept.map(({ row }) => row.id);
        await tx.update(shares).set({ holder: "manager" }).where(isAnyOf(shares.id, ids));
        const drawn = kept.flatMap(({ row }) => (row.audit === "due" ? [row.id] : []));
        if (drawn.length > 0) await tx.update(shares).set({ audit: "passed" }).where(isAnyOf(shares.id, drawn));
        return kept.map(() => undefined);
      }),
  });

  /** The next model to ask for: one that was drawn, else one that is only to be counted. */
  async function next(): Promise<Wanted | undefined> {
    const now = clock();
    for (const [id, { until }] of resting) if (until <= now) resting.delete(id);
    const miners = owners.onlineMiners().filter((miner) => !busy.has(miner));
    if (miners.length === 0 || watched.size === 0) return undefined;
    const free = new Set(miners);
    found = found.filter(({ id, taskId, miner }) => watched.has(taskId) && free.has(miner) && !resting.has(id));
    if (found.length === 0 && (isNews || performance.now() >= lookAt)) {
      isNews = false;
      found = await list([...watched.keys()], miners, MAX_FOUND, eq(shares.audit, "due"));
      lookAt = performance.now() + rules.lookMs;
    }
    const drawn = found.shift();
    if (drawn !== undefined || !collects) return drawn;
    const settling = [...watched.values()].filter((task) => task.settling).map(({ taskId }) => taskId);
    const urgent = settling.length === 0 ? undefined : await first(settling, miners);
    if (urgent !== undefined || rules.collectPerSecond === 0 || now < nextCollect) return urgent;
    nextCollect = now + 1000 / rules.collectPerSecond;
    return first([...watched.keys()], miners);
  }

  async function first(taskIds: bigint[], miners: Address[]): Promise<Wanted | undefined> {
    return (await list(taskIds, miners, 1))[0];
  }

  async function list(taskIds: bigint[], miners: Address[], most: number, more?: SQL): Promise<Wanted[]> {
    const rows = await queries
      .select({ share: shares, sessionId: leases.sessionId })
      .from(shares)
      .innerJoin(leases, eq(leases.id, shares.leaseId))
      .where(
        and(
          inArray(shares.taskId, taskIds),
          eq(shares.holder, "miner"),
          eq(shares.voided, false),
          more,
          // As one parameter: there may be thousands.
          sql`${shares.miner} = ANY(${sql.param(miners)}::text[])`,
          resting.size === 0 ? undefined : sql`${shares.id} <> ALL(${sql.param([...resting.keys()])}::bigint[])`,
        ),
      )
      .orderBy(shares.id)
      .limit(most);
    return rows.map(({ share, sessionId }) => ({ ...share, sessionId }));
  }

  async function ask(row: Wanted): Promise<void> {
    const { id, taskId, miner, modelRoot, leaseId: lease } = row;
    const task = watched.get(taskId);
    if (task === undefined) return;
    let bytes: Uint8Array;
    try {
      bytes = await owners.fetchModel(row, modelRoot, task.descriptor.maxModelBytes);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof PonasError)) throw error;
      const lost = error.code === "not-found" || error.code === "model-too-large";
      if (lost) return lose(row, error.message);
      log.debug({ lease, miner }, `The model of lease ${lease} did not come: ${error.message}`);
      resting.set(id, { miner, until: clock() + REST_MS });
      return;
    }
    const claim = shareSchema.parse(row.share);
    const { descriptor, validation } = task;
    const lie =
      row.audit === "due" && validation !== null
        ? await check.full({ descriptor, validation }, claim, bytes)
        : check.form(descriptor, claim, bytes);
    if (lie !== null) return expose(row, lie);
    await keep(watched, { row, bytes });
    if (row.audit === "due") log.info({ lease, miner }, `The share of lease ${lease} was audited: it is true.`);
  }

  async function expose({ id, taskId, miner, leaseId: lease }: Wanted, why: string): Promise<void> {
    const reason = await writing(() =>
      queries.transaction(async (tx) => {
        await tx.update(shares).set({ audit: "false" }).where(eq(shares.id, id));
        return condemn(tx, { taskId, miner, lease, why, now: clock() });
      }),
    );
    log.warn({ lease, miner }, `${miner} is banned: ${reason}`);
    owners.bar(miner, reason);
  }

  /** Its own miner says that the model is not to be had. */
  async function lose({ id, taskId, miner, leaseId: lease, audit }: Wanted, why: string): Promise<void> {
    const drawn = audit === "due";
    const reason = drawn
      ? `It was drawn for an audit, and its model is not to be had. ${why}`
      : `Its model could not be counted on the test set. ${why}`;
    const ban = await writing(() =>
      queries.transaction(async (tx) => {
        await tx
          .update(shares)
          .set({ holder: "nobody", reason, ...(drawn ? { audit: "missing" as const } : {}) })
          .where(eq(shares.id, id));
        const missing = drawn ? await missingOf(tx, taskId, miner) : 0;
        if (missing < rules.maxMissing) return null;
        const sentence = `${missing} models of task ${taskId} that were drawn for audits were not to be had.`;
        return shutOut(tx, { taskId, miner, reason: sentence, now: clock() });
      }),
    );
    log.warn({ lease, miner }, `The model of lease ${lease} is lost: ${why}`);
    if (ban !== null) {
      log.warn({ miner }, `${miner} is banned: ${ban}`);
      owners.bar(miner, ban);
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      woken = new Promise<void>((resolve) => (waken = resolve));
      const row = busy.size < MAX_AT_ONCE ? await next() : undefined;
      if (row === undefined) {
        const over = new AbortController();
        const pause = sleep(rules.lookMs, AbortSignal.any([signal, over.signal])).catch(() => undefined);
        await Promise.race([woken, pause, ...busy.values()]);
        over.abort();
        continue;
      }
      const asking = ask(row)
        .catch((error: unknown) => {
          resting.set(row.id, { miner: row.miner, until: clock() + REST_MS });
          if (!signal.aborted) log.error({ err: error }, `An audit failed: ${explainError(error)}`);
        })
        .finally(() => {
          busy.delete(row.miner);
          isNews = true;
        });
      busy.set(row.miner, asking);
    }
    await Promise.all(busy.values());
  }

  /** A look that fails, as where the database is away for a while, is taken again. */
  async function keepRunning(): Promise<void> {
    while (!signal.aborted) {
      try {
        await run();
      } catch (error) {
        if (signal.aborted) return;
        log.error({ err: error }, `Audits were interrupted: ${explainError(error)}`);
        await sleep(rules.lookMs, signal).catch(() => undefined);
      }
    }
  }

  async function isDue(taskId: bigint): Promise<boolean> {
    const [row] = await queries
      .select({ id: shares.id })
      .from(shares)
      .where(and(eq(shares.taskId, taskId), eq(shares.audit, "due"), eq(shares.voided, false)))
      .limit(1);
    return row !== undefined;
  }

  async function open(taskId: bigint): Promise<boolean> {
    const [row] = await queries
      .select({ id: shares.id })
      .from(shares)
      .where(
        and(
          eq(shares.taskId, taskId),
          eq(shares.holder, "miner"),
          eq(shares.voided, false),
          collects ? undefined : eq(shares.audit, "due"),
        ),
      )
      .limit(1);
    return row !== undefined;
  }

  const running = keepRunning();

  return {
    watch(task) {
      // Of a task that is over, models are asked for again when its points are counted.
      for (const { taskId, settling } of [...watched.values()].slice(0, -1)) if (!settling) watched.delete(taskId);
      if (!watched.has(task.taskId)) watched.set(task.taskId, { ...task, settling: false });
      wake();
    },
    wake,
    async settle(task, { earlier, until, signal: wanted }) {
      const { taskId } = task;
      const limit = Math.min(until, clock() + rules.handOverMs);
      const handOverBy = await writing(async () => {
        await queries
          .update(audits)
          .set({ handOverBy: sql`coalesce(${audits.handOverBy}, ${limit})` })
          .where(eq(audits.taskId, taskId));
        const [row] = await queries.select().from(audits).where(eq(audits.taskId, taskId));
        return row?.handOverBy ?? limit;
      });
      const validation = task.validation ?? watched.get(taskId)?.validation ?? null;
      if (validation === null && (await isDue(taskId))) {
        throw new PonasError("bad-input", `Task ${taskId} has audits to be made, which need its validation split.`);
      }
      watched.set(taskId, { ...task, validation, settling: true });
      wake();
      let told = false;
      while (await open(taskId)) {
        if (clock() >= Math.min(handOverBy, until)) break;
        if (!told) log.info({ taskId: String(taskId) }, `Models of task ${taskId} are waited for.`);
        told = true;
        await sleep(100, AbortSignal.any([wanted, signal]));
      }
      watched.delete(taskId);
      found = [];
      await Promise.all(busy.values());
      await writing(() => queries.transaction((tx) => endHandOver(tx, [taskId, ...earlier])));
    },
    async stop() {
      wake();
      await running;
    },
  };
}
