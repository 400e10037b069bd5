import type { ErrorCode } from "../protocol/errors.ts";
import type { EpochProgress, TrainingOutcome, TrainingRequest } from "./train.ts";

/** From the main thread to the training worker. One request runs at a time. */
export type ToWorker = { readonly type: "train"; readonly request: TrainingRequest } | { readonly type: "abort" };

/** From the training worker. Errors lose their class on the way, so a PonasError travels as its parts. */
export type FromWorker =
  | { readonly type: "epoch"; readonly progress: EpochProgress }
  | { readonly type: "done"; readonly outcome: TrainingOutcome }
  | { readonly type: "failed"; readonly code: ErrorCode | null; readonly message: string; readonly cure?: string };
