/**
 * One agent's view of the chain: typed reads (viem), transactions signed and sent in order (ethers), and a stream of
 * heads. Built for level-triggered agents: nothing here depends on having seen an event, an RPC that goes away is
 * waited for, and a transaction counts as done only when its receipt is still there at the wanted depth.
 */
import { FetchRequest, JsonRpcProvider, Network, Transaction, Wallet } from "ethers";
import {
  createPublicClient,
  defineChain,
  encodeFunctionData,
  http,
  isHex,
  numberToHex,
  type Abi,
  type ContractFunctionArgs,
  type ContractFunctionName,
  type ContractFunctionReturnType,
  type PublicClient,
  type Transport,
} from "viem";

import { taskRegistryAbi, validatorStakeAbi } from "./abi.ts";
import type { Address, Domain, Hex } from "./bytes.ts";
import { answered, isOutage, isTaken, notANode, notTaken, permitted } from "./chain-errors.ts";
import type { Deployment } from "./deployment.ts";
import { PonasError, explainError } from "./errors.ts";
import { createLogRanges, isRefusal } from "./log-ranges.ts";
import type { Log } from "./log.ts";
import { signDigest } from "./secp256k1.ts";
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
  /** what errors call it; the function's name unless given, which says little of a `multicall` */
  readonly name?: string;
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
  /** For logs, receipts and code; like everything here it waits out an RPC that went away. */
  readonly client: PublicClient;
  /**
   * A view's value at the latest block.
   * @throws PonasError reverted, where the view refuses; chain-mismatch, where there is no such contract
   */
  read<const A extends Abi, N extends ReadName<A>>(
    request: ReadRequest<A, N>,
  ): Promise<ContractFunctionReturnType<A, "view" | "pure", N>>;
  /**
   * Sends one call and waits until it is mined, `depth` blocks deep. Calls of one client go one after another.
   * @throws PonasError reverted naming the contract's error, where the chain refuses the call; unavailable where the
   * account cannot pay for gas, or where another transaction of the same account came first
   */
  send<const A extends Abi, N extends WriteName<A>>(request: SendRequest<A, N>): Promise<Sent>;
  head(): Promise<Head>;
  /** Every new head, oldest first skipped: a slow reader gets the newest. Ends when the signal fires, never throws. */
  heads(): AsyncGenerator<Head, void, void>;
  /** A signature over a digest, of EIP-712 data for instance: 65 bytes. */
  signDigest(digest: Hex): Promise<Hex>;
  /** Deterministic (RFC 6979) signature over a text: the source of salts that survive a lost disk. */
  signText(text: string): Promise<Hex>;
  close(): void;
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

type RpcRequest = (args: { readonly method: string; readonly params: unknown }) => Promise<unknown>;

/** What is asked of `eth_getLogs` here. */
interface LogFilter {
  readonly fromBlock?: Hex;
  readonly toBlock?: Hex | "latest";
  readonly blockHash?: Hex;
}

/** A gas limit is the estimate and a third: a state that moved between estimate and mining must not run dry. */
const padGas = (estimate: bigint): bigint => (estimate * 4n) / 3n + 20_000n;

/** A node that takes a request and does not answer it within this is away. */
const REQUEST_TIMEOUT_MS = 10_000;

