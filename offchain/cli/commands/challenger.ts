import type { Command } from "commander";

import { runChallenger } from "../../agents/run-challenger.ts";
import type { StorageOptions } from "../../agents/storage.ts";
import {
  addChainOptions,
  addStorageOptions,
  amountOption,
  openSession,
  wholeNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";
import { holdState, openFiles } from "../daemon.ts";

interface RunOptions extends DaemonOptions, StorageOptions {
  readonly modelTimeout: number;
  readonly partsBudget: bigint;
  readonly leastSealGain?: bigint;
}

export function register(program: Command, context: Context): void {
  const challenger = program.command("challenger").description("refute false claims; takes a bond, and no stake");
  const run = challenger
    .command("run")
    .description("evaluate every candidate and challenge false predictions on chain, until stopped")
    .option(
      "--model-timeout <s>",
      "seconds a candidate's model may take to arrive",
      wholeNumber("--model-timeout", 1),
      60,
    );
  addChallengeOptions(addStorageOptions(addChainOptions(run))).action(async (options: RunOptions) => {
    const session = await openSession("challenger", options, context);
    const { chain, log } = session;
    const { signal } = context;
    using _held = await holdState("challenger", session);
    await using storage = await openFiles(options, session, signal);
    const { store, files } = storage;
    log.info({ event: "ready" }, `challenging as ${chain.account}`);
    const { modelTimeout, partsBudget, leastSealGain } = options;
    const modelTimeoutMs = modelTimeout * 1000;
    await runChallenger({ chain, store, files, log, signal, modelTimeoutMs, partsBudget, leastSealGain });
  });
}

/** What whoever challenges may spend, and on what. */
export function addChallengeOptions(command: Command): Command {
  return command
    .addOption(
      amountOption("--parts-budget", "most to spend on one candidate's parts, where its model cannot be fetched", "20"),
    )
    .addOption(
      amountOption(
        "--least-seal-gain",
        "challenge no seal by which there is less to win, half its validator's stake (default: a challenge's bond)",
      ),
    );
}
