import { expect } from "chai";
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
import { bytesToHex } from "../../offchain/protocol/bytes.ts";
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
    expect(await isSignedBy(signerOf(1).address, data, `0x${"11".repeat(65)}`)).to.equal(false);
  });

  it("is verified alike in this thread and, when there is much of it, in another", async function () {
    this.timeout(30_000);
    const check = createSignatureCheck({ log: SILENT, most: 3 });
    const [ada, bob] = [signerOf(1), signerOf(2)];
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, at) => {
        const data = shareData(IDENTITY, trial());
        const signature = await (at % 3 === 0 ? bob : ada).sign(data);
        const said = at % 5 === 0 ? (`0x${"11".repeat(65)}` as const) : signature;
        const expected = await isSignedBy(ada.address, data, said);
        return [await check.isSigned(ada.address, digestOf(data), said), expected];
      }),
    );
    expect(answers.map(([is]) => is)).to.deep.equal(answers.map(([, expected]) => expected));
    expect(answers.filter(([is]) => is).length).to.be.within(10, 20);
    expect(check.isThreaded()).to.equal(true);
    await check.stop();
  });
});
