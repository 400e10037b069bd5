/**
 * What a task asks for, as one JSON file on IPFS. The chain fixes its CID, and repeats the parts that contracts
 * check: the space's hash, the test set's commitment, the cap of a model file (docs/protocol.md "Publish").
 */
import { CID } from "multiformats/cid";
import { z } from "zod";

import { parseWith, spaceSchema, templateSchema, type Template } from "../protocol/architecture.ts";
import { commitTestSet, spaceHash, type Hex, type TestSetCommitment } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { decodeSamples, decryptTestSet, type Samples } from "../training/datasets.ts";
import { trainingSettingsSchema } from "../training/settings.ts";

const cid = z.string().refine((text) => {
  try {
    return CID.parse(text).version === 1;
  } catch {
    return false;
  }
}, "not a CIDv1");

/** At most 16,384 samples of at most 64×64×255 bytes would be 17 GB: the files of a task are far smaller. */
const MAX_DATA_BYTES = 1 << 30;
/** Added by AES-256-GCM. */
const TAG_BYTES = 16;
/** The descriptor itself: a few kilobytes. */
export const MAX_DESCRIPTOR_BYTES = 1 << 20;

/** Of one hyperparameter. The paper's longest list has 7; a search that goes through a list must not hang in it. */
const MAX_CHOICES = 256;

const samplesFile = z.strictObject({ cid, count: z.int().min(1).max(10_000_000) });

export const taskDescriptorSchema = z.strictObject({
  version: z.literal(1),
  /** for people: "fashion-mnist over the demo space" */
  title: z.string().max(200),
  template: templateSchema,
  space: spaceSchema.refine(
    (space) => Object.values(space).every((choices) => choices.length <= MAX_CHOICES),
    `more than ${MAX_CHOICES} choices of a hyperparameter`,
  ),
  /** multiply–accumulates of one image that a proposal may cost; a search skips the rest. Not checked on chain. */
  maxMacs: z.int().min(1).optional(),
  /** Splits never overlap. The test set's file is encrypted until its key is released. */
  data: z.strictObject({ train: samplesFile, validation: samplesFile, encryptedTest: samplesFile }),
  /** what miners may not choose */
  training: trainingSettingsSchema,
});
export type TaskDescriptor = z.infer<typeof taskDescriptorSchema>;

/** The parts of a task on chain that its descriptor must agree with. */
export interface DescribedTask {
  readonly id: bigint;
  readonly descriptorCid: Hex;
  readonly spaceHash: Hex;
  readonly testRoot: Hex;
  readonly testCount: number;
}

interface FetchOptions {
  readonly store: ModelStore;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/**
 * Fetches a task's descriptor and checks it against the chain.
 * @throws PonasError bad-input where the two disagree: nobody should spend time on such a task
 */
export async function fetchDescriptor(task: DescribedTask, { store, ...wait }: FetchOptions): Promise<TaskDescriptor> {
  const what = `The descriptor of task ${task.id}`;
  const bytes = await store.get(binaryCid(task.descriptorCid, what), { maxBytes: MAX_DESCRIPTOR_BYTES, ...wait });
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new PonasError("bad-input", `${what} is not JSON.`, { cause });
  }
  const descriptor = parseWith(taskDescriptorSchema, json, what);
  if (spaceHash(descriptor.space, descriptor.template) !== task.spaceHash) {
    throw new PonasError("bad-input", `${what} has another search space or template than the chain says.`);
  }
  if (descriptor.data.encryptedTest.count !== task.testCount) {
    throw new PonasError(
      "bad-input",
      `${what} has ${descriptor.data.encryptedTest.count} test samples, the chain says ${task.testCount}.`,
    );
  }
  return descriptor;
}

/** Fetches one of the two open splits. */
export async function fetchSamples(
  { data, template }: TaskDescriptor,
  split: "train" | "validation",
  { store, ...wait }: FetchOptions,
): Promise<Samples> {
  const file = data[split];
  const what = `The ${split} file`;
  const bytes = await store.get(file.cid, { maxBytes: fileBytes(file.count, template, what), ...wait });
  return withCount(decodeSamples(bytes, shapeOf(template)), file.count, what);
}

/**
 * The encrypted test set's bytes; they can be fetched before the key is released. Encryption keeps the length: so much
 * is known of it then already.
 * @throws PonasError bad-input where it cannot be so many samples of the template's sizes
 */
export async function fetchEncryptedTest(
  { data, template }: TaskDescriptor,
  { store, ...wait }: FetchOptions,
): Promise<Uint8Array> {
  const { cid: address, count } = data.encryptedTest;
  const length = fileBytes(count, template, "The encrypted test set") + TAG_BYTES;
  const bytes = await store.get(address, { maxBytes: length, ...wait });
  if (bytes.length === length) return bytes;
  throw new PonasError(
    "bad-input",
    `The encrypted test set has ${bytes.length} bytes, but ${count} samples of ${sizes(template)} take ${length}.`,
  );
}

/** Length of a data file, known before a byte of it is fetched. @throws PonasError bad-input where no agent should take so much */
function fileBytes(count: number, { input: [height, width, channels] }: Template, what: string): number {
  const bytes = count * (1 + height * width * channels);
  if (bytes <= MAX_DATA_BYTES) return bytes;
  throw new PonasError("bad-input", `${what} of ${count} samples takes ${bytes} bytes, over ${MAX_DATA_BYTES}.`);
}

export interface TestSet {
  readonly samples: Samples;
  readonly commitment: TestSetCommitment;
}

/**
 * Decrypts a released test set and checks it against `testRoot`, in the sizes and classes of the task's template: to a
 * chain that holds a root over others, every model of the template would be malformed.
 * @throws PonasError integrity where the key, the file or the root is wrong: then validators vote the task void
 */
export function openTestSet(task: DescribedTask, descriptor: TaskDescriptor, encrypted: Uint8Array, key: Hex): TestSet {
  const shape = shapeOf(descriptor.template);
  const file = decryptTestSet(encrypted, Buffer.from(key.slice(2), "hex"));
  let samples: Samples;
  try {
    samples = withCount(decodeSamples(file, shape), task.testCount, "The test set");
  } catch (cause) {
    throw new PonasError("integrity", `The released test set of task ${task.id} cannot be read.`, { cause });
  }
  const commitment = commitTestSet(samples.pixels, samples.labels, shape);
  if (commitment.testRoot !== task.testRoot) {
    throw new PonasError(
      "integrity",
      `The released test set of task ${task.id}, of ${sizes(descriptor.template)} and ${shape.classes} classes, is not the one that was committed to.`,
    );
  }
  return { samples, commitment };
}

export function shapeOf({ input: [height, width, channels], classes }: TaskDescriptor["template"]) {
  return { height, width, channels, classes };
}

/** A CID as the chain carries it: binary, in hex. @throws PonasError bad-input */
export function binaryCid(hex: Hex, what: string): Uint8Array {
  const bytes = Buffer.from(hex.slice(2), "hex");
  try {
    CID.decode(bytes);
  } catch (cause) {
    throw new PonasError("bad-input", `${what} has no valid CID on chain.`, { cause });
  }
  return bytes;
}

const sizes = ({ input }: Template): string => input.join("×");

function withCount(samples: Samples, count: number, what: string): Samples {
  if (samples.count === count) return samples;
  throw new PonasError("bad-input", `${what} has ${samples.count} samples, the task says ${count}.`);
}
