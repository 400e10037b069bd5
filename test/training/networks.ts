/** Small networks and learnable samples for the tests of training. */
import type { Architecture, Layer } from "../../offchain/protocol/architecture.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import type { Samples } from "../../offchain/training/samples.ts";
import type { TrainingSettings } from "../../offchain/training/settings.ts";

export const LAYER: Layer = {
  kernelHeight: 3,
  kernelWidth: 3,
  filters: 6,
  strideHeight: 1,
  strideWidth: 1,
  poolSize: 1,
  actIntBits: 2,
  actFracBits: 5,
  weightIntBits: 2,
  weightFracBits: 5,
};

export const SETTINGS: TrainingSettings = {
  epochs: 2,
  batch: 16,
  optimizer: "adam",
  learningRate: 3e-3,
  schedule: "cosine",
};

export function network(
  input: Architecture["input"],
  changes: readonly Partial<Layer>[],
  head: Architecture["head"] = { pool: "flatten", hidden: 0 },
  classes = 4,
): Architecture {
  return { input, classes, layers: changes.map((change) => ({ ...LAYER, ...change })), head };
}

/** Networks of every kind that the canonical evaluation knows, with accumulators that float32 holds exactly. */
export function randomNetwork(random: Random): Architecture {
  const hidden = random.choice([0, 0, 5]);
  return network(
    [4 + random.integer(6), 4 + random.integer(6), 1 + random.integer(2)],
    Array.from({ length: 1 + random.integer(3) }, () => ({
      kernelHeight: random.choice([1, 3, 5, 7]),
      kernelWidth: random.choice([1, 2, 3]),
      filters: random.choice([4, 8, 10]),
      strideHeight: 1 + random.integer(3),
      strideWidth: 1 + random.integer(3),
      poolSize: random.choice([1, 1, 2, 3]),
      actIntBits: random.integer(4),
      actFracBits: 1 + random.integer(5),
      weightIntBits: random.integer(4),
      weightFracBits: 1 + random.integer(5),
    })),
    {
      pool: random.choice(["flatten", "global-sum"] as const),
      hidden,
      ...(hidden > 0 ? { hiddenActIntBits: random.integer(5), hiddenActFracBits: 1 + random.integer(5) } : {}),
    },
  );
}

/** Images whose class is the quadrant of a bright patch, in noise. */
export function quadrants([height, width, channels]: Architecture["input"], count: number, seed: number): Samples {
  const random = createRandom(seed);
  const labels = Uint8Array.from({ length: count }, () => random.integer(4));
  const size = height * width * channels;
  const pixels = new Uint8Array(count * size);
  labels.forEach((label, n) => {
    for (let at = 0; at < size; at++) {
      const row = Math.floor(at / channels / width);
      const column = Math.floor(at / channels) % width;
      const bright = (2 * row >= height ? 2 : 0) + (2 * column >= width ? 1 : 0) === label;
      pixels[n * size + at] = random.integer(100) + (bright ? 100 : 0);
    }
  });
  return { pixels, labels, count };
}
