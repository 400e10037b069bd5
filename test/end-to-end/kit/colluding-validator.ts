/**
 * A validator in league with a liar: of its model it finds, seals and attests what the liar claims. The one of the given
 * name vouches for a second cheat as well: of a model that is none of the task's space it finds nothing. Everything else
 * they do as any validator does.
 *
 *   node colluding-validator.ts --liar ADDRESS --forgers-friend NAME --model-timeout S, and the options of a daemon
 */
import { createRegistry, type TaskState } from "../../../offchain/agents/registry.ts";
import { createTaskFiles } from "../../../offchain/agents/task-files.ts";
import { ensureStake } from "../../../offchain/agents/stake.ts";
import { runValidator } from "../../../offchain/agents/validator.ts";
import { chooseLie, lyingFiles, type Lie } from "../../../offchain/cli/demo/cheat/lie.ts";
import { evaluateModel } from "../../../offchain/evaluation/evaluate.ts";
import type { Address } from "../../../offchain/protocol/bytes.ts";
import { runDaemon } from "./daemon.ts";
import { withForgedRules } from "./forged-rules.ts";

interface Own {
  readonly liar: Address;
  readonly forgersFriend: string;
  readonly name?: string;
  readonly modelTimeout: string;
}

export const STAKE = 1000n * 10n ** 18n;
/** So little that the others are a quorum without it: it may have lost it when the liar's model is sealed. */
export const FRIENDS_STAKE = STAKE / 2n;

// Not where mocha loads everything that lies in the folder.
if (process.argv[1] === import.meta.filename) {
  const flags = ["--liar <address>", "--forgers-friend <name>", "--model-timeout <s>"];
  await runDaemon<Own>("validator", flags, async ({ chain, store, log, signal, liar, ...own }) => {
    const registry = createRegistry(chain);
    const modelTimeoutMs = 1000 * Number(own.modelTimeout);
    const honest = createTaskFiles({ store, signal, timeoutMs: 120_000 });
    const lieOf = async (task: TaskState): Promise<Lie | undefined> => {
      const { phase, examined, maxModelBytes: maxBytes } = task;
      // While one candidate is in its window, the next one is evaluated.
      const evaluated = phase === "Seal" ? examined?.participant : phase === "Window" ? examined?.next : undefined;
      if (evaluated === undefined || evaluated === null) return undefined;
      if (evaluated.toLowerCase() !== liar.toLowerCase()) return undefined;
      const claim = await registry.commitmentOf(task.id, evaluated);
      const bytes = await store.get(claim!.modelCid, { maxBytes, timeoutMs: modelTimeoutMs, signal });
      const { samples } = await honest.testSet(task);
      return chooseLie(samples, (await evaluateModel(bytes, { ...samples, maxBytes, signal })).predictions);
    };
    const forgersFriend = own.name === own.forgersFriend;
    await ensureStake(forgersFriend ? FRIENDS_STAKE : STAKE, { chain, log });
    log.info({ event: "ready" }, `colluding as ${chain.account}`);
    const lying = lyingFiles(honest, lieOf);
    const files = forgersFriend ? withForgedRules(lying) : lying;
    await runValidator({ chain, store, files, challenge: false, log, signal, modelTimeoutMs });
  });
}
