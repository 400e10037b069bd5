import { PonasError } from "../protocol/errors.ts";

/** The node said no (a status of 4xx): asking again changes nothing, although another node may do it. */
class Refusal extends Error {}

export function unreachable(rpcUrl: string, cause: unknown): PonasError {
  return new PonasError("store-unreachable", `The IPFS node at ${rpcUrl} does not answer.`, {
    cure: "start it, or give the URL of one that runs",
    cause,
  });
}

export function refusal(rpcUrl: string, command: string, status: number, message: string): PonasError {
  return new PonasError("store-unreachable", `The IPFS node at ${rpcUrl} refused ${command}: ${status} ${message}`, {
    cure: "check that the URL is the RPC of an IPFS node which lets this machine in",
    cause: new Refusal(message),
  });
}

/** Whether the same request to the same node may succeed a moment later. */
export function mayPass(error: unknown): boolean {
  return error instanceof PonasError && error.retryable && !(error.cause instanceof Refusal);
}
