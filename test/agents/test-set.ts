import { expect } from "chai";

import { publishTask, type TaskPlan } from "../../offchain/agents/publisher.ts";
import {
  fetchEncryptedTest,
  openTestSet,
  shapeOf,
  type DescribedTask,
  type TaskDescriptor,
} from "../../offchain/agents/task-descriptor.ts";
import { commitTestSet, ZERO_HASH, type Hex, type TestSetShape } from "../../offchain/protocol/bytes.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import type { ModelStore } from "../../offchain/storage/model-store.ts";
import { encodeSamples, encryptTestSet, type Dataset, type Samples } from "../../offchain/training/datasets.ts";
import { dataset, plan, space, template } from "./noise-task.ts";

const KEY: Hex = `0x${"5a".repeat(32)}`;
const { test } = dataset;
const shape = shapeOf(template);
const encrypt = (samples: Samples): Uint8Array =>
  encryptTestSet(encodeSamples(samples), Buffer.from(KEY.slice(2), "hex"));
const descriptor = {
  template,
  space,
  data: { encryptedTest: { cid: "bafy", count: test.count } },
} as unknown as TaskDescriptor;
const refusal = async (work: () => unknown): Promise<PonasError> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof PonasError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
};

/** Opens what was released under a root over the noise's pixels and labels in the given shape. */
function release(bound: TestSetShape, released: Samples = test) {
  const { testRoot } = commitTestSet(test.pixels, test.labels, bound);
  const task: DescribedTask = { id: 7n, descriptorCid: "0x", spaceHash: ZERO_HASH, testRoot, testCount: test.count };
  return openTestSet(task, descriptor, encrypt(released), KEY);
}

describe("A released test set", () => {
  it("is taken in the sizes and classes of the task's template", () => {
    expect(release(shape).samples.labels).to.deep.equal(test.labels);
  });

  const others: Record<string, TestSetShape> = {
    "other sizes of as many pixels": { ...shape, height: 4, width: 16 },
    "more classes than the template": { ...shape, classes: 11 },
    "fewer classes than the template": { ...shape, classes: 9 },
    "channels for rows": { ...shape, height: 1, channels: 8 },
  };
  for (const [name, bound] of Object.entries(others)) {
    it(`is not the committed one where the root binds ${name}`, async () => {
      const { code, message } = await refusal(() => release(bound));
      expect(code).to.equal("integrity");
      expect(message).to.equal(
        "The released test set of task 7, of 8×8×1 and 10 classes, is not the one that was committed to.",
      );
    });
  }

  it("is not the committed one with a label that is no class of the template, whatever the root says", async () => {
    const stray = { ...test, labels: test.labels.with(3, 10) };
    const { code, message } = await refusal(() => release(shape, stray));
    expect([code, message]).to.deep.equal(["integrity", "The released test set of task 7 cannot be read."]);
  });

  it("is refused before its key is out, where its file has another length than the template's samples", async () => {
    for (const bytes of [encrypt(test).subarray(1), new Uint8Array(0)]) {
      const store = { get: () => Promise.resolve(bytes) } as unknown as ModelStore;
      const { signal } = new AbortController();
      const { code, message } = await refusal(() => fetchEncryptedTest(descriptor, { store, signal, timeoutMs: 1 }));
      expect(code).to.equal("bad-input");
      expect(message).to.equal(`The encrypted test set has ${bytes.length} bytes, but 64 samples of 8×8×1 take 4176.`);
    }
  });
});

describe("A publisher", () => {
  const wrong: Record<string, [Partial<Dataset>, Partial<TaskPlan["template"]>, RegExp]> = {
    "sizes of the samples other than the template's": [
      { height: 4, width: 16 },
      {},
      /asks for models of 8×8×1 with 10 classes, but its samples are 4×16×1 with 10 classes\.$/,
    ],
    "a template of other classes": [
      {},
      { classes: 12 },
      /of 8×8×1 with 12 classes, but its samples are .* 10 classes\.$/,
    ],
    "a split of other sizes": [
      { validation: { ...test, pixels: test.pixels.subarray(1) } },
      {},
      /^The validation split has 4095 pixels and 64 labels, which are not 64 samples of 8×8×1 with 10 classes\.$/,
    ],
    "a label that is no class": [
      { test: { ...test, labels: test.labels.with(5, 10) } },
      {},
      /^Sample 5 of the test split has label 10, of 8×8×1 with 10 classes\.$/,
    ],
  };
  for (const [name, [data, changes, sentence]] of Object.entries(wrong)) {
    it(`does not publish ${name}, and puts nothing anywhere`, async () => {
      const { signal } = new AbortController();
      const options = { signal } as unknown as Parameters<typeof publishTask>[1];
      const deployment = { registry: "0x00", asset: "0x00", stake: "0x00" };
      const refused = await refusal(() =>
        publishTask(
          { ...plan, dataset: { ...dataset, ...data }, template: { ...template, ...changes } },
          { ...options, chain: { deployment } as never },
        ),
      );
      expect(refused.code).to.equal("bad-input");
      expect(refused.message).to.match(sentence);
    });
  }
});
