/**
 * A stand-in for training: the validation accuracy that a network of the space might reach, without training it.
 * Deterministic. Made of what is known of such networks: a layer with too few bits, or an image shrunk to nothing too
 * early, leaves chance accuracy whatever the rest is like (most random networks are such); elsewhere accuracy grows
 * with bits, filters and kernels with diminishing returns, and every network is off by a little of its own.
 */
import { createHash } from "node:crypto";

import type { Architecture, Layer } from "../../../offchain/protocol/architecture.ts";

const CHANCE = 0.1;

/** @param seed another landscape: other weights of the layers, another noise */
export function surrogateReward({ input, layers }: Architecture, seed: number): number {
  let quality = 1;
  let [height, width] = [input[0], input[1]];
  for (const [index, layer] of layers.entries()) {
    const { strideHeight, strideWidth, poolSize, kernelHeight, kernelWidth, filters } = layer;
    [height, width] = [height, width].map((size, axis) => {
      const convolved = Math.ceil(size / (axis === 0 ? strideHeight : strideWidth));
      return convolved < poolSize ? 1 : Math.floor(convolved / poolSize);
    }) as [number, number];
    const positions = height * width;
    const importance = 0.5 + noise(`${seed} importance ${index}`);
    const early = positions === 1 && index < layers.length - 2 ? 0.7 : 1;
    const kernel = 1 - 0.05 * importance * Math.abs(Math.log2((kernelHeight * kernelWidth) / 15));
    const room = 1 - 0.25 * importance * Math.exp(-filters / 30);
    quality *= early * Math.max(0.5, kernel) * room * precision(layer, importance);
  }
  const own = 0.03 * (noise(`${seed} ${JSON.stringify(layers)}`) - 0.5);
  const learns = quality > 0.03;
  return Math.min(1, Math.max(0.01, learns ? CHANCE + 0.85 * quality ** 0.4 + own : CHANCE));
}

function precision({ actIntBits, actFracBits, weightIntBits, weightFracBits }: Layer, importance: number): number {
  const activations = actIntBits + actFracBits;
  const loss =
    0.5 * Math.exp(-activations / 1.5) +
    0.6 * Math.exp(-weightFracBits / 1.5) +
    (actIntBits === 0 ? 0.1 : 0) +
    (weightIntBits > 2 ? 0.03 * weightIntBits : 0);
  return Math.max(0.05, 1 - importance * loss);
}

/** Uniform in [0, 1), a function of the text. */
function noise(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE() / 2 ** 32;
}
