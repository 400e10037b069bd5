/** A pool's contract as its manager and its miners see it. */
import { bytesToHex } from "viem";

import { poolAbi, poolFactoryAbi, SPLIT_PHASES } from "../protocol/abi.ts";
import { keccak256, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { PointsTree } from "../pool/points-tree.ts";
import { asArguments, createRegistry, isCandidate, paying, type TaskState } from "./registry.ts";
import type { Opening } from "./claimant.ts";

export type SplitPhase = (typeof SPLIT_PHASES)[number];

export interface PoolTerms {
  readonly receiptKey: Address;
  readonly feeBps: number;
  /** seconds */
  readonly objectionWindow: number;
  readonly settlementWindow: number;
  readonly receiptsWindow: number;
  /** name of the points scheme: "performance" */
  readonly scheme: string;
}

/** Where the account's pool of that name is, or would be: one account, one name, one pool. */
async function locatePool(chain: ChainClient, name: string) {
  const factory = { abi: poolFactoryAbi, address: chain.deployment.poolFactory } as const;
  const salt = keccak256(Buffer.from(name, "utf8"));
  const pool = await chain.read({ ...factory, functionName: "predict", args: [chain.account, salt] });
  const exists = await chain.read({ ...factory, functionName: "isPool", args: [pool] });
  return { factory, salt, pool, exists };
}

/** Creates the account's pool, or finds it where it was created before. */
export async function ensurePool(chain: ChainClient, name: string, terms: PoolTerms): Promise<Address> {
  const { factory, salt, pool, exists } = await locatePool(chain, name);
  if (exists) return pool;
  const { scheme, ...rest } = terms;
  const params = { ...rest, manager: chain.account, schemeId: keccak256(Buffer.from(scheme, "utf8")) };
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

    collect: (taskId: bigint) => chain.send({ ...at, functionName: "collect", args: [taskId] }),

    postSplit: (taskId: bigint, { root, depth, count, sum }: PointsTree, sharesCid: Uint8Array) =>
      chain.send({
        ...at,
        functionName: "postSplit",
        args: [taskId, { root, depth, count, sum }, bytesToHex(sharesCid)],
      }),

    /** CID of the shares file of a posted split, from its event. */
    sharesCid: async (taskId: bigint): Promise<Hex | undefined> => {
      const logs = await chain.client.getContractEvents({
        ...at,
        eventName: "SplitPosted",
        args: { taskId },
        fromBlock: BigInt(chain.deployment.fromBlock),
      });
      return logs.at(-1)?.args.sharesCid;
    },

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
