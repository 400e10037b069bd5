/** Many calls of one contract in as few transactions as nodes take. */
import { PonasError } from "../protocol/errors.ts";
import type { Hex } from "../protocol/bytes.ts";

/** One of many calls, or several that go together. */
export interface BatchedCall {
  readonly data: readonly Hex[];
  /** what it may take, apart from its bytes */
  readonly gas: number;
  /** Sends it by itself, where it spoils a transaction for others. */
  alone(): Promise<unknown>;
}

/** With the margin that a gas limit has over its estimate, far below 2^24, which no transaction may pass (EIP-7825). */
const MOST_GAS = 8_000_000;
/** Nodes hand on transactions of up to 128 KiB. */
const MOST_BYTES = 96_000;
/** Of a byte that is no zero, at the price of a transaction of calldata alone (EIP-7623), hashed and logged. */
const GAS_OF_BYTE = 50;

/** Calls in their order, so many in one transaction as may be; one that is too large for any stands alone. */
export function inBatches<Call extends Pick<BatchedCall, "data" | "gas">>(calls: readonly Call[]): Call[][] {
  const batches: Call[][] = [];
  let room = { gas: 0, bytes: 0 };
  for (const call of calls) {
    const bytes = call.data.reduce((sum, data) => sum + (data.length - 2) / 2, 0);
    const gas = call.gas + GAS_OF_BYTE * bytes;
    if (batches.length === 0 || gas > room.gas || bytes > room.bytes) {
      batches.push([]);
      room = { gas: MOST_GAS, bytes: MOST_BYTES };
    }
    batches.at(-1)!.push(call);
    room = { gas: room.gas - gas, bytes: room.bytes - bytes };
  }
  return batches;
}

/**
 * Sends all of them. Where the chain refuses a transaction, each of its calls goes alone: somebody else may have made one
 * of them first, and must not hold up the others.
 * @param together sends calls as one transaction, through `multicall`
 * @returns how many were taken; with the first failure of one that went alone
 * @throws PonasError where it is not the chain that refuses
 */
export async function sendBatched(
  calls: readonly BatchedCall[],
  together: (data: readonly Hex[]) => Promise<unknown>,
): Promise<{ readonly taken: number; readonly failure: PonasError | null }> {
  let taken = 0;
  let failure: PonasError | null = null;
  for (const batch of inBatches(calls)) {
    if (batch.length > 1) {
      try {
        await together(batch.flatMap(({ data }) => data));
        taken += batch.length;
        continue;
      } catch (error) {
        if (!isRefused(error)) throw error;
      }
    }
    for (const call of batch) {
      try {
        await call.alone();
        taken++;
      } catch (error) {
        if (!isRefused(error)) throw error;
        failure ??= error;
      }
    }
  }
  return { taken, failure };
}

const isRefused = (error: unknown): error is PonasError => error instanceof PonasError && error.code === "reverted";
