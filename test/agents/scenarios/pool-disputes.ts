/** Pools as claimants: one whose manager lies, and an honest one that is challenged for nothing while it is killed and poor. */
import { expect } from "chai";

import { createDisputesContract, isOpen } from "../../../offchain/agents/disputes-contract.ts";
import { createPoolContract, ensurePool } from "../../../offchain/agents/pool-contract.ts";
import { runPoolManager, withdrawFloat } from "../../../offchain/agents/pool-manager.ts";
import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { lyingFiles } from "../../../offchain/cli/demo/cheat/lie.ts";
import type { PoolManager } from "../../../offchain/pool/manager.ts";
import { buildPointsTree, type PointsLeaf } from "../../../offchain/pool/points-tree.ts";
import type { ChainClient } from "../../../offchain/protocol/chain-client.ts";
import type { Log } from "../../../offchain/protocol/log.ts";
import {
  balanceOf,
  challengeIn,
  correctOf,
  createLines,
  insist,
  setCoin,
  someLiar,
  someoneBelow,
  until,
  type Candidate,
} from "../kit/dispute-cast.ts";
import { DISPUTES, type LocalNetwork } from "../local-network.ts";
import { planWith, TOKEN, untilPhase } from "../noise-task.ts";

/** More than any other task of the network pays: the pools leave those alone. */
const REWARD = 120n * TOKEN;
const CANDIDATE_BOND = REWARD / 20n;
const FEE_BPS = 500n;
const COIN = 10n ** 18n;
/** Enough to open a candidate by, and not for a whole dispute. */
const LITTLE_COIN = 3n * 10n ** 15n;

/** A pool's books: its best model, and what each member is owed. */
const booksOf = ({ file, root }: Candidate, leaves: readonly PointsLeaf[]): PoolManager => {
  const validation = { correct: 3, total: 16 };
  const best = { bytes: file, modelRoot: root, validation, miner: leaves[0]!.account, lease: 1 };
  const books: Partial<PoolManager> = {
    openTask: () => Promise.resolve(),
    closeTask: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
    best: () => Promise.resolve(best),
    points: () => Promise.resolve([...leaves]),
    sharesFile: () => Promise.resolve(Buffer.from(JSON.stringify({ shares: leaves.length }))),
  };
  return books as PoolManager;
};

