import { expect } from "chai";

import { createBatches, createSerial } from "../../offchain/pool/serial.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

describe("Pieces of work in turns", () => {
  it("go first by turns with those that have waited longest, so that neither is starved", async () => {
    const serial = createSerial();
    const done: string[] = [];
    const piece = (name: string, first = false): Promise<void> =>
      serial(
        async () => {
          await Promise.resolve();
          done.push(name);
          // What always comes again does not keep the others out.
          if (name === "a" || name === "b") rest.push(piece(name === "a" ? "b" : "c", true));
        },
        { first },
      );
    const rest = [piece("1"), piece("2"), piece("3"), piece("a", true)];
    for (let at = 0; at < rest.length; at++) await rest[at];
    expect(done).to.deep.equal(["a", "1", "b", "2", "c", "3"]);
  });
});

describe("Pieces of work that are done together", () => {
  const key = {};
  const start = (fail: (pieces: readonly number[]) => void = () => undefined) => {
    const batches: number[][] = [];
    const add = createBatches<object, number, number>({
      turn: createSerial(),
      most: 4,
      work: async (_, pieces) => {
        batches.push([...pieces]);
        await Promise.resolve();
        fail(pieces);
        return pieces.map((piece) => 2 * piece);
      },
    });
    return { add, batches };
  };

  it("are those that come while others are done, in their order, and no more than may be", async () => {
    const { add, batches } = start();
    const answers = await Promise.all(Array.from({ length: 10 }, (_, at) => add(key, at)));
    expect(answers).to.deep.equal(Array.from({ length: 10 }, (_, at) => 2 * at));
    expect(batches.flat()).to.deep.equal(Array.from({ length: 10 }, (_, at) => at));
    expect(Math.max(...batches.map(({ length }) => length))).to.equal(4);
  });

  it("fail each for itself", async () => {
    const { add } = start((pieces) => {
      if (pieces.includes(3)) throw new Error("three");
    });
    const answers = await Promise.allSettled([1, 2, 3, 4, 5].map((piece) => add(key, piece)));
    expect(answers.map(({ status }) => status === "fulfilled")).to.deep.equal([true, true, false, true, true]);
  });

  it("fail together, and are not done one by one, where the failure passes", async () => {
    const { add, batches } = start(() => {
      throw new PonasError("unavailable", "away");
    });
    const answers = await Promise.allSettled([1, 2, 3].map((piece) => add(key, piece)));
    expect(answers.every(({ status }) => status === "rejected")).to.equal(true);
    expect(batches.length).to.equal(1);
  });
});
