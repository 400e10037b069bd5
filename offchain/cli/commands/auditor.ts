import { homedir } from "node:os";
import { join } from "node:path";

import type { Command } from "commander";
import { getAddress, isAddress } from "viem";

import { auditOnce, runAuditor, type Audit } from "../../agents/auditor.ts";
import { checkPool } from "../../agents/pool-contract.ts";
import { createStateFolder, tieToDeployment } from "../../agents/state-folder.ts";
import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import { createTaskFiles } from "../../agents/task-files.ts";
import type { Address } from "../../protocol/bytes.ts";
import { EXIT, PonasError } from "../../protocol/errors.ts";
import { takeLock } from "../../protocol/lock.ts";
import { createLog } from "../../protocol/log.ts";
import {
  addChainOptions,
  addStorageOptions,
  openReader,
  wholeNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";

interface Options extends DaemonOptions, StorageOptions {
  readonly pool: readonly Address[];
  readonly fileTimeout: number;
  readonly recompute?: boolean;
  readonly once?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, context: Context): void {
  const auditor = program.command("auditor").description("re-derive every payment of every task");
  const run = auditor
    .command("run")
    .description("audit each task when its split is posted and until it is settled; needs no key and sends nothing")
    .option("--pool <address...>", "only tasks of these pools", pools, [])
    .option("--once", "audit every ended task as it stands, and end; 1 where something does not re-derive")
    .option("--recompute", "evaluate every winning model anew")
    .option("--file-timeout <s>", "seconds a file may take to arrive", wholeNumber("--file-timeout", 1, 86_400), 60)
    .option("--json", "with --once: print JSON");
  addStorageOptions(addChainOptions(run)).action(async (options: Options) => {
    const { signal } = context;
    const chain = await openReader("auditor", options, context);
    for (const pool of options.pool) await checkPool(chain, pool);
    const log = createLog(options.name ?? "auditor", { format: options.log });
    const stateDir = options.stateDir ?? join(homedir(), ".ponas", "auditor");
    const state = createStateFolder(stateDir);
    const unlock = takeLock(`${stateDir}/auditor.lock`, `The auditor's folder ${stateDir}`);
    try {
      await tieToDeployment(state, chain);
      await using storage = await openStorage({ ...options, stateDir, log, signal });
      const { store } = storage;
      const timeoutMs = 1000 * options.fileTimeout;
      const files = createTaskFiles({ store, signal, timeoutMs });
      const { pool: only, recompute } = options;
      const auditing = { chain, store, files, state, pools: only, recompute, log, signal, timeoutMs };
      if (options.once !== true) {
        log.info(
          { event: "ready" },
          `auditing ${only.length === 0 ? "every task" : `the tasks of ${only.join(", ")}`}`,
        );
        return await runAuditor(auditing);
      }
      const audits = await auditOnce(auditing);
      context.print(options.json, audits.map(reportOf), describe(audits));
      if (audits.some(({ explanation }) => explanation.disagreements.length > 0)) context.setExitCode(EXIT.fault);
    } finally {
      unlock();
    }
  });
}

function pools(text: string, before: readonly Address[]): Address[] {
  if (!isAddress(text, { strict: false })) {
    throw new PonasError("usage", `--pool takes addresses of 0x and 40 hex digits, not "${text}".`);
  }
  return [...before, getAddress(text)];
}

function reportOf({ taskId, settled, evidence, explanation }: Audit) {
  const { at, phase, parts, disagreements } = explanation;
  return { task: taskId, at, phase, payments: parts.length, settled, disagreements, evidence };
}

function describe(audits: readonly Audit[]): string {
  if (audits.length === 0) return "No task has ended yet.";
  return audits
    .flatMap(({ taskId, settled, evidence, explanation: { phase, parts, disagreements } }) => [
      `task ${taskId}  ${phase.padEnd(9)}  ${parts.length} payments re-derived, ${disagreements.length} disagreements` +
        `${settled ? "" : ", not settled yet"}  ${evidence}`,
      ...disagreements.map(
        ({ message, remedy }) => `  ${message}${remedy === null ? "" : ` What can be done: ${remedy}.`}`,
      ),
    ])
    .join("\n");
}
