/** A pool's contract as its manager and its miners see it. */
import { bytesToHex, encodeFunctionData } from "viem";

import { OBJECTION_KINDS, OBJECTION_STATES, poolAbi, poolFactoryAbi, SPLIT_PHASES } from "../protocol/abi.ts";
import { keccak256, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { PointsTree } from "../pool/points-tree.ts";
import { asArguments, createRegistry, isCandidate, paying, type TaskState } from "./registry.ts";
import type { Opening } from "./claimant.ts";

export type SplitPhase = (typeof SPLIT_PHASES)[number];

/** An objection against a posted split; what the fields mean stands with `IPool.Objection`. */
export interface Objection {
  readonly id: number;
  readonly kind: (typeof OBJECTION_KINDS)[number];
  readonly state: (typeof OBJECTION_STATES)[number];
  readonly by: Address;
  /** Unix time in seconds */
  readonly deadline: number;
  readonly index: number;
  readonly points: bigint;
}

/** A demand for a leaf, as it was raised. */
export interface LeafDemand {
  readonly id: number;
  readonly by: Address;
  readonly index: number;
  readonly bond: bigint;
  /** Unix time in seconds before which the leaf must be shown */
  readonly deadline: number;
}

const objectionFrom = (view: Omit<Objection, "kind" | "state"> & { kind: number; state: number }): Objection => ({
  ...view,
  kind: OBJECTION_KINDS[view.kind]!,
  state: OBJECTION_STATES[view.state]!,
});

export interface PoolTerms {
  readonly receiptKey: Address;
  readonly feeBps: number;
  /** seconds in which a split can be objected to, and in which an objection must be answered */
  readonly objectionWindow: number;
  readonly settlementWindow: number;
  readonly receiptsWindow: number;
  /** the points scheme's text (points-schemes.ts): "performance", … */
  readonly scheme: string;
}

/** About 100,000 gas each, at a depth of 20: far below what a block holds. */
const ANSWERS_AT_ONCE = 40;

/** Where the account's pool of that name is, or would be: one account, one name, one pool. */
async function locatePool(chain: ChainClient, name: string) {
  const factory = { abi: poolFactoryAbi, address: chain.deployment.poolFactory } as const;
  const salt = keccak256(Buffer.from(name, "utf8"));
  const pool = await chain.read({ ...factory, functionName: "predict", args: [chain.account, salt] });
  const exists = await chain.read({ ...factory, functionName: "isPool", args: [pool] });
  return { factory, salt, pool, exists };
}

/**
 * Creates the account's pool, or finds it where it was created before.
 * @throws PonasError bad-input where it was created with another points scheme
 */
export async function ensurePool(chain: ChainClient, name: string, terms: PoolTerms): Promise<Address> {
  const { factory, salt, pool, exists } = await locatePool(chain, name);
  const { scheme, ...rest } = terms;
  const schemeId = keccak256(Buffer.from(scheme, "utf8"));
  if (exists) {
    const before = await chain.read({ abi: poolAbi, address: pool, functionName: "terms", args: [] });
    if (before.schemeId === schemeId) return pool;
    throw new PonasError("bad-input", `The pool "${name}" was created with another points scheme than "${scheme}".`, {
      cure: "name its scheme and its parameters with --scheme …, or create a pool with another --title",
    });
  }
  const params = { ...rest, manager: chain.account, schemeId };
  await chain.send({ ...factory, functionName: "create", args: [params, salt] });
  return pool;
}

/** @throws PonasError not-found where the account has no pool of that name */
export async function findPool(chain: ChainClient, name: string): Promise<Address> {
  const { pool, exists } = await locatePool(chain, name);
  if (exists) return pool;
  throw new PonasError("not-found", `The account ${chain.account} has no pool called "${name}".`, {
    cure: "name it as it was created, with --title",
  });
}

/** @throws PonasError bad-input where the address is no pool of the deployment's factory */
export async function checkPool(chain: ChainClient, pool: Address): Promise<void> {
  const factory = { abi: poolFactoryAbi, address: chain.deployment.poolFactory } as const;
  if (await chain.read({ ...factory, functionName: "isPool", args: [pool] })) return;
  throw new PonasError("bad-input", `${pool} is not a pool of this deployment.`, {
    cure: "ask the manager for the pool's address and the deployment file",
  });
}

export type PoolContract = ReturnType<typeof createPoolContract>;

export function createPoolContract(chain: ChainClient, address: Address) {
  const at = { abi: poolAbi, address } as const;
  const registry = createRegistry(chain);

  const account = async (taskId: bigint) => {
    const view = await chain.read({ ...at, functionName: "accountOf", args: [taskId] });
    return { ...view, phase: SPLIT_PHASES[view.phase]! };
  };

  /** Tops the manager's float up so that `amount` can be paid from it. Within {@link paying}. @throws PonasError funds */
  async function ensureFloat(amount: bigint): Promise<void> {
    const float = await chain.read({ ...at, functionName: "float", args: [] });
    if (float >= amount) return;
    await registry.approve(address, amount - float);
    await chain.send({ ...at, functionName: "deposit", args: [amount - float] });
  }

  return {
    address,
    /** what the signatures between manager and miners are bound to */
    identity: { chainId: chain.domain.chainId, pool: address },
    account,

    commit: (task: TaskState, commitment: Hex) =>
      paying(chain, async () => {
        await ensureFloat(task.commitBond + task.commitFee);
        await chain.send({ ...at, functionName: "commit", args: [task.id, commitment] });
      }),

    reveal: (task: TaskState, opening: Opening, claimedCorrect: number, seal: Hex) =>
      paying(chain, async () => {
        if (isCandidate(task, claimedCorrect)) await ensureFloat(task.candidateBond);
        const args = [task.id, asArguments(opening), claimedCorrect, seal] as const;
        await chain.send({ ...at, functionName: "reveal", args });
      }),

    /** The manager's own money in the pool that is not bound in a task. */
    float: (): Promise<bigint> => chain.read({ ...at, functionName: "float", args: [] }),
    /** Moves a part of the float to the manager's credit. */
    withdrawFloat: (amount: bigint) => chain.send({ ...at, functionName: "withdrawFloat", args: [amount] }),

    /** Whether the task is over and its block this pool's. */
    hasWon: async (taskId: bigint): Promise<boolean> => {
      const { phase, winner } = await registry.task(taskId);
      return phase === "Confirmed" && winner === address;
    },

    /** Fetches what an ended task owes the pool; anyone may. */
    collect: (taskId: bigint) => chain.send({ ...at, functionName: "collect", args: [taskId] }),

    /** Fetches what the disputes owe the pool, into its float; anyone may. */
    collectDisputes: () => chain.send({ ...at, functionName: "collectDisputes", args: [] }),

    /** Posts a split, and sees to it that the float has the stake on it. @throws PonasError funds */
    postSplit: (taskId: bigint, { root, depth, count, sum }: PointsTree, sharesCid: Uint8Array) =>
      paying(chain, async () => {
        const { reward } = await account(taskId);
        await ensureFloat(await chain.read({ ...at, functionName: "stakeFor", args: [reward] }));
        await chain.send({
          ...at,
          functionName: "postSplit",
          args: [taskId, { root, depth, count, sum }, bytesToHex(sharesCid)],
        });
      }),

    /** CID of the shares file of the split that pays a task's reward, or of the one that was posted for it. */
    sharesCid: async (ofTask: bigint): Promise<Hex | undefined> => {
      const { splitTask } = await account(ofTask);
      const taskId = splitTask === 0n ? ofTask : splitTask;
      const logs = await chain.client.getContractEvents({
        ...at,
        eventName: "SplitPosted",
        args: { taskId },
        fromBlock: BigInt(chain.deployment.fromBlock),
      });
      return logs.at(-1)?.args.sharesCid;
    },

    // ————— Objections —————

    terms: () => chain.read({ ...at, functionName: "terms", args: [] }),

    /** What demanding a leaf of this reward's split costs. */
    bondFor: (reward: bigint): Promise<bigint> => chain.read({ ...at, functionName: "bondFor", args: [reward] }),

    /** Open objections, those that run out first at the front; at most `limit`. */
    openObjections: async (taskId: bigint, limit = 100): Promise<Objection[]> =>
      (await chain.read({ ...at, functionName: "openObjections", args: [taskId, BigInt(limit)] })).map(objectionFrom),

    objectionOf: async (taskId: bigint, id: number): Promise<Objection> =>
      objectionFrom(await chain.read({ ...at, functionName: "objectionOf", args: [taskId, id] })),

    /** Every demand for a leaf of a task's split, whatever became of it, oldest first. */
    leafDemands: async (taskId: bigint): Promise<LeafDemand[]> => {
      const logs = await chain.client.getContractEvents({
        ...at,
        eventName: "LeafDemanded",
        args: { taskId },
        fromBlock: BigInt(chain.deployment.fromBlock),
      });
      return logs.map(({ args: { id, by, index, bond, deadline } }) => ({
        id: id!,
        by: by!,
        index: index!,
        bond: bond!,
        deadline: deadline!,
      }));
    },

    /** The points that were demanded, or shown, for a miner; 0 where none were. */
    demandedOf: (taskId: bigint, miner: Address): Promise<bigint> =>
      chain.read({ ...at, functionName: "demandedOf", args: [taskId, miner] }),

    /** Demands that the posted split has the points of a miner's receipt; anyone may. */
    objectMissing: (
      taskId: bigint,
      receipt: { miner: Address; sequence: number; points: bigint; signature: Hex },
    ): Promise<unknown> =>
      chain.send({
        ...at,
        functionName: "objectMissing",
        args: [taskId, receipt.miner, BigInt(receipt.sequence), receipt.points, receipt.signature],
      }),

    /** Demands a leaf of the posted split; the account pays the bond. @throws PonasError funds */
    demandLeaf: (taskId: bigint, index: number) =>
      paying(chain, async () => {
        const { reward } = await account(taskId);
        await registry.approve(address, await chain.read({ ...at, functionName: "bondFor", args: [reward] }));
        await chain.send({ ...at, functionName: "demandLeaf", args: [taskId, index] });
      }),

    /** Answers open objections with leaves of the posted tree, many in one transaction; anyone may. */
    answer: async (taskId: bigint, tree: PointsTree, answers: readonly { id: number; index: number }[]) => {
      for (let from = 0; from < answers.length; from += ANSWERS_AT_ONCE) {
        const calls = answers.slice(from, from + ANSWERS_AT_ONCE).map(({ id, index }) => {
          const { account: miner, points } = tree.leaves[index]!;
          const args = [taskId, id, { index, miner, points }, tree.proof(index)] as const;
          return encodeFunctionData({ abi: poolAbi, functionName: "answer", args });
        });
        await chain.send({ ...at, functionName: "multicall", args: [calls] });
      }
    },

    finaliseFall: (taskId: bigint) => chain.send({ ...at, functionName: "finaliseFall", args: [taskId] }),
    returnBond: (taskId: bigint, id: number) => chain.send({ ...at, functionName: "returnBond", args: [taskId, id] }),

    /** The task of the last final split by which somebody has claimed; 0 where there is none. */
    lastSplit: (): Promise<bigint> => chain.read({ ...at, functionName: "lastSplit", args: [] }),

    // ————— Claims —————

    isClaimed: (taskId: bigint, index: number) =>
      chain.read({ ...at, functionName: "isClaimed", args: [taskId, index] }),

    claim: (
      taskId: bigint,
      leaf: { index: number; miner: Address; points: bigint },
      siblings: readonly { hash: Hex; sum: bigint }[],
    ) => chain.send({ ...at, functionName: "claim", args: [taskId, leaf, [...siblings]] }),

    reclaim: (taskId: bigint) => chain.send({ ...at, functionName: "reclaim", args: [taskId] }),
    claimFee: (taskId: bigint) => chain.send({ ...at, functionName: "claimFee", args: [taskId] }),

    /** Sequence number of the receipt that a miner handed in and was not paid for yet; 0 where there is none. */
    receiptOf: async (taskId: bigint, miner: Address): Promise<number> => {
      const [sequence, points] = await chain.read({ ...at, functionName: "receiptOf", args: [taskId, miner] });
      return points === 0n ? 0 : Number(sequence);
    },

    submitReceipt: (taskId: bigint, receipt: { sequence: bigint; points: bigint; signature: Hex }) =>
      chain.send({
        ...at,
        functionName: "submitReceipt",
        args: [taskId, chain.account, receipt.sequence, receipt.points, receipt.signature],
      }),
    claimByReceipt: (taskId: bigint) =>
      chain.send({ ...at, functionName: "claimByReceipt", args: [taskId, chain.account] }),

    credit: (owner: Address): Promise<bigint> => chain.read({ ...at, functionName: "creditOf", args: [owner] }),
    withdraw: () => chain.send({ ...at, functionName: "withdraw", args: [] }),
  };
}
