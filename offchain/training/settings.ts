import { z } from "zod";

/**
 * What a task fixes of the training of every child network (docs/protocol.md, "Publish": hyperparameters). Parsing
 * puts in nothing that is absent, so a descriptor's bytes stay what they were.
 */
export const trainingSettingsSchema = z
  .strictObject({
    /** passes over the training samples, at most */
    epochs: z.int().min(1).max(10_000),
    /** samples in one step; what is left over at the end of an epoch is not used in it */
    batch: z.int().min(1).max(4096),
    /** Adam, or stochastic gradient descent with Nesterov's momentum: the formulas stand in optimizers.ts */
    optimizer: z.enum(["adam", "sgd"]),
    learningRate: z.number().positive(),
    /**
     * Of the learning rate: half a cosine down to 0 over all epochs, none, or a multiplication by `factor` after
     * every `every` epochs.
     */
    schedule: z.union([
      z.enum(["cosine", "constant"]),
      z.strictObject({ every: z.int().min(1).max(10_000), factor: z.number().positive().max(1) }),
    ]),
    /** Nesterov's, of sgd alone; {@link DEFAULT_MOMENTUM} where absent */
    momentum: z.number().min(0).lt(1).optional(),
    /** of weights and biases alike, as PyTorch's optimisers do: added to sgd's gradient, decoupled for Adam; 0 */
    weightDecay: z.number().min(0).max(1).optional(),
    /** share of what the output layer reads that a step leaves out: hidden units, else whole feature maps; 0 */
    dropout: z.number().min(0).lt(1).optional(),
    /** of each image of each step: moved by up to `shift` pixels both ways, mirrored left to right half the time */
    augmentation: z.strictObject({ shift: z.int().min(0).max(8), flip: z.boolean() }).optional(),
    /**
     * Scores every epoch on the validation samples, stops after `patience` epochs in a row that beat none before
     * them, and hands back the best epoch's model instead of the last one's.
     */
    earlyStop: z.strictObject({ patience: z.int().min(1).max(10_000) }).optional(),
  })
  .refine(({ optimizer, momentum }) => optimizer === "sgd" || momentum === undefined, {
    path: ["momentum"],
    error: "only sgd has a momentum to choose",
  });
export type TrainingSettings = z.infer<typeof trainingSettingsSchema>;

/** What of a recipe changes the computation of a step; the rest changes what a step is fed. */
export type StepRecipe = Pick<TrainingSettings, "optimizer" | "momentum" | "weightDecay" | "dropout">;

export const DEFAULT_MOMENTUM = 0.9;

/** What does best on the small budgets of the demo: 6,000 images, a few epochs. */
export const DEFAULT_TRAINING_SETTINGS: TrainingSettings = {
  epochs: 3,
  batch: 32,
  optimizer: "adam",
  learningRate: 3e-3,
  schedule: "cosine",
};

/**
 * The recipe of the paper's source (public code ND-SCL/NAQS). A trial's reward is the best accuracy within its
 * epochs (§4.1), so the best epoch counts, and no trial stops early.
 */
export const PAPER_TRAINING_SETTINGS: TrainingSettings = {
  epochs: 30,
  batch: 128,
  optimizer: "sgd",
  learningRate: 0.01,
  schedule: "constant",
  momentum: 0.9,
  weightDecay: 5e-4,
  earlyStop: { patience: 10_000 },
};

/** Learning rate of step `step` of `steps`, both counted from 0; `steps` is a multiple of the epochs. */
export function learningRateAt(
  { learningRate, schedule, epochs }: Pick<TrainingSettings, "learningRate" | "schedule" | "epochs">,
  step: number,
  steps: number,
): number {
  if (schedule === "constant") return learningRate;
  if (schedule === "cosine") return (learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2;
  return learningRate * schedule.factor ** Math.floor(Math.floor((step * epochs) / steps) / schedule.every);
}
