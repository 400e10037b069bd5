/**
 * One agent's view of the chain: typed reads (viem), transactions signed and sent in order (ethers), and a stream of
 * heads. Built for level-triggered agents: nothing here depends on having seen an event, an RPC that goes away is
 * waited for, and a transaction counts as done only when its receipt is still there at the wanted depth.
 */
import { JsonRpcProvider, Network, Transaction, Wallet } from "ethers";
import {
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  decodeErrorResult,
  defineChain,
  encodeFunctionData,
  http,
  type Abi,
  type ContractFunctionArgs,
  type ContractFunctionName,
  type ContractFunctionReturnType,
  type PublicClient,
  type TypedDataDomain,
} from "viem";

import type { Address, Domain, Hex } from "./bytes.ts";
import type { Deployment } from "./deployment.ts";
import { PonasError } from "./errors.ts";
import type { Log } from "./log.ts";
import { sleep, withRetry } from "./wait.ts";

type ReadName<A extends Abi> = ContractFunctionName<A, "view" | "pure">;
type WriteName<A extends Abi> = ContractFunctionName<A, "nonpayable" | "payable">;

export interface ReadRequest<A extends Abi, N extends ReadName<A>> {
  readonly abi: A;
  readonly address: Address;
  readonly functionName: N;
  readonly args: ContractFunctionArgs<A, "view" | "pure", N>;
}

export interface SendRequest<A extends Abi, N extends WriteName<A>> {
  readonly abi: A;
  readonly address: Address;
  readonly functionName: N;
  readonly args: ContractFunctionArgs<A, "nonpayable" | "payable", N>;
}

export interface Head {
  readonly number: bigint;
  readonly hash: Hex;
  /** seconds since 1970, the contracts' clock */
  readonly timestamp: bigint;
}

export interface Sent {
  readonly hash: Hex;
  readonly blockNumber: bigint;
  readonly gasUsed: bigint;
}

export interface ChainClient {
  readonly deployment: Deployment;
  readonly domain: Domain;
  /** The account that signs. @throws PonasError wrong-key where the client was made without a key */
  readonly account: Address;
  readonly client: PublicClient;
  /** A view's value at the latest block; waits out an RPC that went away. */
  read<const A extends Abi, N extends ReadName<A>>(
    request: ReadRequest<A, N>,
  ): Promise<ContractFunctionReturnType<A, "view" | "pure", N>>;
  /**
   * Sends one call and waits until it is mined, `depth` blocks deep. Calls of one client go one after another.
   * @throws PonasError "reverted" naming the contract's error, where the chain refuses the call
   */
  send<const A extends Abi, N extends WriteName<A>>(request: SendRequest<A, N>): Promise<Sent>;
  head(): Promise<Head>;
  /** Every new head, oldest first skipped: a slow reader gets the newest. Ends when the signal fires, never throws. */
  heads(): AsyncGenerator<Head, void, void>;
  signTypedData(typed: TypedMessage): Promise<Hex>;
  /** Deterministic (RFC 6979) signature over a text: the source of salts that survive a lost disk. */
  signText(text: string): Promise<Hex>;
  close(): void;
}

/** EIP-712 typed data, without the name of its only type. */
export interface TypedMessage {
  readonly domain: TypedDataDomain;
  readonly types: Record<string, { readonly name: string; readonly type: string }[]>;
  readonly message: Record<string, unknown>;
}

export interface ChainClientOptions {
  readonly rpcUrl: string;
  readonly deployment: Deployment;
  /** 32 bytes in hex; without it the client only reads */
  readonly privateKey?: string | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** blocks on top of a receipt before it counts; 0 for a chain without reorganisations */
  readonly depth?: number;
  /** how often to ask for the head, in milliseconds */
  readonly pollMs?: number;
  /** how long one call waits for an RPC that is away, in milliseconds */
  readonly patienceMs?: number;
}

/** A gas limit is the estimate and a third: a state that moved between estimate and mining must not run dry. */
const padGas = (estimate: bigint): bigint => (estimate * 4n) / 3n + 20_000n;

/** After this long without a receipt the same nonce is offered again with more of a fee. */
const BUMP_AFTER_MS = 30_000;

function isOutage(error: unknown): boolean {
  if (error instanceof BaseError) {
    return (
      error.walk(
        (cause) =>
          cause instanceof Error &&
          ["HttpRequestError", "TimeoutError", "SocketClosedError", "WebSocketRequestError"].includes(cause.name),
      ) !== null
    );
  }
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (
    (typeof code === "string" &&
      ["NETWORK_ERROR", "SERVER_ERROR", "TIMEOUT", "ECONNREFUSED", "ECONNRESET"].includes(code)) ||
    (typeof message === "string" && /ECONNREFUSED|ECONNRESET|fetch failed|socket hang up/.test(message))
  );
}

