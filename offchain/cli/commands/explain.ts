import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Command } from "commander";
import { getAddress, isAddress } from "viem";

import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import { explainFromChain } from "../../agents/task-facts.ts";
import { createTaskFiles } from "../../agents/task-files.ts";
import { explainAccount, type AccountExplanation } from "../../pool/explain.ts";
import { formatAmount } from "../../protocol/amounts.ts";
import type { Address } from "../../protocol/bytes.ts";
import { EXIT, PonasError } from "../../protocol/errors.ts";
import { createLog } from "../../protocol/log.ts";
import {
  addChainOptions,
  addStorageOptions,
  openReader,
  taskNumber,
  wholeNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";

interface Options extends DaemonOptions, StorageOptions {
  readonly fileTimeout: number;
  readonly recompute?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  const explain = program
    .command("explain")
    .description(
      "every unit that an account gets of a task, and from what it follows; 1 where a step does not re-derive",
    )
    .argument("<task>", "task", taskNumber)
    .argument("<account>", "whose money", accountOf)
    .option("--recompute", "evaluate the winning model anew")
    .option("--file-timeout <s>", "seconds a file may take to arrive", wholeNumber("--file-timeout", 1, 86_400), 60)
    .option("--json", "print JSON");
  addStorageOptions(addChainOptions(explain)).action(async (taskId: bigint, account: Address, options: Options) => {
    const { signal } = context;
    const chain = await openReader("explain", options, context);
    const log = createLog(options.name ?? "explain", { format: options.log, level: "warn" });
    const scratch = options.stateDir ?? mkdtempSync(join(tmpdir(), "ponas-explain-"));
    try {
      await using storage = await openStorage({ ...options, stateDir: scratch, log, signal });
      const { store } = storage;
      const timeoutMs = 1000 * options.fileTimeout;
      const files = createTaskFiles({ store, signal, timeoutMs });
      const { recompute } = options;
      const { explanation } = await explainFromChain(taskId, { chain, store, files, signal, timeoutMs, recompute });
      const own = explainAccount(explanation, account);
      context.print(options.json, own, describe(own));
      if (own.disagreements.length > 0) context.setExitCode(EXIT.fault);
    } finally {
      if (options.stateDir === undefined) rmSync(scratch, { recursive: true, force: true });
    }
  });
}

function accountOf(text: string): Address {
  if (!isAddress(text, { strict: false })) {
    throw new PonasError("usage", `An account is 0x and 40 hex digits, not "${text}".`);
  }
  return getAddress(text);
}

function describe(explanation: AccountExplanation): string {
  const { task, account, phase, at, total, parts, floats, losses, disagreements, verified, trusted } = explanation;
  const lines = [`Task ${task} (${phase}) and ${account}, as of chain block ${at}: ${formatAmount(total)} in all`];
  const indent = (derivation: readonly string[]): string[] => derivation.map((line) => `    ${line}`);
  if (parts.length === 0) {
    const ended = phase === "Confirmed" || phase === "Void";
    lines.push(ended ? "  nothing of this task is this account's" : "  the task has not ended: nothing is decided yet");
  }
  for (const { amount, text, status, derivation } of parts) {
    lines.push("", `  ${formatAmount(amount)}  ${text} (${status})`, ...indent(derivation));
  }
  for (const { amount, pool, derivation } of floats) {
    lines.push("", `  ${formatAmount(amount)}  into the manager's float in the pool ${pool}`, ...indent(derivation));
  }
  for (const { amount, derivation } of losses) {
    lines.push("", `  ${formatAmount(amount)}  paid and not coming back`, ...indent(derivation));
  }
  const section = (title: string, sentences: readonly string[]): void => {
    if (sentences.length > 0) lines.push("", title, ...sentences.map((sentence) => `  ${sentence}`));
  };
  section("Verified:", verified);
  section("The manager's word, or not looked at:", trusted);
  section(
    "Does not re-derive:",
    disagreements.map(({ message, remedy }) => (remedy === null ? message : `${message} What can be done: ${remedy}.`)),
  );
  return lines.join("\n");
}
