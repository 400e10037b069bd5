/**
 * A whole round on this machine: a local chain, deployed contracts, and every role in a process of its own, from the
 * publication of a task to the last unit of pay. Nothing is faked; only the phases are short and the space is small.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CID } from "multiformats/cid";

import { createPoolContract, type PoolContract } from "../../agents/pool-contract.ts";
import { createRegistry, type LedgerBlock, type Registry, type TaskState } from "../../agents/registry.ts";
import { openStorage } from "../../agents/storage.ts";
import { explainFromChain } from "../../agents/task-facts.ts";
import { createTaskFiles, type TaskFiles } from "../../agents/task-files.ts";
import { evaluateModel } from "../../evaluation/evaluate.ts";
import { localAssetAbi } from "../../protocol/abi.ts";
import { ledgerBlockHash, type Address } from "../../protocol/bytes.ts";
import { createChainClient, type ChainClient } from "../../protocol/chain-client.ts";
import { readDeployment, type Deployment } from "../../protocol/deployment.ts";
import { PonasError } from "../../protocol/errors.ts";
import { createLog } from "../../protocol/log.ts";
import { sleep } from "../../protocol/wait.ts";
import { spaceByName } from "../../search/spaces.ts";
import type { ModelStore } from "../../storage/model-store.ts";
import { loadDataset } from "../../training/datasets.ts";
import { PROJECT_ROOT } from "../project.ts";
import { createCast, everyone, type Actor, type Cast } from "./cast.ts";
import { addressOf, createProcesses, freePorts, type LogRecord, type Processes } from "./processes.ts";
import { readSummary, type Summary } from "./summary.ts";

export interface DemoOptions {
  readonly dataset: string;
  readonly dataDir?: string;
  readonly space: string;
  /** seconds of the training phase */
  readonly training: number;
  readonly epochs: number;
  /** only so many training images, where the data set has more */
  readonly trainLimit: number;
  readonly minAccuracy: number;
  readonly seed: number;
  /** share of the time that the solo miner uses, above 0 and up to 1 */
  readonly soloThrottle: number;
  readonly signal: AbortSignal;
  readonly onRecord: (record: LogRecord) => void;
  readonly onTask: (task: TaskState, now: bigint) => void;
  readonly onStep: (text: string) => void;
  /** Called at every look at the chain; a test stops and starts processes here. */
  readonly meddle?: (task: TaskState, processes: Processes) => Promise<void>;
  /** keeps the logs and state of all processes in this folder; else they go with the demo */
  readonly keep?: string;
}

const PONAS = "offchain/cli/ponas.ts";

/** Lengths of the phases in seconds, but for training: long enough for two busy cores, short enough to watch. */
const PHASES = {
  initialisation: 12,
  keyRelease: 40,
  testVote: 6,
  reveal: 20,
  seal: 20,
  open: 16,
  shortWindow: 4,
  longWindow: 40,
};
const COMMIT_MARGIN = 12;
const OBJECTION_WINDOW = 3;
const TOKENS = 10n ** 18n;

/** Plays the round. @throws PonasError where a process fails, or the payments do not add up to the reward */
export async function runDemo(options: DemoOptions): Promise<Summary> {
  const { onStep } = options;
  await checkOptions(options);
  const dir = options.keep ?? mkdtempSync(join(tmpdir(), "ponas-demo-"));
  mkdirSync(join(dir, "logs"), { recursive: true });
  const events: LogRecord[] = [];
  const processes = createProcesses(join(dir, "logs"), (record) => {
    if (record.event === "ready" || record.event === "publish" || record.event === "ipfs") events.push(record);
    options.onRecord(record);
  });
  const signal = AbortSignal.any([options.signal, processes.failed]);
  try {
    const summary = await playRound(dir, processes, events, { ...options, signal });
    onStep("stopping all processes");
    return summary;
  } catch (error) {
    if (processes.failed.aborted && !options.signal.aborted) throw processes.failed.reason;
    throw error;
  } finally {
    await processes.stop();
    if (options.keep === undefined) rmSync(dir, { recursive: true, force: true });
  }
}

/** What can be wrong with the options is said before anything is started. */
async function checkOptions({ dataset, dataDir, space }: DemoOptions): Promise<void> {
  spaceByName(space);
  await loadDataset(dataset, { dataDir });
  if (!existsSync(join(PROJECT_ROOT, "artifacts", "contracts", "TaskRegistry.sol"))) {
    throw new PonasError("not-found", "The contracts are not compiled.", { cure: "npm run build" });
  }
}

