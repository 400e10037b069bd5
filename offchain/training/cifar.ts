/**
 * The binary version of CIFAR-10: files of records, each a label byte and 3072 bytes of an image, the red, the green
 * and the blue plane one after the other, row by row. Here images have their channels last.
 */
import { basename, join } from "node:path";

import { PonasError } from "../protocol/errors.ts";
import { fileFault, fileSize, openBytes, type ReadOptions } from "./byte-reader.ts";
import { checksumNotes, type ReadFile } from "./checksums.ts";
import type { Dataset } from "./datasets.ts";
import type { FolderOptions } from "./idx-folder.ts";
import { collectTest, collectTraining, type Placement } from "./splits.ts";

const [HEIGHT, WIDTH, CHANNELS, CLASSES] = [32, 32, 3, 10];
const PLANE_BYTES = HEIGHT * WIDTH;
const IMAGE_BYTES = PLANE_BYTES * CHANNELS;
const RECORD_BYTES = 1 + IMAGE_BYTES;

const TRAINING_FILES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
const TEST_FILE = "test_batch.bin";
/** The folder that the published archive unpacks to. */
export const CIFAR_FOLDER = "cifar-10-batches-bin";

/** True where a folder's files are CIFAR's, or some of them. */
export function isCifar(files: readonly string[]): boolean {
  return [...TRAINING_FILES, TEST_FILE].some((file) => files.includes(file));
}

/**
 * Reads the folder's six files, each of any whole number of records. The test file is the test split in its own
 * order, and a tenth of the training files' images is the validation split.
 * @throws PonasError dataset
 */
export async function loadCifarFolder({ name, folder, files, seed, limits, signal }: FolderOptions): Promise<Dataset> {
  const missing = [...TRAINING_FILES, TEST_FILE].find((file) => !files.includes(file));
  if (missing !== undefined) {
    throw new PonasError("dataset", `The data folder ${folder} has no file ${missing}.`, {
      cure: "unpack CIFAR-10's binary version there: data_batch_1.bin … data_batch_5.bin and test_batch.bin",
    });
  }
  const batches = TRAINING_FILES.map((file) => ({ file, count: recordCount(join(folder, file)) }));
  const count = batches.reduce((sum, batch) => sum + batch.count, 0);
  if (count < 2) throw new PonasError("dataset", `${folder} has fewer than two training images.`);
  const testCount = recordCount(join(folder, TEST_FILE));
  if (testCount === 0) throw new PonasError("dataset", `${TEST_FILE} holds no images.`);

  const read: ReadFile[] = [];
  const take = async (file: string, labels: Uint8Array, place: Placement): Promise<void> => {
    const md5 = await readRecords(join(folder, file), labels, place, { signal });
    read.push({ file, stem: basename(file, ".bin"), md5 });
  };
  const { place, train, validation } = collectTraining({ count, size: IMAGE_BYTES }, seed, limits);
  const labels = new Uint8Array(count);
  let first = 0;
  for (const batch of batches) {
    const from = first;
    await take(batch.file, labels.subarray(from, from + batch.count), (index) => place(from + index));
    first += batch.count;
  }
  const test = collectTest({ count: testCount, size: IMAGE_BYTES }, limits);
  const testLabels = new Uint8Array(testCount);
  await take(TEST_FILE, testLabels, test.place);

  return {
    name,
    height: HEIGHT,
    width: WIDTH,
    channels: CHANNELS,
    classes: CLASSES,
    train: train.samples(labels),
    validation: validation.samples(labels),
    test: test.samples(testLabels),
    notes: checksumNotes(name, read),
  };
}

function recordCount(file: string): number {
  const size = fileSize(file);
  const count = Math.floor(size / RECORD_BYTES);
  if (size === count * RECORD_BYTES) return count;
  throw fileFault(
    `${basename(file)} ends at offset ${size}, inside record ${count}, which begins at offset ${count * RECORD_BYTES}; a record has ${RECORD_BYTES} bytes.`,
  );
}

/** Reads as many records as there is room for labels, and checks that there are no more. @returns MD5 of the file */
async function readRecords(file: string, labels: Uint8Array, place: Placement, options: ReadOptions): Promise<string> {
  await using reader = openBytes(file, options);
  const record = new Uint8Array(RECORD_BYTES);
  for (let index = 0; index < labels.length; index++) {
    const start = reader.offset();
    if ((await reader.read(record)) < RECORD_BYTES) {
      throw fileFault(`${reader.name} is truncated: it ends at offset ${reader.offset()}, inside record ${index}.`);
    }
    labels[index] = record[0]!;
    if (record[0]! >= CLASSES) {
      const found = `Label ${index} of ${reader.name} (offset ${start})`;
      throw fileFault(`${found} is ${record[0]}, but there are ${CLASSES} classes.`);
    }
    const image = place(index);
    if (image !== null) interleave(record, image);
  }
  const more = await reader.drain();
  if (more > 0) throw fileFault(`${reader.name} grew by ${more} bytes while it was read.`);
  return reader.md5();
}

/** From planes behind a label to channels last. */
function interleave(record: Uint8Array, image: Uint8Array): void {
  for (let channel = 0; channel < CHANNELS; channel++) {
    const plane = 1 + channel * PLANE_BYTES;
    for (let pixel = 0; pixel < PLANE_BYTES; pixel++) image[pixel * CHANNELS + channel] = record[plane + pixel]!;
  }
}
