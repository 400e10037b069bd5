/** Logs of long ranges, also from nodes that give out only so many blocks, or so many logs, at once. */
import { BaseError, HttpRequestError, RpcRequestError } from "viem";

/** Shorter ranges are made longer again after so many of them in a row were answered. */
const ANSWERS_BEFORE_LONGER = 4;
/** HTTP's words for "not so much": 429, which is "not so often", is none of them. */
const TOO_MUCH = new Set([400, 413]);

/** Whether the node has answered, and will not do this: of logs the usual reason is that they are too many. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof BaseError)) return false;
  return (
    error.walk(
      (cause) =>
        cause instanceof RpcRequestError || (cause instanceof HttpRequestError && TOO_MUCH.has(cause.status ?? 0)),
    ) !== null
  );
}

/**
 * @param ask for the logs of the blocks `from` … `to`, both included
 * @returns the same for ranges of any length; what a node has refused is not asked for again at once
 */
export function createLogRanges<Log>(): (
  range: { readonly from: bigint; readonly to: bigint },
  ask: (from: bigint, to: bigint) => Promise<readonly Log[]>,
) => Promise<Log[]> {
  /** blocks at once; null: as many as are wanted */
  let span: bigint | null = null;
  let answers = 0;
  return async ({ from, to }, ask) => {
    const found: Log[] = [];
    for (let at = from; at <= to;) {
      const end = span === null || at + span > to ? to : at + span - 1n;
      try {
        found.push(...(await ask(at, end)));
      } catch (error) {
        if (!isRefusal(error) || end === at) throw error;
        span = (end - at + 1n) / 2n;
        answers = 0;
        continue;
      }
      at = end + 1n;
      if (span === null || ++answers < ANSWERS_BEFORE_LONGER) continue;
      span *= 2n;
      answers = 0;
    }
    return found;
  };
}
