/** The split of a reward as its shares file has it, and the manager's answers to objections against it. */
import { isAddressEqual } from "viem";
import { z } from "zod";

import { buildPointsTree, parsePoints, type PointsTree } from "../pool/points-tree.ts";
import { parseWith } from "../protocol/architecture.ts";
import type { Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import type { Objection, PoolContract } from "./pool-contract.ts";
import { binaryCid } from "./task-descriptor.ts";

export interface PostedSplitOptions {
  readonly pool: Pick<PoolContract, "sharesCid">;
  readonly store: ModelStore;
  readonly signal: AbortSignal;
  /** how long the file may take to arrive; the store's own patience where it is not given */
  readonly timeoutMs?: number | undefined;
}

/** Of a shares file: a few kilobytes a share. */
const MAX_SHARES_FILE_BYTES = 1 << 28;

const pointsSchema = z.looseObject({ points: z.array(z.unknown()) });

/** The tree under a posted root, and the file that the split names, whose points make it. */
export interface PostedSplit {
  readonly tree: PointsTree;
  readonly bytes: Uint8Array;
}

/**
 * The tree under a posted root, from the file that its split names.
 * @throws PonasError not-found, bad-input or integrity where the file is not what makes the root; store-unreachable
 */
export async function fetchSplit(
  taskId: bigint,
  root: Hex,
  { pool, store, signal, timeoutMs }: PostedSplitOptions,
): Promise<PostedSplit> {
  const what = `The shares file of task ${taskId}`;
  const cid = await pool.sharesCid(taskId);
  if (cid === undefined) throw new PonasError("not-found", `The split of task ${taskId} names no shares file.`);
  const bytes = await store.get(binaryCid(cid, what), { maxBytes: MAX_SHARES_FILE_BYTES, signal, timeoutMs });
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new PonasError("bad-input", `${what} is not JSON.`, { cause });
  }
  const tree = buildPointsTree(parsePoints(parseWith(pointsSchema, json, what).points));
  if (tree.root !== root) throw new PonasError("integrity", `${what} has another root than the split on chain.`);
  return { tree, bytes };
}

/** The leaf that answers an objection; undefined where the tree has none. */
export function leafFor(tree: PointsTree, { kind, by, index, points }: Objection): number | undefined {
  if (kind === "Leaf") return index < tree.count ? index : undefined;
  const found = tree.leaves.findIndex((leaf) => isAddressEqual(leaf.account, by) && leaf.points >= points);
  return found < 0 ? undefined : found;
}

/**
 * Answers every open objection against a posted split that its tree has an answer to; nothing where none is open.
 * @throws PonasError pool where one is open that it has no answer to; what {@link fetchSplit} throws
 */
export async function answerObjections(
  taskId: bigint,
  root: Hex,
  options: PostedSplitOptions & {
    readonly pool: Pick<PoolContract, "sharesCid" | "openObjections" | "answer">;
    readonly log: Log;
  },
): Promise<void> {
  const { pool, log } = options;
  const open = await pool.openObjections(taskId);
  if (open.length === 0) return;
  const { tree } = await fetchSplit(taskId, root, options);
  const answers = open.flatMap((objection) => {
    const index = leafFor(tree, objection);
    return index === undefined ? [] : [{ id: objection.id, index }];
  });
  if (answers.length > 0) {
    await pool.answer(taskId, tree, answers);
    log.info({ event: "objection", taskId: String(taskId) }, `answered ${answers.length} objections of task ${taskId}`);
  }
  const lost = open.find((objection) => leafFor(tree, objection) === undefined);
  if (lost === undefined) return;
  throw new PonasError(
    "pool",
    `The split of task ${taskId} falls: it has no leaf of ${lost.by} with the ${lost.points} points of a receipt.`,
  );
}