export async function challengePools(network: LocalNetwork): Promise<void> {
  const { log, signal, dir } = network;
  const [publisher, liar, honest, challenger, fool] = await Promise.all(
    [1, 2, 3, 4, 5].map((index) => network.account(index)),
  );
  const members = await Promise.all([6, 7].map((index) => network.account(index, { tokens: 0n })));
  const { store, files } = await network.store("pools");
  const lie = await someLiar();
  const decent = await someoneBelow(correctOf(lie.claimed));
  const leaves = members.map(({ account }, i) => ({ account, points: [1n, 3n][i]! }));

  const poolOf = async (chain: ChainClient) => {
    const terms = { feeBps: Number(FEE_BPS), objectionWindow: 1, settlementWindow: 60, receiptsWindow: 60 };
    const address = await ensurePool(chain, "disputed", { ...terms, receiptKey: chain.account, scheme: "performance" });
    return createPoolContract(chain, address);
  };
  const [lyingPool, honestPool] = await Promise.all([poolOf(liar!), poolOf(honest!)]);
  const finished = new AbortController();
  const running = AbortSignal.any([signal, finished.signal]);
  const manage = (chain: ChainClient, candidate: Candidate, own: { log: Log; signal: AbortSignal }): Promise<void> => {
    const lies = candidate === lie;
    return runPoolManager({
      ...own,
      chain,
      pool: lies ? lyingPool : honestPool,
      manager: booksOf(candidate, leaves),
      store,
      files: lies ? lyingFiles(files, () => Promise.resolve(lie.lie)) : files,
      state: createStateFolder(`${dir}/pool of ${chain.account}`),
      commitMargin: 8,
      terms: { minAnswer: 1, minReward: REWARD },
    });
  };

  const window = DISPUTES.answerPeriod / 2; // a quiet machine's seconds
  const shared = { chain: publisher!, store, state: createStateFolder(`${dir}/pools' publisher`), log, signal };
  const taskId = await publishTask(
    planWith({ training: 10, testVote: 1, reveal: 6, seal: 2, open: 8, shortWindow: window, longWindow: window }, { reward: REWARD }), // prettier-ignore
    shared,
  );
  const following = followTask(taskId, shared);
  const registry = createRegistry(publisher!);
  const disputes = (await createDisputesContract(publisher!))!;
  const death = new AbortController();
  const { log: told, said } = createLines();
  const before = manage(honest!, decent, { log: told, signal: AbortSignal.any([running, death.signal]) });
  const lying = manage(liar!, lie, { log, signal: running });
  const watching = challengeIn(taskId, { chain: challenger!, store, files, log, signal: running });

  await untilPhase(registry, taskId, "Seal");
  await setCoin(honest!, LITTLE_COIN);

  // The lying pool is examined first, and falls.
  await until(network, async () => {
    const { phase, examined } = await registry.task(taskId);
    return phase === "Window" && examined?.participant === honestPool.address;
  });
  expect((await registry.commitmentOf(taskId, lyingPool.address))!.state).to.equal("Eliminated");
  expect(await said(/^Answering/, signal)).to.match(
    new RegExp(
      `^Answering a challenge may take 0\\.\\d+ of the chain's coin for gas, but the account ${honest!.account} has 0\\.00\\d+\\. ` +
        "\\(fund the account: nothing needs to be started again\\)$",
    ),
  );

  // The honest one has no coin when it is challenged; once it has, it answers; killed there, another process ends it.
  await setCoin(honest!, 0n);
  let mayMove = false;
  const insisting = insist(taskId, {
    ...{ chain: fool!, participant: honestPool.address, model: decent.model, sample: 7, store, files, signal },
    mayMove: () => mayMove,
  });
  const complaint = await said(/^defend:/, signal);
  await setCoin(honest!, COIN);
  const stageOf = async () => (await disputes.challengesIn(taskId)).find(({ challenger }) => challenger === fool!.account)!.stage; // prettier-ignore
  await until(network, async () => (await stageOf()) === "Tensor");
  death.abort();
  await before;
  mayMove = true;
  const after = manage(honest!, decent, { log, signal: running });
  expect((await insisting).stage).to.equal("Upheld");
  expect(complaint).to.equal(
    "defend: answerTrace could not be sent: the account cannot pay for its gas. (send the account some of the chain's own currency)",
  );

  // The block is the honest pool's, and its members are paid as if nothing had been.
  await following;
  expect((await registry.task(taskId)).winner).to.equal(honestPool.address);
  await until(network, async () => (await honestPool.account(taskId)).phase === "Claims");
  const tree = buildPointsTree(leaves);
  for (const [index, { account: miner, points }] of tree.leaves.entries()) {
    const contract = createPoolContract(
      members.find(({ account }) => account === miner)!,
      honestPool.address,
    );
    await contract.claim(taskId, { index, miner, points }, tree.proof(index));
    await contract.withdraw();
  }
  await until(network, async () => (await honestPool.account(taskId)).feePaid);
  await until(network, async () => (await honestPool.credit(honest!.account)) === 0n);
  await until(network, async () => (await lyingPool.account(taskId)).phase === "Closed");
  await until(network, async () => (await disputes.creditOf(challenger!.account)) === 0n);
  await until(network, async () => (await registry.credit(challenger!.account)) === 0n);
  finished.abort();
  await Promise.all([lying, after, watching]);

  const fee = (REWARD * FEE_BPS) / 10_000n;
  const paid = await Promise.all(members.map(balanceOf));
  expect(paid, "members").to.deep.equal([(REWARD - fee) / 4n, (3n * (REWARD - fee)) / 4n]);
  const { bond } = DISPUTES;
  await withdrawFloat({ chain: honest!, pool: honestPool });
  expect(await balanceOf(honest!), "fee and half the fool's bond").to.equal(10_000n * TOKEN + fee + bond / 2n);
  await withdrawFloat({ chain: liar!, pool: lyingPool });
  expect(await balanceOf(liar!), "without the candidate's bond").to.equal(10_000n * TOKEN - CANDIDATE_BOND);
  expect(await balanceOf(challenger!), "with half of it").to.equal(10_000n * TOKEN + CANDIDATE_BOND / 2n);
  expect(await balanceOf(fool!)).to.equal(10_000n * TOKEN - bond);
  expect(await disputes.creditOf(honestPool.address)).to.equal(0n);
  expect((await disputes.challengesIn(taskId)).filter(({ stage }) => isOpen(stage))).to.deep.equal([]);
}
