/** An outsider's objection: anyone who pays a bond may demand any leaf of a posted split (docs/pool.md). */
import { PonasError } from "../protocol/errors.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import type { LeafDemand, PoolContract, SplitPhase } from "./pool-contract.ts";

/** Why a split cannot be objected to. */
const NO_OBJECTION: Record<Exclude<SplitPhase, "Objection">, string> = {
  None: "the pool has not taken part in it",
  Committed: "its reward was not collected yet",
  AwaitSplit: "no split was posted yet",
  Answering: "the window for objections is over",
  Claims: "its split is final",
  Fallen: "its split has fallen already",
  Receipts: "it has no split, and is paid by the miners' receipts",
  ReceiptClaims: "it has no split, and is paid by the miners' receipts",
  Unclaimed: "it has no split, and nobody handed in a receipt",
  Closed: "nothing of it is left to be split",
};

/**
 * Demands a leaf of a task's posted split; the account pays the bond, of which nothing comes back where the leaf is
 * shown. Where it is not shown in time the split falls, and {@link recoverBonds} brings the bond back.
 * @param index of the leaf, from 0
 * @throws PonasError pool where the split cannot be objected to, or the leaf was demanded before; bad-input where there
 * is no such leaf; funds
 */
export async function demandLeaf(
  pool: Pick<PoolContract, "account" | "leafDemands" | "demandLeaf">,
  taskId: bigint,
  index: number,
): Promise<LeafDemand> {
  const { phase, split } = await pool.account(taskId);
  if (phase !== "Objection") {
    throw new PonasError("pool", `The reward of task ${taskId} cannot be objected to: ${NO_OBJECTION[phase]}.`);
  }
  if (index >= split.count) {
    throw new PonasError(
      "bad-input",
      `The split of task ${taskId} has no leaf ${index}: it has ${split.count}, numbered from 0.`,
    );
  }
  const known = (await pool.leafDemands(taskId)).find((demand) => demand.index === index);
  if (known !== undefined) {
    throw new PonasError(
      "pool",
      `Leaf ${index} of task ${taskId} was demanded already, by ${known.by}: once shown, it is shown to everybody.`,
    );
  }
  await pool.demandLeaf(taskId, index);
  const raised = (await pool.leafDemands(taskId)).find((demand) => demand.index === index);
  if (raised !== undefined) return raised;
  throw new PonasError("integrity", `The demand of leaf ${index} of task ${taskId} was mined without its event.`);
}

/**
 * Brings back what an account put into demands for leaves of a split that fell, with half of the manager's stake where
 * it fell by one of them; books the fall where nobody has.
 * @returns what was withdrawn
 * @throws PonasError pool where the split did not fall
 */
export async function recoverBonds(
  pool: Pick<
    PoolContract,
    "account" | "leafDemands" | "objectionOf" | "finaliseFall" | "returnBond" | "credit" | "withdraw"
  >,
  { account: owner }: Pick<ChainClient, "account">,
  taskId: bigint,
): Promise<bigint> {
  const { phase, fellAt } = await pool.account(taskId);
  if (phase === "Fallen") await pool.finaliseFall(taskId);
  else if (fellAt === 0) {
    throw new PonasError("pool", `No bond of task ${taskId} comes back: its split has not fallen.`, {
      cure: "half of an answered demand's bond is burned, and half is the manager's; an open one waits for its deadline",
    });
  }
  for (const { id, by } of await pool.leafDemands(taskId)) {
    if (isOwn(by, owner) && (await pool.objectionOf(taskId, id)).state === "Open") await pool.returnBond(taskId, id);
  }
  const credit = await pool.credit(owner);
  if (credit > 0n) await pool.withdraw();
  return credit;
}

const isOwn = (by: Address, owner: Address): boolean => by.toLowerCase() === owner.toLowerCase();
