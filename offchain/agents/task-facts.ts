/**
 * Reads all that a task's payments follow from: the chain's events and terms at one block, and the files they name.
 * Needs no key and no manager.
 */
import { getAddress, numberToHex, pad, parseEventLogs, formatLog, type Abi, type RpcLog } from "viem";

import { evaluateModel } from "../evaluation/evaluate.ts";
import { find, type ChainEvent, type FetchedFile, type PoolFacts, type TaskFacts } from "../pool/explain-facts.ts";
import { splitOf } from "../pool/explain-pool.ts";
import type { DescribedTask } from "../pool/explain-shares.ts";
import { explainTask, type Recomputed, type TaskExplanation } from "../pool/explain.ts";
import { PHASES, poolAbi, poolFactoryAbi, SPLIT_PHASES, taskRegistryAbi, VOID_REASONS } from "../protocol/abi.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { permitted } from "../protocol/chain-errors.ts";
import { explainError, PonasError } from "../protocol/errors.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { createRegistry } from "./registry.ts";
import { binaryCid } from "./task-descriptor.ts";
import type { TaskFiles } from "./task-files.ts";

/** Of a shares file: a few kilobytes a share. */
const MAX_SHARES_FILE_BYTES = 1 << 28;

/**
 * One task's terms and events, all as of the newest block.
 * @throws PonasError not-found where there is no such task; chain-unreachable
 */
async function readTaskFacts(chain: ChainClient, taskId: bigint): Promise<TaskFacts> {
  const { client, deployment } = chain;
  const registry = getAddress(deployment.registry);
  const at = { abi: taskRegistryAbi, address: registry } as const;
  const { number } = await chain.head();
  // Views and events at one block: a call that is mined in between would look like a contradiction.
  const view = <T>(name: string, abi: Abi, work: (block: { blockNumber: bigint }) => Promise<T>): Promise<T> =>
    permitted(name, abi, () => work({ blockNumber: number }));
  const task = await view("taskOf", taskRegistryAbi, (block) =>
    client.readContract({ ...at, ...block, functionName: "taskOf", args: [taskId] }),
  );
  const phase = PHASES[task.phase]!;
  if (phase === "None") {
    throw new PonasError("not-found", `There is no task ${taskId} on this registry.`, {
      cure: "ponas task list shows the open ones; tasks are numbered from 1",
    });
  }
  const candidateBond = await view("candidateBondOf", taskRegistryAbi, (block) =>
    client.readContract({ ...at, ...block, functionName: "candidateBondOf", args: [taskId] }),
  );
  const events = await readEvents(chain, taskRegistryAbi, registry, taskId, number);
  const pools: PoolFacts[] = [];
  for (const participant of new Set(
    events.filter((event) => event.name === "Committed").map(({ args }) => args.participant),
  )) {
    const factory = { abi: poolFactoryAbi, address: deployment.poolFactory } as const;
    const isPool = await view("isPool", poolFactoryAbi, (block) =>
      client.readContract({ ...factory, ...block, functionName: "isPool", args: [participant] }),
    );
    if (!isPool) continue;
    const pool = { abi: poolAbi, address: participant } as const;
    const terms = await view("terms", poolAbi, (block) =>
      client.readContract({ ...pool, ...block, functionName: "terms", args: [] }),
    );
    const account = await view("accountOf", poolAbi, (block) =>
      client.readContract({ ...pool, ...block, functionName: "accountOf", args: [taskId] }),
    );
    const own = await readEvents(chain, poolAbi, participant, taskId, number);
    const from = find(own, "SplitAdopted")?.args.fromTask;
    const earlier = from === undefined ? [] : await readEvents(chain, poolAbi, participant, from, number);
    const adopted = find(earlier, "SplitPosted") ?? null;
    pools.push({
      pool: participant,
      manager: terms.manager,
      schemeId: terms.schemeId,
      phase: SPLIT_PHASES[account.phase]!,
      deadline: account.deadline,
      objectionWindow: terms.objectionWindow,
      events: own,
      adopted,
    });
  }
  const { params } = task;
  return {
    chainId: chain.domain.chainId,
    registry,
    taskId,
    at: number,
    phase,
    voidReason: VOID_REASONS[task.voidReason]!,
    publisher: task.publisher,
    testCount: params.testCount,
    reward: params.reward,
    publisherBond: params.publisherBond,
    commitBond: params.commitBond,
    commitFee: params.commitFee,
    candidateBond,
    validatorFee: params.validatorFee,
    events,
    pools,
  };
}

