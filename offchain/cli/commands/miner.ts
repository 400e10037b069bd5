import { join } from "node:path";

import { Option, type Command } from "commander";
import { isAddress } from "viem";

import { measureMiner } from "../../agents/benchmark.ts";
import { connectToPool } from "../../agents/pool-connection.ts";
import { checkPool, createPoolContract } from "../../agents/pool-contract.ts";
import { createPoolOutbox } from "../../agents/pool-outbox.ts";
import { keepReceipt, runPoolMiner, tellPoints } from "../../agents/pool-miner.ts";
import { runSoloMiner } from "../../agents/solo-miner.ts";
import type { StorageOptions } from "../../agents/storage.ts";
import type { PointsReceipt } from "../../pool/messages.ts";
import { digestOf } from "../../pool/signatures.ts";
import type { Address } from "../../protocol/bytes.ts";
import { PonasError, explainError } from "../../protocol/errors.ts";
import { DEFAULT_STRATEGY, STRATEGY_NAMES, type StrategyName } from "../../search/strategies.ts";
import { shareWorkers } from "../../training/worker-pool.ts";
import { dryRun, dryRunText } from "../miner/dry-run.ts";
import { addWorkerOptions, chooseWorkers, startWorkers, type WorkerCountOptions } from "../miner/workers.ts";
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
import { holdState, openFiles } from "../daemon.ts";
import { engineOption } from "../engine-option.ts";

interface RunOptions extends DaemonOptions, StorageOptions, TermsOptions, WorkerCountOptions {
  readonly solo?: boolean;
  readonly pool?: string;
  readonly url?: string;
  readonly seed: number;
  readonly strategy: StrategyName;
  readonly throttle: number;
  readonly commitMargin: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
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
    .option("--dry-run", "show what it would do, and what that may pay; commits, leases and spends nothing")
    .option("--json", "the dry run as one line of JSON")
    .option(
      "--commit-margin <s>",
      "solo: seconds before the end of training at which the best is committed",
      wholeNumber("--commit-margin", 1),
      60,
    );
  addWorkerOptions(addTermsOptions(addStorageOptions(addChainOptions(run)))).action(async (options: RunOptions) => {
    const { solo, pool, url } = options;
    if ((solo === true) === (pool !== undefined) || (pool === undefined) !== (url === undefined)) {
      throw new PonasError("usage", "A miner runs either with --solo, or with --pool and --url.");
    }
    if (url !== undefined) checkEndpoint(url);
    if (pool !== undefined && !isAddress(pool, { strict: false })) {
      throw new PonasError("usage", `--pool takes a contract's address of 0x and 40 hex digits, not "${pool}".`);
    }
    if (options.json === true && options.dryRun !== true) {
      throw new PonasError("usage", "--json is for --dry-run: a miner at work tells of itself in its log.", {
        cure: "--log json",
      });
    }
    const session = await openSession("miner", options, context);
    const { chain, log, stateDir } = session;
    const { signal } = context;
    if (options.dryRun === true) {
      const there = pool === undefined || url === undefined ? null : { address: pool as Address, url };
      const plan = await chooseWorkers(options);
      const value = await dryRun({ ...options, chain, log, signal, plan, pool: there });
      context.print(options.json, value, dryRunText(value));
      return;
    }
    const plan = await chooseWorkers(options);
    using held = await holdState("miner", session);
    const { state } = held;
    const workers = startWorkers(plan);
    try {
      await using storage = await openFiles(options, session, signal);
      const { store, files } = storage;
      const { throttle, seed, strategy, commitMargin } = options;
      const shared = { chain, files, store, state, throttle, log, signal };
      const how = `engine ${plan.engine}${workers.length === 1 ? "" : `, ${workers.length} workers`}`;
      if (pool === undefined || url === undefined) {
        log.info({ event: "ready" }, `mining alone as ${chain.account}, ${how}`);
        await runSoloMiner({
          ...shared,
          worker: shareWorkers(workers),
          workers: workers.length,
          seed,
          strategy,
          commitMargin,
          terms: options,
        });
        return;
      }
      await checkPool(chain, pool as Address);
      const benchmarks = await measureMiner(workers, { throttle, signal });
      const contract = createPoolContract(chain, pool as Address);
      const outbox = createPoolOutbox(join(stateDir, "pools", pool.toLowerCase()), (sentence) => log.error(sentence));
      const take = async (receipt: PointsReceipt, worker: number): Promise<void> => {
        // Every link hears of it; it is told of once.
        if (!(await keepReceipt(state, contract, receipt, chain.account))) return;
        await tellPoints(receipt, { connection: hands[worker]!.connection, log });
      };
      // The links outlive the signal, since leases are given back over them.
      const links = new AbortController();
      const hands = workers.map((worker, index) => ({
        worker,
        connection: connectToPool({
          url,
          signer: { address: chain.account, sign: (data) => chain.signDigest(digestOf(data)) },
          benchmark: benchmarks[index]!,
          expected: contract.identity,
          outbox,
          worker: index,
          handlers: {
            onReceipt: (receipt) =>
              void take(receipt, index).catch((error: unknown) => {
                if (!links.signal.aborted) log.warn(explainError(error));
              }),
          },
          signal: links.signal,
          log: workers.length === 1 ? log : log.child({ worker: index }),
        }),
      }));
      const speed = benchmarks.reduce((sum, { imagesPerSecond }) => sum + imagesPerSecond, 0);
      log.info(
        { event: "ready" },
        `mining for the pool ${pool} as ${chain.account}, ${how}, ${speed.toFixed(0)} images/s`,
      );
      try {
        await runPoolMiner({ ...shared, pool: contract, workers: hands, outbox });
      } finally {
        links.abort();
        await Promise.all(hands.map(({ connection }) => connection.close()));
      }
    } finally {
      await Promise.all(workers.map((worker) => worker.close()));
    }
  });
}

/** Said at once: a link that can never be would be tried again for ever. @throws PonasError usage */
function checkEndpoint(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["ws:", "wss:"].includes(url.protocol) || url.hash !== "") {
    throw new PonasError("usage", `--url takes an endpoint such as ws://127.0.0.1:4600, not "${text}".`);
  }
}
