/**
 * A miner whose networks are none of the task's space, which it claims with all the same: it searches another space, for
 * longer than the task asks, and its own evaluation does not look at the rules.
 *
 *   node forger.ts --epochs N --seed N --commit-margin S, and the options of a daemon
 */
import { runSoloMiner } from "../../../offchain/agents/solo-miner.ts";
import { createStateFolder } from "../../../offchain/agents/state-folder.ts";
import { createTaskFiles } from "../../../offchain/agents/task-files.ts";
import { createTrainingWorker } from "../../../offchain/training/worker.ts";
import { runDaemon } from "./daemon.ts";
import { FORGED_FILTERS, withForgedRules } from "./forged-rules.ts";

interface Own {
  readonly epochs: string;
  readonly seed: string;
  readonly commitMargin: string;
}

// Not where mocha loads everything that lies in the folder.
if (process.argv[1] === import.meta.filename) {
  const flags = ["--epochs <n>", "--seed <n>", "--commit-margin <s>"];
  await runDaemon<Own>("forger", flags, async ({ chain, store, log, signal, stateDir, ...options }) => {
    const honest = createTaskFiles({ store, signal, timeoutMs: 120_000 });
    const worker = createTrainingWorker();
    try {
      log.info({ event: "ready" }, `forging as ${chain.account}`);
      await runSoloMiner({
        ...{ chain, worker, store, log, signal },
        files: {
          ...withForgedRules(honest),
          descriptor: async (task) => {
            const told = await honest.descriptor(task);
            const training = { ...told.training, epochs: Number(options.epochs) };
            return { ...told, training, space: { ...told.space, filters: [FORGED_FILTERS] } };
          },
        },
        state: createStateFolder(stateDir),
        seed: Number(options.seed),
        commitMargin: Number(options.commitMargin),
      });
    } finally {
      await worker.close();
    }
  });
}
