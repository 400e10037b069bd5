/** A pool that wins a task, and its miners that wait for their pay. */
import { createClaimant, type Participation } from "../../../offchain/agents/claimant.ts";
import { runDuties } from "../../../offchain/agents/duties.ts";
import { connectToPool } from "../../../offchain/agents/pool-connection.ts";
import { createPoolContract, ensurePool, type PoolContract } from "../../../offchain/agents/pool-contract.ts";
import { runPoolMiner } from "../../../offchain/agents/pool-miner.ts";
import { createPoolOutbox } from "../../../offchain/agents/pool-outbox.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { createStateFolder, type StateFolder } from "../../../offchain/agents/state-folder.ts";
import type { TaskFiles } from "../../../offchain/agents/task-files.ts";
import { evaluateModel } from "../../../offchain/evaluation/evaluate.ts";
import { digestOf, pointsData } from "../../../offchain/pool/signatures.ts";
import { localAssetAbi } from "../../../offchain/protocol/abi.ts";
import type { Address } from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import type { ModelStore } from "../../../offchain/storage/model-store.ts";
import { createTrainingWorker } from "../../../offchain/training/worker.ts";
import type { LocalNetwork } from "../local-network.ts";
import { dataset, planWith, someModel, terms, untilPhase } from "../noise-task.ts";

/**
 * Publishes a task and enters the pool's manager, who wins it: nobody else is there. Resolves when models are revealed.
 * @param name of the pool, of its stores and of its folders
 * @param account index of the publisher's; the manager's is the next
 * @param collect what the manager does once the task has ended
 */
export async function winWithPool(
  network: LocalNetwork,
  options: {
    readonly name: string;
    readonly account: number;
    readonly windows: {
      readonly objectionWindow: number;
      readonly settlementWindow: number;
      readonly receiptsWindow: number;
    };
    readonly collect: (
      world: { manager: ChainClient; pool: PoolContract; store: ModelStore; files: TaskFiles },
      ...task: Parameters<Participation["collect"]>
    ) => ReturnType<Participation["collect"]>;
  },
) {
  const { log, signal, dir } = network;
  const { name } = options;
  const publisher = await network.account(options.account);
  const manager = await network.account(options.account + 1);
  const { store: shelf } = await network.store(`${name}'s publisher`);
  const { store, files } = await network.store(name);
  const state = createStateFolder(`${dir}/${name}-publisher`);
  const shared = { chain: publisher, store: shelf, state, log, signal };
  const address = await ensurePool(manager, name, {
    receiptKey: manager.account,
    feeBps: 500,
    ...options.windows,
    scheme: "performance",
  });
  const pool = createPoolContract(manager, address);
  const taskId = await publishTask(planWith({ training: 10 }), shared);
  const following = followTask(taskId, shared);

  let model = someModel();
  while ((await evaluateModel(model.file, { ...dataset.test, maxBytes: terms.maxModelBytes })).correct === 0) {
    model = someModel();
  }
  const best = { bytes: model.file, modelRoot: model.root, correct: 3, total: 16 };
  const registry = createRegistry(manager);
  const claimant = createClaimant({
    taskId,
    chain: manager,
    registry,
    participation: {
      participant: address,
      commit: pool.commit,
      reveal: pool.reveal,
      collect: (task) => options.collect({ manager, pool, store, files }, task),
    },
    files,
    store,
    state: createStateFolder(`${dir}/${name}`),
    best: () => Promise.resolve(best),
    log,
    signal,
    commitMargin: 9,
  });
  const managing = runDuties({ chain: manager, log, signal, duties: [claimant] });
  await untilPhase(registry, taskId, "TestVote", "Reveal");

  return {
    manager,
    pool,
    store,
    files,
    taskId,
    /** resolves when manager and publisher have nothing left to do */
    over: Promise.all([managing, following]),
    receiptFor: async (miner: Address, sequence: number, points: bigint, signer: ChainClient = manager) => {
      const receipt = { taskId, miner, sequence, points };
      return { ...receipt, signature: await signer.signDigest(digestOf(pointsData(pool.identity, receipt))) };
    },
    /** A miner whose manager cannot be reached, until the signal fires. */
    mine: async (chain: ChainClient, minersState: StateFolder, until: AbortSignal): Promise<void> => {
      const outbox = createPoolOutbox();
      const connection = connectToPool({
        outbox,
        url: "ws://127.0.0.1:9",
        signer: { address: chain.account, sign: (data) => chain.signDigest(digestOf(data)) },
        benchmark: { imagesPerSecond: 1, macs: 1 },
        signal: until,
        log,
      });
      const worker = createTrainingWorker();
      const workers = [{ connection, worker }];
      const contract = createPoolContract(chain, address);
      const mining = { chain, pool: contract, workers, outbox, files, store, state: minersState, log, signal: until };
      await runPoolMiner(mining);
      await connection.close();
      await worker.close();
    },
  };
}

export const balanceOf = (network: LocalNetwork, { account, read }: ChainClient): Promise<bigint> =>
  read({ abi: localAssetAbi, address: network.deployment.asset, functionName: "balanceOf", args: [account] });
