import { expect } from "chai";
import { and, eq } from "drizzle-orm";

import type { Queries } from "../../offchain/pool/database.ts";
import { createProposer, WHOLE_SPACE } from "../../offchain/pool/proposals.ts";
import { DEFAULT_RULES } from "../../offchain/pool/rules.ts";
import { parts, strategies, strategyEvents, tasks } from "../../offchain/pool/schema.ts";
import type { Log } from "../../offchain/protocol/log.ts";
import type { SearchCounts } from "../../offchain/search/admission.ts";
import { randomSubsets } from "../../offchain/search/partition.ts";
import { STRATEGY_NAMES, type StrategyName } from "../../offchain/search/strategies.ts";
import { cleanUp, DESCRIPTOR, emptyDatabase } from "./kit/world.ts";

const taskId = 3n;
const subspaces = randomSubsets(DESCRIPTOR.space, 2, 1);

/** What is written of a search: its state with the questions and rewards since. */
async function searchOf(queries: Queries, part: number): Promise<{ strategy: string; asked: number; told: number }> {
  const [row] = await queries
    .select()
    .from(strategies)
    .where(and(eq(strategies.taskId, taskId), eq(strategies.part, part)));
  const { strategy, counts } = row!.state as { strategy: string; counts: SearchCounts };
  const events = await queries
    .select()
    .from(strategyEvents)
    .where(and(eq(strategyEvents.taskId, taskId), eq(strategyEvents.part, part)));
  const asked = events.filter(({ architecture }) => architecture === null).length;
  return { strategy, asked: counts.asked + asked, told: counts.told + events.length - asked };
}

describe("What a pool proposes", () => {
  after(cleanUp);

  async function world() {
    const { queries } = await emptyDatabase();
    await queries.insert(tasks).values({ taskId, descriptor: DESCRIPTOR, subspaces, seed: 1, openedAt: 0, endsAt: 1 });
    await queries.insert(parts).values(subspaces.map((space, part) => ({ taskId, part, space, bits: 10 })));
    const warnings: string[] = [];
    const log = { warn: (_: object, text: string) => warnings.push(text), debug: () => undefined } as unknown as Log;
    const proposerWith = (strategy: StrategyName) =>
      createProposer({ taskId, descriptor: DESCRIPTOR, seed: 1, rules: DEFAULT_RULES, strategy, log });
    return { queries, warnings, proposerWith };
  }

  for (const name of STRATEGY_NAMES) {
    it(`is the same after a restart from the database as without one, by ${name}`, async () => {
      const traces: string[][] = [];
      for (const restarts of [false, true]) {
        const { queries, proposerWith } = await world();
        let proposer = proposerWith(name);
        const trace: string[] = [];
        for (let index = 0; index < 8; index++) {
          if (restarts) proposer = proposerWith(name);
          const { part, architecture } = await proposer.explore(queries, 0, index);
          trace.push(JSON.stringify(architecture.layers));
          await proposer.tell(queries, part, architecture, index / 10);
        }
        traces.push(trace);
      }
      expect(traces[1]).to.deep.equal(traces[0]);
      expect(new Set(traces[0]).size).to.equal(8);
    });
  }

  it("is learnt from by the whole space's search, whoever's trial it was", async () => {
    const { queries, proposerWith } = await world();
    const proposer = proposerWith("evolution");
    const explored = await proposer.explore(queries, 1, 0);
    await proposer.tell(queries, explored.part, explored.architecture, 0.4);
    const other = await proposer.explore(queries, WHOLE_SPACE, 1);
    await proposer.tell(queries, null, other.architecture, 0.5);
    expect(await searchOf(queries, 1)).to.include({ asked: 1, told: 1 });
    expect(await searchOf(queries, WHOLE_SPACE)).to.include({ asked: 1, told: 2 });
  });

  it("begins anew, with a warning, where the manager comes back with another strategy", async () => {
    const { queries, warnings, proposerWith } = await world();
    await proposerWith("evolution").explore(queries, 0, 0);
    await proposerWith("random").explore(queries, 0, 1);
    expect(warnings).to.deep.equal([
      "A search of task 3 begins anew. The search's state is one of evolution, not of random.",
    ]);
    expect(await searchOf(queries, 0)).to.deep.include({ strategy: "random" });
  });
});
