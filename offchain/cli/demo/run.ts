/**
 * A whole round on this machine: a local chain, deployed contracts, and every role in a process of its own, from the
 * publication of a task to the last unit of pay. Nothing is faked; only the phases are short and the space is small.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { CID } from "multiformats/cid";

import { createPoolContract, type PoolContract } from "../../agents/pool-contract.ts";
import { createRegistry, hasEnded, type LedgerBlock, type Registry, type TaskState } from "../../agents/registry.ts";
import { openStorage } from "../../agents/storage.ts";
import { explainFromChain } from "../../agents/task-facts.ts";
import { createTaskFiles, type TaskFiles } from "../../agents/task-files.ts";
import { evaluateModel } from "../../evaluation/evaluate.ts";
import { ledgerBlockHash, type Address } from "../../protocol/bytes.ts";
import type { ChainClient } from "../../protocol/chain-client.ts";
import { PonasError } from "../../protocol/errors.ts";
import { createLog } from "../../protocol/log.ts";
import { sleep } from "../../protocol/wait.ts";
import { spaceByName } from "../../search/spaces.ts";
import type { ModelStore } from "../../storage/model-store.ts";
import { loadDataset } from "../../training/datasets.ts";
import { PROJECT_ROOT } from "../project.ts";
import { createCast, everyone, type Actor, type Cast } from "./cast.ts";
import { freePorts, type LogRecord, type Processes } from "./processes.ts";
import { PONAS, publishArguments, raiseStage, withProcesses, type Backstage } from "./stage.ts";
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

/** Plays the round. @throws PonasError where a process fails, or the payments do not add up to the reward */
export async function runDemo(options: DemoOptions): Promise<Summary> {
  await checkOptions(options);
  return withProcesses(options, (backstage) => playRound(backstage, { ...options, signal: backstage.signal }));
}

/** What can be wrong with the options is said before anything is started. */
export async function checkOptions({
  dataset,
  dataDir,
  space,
}: Pick<DemoOptions, "dataset" | "dataDir" | "space">): Promise<void> {
  spaceByName(space);
  await loadDataset(dataset, { dataDir });
  if (!existsSync(join(PROJECT_ROOT, "artifacts", "contracts", "TaskRegistry.sol"))) {
    throw new PonasError("not-found", "The contracts are not compiled.", { cure: "npm run build" });
  }
}

async function playRound(backstage: Backstage, options: DemoOptions): Promise<Summary> {
  const { dir, processes } = backstage;
  const { signal, onStep } = options;
  const cast = createCast();
  const actors = everyone(cast);
  const [poolPort, ...ports] = (await freePorts(1 + actors.length)) as [number, ...number[]];
  // Nobody lies here: each side of a dispute has the least that a window of this length allows.
  const deployArgs = ["--answer-period", String(PHASES.shortWindow)];
  const stage = await raiseStage(backstage, { actors, ports, deployArgs, onStep });
  const { clientOf, eventOf } = stage;
  const start = (actor: Actor, args: readonly string[]): void => stage.start(actor, [PONAS, ...args]);

  onStep("starting validators, pool and miners");
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
  const { pool } = (await eventOf("ready", cast.manager)) as LogRecord & { pool: Address };
  for (const miner of cast.poolMiners) {
    const link = ["--pool", pool, "--url", `ws://127.0.0.1:${poolPort}`, "--throttle", String(miner.throttle)];
    start(miner, ["miner", "run", "--workers", "1", ...link]);
  }
  for (const actor of [...cast.validators, cast.solo, ...cast.poolMiners]) await eventOf("ready", actor);

  onStep(`publishing a task on ${options.dataset}`);
  start(cast.publisher, publishArguments(options, PHASES));
  const published = await eventOf("publish", cast.publisher);
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
  const log = createLog("demo", { level: "silent" });
  await using storage = await openStorage({ stateDir: join(dir, "witness"), peer: stage.ipfs, log, signal });
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

export async function untilEnd(
  taskId: bigint,
  registry: Registry,
  chain: ChainClient,
  processes: Processes,
  options: Pick<DemoOptions, "onTask" | "meddle" | "signal">,
): Promise<TaskState> {
  for (;;) {
    const task = await registry.task(taskId);
    options.onTask(task, (await chain.head()).timestamp);
    if (hasEnded(task)) return task;
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
export async function reevaluate(
  task: TaskState,
  { modelCid }: Pick<LedgerBlock, "modelCid">,
  { store, files, signal }: { store: ModelStore; files: TaskFiles; signal: AbortSignal },
): Promise<{ correct: number; total: number }> {
  const bytes = await store.get(CID.decode(modelCid).toString(), {
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
