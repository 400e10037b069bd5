import { networkShapes } from "../evaluation/shapes.ts";
import type { Benchmark } from "../pool/messages.ts";
import type { Architecture, Layer } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import { firstSamples } from "../training/samples.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../training/settings.ts";
import type { TrainingWorker } from "../training/worker.ts";

const LAYER: Layer = {
  kernelHeight: 3,
  kernelWidth: 3,
  filters: 24,
  strideHeight: 1,
  strideWidth: 1,
  poolSize: 1,
  actIntBits: 2,
  actFracBits: 5,
  weightIntBits: 2,
  weightFracBits: 5,
};

/** A network of the middle of the demo space, about 3 MMAC an image. */
const NETWORK: Architecture = {
  input: [28, 28, 1],
  classes: 10,
  layers: [
    { ...LAYER, strideHeight: 2, strideWidth: 2 },
    { ...LAYER, filters: 36 },
    { ...LAYER, filters: 36, strideHeight: 2, strideWidth: 2 },
    { ...LAYER, filters: 36 },
  ],
  head: { pool: "flatten", hidden: 0 },
};
const IMAGES = 512;

/**
 * The real training step on random images, a second or two, on all workers at once, since they share the machine: what a
 * pool plans each one's leases by.
 */
export async function measureMiner(
  workers: readonly Pick<TrainingWorker, "train">[],
  { throttle, signal }: { readonly throttle: number; readonly signal: AbortSignal },
): Promise<Benchmark[]> {
  const random = createRandom("benchmark");
  const size = NETWORK.input.reduce((product, dim) => product * dim, 1);
  const samples = {
    pixels: Uint8Array.from({ length: IMAGES * size }, () => random.integer(256)),
    labels: Uint8Array.from({ length: IMAGES }, () => random.integer(NETWORK.classes)),
    count: IMAGES,
  };
  const settings = { ...DEFAULT_TRAINING_SETTINGS, epochs: 1 };
  const request = { architecture: NETWORK, train: samples, validation: samples, settings, seed: 0, throttle };
  // Processes start, and engines load, at different speeds; only then does everybody run at once.
  const first = firstSamples(samples, settings.batch);
  await Promise.all(workers.map((worker) => worker.train({ ...request, train: first, validation: first }, { signal })));
  const outcomes = await Promise.all(workers.map((worker) => worker.train(request, { signal })));
  const { macs } = networkShapes(NETWORK);
  return outcomes.map(({ imagesPerSecond }) => ({ imagesPerSecond, macs }));
}
