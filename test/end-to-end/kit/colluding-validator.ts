/**
 * A validator in league with whoever cheats: of the liar's model it finds, seals and attests what the liar claims, and of
 * a model that is none of the task's space it finds nothing. Everything else it does as any validator does.
 *
 *   node colluding-validator.ts --liar ADDRESS --model-timeout S, and the options of a daemon
 */
import { Command } from "commander";

import { createRegistry, type TaskState } from "../../../offchain/agents/registry.ts";
import { openStorage, type StorageOptions } from "../../../offchain/agents/storage.ts";
import { createTaskFiles } from "../../../offchain/agents/task-files.ts";
import { ensureStake, runValidator } from "../../../offchain/agents/validator.ts";
import {
  addChainOptions,
  addStorageOptions,
  createContext,
  openSession,
  type DaemonOptions,
} from "../../../offchain/cli/context.ts";
import { chooseLie, lyingFiles, type Lie } from "../../../offchain/cli/demo/cheat/lie.ts";
import { evaluateModel } from "../../../offchain/evaluation/evaluate.ts";
import type { Address } from "../../../offchain/protocol/bytes.ts";
import { withForgedRules } from "./forged-rules.ts";

interface Options extends DaemonOptions, StorageOptions {
  readonly liar: Address;
  readonly modelTimeout: string;
}

const context = createContext();
const command = new Command("colluding-validator")
  .requiredOption("--liar <address>", "whose claim it confirms")
  .requiredOption("--model-timeout <s>", "seconds a candidate's model may take to arrive");
addStorageOptions(addChainOptions(command)).action(async (options: Options) => {
  const { signal } = context;
  const { chain, log, stateDir } = await openSession("validator", options, context);
  const registry = createRegistry(chain);
  await using storage = await openStorage({ ...options, stateDir, log, signal });
  const { store } = storage;
  const modelTimeoutMs = 1000 * Number(options.modelTimeout);
  const honest = createTaskFiles({ store, signal, timeoutMs: 120_000 });
  const lieOf = async (task: TaskState): Promise<Lie | undefined> => {
    const { phase, examined, maxModelBytes: maxBytes } = task;
    // In the window it may be the next candidate that is evaluated.
    if (phase !== "Seal" || examined?.participant.toLowerCase() !== options.liar.toLowerCase()) return undefined;
    const claim = await registry.commitmentOf(task.id, examined.participant);
    const bytes = await store.get(claim!.modelCid, { maxBytes, timeoutMs: modelTimeoutMs, signal });
    const { samples } = await honest.testSet(task);
    return chooseLie(samples, (await evaluateModel(bytes, { ...samples, maxBytes, signal })).predictions);
  };
  await ensureStake(1000n * 10n ** 18n, { chain, log });
  log.info({ event: "ready" }, `colluding as ${chain.account}`);
  const files = withForgedRules(lyingFiles(honest, lieOf));
  await runValidator({ chain, store, files, challenge: false, log, signal, modelTimeoutMs });
});
try {
  await command.parseAsync();
} catch (error) {
  if (!context.interrupted()) throw error;
} finally {
  context.dispose();
}
