/** A real local chain in a process of its own, deployed contracts, funded accounts and IPFS nodes, for the agents' tests. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HDNodeWallet } from "ethers";
import { toHex } from "viem";

import { createTaskFiles, type TaskFiles } from "../../offchain/agents/task-files.ts";
import { addressOf } from "../../offchain/cli/demo/processes.ts";
import { localAssetAbi } from "../../offchain/protocol/abi.ts";
import { createChainClient, type ChainClient } from "../../offchain/protocol/chain-client.ts";
import { readDeployment, type Deployment } from "../../offchain/protocol/deployment.ts";
import { createLog, type Log } from "../../offchain/protocol/log.ts";
import { startIpfsNode, type IpfsNode } from "../../offchain/storage/ipfs-node.ts";
import { createModelStore, type ModelStore } from "../../offchain/storage/model-store.ts";

const MNEMONIC = "test test test test test test test test test test test junk";

export interface LocalNetwork {
  readonly dir: string;
  readonly rpcUrl: string;
  readonly deployment: Deployment;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** The n-th account, funded with ether and with so much of the asset (at most 10,000). */
  account(index: number, options?: { rpcUrl?: string; tokens?: bigint }): Promise<ChainClient>;
  /** A store on an IPFS node of its own, connected to those made before. */
  store(name: string): Promise<{ store: ModelStore; files: TaskFiles; peer: string }>;
  stop(): Promise<void>;
}

/** What the disputes of a network's deployment cost and how long their moves may take; no short window may be shorter. */
export const DISPUTES = { bond: 10n ** 18n, answerPeriod: 20, demandPrice: 10n ** 17n };

export async function startLocalNetwork({ disputes = false } = {}): Promise<LocalNetwork> {
  const dir = mkdtempSync(join(tmpdir(), "ponas-agents-"));
  const stopped = new AbortController();
  const { signal } = stopped;
  const env = { ...process.env, PONAS_PARENT: String(process.pid) };
  const chainProcess = spawn(process.execPath, ["scripts/local-chain.ts", "0"], {
    env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const rpcUrl = await addressOf(chainProcess, 60_000, signal);
  const file = join(dir, "deployment.json");
  const { bond, answerPeriod, demandPrice } = DISPUTES;
  const terms = disputes
    ? ["--challenge-bond", String(bond), "--answer-period", String(answerPeriod), "--demand-price", String(demandPrice)]
    : ["--without-disputes"];
  const deploy = ["--out", file, "--id", `test-${process.pid}`, "--ephemeral", "--unbonding", "86400", ...terms];
  const [code] = (await once(
    spawn(process.execPath, ["scripts/deploy.ts", ...deploy], {
      env: { ...env, PONAS_RPC_URL: rpcUrl },
      stdio: ["ignore", "ignore", "inherit"],
    }),
    "close",
  )) as [number | null];
  if (code !== 0) {
    chainProcess.kill("SIGTERM");
    throw new Error(`the deployment ended with ${code}`);
  }
  const deployment = readDeployment(file);
  const log = createLog("test", { level: process.env.PONAS_TEST_LOG ?? "silent" });
  const nodes: IpfsNode[] = [];

  return {
    dir,
    rpcUrl,
    deployment,
    signal,
    log,
    account: async (index, { rpcUrl: url = rpcUrl, tokens = 10_000n } = {}) => {
      const { privateKey } = HDNodeWallet.fromPhrase(MNEMONIC, undefined, `m/44'/60'/0'/0/${index}`);
      const chain = createChainClient({ rpcUrl: url, deployment, privateKey, log, signal, pollMs: 200 });
      // A local Hardhat chain funds the first twenty accounts only.
      const request = { method: "hardhat_setBalance", params: [chain.account, toHex(10n ** 20n)] };
      if (index >= 20) await chain.client.request(request as never);
      const { asset } = deployment;
      await chain.send({ abi: localAssetAbi, address: asset, functionName: "faucet", args: [tokens * 10n ** 18n] });
      return chain;
    },
    store: async (name) => {
      const peers = nodes.map(({ multiaddrs }) => multiaddrs[0]!);
      const node = await startIpfsNode({ dir: join(dir, name), peers, signal });
      nodes.push(node);
      const store = createModelStore({ rpcUrl: node.rpcUrl, signal });
      return { store, files: createTaskFiles({ store, signal, timeoutMs: 20_000 }), peer: node.multiaddrs[0]! };
    },
    stop: async () => {
      stopped.abort();
      await Promise.all(nodes.map((node) => node.stop()));
      chainProcess.kill("SIGTERM");
      if (chainProcess.exitCode === null) await once(chainProcess, "close");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/**
 * Tests that start together on one network, since each of them mostly waits for the chain's clock.
 * @param setUp what all of them need, before any begins
 */
export function sideBySide<T>(setUp: () => Promise<T>, scenarios: Record<string, (shared: T) => Promise<void>>): void {
  const running = new Map<string, Promise<void>>();
  before(async () => {
    const shared = await setUp();
    for (const [name, play] of Object.entries(scenarios)) {
      const played = play(shared);
      played.catch(() => undefined); // its own test says so
      running.set(name, played);
    }
  });
  for (const name of Object.keys(scenarios)) it(name, () => running.get(name));
}
