import { Option, type Command } from "commander";

import { refuseAfterLoss } from "../../agents/lost-stake.ts";
import { formatAmount } from "../../agents/registry.ts";
import {
  cancelUnbonding,
  ensureStake,
  stakeStatus,
  unbond,
  withdrawStake,
  type StakeStatus,
} from "../../agents/stake.ts";
import type { StorageOptions } from "../../agents/storage.ts";
import { runValidator } from "../../agents/validator.ts";
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

interface StakeOptions extends DaemonOptions {
  readonly json?: boolean;
}

interface UnbondOptions extends StakeOptions {
  readonly amount?: bigint;
  readonly cancel?: boolean;
}

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
    .option("--stake-again", "stake what is missing also where this account has lost its stake, or is taking it out")
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
    await ensureStake(options.stake, { chain, log, again: options.stakeAgain });
    log.info({ event: "ready" }, `validating as ${chain.account}`);
    const { challenge, partsBudget, leastSealGain, modelTimeout } = options;
    const modelTimeoutMs = modelTimeout * 1000;
    await runValidator({ chain, store, files, log, signal, modelTimeoutMs, challenge, partsBudget, leastSealGain });
  });

  const stakeCommand = (name: string, description: string): Command =>
    addChainOptions(validator.command(name).description(description).option("--json", "print JSON"));

  stakeCommand("status", "what this account has staked, what unbonds, and what it can withdraw").action(
    async (options: StakeOptions) => {
      const { chain } = await openSession("validator", options, context);
      const status = await stakeStatus(chain);
      context.print(options.json, status, describeStake(status));
    },
  );

  stakeCommand("unbond", "begin to take stake out: it counts no longer, and is paid when the unbonding period is over")
    .addOption(amountOption("--amount", "so much of it; all of it where nothing is said"))
    .addOption(new Option("--cancel", "make all that unbonds active again").conflicts("amount"))
    .action(async (options: UnbondOptions) => {
      const { chain } = await openSession("validator", options, context);
      const status = await (options.cancel === true ? cancelUnbonding(chain) : unbond(chain, options.amount));
      context.print(options.json, status, describeStake(status));
    });

  stakeCommand(
    "withdraw",
    "take out the stake whose unbonding is over, and its halves of stakes that others have lost",
  ).action(async (options: StakeOptions) => {
    const { chain } = await openSession("validator", options, context);
    const status = await withdrawStake(chain);
    context.print(options.json, status, `withdrew ${formatAmount(status.paid)}\n${describeStake(status)}`);
  });
}

/** For people; a line each. */
export function describeStake({ account, active, unbonding, holds, credit }: StakeStatus): string {
  const lines = [`${account} has ${formatAmount(active)} staked`];
  if (unbonding !== null) {
    const { amount, readyAt, secondsLeft } = unbonding;
    const from = new Date(1000 * readyAt).toISOString();
    const ready = secondsLeft === 0 ? `since ${from}` : `from ${from} on, in ${secondsLeft} s`;
    lines.push(`${formatAmount(amount)} unbond, and can be withdrawn ${ready}`);
    lines.push(
      "until it is withdrawn it can be lost: keep a validator running with --stake 0, to answer for its seals",
    );
  }
  if (holds > 0) {
    const times = holds === 1 ? "once" : `${holds} times`;
    lines.push(`held ${times}, for what it sealed and what may yet be challenged; withdraw releases what is over`);
  }
  if (credit > 0n) lines.push(`${formatAmount(credit)} can be withdrawn now`);
  return lines.join("\n");
}