/** Parses a private key. The key itself never appears in the message. @throws PonasError wrong-key */
export function walletOf(privateKey: string): Wallet {
  try {
    return new Wallet(privateKey.trim());
  } catch {
    throw new PonasError("wrong-key", "The private key is not 32 bytes in hex.", {
      cure: "give the key file or the variable PONAS_PRIVATE_KEY a key of 0x and 64 hex digits",
    });
  }
}

export function createChainClient(options: ChainClientOptions): ChainClient {
  const { rpcUrl, deployment, log, signal, depth = 0, pollMs = 500, patienceMs = 60_000 } = options;
  const wallet = options.privateKey === undefined ? undefined : walletOf(options.privateKey);
  const chain = defineChain({
    id: deployment.chainId,
    name: `chain ${deployment.chainId}`,
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  });
  const client: PublicClient = createPublicClient({
    chain,
    transport: http(rpcUrl, { retryCount: 0, timeout: 10_000 }),
    cacheTime: 0,
  });
  const network = Network.from(deployment.chainId);
  const provider = new JsonRpcProvider(rpcUrl, network, { staticNetwork: network, batchMaxCount: 1 });

  let away = false;
  const patiently = <T>(work: () => Promise<T>): Promise<T> =>
    withRetry(work, {
      signal,
      deadlineMs: patienceMs,
      retryable: isOutage,
      onOutage: () => {
        if (!away) log.warn({ rpcUrl }, `the chain at ${rpcUrl} does not answer; waiting for it`);
        away = true;
      },
      giveUp: (cause) =>
        new PonasError("chain-unreachable", `The chain at ${rpcUrl} has not answered for ${patienceMs / 1000} s.`, {
          cure: "start the node, or name another with --rpc",
          cause,
        }),
    }).then((value) => {
      if (away) log.info({ rpcUrl }, `the chain at ${rpcUrl} answers again`);
      away = false;
      return value;
    });

  const signer = (): Wallet => {
    if (wallet === undefined) {
      throw new PonasError("wrong-key", "This needs a private key, and none was given.", {
        cure: "pass --key-file or set PONAS_PRIVATE_KEY",
      });
    }
    return wallet;
  };

  const head = async (): Promise<Head> => {
    const { number, hash, timestamp } = await patiently(() => client.getBlock({ blockTag: "latest" }));
    return { number, hash, timestamp };
  };

  /** Signs for a nonce and broadcasts; the same bytes again are not an error. */
  const broadcast = async (raw: string): Promise<void> => {
    try {
      await provider.send("eth_sendRawTransaction", [raw]);
    } catch (error) {
      if (isOutage(error)) return; // the loop around us offers it again
      const text = error instanceof Error ? error.message : String(error);
      if (!/already known|known transaction|already imported|nonce too low|nonce is too low|underpriced/i.test(text))
        throw error;
    }
  };

  const findReceipt = async (hashes: readonly Hex[]) => {
    for (const hash of hashes) {
      const receipt = await patiently(() => provider.getTransactionReceipt(hash));
      if (receipt !== null) return receipt;
    }
    return null;
  };

  let queue: Promise<unknown> = Promise.resolve();
  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work, work);
    queue = turn.catch(() => undefined);
    return turn;
  };

  const sendNow = async (to: Address, data: Hex, abi: Abi, name: string): Promise<Sent> => {
    const from = signer();
    const account = from.address as Address;
    let estimate: bigint;
    try {
      estimate = await patiently(() => client.estimateGas({ account, to, data }));
    } catch (error) {
      throw refusal(error, abi, name);
    }
    const nonce = await patiently(() => provider.getTransactionCount(account, "latest"));
    let tip = 1_000_000_000n;
    const sign = async (): Promise<{ raw: string; hash: Hex }> => {
      const block = await patiently(() => client.getBlock({ blockTag: "latest" }));
      const raw = await from.signTransaction({
        type: 2,
        chainId: deployment.chainId,
        nonce,
        to,
        data,
        gasLimit: padGas(estimate),
        maxFeePerGas: 2n * (block.baseFeePerGas ?? 0n) + tip,
        maxPriorityFeePerGas: tip,
      });
      return { raw, hash: Transaction.from(raw).hash as Hex };
    };
    let offer = await sign();
    const hashes: Hex[] = [offer.hash];
    let offeredAt = performance.now();
    await broadcast(offer.raw);
    for (let round = 0; ; round++) {
      const receipt = await findReceipt(hashes);
      if (receipt !== null) {
        const latest = await head();
        // A receipt counts when it is deep enough, and it is read again at that depth: a reorganisation may have removed it.
        if (latest.number >= BigInt(receipt.blockNumber + depth)) {
          if (receipt.status === 0) {
            throw new PonasError("reverted", `${name} was mined but refused by the contract (${receipt.hash}).`);
          }
          return {
            hash: receipt.hash as Hex,
            blockNumber: BigInt(receipt.blockNumber),
            gasUsed: receipt.gasUsed,
          };
        }
      } else if (performance.now() - offeredAt > BUMP_AFTER_MS) {
        tip = (tip * 3n) / 2n;
        offer = await sign();
        hashes.push(offer.hash);
        offeredAt = performance.now();
        await broadcast(offer.raw);
      } else if (round % 10 === 9) {
        const next = await patiently(() => provider.getTransactionCount(account, "latest"));
        if (next > nonce && (await findReceipt(hashes)) === null) {
          // Sent before a crash, or by a second process on this key: read the state anew and decide again.
          throw new PonasError("unavailable", `${name} was overtaken by another transaction of ${account}.`);
        }
        await broadcast(offer.raw); // a restarted node may have lost its pool
      }
      await sleep(Math.min(pollMs, 300), signal);
    }
  };

  return {
    deployment,
    domain: { chainId: BigInt(deployment.chainId), registry: deployment.registry },
    get account() {
      return signer().address as Address;
    },
    client,
    read: (request) => patiently(() => client.readContract(request as never)) as never,
    send: (request) => {
      const { abi, address, functionName, args } = request;
      const data = encodeFunctionData({ abi, functionName, args } as never);
      return inOrder(() => sendNow(address, data, abi, functionName));
    },
    head,
    heads: async function* () {
      let last: Hex | undefined;
      while (!signal.aborted) {
        try {
          const latest = await head();
          if (latest.hash !== last) {
            last = latest.hash;
            yield latest;
          }
          await sleep(pollMs, signal);
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof PonasError && error.retryable)) throw error;
          log.warn(error.message);
        }
      }
    },
    signTypedData: async ({ domain, types, message }) => (await signer().signTypedData(domain, types, message)) as Hex,
    signText: async (text) => (await signer().signMessage(text)) as Hex,
    close: () => provider.destroy(),
  };
}