async function playRound(
  dir: string,
  processes: Processes,
  events: LogRecord[],
  options: DemoOptions,
): Promise<Summary> {
  const { signal, onStep } = options;
  const cast = createCast();
  const nodes = everyone(cast);
  const [poolPort, ...ipfsPorts] = (await freePorts(1 + nodes.length)) as [number, ...number[]];

  onStep("starting a local chain");
  const rpcUrl = await addressOf(
    processes.start({ name: "chain", args: ["scripts/local-chain.ts", "0"] }),
    60_000,
    signal,
  );

  onStep("deploying the contracts");
  const deploymentFile = join(dir, "deployment.json");
  await processes.finish(
    {
      name: "deploy",
      args: ["scripts/deploy.ts", "--out", deploymentFile, "--id", `demo-${process.pid}`, "--ephemeral"],
      env: { PONAS_RPC_URL: rpcUrl },
    },
    signal,
  );
  const deployment = readDeployment(deploymentFile);
  const log = createLog("demo", { level: "silent" });
  const clientOf = (actor: Actor): ChainClient =>
    createChainClient({ rpcUrl, deployment, privateKey: actor.privateKey, log, signal });
  onStep("giving everyone 10,000 of the local asset");
  await Promise.all(nodes.map((actor) => fund(clientOf(actor), deployment)));

  onStep("starting validators, pool and miners");
  const start = (actor: Actor, args: readonly string[]): void => {
    const own = nodes.indexOf(actor);
    const stateDir = join(dir, actor.name);
    const keyFile = join(dir, `${actor.name}.key`);
    writeFileSync(keyFile, actor.privateKey, { mode: 0o600 });
    const peers = ipfsPorts.filter((_, index) => index !== own).map((port) => `/ip4/127.0.0.1/tcp/${port}`);
    const ipfs = ["--ipfs-listen", `/ip4/127.0.0.1/tcp/${ipfsPorts[own]}`, "--peer", ...peers];
    const shared = ["--rpc", rpcUrl, "--deployment", deploymentFile, "--key-file", keyFile, "--state-dir", stateDir];
    processes.start({
      name: actor.name,
      args: [PONAS, ...args, ...shared, "--log", "json", "--name", actor.name, ...ipfs],
    });
  };
  const margin = ["--commit-margin", String(COMMIT_MARGIN), "--min-answer", String(PHASES.shortWindow)];
  const windows = [
    "--objection-window",
    String(OBJECTION_WINDOW),
    "--settlement-window",
    "120",
    "--receipts-window",
    "60",
  ];
  start(cast.manager, [
    "pool",
    "run",
    "--port",
    String(poolPort),
    "--strong-trials",
    "2",
    "--seed",
    String(options.seed),
    ...margin,
    ...windows,
  ]);
  for (const validator of cast.validators) start(validator, ["validator", "run", "--model-timeout", "10"]);
  start(cast.solo, [
    "miner",
    "run",
    "--solo",
    "--workers",
    "1",
    "--throttle",
    String(options.soloThrottle),
    "--seed",
    String(options.seed + 1),
    ...margin,
  ]);
  const { pool } = (await eventOf(events, "ready", cast.manager.name, signal)) as LogRecord & { pool: Address };
  for (const miner of cast.poolMiners) {
    const link = ["--pool", pool, "--url", `ws://127.0.0.1:${poolPort}`, "--throttle", String(miner.throttle)];
    start(miner, ["miner", "run", "--workers", "1", ...link]);
  }
  for (const actor of [...cast.validators, cast.solo, ...cast.poolMiners])
    await eventOf(events, "ready", actor.name, signal);

  onStep(`publishing a task on ${options.dataset}`);
  start(cast.publisher, publishArguments(options));
  const published = await eventOf(events, "publish", cast.publisher.name, signal);
  const taskId = BigInt(String(published.taskId));

  onStep("");
  const chain = clientOf(cast.deployer);
  const registry = createRegistry(chain);
  const task = await untilEnd(taskId, registry, chain, processes, options);
  const block = await registry.blockOf(taskId);
  if (block !== undefined && ledgerBlockHash(block) !== block.hash) {
    throw new PonasError("integrity", `Block ${block.height} does not hash to ${block.hash}.`);
  }

  onStep("waiting until everyone is paid");
  const contract = createPoolContract(chain, pool);
  await untilPaid(task, contract, registry, cast, signal);
  onStep(
    block === undefined
      ? "re-deriving every payment from the chain"
      : "fetching the model back by its CID, evaluating it anew, and re-deriving every payment",
  );
  const peer = ipfsPorts.map((port) => `/ip4/127.0.0.1/tcp/${port}`);
  await using storage = await openStorage({ stateDir: join(dir, "witness"), peer, log, signal });
  const { store } = storage;
  const files = createTaskFiles({ store, signal, timeoutMs: 30_000 });
  const { explanation } = await explainFromChain(taskId, { chain, store, files, signal, timeoutMs: 30_000 });
  const shared = { chain, task, pool, roleOf: roles(cast, pool), explanation };
  // Small budgets over the paper's spaces may well end in no model worth a claim.
  if (block === undefined) return readSummary({ ...shared, block: null });
  const reevaluated = await reevaluate(task, block, { store, files, signal });
  if (reevaluated.correct !== block.correct || reevaluated.total !== block.total) {
    throw new PonasError(
      "integrity",
      `The block says ${block.correct} of ${block.total}, the model has ${reevaluated.correct} of ${reevaluated.total}.`,
    );
  }
  return readSummary({ ...shared, block: { ...block, reevaluated } });
}

