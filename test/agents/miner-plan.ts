import { expect } from "chai";

import { measureMiner } from "../../offchain/agents/benchmark.ts";
import { planTasks } from "../../offchain/agents/miner-plan.ts";
import { probePool } from "../../offchain/agents/pool-probe.ts";
import type { Registry, TaskState } from "../../offchain/agents/registry.ts";
import type { TaskFiles } from "../../offchain/agents/task-files.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import type { TrainingOutcome } from "../../offchain/training/train.ts";
import { DESCRIPTOR, IDENTITY } from "../pool/kit/world.ts";
import { startScriptedManager } from "./kit/scripted-manager.ts";

const TOKEN = 10n ** 18n;
const signal = new AbortController().signal;

function taskWith(id: bigint, changes: Partial<TaskState>): TaskState {
  return {
    id,
    phase: "Training",
    schedule: { trainingEnd: 1600n },
    phases: { reveal: 60, seal: 60, open: 60, shortWindow: 60, longWindow: 60 },
    reward: 100n * TOKEN,
    commitBond: TOKEN,
    candidateBond: 5n * TOKEN,
    commitFee: TOKEN / 10n,
    commitments: 0,
    maxModelBytes: DESCRIPTOR.maxModelBytes,
    ...changes,
  } as TaskState;
}

function plan(tasks: readonly TaskState[], feeBps: number | null = null) {
  const registry = {
    openTasks: () => Promise.resolve(tasks.map(({ id }) => id)),
    task: (id: bigint) => Promise.resolve(tasks.find((task) => task.id === id)),
    // The later a task, the better it ranks.
    rankingScore: (id: bigint) => Promise.resolve(100n - id),
  } as unknown as Registry;
  const { template, space, settings, trainCount } = DESCRIPTOR;
  const files = {
    descriptor: ({ id }: TaskState) =>
      id === 4n
        ? Promise.reject(new PonasError("unavailable", "The descriptor of task 4 did not arrive."))
        : Promise.resolve({
            title: `task ${id}`,
            template,
            space,
            training: settings,
            data: { train: { count: trainCount } },
          }),
  } as unknown as TaskFiles;
  return planTasks({
    registry,
    files,
    head: { number: 1n, hash: "0x00", timestamp: 1000n },
    benchmarks: [
      { imagesPerSecond: 100, macs: 10 },
      { imagesPerSecond: 300, macs: 10 },
    ],
    feeBps,
    commitMargin: 60,
    terms: { minAnswer: 30, minReward: TOKEN },
  });
}

describe("A miner's plan", () => {
  it("takes the best ranked task whose terms are good, and says why it leaves the others", async () => {
    const planned = await plan([
      taskWith(1n, {}),
      taskWith(2n, { commitments: 3 }),
      taskWith(3n, { commitBond: 99n * TOKEN }),
      taskWith(4n, {}),
      taskWith(5n, { schedule: { trainingEnd: 1100n } as TaskState["schedule"] }),
      taskWith(6n, { phase: "Reveal" }),
    ]);
    expect(planned.map(({ task, chosen, passedOver }) => [task, chosen, passedOver])).to.deep.equal([
      [5n, false, "its training phase ends in 100 s"],
      [4n, false, "The descriptor of task 4 did not arrive."],
      [3n, false, "its bonds are larger than its reward"],
      [2n, true, null],
      [1n, false, null],
    ]);
    expect(planned[1]).to.include({ title: null, trialSeconds: null, expectedTrials: null });
  });

  it("counts the trials that all workers finish before the commitment", async () => {
    const [task] = await plan([taskWith(1n, {})]);
    const { trialSeconds, expectedTrials, secondsLeft } = task!;
    expect(secondsLeft).to.equal(600);
    // Two workers of 2,000 MAC/s on average, for 540 seconds.
    expect(expectedTrials).to.equal(Math.floor((540 * 2) / trialSeconds!));
  });

  it("tells what winning pays alone and in a pool", async () => {
    const [alone] = await plan([taskWith(1n, { commitments: 3 })]);
    expect(alone).to.include({ payIfWon: 100n * TOKEN, expectedPay: 25n * TOKEN, bonds: 6n * TOKEN });
    const [pooled] = await plan([taskWith(1n, { commitments: 3 })], 500);
    expect(pooled).to.include({ payIfWon: 95n * TOKEN, bonds: 0n, commitFee: 0n });
    expect(pooled!.expectedPay).to.equal((95n * TOKEN) / 4n);
  });
});

describe("A miner's benchmark", () => {
  it("begins when every worker is ready, and then runs all of them at once", async () => {
    let [running, most] = [0, 0];
    const order: string[] = [];
    const worker = (name: string, startMs: number) => {
      let started = false;
      return {
        train: async (): Promise<TrainingOutcome> => {
          order.push(`${name}${started ? "" : " starts"}`);
          most = Math.max(most, ++running);
          await sleep(started ? 20 : startMs);
          running--;
          started = true;
          return { imagesPerSecond: startMs } as TrainingOutcome;
        },
      };
    };
    const measured = await measureMiner([worker("a", 5), worker("b", 60)], { throttle: 1, signal });
    expect(order).to.deep.equal(["a starts", "b starts", "a", "b"]);
    expect(most).to.equal(2);
    expect(measured.map(({ imagesPerSecond }) => imagesPerSecond)).to.deep.equal([5, 60]);
  });
});

describe("Asking a pool who it is", () => {
  const benchmark = { imagesPerSecond: 1, macs: 1 };
  const ask = (url: string, changes: object = {}) =>
    probePool({ url, benchmark, expected: IDENTITY, timeoutMs: 300, signal, ...changes }).then(
      (greeting) => greeting,
      (error: unknown) => (error as Error).message,
    );

  it("signs nothing, takes no lease, and leaves", async () => {
    const pool = await startScriptedManager({}, 5000);
    expect(await ask(pool.url)).to.deep.equal({ heartbeatMs: 30_000, checkpointMs: 5000, scheme: null });
    expect(pool.calls.map(({ method }) => method)).to.deep.equal(["mining.subscribe"]);
    await pool.stop();
    expect(await ask(pool.url)).to.match(/^There is no pool to be had at ws:.*: connect ECONNREFUSED/);
  });

  it("says in a sentence what is wrong with it", async () => {
    const mute = await startScriptedManager({ "mining.subscribe": () => new Promise(() => undefined) });
    expect(await ask(mute.url)).to.equal("mining.subscribe was not answered within 0.3 s.");
    expect(await ask(mute.url, { signal: AbortSignal.timeout(50) })).to.equal("Stopped.");
    await mute.stop();
    const other = await startScriptedManager();
    expect(await ask(other.url, { expected: { ...IDENTITY, chainId: 1n } })).to.contain("on chain 31337, not of");
    await other.stop();
    const closing = await startScriptedManager({
      "mining.subscribe": (_, { socket }) => socket.close(4007, "Too many links."),
    });
    expect(await ask(closing.url)).to.equal(`The link to the pool at ${closing.url} ended: Too many links.`);
    await closing.stop();
  });
});
