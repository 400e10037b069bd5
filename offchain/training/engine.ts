/** What runs training steps. Every engine computes the same step; they differ in the last bits and in speed. */
import type { Architecture } from "../protocol/architecture.ts";
import type { LinearParameters } from "./parameters.ts";
import type { StepRecipe } from "./settings.ts";

/** In the order in which they are listed; which one is taken where several are present, engines.ts decides. */
export const ENGINE_NAMES = ["onnx", "onnx-web", "webgpu", "cuda", "tfjs"] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** One step's samples and what the recipe fixes of the step. */
export interface StepInput {
  /** batch × H·W·C bytes; not read after the step has ended */
  readonly pixels: Uint8Array;
  /** batch bytes */
  readonly labels: Uint8Array;
  /** above 0 */
  readonly learningRate: number;
  /**
   * Where the recipe has dropout: batch × what it picks from (hidden units, else the last layer's filters), 0 for what
   * this step leaves out and 1 / (1 − rate) for the rest. What the output layer reads is multiplied by it.
   */
  readonly dropoutMask?: Float32Array;
}

export interface StepResult {
  /** mean cross-entropy of the step's samples, in nats, before the update */
  readonly loss: number;
  /** the class that the network says of each sample, before the update */
  readonly predictions: Uint8Array;
}

/** One network in training. */
export interface Trainer {
  /** Takes one step. @throws PonasError engine */
  step(input: StepInput): Promise<StepResult>;
  /** A copy of the parameters as they are now. */
  parameters(): Promise<LinearParameters[]>;
  /** Gives its resources back to the engine; the trainer is of no use afterwards. */
  release(): void;
}

export interface TrainerOptions {
  readonly architecture: Architecture;
  /** samples of a step */
  readonly batch: number;
  readonly initial: readonly LinearParameters[];
  /** what of the recipe changes the step itself */
  readonly settings: StepRecipe;
}

/** Equal seeds give equal bits on one engine; engines differ from one another in the last ones. */
export interface Engine {
  readonly name: EngineName;
  /** @throws PonasError engine where the network is refused, too large for memory for instance */
  createTrainer(options: TrainerOptions): Promise<Trainer>;
  /** Frees everything that no trainer holds. */
  dispose(): Promise<void>;
}
