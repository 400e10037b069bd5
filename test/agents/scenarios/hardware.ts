/** A task with hardware bounds, from its publication to the block: what is proposed and what wins carries its tiling. */
import { expect } from "chai";

import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { runSoloMiner } from "../../../offchain/agents/solo-miner.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { witnessFault } from "../../../offchain/evaluation/hardware.ts";
import { decodeModel } from "../../../offchain/evaluation/model.ts";
import { malformation } from "../../../offchain/evaluation/well-formed.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { createWorkerPool } from "../../../offchain/training/worker-pool.ts";
import type { LocalNetwork } from "../local-network.ts";
import { planWith, terms, TOKEN, untilPhase } from "../noise-task.ts";

/** One in five networks of the noise task's space keeps them. */
const HARDWARE = { maxLuts: 3000, minThroughput: 5000 };
/** No other task pays so much: the miner keeps to this one. */
const REWARD = 150n * TOKEN;

/** A search takes the processor; by then the phases of seconds of the scenarios beside this one are over. */
const HEAD_START_MS = 110_000;

export async function mineWithinHardwareBounds(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  await sleep(HEAD_START_MS, signal);
  const publisher = await network.account(35);
  const { store, files } = await network.store("hardware");
  const shared = { chain: publisher, store, state: createStateFolder(`${network.dir}/bounded`), log, signal };
  const taskId = await publishTask(planWith({ training: 15, reveal: 8 }, { ...HARDWARE, reward: REWARD }), shared);
  const following = followTask(taskId, shared);

  const chain = await network.account(36);
  const stopped = new AbortController();
  const worker = createWorkerPool({ workers: 2 });
  const mining = runSoloMiner({
    chain,
    worker,
    workers: 2,
    files,
    store,
    state: createStateFolder(`${network.dir}/bounded-miner`),
    seed: 5,
    throttle: 0.1,
    commitMargin: 8,
    terms: { minAnswer: 0, minReward: REWARD },
    log,
    signal: AbortSignal.any([signal, stopped.signal]),
  });
  const registry = createRegistry(publisher);
  const task = await untilPhase(registry, taskId, "Confirmed", "Void");
  stopped.abort();
  await mining;
  await worker.close();
  await following;

  expect(task.hardware).to.deep.equal(HARDWARE);
  expect(task.winner).to.equal(chain.account);
  const { modelCid } = (await registry.blockOf(taskId))!;
  const { maxModelBytes: maxBytes } = terms;
  const model = decodeModel(await store.get(modelCid, { maxBytes, timeoutMs: 10_000, signal }), { maxBytes });
  const rules = await files.rules(task);
  expect(malformation(model, rules)).to.equal(null);
  expect(witnessFault(model.architecture, HARDWARE)).to.equal(null);
  const bare = { ...model, architecture: { ...model.architecture, tiling: undefined } };
  expect(malformation(bare, rules)).to.equal("it carries no tiling, which the task's hardware bounds ask for");
}
