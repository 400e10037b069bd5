/** What the manager knows of the task its pool works on, and what a trial of it costs. */
import { z } from "zod";

import { linearLayers, networkShapes } from "../evaluation/shapes.ts";
import { spaceSchema, templateSchema, type Architecture } from "../protocol/architecture.ts";
import { hopelessness } from "../search/feasibility.ts";
import type { Samples } from "../training/datasets.ts";
import { trainingSettingsSchema, type TrainingSettings } from "../training/settings.ts";

/** The lasting part of a task: it is written down when the task is opened, and never changes. */
export const poolTaskDescriptorSchema = z.object({
  template: templateSchema,
  space: spaceSchema,
  settings: trainingSettingsSchema,
  /** cap of a model file in bytes */
  maxModelBytes: z.int().min(1),
  /** multiply-accumulates of one image that a proposal may cost */
  maxMacs: z.int().min(1).optional(),
  /** images of one epoch */
  trainCount: z.int().min(1),
  /** samples of the validation split */
  validationCount: z.int().min(1),
});
export type PoolTaskDescriptor = z.infer<typeof poolTaskDescriptorSchema>;

export interface PoolTask {
  readonly taskId: bigint;
  readonly descriptor: PoolTaskDescriptor;
  /** the pool's own validation split; shares are checked on it */
  readonly validation: Samples;
  /** Unix time in milliseconds after which no share is taken; leave the commitment time to be mined before the phase ends */
  readonly endsAt: number;
}

/** Bytes of a model file beside its weights and biases: names, lengths and the architecture; never more than this a layer. */
const FILE_BYTES_PER_LAYER = 320;

/** Why a trial of this architecture could not end in a share, or null. */
export function hopeless(
  architecture: Architecture,
  { maxModelBytes, maxMacs }: Pick<PoolTaskDescriptor, "maxModelBytes" | "maxMacs">,
): string | null {
  const reason = hopelessness(architecture, { maxMacs });
  if (reason !== null) return reason;
  const bytes = linearLayers(architecture).reduce(
    (sum, { units, fanIn }) => sum + 2 * units * fanIn + 4 * units + FILE_BYTES_PER_LAYER,
    0,
  );
  return bytes > maxModelBytes ? `its file takes up to ${bytes} bytes` : null;
}

/** Multiply-accumulates of the forward passes of a whole trial: the measure of miners' speed. */
export function trialMacs(architecture: Architecture, epochs: number, trainCount: number): number {
  return networkShapes(architecture).macs * epochs * trainCount;
}

/** Expected duration of a trial in milliseconds. @param speed MAC/s */
export function trialMs(
  architecture: Architecture,
  settings: TrainingSettings,
  trainCount: number,
  speed: number,
): number {
  return (1000 * trialMacs(architecture, settings.epochs, trainCount)) / speed;
}
