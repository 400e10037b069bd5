/** Pools that owe their miners: one whose manager vanishes after it has won, one whose manager leaves a miner out. */
import { expect } from "chai";

import { demandLeaf } from "../../../offchain/agents/leaf-demand.ts";
import { createPoolContract, findPool } from "../../../offchain/agents/pool-contract.ts";
import { settle, withdrawFloat } from "../../../offchain/agents/pool-manager.ts";
import { keepReceipt } from "../../../offchain/agents/pool-miner.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import type { LocalNetwork } from "../local-network.ts";
import { TOKEN } from "../noise-task.ts";
import { balanceOf, winWithPool } from "./pool-won.ts";

/** The manager commits, wins, brings the reward home, and is never heard of again. */
export async function payByReceipts(network: LocalNetwork): Promise<void> {
  const { signal } = network;
  const miners = [await network.account(33), await network.account(34)];
  const { manager, pool, taskId, over, receiptFor, mine } = await winWithPool(network, {
    name: "vanishing",
    account: 31,
    windows: { objectionWindow: 1, settlementWindow: 3, receiptsWindow: 12 },
    collect: async ({ pool: own }, task) => Boolean(await own.collect(task.id)),
  });
  expect(await findPool(manager, "vanishing")).to.equal(pool.address);

  const points = [1n, 3n];
  const stopped = new AbortController();
  const mining = miners.map(async (chain, index) => {
    const state = createStateFolder(`${network.dir}/receipts-${index}`);
    const contract = createPoolContract(chain, pool.address);
    const keep = async (...receipt: Parameters<typeof receiptFor>): Promise<boolean> =>
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
    await mine(chain, state, AbortSignal.any([signal, stopped.signal]));
  });

  const [first, second] = miners as [ChainClient, ChainClient];
  for (const miner of [first, second]) {
    while ((await balanceOf(network, miner)) === 10_000n * TOKEN) await sleep(300, signal);
  }
  stopped.abort();
  await Promise.all([...mining, over]);
  // Without a split there is no fee: the whole reward is the miners', by points.
  expect(await balanceOf(network, first)).to.equal(10_025n * TOKEN);
  expect(await balanceOf(network, second)).to.equal(10_075n * TOKEN);
  expect((await pool.account(taskId)).phase).to.equal("Closed");

  // What the manager had put in as bonds is its own, and nothing more.
  const tooMuch = await withdrawFloat({ chain: manager, pool }, 7n * TOKEN).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect((tooMuch as PonasError).message).to.match(/^The float of the pool 0x\w{40} has 6, less than 7\.$/);
  expect(await withdrawFloat({ chain: manager, pool }, TOKEN)).to.equal(TOKEN);
  expect(await withdrawFloat({ chain: manager, pool })).to.equal(5n * TOKEN);
  expect(await withdrawFloat({ chain: manager, pool })).to.equal(0n);
  expect(await balanceOf(network, manager)).to.equal(10_000n * TOKEN);
}

/** The manager answers what it can, but has signed one miner three points, and posts a split without that miner. */
export async function objectToMissingPoints(network: LocalNetwork): Promise<void> {
  const { signal, log } = network;
  const miners = [await network.account(43), await network.account(44)] as const;
  const watcher = await network.account(45);
  const [first, second] = miners;
  const leaves = [{ account: first.account, points: 1n }];
  const file = Buffer.from(JSON.stringify({ points: [{ account: first.account, points: "1" }] }));
  const { manager, pool, taskId, over, receiptFor, mine } = await winWithPool(network, {
    name: "forgetful",
    account: 41,
    windows: { objectionWindow: 8, settlementWindow: 20, receiptsWindow: 8 },
    collect: ({ manager: chain, pool: own, store, files }, task) => {
      const books = { points: () => Promise.resolve(leaves), sharesFile: () => Promise.resolve(file) };
      return settle(task, { chain, pool: own, manager: books, store, files, log, signal });
    },
  });

  const stopped = new AbortController();
  const mining = miners.map(async (chain, index) => {
    const state = createStateFolder(`${network.dir}/missing-${index}`);
    const contract = createPoolContract(chain, pool.address);
    await keepReceipt(state, contract, await receiptFor(chain.account, 1, [1n, 3n][index]!), chain.account);
    await mine(chain, state, AbortSignal.any([signal, stopped.signal]));
  });

  const reached = async (...phases: string[]): Promise<void> => {
    while (!phases.includes((await pool.account(taskId)).phase)) await sleep(200, signal);
  };
  await reached("Objection");
  expect((await demandLeaf(createPoolContract(watcher, pool.address), taskId, 0)).by).to.equal(watcher.account);
  await reached("Receipts", "ReceiptClaims", "Closed");
  // The manager's agent answered the demand, from the shares file that it had posted; the missing miner objected.
  const { stake, bonds, objections, fellAt } = await pool.account(taskId);
  expect({ stake, bonds, objections }).to.deep.equal({ stake: 0n, bonds: 0n, objections: 2 });
  expect(fellAt).to.be.greaterThan(0);
  expect(await pool.demandedOf(taskId, first.account), "it had all its points, and no cause to object").to.equal(0n);
  expect(await pool.demandedOf(taskId, second.account)).to.equal(3n);

  await reached("Closed");
  for (const miner of miners) while ((await pool.credit(miner.account)) > 0n) await sleep(200, signal);
  stopped.abort();
  await Promise.all([...mining, over]);
  expect(await balanceOf(network, first)).to.equal(10_025n * TOKEN);
  expect(await balanceOf(network, second), "with half the stake of 5").to.equal(10_077n * TOKEN + TOKEN / 2n);
  expect(await balanceOf(network, watcher), "without its bond of 0.1").to.equal(9_999n * TOKEN + (9n * TOKEN) / 10n);
  // Half the stake is the miner's, half nobody's; half the watcher's bond is the manager's.
  const left = await withdrawFloat({ chain: manager, pool });
  expect(10_000n * TOKEN - (await balanceOf(network, manager))).to.equal(5n * TOKEN - TOKEN / 20n);
  expect(left).to.be.greaterThan(0n);
}