function publishArguments({
  dataset,
  dataDir,
  space,
  training,
  epochs,
  trainLimit,
  minAccuracy,
  seed,
}: DemoOptions): string[] {
  const lengths = Object.entries(PHASES).flatMap(([phase, seconds]) => [
    `--${phase.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    String(seconds),
  ]);
  return [
    ...["task", "publish", "--follow", "--dataset", dataset, "--space", space],
    ...(dataDir === undefined ? [] : ["--data-dir", dataDir]),
    ...[
      "--training",
      String(training),
      "--epochs",
      String(epochs),
      "--train-limit",
      String(trainLimit),
      "--max-macs",
      "5000000",
    ],
    ...["--min-accuracy", String(minAccuracy), "--seed", String(seed)],
    ...lengths,
  ];
}

async function fund(chain: ChainClient, { asset }: Deployment): Promise<void> {
  await chain.send({ abi: localAssetAbi, address: asset, functionName: "faucet", args: [10_000n * TOKENS] });
}

/** Waits for an event of one process. */
async function eventOf(
  events: readonly LogRecord[],
  event: string,
  name: string,
  signal: AbortSignal,
): Promise<LogRecord> {
  const deadline = performance.now() + 120_000;
  for (;;) {
    const found = events.find((record) => record.event === event && record.name === name);
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new PonasError("timeout", `${name} was not ready within 120 s.`);
    await sleep(100, signal);
  }
}

async function untilEnd(
  taskId: bigint,
  registry: Registry,
  chain: ChainClient,
  processes: Processes,
  options: DemoOptions,
): Promise<TaskState> {
  for (;;) {
    const task = await registry.task(taskId);
    options.onTask(task, (await chain.head()).timestamp);
    if (task.phase === "Confirmed" || task.phase === "Void") return task;
    await options.meddle?.(task, processes);
    await sleep(1000, options.signal);
  }
}

async function untilPaid(
  task: TaskState,
  pool: PoolContract,
  registry: Registry,
  cast: Cast,
  signal: AbortSignal,
): Promise<void> {
  const poolWon = task.winner.toLowerCase() === pool.address.toLowerCase();
  const paid = async (): Promise<boolean> => {
    for (const { address } of [cast.publisher, cast.solo, ...cast.validators]) {
      if ((await registry.credit(address)) > 0n) return false;
    }
    for (const { address } of cast.validators) {
      const { attested, settled } = await registry.sealOf(task.id, task.winner, address);
      if (attested && !settled) return false;
    }
    const { phase, unclaimed, feePaid, fee } = await pool.account(task.id);
    if (!poolWon) return phase === "None" || phase === "Closed";
    if (phase !== "Claims" || unclaimed > 0n || (fee > 0n && !feePaid)) return false;
    for (const { address } of [cast.manager, ...cast.poolMiners]) if ((await pool.credit(address)) > 0n) return false;
    return true;
  };
  const deadline = performance.now() + 90_000;
  while (!(await paid())) {
    if (performance.now() > deadline)
      throw new PonasError("timeout", "Not everyone was paid within 90 s of the block.");
    await sleep(500, signal);
  }
}

/** What anybody can do who has nothing but the chain and IPFS. */
async function reevaluate(
  task: TaskState,
  block: LedgerBlock,
  { store, files, signal }: { store: ModelStore; files: TaskFiles; signal: AbortSignal },
): Promise<{ correct: number; total: number }> {
  const bytes = await store.get(CID.decode(block.modelCid).toString(), {
    maxBytes: task.maxModelBytes,
    timeoutMs: 30_000,
    signal,
  });
  const { samples } = await files.testSet(task);
  const rules = await files.rules(task);
  const { correct, total } = await evaluateModel(bytes, { ...samples, maxBytes: task.maxModelBytes, rules, signal });
  return { correct, total };
}

function roles(cast: Cast, pool: Address): (account: Address) => string {
  const names = new Map(everyone(cast).map(({ address, role }) => [address.toLowerCase(), role as string]));
  names.set(pool.toLowerCase(), "pool");
  return (account) => names.get(account.toLowerCase()) ?? "other";
}
