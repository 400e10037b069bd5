import { z } from "zod";

/** What a task fixes of the training of every child network (docs/protocol.md, "Publish": hyperparameters). */
export const trainingSettingsSchema = z.strictObject({
  /** passes over the training samples */
  epochs: z.int().min(1).max(10_000),
  /** samples in one step; what is left over at the end of an epoch is not used in it */
  batch: z.int().min(1).max(4096),
  optimizer: z.literal("adam"),
  learningRate: z.number().positive(),
  /** of the learning rate: half a cosine down to 0 over the whole training, or none */
  schedule: z.enum(["cosine", "constant"]),
});
export type TrainingSettings = z.infer<typeof trainingSettingsSchema>;

/** What does best on the small budgets of the demo: 6,000 images, a few epochs. */
export const DEFAULT_TRAINING_SETTINGS: TrainingSettings = {
  epochs: 3,
  batch: 32,
  optimizer: "adam",
  learningRate: 3e-3,
  schedule: "cosine",
};

/** Learning rate of step `step` of `steps`, both counted from 0. */
export function learningRateAt(
  { learningRate, schedule }: Pick<TrainingSettings, "learningRate" | "schedule">,
  step: number,
  steps: number,
): number {
  return schedule === "constant" ? learningRate : (learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2;
}