/** Turns a failed estimate into a sentence with the contract's own error in it. */
function refusal(error: unknown, abi: Abi, name: string): unknown {
  if (!(error instanceof BaseError)) return error;
  const revert = error.walk((cause) => cause instanceof ContractFunctionRevertedError);
  if (revert instanceof ContractFunctionRevertedError && revert.data !== undefined) {
    return new PonasError("reverted", `${name} was refused: ${revert.data.errorName}.`, { cause: error });
  }
  const data = revertData(error);
  if (data !== undefined && data !== "0x") {
    try {
      const { errorName, args } = decodeErrorResult({ abi, data });
      const details = args === undefined || args.length === 0 ? "" : `(${args.map(String).join(", ")})`;
      return new PonasError("reverted", `${name} was refused: ${errorName}${details}.`, { cause: error });
    } catch {
      // an error of another contract: fall through to the node's own words
    }
  }
  const sentence = error.shortMessage.replace(/\s+/g, " ").replace(/\.$/, "");
  return new PonasError("reverted", `${name} was refused: ${sentence}.`, { cause: error });
}

function revertData(error: BaseError): Hex | undefined {
  let found: Hex | undefined;
  error.walk((cause) => {
    const data = (cause as { data?: unknown }).data;
    const hex = typeof data === "object" && data !== null ? (data as { data?: unknown }).data : data;
    if (typeof hex === "string" && /^0x[0-9a-f]*$/i.test(hex)) found = hex as Hex;
    return false;
  });
  return found;
}

/** The name of the contract's error in a "reverted" PonasError's sentence, or undefined. */
export function refusedBy(error: unknown): string | undefined {
  if (!(error instanceof PonasError) || error.code !== "reverted") return undefined;
  return /was refused: ([A-Z]\w*)/.exec(error.message)?.[1];
}

/**
 * Makes sure that node, deployment and code agree before an agent acts on them.
 * @throws PonasError chain-mismatch naming what differs
 */
export async function checkDeployment({ client, deployment }: ChainClient, rpcUrl: string): Promise<void> {
  const chainId = await client.getChainId();
  if (chainId !== deployment.chainId) {
    throw new PonasError(
      "chain-mismatch",
      `The node at ${rpcUrl} is on chain ${chainId}, the deployment file is for chain ${deployment.chainId}.`,
      { cure: "name the right node with --rpc, or the right file with --deployment" },
    );
  }
  for (const part of ["registry", "stake", "asset", "poolFactory"] as const) {
    const code = await client.getCode({ address: deployment[part] });
    if (code === undefined || code === "0x") {
      throw new PonasError(
        "chain-mismatch",
        `There is no contract at the deployment's ${part} ${deployment[part]} on the node at ${rpcUrl}.`,
        { cure: "deploy again: a local chain forgets its contracts when it restarts" },
      );
    }
  }
}
