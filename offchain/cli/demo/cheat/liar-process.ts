/**
 * The liar as a process. It is no command of `ponas`: it is there for `ponas demo --cheat`, and for tests.
 *
 *   node offchain/cli/demo/cheat/liar-process.ts --epochs N --seed N --commit-margin S, and the options of a daemon
 */
import { Command } from "commander";

import { createDisputesContract } from "../../../agents/disputes-contract.ts";
import { createStateFolder } from "../../../agents/state-folder.ts";
import { openStorage, type StorageOptions } from "../../../agents/storage.ts";
import { createTaskFiles } from "../../../agents/task-files.ts";
import { EXIT, PonasError, explainError } from "../../../protocol/errors.ts";
import { createTrainingWorker } from "../../../training/worker.ts";
import {
  addChainOptions,
  addStorageOptions,
  createContext,
  openSession,
  wholeNumber,
  type DaemonOptions,
} from "../../context.ts";
import { runLiar } from "./liar.ts";

interface Options extends DaemonOptions, StorageOptions {
  readonly epochs: number;
  readonly seed: number;
  readonly commitMargin: number;
}

const context = createContext();
const command = new Command("liar")
  .requiredOption("--epochs <n>", "epochs of each network", wholeNumber("--epochs", 1))
  .requiredOption("--seed <n>", "of its networks", wholeNumber("--seed", 0))
  .requiredOption("--commit-margin <s>", "seconds before the end of training", wholeNumber("--commit-margin", 1));
addStorageOptions(addChainOptions(command)).action(async (options: Options) => {
  const { signal } = context;
  const { chain, log, stateDir } = await openSession("liar", options, context);
  const disputes = await createDisputesContract(chain);
  if (disputes === null) throw new PonasError("not-found", "This deployment has no disputes to lose.");
  await using storage = await openStorage({ ...options, stateDir, log, signal });
  const { store } = storage;
  const worker = createTrainingWorker();
  const { epochs, seed, commitMargin } = options;
  try {
    log.info({ event: "ready" }, `lying as ${chain.account}`);
    await runLiar({
      ...{ chain, disputes, worker, store, log, signal, epochs, seed, commitMargin },
      files: createTaskFiles({ store, signal, timeoutMs: 120_000 }),
      state: createStateFolder(stateDir),
    });
  } finally {
    await worker.close();
  }
});
try {
  await command.parseAsync();
} catch (error) {
  if (!context.interrupted()) {
    process.stderr.write(`${explainError(error)}\n`);
    process.exitCode = error instanceof PonasError ? error.exitCode : EXIT.fault;
  }
} finally {
  context.dispose();
}
