/** What a node or a contract answers when it does not do as asked, turned into sentences. */
import { BaseError, ContractFunctionRevertedError, decodeErrorResult, type Abi, type Hex } from "viem";

import { PonasError } from "./errors.ts";

const VIEM_OUTAGES = new Set([
  "HttpRequestError",
  "TimeoutError",
  "SocketClosedError",
  "WebSocketRequestError",
  "LimitExceededRpcError",
  "ResourceUnavailableRpcError",
]);
const ETHERS_OUTAGES = new Set(["NETWORK_ERROR", "SERVER_ERROR", "TIMEOUT", "ECONNREFUSED", "ECONNRESET"]);

/** True where the node did not answer, or not now: the same request may succeed later. */
export function isOutage(error: unknown): boolean {
  if (error instanceof BaseError) {
    return error.walk((cause) => cause instanceof Error && VIEM_OUTAGES.has(cause.name)) !== null;
  }
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (
    (typeof code === "string" && ETHERS_OUTAGES.has(code)) ||
    (typeof message === "string" && /ECONNREFUSED|ECONNRESET|fetch failed|socket hang up/.test(message))
  );
}

/** A PonasError inside of viem's error, such as an outage that lasted. */
function inner(error: BaseError): Error | null {
  return error.walk((cause) => cause instanceof PonasError) as Error | null;
}

const oneLine = (error: BaseError): string => error.shortMessage.replace(/\s+/g, " ").replace(/\.$/, "");

/** Something that listens there, but speaks another language or is in a state of its own. */
export function notANode(rpcUrl: string, reason: string, cause?: unknown): PonasError {
  return new PonasError("unavailable", `The node at ${rpcUrl} does not answer as a chain's node does: ${reason}.`, {
    cure: "name another with --rpc",
    cause,
  });
}

/** Does what asks a node for a fact. @throws PonasError unavailable where the answer is none */
export async function answered<T>(rpcUrl: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof BaseError)) throw error;
    throw inner(error) ?? notANode(rpcUrl, oneLine(error), error);
  }
}

/** Does what a contract may refuse: a read or an estimate. @throws PonasError with the contract's own error in it */
export async function permitted<T>(name: string, abi: Abi, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof BaseError ? (inner(error) ?? refusal(error, abi, name)) : error;
  }
}

function refusal(error: BaseError, abi: Abi, name: string): PonasError {
  if (error.walk((cause) => (cause as Error).name === "ContractFunctionZeroDataError") !== null) {
    return new PonasError("chain-mismatch", `The chain has nothing at that address that answers ${name}.`, {
      cure: "compare the deployment file with the chain of --rpc",
      cause: error,
    });
  }
  const revert = error.walk((cause) => cause instanceof ContractFunctionRevertedError);
  const reason = revert instanceof ContractFunctionRevertedError ? revert.data : decode(error, abi);
  if (reason !== undefined) {
    const { errorName, args = [] } = reason;
    const details = args.length === 0 ? "" : `(${args.map(String).join(", ")})`;
    return new PonasError("reverted", `${name} was refused: ${errorName}${details}.`, { cause: error });
  }
  if (isPoverty(error)) return poverty(name, error);
  return new PonasError("reverted", `${name} was refused: ${oneLine(error)}.`, { cause: error });
}

function decode(error: BaseError, abi: Abi): { errorName: string; args?: readonly unknown[] } | undefined {
  const data = revertData(error);
  if (data === undefined || data === "0x") return undefined;
  try {
    return decodeErrorResult({ abi, data });
  } catch {
    return undefined; // an error of another contract: the node's own words have to do
  }
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

const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const isPoverty = (error: unknown): boolean => /insufficient funds|doesn't have enough funds/i.test(words(error));

function poverty(name: string, cause: unknown): PonasError {
  return new PonasError("unavailable", `${name} could not be sent: the account cannot pay for its gas.`, {
    cure: "send the account some of the chain's own currency",
    cause,
  });
}

/** True where the node has these bytes, or has another transaction of the same nonce: waiting will tell which counts. */
export function isTaken(error: unknown): boolean {
  return /already known|known transaction|already imported|nonce too low|nonce is too low|underpriced/i.test(
    words(error),
  );
}

/** Why the node did not take a transaction: in its own words, where it is not the lack of funds. */
export function notTaken(error: unknown, name: string): PonasError {
  if (isPoverty(error)) return poverty(name, error);
  const { error: answer, info } = error as { error?: { message?: string }; info?: { error?: { message?: string } } };
  const reason = (info?.error?.message ?? answer?.message ?? words(error)).split("\n")[0]!.replace(/\.$/, "");
  return new PonasError("unavailable", `${name} was not taken by the node: ${reason}.`, { cause: error });
}
