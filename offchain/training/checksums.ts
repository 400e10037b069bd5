/** Telling a published data set from something else under its name. */

/** MD5 of the uncompressed content of every published file: the sums that publishers and loaders have always listed. */
const PUBLISHED: Record<string, Record<string, string>> = {
  mnist: {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
  },
  "fashion-mnist": {
    "train-images": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels": "15d484375f8d13e6eb1aabb0c3f46965",
  },
  cifar10: {
    data_batch_1: "5dd7e06a14cb22eb9f671a540d1b7c25",
    data_batch_2: "5ea93a67294ea407fff1d09f752e9692",
    data_batch_3: "942cd6a4bcdd0dd3c604fbe906cb4421",
    data_batch_4: "ae636b3ba5c66a11e91e8cb52e771fcb",
    data_batch_5: "53f37980c15c3d472c316c40844f3f0d",
    test_batch: "803d5f7f4d78ea53de84dbe85f74fb6d",
  },
};

/** A file that was read: its name in the folder, what it is called apart from its ending, and its content's MD5. */
export interface ReadFile {
  readonly file: string;
  readonly stem: string;
  readonly md5: string;
}

/** One sentence where files of a known data set are not the published ones; nothing for a set without a name. */
export function checksumNotes(dataset: string, files: readonly ReadFile[]): string[] {
  const published = PUBLISHED[dataset];
  if (published === undefined) return [];
  const others = files.filter(({ stem, md5 }) => published[stem] !== md5).map(({ file }) => file);
  if (others.length === 0) return [];
  const which = `${others.length} of ${files.length} files of ${dataset} are not the published ones`;
  return [`${which}, by their MD5 checksums: ${others.join(", ")}.`];
}
