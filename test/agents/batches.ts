import { expect } from "chai";

import { inBatches, sendBatched, type BatchedCall } from "../../offchain/agents/batches.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

const bytesOf = (count: number): Hex => `0x${"00".repeat(count)}`;
const refused = (what: string): PonasError => new PonasError("reverted", `${what} was refused.`);

/** Calls of which some are refused, alone and with others; says what was sent. */
function scripted(count: number, { gas = 1_000_000, bytes = 4, refuses = [] as number[] } = {}) {
  const sent: string[] = [];
  const alone: number[] = [];
  const calls = Array.from({ length: count }, (_, i): BatchedCall => ({
    data: [`0x${i.toString(16).padStart(2 * bytes, "0")}`],
    gas,
    alone: () => {
      if (refuses.includes(i)) return Promise.reject(refused(`call ${i}`));
      alone.push(i);
      sent.push(`${i}`);
      return Promise.resolve();
    },
  }));
  const together = (data: readonly Hex[]): Promise<void> => {
    const numbers = data.map((one) => Number(one));
    if (numbers.some((i) => refuses.includes(i))) return Promise.reject(refused("multicall"));
    sent.push(numbers.join("+"));
    return Promise.resolve();
  };
  return { calls, together, sent, alone };
}

describe("Calls in batches", () => {
  it("fit a block and a message between nodes, and keep their order", () => {
    const of = (call: { gas: number; bytes: number }, count: number): number[] =>
      inBatches(Array.from({ length: count }, () => ({ data: [bytesOf(call.bytes)], gas: call.gas }))).map(
        ({ length }) => length,
      );
    expect(of({ gas: 130_000, bytes: 100 }, 130)).to.deep.equal([59, 59, 12]);
    expect(of({ gas: 150_000, bytes: 33_000 }, 5)).to.deep.equal([2, 2, 1]);
    expect(of({ gas: 150_000, bytes: 200_000 }, 2)).to.deep.equal([1, 1]);
    expect(of({ gas: 1, bytes: 1 }, 0)).to.deep.equal([]);
  });

  it("are one transaction each, and one that stands alone is none of a multicall", async () => {
    const { calls, together, sent } = scripted(9);
    expect(await sendBatched(calls, together)).to.deep.equal({ taken: 9, failure: null });
    expect(sent).to.deep.equal(["0+1+2+3+4+5+6", "7+8"]);
    const one = scripted(1);
    await sendBatched(one.calls, one.together);
    expect(one.alone).to.deep.equal([0]);
  });

  it("go in halves where the chain refuses their transaction, and the first refusal of one alone is said", async () => {
    const { calls, together, sent } = scripted(9, { refuses: [2, 4] });
    const { taken, failure } = await sendBatched(calls, together);
    expect(taken).to.equal(7);
    expect(failure!.message).to.equal("call 2 was refused.");
    expect(sent).to.deep.equal(["0", "1", "3", "5+6", "7+8"]);
  });

  it("are looked at again before, once", async () => {
    const { calls, together, sent } = scripted(9, { refuses: [2, 8] });
    const seen: number[] = [];
    const { taken, failure } = await sendBatched(calls, together, (refused) => {
      seen.push(refused.length);
      return Promise.resolve(refused.filter((one) => one !== calls[2]));
    });
    expect(seen).to.deep.equal([7, 2]);
    expect([taken, failure!.message]).to.deep.equal([7, "call 8 was refused."]);
    expect(sent).to.deep.equal(["0+1+3+4+5+6", "7"]);
  });

  it("stop where it is not the chain that refuses", async () => {
    const { calls } = scripted(3);
    const poor = new PonasError("unavailable", "The account cannot pay for gas.");
    const end = await sendBatched(calls, () => Promise.reject(poor)).catch((error: unknown) => error);
    expect(end).to.equal(poor);
  });
});
