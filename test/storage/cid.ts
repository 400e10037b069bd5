import { createHash } from "node:crypto";

import { expect } from "chai";
import { CID } from "multiformats/cid";
import { identity } from "multiformats/hashes/identity";
import { sha256, sha512 } from "multiformats/hashes/sha2";

import { cidBytes, cidOf, parseCid } from "../../offchain/storage/cid.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { MIB, randomBytes } from "./support.ts";

const refusal = (from: string | Uint8Array): string => {
  try {
    parseCid(from);
  } catch (error) {
    if (error instanceof PonasError && error.code === "bad-input") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
};

describe("CIDs", () => {
  it("of up to 1 MiB carry the file's own sha2-256", async () => {
    for (const length of [0, 1, MIB]) {
      const bytes = randomBytes(length, length);
      const cid = await cidOf(bytes);
      expect(cid.code).equal(0x55);
      expect(Buffer.from(cid.multihash.digest)).deep.equal(createHash("sha256").update(bytes).digest());
    }
  });

  it("stay what they were: an empty file, one zero more than a leaf, and 3.5 MiB of zeros", async () => {
    expect(String(await cidOf(new Uint8Array()))).equal("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    expect(String(await cidOf(new Uint8Array(MIB + 1)))).equal(
      "bafybeihd4yzq7n5umhjngdum4r6k2to7egxfkf2jz6thvwzf6djus22cmq",
    );
    expect(String(await cidOf(new Uint8Array(3.5 * MIB)))).equal(
      "bafybeieeap2afto5vwudehakfcr542eshqelsdlvjx4knl3reudkub5w6m",
    );
  });

  it("come back from their text, in any base, and from their 36 bytes", async () => {
    const cid = await cidOf(new Uint8Array([1]));
    expect(parseCid(cid.toString()).toString()).equal(cid.toString());
    expect(parseCid(cid.bytes).toString()).equal(cid.toString());
    expect(cidBytes(cid.toString())).deep.equal(cid.bytes);
    expect(cid.bytes).length(36);
  });

  it("are refused with one sentence when they are none, of version 0, of another codec or under another hash", async () => {
    const bytes = new Uint8Array([1, 2, 3]);
    const digest = await sha256.digest(bytes);
    const good = CID.createV1(0x55, digest);
    expect(refusal("hello")).equal('"hello" is not a CID.');
    expect(refusal("")).match(/is not a CID/);
    expect(refusal(`/ipfs/${good}`)).match(/is not a CID/);
    expect(refusal(new Uint8Array())).match(/is not a CID/);
    expect(refusal(good.bytes.subarray(0, 20))).match(/is not a CID/);
    expect(refusal(Buffer.concat([good.bytes, new Uint8Array(1)]))).match(/is not a CID/);
    expect(refusal(CID.createV0(digest).toString())).match(/is of version 0/);
    expect(refusal(CID.createV1(0x71, digest).bytes)).match(/names a block of codec 0x71/);
    expect(refusal(CID.createV1(0x55, await sha512.digest(bytes)).bytes)).match(/is not under sha2-256/);
    expect(refusal(CID.createV1(0x55, identity.digest(bytes)).bytes)).match(/is not under sha2-256/);
    expect(refusal(CID.createV1(0x55, sha256.digest(bytes, { truncate: 20 }) as never).bytes)).match(
      /sha2-256|not a CID/,
    );
  });

  it("are refused in binary with a number written longer than need be", async () => {
    const { bytes } = await cidOf(new Uint8Array([1]));
    const long = Buffer.concat([Buffer.from([1, 0xd5, 0]), bytes.subarray(2)]);
    expect(refusal(long)).match(/is not in its shortest encoding|is not a CID/);
  });
});
