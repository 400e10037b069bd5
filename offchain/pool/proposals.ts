/**
 * Which trial comes next: a proposal of a part's search strategy (explore), or the best confirmed model once more
 * (exploit; paper §3, docs/pool.md "Exploration and exploitation"). What a strategy is asked and told is written in the
 * transaction that uses it, and its whole state now and then, so a restart goes on where the last lease was written.
 */
import { and, asc, count, eq, gte, lt, sql } from "drizzle-orm";

import type { Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom, type Random } from "../protocol/random.ts";
import { isMember, neighbours, type SearchSpace } from "../search/spaces.ts";
import { createStrategy, resumeStrategy, type StrategyName } from "../search/strategies.ts";
import type { Strategy, StrategyOptions } from "../search/strategy.ts";
import type { TrainingSettings } from "../training/settings.ts";
import type { Queries } from "./database.ts";
import { insertAll } from "./database-bulk.ts";
import { shareSchema } from "./messages.ts";
import type { PoolRules } from "./rules.ts";
import { leases, parts, strategies, strategyEvents, type ShareRow } from "./schema.ts";
import { admitTrial, type PoolTaskDescriptor } from "./task.ts";

/** The part of a partition that stands for the whole space. */
export const WHOLE_SPACE = -1;

export interface Proposal {
  readonly kind: "explore" | "exploit";
  readonly part: number | null;
  readonly architecture: Architecture;
  readonly seed: number;
  readonly settings: TrainingSettings;
  readonly parentShare: number | null;
  readonly continues: boolean;
}

/** How an exploit trial differs from its parent. */
export type Exploitation = "neighbour" | "reseed" | "longer" | "continue";

/** A trial that is known: what was trained, and how good it was (0 … 1). */
export interface KnownTrial {
  readonly architecture: Architecture;
  readonly reward: number;
}

export interface Proposer {
  /** The running number of the task's next trial; each call gives another one. */
  number(queries: Queries): Promise<number>;
  /** @param index running number of the trial in its task; together with the task's seed it fixes all randomness */
  explore(queries: Queries, part: number, index: number): Promise<Proposal>;
  /** @param fits whether a trial of so many epochs of the architecture can be finished in time */
  exploit(
    parent: ShareRow,
    index: number,
    fits: (architecture: Architecture, settings: TrainingSettings) => boolean,
  ): Proposal & { readonly how: Exploitation };
  /**
   * Hands a trial's validation accuracy (0 … 1) to the strategy that proposed it, and to the whole space's, which learns
   * from everybody. @param part null for an exploit trial, which no strategy proposed: the strategies of all parts that
   * contain its architecture hear of it
   */
  tell(queries: Queries, part: number | null, architecture: Architecture, reward: number): Promise<void>;
  /** Begins a part's search anew in a space of its own, with what is known of it. */
  restart(queries: Queries, part: number, space: SearchSpace, known: readonly KnownTrial[]): Promise<void>;
  /**
   * Writes what is asked and told in `work` at once when it is over.
   * @param queries the transaction of all of it
   */
  together<T>(queries: Queries, work: () => Promise<T>): Promise<T>;
  /** Drops what was not saved: call it after a transaction that used the proposer has failed. */
  forget(): void;
}

/** Proposals of one part that are looked at before it is taken to have no feasible architecture. */
const MAX_PROPOSALS = 500;
/**
 * Questions and rewards that are written one by one before a strategy's whole state is: at least so many, and a quarter of
 * all so far. The state grows with them, so that each costs the same however long a search is.
 */
const LEAST_EVENTS_BEFORE_SAVE = 64;
const EVENTS_BEFORE_SAVE = 1 / 4;

