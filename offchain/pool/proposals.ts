/**
 * Which trial comes next: a proposal of a subspace's search strategy (explore), or the best confirmed model once more
 * (exploit; paper §3, docs/pool.md "Exploration and exploitation"). A strategy's state is saved in the transaction
 * that uses it, so a restart goes on where the last lease was written.
 */
import { and, eq } from "drizzle-orm";

import { HYPERPARAMETERS, type Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRandom, type Random } from "../protocol/random.ts";
import type { SearchSpace } from "../search/spaces.ts";
import { resumeStrategy, type StrategyName } from "../search/strategies.ts";
import type { Strategy } from "../search/strategy.ts";
import type { TrainingSettings } from "../training/settings.ts";
import type { Queries } from "./database.ts";
import { shareSchema } from "./messages.ts";
import type { PoolRules } from "./rules.ts";
import { strategies, type ShareRow } from "./schema.ts";
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

export interface Proposer {
  /** @param index running number of the trial in its task; together with the task's seed it fixes all randomness */
  explore(queries: Queries, part: number, index: number): Promise<Proposal>;
  exploit(parent: ShareRow, index: number): Proposal;
  /**
   * Hands a trial's validation accuracy (0 … 1) to the strategy that proposed it, and to the whole space's, which learns
   * from everybody. @param part null for an exploit trial, which no strategy proposed
   */
  tell(queries: Queries, part: number | null, architecture: Architecture, reward: number): Promise<void>;
  /** Drops what was not saved: call it after a transaction that used the proposer has failed. */
  forget(): void;
}

/** Proposals of one subspace that are looked at before it is taken to have no feasible architecture. */
const MAX_PROPOSALS = 500;

export function createProposer(options: {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  readonly subspaces: readonly SearchSpace[];
  readonly seed: number;
  readonly rules: PoolRules;
  readonly strategy: StrategyName;
  readonly log: Log;
}): Proposer {
  const { taskId, descriptor, subspaces, seed, rules, strategy: strategyName, log } = options;
  const { template, space, settings, maxMacs, hardware } = descriptor;
  const loaded = new Map<number, Strategy>();
  const randomOf = (index: number): Random => createRandom(`${seed}/${taskId}/trial ${index}`);

  async function load(queries: Queries, part: number): Promise<Strategy> {
    const known = loaded.get(part);
    if (known !== undefined) return known;
    const [row] = await queries
      .select()
      .from(strategies)
      .where(and(eq(strategies.taskId, taskId), eq(strategies.part, part)));
    const strategy = resumeStrategy(
      strategyName,
      {
        template,
        space: part === WHOLE_SPACE ? space : subspaces[part]!,
        seed: createRandom(`${seed}/${taskId}/part ${part}`).integer(2 ** 32),
        maxMacs,
        hardware,
        state: row?.state,
      },
      (reason) => log.warn({ taskId: String(taskId), part }, `A search of task ${taskId} begins anew. ${reason}`),
    );
    loaded.set(part, strategy);
    return strategy;
  }

  async function save(queries: Queries, part: number, strategy: Strategy): Promise<void> {
    const state = strategy.save();
    await queries
      .insert(strategies)
      .values({ taskId, part, state })
      .onConflictDoUpdate({ target: [strategies.taskId, strategies.part], set: { state } });
  }

  /** The strategy's next feasible proposal, or null where it has none to offer. */
  async function ask(queries: Queries, part: number): Promise<Architecture | null> {
    const strategy = await load(queries, part);
    try {
      for (let attempt = 0; attempt < MAX_PROPOSALS; attempt++) {
        const proposed = strategy.ask();
        const { architecture } = admitTrial(proposed, descriptor);
        if (architecture !== null) {
          await save(queries, part, strategy);
          return architecture;
        }
        strategy.tell(proposed, 0);
      }
    } catch (error) {
      if (!(error instanceof PonasError)) throw error;
      log.debug({ taskId: String(taskId), part }, error.message);
    }
    return null;
  }

  return {
    async explore(queries, part, index) {
      let chosen = part;
      let architecture = await ask(queries, chosen);
      if (architecture === null && part !== WHOLE_SPACE) {
        log.warn({ part }, `Subspace ${part} of task ${taskId} has no feasible network; the whole space is searched.`);
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

    exploit(parent, index) {
      const random = randomOf(index);
      const trialSeed = random.integer(2 ** 32);
      const { architecture } = shareSchema.parse(parent.share);
      const changed = random.next() < rules.neighbourShare ? neighbourOf(architecture, descriptor, random) : null;
      const common = { kind: "exploit", part: null, seed: trialSeed, parentShare: parent.id } as const;
      // Other shapes cannot take the parent's weights, so a neighbour is trained afresh.
      if (changed !== null) return { ...common, architecture: changed, settings, continues: false };
      const learningRate = settings.learningRate / rules.exploitRateDivisor;
      return { ...common, architecture, settings: { ...settings, learningRate }, continues: true };
    },

    async tell(queries, part, architecture, reward) {
      for (const learner of new Set([part ?? WHOLE_SPACE, WHOLE_SPACE])) {
        const strategy = await load(queries, learner);
        strategy.tell(architecture, reward);
        await save(queries, learner, strategy);
      }
    },

    forget: () => loaded.clear(),
  };
}

/** The architecture with one choice of one layer changed within the task's space, or null where none is feasible. */
function neighbourOf(architecture: Architecture, descriptor: PoolTaskDescriptor, random: Random): Architecture | null {
  const changes = architecture.layers.flatMap((layer, at) =>
    HYPERPARAMETERS.flatMap((name) =>
      descriptor.space[name]
        .filter((value) => value !== layer[name])
        .map((value) => ({ at, change: { [name]: value } })),
    ),
  );
  for (const { at, change } of random.shuffle(changes)) {
    const layers = architecture.layers.map((layer, index) => (index === at ? { ...layer, ...change } : layer));
    const { strideHeight, strideWidth } = layers[at]!;
    if (strideHeight === 0 || strideWidth === 0) continue;
    const neighbour = admitTrial({ ...architecture, layers }, descriptor).architecture;
    if (neighbour !== null) return neighbour;
  }
  return null;
}
