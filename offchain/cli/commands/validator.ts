import type { Command } from "commander";

import { createStateFolder } from "../../agents/state-folder.ts";
import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import { createTaskFiles } from "../../agents/task-files.ts";
import { ensureStake, runValidator } from "../../agents/validator.ts";
import { takeLock } from "../../protocol/lock.ts";
import {
  addChainOptions,
  addStorageOptions,
  amount,
  openSession,
  wholeNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";
import { addPartsBudget } from "./challenger.ts";

interface RunOptions extends DaemonOptions, StorageOptions {
  readonly stake: bigint;
  readonly modelTimeout: number;
  readonly challenge: boolean;
  readonly partsBudget: bigint;
}

export function register(program: Command, context: Context): void {
  const validator = program.command("validator").description("stake and validate");
  const run = validator
    .command("run")
    .description("evaluate candidates, seal and attest results, until stopped")
    .option(
      "--stake <amount>",
      "least stake to have; what is missing is staked",
      amount("--stake"),
      amount("--stake")("1000"),
    )
    .option(
      "--model-timeout <s>",
      "seconds a candidate's model may take to arrive",
      wholeNumber("--model-timeout", 1),
      60,
    );
  run.option("--no-challenge", "leave it to others to challenge what this validator finds otherwise");
  addPartsBudget(addStorageOptions(addChainOptions(run))).action(async (options: RunOptions) => {
    const { chain, log, stateDir } = await openSession("validator", options, context);
    const { signal } = context;
    createStateFolder(stateDir);
    const unlock = takeLock(`${stateDir}/validator.lock`, `The validator's account ${chain.account}`);
    try {
      await using storage = await openStorage({ ...options, stateDir, log, signal });
      const { store } = storage;
      await ensureStake(options.stake, { chain, log });
      const files = createTaskFiles({ store, signal, timeoutMs: 120_000 });
      log.info({ event: "ready" }, `validating as ${chain.account}`);
      const { challenge, partsBudget, modelTimeout } = options;
      const modelTimeoutMs = modelTimeout * 1000;
      await runValidator({ chain, store, files, log, signal, modelTimeoutMs, challenge, partsBudget });
    } finally {
      unlock();
    }
  });
}
