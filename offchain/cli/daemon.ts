/** How every agent with a key begins and ends as a process: its account and folder held, its files fetched and kept. */
import { join } from "node:path";

import { createStateFolder, tieToDeployment, type StateFolder } from "../agents/state-folder.ts";
import { openStorage, type Storage, type StorageOptions } from "../agents/storage.ts";
import { createTaskFiles, type TaskFiles } from "../agents/task-files.ts";
import { takeLock } from "../protocol/lock.ts";
import type { Session } from "./context.ts";

/** Who it is, as a refusal names it, and whether its folder's content belongs to one deployment. */
const ROLES = {
  validator: { who: "The validator's", tied: false },
  challenger: { who: "The challenger's", tied: false },
  miner: { who: "The miner's", tied: true },
  pool: { who: "The pool manager's", tied: true },
} as const;

/** How long a part of a task may take to arrive. */
const FILE_TIMEOUT_MS = 120_000;

/** An account's folder, which no second process of that role may use meanwhile. */
export interface HeldState extends Disposable {
  readonly state: StateFolder;
}

/**
 * Makes the session's folder this process's own until it is disposed of; after a kill −9 the next process takes it over.
 * @throws PonasError bad-input where a living process has it; chain-mismatch where it belongs to another deployment
 */
export async function holdState(role: keyof typeof ROLES, { chain, stateDir }: Session): Promise<HeldState> {
  const { who, tied } = ROLES[role];
  const state = createStateFolder(stateDir);
  const unlock = takeLock(join(stateDir, `${role}.lock`), `${who} account ${chain.account}`);
  try {
    if (tied) await tieToDeployment(state, chain);
  } catch (error) {
    unlock();
    throw error;
  }
  return { state, [Symbol.dispose]: unlock };
}

/** Storage, and the tasks' files in it. */
export interface DaemonFiles extends Storage {
  readonly files: TaskFiles;
}

/** Connects to storage, or starts an IPFS node in the session's folder; disposing stops what was started. */
export async function openFiles(
  options: StorageOptions,
  { log, stateDir }: Session,
  signal: AbortSignal,
): Promise<DaemonFiles> {
  const storage = await openStorage({ ...options, stateDir, log, signal });
  const files = createTaskFiles({ store: storage.store, signal, timeoutMs: FILE_TIMEOUT_MS });
  return { ...storage, files };
}
