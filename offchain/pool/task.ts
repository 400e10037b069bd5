/** What the manager knows of the task its pool works on, and what a trial of it costs. */
import { z } from "zod";

import { hardwareBoundsSchema } from "../evaluation/hardware.ts";
import { linearLayers, networkShapes } from "../evaluation/shapes.ts";
import type { Rules } from "../evaluation/well-formed.ts";
import { spaceSchema, templateSchema, type Architecture } from "../protocol/architecture.ts";
import { admit, type Admission } from "../search/feasibility.ts";
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
  /** what a network may cost on the task's hardware; proposals carry the tiling that shows it */
  hardware: hardwareBoundsSchema.optional(),
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

/** What a share's model must satisfy beside being well-formed. */
export function rulesOf({ template, space, hardware }: PoolTaskDescriptor): Rules {
  return { template, space, hardware };
}

/** What a trial's network may cost. */
export type TrialLimits = Pick<PoolTaskDescriptor, "maxModelBytes" | "maxMacs" | "hardware">;

/** The architecture as it is to be trained (`admit`), or why no trial of it could end in a model file that counts. */
export function admitTrial(architecture: Architecture, { maxModelBytes, maxMacs, hardware }: TrialLimits): Admission {
  const bytes = linearLayers(architecture).reduce(
    (sum, { units, fanIn }) => sum + 2 * units * fanIn + 4 * units + FILE_BYTES_PER_LAYER,
    0,
  );
  if (bytes > maxModelBytes) return { architecture: null, reason: `its file takes up to ${bytes} bytes` };
  return admit(architecture, { maxMacs, hardware });
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
