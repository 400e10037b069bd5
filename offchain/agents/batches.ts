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
 * Sends all of them. What the chain refuses together is looked at again, and then sent in halves: somebody else may have
 * made one of the calls first, and must not hold up the others, nor have each of them cost a transaction.
 * @param together sends calls as one transaction, through `multicall`
 * @param renew says what is left to do of refused calls, and how; the same unless given
 * @returns how many were taken, with the first failure of one that went alone
 * @throws PonasError where it is not the chain that refuses
 */
export async function sendBatched<Call extends BatchedCall>(
  calls: readonly Call[],
  together: (data: readonly Hex[]) => Promise<unknown>,
  renew?: (refused: readonly Call[]) => Promise<readonly Call[]>,
): Promise<{ readonly taken: number; readonly failure: PonasError | null }> {
  let taken = 0;
  let failure: PonasError | null = null;

  /** @returns whether the chain took them */
  async function attempt(work: () => Promise<unknown>, count: number): Promise<boolean> {
    try {
      await work();
      taken += count;
      return true;
    } catch (error) {
      if (!(error instanceof PonasError && error.code === "reverted")) throw error;
      if (count === 1) failure ??= error;
      return false;
    }
  }

  async function send(batch: readonly Call[], renewable: boolean): Promise<void> {
    if (batch.length === 0) return;
    if (batch.length === 1) return void (await attempt(() => batch[0]!.alone(), 1));
    if (await attempt(() => together(batch.flatMap(({ data }) => data)), batch.length)) return;
    if (renew !== undefined && renewable) {
      for (const part of inBatches(await renew(batch))) await send(part, false);
      return;
    }
    const half = batch.length >> 1;
    await send(batch.slice(0, half), false);
    await send(batch.slice(half), false);
  }

  for (const batch of inBatches(calls)) await send(batch, true);
  return { taken, failure };
}
