import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import { Option, type Command } from "commander";

import {
  checkDeployment,
  createChainClient,
  walletOf,
  type ChainClient,
  type ChainClientOptions,
} from "../protocol/chain-client.ts";
import { readDeployment } from "../protocol/deployment.ts";
import { PonasError } from "../protocol/errors.ts";
import { createLog, LOG_FORMATS, type Log, type LogFormat } from "../protocol/log.ts";
import { watchParent } from "./parent.ts";

/** What every command of one process shares. */
export interface Context {
  /** Fires at Ctrl-C, SIGTERM, or when the parent that asked for it (PONAS_PARENT) is gone. */
  readonly signal: AbortSignal;
  interrupted(): boolean;
  /** Prints one result: the JSON value alone on stdout with `--json`, else the text for people. */
  print(json: boolean | undefined, value: unknown, text: string): void;
  /** Prints remarks on stderr, where they spoil no result. */
  note(remarks: readonly string[]): void;
  setExitCode(code: number): void;
  exitCode(): number;
  dispose(): void;
}

export function createContext(): Context {
  const controller = new AbortController();
  let interrupted = false;
  let code = 0;
  const stop = (): void => {
    if (interrupted) process.exit(130); // the second Ctrl-C does not wait
    interrupted = true;
    controller.abort(new PonasError("aborted", "Stopped."));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  // Whoever reads our output may stop reading, as `head` does: that is no failure.
  const unread = (error: NodeJS.ErrnoException): void => {
    if (error.code !== "EPIPE") throw error;
    process.exit(code);
  };
  process.stdout.on("error", unread);
  watchParent(() => controller.abort(new PonasError("aborted", "The process that started this is gone.")));
  return {
    signal: controller.signal,
    interrupted: () => interrupted || controller.signal.aborted,
    print: (json, value, text) => {
      process.stdout.write(json === true ? `${JSON.stringify(value, bigintAsText)}\n` : `${text}\n`);
    },
    note: (remarks) => {
      for (const remark of remarks) process.stderr.write(`note: ${remark}\n`);
    },
    setExitCode: (next) => {
      code = next;
    },
    exitCode: () => code,
    dispose: () => {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    },
  };
}

/** Amounts are bigints; in JSON they stand as decimal strings, since a double would round them. */
function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

// ————— Options shared by the daemons —————

export interface DaemonOptions {
  readonly rpc: string;
  readonly deployment: string;
  readonly keyFile?: string;
  readonly stateDir?: string;
  readonly log: LogFormat;
  readonly depth: number;
  readonly patience: number;
  readonly name?: string;
}

export function addChainOptions(command: Command): Command {
  return command
    .option("--rpc <url>", "JSON-RPC endpoint of the chain", process.env.PONAS_RPC_URL ?? "http://127.0.0.1:8545")
    .option("--patience <s>", "how long to wait for a chain that is away", wholeNumber("--patience", 1, 86_400), 60)
    .option("--deployment <file>", "addresses of the contracts", process.env.PONAS_DEPLOYMENT ?? "deployment.json")
    .option("--key-file <file>", "file with the account's private key (else the variable PONAS_PRIVATE_KEY)")
    .option("--state-dir <folder>", "what must survive a restart (default: ~/.ponas/<account>)")
    .option("--depth <blocks>", "blocks on top before a transaction counts", wholeNumber("--depth", 0), 0)
    .option("--name <name>", "name in the log")
    .addOption(new Option("--log <format>", "log format on stderr").choices([...LOG_FORMATS]).default("text"));
}

/** What miners and pools ask of a task's terms before they put a bond into it. */
export interface TermsOptions {
  readonly minAnswer: number;
  readonly minReward: bigint;
}

export function addTermsOptions(command: Command): Command {
  return command
    .option(
      "--min-answer <s>",
      "leave tasks alone whose phases to answer in are shorter",
      wholeNumber("--min-answer", 1),
      36,
    )
    .addOption(amountOption("--min-reward", "leave tasks alone that pay less", "0.000000000000000001"));
}

export function addStorageOptions(command: Command): Command {
  return command
    .option("--ipfs <url>", "RPC of a running IPFS node; without it this process carries one")
    .option("--ipfs-listen <multiaddr>", "where the own node listens", "/ip4/127.0.0.1/tcp/0")
    .option("--peer <multiaddr...>", "IPFS nodes to stay connected to");
}

export interface Session {
  readonly chain: ChainClient;
  readonly log: Log;
  readonly stateDir: string;
}

/** Opens the chain for a daemon: key, deployment and node are checked before anything else happens. */
export async function openSession(role: string, options: DaemonOptions, { signal }: Context): Promise<Session> {
  const log = createLog(options.name ?? role, { format: options.log });
  const deployment = readDeployment(options.deployment);
  const privateKey = readKey(options.keyFile);
  const { address } = walletOf(privateKey);
  const chain = await connect(options, { deployment, privateKey, log, signal });
  return { chain, log, stateDir: options.stateDir ?? join(homedir(), ".ponas", address) };
}

/** Opens the chain for commands that only read. */
export function openReader(name: string, options: DaemonOptions, { signal }: Context): Promise<ChainClient> {
  const log = createLog(options.name ?? name, { format: options.log });
  return connect(options, { deployment: readDeployment(options.deployment), log, signal });
}

async function connect(
  { rpc, depth, patience }: DaemonOptions,
  rest: Pick<ChainClientOptions, "deployment" | "privateKey" | "log" | "signal">,
): Promise<ChainClient> {
  checkEndpoint(rpc);
  const chain = createChainClient({ ...rest, rpcUrl: rpc, depth, patienceMs: patience * 1000 });
  await checkDeployment(chain, rpc);
  return chain;
}

function readKey(keyFile: string | undefined): string {
  if (keyFile === undefined) {
    const key = process.env.PONAS_PRIVATE_KEY;
    if (key !== undefined) return key;
    throw new PonasError("wrong-key", "This needs a private key, and none was given.", {
      cure: "pass --key-file or set PONAS_PRIVATE_KEY",
    });
  }
  try {
    return readFileSync(keyFile, "utf8");
  } catch (cause) {
    throw new PonasError("wrong-key", `The key file ${keyFile} cannot be read.`, { cause });
  }
}

// ————— Parsing of options —————

function checkEndpoint(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new PonasError("usage", `--rpc takes a URL such as http://127.0.0.1:8545, not "${text}".`);
  }
}

