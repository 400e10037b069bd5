import { expect } from "chai";
import { Wallet } from "ethers";
import { hashTypedData } from "viem";

import {
  authorizeData,
  digestOf,
  isSignedBy,
  pointsData,
  shareData,
  shareReceiptData,
} from "../../offchain/pool/signatures.ts";
import { createSignatureCheck } from "../../offchain/pool/signature-check.ts";
import { bytesToHex, type Hex } from "../../offchain/protocol/bytes.ts";
import { recoverSigner, signDigest } from "../../offchain/protocol/secp256k1.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sampleArchitecture } from "../../offchain/search/spaces.ts";
import { DESCRIPTOR, IDENTITY, SILENT, signerOf } from "./kit/world.ts";

describe("What a pool and its miners sign", () => {
  const random = createRandom("signatures");
  const hash = (): `0x${string}` => bytesToHex(Uint8Array.from({ length: 32 }, () => random.integer(256)));
  const large = (bits: number): bigint => BigInt(hash()) >> BigInt(256 - bits);
  const trial = (): Parameters<typeof shareData>[1] => ({
    taskId: large(256),
    lease: random.integer(2 ** 32),
    architecture: sampleArchitecture(DESCRIPTOR.template, DESCRIPTOR.space, random),
    seed: random.integer(2 ** 32),
    epochs: 3,
    trainLoss: [random.next(), null],
    validation: { correct: random.integer(30), total: 30 },
    seconds: random.next(),
    flops: 1e30,
    modelRoot: hash(),
  });

  it("has the digests of EIP-712", () => {
    for (let round = 0; round < 20; round++) {
      const pool = round < 10 ? IDENTITY : { chainId: large(64), pool: signerOf(round).address };
      const miner = signerOf(round).address;
      const taskId = large(256);
      for (const data of [
        authorizeData(pool, { miner, nonce: hash(), expiresAt: Date.now() }),
        shareData(pool, trial()),
        shareReceiptData(pool, { taskId, miner, lease: 2 ** 53 - 1, modelRoot: hash(), share: hash() }),
        pointsData(pool, { taskId, miner, sequence: round, points: large(128) }),
      ]) {
        expect(digestOf(data)).to.equal(hashTypedData(data));
      }
    }
  });

  it("is nobody's where a number does not fit", async () => {
    const data = pointsData(IDENTITY, { taskId: 1n, miner: signerOf(1).address, sequence: 1, points: 2n ** 128n });
    expect(() => digestOf(data)).to.throw(RangeError);
    expect(isSignedBy(signerOf(1).address, data, `0x${"11".repeat(65)}`)).to.equal(false);
  });

  it("is verified alike in this thread and, when there is much of it, in another", async () => {
    const check = createSignatureCheck({ log: SILENT, most: 3 });
    const [ada, bob] = [signerOf(1), signerOf(2)];
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, at) => {
        const data = shareData(IDENTITY, trial());
        const signature = await (at % 3 === 0 ? bob : ada).sign(data);
        const said = at % 5 === 0 ? (`0x${"11".repeat(65)}` as const) : signature;
        return [await check.isSigned(ada.address, digestOf(data), said), isSignedBy(ada.address, data, said)];
      }),
    );
    expect(answers.map(([is]) => is)).to.deep.equal(answers.map(([, expected]) => expected));
    expect(answers.filter(([is]) => is).length).to.be.within(10, 20);
    expect(check.isThreaded()).to.equal(true);
    await check.stop();
  });

  it("is what ethers makes of the same data and key, and recovers to its account", async () => {
    const key: Hex = `0x${"2f".repeat(32)}`;
    const wallet = new Wallet(key);
    for (let i = 0; i < 20; i++) {
      const data = shareData(IDENTITY, trial());
      const signature = signDigest(digestOf(data), key);
      expect(signature).to.equal(await wallet.signTypedData(data.domain as never, data.types, data.message));
      expect(recoverSigner(digestOf(data), signature)).to.equal(wallet.address);
      expect(isSignedBy(signerOf(1).address, data, signature)).to.equal(false);
    }
  });

  it("is nobody's where it is damaged", () => {
    const digest = digestOf(shareData(IDENTITY, trial()));
    const whole = signDigest(digest, `0x${"2f".repeat(32)}`);
    const zero = `0x${"00".repeat(64)}1b` as const;
    for (const damaged of [
      whole.slice(0, -2) as Hex,
      `${whole}00` as const,
      `${whole.slice(0, -2)}1d` as Hex,
      zero,
      "0x" as const,
      `0x${"zz".repeat(65)}` as const,
    ]) {
      expect(recoverSigner(digest, damaged)).to.equal(null);
    }
  });
});
