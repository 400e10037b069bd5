import { existsSync } from "node:fs";
import { join } from "node:path";

import { Option, type Command } from "commander";

import { createPoolContract, ensurePool, findPool } from "../../agents/pool-contract.ts";
import { startPoolEndpoint } from "../../agents/pool-endpoint.ts";
import { runPoolManager, withdrawFloat } from "../../agents/pool-manager.ts";
import { formatAmount } from "../../agents/registry.ts";
import type { StorageOptions } from "../../agents/storage.ts";
import { evaluateModel } from "../../evaluation/evaluate.ts";
import { openPoolDatabase } from "../../pool/database.ts";
import { isServerUrl } from "../../pool/database-server.ts";
import { readDecisions } from "../../pool/decisions.ts";
import { createPoolManager } from "../../pool/manager.ts";
import { createScheme, SCHEME_NAMES, type SchemeName, type SchemeTerms } from "../../pool/points-schemes.ts";
import { PARTITION_RULES, type PartitionRule } from "../../pool/parts.ts";
import { DEFAULT_RULES } from "../../pool/rules.ts";
import { digestOf } from "../../pool/signatures.ts";
import type { Address } from "../../protocol/bytes.ts";
import type { ChainClient } from "../../protocol/chain-client.ts";
import { PonasError } from "../../protocol/errors.ts";
import { DEFAULT_STRATEGY, STRATEGY_NAMES, type StrategyName } from "../../search/strategies.ts";
import {
  addChainOptions,
  addStorageOptions,
  addTermsOptions,
  amountOption,
  fraction,
  openSession,
  taskNumber,
  wholeNumber,
  type Context,
  type DaemonOptions,
  type TermsOptions,
} from "../context.ts";
import { holdState, openFiles } from "../daemon.ts";
import { addObjectionCommands } from "./pool-objections.ts";

interface CreateOptions extends DaemonOptions {
  readonly title: string;
  readonly feeBps: number;
  readonly objectionWindow: number;
  readonly settlementWindow: number;
  readonly receiptsWindow: number;
  readonly scheme: SchemeName;
  readonly schemePerformance: number;
  readonly schemeEffort: number;
  readonly schemeTrials: number;
  readonly json?: boolean;
}

interface WithdrawOptions extends DaemonOptions {
  readonly title: string;
  readonly amount?: bigint;
  readonly json?: boolean;
}

interface DecisionsOptions {
  readonly stateDir?: string;
  readonly database?: string;
  readonly task: bigint;
  readonly after: number;
  readonly limit: number;
  readonly json?: boolean;
}

interface RunOptions extends CreateOptions, StorageOptions, TermsOptions {
  readonly strategy: StrategyName;
  readonly host: string;
  readonly port: number;
  readonly seed: number;
  readonly strongTrials: number;
  readonly partition: PartitionRule;
  readonly subspaces: number;
  readonly backups: boolean;
  readonly commitMargin: number;
  readonly auditRate: number;
  readonly database?: string;
}

const DAYS = 86_400;

