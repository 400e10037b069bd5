import { Command } from "commander";

import { openStorage, type StorageOptions } from "../../../offchain/agents/storage.ts";
import { addChainOptions, addStorageOptions, createContext, openSession } from "../../../offchain/cli/context.ts";
import type { DaemonOptions, Session } from "../../../offchain/cli/context.ts";
import type { ModelStore } from "../../../offchain/storage/model-store.ts";

/**
 * Runs what is no command of `ponas` as one of its daemons, from the command line.
 * @param flags required ones beside those of a daemon, as commander writes them
 */
export async function runDaemon<Own extends object>(
  name: string,
  flags: readonly string[],
  work: (options: Own & Session & { readonly store: ModelStore; readonly signal: AbortSignal }) => Promise<void>,
): Promise<void> {
  const context = createContext();
  const { signal } = context;
  const command = new Command(name);
  for (const flag of flags) command.requiredOption(flag);
  addStorageOptions(addChainOptions(command)).action(async (options: Own & DaemonOptions & StorageOptions) => {
    const session = await openSession(name, options, context);
    await using storage = await openStorage({ ...options, ...session, signal });
    await work({ ...options, ...session, store: storage.store, signal });
  });
  try {
    await command.parseAsync();
  } catch (error) {
    if (!context.interrupted()) throw error;
  } finally {
    context.dispose();
  }
}
