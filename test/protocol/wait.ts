import { expect } from "chai";

import { PonasError } from "../../offchain/protocol/errors.ts";
import { sleep, withRetry } from "../../offchain/protocol/wait.ts";

async function refusalOf(promise: Promise<unknown>): Promise<PonasError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PonasError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const options = {
  deadlineMs: 1000,
  retryable: (error: unknown): boolean => error instanceof RangeError,
  giveUp: (cause: unknown): Error => new PonasError("timeout", "Gave up.", { cause }),
};

describe("waiting", () => {
  it("sleeps as long as it is told", async () => {
    const start = performance.now();
    await sleep(60);
    expect(performance.now() - start).to.be.within(55, 10_000);
  });

  it("wakes at once when the signal fires, before or during", async () => {
    const start = performance.now();
    expect((await refusalOf(sleep(60_000, AbortSignal.abort()))).code).to.equal("aborted");
    expect((await refusalOf(sleep(60_000, AbortSignal.timeout(30)))).code).to.equal("aborted");
    expect(performance.now() - start).to.be.below(20_000);
  });

  it("tries again until it works, and reports the outage once", async () => {
    let calls = 0;
    let outages = 0;
    const work = async (): Promise<number> => {
      calls += 1;
      if (calls < 4) throw new RangeError("away");
      return calls;
    };
    expect(await withRetry(work, { ...options, onOutage: () => void (outages += 1) })).to.equal(4);
    expect(outages).to.equal(1);
  });

  it("lets through at once what will not pass by itself", async () => {
    let calls = 0;
    const work = async (): Promise<never> => {
      calls += 1;
      throw new TypeError("a defect");
    };
    const error = await withRetry(work, options).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(TypeError);
    expect(calls).to.equal(1);
  });

  it("gives up within the deadline, with the last failure as the cause", async () => {
    const start = performance.now();
    let calls = 0;
    const work = async (): Promise<never> => {
      throw new RangeError(`away ${++calls}`);
    };
    const error = await refusalOf(withRetry(work, { ...options, deadlineMs: 5000 }));
    expect(error.message).to.equal("Gave up.");
    expect((error.cause as Error).message).to.equal(`away ${calls}`);
    expect(performance.now() - start).to.be.below(5000);
    expect(calls).to.equal(6); // at 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s; the next pause would end at 5.1
  });

  it("stops when the signal fires in a pause", async () => {
    const work = (): Promise<never> => Promise.reject(new RangeError("away"));
    const signal = AbortSignal.timeout(150);
    const start = performance.now();
    const error = await refusalOf(withRetry(work, { ...options, deadlineMs: 60_000, signal }));
    expect(error.code).to.equal("aborted");
    expect(performance.now() - start).to.be.below(20_000);
  });

  it("calls it aborted, whatever the work said, once the signal has fired", async () => {
    const work = (): Promise<never> => Promise.reject(new TypeError("cut off"));
    const error = await refusalOf(withRetry(work, { ...options, signal: AbortSignal.abort() }));
    expect(error.code).to.equal("aborted");
  });
});
