/** What every demo stands on: a local chain with the contracts and funded accounts, and how its processes are started. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { localAssetAbi } from "../../protocol/abi.ts";
import { createChainClient, type ChainClient } from "../../protocol/chain-client.ts";
import { readDeployment, type Deployment } from "../../protocol/deployment.ts";
import { PonasError } from "../../protocol/errors.ts";
import { createLog } from "../../protocol/log.ts";
import { sleep } from "../../protocol/wait.ts";
import type { Actor } from "./cast.ts";
import { addressOf, createProcesses, type LogRecord, type Processes } from "./processes.ts";

export const PONAS = "offchain/cli/ponas.ts";
/** What everyone is given, in the asset's smallest unit. */
export const ENDOWMENT = 10_000n * 10n ** 18n;

export interface Stage {
  readonly deployment: Deployment;
  /** where the IPFS nodes of all actors listen, as multiaddrs */
  readonly ipfs: readonly string[];
  clientOf(actor: Actor): ChainClient;
  /** Starts an actor's process: a script and its arguments, to which those of chain, key, state, log and IPFS are added. */
  start(actor: Actor, args: readonly string[]): void;
  /** Waits for an event of one process. @throws PonasError timeout */
  eventOf(event: string, actor: Actor): Promise<LogRecord>;
}

/** Where a demo's processes live: ended, and their folder gone, when the demo is over. */
export interface Backstage {
  readonly dir: string;
  readonly processes: Processes;
  /** what processes said of getting ready; grows */
  readonly events: readonly LogRecord[];
  /** fires where the demo is to stop, or a process fails */
  readonly signal: AbortSignal;
}

/** Plays with processes that end with it, however it ends. @throws PonasError the failed process's, where one fails */
export async function withProcesses<T>(
  options: {
    readonly keep?: string;
    readonly signal: AbortSignal;
    readonly onRecord: (record: LogRecord) => void;
    readonly onStep: (text: string) => void;
  },
  play: (backstage: Backstage) => Promise<T>,
): Promise<T> {
  const dir = options.keep ?? mkdtempSync(join(tmpdir(), "ponas-demo-"));
  mkdirSync(join(dir, "logs"), { recursive: true });
  const events: LogRecord[] = [];
  const processes = createProcesses(join(dir, "logs"), (record) => {
    if (record.event === "ready" || record.event === "publish" || record.event === "ipfs") events.push(record);
    options.onRecord(record);
  });
  const signal = AbortSignal.any([options.signal, processes.failed]);
  try {
    const result = await play({ dir, processes, events, signal });
    options.onStep("stopping all processes");
    return result;
  } catch (error) {
    if (processes.failed.aborted && !options.signal.aborted) throw processes.failed.reason;
    throw error;
  } finally {
    await processes.stop();
    if (options.keep === undefined) rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * @param actors have each an IPFS node, and are given {@link ENDOWMENT}
 * @param ports of these nodes, free ones
 * @param deployArgs of `scripts/deploy.ts`, beside the place of its results
 */
export async function raiseStage(
  { dir, processes, events, signal }: Backstage,
  options: {
    readonly actors: readonly Actor[];
    readonly ports: readonly number[];
    readonly deployArgs?: readonly string[];
    readonly onStep: (text: string) => void;
  },
): Promise<Stage> {
  const { actors, ports, deployArgs = [], onStep } = options;
  const ipfs = ports.map((port) => `/ip4/127.0.0.1/tcp/${port}`);

  onStep("starting a local chain");
  const chain = processes.start({ name: "chain", args: ["scripts/local-chain.ts", "0"] });
  const rpcUrl = await addressOf(chain, 60_000, signal);

  onStep("deploying the contracts");
  const deploymentFile = join(dir, "deployment.json");
  await processes.finish(
    {
      name: "deploy",
      args: [
        ...["scripts/deploy.ts", "--out", deploymentFile, "--id", `demo-${process.pid}`, "--ephemeral"],
        ...deployArgs,
      ],
      env: { PONAS_RPC_URL: rpcUrl },
    },
    signal,
  );
  const deployment = readDeployment(deploymentFile);
  const log = createLog("demo", { level: "silent" });
  const clientOf = (actor: Actor): ChainClient =>
    createChainClient({ rpcUrl, deployment, privateKey: actor.privateKey, log, signal });
  onStep("giving everyone 10,000 of the local asset");
  await Promise.all(actors.map((actor) => fund(clientOf(actor), deployment)));

  return {
    deployment,
    ipfs,
    clientOf,
    start: (actor, args) => {
      const own = actors.indexOf(actor);
      const keyFile = join(dir, `${actor.name}.key`);
      writeFileSync(keyFile, actor.privateKey, { mode: 0o600 });
      const stateDir = join(dir, actor.name);
      const peers = ipfs.filter((_, index) => index !== own);
      const shared = ["--rpc", rpcUrl, "--deployment", deploymentFile, "--key-file", keyFile, "--state-dir", stateDir];
      const node = ["--ipfs-listen", ipfs[own]!, "--peer", ...peers];
      processes.start({
        name: actor.name,
        args: [...args, ...shared, "--log", "json", "--name", actor.name, ...node],
      });
    },
    eventOf: async (event, { name }) => {
      const deadline = performance.now() + 120_000;
      for (;;) {
        const found = events.find((record) => record.event === event && record.name === name);
        if (found !== undefined) return found;
        if (performance.now() > deadline) throw new PonasError("timeout", `${name} was not ready within 120 s.`);
        await sleep(100, signal);
      }
    },
  };
}

async function fund(chain: ChainClient, { asset }: Deployment): Promise<void> {
  await chain.send({ abi: localAssetAbi, address: asset, functionName: "faucet", args: [ENDOWMENT] });
}

/** A task that `ponas task publish --follow` is to publish, with phases of so many seconds. */
export function publishArguments(
  task: {
    readonly dataset: string;
    readonly dataDir?: string;
    readonly space: string;
    readonly training: number;
    readonly epochs: number;
    readonly trainLimit: number;
    readonly minAccuracy: number;
    readonly seed: number;
  },
  phases: Readonly<Record<string, number>>,
): string[] {
  const { dataset, dataDir, space, training, epochs, trainLimit, minAccuracy, seed } = task;
  const lengths = Object.entries({ ...phases, training }).flatMap(([phase, seconds]) => [
    `--${phase.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    String(seconds),
  ]);
  return [
    ...["task", "publish", "--follow", "--dataset", dataset, "--space", space],
    ...(dataDir === undefined ? [] : ["--data-dir", dataDir]),
    ...["--epochs", String(epochs), "--train-limit", String(trainLimit), "--max-macs", "5000000"],
    ...["--min-accuracy", String(minAccuracy), "--seed", String(seed)],
    ...lengths,
  ];
}