export function register(program: Command, context: Context): void {
  const pool = program.command("pool").description("create and run a mining pool");

  const create = pool
    .command("create")
    .description("create this account's pool, or find it")
    .option("--json", "print JSON");
  addTerms(addChainOptions(create)).action(async (options: CreateOptions) => {
    const { chain } = await openSession("pool", options, context);
    const address = await ensurePool(chain, options.title, termsOf(options, chain.account));
    context.note(await otherTerms(chain, address, create, options));
    context.print(options.json, { pool: address }, address);
  });

  const withdraw = pool
    .command("withdraw")
    .description("take the manager's own money out of the pool: the float that is bound in no task, and its fees")
    .addOption(amountOption("--amount", "so much of the float; all of it where nothing is said"))
    .option("--title <text>", "which of the account's pools", "pool")
    .option("--json", "print JSON");
  addChainOptions(withdraw).action(async (options: WithdrawOptions) => {
    const { chain } = await openSession("pool", options, context);
    const address = await findPool(chain, options.title);
    const paid = await withdrawFloat({ chain, pool: createPoolContract(chain, address) }, options.amount);
    context.print(options.json, { pool: address, paid }, `withdrew ${formatAmount(paid)}`);
  });

  pool
    .command("decisions")
    .description("what a pool that is not running has decided in a task, and why; miners ask a running one")
    .option("--state-dir <folder>", "the pool's state, as it was given to pool run")
    .addOption(databaseOption())
    .requiredOption("--task <id>", "the task", taskNumber)
    .option("--after <id>", "only decisions after this one", wholeNumber("--after", 0), 0)
    .option("--limit <n>", "at most so many", wholeNumber("--limit", 1, 100_000), 1000)
    .option("--json", "print JSON")
    .action(async ({ stateDir, database: server, task: taskId, after, limit, json }: DecisionsOptions) => {
      const database = await openPoolDatabase(server ?? folderOf(stateDir));
      try {
        const decisions = await readDecisions(database.queries, { taskId, after, limit });
        const lines = decisions.map(
          ({ id, at, kind, reason }) => `${id} ${new Date(at).toISOString()} ${kind}: ${reason}`,
        );
        context.print(json, { task: taskId, decisions }, lines.length > 0 ? lines.join("\n") : "no decisions");
      } finally {
        await database.close();
      }
    });

  addObjectionCommands(pool, context);

  const run = pool
    .command("run")
    .description("manage the pool until stopped: lease trials, check shares, commit, reveal, split")
    .option("--host <address>", "where miners connect", "127.0.0.1")
    .option("--port <n>", "port that miners connect to", wholeNumber("--port", 0, 65_535), 4600)
    .addOption(databaseOption())
    .option("--seed <n>", "of proposals", wholeNumber("--seed", 0), 0)
    .addOption(
      new Option("--strategy <name>", "how explored networks are chosen")
        .choices(STRATEGY_NAMES)
        .default(DEFAULT_STRATEGY),
    )
    .option(
      "--strong-trials <n>",
      "trials a miner must manage in a task to be strong",
      wholeNumber("--strong-trials", 1),
      DEFAULT_RULES.strongTrials,
    )
    .addOption(
      new Option("--partition <rule>", "how the space is divided among strong miners")
        .choices(PARTITION_RULES)
        .default("disjoint"),
    )
    .option(
      "--subspaces <n>",
      "parts that a task begins with; 0: one for every strong miner that is there",
      wholeNumber("--subspaces", 0),
      0,
    )
    .option("--no-backups", "let nobody stand in for miners that leave with a high reward")
    .option(
      "--audit-rate <part>",
      "chance, up to 1, with which a share that claims no new best is audited at least",
      fraction("--audit-rate"),
      DEFAULT_RULES.auditRate,
    )
    .option(
      "--commit-margin <s>",
      "seconds before the end of training at which the pool commits",
      wholeNumber("--commit-margin", 1),
      60,
    );
  addTerms(addTermsOptions(addStorageOptions(addChainOptions(run)))).action(async (options: RunOptions) => {
    const session = await openSession("pool", options, context);
    const { chain, log, stateDir } = session;
    using held = await holdState("pool", session);
    const { state } = held;
    const database = await openPoolDatabase(options.database ?? join(stateDir, "database"), { log });
    // A manager whose database another one has taken must not go on.
    const signal = AbortSignal.any([context.signal, database.lost]);
    try {
      const address = await ensurePool(chain, options.title, termsOf(options, chain.account));
      for (const note of await otherTerms(chain, address, run, options)) log.warn(note);
      await using storage = await openFiles(options, session, signal);
      const { store, files } = storage;
      const manager = createPoolManager({
        database,
        identity: { chainId: chain.domain.chainId, pool: address },
        receiptKey: { address: chain.account, sign: (data) => chain.signDigest(digestOf(data)) },
        evaluate: evaluateModel,
        seed: options.seed,
        strategy: options.strategy,
        scheme: schemeOf(options),
        rules: {
          strongTrials: options.strongTrials,
          partition: options.partition,
          subspaces: options.subspaces,
          backups: options.backups,
          auditRate: options.auditRate,
        },
        log,
      });
      const endpoint = await startPoolEndpoint({ manager, host: options.host, port: options.port, signal, log });
      log.info(
        { event: "ready", pool: address, url: endpoint.url },
        `the pool ${address} takes miners at ${endpoint.url}`,
      );
      try {
        await runPoolManager({
          chain,
          pool: createPoolContract(chain, address),
          manager,
          store,
          files,
          state,
          log,
          signal,
          commitMargin: options.commitMargin,
          terms: options,
        });
      } finally {
        await endpoint.stop();
        await manager.stop();
      }
      database.lost.throwIfAborted();
    } finally {
      await database.close();
    }
  });
}

