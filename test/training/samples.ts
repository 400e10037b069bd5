import { expect } from "chai";

import {
  decodeSamples,
  decryptTestSet,
  encodeSamples,
  encryptTestSet,
  type Samples,
} from "../../offchain/training/datasets.ts";

const shape = { height: 2, width: 1, channels: 2, classes: 3 };
const samples: Samples = { pixels: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), labels: Uint8Array.of(2, 0), count: 2 };

describe("a task's data file", () => {
  it("holds each sample as its label and its pixels", () => {
    expect([...encodeSamples(samples)]).to.deep.equal([2, 1, 2, 3, 4, 0, 5, 6, 7, 8]);
    expect(decodeSamples(encodeSamples(samples), shape)).to.deep.equal(samples);
  });

  it("is refused where it is empty, breaks off, or has a label that is no class", () => {
    const refused = (bytes: Uint8Array) =>
      expect(() => decodeSamples(bytes, shape))
        .to.throw()
        .with.property("message");
    refused(new Uint8Array()).that.equals(
      "A data file of 0 bytes is not a whole number of samples of 5 bytes (a label and 2×1×2 pixels).",
    );
    refused(encodeSamples(samples).subarray(0, 9)).that.matches(/^A data file of 9 bytes is not a whole number/);
    refused(Uint8Array.of(2, 0, 0, 0, 0, 3, 0, 0, 0, 0)).that.equals(
      "Sample 1 of a data file has label 3, but there are 3 classes.",
    );
  });
});

describe("an encrypted test set", () => {
  const key = new Uint8Array(32).fill(7);
  const file = encodeSamples(samples);

  it("is AES-256-GCM with the tag at the end, the same bytes every time", () => {
    const encrypted = encryptTestSet(file, key);
    expect(encrypted).to.have.length(file.length + 16);
    expect(encryptTestSet(file, key)).to.deep.equal(encrypted);
    expect(decryptTestSet(encrypted, key)).to.deep.equal(file);
  });

  it("does not open with another key, nor after any change", () => {
    const encrypted = encryptTestSet(file, key);
    const sentence = "The test set does not decrypt: its key or its bytes are not the ones published.";
    const refused = (bytes: Uint8Array, with_ = key) =>
      expect(() => decryptTestSet(bytes, with_))
        .to.throw(sentence)
        .with.property("code", "integrity");
    refused(encrypted, new Uint8Array(32).fill(8));
    for (let at = 0; at < encrypted.length; at++) refused(encrypted.map((byte, i) => (i === at ? byte ^ 1 : byte)));
    for (let length = 0; length < encrypted.length; length++) refused(encrypted.subarray(0, length));
    refused(new Uint8Array([...encrypted, 0]));
  });

  it("takes keys of 32 bytes only", () => {
    expect(() => encryptTestSet(file, new Uint8Array(16))).to.throw(RangeError);
    expect(() => decryptTestSet(file, new Uint8Array(33))).to.throw(RangeError);
  });
});