/** A parser of whole numbers for commander. @throws PonasError usage */
export function wholeNumber(flag: string, least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
      throw new PonasError("usage", `${flag} takes a whole number ${range}, not "${text}".`);
    }
    return value;
  };
}

/** A parser of hardware bounds, 0 meaning that there is none, for commander. @throws PonasError usage */
export const hardwareBound = (flag: string) => wholeNumber(flag, 0, 0xffff_ffff);

/** A task's number, for commander. @throws PonasError usage */
export function taskNumber(text: string): bigint {
  if (!/^\d{1,18}$/.test(text)) throw new PonasError("usage", `A task is named by its number, not "${text}".`);
  return BigInt(text);
}

/** An amount of the asset in units (10^-18), as a decimal number of whole tokens: "1.5". @throws PonasError usage */
function amount(flag: string): (text: string) => bigint {
  return (text) => {
    const match = /^(\d{1,40})(?:\.(\d{1,18}))?$/.exec(text);
    if (match === null) throw new PonasError("usage", `${flag} takes an amount such as 100 or 0.5, not "${text}".`);
    return BigInt(match[1]!) * 10n ** 18n + BigInt((match[2] ?? "").padEnd(18, "0"));
  };
}

/** An option that takes an amount. @param whole what it is unless given, as it is written on the command line */
export function amountOption(flag: string, description: string, whole?: string): Option {
  const parse = amount(flag);
  const option = new Option(`${flag} <amount>`, description).argParser(parse);
  // commander's help cannot print a bigint by itself
  return whole === undefined ? option : option.default(parse(whole), whole);
}

/** A parser of shares for commander. @throws PonasError usage */
export function fraction(flag: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value > 0 && value <= 1)) {
      throw new PonasError("usage", `${flag} takes a number above 0 and up to 1, not "${text}".`);
    }
    return value;
  };
}
