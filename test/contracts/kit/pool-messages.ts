/** What people send to a pool, and what becomes of copies. */
import { buildPointsTree } from "../../../offchain/pool/points-tree.ts";
import type { Address } from "../../../offchain/protocol/bytes.ts";
import type { IPool, Pool } from "../../../types/ethers-contracts/index.ts";
import { commitPool, good, leafOf, receiptOf, splitOf, win } from "../pool-support.ts";
import { cidOf, goTo, REWARD, units, type Signer, type World } from "../support.ts";
import type { Copied, Message } from "./copied-messages.ts";

const POINTS = 5n;

/** mia and max have the same points. */
const treeOf = ({ mia, max }: World) =>
  buildPointsTree([mia, max].map(({ address }) => ({ account: address as Address, points: POINTS })));

/** A message to a pool that has won a task and collected its reward. */
const collected =
  (arrange: (w: World, pool: Pool, taskId: bigint) => Promise<Omit<Message, "to">>) =>
  async (w: World): Promise<Message> => {
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    return { to: pool, ...(await arrange(w, pool, taskId)) };
  };

/** A message to a pool whose honest split is posted and can be objected to. */
const posted = (arrange: (w: World, pool: Pool, taskId: bigint) => Promise<Omit<Message, "to">>) =>
  collected(async (w, pool, taskId) => {
    await pool.connect(w.manager).postSplit(taskId, splitOf(treeOf(w)), cidOf("shares"));
    await w.token.connect(w.stranger).approve(pool, units(1_000));
    return arrange(w, pool, taskId);
  });

const end = async (pool: Pool, taskId: bigint): Promise<void> => goTo((await pool.accountOf(taskId)).deadline);

const shown = async (w: World, pool: Pool, taskId: bigint, by: Signer): Promise<Omit<Message, "to">> => ({
  by,
  args: [taskId, w.mia, 1n, POINTS, await receiptOf(w, pool, taskId, w.mia.address, 1n, POINTS)],
});

/** A demanded leaf that was not answered has brought the split down. */
const fallen = (arrange: (w: World, pool: Pool, taskId: bigint) => Promise<Omit<Message, "to">>) =>
  posted(async (w, pool, taskId) => {
    await pool.connect(w.stranger).demandLeaf(taskId, 0);
    await pool.connect(w.stranger).demandLeaf(taskId, 1);
    await end(pool, taskId);
    await end(pool, taskId);
    return arrange(w, pool, taskId);
  });

/** As an argument: what a call answers with cannot be sent. */
export const termsOf = (terms: IPool.PoolParamsStructOutput): IPool.PoolParamsStruct => ({
  manager: terms.manager,
  receiptKey: terms.receiptKey,
  feeBps: terms.feeBps,
  objectionWindow: terms.objectionWindow,
  settlementWindow: terms.settlementWindow,
  receiptsWindow: terms.receiptsWindow,
  schemeId: terms.schemeId,
});

const MANAGERS = { copy: "OnlyManager", original: "done" };

