/** What the steps of a training are fed, the same on every engine: samples in random order, and what is dropped. */
import type { Architecture } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import { createAugmentation } from "./augmentation.ts";
import type { StepInput } from "./engine.ts";
import type { Samples } from "./samples.ts";
import type { TrainingSettings } from "./settings.ts";
import { dropoutWidth } from "./step-graph.ts";

export interface BatchOptions {
  readonly architecture: Architecture;
  readonly train: Samples;
  readonly settings: TrainingSettings;
  /** samples of a step, at most those there are */
  readonly batch: number;
  readonly seed: number;
}

export type Batch = Pick<StepInput, "pixels" | "labels" | "dropoutMask">;

/**
 * The batches of one epoch after another. Order, augmentation and dropout each draw from numbers of their own, so that
 * none of them changes what another draws.
 * @returns the next epoch's batches, in a fresh random order; what does not fill a batch is left out. A batch's
 *   buffers are used again for the next one.
 */
export function createBatches({ architecture, train, settings, batch, seed }: BatchOptions): () => Generator<Batch> {
  const { pixels, labels, count } = train;
  const size = pixels.length / count;
  const order = createRandom(`order ${seed}`);
  const copyImage = createAugmentation(settings.augmentation, architecture.input, seed);
  const dropoutMask = createDropout(settings.dropout ?? 0, batch * dropoutWidth(architecture), seed);
  const chosen = { pixels: new Uint8Array(batch * size), labels: new Uint8Array(batch) };
  return function* () {
    const indices = order.shuffle(Uint32Array.from({ length: count }, (_, i) => i));
    for (let start = 0; start + batch <= count; start += batch) {
      for (let i = 0; i < batch; i++) {
        const from = indices[start + i]!;
        copyImage(pixels.subarray(from * size, (from + 1) * size), chosen.pixels.subarray(i * size, (i + 1) * size));
        chosen.labels[i] = labels[from]!;
      }
      yield { ...chosen, dropoutMask: dropoutMask() };
    }
  };
}

/** Masks of 0 with probability `rate` and of 1 / (1 − rate) otherwise; none where nothing is dropped. */
function createDropout(rate: number, size: number, seed: number): () => Float32Array | undefined {
  if (rate === 0) return () => undefined;
  const random = createRandom(`dropout ${seed}`);
  const mask = new Float32Array(size);
  return () => mask.map(() => (random.next() < rate ? 0 : 1 / (1 - rate)));
}
