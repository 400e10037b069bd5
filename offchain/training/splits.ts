/** Cutting one file of images into splits while it is read. */
import { createRandom } from "../protocol/random.ts";
import type { Samples } from "./samples.ts";

/** Where the bytes of image i go, or null where nobody wants them. */
export type Placement = (index: number) => Uint8Array | null;

/** The number of samples wanted of each split: the first ones; without it, all. */
export interface SplitLimits {
  readonly train?: number;
  readonly validation?: number;
  readonly test?: number;
}

/** Takes in chosen images of a file, in the chosen order, whatever the order in which they come. */
export interface Collector {
  readonly place: Placement;
  /** @param labels of all images of the file, in the file's order */
  samples(labels: Uint8Array): Samples;
}

/** 0 … count − 1 in an order that the seed fixes. */
export function shuffledIndices(count: number, seed: number): Uint32Array {
  return createRandom(seed).shuffle(Uint32Array.from({ length: count }, (_, i) => i));
}

/**
 * Cuts a training file of 2 images or more: a tenth of them, at least one, is for validation.
 * @param size bytes of one image
 */
export function collectTraining(
  { count, size }: { readonly count: number; readonly size: number },
  seed: number,
  { train = Infinity, validation = Infinity }: SplitLimits,
): { place: Placement; train: Collector; validation: Collector } {
  const order = shuffledIndices(count, seed);
  const held = Math.max(1, Math.floor(count / 10));
  const parts = {
    train: collect(order.subarray(held, Math.min(count, held + train)), { count, size }),
    validation: collect(order.subarray(0, Math.min(held, validation)), { count, size }),
  };
  return { ...parts, place: (index) => parts.train.place(index) ?? parts.validation.place(index) };
}

/** Takes a test file as it is. */
export function collectTest(
  { count, size }: { readonly count: number; readonly size: number },
  { test = Infinity }: SplitLimits,
): Collector {
  return collect(
    Uint32Array.from({ length: Math.min(count, test) }, (_, i) => i),
    { count, size },
  );
}

function collect(chosen: Uint32Array, { count, size }: { readonly count: number; readonly size: number }): Collector {
  const pixels = new Uint8Array(chosen.length * size);
  /** by image, 1 + its place; 0 where it is not wanted */
  const places = new Uint32Array(count);
  chosen.forEach((index, place) => (places[index] = place + 1));
  return {
    place: (index) => {
      const place = places[index]!;
      return place === 0 ? null : pixels.subarray((place - 1) * size, place * size);
    },
    samples: (labels) => ({
      pixels,
      labels: Uint8Array.from(chosen, (index) => labels[index]!),
      count: chosen.length,
    }),
  };
}
