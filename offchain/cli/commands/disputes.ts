import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Command } from "commander";

import {
  reportDisputes,
  type DisputeReport,
  type ReportedChallenge,
  type ReportedDemand,
} from "../../agents/dispute-report.ts";
import { createDisputeFiles, createDisputeSides, type DisputeSides } from "../../agents/dispute-sides.ts";
import { createDisputesContract } from "../../agents/disputes-contract.ts";
import { createRegistry, formatAmount } from "../../agents/registry.ts";
import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import { createTaskFiles } from "../../agents/task-files.ts";
import type { ChainClient } from "../../protocol/chain-client.ts";
import { PonasError } from "../../protocol/errors.ts";
import { createLog } from "../../protocol/log.ts";
import {
  addChainOptions,
  addStorageOptions,
  openReader,
  taskNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";

interface Options extends DaemonOptions, StorageOptions {
  readonly task?: bigint;
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** How long a model may take to arrive. */
const FILE_TIMEOUT_MS = 20_000;

export function register(program: Command, context: Context): void {
  const disputes = program
    .command("disputes")
    .description(
      "open disputes over candidates and over seals: whose move it is, what is left of the clock, what is at risk, and with --ipfs or --peer who is right",
    )
    .option("--task <id>", "all disputes of this task, decided ones too", taskNumber)
    .option("--watch", "print them again whenever they change, until stopped")
    .option("--json", "print JSON");
  addStorageOptions(addChainOptions(disputes)).action(async (options: Options) => {
    if (options.watch === true && options.json === true) {
      throw new PonasError("usage", "--json prints one value, and --watch many: they do not go together.");
    }
    const { signal } = context;
    const chain = await openReader("disputes", options, context);
    if (options.ipfs === undefined && options.peer === undefined) return report(chain, options, context);
    const stateDir = mkdtempSync(join(tmpdir(), "ponas-disputes-"));
    try {
      const log = createLog(options.name ?? "disputes", { format: options.log, level: "warn" });
      await using storage = await openStorage({ ...options, stateDir, log, signal });
      const { store } = storage;
      const files = createTaskFiles({ store, signal, timeoutMs: FILE_TIMEOUT_MS });
      const registry = createRegistry(chain);
      const shared = { registry, store, files, signal, timeoutMs: FILE_TIMEOUT_MS };
      const known = new Map<bigint, DisputeSides>();
      const sides = (taskId: bigint): DisputeSides => {
        const before = known.get(taskId) ?? createDisputeSides(createDisputeFiles(shared));
        known.set(taskId, before);
        return before;
      };
      await report(chain, options, context, sides);
    } finally {
      rmSync(stateDir, { recursive: true, force: true });
    }
  });
}

async function report(
  chain: ChainClient,
  { task, json, watch }: Options,
  context: Context,
  sides?: (taskId: bigint) => DisputeSides,
): Promise<void> {
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  if (disputes === null) throw new PonasError("not-found", "This deployment has no disputes.");
  if (task !== undefined) await registry.task(task); // says where there is no such task
  const read = async (): Promise<DisputeReport> => {
    const taskIds = task === undefined ? await registry.openTasks() : [task];
    return reportDisputes({ chain, registry, disputes, taskIds, all: task !== undefined, sides });
  };
  if (watch !== true) {
    const found = await read();
    return context.print(json, found, describeDisputes(found));
  }
  let last = "";
  for await (const head of chain.heads()) {
    const text = describeDisputes(await read());
    const clockless = text.replace(/, \d+ s left/g, "");
    if (clockless === last) continue;
    last = clockless;
    context.print(false, null, `${new Date(1000 * Number(head.timestamp)).toISOString()}\n${text}`);
  }
}

/** A report in lines for people, one of each dispute. */
export function describeDisputes({ challenges, demands }: DisputeReport): string {
  const lines = [...challenges.map(describeChallenge), ...demands.map(describeDemand)];
  return lines.length === 0 ? "There are no open disputes." : lines.join("\n");
}

function describeChallenge(one: ReportedChallenge): string {
  const { challenge, task, candidate, challenger, sample, prediction, validator, stake, stage, bond } = one;
  const { toMove, secondsLeft, right, unknown } = one;
  return [
    `challenge ${challenge} of task ${task}: ${challenger} says that class ${prediction} of sample ${sample} is not ` +
      `what the model of ${candidate} makes of it` +
      (validator === null ? "" : `, as the validator ${validator} has sealed`) +
      `; bond ${formatAmount(bond)}` +
      (stake === null ? "" : `, stake at risk ${formatAmount(stake)}`),
    stage + (toMove === null ? "" : `, the ${toMove} is to move, ${secondsLeft} s left`),
    ...(right === null ? [] : [`the ${right} is right`]),
    ...(unknown === null ? [] : [`who is right is not known here: ${unknown}`]),
  ].join("; ");
}

function describeDemand({ demand, task, candidate, challenger, layer, unit, ...one }: ReportedDemand): string {
  const { stage, secondsLeft, price } = one;
  return (
    `demand ${demand} of task ${task}: ${challenger} demands ` +
    (layer === null ? "the architecture" : `unit ${unit} of layer ${layer}`) +
    ` of ${candidate}; price ${formatAmount(price)}; ${stage}` +
    (secondsLeft === null ? "" : `, ${secondsLeft} s left`)
  );
}
