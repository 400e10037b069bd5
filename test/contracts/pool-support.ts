/** What a pool's manager and miners do: shared by the tests of pools and of states. */
import type { PointsTree } from "../../offchain/pool/points-tree.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import type { IPool, Pool } from "../../types/ethers-contracts/index.ts";
import { ethers, goTo, modelOf, REWARD, type Model, type World } from "./support.ts";

export const good = modelOf("good", 36);
export const accountOf = (index: number): Address =>
  ethers.getAddress(ethers.zeroPadValue(ethers.toBeHex(index + 1000), 20)) as Address;

export const splitOf = ({ root, depth, count, sum }: PointsTree): IPool.SplitStruct => ({ root, depth, count, sum });
export const leafOf = (tree: PointsTree, index: number): IPool.PointsLeafStruct => ({
  index,
  miner: tree.leaves[index]!.account,
  points: tree.leaves[index]!.points,
});

export const commitPool = (w: World, pool: Pool, taskId: bigint, model: Model) =>
  pool.connect(w.manager).commit(taskId, w.commitmentOf(taskId, pool.target as string, model));

/** The pool commits to the model and reveals it, and is the candidate that is examined. */
export async function examinePool(w: World, pool: Pool, taskId: bigint, model: Model): Promise<void> {
  await commitPool(w, pool, taskId, model);
  await goTo((await w.schedule(taskId)).trainingEnd);
  await w.release(taskId);
  await goTo((await w.schedule(taskId)).revealStart);
  const seal = w.claimSealOf(taskId, pool.target as string, model);
  await pool.connect(w.manager).reveal(taskId, model.opening, model.correct, seal);
  await goTo((await w.schedule(taskId)).revealEnd);
  await w.advance(taskId);
}

/** The pool has won a task; its reward waits in the registry. */
export async function win(w: World, pool: Pool, model: Model = good, reward = REWARD): Promise<bigint> {
  const taskId = await w.toTraining({ reward });
  await examinePool(w, pool, taskId, model);
  await w.toConfirmable(taskId, model);
  await w.registry.confirm(taskId);
  return taskId;
}

/** A points receipt, signed by the pool's receipt key. */
export async function receiptOf(w: World, pool: Pool, taskId: bigint, miner: string, sequence: bigint, points: bigint) {
  return w.receiptSigner.signTypedData(
    { name: "ponas pool", version: "1", chainId: w.domain.chainId, verifyingContract: await pool.getAddress() },
    {
      Points: [
        { name: "taskId", type: "uint256" },
        { name: "miner", type: "address" },
        { name: "sequence", type: "uint64" },
        { name: "points", type: "uint128" },
      ],
    },
    { taskId, miner, sequence, points },
  );
}

/** Shows a miner's points receipt against the posted split; anyone may send it. */
export const objectMissing = async (w: World, pool: Pool, taskId: bigint, miner: string, sequence = 1n, points = 5n) =>
  pool
    .connect(w.stranger)
    .objectMissing(taskId, miner, sequence, points, await receiptOf(w, pool, taskId, miner, sequence, points));
