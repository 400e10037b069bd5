import { expect } from "chai";

import { trainChild } from "../../offchain/training/train.ts";
import { createWorkerPool, type WorkerPool } from "../../offchain/training/worker-pool.ts";
import { endless, failure, isAlive, request } from "./worker-request.ts";

describe("A pool of training workers", () => {
  const pids: number[] = [];
  let pool: WorkerPool;
  before(() => (pool = createWorkerPool({ workers: 2, engine: "onnx", onStart: (pid) => pids.push(pid) })));
  after(() => pool.close());

  it("starts no more processes than there is work for, and gives what training here gives", async () => {
    expect(pids).to.deep.equal([]);
    const { bytes, engine } = await pool.train(request);
    expect(engine).to.equal("onnx");
    expect(Buffer.from(bytes).equals((await trainChild(request)).bytes)).to.equal(true);
    await pool.train(request);
    expect(pids).to.have.length(1);
  });

  it("trains as many at a time as it has processes, and serves the others in turn", async () => {
    const log: string[] = [];
    const [first, second] = [new AbortController(), new AbortController()];
    const begin = ({ signal }: AbortController): Promise<void> =>
      new Promise((resolve) => {
        pool.train(endless, { signal, onEpoch: () => resolve() }).catch(() => log.push("stopped"));
      });
    await Promise.all([begin(first), begin(second)]);
    expect(pids).to.have.length(2);
    const waiting = [1, 2, 3].map((seed) => pool.train({ ...request, seed }).then(() => log.push(`done ${seed}`)));
    expect(log).to.deep.equal([]);
    second.abort();
    await Promise.all(waiting);
    expect(log).to.deep.equal(["stopped", "done 1", "done 2", "done 3"]);
    first.abort();
    await pool.train(request);
    expect(pids).to.have.length(2);
  });

  it("lets go at once of who waits and is told to stop", async () => {
    const busy = [new AbortController(), new AbortController()];
    const stopped = busy.map(({ signal }) => failure(pool.train(endless, { signal })));
    const controller = new AbortController();
    const waiting = failure(pool.train(request, { signal: controller.signal }));
    controller.abort();
    expect(await waiting).to.include({ code: "aborted" });
    expect(await failure(pool.train(request, { signal: controller.signal }))).to.include({ code: "aborted" });
    busy.forEach((each) => each.abort());
    for (const each of stopped) expect(await each).to.include({ code: "aborted" });
    expect((await pool.train(request)).epochsRun).to.equal(2);
  });

  it("fails the one training whose process dies, and no other", async () => {
    const mortal: number[] = [];
    const other = createWorkerPool({ workers: 2, engine: "onnx", onStart: (pid) => mortal.push(pid) });
    // The first process is started by the first request.
    const doomed = failure(other.train(endless, { onEpoch: () => isAlive(mortal[0]!) && process.kill(mortal[0]!, 9) }));
    const others = [1, 2, 3].map((seed) => other.train({ ...request, seed }));
    expect(await doomed).to.include({ code: "engine" });
    expect((await Promise.all(others)).map(({ epochsRun }) => epochsRun)).to.deep.equal([2, 2, 2]);
    await other.close();
  });

  it("rejects what runs and what waits when it is closed, and leaves no process", async () => {
    const mine: number[] = [];
    const closing = createWorkerPool({ workers: 1, engine: "onnx", onStart: (pid) => mine.push(pid) });
    const begun = new Promise<void>((resolve) => {
      void failure(closing.train(endless, { onEpoch: () => resolve() }));
    });
    const waiting = failure(closing.train(request));
    await begun;
    await closing.close();
    expect(await waiting).to.include({ code: "aborted" });
    expect(await failure(closing.train(request))).to.include({ code: "aborted" });
    expect(mine.filter(isAlive)).to.deep.equal([]);
    await closing.close();
  });

  it("refuses to be of no processes", () => {
    for (const workers of [0, -1, 1.5, NaN]) {
      expect(() => createWorkerPool({ workers })).to.throw(`A pool of ${workers} training processes cannot train.`);
    }
  });
});
