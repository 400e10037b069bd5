import { expect } from "chai";
import { pino } from "pino";

import type { DisputesContract } from "../../offchain/agents/disputes-contract.ts";
import { followEveryTask } from "../../offchain/agents/every-task.ts";
import type { Registry } from "../../offchain/agents/registry.ts";
import { createSealWatch } from "../../offchain/agents/seal-defender.ts";
import type { TaskFiles } from "../../offchain/agents/task-files.ts";
import type { ChainClient, Head } from "../../offchain/protocol/chain-client.ts";
import { sleep } from "../../offchain/protocol/wait.ts";

const ME = "0x00000000000000000000000000000000000000aB";
const OF_MINE = { account: ME } as Partial<ChainClient> as ChainClient;
const log = pino({ level: "silent" });

/** Disputes of which only the number of challenges is known, and the tasks in which a seal is challenged. */
function scripted() {
  const state = { count: 0n, tasks: [] as bigint[], looks: 0 };
  const disputes = {
    newest: () => Promise.resolve(String(state.count)),
    tasksOfSealChallenges: (validator: string) => {
      expect(validator).to.equal(ME);
      state.looks++;
      return Promise.resolve(state.tasks);
    },
  } as unknown as DisputesContract;
  return { state, disputes };
}

describe("A validator's watch over its seals", () => {
  it("looks for challenges only where there are new ones, and again where it could not", async () => {
    const { state, disputes } = scripted();
    const watch = createSealWatch(OF_MINE, disputes);
    expect(await watch()).to.deep.equal([]);
    Object.assign(state, { count: 3n, tasks: [7n] });
    expect(await watch()).to.deep.equal([7n]);
    expect(await watch()).to.deep.equal([]);
    expect(state.looks).to.equal(1);
    Object.assign(state, { count: 4n, tasks: [7n, 9n] });
    const broken = { ...disputes, tasksOfSealChallenges: () => Promise.reject(new Error("away")) };
    const watching = createSealWatch(OF_MINE, broken as DisputesContract);
    for (const _ of [1, 2]) {
      const error: unknown = await watching().catch((reason: unknown) => reason);
      expect(error).to.be.an("error", "not swallowed, and not forgotten");
    }
    expect(await watch()).to.deep.equal([7n, 9n]);
  });

  it("brings back a task that lies behind any number of newer ones, and lies at rest otherwise", async () => {
    const { state, disputes } = scripted();
    const stop = new AbortController();
    const { signal } = stop;
    const heads = async function* (): AsyncGenerator<Head, void, void> {
      for (let number = 1n; !signal.aborted; number++) {
        yield { number, hash: "0x00", timestamp: number };
        await sleep(10, signal).catch(() => undefined);
      }
    };
    const chain = { account: ME, heads } as unknown as ChainClient;
    const registry = { latestTasks: () => Promise.resolve([]), openTasks: () => Promise.resolve([]) };
    const answered: bigint[] = [];
    const forgotten: bigint[] = [];
    const files = { forget: (id: bigint) => void forgotten.push(id) } as unknown as TaskFiles;
    const running = followEveryTask(
      registry as unknown as Registry,
      { chain, files, log, signal },
      (id) => [{ name: "defend", run: () => Promise.resolve(answered.push(id) > 0) }],
      createSealWatch(chain, disputes),
    );
    await sleep(60);
    expect(answered).to.deep.equal([]);
    Object.assign(state, { count: 1n, tasks: [5n] });
    while (forgotten.length < 1) await sleep(10);
    Object.assign(state, { count: 2n });
    while (forgotten.length < 2) await sleep(10);
    stop.abort();
    await running;
    expect(answered).to.deep.equal([5n, 5n]);
  });
});
