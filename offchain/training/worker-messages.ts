import type { ErrorCode } from "../protocol/errors.ts";
import type { Samples } from "./samples.ts";
import type { Checkpoint, EpochProgress, TrainingOutcome, TrainingRequest } from "./train.ts";

/** Samples are sent once and named by a number afterwards. */
export type NamedRequest = Omit<TrainingRequest, "train" | "validation"> & {
  readonly train: number;
  readonly validation: number;
};

/** To the training process. One request runs at a time. */
export type ToWorker =
  | { readonly type: "samples"; readonly id: number; readonly samples: Samples }
  | { readonly type: "forget"; readonly id: number }
  /** @param checkpointMs null: nobody wants checkpoints */
  | { readonly type: "train"; readonly request: NamedRequest; readonly checkpointMs: number | null }
  | { readonly type: "abort" };

/** From the training process. Errors lose their class on the way, so a PonasError travels as its parts. */
export type FromWorker =
  | { readonly type: "epoch"; readonly progress: EpochProgress }
  | { readonly type: "checkpoint"; readonly checkpoint: Checkpoint }
  | { readonly type: "done"; readonly outcome: TrainingOutcome }
  | { readonly type: "failed"; readonly code: ErrorCode | null; readonly message: string; readonly cure?: string };
