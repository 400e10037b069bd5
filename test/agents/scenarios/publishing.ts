/** Publishers that are cut off, or killed at a bad moment. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { followTask, publishTask } from "../../../offchain/agents/publisher.ts";
import { createRegistry } from "../../../offchain/agents/registry.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { localAssetAbi } from "../../../offchain/protocol/abi.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { createProxy } from "../../protocol/proxy.ts";
import type { LocalNetwork } from "../local-network.ts";
import { planWith, TOKEN } from "../noise-task.ts";

export async function releaseAfterOutage(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const proxy = await createProxy(Number(new URL(network.rpcUrl).port));
  try {
    const chain = await network.account(21, { rpcUrl: proxy.url });
    const { store } = await network.store("cut-off publisher");
    const shared = { chain, store, state: createStateFolder(`${network.dir}/cut-off`), log, signal };
    const taskId = await publishTask(planWith({ training: 10, keyRelease: 60, testVote: 1, reveal: 1 }), shared);
    const following = followTask(taskId, shared);
    await proxy.close();
    await sleep(20_000);
    expect((await createRegistry(await network.account(22)).task(taskId)).phase).to.equal("AwaitKey");
    await proxy.open();
    await following;

    const task = await createRegistry(chain).task(taskId);
    expect(task.voidReason, "nobody has taken part").to.equal("NoCandidate");
    const { asset } = network.deployment;
    const args = [chain.account] as const;
    const balance = await chain.read({ abi: localAssetAbi, address: asset, functionName: "balanceOf", args });
    expect(balance, "everything is back").to.equal(10_000n * TOKEN);
  } finally {
    await proxy.close();
  }
}

export async function publishOnce(network: LocalNetwork): Promise<void> {
  const { log, signal } = network;
  const chain = await network.account(23);
  const { store } = await network.store("stopped publisher");
  const state = createStateFolder(`${network.dir}/stopped`);
  const shared = { chain, store, state, log, signal };
  const plan = planWith({ training: 1, keyRelease: 1 });
  const taskId = await publishTask(plan, shared);
  // As if it had been killed after the transaction was sent.
  const [name] = readdirSync(join(state.path, "published")) as [string];
  const { key, keyHash } = JSON.parse(Buffer.from(state.readBytes(`published/${name}`)!).toString()) as Record<
    string,
    string
  >;
  writeFileSync(join(state.path, "published", name), JSON.stringify({ key, keyHash }));

  const registry = createRegistry(chain);
  const refusal = await publishTask(plan, shared).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refusal).to.be.instanceOf(PonasError);
  expect((refusal as PonasError).message).to.equal(
    `An earlier run was stopped after it had published task ${taskId}; nothing was published now.`,
  );
  expect(await publishTask(plan, shared), "said once").to.be.above(Number(taskId));

  const poor = await network.account(24, { tokens: 5n });
  const noMoney = await publishTask(plan, { ...shared, chain: poor }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect((noMoney as PonasError).code).to.equal("funds");
  expect((noMoney as PonasError).message).to.equal(
    `The account ${poor.account} has 5 of the asset, but 113 are needed.`,
  );
  expect((await registry.task(taskId)).publisher).to.equal(chain.account);
}
