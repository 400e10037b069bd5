/**
 * A miner whose networks are none of the task's space, which it claims with all the same: it searches another space, for
 * longer than the task asks, and its own evaluation does not look at the rules.
 *
 *   node forger.ts --epochs N --seed N --commit-margin S, and the options of a daemon
 */
import { Command } from "commander";

import { runSoloMiner } from "../../../offchain/agents/solo-miner.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { openStorage, type StorageOptions } from "../../../offchain/agents/storage.ts";
import { createTaskFiles } from "../../../offchain/agents/task-files.ts";
import {
  addChainOptions,
  addStorageOptions,
  createContext,
  openSession,
  type DaemonOptions,
} from "../../../offchain/cli/context.ts";
import { createTrainingWorker } from "../../../offchain/training/worker.ts";
import { FORGED_FILTERS, withForgedRules } from "./forged-rules.ts";

interface Options extends DaemonOptions, StorageOptions {
  readonly epochs: string;
  readonly seed: string;
  readonly commitMargin: string;
}

const context = createContext();
const command = new Command("forger")
  .requiredOption("--epochs <n>", "epochs of each network")
  .requiredOption("--seed <n>", "of its search")
  .requiredOption("--commit-margin <s>", "seconds before the end of training");
addStorageOptions(addChainOptions(command)).action(async (options: Options) => {
  const { signal } = context;
  const { chain, log, stateDir } = await openSession("forger", options, context);
  await using storage = await openStorage({ ...options, stateDir, log, signal });
  const { store } = storage;
  const honest = createTaskFiles({ store, signal, timeoutMs: 120_000 });
  const worker = createTrainingWorker();
  try {
    log.info({ event: "ready" }, `forging as ${chain.account}`);
    await runSoloMiner({
      ...{ chain, worker, store, log, signal },
      files: {
        ...withForgedRules(honest),
        descriptor: async (task) => {
          const told = await honest.descriptor(task);
          const training = { ...told.training, epochs: Number(options.epochs) };
          return { ...told, training, space: { ...told.space, filters: [FORGED_FILTERS] } };
        },
      },
      state: createStateFolder(stateDir),
      seed: Number(options.seed),
      commitMargin: Number(options.commitMargin),
    });
  } finally {
    await worker.close();
  }
});
try {
  await command.parseAsync();
} catch (error) {
  if (!context.interrupted()) throw error;
} finally {
  context.dispose();
}
