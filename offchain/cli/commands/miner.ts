import { join } from "node:path";

import { Option, type Command } from "commander";

import { measureMiner } from "../../agents/benchmark.ts";
import { connectToPool } from "../../agents/pool-connection.ts";
import { checkPool, createPoolContract } from "../../agents/pool-contract.ts";
import { keepReceipt, runPoolMiner } from "../../agents/pool-miner.ts";
import { runSoloMiner } from "../../agents/solo-miner.ts";
import { createStateFolder, tieToDeployment } from "../../agents/state-folder.ts";
import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import { createTaskFiles } from "../../agents/task-files.ts";
import { PonasError, explainError } from "../../protocol/errors.ts";
import { takeLock } from "../../protocol/lock.ts";
import { DEFAULT_STRATEGY, STRATEGY_NAMES, type StrategyName } from "../../search/strategies.ts";
import { chooseEngine } from "../../training/engines.ts";
import { createTrainingWorker } from "../../training/worker.ts";
import {
  addChainOptions,
  addStorageOptions,
  addTermsOptions,
  fraction,
  openSession,
  wholeNumber,
  type Context,
  type DaemonOptions,
  type TermsOptions,
} from "../context.ts";
import { engineOption, type EngineOptions } from "../engine-option.ts";

interface RunOptions extends DaemonOptions, StorageOptions, TermsOptions, EngineOptions {
  readonly solo?: boolean;
  readonly pool?: string;
  readonly url?: string;
  readonly seed: number;
  readonly strategy: StrategyName;
  readonly throttle: number;
  readonly commitMargin: number;
}

export function register(program: Command, context: Context): void {
  const miner = program.command("miner").description("mine alone or in a pool");
  const run = miner
    .command("run")
    .description("mine until stopped: with --solo on this account, with --pool and --url for a pool")
    .option("--solo", "mine alone")
    .option("--pool <address>", "the pool's contract")
    .option("--url <url>", "the pool manager's endpoint, such as ws://127.0.0.1:4600")
    .option("--seed <n>", "of a solo miner's search", wholeNumber("--seed", 0), 0)
    .addOption(
      new Option("--strategy <name>", "of a solo miner's search").choices(STRATEGY_NAMES).default(DEFAULT_STRATEGY),
    )
    .option("--throttle <share>", "share of the time to use, up to 1", fraction("--throttle"), 1)
    .addOption(engineOption())
    .option(
      "--commit-margin <s>",
      "solo: seconds before the end of training at which the best is committed",
      wholeNumber("--commit-margin", 1),
      60,
    );
  addTermsOptions(addStorageOptions(addChainOptions(run))).action(async (options: RunOptions) => {
    const { solo, pool, url } = options;
    if ((solo === true) === (pool !== undefined) || (pool === undefined) !== (url === undefined)) {
      throw new PonasError("usage", "A miner runs either with --solo, or with --pool and --url.");
    }
    const { chain, log, stateDir } = await openSession("miner", options, context);
    const { signal } = context;
    const state = createStateFolder(stateDir);
    const engine = await chooseEngine(options.engine);
    const unlock = takeLock(join(stateDir, "miner.lock"), `The miner's account ${chain.account}`);
    const worker = createTrainingWorker({ engine });
    try {
      await tieToDeployment(state, chain);
      await using storage = await openStorage({ ...options, stateDir, log, signal });
      const { store } = storage;
      const files = createTaskFiles({ store, signal, timeoutMs: 120_000 });
      const { throttle, seed, strategy, commitMargin } = options;
      const shared = { chain, worker, files, store, state, throttle, log, signal };
      if (pool === undefined || url === undefined) {
        log.info({ event: "ready" }, `mining alone as ${chain.account}, engine ${engine}`);
        await runSoloMiner({ ...shared, seed, strategy, commitMargin, terms: options });
        return;
      }
      await checkPool(chain, pool as `0x${string}`);
      const benchmark = await measureMiner(worker, { throttle, signal });
      const contract = createPoolContract(chain, pool as `0x${string}`);
      const connection = connectToPool({
        url,
        signer: { address: chain.account, sign: (data) => chain.signTypedData(data) },
        benchmark,
        expected: contract.identity,
        stateDir: join(stateDir, "pool"),
        handlers: {
          onReceipt: (receipt) =>
            void keepReceipt(state, contract, receipt, chain.account).catch((error: unknown) =>
              log.warn(explainError(error)),
            ),
        },
        signal,
        log,
      });
      log.info(
        { event: "ready" },
        `mining for the pool ${pool} as ${chain.account}, engine ${engine}, ${benchmark.imagesPerSecond.toFixed(0)} images/s`,
      );
      try {
        await runPoolMiner({ ...shared, pool: contract, connection });
      } finally {
        await connection.close();
      }
    } finally {
      await worker.close();
      unlock();
    }
  });
}
