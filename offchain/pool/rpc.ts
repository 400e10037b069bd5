/**
 * JSON-RPC 2.0 in both directions over a channel of text messages that is handed in: schema-checked requests,
 * notifications and answers, a deadline on every request, and an offence for everything that is not well formed.
 */
import { z } from "zod";

import { PonasError } from "../protocol/errors.ts";
import { errorDataSchema, RPC_ERROR, type ErrorData } from "./messages.ts";

/** What goes back to the other side in place of a result. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  readonly data: ErrorData | undefined;

  constructor(code: number, reason: string, data?: ErrorData) {
    super(reason);
    this.code = code;
    this.data = data;
  }
}

interface Method {
  readonly params: z.ZodType;
  /** null: a notification, which has no answer */
  readonly result: z.ZodType | null;
}
type Methods = Record<string, Method>;
type Params<M extends Method> = z.output<M["params"]>;
/** `undefined` for notifications, which have no result. */
type Result<M extends Method> = M["result"] extends z.ZodType ? z.output<M["result"]> : undefined;

export interface CallContext {
  /** Runs `work` once the answer has been handed to the channel. */
  afterReply(work: () => void): void;
}

export type Handlers<M extends Methods> = {
  readonly [K in keyof M]: (
    params: Params<M[K]>,
    context: CallContext,
  ) => M[K]["result"] extends z.ZodType ? Promise<Result<M[K]>> | Result<M[K]> : unknown;
};

