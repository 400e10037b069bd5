/** A data set as a folder of four IDX files: images and labels, for training and for the test. */
import { join } from "node:path";

import { PonasError } from "../protocol/errors.ts";
import type { ReadOptions } from "./byte-reader.ts";
import { checksumNotes, type ReadFile } from "./checksums.ts";
import type { Dataset } from "./datasets.ts";
import { readIdx } from "./idx.ts";
import { collectTest, collectTraining, type Placement, type SplitLimits } from "./splits.ts";

const MAX_SIDE = 64;
/** Offset of the first label of a file. */
const LABELS_START = 8;

export interface FolderOptions extends ReadOptions {
  readonly name: string;
  readonly folder: string;
  /** what is in the folder */
  readonly files: readonly string[];
  readonly seed: number;
  readonly limits: SplitLimits;
}

/**
 * Reads the folder; the published test file is the test split in its own order, and a tenth of the published training
 * file is the validation split.
 * @param classes how many there are; without it, one more than the largest label of the training file
 * @throws PonasError dataset
 */
export async function loadIdxFolder({
  name,
  folder,
  files,
  seed,
  limits,
  classes,
  signal,
}: FolderOptions & { readonly classes?: number }): Promise<Dataset> {
  const source = { folder, files, signal };
  const trainLabels = await readLabels(source, "train");
  const known = classes ?? trainLabels.labels.reduce((largest, label) => Math.max(largest, label), 0) + 1;
  const testLabels = await readLabels(source, "t10k");
  for (const found of [trainLabels, testLabels]) checkLabels(found, known);

  let training: ReturnType<typeof collectTraining> | undefined;
  const trainImages = await readImages(source, "train", trainLabels, (images) => {
    if (images.count < 2) throw new PonasError("dataset", `${folder} has fewer than two training images.`);
    training = collectTraining(images, seed, limits);
    return training.place;
  });
  let test: ReturnType<typeof collectTest> | undefined;
  const testImages = await readImages(source, "t10k", testLabels, ({ shape, ...images }) => {
    if (shape.join() !== trainImages.shape.join()) {
      const shapes = `${trainImages.shape.join("×")} and test images of ${shape.join("×")}`;
      throw new PonasError("dataset", `${folder} has training images of ${shapes}.`);
    }
    test = collectTest(images, limits);
    return test.place;
  });

  const [height, width, channels] = trainImages.shape;
  return {
    name,
    height,
    width,
    channels,
    classes: known,
    train: training!.train.samples(trainLabels.labels),
    validation: training!.validation.samples(trainLabels.labels),
    test: test!.samples(testLabels.labels),
    notes: checksumNotes(name, [trainImages, trainLabels, testImages, testLabels]),
  };
}

interface Source extends ReadOptions {
  readonly folder: string;
  readonly files: readonly string[];
}

type Half = "train" | "t10k";
type Shape = readonly [height: number, width: number, channels: number];

interface LabelFile extends ReadFile {
  readonly labels: Uint8Array;
}

async function readLabels({ folder, files, signal }: Source, half: Half): Promise<LabelFile> {
  const stem = `${half}-labels`;
  const file = findFile(folder, files, stem, "idx1-ubyte");
  let labels = new Uint8Array();
  const prepare = ([count]: readonly number[]): Placement => {
    labels = new Uint8Array(count!);
    return (index) => labels.subarray(index, index + 1);
  };
  const md5 = await readIdx(join(folder, file), [1], prepare, { signal });
  return { file, stem, labels, md5 };
}

function checkLabels({ file, labels }: LabelFile, classes: number): void {
  const wrong = labels.findIndex((label) => label >= classes);
  if (wrong < 0) return;
  throw new PonasError(
    "dataset",
    `Label ${wrong} of ${file} (offset ${LABELS_START + wrong}) is ${labels[wrong]}, but there are ${classes} classes.`,
  );
}

async function readImages(
  { folder, files, signal }: Source,
  half: Half,
  { labels, file: labelFile }: LabelFile,
  collect: (images: { readonly count: number; readonly size: number; readonly shape: Shape }) => Placement,
): Promise<ReadFile & { readonly shape: Shape }> {
  const stem = `${half}-images`;
  const file = findFile(folder, files, stem, "idx3-ubyte");
  let shape: Shape = [0, 0, 0];
  const prepare = (dims: readonly number[]): Placement => {
    const [count, height, width, channels = 1] = dims as [number, number, number, number?];
    const sides = [height, width].every((side) => side >= 1 && side <= MAX_SIDE);
    if (!sides || channels < 1 || channels > 255) {
      const found = `${height}×${width}×${channels}`;
      throw new PonasError("dataset", `${file} has images of ${found}, outside 1×1×1 … ${MAX_SIDE}×${MAX_SIDE}×255.`);
    }
    if (count !== labels.length) {
      throw new PonasError("dataset", `${file} has ${count} images, but ${labelFile} has ${labels.length} labels.`);
    }
    if (count === 0) throw new PonasError("dataset", `${file} holds no images.`);
    shape = [height, width, channels];
    return collect({ count, size: height * width * channels, shape });
  };
  const md5 = await readIdx(join(folder, file), [3, 4], prepare, { signal });
  return { file, stem, shape, md5 };
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
