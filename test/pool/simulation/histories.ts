/** Seeded histories of a pool: one seed gives one history, and the money is right in each, whatever happens in it. */
import { expect } from "chai";

import { createRandom } from "../../../offchain/protocol/random.ts";
import { churnTask } from "./churn.ts";
import { runHistory, type History, type HistoryOptions } from "./history.ts";
import { faultsOf } from "./invariants.ts";
import { createMemoryDatabase, type MemoryDatabase } from "./memory-database.ts";
import { drawPopulation } from "./population.ts";
import { readTrials, type RecordedTrials } from "./recorded-trials.ts";

const PHASE_MS = 1_200_000;

describe("a simulated pool", () => {
  let database: MemoryDatabase;
  let trials: RecordedTrials;

  before(async () => {
    database = await createMemoryDatabase();
    trials = readTrials(0);
  });
  after(() => database.close());

  /** Everything at once: departures, late arrivals, stalls, a liar, and a manager that is killed in mid-statement. */
  function everything(seed: number, changes: Partial<HistoryOptions> = {}): Promise<History> {
    const random = createRandom(`${seed}/everything`);
    const count = 7;
    const miners = drawPopulation({ seed, count, phaseMs: PHASE_MS, trials: [1, 4], leaveRate: 0.2 }).map(
      (spec, at) => ({
        ...spec,
        joinsAt: at < 4 ? at : random.integer(PHASE_MS / 2),
        stalls: at === 2 ? [[300_000, 420_000] as const] : [],
        ...(at === 1 ? { lies: { rate: 0.3, honestFirst: 2, time: 0 } } : {}),
      }),
    );
    const crash = (from: number) => ({
      at: from + random.integer(200_000),
      statements: random.integer(40),
      downMs: 15_000,
    });
    return runHistory({
      database,
      trials,
      seed,
      miners,
      phaseMs: PHASE_MS,
      sweepMs: 15_000,
      rules: { partition: "disjoint", strongTrials: 1, handOverMs: 1000 },
      crashes: [crash(100_000), crash(500_000)],
      count: true,
      ...changes,
    });
  }

  it("replays one history exactly from one seed, and another from another", async () => {
    const [first, again] = [await everything(11), await everything(11)];
    expect(first.lines).to.deep.equal(again.lines);
    expect(first.hash).to.equal(again.hash);
    const other = await everything(12, { phaseMs: PHASE_MS / 4 });
    expect(other.lines.slice(0, 20)).not.to.deep.equal(first.lines.slice(0, 20));
    expect(first.crashes).to.equal(2);
    expect(first.shares.length).to.be.above(10);
  });

  for (const seed of [3]) {
    it(`loses no acknowledged share, counts none twice, and pays what the shares say (seed ${seed})`, async () => {
      const history = await everything(seed);
      expect(faultsOf(history)).to.deep.equal([]);
      expect(history.points.length).to.be.above(0);
    });
  }

  it("carries a search with a high reward on where its miner has left, and without backups does not (seed 5)", async () => {
    const carried = await churnTask({ database, trials, seed: 5, backups: true });
    const alone = await churnTask({ database, trials, seed: 5, backups: false });
    expect(carried).to.include({ left: 1, lost: 0 });
    expect(alone).to.include({ left: 1, lost: 1 });
  });
});
