/** Seeded networks, samples and edge cases for the evaluation's tests. */
import type { Architecture, Layer } from "../../offchain/protocol/architecture.ts";
import type { Random } from "../../offchain/protocol/random.ts";
import type { LinearWeights, Model } from "../../offchain/evaluation/model.ts";
import { linearLayers, type LinearLayer } from "../../offchain/evaluation/shapes.ts";

/** A layer that passes what it reads: 1×1, stride 1, all 8 bits of a pixel, weights of one integer and 7 fraction bits. */
export const PLAIN_LAYER: Layer = {
  kernelHeight: 1,
  kernelWidth: 1,
  filters: 1,
  strideHeight: 1,
  strideWidth: 1,
  poolSize: 1,
  actIntBits: 0,
  actFracBits: 8,
  weightIntBits: 8,
  weightFracBits: 0,
};

/** How large a network's accumulators may become. */
export type Reach = "any" | "below-2^24" | "at-2^24" | "below-2^31";

/**
 * A random architecture over the paper's full space and beyond its bit widths, on small inputs.
 * @param mostBits activation and weight bits at most; without it 9, and sometimes 15
 */
export function randomArchitecture(random: Random, mostBits = random.next() < 0.2 ? 15 : 9): Architecture {
  const size = (): number => random.choice([1, 3, 5, 6, 7, 8, 9, 12]);
  const input: Architecture["input"] = [size(), size(), random.choice([1, 1, 2, 3])];
  const stride = (): number => random.choice([1, 1, 1, 2, 3, 4, 5]);
  let inputMax = 255;
  let fractionBits = 8;
  let channels = input[2];
  const layers = Array.from({ length: 1 + random.integer(4) }, (): Layer => {
    const bits = (): number => (random.next() < 0.015 ? 0 : 2 + random.integer(mostBits - 1));
    const actBits = bits();
    const weightBits = bits();
    const actFracBits = random.integer(actBits + 1);
    const kernelHeight = random.choice([1, 3, 5, 7, 9]);
    const kernelWidth = random.choice([1, 3, 5, 7, 9]);
    // Fraction bits at which typical sums fall between the clamps, as far as there are bits for it; or any.
    const typical = (inputMax * 2 ** weightBits * Math.sqrt(kernelHeight * kernelWidth * channels)) / 4;
    const shift = Math.round(Math.log2(Math.max(1, typical) / 2 ** actBits));
    const wanted = random.next() < 0.8 ? shift + actFracBits - fractionBits : random.integer(weightBits + 1);
    const weightFracBits = Math.min(Math.max(wanted, 0), weightBits);
    inputMax = Math.max(1, 2 ** actBits - 1);
    fractionBits = actFracBits;
    channels = random.choice([1, 4, 8, 12, 12, 24, 24]);
    return {
      kernelHeight,
      kernelWidth,
      filters: channels,
      strideHeight: stride(),
      strideWidth: stride(),
      poolSize: random.choice([1, 1, 2, 3]),
      actIntBits: actBits - actFracBits,
      actFracBits,
      weightIntBits: weightBits - weightFracBits,
      weightFracBits,
    };
  });
  const hidden = random.choice([0, 0, 0, 1, 7, 16]);
  return {
    input,
    classes: random.choice([1, 2, 10, 11]),
    layers,
    head: {
      pool: random.choice(["global-sum", "flatten"] as const),
      hidden,
      ...(hidden > 0 ? { hiddenActIntBits: random.integer(5), hiddenActFracBits: random.integer(11) } : {}),
    },
  };
}

/** A well-formed network with random integers; `reach` says up to where units of one of its layers are filled. */
export function randomModel(random: Random, architecture: Architecture, reach: Reach = "any"): Model {
  const layers = linearLayers(architecture);
  const filled = random.integer(layers.length);
  const parts = layers.map((linear, index) => randomWeights(random, linear, index === filled ? reach : "any"));
  const hidden = architecture.head.hidden > 0;
  return {
    architecture,
    layers: parts.slice(0, architecture.layers.length),
    hidden: hidden ? parts[architecture.layers.length]! : null,
    output: parts.at(-1)!,
  };
}

/**
 * Weights of a size that keeps most units between the clamps, and for some units a bias that fills the bound — a
 * network drawn without care is dead or saturated within two layers, and compares nothing.
 */
function randomWeights(random: Random, linear: LinearLayer, reach: Reach): LinearWeights {
  const { units, fanIn, inputMax, weightMin, weightMax, requantise } = linear;
  const weights = new Int16Array(units * fanIn);
  const bias = new Int32Array(units);
  const rounding = requantise !== null && requantise.shift > 0 ? 2 ** (requantise.shift - 1) : 0;
  const limit = { any: 2 ** 31 - 1, "below-2^24": 2 ** 24 - 1, "at-2^24": 2 ** 24, "below-2^31": 2 ** 31 - 1 }[reach];
  /** accumulator at which a unit saturates; for logits any size will do */
  const saturation = requantise === null ? 2 ** 20 : requantise.max * 2 ** requantise.shift;
  const amplitude = (2 * saturation) / (Math.max(inputMax, 1) * Math.sqrt(fanIn));
  const density = Math.min(1, Math.max(amplitude ** 2, 1.5 / fanIn));
  const draw = (): number => {
    const size = Math.max(1, Math.min(2 * amplitude, weightMax + 1));
    return Math.min(Math.max(Math.round((2 * random.next() - 1) * size), weightMin), weightMax);
  };
  for (let unit = 0; unit < units; unit++) {
    const budget = Math.floor((limit - rounding) / Math.max(inputMax, 1));
    const oneSided = random.next() < 0.2;
    let sum = 0;
    for (let i = unit * fanIn; i < (unit + 1) * fanIn; i++) {
      const drawn = random.next() < density ? draw() : 0;
      const weight = oneSided ? Math.min(Math.abs(drawn), weightMax) : drawn;
      if (sum + Math.abs(weight) > budget) continue;
      weights[i] = weight;
      sum += Math.abs(weight);
    }
    const room = Math.max(0, limit - rounding - sum * inputMax);
    const fill = reach !== "any" && (unit === 0 || random.next() < 0.1);
    const size = fill ? room : Math.floor(random.next() * Math.min(room, saturation / 4));
    bias[unit] = oneSided
      ? -Math.min(room, Math.floor((sum * inputMax * random.next()) / 2))
      : random.choice([1, -1]) * size;
  }
  return { weights, bias };
}

/** Samples of an architecture's size: black, white, sparse and uniformly random ones. */
export function randomPixels(random: Random, architecture: Architecture, count: number): Uint8Array {
  const size = architecture.input.reduce((product, dim) => product * dim, 1);
  const pixels = new Uint8Array(count * size);
  for (let sample = 0; sample < count; sample++) {
    const density = [0, Infinity, 0.2, 1][sample % 4]!;
    for (let i = sample * size; i < (sample + 1) * size; i++) {
      pixels[i] = density === Infinity ? 255 : random.next() < density ? random.integer(256) : 0;
    }
  }
  return pixels;
}

/** The network of an architecture with all weights and biases 0. */
export function zeroModel(architecture: Architecture): Model {
  const zeros = linearLayers(architecture).map(({ units, fanIn }) => ({
    weights: new Int16Array(units * fanIn),
    bias: new Int32Array(units),
  }));
  return {
    architecture,
    layers: zeros.slice(0, architecture.layers.length),
    hidden: architecture.head.hidden > 0 ? zeros[architecture.layers.length]! : null,
    output: zeros.at(-1)!,
  };
}
