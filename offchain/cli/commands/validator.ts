import type { Command } from "commander";

import { refuseAfterLoss } from "../../agents/lost-stake.ts";
import type { StorageOptions } from "../../agents/storage.ts";
import { ensureStake, runValidator } from "../../agents/validator.ts";
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
import { addChallengeOptions } from "./challenger.ts";

interface RunOptions extends DaemonOptions, StorageOptions {
  readonly stake: bigint;
  readonly stakeAgain?: boolean;
  readonly modelTimeout: number;
  readonly challenge: boolean;
  readonly partsBudget: bigint;
  readonly leastSealGain?: bigint;
}

export function register(program: Command, context: Context): void {
  const validator = program.command("validator").description("stake and validate");
  const run = validator
    .command("run")
    .description("evaluate candidates, seal and attest results, and answer for what was sealed, until stopped")
    .addOption(amountOption("--stake", "least stake to have; what is missing is staked", "1000"))
    .option("--stake-again", "stake what is missing also where this account has lost its stake for a false seal")
    .option(
      "--model-timeout <s>",
      "seconds a candidate's model may take to arrive",
      wholeNumber("--model-timeout", 1),
      60,
    );
  run.option(
    "--no-challenge",
    "leave it to others to challenge what this validator finds otherwise; it answers for its own seals all the same",
  );
  addChallengeOptions(addStorageOptions(addChainOptions(run))).action(async (options: RunOptions) => {
    const session = await openSession("validator", options, context);
    const { chain, log } = session;
    const { signal } = context;
    using _held = await holdState("validator", session);
    await using storage = await openFiles(options, session, signal);
    const { store, files } = storage;
    if (options.stakeAgain !== true && options.stake > 0n) await refuseAfterLoss(chain);
    await ensureStake(options.stake, { chain, log });
    log.info({ event: "ready" }, `validating as ${chain.account}`);
    const { challenge, partsBudget, leastSealGain, modelTimeout } = options;
    const modelTimeoutMs = modelTimeout * 1000;
    await runValidator({ chain, store, files, log, signal, modelTimeoutMs, challenge, partsBudget, leastSealGain });
  });
}