export const POOL: Record<string, Copied> = {
  initialize: {
    copy: "InvalidInitialization",
    original: "InvalidInitialization",
    arrange: async (w) => {
      const pool = await w.createPool();
      return { to: pool, by: w.manager, args: [termsOf(await pool.terms())] };
    },
  },
  deposit: {
    copy: "done",
    original: "done",
    arrange: async (w) => ({ to: await w.createPool(), by: w.manager, args: [5n] }),
  },
  withdrawFloat: { ...MANAGERS, arrange: async (w) => ({ to: await w.createPool(), by: w.manager, args: [5n] }) },
  setTerms: {
    ...MANAGERS,
    arrange: async (w) => ({ to: await w.createPool(), by: w.manager, args: [100, w.receiptSigner] }),
  },
  commit: {
    ...MANAGERS,
    arrange: async (w) => {
      const pool = await w.createPool();
      const taskId = await w.toTraining();
      return { to: pool, by: w.manager, args: [taskId, w.commitmentOf(taskId, await pool.getAddress(), good)] };
    },
  },
  reveal: {
    ...MANAGERS,
    arrange: async (w) => {
      const pool = await w.createPool();
      const taskId = await w.toTraining();
      await commitPool(w, pool, taskId, good);
      await goTo((await w.schedule(taskId)).trainingEnd);
      await w.release(taskId);
      await goTo((await w.schedule(taskId)).revealStart);
      const seal = w.claimSealOf(taskId, await pool.getAddress(), good);
      return { to: pool, by: w.manager, args: [taskId, good.opening, good.correct, seal] };
    },
  },
  collect: {
    copy: "done",
    original: "WrongSplitPhase",
    arrange: async (w) => {
      const pool = await w.createPool();
      return { to: pool, by: w.mia, args: [await win(w, pool)] };
    },
  },
  collectDisputes: {
    copy: "done",
    original: "done",
    arrange: async (w) => ({ to: await w.createPool(), by: w.manager, args: [] }),
  },
  postSplit: {
    ...MANAGERS,
    arrange: collected((w, _, taskId) =>
      Promise.resolve({ by: w.manager, args: [taskId, splitOf(treeOf(w)), cidOf("shares")] }),
    ),
  },
  claim: {
    copy: "done",
    original: "AlreadyClaimed",
    arrange: posted(async (w, pool, taskId) => {
      await end(pool, taskId);
      const tree = treeOf(w);
      const index = tree.leaves.findIndex(({ account }) => account === w.mia.address);
      return { by: w.mia, args: [taskId, leafOf(tree, index), tree.proof(index)] };
    }),
  },
  claimFee: {
    copy: "done",
    original: "FeeAlreadyPaid",
    arrange: posted(async (w, pool, taskId) => {
      await end(pool, taskId);
      return { by: w.manager, args: [taskId] };
    }),
  },
  objectMissing: {
    copy: "done",
    original: "AlreadyDemanded",
    arrange: posted((w, pool, taskId) => shown(w, pool, taskId, w.mia)),
  },
  // What was demanded is shown to everybody: whoever demands second has it for nothing.
  demandLeaf: {
    copy: "done",
    original: "LeafAlreadyDemanded",
    gain: REWARD / 1000n,
    arrange: posted((w, _, taskId) => Promise.resolve({ by: w.stranger, args: [taskId, 0] })),
  },
  // A batch of answers must not fail because somebody sent one of them first.
  answer: {
    copy: "done",
    original: "done",
    arrange: posted(async (w, pool, taskId) => {
      await pool.connect(w.stranger).demandLeaf(taskId, 0);
      const tree = treeOf(w);
      return { by: w.manager, args: [taskId, 1, leafOf(tree, 0), tree.proof(0)] };
    }),
  },
  finaliseFall: {
    copy: "done",
    original: "WrongSplitPhase",
    arrange: fallen((w, _, taskId) => Promise.resolve({ by: w.stranger, args: [taskId] })),
  },
  returnBond: {
    copy: "done",
    original: "NotOpen",
    arrange: fallen(async (w, pool, taskId) => {
      await pool.finaliseFall(taskId);
      return { by: w.stranger, args: [taskId, 2] };
    }),
  },
  refuteSplit: {
    copy: "OnlyDisputes",
    original: "OnlyDisputes",
    arrange: posted((w, _, taskId) => Promise.resolve({ by: w.stranger, args: [taskId, w.stranger] })),
  },
  submitReceipt: {
    copy: "done",
    original: "StaleReceipt",
    arrange: collected(async (w, pool, taskId) => {
      await end(pool, taskId);
      return shown(w, pool, taskId, w.mia);
    }),
  },
  claimByReceipt: {
    copy: "done",
    original: "WrongSplitPhase",
    arrange: collected(async (w, pool, taskId) => {
      await end(pool, taskId);
      const { args } = await shown(w, pool, taskId, w.mia);
      await pool.getFunction("submitReceipt")(...(args as Parameters<Pool["submitReceipt"]>));
      await end(pool, taskId);
      return { by: w.mia, args: [taskId, w.mia] };
    }),
  },
  reclaim: {
    copy: "done",
    original: "WrongSplitPhase",
    arrange: collected(async (w, pool, taskId) => {
      await end(pool, taskId);
      await end(pool, taskId);
      return { by: w.manager, args: [taskId] };
    }),
  },
};