/** After this long without a receipt the same nonce is offered again with more of a fee. */
const BUMP_AFTER_MS = 30_000;

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

  const inRanges = createLogRanges<unknown>();
  async function logsOf([filter]: [LogFilter], plain: RpcRequest): Promise<unknown> {
    const ask = (range: LogFilter) => plain({ method: "eth_getLogs", params: [range] });
    const { fromBlock, toBlock, blockHash } = filter;
    if (fromBlock === undefined || blockHash !== undefined) return patiently(() => ask(filter));
    const last = isHex(toBlock)
      ? toBlock
      : ((await patiently(() => plain({ method: "eth_blockNumber", params: [] }))) as Hex);
    return inRanges({ from: BigInt(fromBlock), to: BigInt(last) }, async (from, to) => {
      const range = { ...filter, fromBlock: numberToHex(from), toBlock: numberToHex(to) };
      let refusal: unknown;
      const logs = await patiently(() =>
        ask(range).catch((error: unknown) => {
          // What is too much is asked for in parts; one block is no more to be parted.
          if (from === to || !isRefusal(error)) throw error;
          refusal = error;
        }),
      );
      if (refusal !== undefined) throw refusal as Error;
      return logs as unknown[];
    });
  }

  // The patience sits in the transport, so that every request has it, whoever makes it.
  const timeout = Math.min(REQUEST_TIMEOUT_MS, patienceMs);
  const transport: Transport = (parameters) => {
    const plain = http(rpcUrl, { retryCount: 0, timeout })(parameters);
    const request = async (args: Parameters<typeof plain.request>[0]) => {
      const result = await (args.method === "eth_getLogs"
        ? logsOf(args.params as [LogFilter], plain.request as RpcRequest)
        : patiently(() => plain.request(args)));
      if (result === undefined) throw notANode(rpcUrl, `it has no answer to ${args.method}`);
      return result;
    };
    return { ...plain, request: request as typeof plain.request };
  };
  const client: PublicClient = createPublicClient({ chain, transport, cacheTime: 0 });
  const network = Network.from(deployment.chainId);
  const request = new FetchRequest(rpcUrl);
  request.timeout = timeout;
  // Without the cache of 250 ms that ethers has by default: a nonce read before a block and a receipt read after it
  // would make our own transaction look like another's that overtook it.
  const provider = new JsonRpcProvider(request, network, {
    staticNetwork: network,
    batchMaxCount: 1,
    cacheTimeout: -1,
  });

  const signer = (): Wallet => {
    if (wallet === undefined) {
      throw new PonasError("wrong-key", "This needs a private key, and none was given.", {
        cure: "pass --key-file or set PONAS_PRIVATE_KEY",
      });
    }
    return wallet;
  };

  const latestBlock = () => answered(rpcUrl, () => client.getBlock({ blockTag: "latest" }));
  const head = async (): Promise<Head> => {
    const { number, hash, timestamp } = await latestBlock();
    return { number, hash, timestamp };
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
    const estimate = await permitted(name, abi, () => client.estimateGas({ account, to, data }));
    const nonce = await patiently(() => provider.getTransactionCount(account, "latest"));
    const hashes: Hex[] = [];
    let tip = 1_000_000_000n;
    let maxFee = 0n;
    let raw = "";
    let taken = false;

    /** Hands the transaction to the node; the same bytes again are not an error. */
    const broadcast = async (): Promise<void> => {
      try {
        await provider.send("eth_sendRawTransaction", [raw]);
        taken = true;
      } catch (error) {
        if (isOutage(error)) return; // the loop below offers it again
        if (isTaken(error)) taken = true;
        else if (taken) log.debug({ err: error }, `${name} was offered again, and refused`);
        else throw notTaken(error, name);
      }
    };
    const offer = async (): Promise<void> => {
      const block = await latestBlock();
      const enough = 2n * (block.baseFeePerGas ?? 0n) + tip;
      const raised = (maxFee * 9n) / 8n; // nodes replace a transaction only for a tenth more
      maxFee = enough > raised ? enough : raised;
      raw = await from.signTransaction({
        type: 2,
        chainId: deployment.chainId,
        nonce,
        to,
        data,
        gasLimit: padGas(estimate),
        maxFeePerGas: maxFee,
        maxPriorityFeePerGas: tip,
      });
      hashes.push(Transaction.from(raw).hash as Hex);
      await broadcast();
    };

    let offeredAt = performance.now();
    await offer();
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
        offeredAt = performance.now();
        await offer();
      } else if (round % 10 === 9) {
        const next = await patiently(() => provider.getTransactionCount(account, "latest"));
        if (next > nonce && (await findReceipt(hashes)) === null) {
          // Sent before a crash, or by a second process on this key: read the state anew and decide again.
          throw new PonasError("unavailable", `${name} was overtaken by another transaction of ${account}.`);
        }
        await broadcast(); // a restarted node may have lost its pool
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
    read: ({ abi, ...call }) =>
      permitted(call.functionName, abi, () => client.readContract({ abi, ...call } as never)) as never,
    send: (request) => {
      const { abi, address, functionName, args, name = functionName } = request;
      const data = encodeFunctionData({ abi, functionName, args } as never);
      return inOrder(() => sendNow(address, data, abi, name));
    },
    head,
    heads: async function* () {
      let last: Hex | undefined;
      let complaint: string | undefined;
      while (!signal.aborted) {
        try {
          const latest = await head();
          if (latest.hash !== last) {
            last = latest.hash;
            yield latest;
          }
          complaint = undefined;
        } catch (error) {
          if (signal.aborted) return;
          const sentence = explainError(error);
          if (sentence !== complaint) log.warn(sentence);
          complaint = sentence;
        }
        await sleep(pollMs, signal).catch(() => undefined); // the loop's condition sees the signal
      }
    },
    signDigest: async (digest) => signDigest(digest, signer().privateKey as Hex),
    signText: async (text) => (await signer().signMessage(text)) as Hex,
    close: () => provider.destroy(),
  };
}

/**
 * Makes sure that node, deployment and code agree before an agent acts on them.
 * @throws PonasError chain-mismatch naming what differs
 */
export async function checkDeployment(chain: ChainClient, rpcUrl: string): Promise<void> {
  const { client, deployment } = chain;
  const chainId = await answered(rpcUrl, () => client.getChainId());
  if (chainId !== deployment.chainId) {
    throw new PonasError(
      "chain-mismatch",
      `The node at ${rpcUrl} is on chain ${chainId}, the deployment file is for chain ${deployment.chainId}.`,
      { cure: "name the right node with --rpc, or the right file with --deployment" },
    );
  }
  for (const part of ["registry", "stake", "asset", "poolFactory", "disputes"] as const) {
    const address = deployment[part];
    if (address === undefined) continue;
    const code = await answered(rpcUrl, () => client.getCode({ address }));
    if (code === undefined || code === "0x") {
      throw new PonasError(
        "chain-mismatch",
        `There is no contract at the deployment's ${part} ${address} on the node at ${rpcUrl}.`,
        { cure: "deploy again: a local chain forgets its contracts when it restarts" },
      );
    }
  }
  if (deployment.disputes === undefined) return;
  const { registry, stake, disputes } = deployment;
  const named = await chain.read({ abi: taskRegistryAbi, address: registry, functionName: "disputes", args: [] });
  if (named !== disputes) {
    throw new PonasError(
      "chain-mismatch",
      `The registry ${registry} has its disputes at ${named}, the deployment file says ${disputes}.`,
      { cure: "name the right file with --deployment" },
    );
  }
  // Both are bound after they are deployed, and stake of another registry could be slashed by its disputes.
  for (const bound of [stake, disputes]) {
    const own = await chain.read({ abi: validatorStakeAbi, address: bound, functionName: "registry", args: [] });
    if (own === registry) continue;
    throw new PonasError(
      "chain-mismatch",
      `The contract ${bound} is bound to the registry ${own}, not to ${registry}.`,
      {
        cure: "deploy again, and wait until the deployment is done",
      },
    );
  }
}