export function createProposer(options: {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly seed: number;
  readonly rules: PoolRules;
  readonly strategy: StrategyName;
  readonly log: Log;
}): Proposer {
  const { taskId, descriptor, seed, rules, strategy: strategyName, log } = options;
  const { template, space, settings, maxMacs, hardware } = descriptor;
  interface Search {
    readonly strategy: Strategy;
    /** number of the next event; the state that is written has heard of those before `saved` */
    sequence: number;
    /** null: none is written */
    saved: number | null;
  }
  const loaded = new Map<number, Search>();
  /** parts that have nothing new to offer */
  const exhausted = new Set<number>();
  /** events that belong to the transaction under way; empty between transactions */
  const unwritten: (typeof strategyEvents.$inferInsert)[] = [];
  let collects = false;
  let nextNumber: number | null = null;
  let spaces: Map<number, SearchSpace> | null = null;
  const randomOf = (index: number): Random => createRandom(`${seed}/${taskId}/trial ${index}`);

  async function spacesOf(queries: Queries): Promise<Map<number, SearchSpace>> {
    if (spaces !== null) return spaces;
    const rows = await queries
      .select({ part: parts.part, space: parts.space })
      .from(parts)
      .where(eq(parts.taskId, taskId))
      .orderBy(asc(parts.part));
    spaces = new Map(rows.map((row) => [row.part, row.space]));
    return spaces;
  }

  async function optionsOf(queries: Queries, part: number, state?: unknown): Promise<StrategyOptions> {
    return {
      template,
      space: part === WHOLE_SPACE ? space : (await spacesOf(queries)).get(part)!,
      seed: createRandom(`${seed}/${taskId}/part ${part}`).integer(2 ** 32),
      maxMacs,
      hardware,
      state,
    };
  }

  async function load(queries: Queries, part: number): Promise<Search> {
    const known = loaded.get(part);
    if (known !== undefined) return known;
    await flush(queries);
    const [row] = await queries
      .select()
      .from(strategies)
      .where(and(eq(strategies.taskId, taskId), eq(strategies.part, part)));
    let saved = row?.sequence ?? null;
    const from = saved ?? 0;
    const strategy = resumeStrategy(strategyName, await optionsOf(queries, part, row?.state), (reason) => {
      saved = null;
      log.warn({ taskId: String(taskId), part }, `A search of task ${taskId} begins anew. ${reason}`);
    });
    const events = await queries
      .select()
      .from(strategyEvents)
      .where(and(eventsOf(part), gte(strategyEvents.sequence, from)))
      .orderBy(asc(strategyEvents.sequence));
    for (const { architecture, reward } of events) {
      if (architecture === null) propose(strategy);
      else strategy.tell(architecture, reward!);
    }
    const search: Search = { strategy, saved, sequence: from + events.length };
    loaded.set(part, search);
    return search;
  }

  const eventsOf = (part: number) => and(eq(strategyEvents.taskId, taskId), eq(strategyEvents.part, part));

  /** Writes down what a strategy has just been asked or told. */
  async function note(queries: Queries, part: number, search: Search, told: KnownTrial | null): Promise<void> {
    const sequence = search.sequence++;
    const { saved } = search;
    if (saved === null || sequence + 1 - saved >= Math.max(LEAST_EVENTS_BEFORE_SAVE, EVENTS_BEFORE_SAVE * saved)) {
      return save(queries, part, search);
    }
    const { architecture = null, reward = null } = told ?? {};
    unwritten.push({ taskId, part, sequence, architecture, reward });
    if (!collects) await flush(queries);
  }

  async function flush(queries: Queries): Promise<void> {
    await insertAll(queries, strategyEvents, unwritten.splice(0));
  }

  async function save(queries: Queries, part: number, search: Search): Promise<void> {
    const { sequence } = search;
    await flush(queries);
    const set = { state: search.strategy.save(), sequence };
    await queries
      .insert(strategies)
      .values({ taskId, part, ...set })
      .onConflictDoUpdate({ target: [strategies.taskId, strategies.part], set });
    await queries.delete(strategyEvents).where(and(eventsOf(part), lt(strategyEvents.sequence, sequence)));
    search.saved = sequence;
  }

  /** The strategy's next feasible proposal. @throws PonasError where it has none to offer */
  function propose(strategy: Strategy): Architecture {
    for (let attempt = 0; attempt < MAX_PROPOSALS; attempt++) {
      const proposed = strategy.ask();
      const { architecture } = admitTrial(proposed, descriptor);
      if (architecture !== null) return architecture;
      strategy.tell(proposed, 0);
    }
    throw new PonasError("not-found", `${MAX_PROPOSALS} proposals in a row were not feasible.`);
  }

  async function ask(queries: Queries, part: number): Promise<Architecture | null> {
    // To find out takes a second, so it is found out once.
    if (exhausted.has(part)) return null;
    const search = await load(queries, part);
    let architecture;
    try {
      architecture = propose(search.strategy);
    } catch (error) {
      if (!(error instanceof PonasError)) throw error;
      exhausted.add(part);
      // What was asked in vain is not written down, and is not to be remembered either.
      loaded.delete(part);
      log.warn({ taskId: String(taskId), part }, `Part ${part} of task ${taskId} is used up: ${error.message}`);
      return null;
    }
    await note(queries, part, search, null);
    return architecture;
  }

  return {
    async number(queries) {
      if (nextNumber === null) {
        const [row] = await queries.select({ issued: count() }).from(leases).where(eq(leases.taskId, taskId));
        nextNumber = row!.issued;
      }
      return nextNumber++;
    },

    async explore(queries, part, index) {
      let chosen = part;
      let architecture = await ask(queries, chosen);
      if (architecture === null && part !== WHOLE_SPACE) {
        chosen = WHOLE_SPACE;
        architecture = await ask(queries, chosen);
      }
      if (architecture === null) {
        throw new PonasError("pool", `The space of task ${taskId} has no network within the task's limits.`);
      }
      const trialSeed = randomOf(index).integer(2 ** 32);
      return {
        kind: "explore",
        part: chosen,
        architecture,
        seed: trialSeed,
        settings,
        parentShare: null,
        continues: false,
      };
    },

    exploit(parent, index, fits) {
      const random = randomOf(index);
      const trialSeed = random.integer(2 ** 32);
      const { architecture } = shareSchema.parse(parent.share);
      const drawn = random.next();
      const changed = drawn < rules.neighbourShare ? neighbourOf(architecture, descriptor, random) : null;
      const common = { kind: "exploit", part: null, seed: trialSeed, parentShare: parent.id, architecture } as const;
      // Other shapes cannot take the parent's weights, so a neighbour is trained afresh.
      if (changed !== null) return { ...common, architecture: changed, settings, continues: false, how: "neighbour" };
      const others = drawn - rules.neighbourShare;
      if (others >= 0 && others < rules.reseedShare) {
        // Between a half and twice the task's rate, as likely above it as below.
        const learningRate = settings.learningRate * 2 ** (2 * random.next() - 1);
        return { ...common, settings: { ...settings, learningRate }, continues: false, how: "reseed" };
      }
      const tuned = { ...settings, learningRate: settings.learningRate / rules.exploitRateDivisor };
      const longer = { ...tuned, epochs: Math.min(10_000, 2 * settings.epochs) };
      const wanted = others >= 0 && others < rules.reseedShare + rules.longerShare;
      if (wanted && fits(architecture, longer)) {
        return { ...common, settings: longer, continues: true, how: "longer" };
      }
      return { ...common, settings: tuned, continues: true, how: "continue" };
    },

    async tell(queries, part, architecture, reward) {
      const learners = new Set([WHOLE_SPACE]);
      if (part !== null) learners.add(part);
      else {
        for (const [number, its] of await spacesOf(queries)) if (isMember(architecture, its)) learners.add(number);
      }
      for (const learner of learners) {
        // A part that was split since it proposed the trial may not contain it any more.
        const its = learner === WHOLE_SPACE ? space : (await spacesOf(queries)).get(learner)!;
        if (!isMember(architecture, its)) continue;
        const search = await load(queries, learner);
        search.strategy.tell(architecture, reward);
        await note(queries, learner, search, { architecture, reward });
      }
      if (part === null || part === WHOLE_SPACE) return;
      await queries
        .update(parts)
        .set({ best: sql`greatest(${parts.best}, ${reward}::double precision)`, trials: sql`${parts.trials} + 1` })
        .where(and(eq(parts.taskId, taskId), eq(parts.part, part)));
    },

    async restart(queries, part, own, known) {
      (await spacesOf(queries)).set(part, own);
      const strategy = createStrategy(strategyName, await optionsOf(queries, part));
      for (const { architecture, reward } of known) {
        if (isMember(architecture, own)) strategy.tell(architecture, reward);
      }
      await flush(queries);
      await queries.delete(strategyEvents).where(eventsOf(part));
      const search = { strategy, sequence: 0, saved: 0 };
      loaded.set(part, search);
      exhausted.delete(part);
      await save(queries, part, search);
    },

    async together(queries, work) {
      collects = true;
      try {
        const result = await work();
        await flush(queries);
        return result;
      } finally {
        collects = false;
      }
    },

    forget: () => {
      unwritten.length = 0;
      loaded.clear();
      exhausted.clear();
      spaces = null;
      nextNumber = null;
    },
  };
}

/** The architecture with one choice of one layer changed within the task's space, or null where none is feasible. */
function neighbourOf(architecture: Architecture, descriptor: PoolTaskDescriptor, random: Random): Architecture | null {
  for (const changed of random.shuffle(neighbours(architecture, descriptor.space))) {
    const neighbour = admitTrial(changed, descriptor).architecture;
    if (neighbour !== null) return neighbour;
  }
  return null;
}