export interface RpcPeer<Remote extends Methods> {
  /** Takes one message of the other side; never throws. */
  receive(text: string): void;
  /**
   * Asks the other side and waits for its answer.
   * @throws RpcError as the other side answered; PonasError timeout; integrity where the answer is not valid;
   * unavailable when the channel ends
   */
  request<K extends keyof Remote & string>(
    method: K,
    params: Params<Remote[K]>,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Result<Remote[K]>>;
  notify<K extends keyof Remote & string>(method: K, params: Params<Remote[K]>): void;
  /** Ends every outstanding request; nothing is sent or taken any more. */
  end(reason: string): void;
}

const requestSchema = z.object({
  jsonrpc: z.literal("2.0"),
  id: z.union([z.int(), z.string().max(100)]).optional(),
  method: z.string().max(100),
  params: z.unknown().optional(),
});
const answerSchema = z.object({
  jsonrpc: z.literal("2.0"),
  id: z.int(),
  result: z.unknown().optional(),
  error: z
    .object({ code: z.int(), message: z.string().max(2000), data: errorDataSchema.optional().catch(undefined) })
    .optional(),
});

/** The text of a message: integers of any size as decimal strings. */
function encode(message: unknown): string {
  return JSON.stringify(message, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
}

function faultOf(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return issue.path.length === 0 ? issue.message : `${issue.path.join(".")}: ${issue.message}`;
}

/**
 * Creates one end of a link.
 * @param options.serves methods that the other side may call, and `handlers` for them
 * @param options.calls methods that this side may call
 * @param options.onOffence called for each message that breaks the protocol, with its reason
 * @param options.onDefect called for what a handler throws beside RpcError; the other side hears "internal error"
 * @param options.maxInFlight requests of the other side that are worked on at once
 * @param options.maxQueued requests of the other side that may wait for their turn beside those
 * @param options.admit called before each request; what it throws is the answer
 * @param options.durably wraps the work on each request: its answer, good or bad, leaves when that resolves
 */
export function createRpcPeer<Local extends Methods, Remote extends Methods>(options: {
  readonly serves: Local;
  readonly handlers: Handlers<Local>;
  readonly calls: Remote;
  readonly send: (text: string) => void;
  readonly onOffence: (reason: string) => void;
  readonly onDefect: (error: unknown, method: string) => void;
  readonly maxInFlight?: number;
  readonly maxQueued?: number;
  readonly admit?: (method: string) => void;
  readonly durably?: <T>(work: () => Promise<T>) => Promise<T>;
}): RpcPeer<Remote> {
  const { serves, handlers, calls, send, onOffence, onDefect, maxInFlight = 8, maxQueued = 32 } = options;
  const { admit = () => undefined, durably = (work) => work() } = options;
  interface Waiting {
    readonly method: string;
    readonly answer: (value: unknown) => void;
    readonly fail: (error: Error) => void;
  }
  const waiting = new Map<number, Waiting>();
  let nextId = 1;
  let inFlight = 0;
  const queued: (() => void)[] = [];
  let ended: string | null = null;

  const transmit = (message: unknown): void => {
    if (ended === null) send(encode(message));
  };
  const answerError = (id: number | string | null, code: number, message: string, data?: ErrorData): void => {
    transmit({ jsonrpc: "2.0", id, error: { code, message: message.slice(0, 2000), data } });
  };
  const offend = (id: number | string | null, code: number, reason: string): void => {
    answerError(id, code, reason);
    onOffence(reason);
  };

  async function serve(message: z.infer<typeof requestSchema>): Promise<void> {
    const { method } = message;
    const id = message.id ?? null;
    const entry = Object.hasOwn(serves, method) ? serves[method]! : undefined;
    if (entry === undefined) return offend(id, RPC_ERROR.methodNotFound, `There is no method ${method}.`);
    const params = entry.params.safeParse(message.params);
    if (!params.success) {
      return offend(id, RPC_ERROR.invalidParams, `${method} is not valid: ${faultOf(params.error)}.`);
    }
    if ((entry.result === null) !== (id === null)) {
      const kind = entry.result === null ? "a notification and takes no id" : "a request and needs an id";
      return offend(id, RPC_ERROR.invalidRequest, `${method} is ${kind}.`);
    }
    if (inFlight >= maxInFlight) {
      if (queued.length >= maxQueued) {
        return offend(id, RPC_ERROR.invalidRequest, `More than ${maxInFlight + maxQueued} requests at once.`);
      }
      await new Promise<void>((resolve) => queued.push(resolve));
      if (ended !== null) return;
    }
    inFlight++;
    const afterwards: (() => void)[] = [];
    try {
      admit(method);
      const context: CallContext = { afterReply: (work) => afterwards.push(work) };
      const outcome = await durably(async () => {
        try {
          return { result: await handlers[method]!(params.data as never, context) };
        } catch (error) {
          return { error };
        }
      });
      if ("error" in outcome) throw outcome.error;
      if (id !== null) transmit({ jsonrpc: "2.0", id, result: outcome.result });
    } catch (error) {
      const delayed = error instanceof PonasError && error.retryable;
      if (!(error instanceof RpcError) && !delayed) onDefect(error, method);
      if (id !== null) {
        if (error instanceof RpcError) answerError(id, error.code, error.message, error.data);
        else if (delayed) answerError(id, RPC_ERROR.retry, error.message);
        else answerError(id, RPC_ERROR.internal, "An internal error; try again later.");
      }
    } finally {
      inFlight--;
      queued.shift()?.();
      for (const work of afterwards) work();
    }
  }

  function takeAnswer(value: unknown): void {
    const parsed = answerSchema.safeParse(value);
    if (!parsed.success) return onOffence(`An answer is not valid: ${faultOf(parsed.error)}.`);
    const { id, error, result } = parsed.data;
    const entry = waiting.get(id);
    // Not an offence: it may be the late answer to a request that ran out of time here.
    if (entry === undefined) return;
    if (error !== undefined) return entry.fail(new RpcError(error.code, error.message, error.data));
    const checked = calls[entry.method]!.result!.safeParse(result);
    if (checked.success) return entry.answer(checked.data);
    const reason = `The answer to ${entry.method} is not valid: ${faultOf(checked.error)}.`;
    entry.fail(new PonasError("integrity", reason)); // our own word, not the other side's
    onOffence(reason);
  }

  return {
    receive(text) {
      if (ended !== null) return;
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        return offend(null, RPC_ERROR.parse, "A message is not JSON.");
      }
      if (typeof value === "object" && value !== null && !("method" in value) && "id" in value && value.id !== null) {
        return takeAnswer(value);
      }
      // An error answer to nothing in particular: there is nobody to hand it to, and answering would make a loop.
      if (typeof value === "object" && value !== null && "error" in value) return onOffence("An error without an id.");
      const parsed = requestSchema.safeParse(value);
      if (!parsed.success) {
        return offend(null, RPC_ERROR.invalidRequest, `A message is not JSON-RPC 2.0: ${faultOf(parsed.error)}.`);
      }
      void serve(parsed.data);
    },

    request(method, params, { timeoutMs, signal }) {
      return new Promise((resolve, reject) => {
        if (ended !== null) return reject(new PonasError("unavailable", ended));
        if (signal?.aborted === true) return reject(new PonasError("aborted", "Stopped."));
        const id = nextId++;
        const settle = (): void => {
          waiting.delete(id);
          clearTimeout(timer);
          signal?.removeEventListener("abort", abort);
        };
        const fail = (error: Error): void => {
          settle();
          reject(error);
        };
        const abort = (): void => fail(new PonasError("aborted", "Stopped."));
        const timer = setTimeout(
          () => fail(new PonasError("timeout", `${method} was not answered within ${timeoutMs / 1000} s.`)),
          timeoutMs,
        );
        signal?.addEventListener("abort", abort, { once: true });
        waiting.set(id, {
          method,
          fail,
          answer: (value) => {
            settle();
            resolve(value as never);
          },
        });
        transmit({ jsonrpc: "2.0", id, method, params });
      });
    },

    notify(method, params) {
      transmit({ jsonrpc: "2.0", method, params });
    },

    end(reason) {
      if (ended !== null) return;
      ended = reason;
      for (const go of queued.splice(0)) go();
      for (const { fail } of [...waiting.values()]) fail(new PonasError("unavailable", reason));
    },
  };
}
