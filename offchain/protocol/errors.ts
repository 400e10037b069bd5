/**
 * Errors of ponas say what happened, with what, and what to do next.
 *
 * A {@link PonasError} is an answer to a person: the command line prints its sentence and its cure and exits with
 * its exit code, without a stack trace. Anything else that is thrown is a defect of ours and keeps its stack.
 */

/** Exit codes of the command line (docs/interfaces.md). */
export const EXIT = { done: 0, fault: 1, usage: 2, retry: 75 } as const;

export type ErrorCode =
  | "usage"
  | "bad-input"
  | "malformed-model"
  | "model-too-large"
  | "not-found"
  | "unavailable"
  | "integrity"
  | "dataset"
  | "engine"
  | "chain-unreachable"
  | "chain-mismatch"
  | "reverted"
  | "wrong-key"
  | "funds"
  | "store-unreachable"
  | "timeout"
  | "pool"
  | "aborted";

const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  "unavailable",
  "chain-unreachable",
  "store-unreachable",
  "timeout",
] satisfies ErrorCode[]);

export class PonasError extends Error {
  override readonly name = "PonasError";
  readonly code: ErrorCode;
  /** What the reader can do about it; one clause without a full stop, or undefined where nothing can be done. */
  readonly cure: string | undefined;

  constructor(code: ErrorCode, sentence: string, options: { cure?: string; cause?: unknown } = {}) {
    super(sentence, { cause: options.cause });
    this.code = code;
    this.cure = options.cure;
  }

  /** True where the same call may succeed later, with nothing changed. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }

  get exitCode(): number {
    if (this.code === "usage") return EXIT.usage;
    return this.retryable ? EXIT.retry : EXIT.fault;
  }
}

/** One line about anything that was thrown: a PonasError's sentence with its cure, another error's message. */
export function explainError(error: unknown): string {
  if (error instanceof PonasError) return error.cure === undefined ? error.message : `${error.message} (${error.cure})`;
  return error instanceof Error ? error.message : String(error);
}
