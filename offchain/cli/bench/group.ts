/** What every group of figures gets, and the samples and steps that most of them use. */
import type { Architecture } from "../../protocol/architecture.ts";
import { explainError, PonasError } from "../../protocol/errors.ts";
import { createRandom } from "../../protocol/random.ts";
import type { Engine } from "../../training/engine.ts";
import type { EnginePresence } from "../../training/engines.ts";
import { initialParameters } from "../../training/parameters.ts";
import type { Samples } from "../../training/samples.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../training/settings.ts";
import type { Figure } from "./figures.ts";
import type { Work } from "./statistics.ts";

export interface BenchOptions {
  /** everything as short as it can be: whether it works, not how fast it is */
  readonly quick: boolean;
  /** of the memory group */
  readonly trials: number;
  /** every engine that there is, present or not */
  readonly engines: readonly EnginePresence[];
  readonly signal: AbortSignal;
  /** a line of progress for people */
  readonly say: (text: string) => void;
}

/** Measures one group of figures. @throws PonasError aborted; whatever makes all of the group impossible */
export type Measure = (options: BenchOptions) => Promise<Figure[]>;

const CPU_ENGINES = ["onnx", "onnx-web"] as const;
export type CpuEngine = (typeof CPU_ENGINES)[number];

/** The engine of the CPU, native where that is present: figures of one core stay so on a machine with a GPU. */
export function cpuEngine(engines: readonly EnginePresence[]): CpuEngine {
  const isPresent = (name: CpuEngine): boolean => engines.some((engine) => engine.name === name && engine.present);
  return CPU_ENGINES.find(isPresent) ?? CPU_ENGINES[0];
}

/** Images of one step, everywhere. */
export const BATCH = 64;

/** Uniform noise of an architecture's size: how long a step takes does not depend on what is in the images. */
export function noise({ input, classes }: Architecture, count: number, seed = 0): Samples {
  const random = createRandom(seed);
  const size = input.reduce((product, dim) => product * dim, 1);
  return {
    pixels: Uint8Array.from({ length: count * size }, () => random.integer(256)),
    labels: Uint8Array.from({ length: count }, () => random.integer(classes)),
    count,
  };
}

export interface Steps {
  /** one training step; its size is {@link BATCH} images */
  readonly step: Work;
  /** as `step`, with the loss in nats */
  readonly loss: () => Promise<number>;
  release(): void;
}

/** One network in training on noise, step after step. @throws PonasError engine */
export async function createSteps(engine: Engine, architecture: Architecture): Promise<Steps> {
  const { pixels, labels } = noise(architecture, BATCH);
  const trainer = await engine.createTrainer({
    architecture,
    batch: BATCH,
    initial: initialParameters(architecture, 1),
    settings: DEFAULT_TRAINING_SETTINGS,
  });
  const loss = async (): Promise<number> => (await trainer.step({ pixels, labels, learningRate: 1e-3 })).loss;
  return {
    loss,
    step: async () => {
      await loss();
      return BATCH;
    },
    release: () => trainer.release(),
  };
}

/** Why a figure could not be measured. @throws what it is given, unless an engine or this machine is the reason */
export function reasonOf(error: unknown): string {
  if (error instanceof PonasError && error.code !== "aborted") return explainError(error);
  throw error;
}