/** Every event of a contract that names the task, in the chain's order. */
async function readEvents<const A extends Abi>(
  { client, deployment }: ChainClient,
  abi: A,
  address: Address,
  taskId: bigint,
  toBlock: bigint,
): Promise<ChainEvent<A>[]> {
  // The task is the first indexed argument of most events, the second of some: both are asked for.
  const topic = pad(numberToHex(taskId));
  const range = { address, fromBlock: numberToHex(deployment.fromBlock), toBlock: numberToHex(toBlock) };
  const ask = (topics: (Hex | null)[]): Promise<RpcLog[]> =>
    client.request({ method: "eth_getLogs", params: [{ ...range, topics }] });
  const logs = [...(await ask([null, topic])), ...(await ask([null, null, topic]))].map((log) => formatLog(log));
  const distinct = [...new Map(logs.map((log) => [`${log.blockNumber} ${log.logIndex}`, log])).values()];
  const ordered = distinct.sort((a, b) => Number(a.blockNumber! - b.blockNumber!) || a.logIndex! - b.logIndex!);
  const parsed = parseEventLogs({ abi: abi as Abi, logs: ordered }) as unknown as {
    eventName: string;
    args: { taskId?: bigint };
    blockNumber: bigint;
    logIndex: number;
    transactionHash: Hex;
  }[];
  return parsed
    .filter(({ args }) => args.taskId === taskId) // an account or a height of the same number is none
    .map(({ eventName, args, blockNumber, logIndex, transactionHash }) => ({
      name: eventName,
      args,
      block: blockNumber,
      index: logIndex,
      transaction: transactionHash,
    })) as ChainEvent<A>[];
}

export interface ExplainOptions {
  readonly chain: ChainClient;
  readonly store: ModelStore;
  readonly files: TaskFiles;
  readonly signal: AbortSignal;
  /** how long one file may take to arrive, in milliseconds */
  readonly timeoutMs: number;
  /** evaluate the winning model anew */
  readonly recompute?: boolean | undefined;
}

/**
 * Re-derives all payments of a task from chain and IPFS; a file that cannot be had is a disagreement, not an error.
 * @param known files that were fetched and verified before, by CID as the chain has it
 * @throws PonasError not-found; chain-unreachable; store-unreachable where it is our own node that is at fault
 */
export async function explainFromChain(
  taskId: bigint,
  options: ExplainOptions,
  known: Map<Hex, FetchedFile> = new Map(),
): Promise<{
  readonly facts: TaskFacts;
  readonly explanation: TaskExplanation;
  readonly files: Map<Hex, FetchedFile>;
  /** what could not be had, and may be at another time: a shares file, the task's descriptor, the winning model */
  readonly missing: readonly string[];
}> {
  const { chain, files: taskFiles, signal, recompute = false } = options;
  const facts = await readTaskFacts(chain, taskId);
  const files = new Map<Hex, FetchedFile>();
  for (const pool of facts.pools) {
    const cid = (splitOf(pool) ?? pool.adopted)?.args.sharesCid;
    if (cid === undefined || files.has(cid)) continue;
    files.set(cid, known.get(cid) ?? (await fetchSharesFile(cid, taskId, options)));
  }
  const registry = createRegistry(chain);
  const task = await registry.task(taskId);
  let described: DescribedTask | null = null;
  if (files.size > 0) {
    try {
      const { template, data } = await taskFiles.descriptor(task);
      described = { classes: template.classes, trainCount: data.train.count };
    } catch (error) {
      if (isOurs(error, signal)) throw error;
    }
  }
  const recomputed = recompute ? await recomputeWinner(facts, options) : undefined;
  const explanation = await explainTask({ facts, files, described, recomputed, signal });
  const missing = [
    ...[...files].flatMap(([cid, file]) => ("fault" in file ? [`file ${cid}`] : [])),
    ...(files.size > 0 && described === null ? ["descriptor"] : []),
    ...(recomputed !== undefined && "fault" in recomputed ? ["model"] : []),
  ];
  return { facts, explanation, files, missing };
}

/** Our own node or chain at fault says nothing about a task or a pool. */
function isOurs(error: unknown, signal: AbortSignal): boolean {
  if (signal.aborted || !(error instanceof PonasError)) return true;
  return error.code === "store-unreachable" || error.code === "chain-unreachable" || error.code === "aborted";
}

async function fetchSharesFile(
  cid: Hex,
  taskId: bigint,
  { store, signal, timeoutMs }: ExplainOptions,
): Promise<FetchedFile> {
  try {
    const address = binaryCid(cid, `The split of task ${taskId}`);
    return { bytes: await store.get(address, { maxBytes: MAX_SHARES_FILE_BYTES, timeoutMs, signal }) };
  } catch (error) {
    if (isOurs(error, signal)) throw error;
    return { fault: explainError(error) };
  }
}

/** The block's model, fetched by its CID and evaluated on the released test set; undefined where there is no block. */
async function recomputeWinner(
  { events, taskId }: TaskFacts,
  { chain, store, files, signal, timeoutMs }: ExplainOptions,
): Promise<Recomputed | undefined> {
  const block = events.find((event) => event.name === "BlockConfirmed");
  if (block === undefined) return undefined;
  const task = await createRegistry(chain).task(taskId);
  try {
    const { samples } = await files.testSet(task);
    const rules = await files.rules(task);
    const address = binaryCid(block.args.modelCid, `The block of task ${taskId}`);
    const bytes = await store.get(address, { maxBytes: task.maxModelBytes, timeoutMs, signal });
    const limits = { maxBytes: task.maxModelBytes, rules, signal };
    const { modelRoot, correct, total, malformed } = await evaluateModel(bytes, { ...samples, ...limits });
    return { modelRoot, correct, total, malformed: malformed?.reason ?? null };
  } catch (error) {
    if (isOurs(error, signal)) throw error;
    return { fault: explainError(error) };
  }
}
