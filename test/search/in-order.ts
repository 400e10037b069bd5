import { expect } from "chai";

import { createRandom } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { runInOrder } from "../../offchain/search/in-order.ts";

/** What is asked and heard, in order, when trainings take as long as the seed says. */
async function logOf(timing: number, window: number, items = 20): Promise<string[]> {
  const random = createRandom(timing);
  const log: string[] = [];
  let asked = 0;
  await runInOrder({
    next: () => {
      if (asked === items) return null;
      log.push(`ask ${asked}`);
      return asked++;
    },
    run: async (item) => {
      await sleep(random.integer(8));
      return item * item;
    },
    done: (item, result) => log.push(`done ${item} ${result}`),
    window,
  });
  return log;
}

async function failure(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

describe("Work in order", () => {
  it("is asked for and heard of in the same order, however long each piece takes", async () => {
    for (const window of [1, 3, 7]) {
      const expected = await logOf(0, window);
      for (let timing = 1; timing < 5; timing++) expect(await logOf(timing, window)).to.deep.equal(expected);
      const ask = expected.indexOf(`ask ${window + 4}`);
      expect(expected[ask - 1]).to.equal("done 4 16");
    }
    expect(await logOf(0, 100, 3)).to.deep.equal(["ask 0", "ask 1", "ask 2", "done 0 0", "done 1 1", "done 2 4"]);
  });

  it("ends at once where there is nothing to do", async () => {
    expect(await logOf(0, 3, 0)).to.deep.equal([]);
  });

  it("stops what still runs when a piece fails, and waits for it", async () => {
    const stopped: number[] = [];
    let asked = 0;
    const failed = runInOrder({
      next: () => asked++,
      run: async (item, signal) => {
        if (item === 2) throw new Error("piece 2 broke");
        if (item > 2) await sleep(10_000, signal).catch(() => stopped.push(item));
      },
      done: () => undefined,
      window: 4,
    });
    expect((await failure(failed)).message).to.equal("piece 2 broke");
    expect(stopped).to.deep.equal([3, 4, 5]);
  });

  it("stops when it is told to, before and in the middle", async () => {
    const controller = new AbortController();
    const heard: number[] = [];
    let asked = 0;
    const options = {
      next: () => asked++,
      run: (item: number, signal: AbortSignal) => sleep(item < 3 ? 0 : 10_000, signal),
      done: (item: number) => {
        heard.push(item);
        if (item === 2) controller.abort();
      },
      window: 2,
      signal: controller.signal,
    };
    expect(await failure(runInOrder(options))).to.include({ code: "aborted" });
    expect(heard).to.deep.equal([0, 1, 2]);
    expect(await failure(runInOrder(options))).to.include({ code: "aborted" });
    expect(asked).to.equal(4);
  });
});
