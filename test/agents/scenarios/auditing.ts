/** A pool that pays by an honest split, audited by one who has nothing but the chain and IPFS, and is killed halfway. */
import { expect } from "chai";

import { auditOnce, runAuditor, type AuditorOptions } from "../../../offchain/agents/auditor.ts";
import { settle } from "../../../offchain/agents/pool-manager.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { explainFromChain } from "../../../offchain/agents/task-facts.ts";
import { explainAccount } from "../../../offchain/pool/explain.ts";
import { encodeSharesFile, type SharesFile } from "../../../offchain/pool/shares-file.ts";
import { digestOf, type Signer } from "../../../offchain/pool/signatures.ts";
import { createChainClient, type ChainClient } from "../../../offchain/protocol/chain-client.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { jsonOf, ponas } from "../../cli/support.ts";
import { digest, writeFile } from "../../pool/kit/won-task.ts";
import type { LocalNetwork } from "../local-network.ts";
import { dataset, space, template, TOKEN } from "../noise-task.ts";
import { balanceOf, winWithPool } from "./pool-won.ts";

const signerOf = (chain: ChainClient): Signer => ({
  address: chain.account,
  sign: (data) => chain.signDigest(digestOf(data)),
});

/** An auditor of the network, without a key. @param name of its store and its folder */
export async function createAuditing(network: LocalNetwork, name: string): Promise<AuditorOptions & { peer: string }> {
  const { rpcUrl, deployment, signal, log, dir } = network;
  const chain = createChainClient({ rpcUrl, deployment, log, signal, pollMs: 200 });
  const state = createStateFolder(`${dir}/${name}-state`);
  return { chain, ...(await network.store(name)), state, pools: [], log, signal, timeoutMs: 10_000 };
}

export async function auditPool(network: LocalNetwork): Promise<void> {
  const { signal, log } = network;
  const miners = [await network.account(73), await network.account(74)] as const;
  let file: SharesFile | undefined;
  const { pool, taskId, over, mine } = await winWithPool(network, {
    name: "audited",
    account: 71,
    windows: { objectionWindow: 6, settlementWindow: 20, receiptsWindow: 8 },
    collect: async (world, task) => {
      const registry = createRegistry(world.manager);
      const { modelRoot, claimedCorrect } = (await registry.commitmentOf(task.id, world.pool.address))!;
      file ??= await writeFile({
        identity: world.pool.identity,
        taskId: task.id,
        receiptKey: signerOf(world.manager),
        terms: { name: "performance" },
        template,
        space,
        trainCount: dataset.train.count,
        testCount: dataset.test.count,
        trials: [
          {
            miner: signerOf(miners[0]),
            kind: "explore",
            parent: null,
            modelRoot,
            testCorrect: claimedCorrect,
            correct: 3,
          },
          {
            miner: signerOf(miners[0]),
            kind: "explore",
            parent: null,
            modelRoot: digest("a"),
            testCorrect: 18,
            correct: 4,
          },
          {
            miner: signerOf(miners[1]),
            kind: "exploit",
            parent: 12,
            modelRoot: digest("b"),
            testCorrect: 25,
            correct: 5,
          },
        ],
      });
      const leaves = file.points;
      const books = {
        points: () => Promise.resolve(leaves),
        sharesFile: () => Promise.resolve(encodeSharesFile(file!)),
      };
      return settle(task, { ...world, chain: world.manager, manager: books, log, signal });
    },
  });
  const auditing = { ...(await createAuditing(network, "auditor")), pools: [pool.address] };
  const audited = (): { settled: boolean; disagreements: unknown[]; phase: string } | undefined => {
    const bytes = auditing.state.readBytes(`audits/${taskId}.json`);
    return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString()) as never);
  };
  const killed = new AbortController();
  const first = runAuditor({ ...auditing, signal: AbortSignal.any([signal, killed.signal]) });
  while ((await pool.account(taskId)).phase !== "Objection") await sleep(200, signal);
  while (audited() === undefined) await sleep(100, signal);
  killed.abort();
  await first;
  expect(audited()).to.include({ settled: false, phase: "Confirmed" });

  const stopped = new AbortController();
  const mining = miners.map((chain, i) =>
    mine(chain, createStateFolder(`${network.dir}/audited-${i}`), AbortSignal.any([signal, stopped.signal])),
  );
  const second = runAuditor({ ...auditing, signal: AbortSignal.any([signal, stopped.signal]) });
  while (audited()?.settled !== true) await sleep(200, signal);
  for (const miner of miners) while ((await pool.credit(miner.account)) > 0n) await sleep(200, signal);
  stopped.abort();
  await Promise.all([...mining, second, over]);
  expect(audited()!.disagreements).to.deep.equal([]);

  const { explanation } = await explainFromChain(taskId, { ...auditing, recompute: true });
  expect(explanation.disagreements).to.deep.equal([]);
  expect(explanation.verified.join("\n")).to.contain("the winning model, evaluated anew");
  for (const miner of miners) {
    const { total, parts } = explainAccount(explanation, miner.account);
    expect(parts).to.have.length(1);
    expect(await balanceOf(network, miner)).to.equal(10_000n * TOKEN + total);
  }

  // The same by the command, in a process that knows neither pool nor manager.
  const { account } = miners[1];
  const options = ["--rpc", network.rpcUrl, "--deployment", `${network.dir}/deployment.json`, "--peer", auditing.peer];
  const where = { cwd: network.dir };
  const [told, text, all] = await Promise.all([
    ponas(["explain", String(taskId), account, "--json", ...options], where),
    ponas(["explain", String(taskId), account, ...options], where),
    ponas(["auditor", "run", "--once", "--json", "--pool", pool.address, "--state-dir", "once", ...options], where),
  ]);
  const { total } = explainAccount(explanation, account);
  expect(jsonOf(told)).to.deep.include({ task: String(taskId), account, total: String(total), disagreements: [] });
  expect(text.code).to.equal(0);
  expect(text.stdout).to.match(/lease 13 \(exploit\).*25 correct on the test set, baseline 18 \(lease 12\)/);
  const [report, ...rest] = jsonOf<{ task: string; disagreements: unknown[]; settled: boolean }[]>(all);
  expect(rest).to.deep.equal([]);
  expect(report).to.deep.include({ task: String(taskId), disagreements: [], settled: true });
}

/** After everything: whatever the other scenarios did, each payment of each task follows from chain and IPFS. */
export async function auditEverything(network: LocalNetwork): Promise<void> {
  const auditing = await createAuditing(network, "last auditor");
  const audits = await auditOnce(auditing);
  const faults = audits.flatMap(({ explanation: { disagreements } }) => disagreements.map(({ message }) => message));
  expect(faults).to.deep.equal([]);
  const reasons = new Set(audits.flatMap(({ explanation }) => explanation.parts.map(({ reason }) => reason)));
  expect([...reasons]).to.include.members([
    ...["Reward", "RewardReturned", "ValidatorFee", "Compensation"],
    ...["PoolShare", "PoolFee", "Objection"],
  ]);
}