const TERMS = ["feeBps", "objectionWindow", "settlementWindow", "receiptsWindow"] as const;

/** What was asked for on the command line and is otherwise: a pool that was there before keeps its terms. */
async function otherTerms(
  chain: ChainClient,
  address: Address,
  command: Pick<Command, "getOptionValueSource">,
  options: CreateOptions,
): Promise<string[]> {
  const terms = await createPoolContract(chain, address).terms();
  return TERMS.filter((name) => command.getOptionValueSource(name) === "cli" && options[name] !== terms[name]).map(
    (name) => {
      const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      return `The pool ${address} was there before, with ${flag} ${terms[name]}: it stays so, and is not ${options[name]}.`;
    },
  );
}

function databaseOption(): Option {
  return new Option(
    "--database <url>",
    "PostgreSQL server as postgresql://user:password@host:port/database; without it a folder in --state-dir",
  )
    .env("DATABASE_URL")
    .argParser(serverUrl);
}

/** The embedded database of a pool that was there before: reading makes none. */
function folderOf(stateDir: string | undefined): string {
  if (stateDir === undefined) {
    throw new PonasError("usage", "Which pool's decisions? Neither --state-dir nor --database is given.");
  }
  const dir = join(stateDir, "database");
  if (existsSync(dir)) return dir;
  throw new PonasError("not-found", `There is no pool's database in ${stateDir}.`, {
    cure: "name the folder that pool run was given, or ~/.ponas/<account>",
  });
}

function serverUrl(text: string): string {
  // Not commander's own error: it would print the URL, and with it a password.
  if (isServerUrl(text)) return text;
  throw new PonasError("usage", "The pool's database is none of a PostgreSQL server.", {
    cure: "write --database or DATABASE_URL as postgresql://user:password@host:port/database",
  });
}

function addTerms(command: Command): Command {
  return command
    .option("--title <text>", "one account may have several pools, told apart by this", "pool")
    .option("--fee-bps <bps>", "manager's fee in parts of ten thousand", wholeNumber("--fee-bps", 0, 2000), 200)
    .option(
      "--objection-window <s>",
      "seconds between a split and the first claim",
      wholeNumber("--objection-window", 0, 30 * DAYS),
      DAYS,
    )
    .option(
      "--settlement-window <s>",
      "seconds the manager has to post a split",
      wholeNumber("--settlement-window", 1, 30 * DAYS),
      3 * DAYS,
    )
    .option(
      "--receipts-window <s>",
      "seconds miners have to hand in receipts otherwise",
      wholeNumber("--receipts-window", 1, 30 * DAYS),
      3 * DAYS,
    )
    .addOption(
      new Option("--scheme <name>", "how points are counted; all but performance rest in part on the miners' word")
        .choices(SCHEME_NAMES)
        .default("performance" satisfies SchemeName),
    )
    .option(
      "--scheme-performance <n>",
      "blend: parts of the reward that go by performance",
      wholeNumber("--scheme-performance", 1, 1000),
      1,
    )
    .option(
      "--scheme-effort <n>",
      "blend: parts of the reward that go by effort",
      wholeNumber("--scheme-effort", 1, 1000),
      1,
    )
    .option(
      "--scheme-trials <n>",
      "pplns: trials that are looked back on",
      wholeNumber("--scheme-trials", 1, 1_000_000),
      1000,
    );
}

function schemeOf({ scheme: name, schemePerformance, schemeEffort, schemeTrials }: CreateOptions): SchemeTerms {
  switch (name) {
    case "blend":
      return { name, performance: schemePerformance, effort: schemeEffort };
    case "pplns":
      return { name, trials: schemeTrials };
    default:
      return { name };
  }
}

function termsOf(options: CreateOptions, receiptKey: `0x${string}`) {
  const { feeBps, objectionWindow, settlementWindow, receiptsWindow } = options;
  const scheme = createScheme(schemeOf(options)).text;
  return { receiptKey, feeBps, objectionWindow, settlementWindow, receiptsWindow, scheme };
}
