/** A pool whose manager vanishes after it has won. */
import { expect } from "chai";

import { createClaimant } from "../../../offchain/agents/claimant.ts";
import { runDuties } from "../../../offchain/agents/duties.ts";
import { connectToPool } from "../../../offchain/agents/pool-connection.ts";
import { createPoolContract, ensurePool, findPool } from "../../../offchain/agents/pool-contract.ts";
import { withdrawFloat } from "../../../offchain/agents/pool-manager.ts";
import { createPoolOutbox } from "../../../offchain/agents/pool-outbox.ts";
import { keepReceipt, runPoolMiner } from "../../../offchain/agents/pool-miner.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { evaluateModel } from "../../../offchain/evaluation/evaluate.ts";
import { pointsData, type TypedData } from "../../../offchain/pool/signatures.ts";
import { localAssetAbi } from "../../../offchain/protocol/abi.ts";
import type { Address } from "../../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { createTrainingWorker } from "../../../offchain/training/worker.ts";
import type { LocalNetwork } from "../local-network.ts";
import { dataset, planWith, someModel, terms, TOKEN, untilPhase } from "../noise-task.ts";

export async function payByReceipts(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const publisher = await network.account(31);
  const manager = await network.account(32);
  const miners = [await network.account(33), await network.account(34)];
  const { store: shelf } = await network.store("pool's publisher");
  const { store, files } = await network.store("pool");
  const shared = {
    chain: publisher,
    store: shelf,
    state: createStateFolder(`${network.dir}/pool-publisher`),
    log,
    signal,
  };
  const address = await ensurePool(manager, "vanishing", {
    receiptKey: manager.account,
    feeBps: 500,
    objectionWindow: 1,
    settlementWindow: 3,
    receiptsWindow: 12,
    scheme: "performance",
  });
  expect(await findPool(manager, "vanishing")).to.equal(address);
  const pool = createPoolContract(manager, address);
  const taskId = await publishTask(planWith({ training: 10 }), shared);
  const following = followTask(taskId, shared);

  // The manager: it commits, wins, brings the reward home, and is never heard of again.
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
      collect: async () => Boolean(await pool.collect(taskId)),
    },
    files,
    store,
    state: createStateFolder(`${network.dir}/vanishing`),
    best: () => Promise.resolve(best),
    log,
    signal,
    commitMargin: 9,
  });
  const managing = runDuties({ chain: manager, log, signal, duties: [claimant] });
  await untilPhase(registry, taskId, "TestVote", "Reveal");

  const receiptFor = async (miner: Address, sequence: number, points: bigint, signer: ChainClient = manager) => {
    const receipt = { taskId, miner, sequence, points };
    return { ...receipt, signature: await signer.signTypedData(pointsData(pool.identity, receipt) as TypedData) };
  };
  const points = [1n, 3n];
  const stopped = new AbortController();
  const mining = miners.map(async (chain, index) => {
    const state = createStateFolder(`${network.dir}/receipts-${index}`);
    const contract = createPoolContract(chain, address);
    const keep = async (...receipt: Parameters<typeof receiptFor>): Promise<void> =>
      keepReceipt(state, contract, await receiptFor(...receipt), chain.account);
    await keep(chain.account, 1, 1n);
    await keep(chain.account, 2, points[index]!);
    await keep(chain.account, 1, 1n); // an old one again
    for (const forged of [() => keep(chain.account, 9, 99n, miners[0]), () => keep(manager.account, 9, 99n)]) {
      const error = await forged().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).to.be.instanceOf(PonasError);
      expect((error as PonasError).message).to.contain("is not a valid one");
    }
    const until = AbortSignal.any([signal, stopped.signal]);
    const outbox = createPoolOutbox();
    const connection = connectToPool({
      outbox,
      url: "ws://127.0.0.1:9",
      signer: { address: chain.account, sign: (data) => chain.signTypedData(data) },
      benchmark: { imagesPerSecond: 1, macs: 1 },
      signal: until,
      log,
    });
    const worker = createTrainingWorker();
    const workers = [{ connection, worker }];
    await runPoolMiner({ chain, pool: contract, workers, outbox, files, store, state, log, signal: until });
    await connection.close();
    await worker.close();
  });

  const balanceOf = (chain: ChainClient): Promise<bigint> =>
    chain.read({
      abi: localAssetAbi,
      address: network.deployment.asset,
      functionName: "balanceOf",
      args: [chain.account],
    });
  const [first, second] = miners as [ChainClient, ChainClient];
  while ((await balanceOf(first)) === 10_000n * TOKEN || (await balanceOf(second)) === 10_000n * TOKEN) {
    await sleep(300, signal);
  }
  stopped.abort();
  await Promise.all([...mining, managing, following]);
  // Without a split there is no fee: the whole reward is the miners', by points.
  expect(await balanceOf(first)).to.equal(10_025n * TOKEN);
  expect(await balanceOf(second)).to.equal(10_075n * TOKEN);

  // What the manager had put in as bonds is its own, and nothing more.
  const tooMuch = await withdrawFloat({ chain: manager, pool }, 7n * TOKEN).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect((tooMuch as PonasError).message).to.match(/^The float of the pool 0x\w{40} has 6, less than 7\.$/);
  expect(await withdrawFloat({ chain: manager, pool }, TOKEN)).to.equal(TOKEN);
  expect(await withdrawFloat({ chain: manager, pool })).to.equal(5n * TOKEN);
  expect(await withdrawFloat({ chain: manager, pool })).to.equal(0n);
  expect(await balanceOf(manager)).to.equal(10_000n * TOKEN);
}
