import { expect } from "chai";
import { getEventListeners } from "node:events";

import { trainChild, type EpochProgress, type TrainingRequest } from "../../offchain/training/train.ts";
import { createTrainingWorker, type TrainingWorker } from "../../offchain/training/worker.ts";
import { network, quadrants, SETTINGS } from "./networks.ts";

const input: [number, number, number] = [8, 8, 1];
const request: TrainingRequest = {
  architecture: network(input, [{}, { strideHeight: 2 }]),
  train: quadrants(input, 160, 1),
  validation: quadrants(input, 100, 2),
  settings: SETTINGS,
  seed: 7,
};
const endless: TrainingRequest = { ...request, settings: { ...SETTINGS, epochs: 10_000 } };

async function failure(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

describe("a training worker", () => {
  let worker: TrainingWorker;
  beforeEach(() => (worker = createTrainingWorker()));
  afterEach(() => worker.close());

  it("gives what training in the same thread gives, with progress", async () => {
    const progress: EpochProgress[] = [];
    const { model, bytes, trainLoss, validation } = await worker.train(request, { onEpoch: (p) => progress.push(p) });
    const here = await trainChild(request);
    expect(model).to.deep.equal(here.model);
    expect(bytes).to.deep.equal(here.bytes);
    expect(trainLoss).to.deep.equal(here.trainLoss);
    expect(validation).to.deep.equal(here.validation);
    expect(progress.map(({ epoch }) => epoch)).to.deep.equal([1, 2]);
    const continued = { ...request, initial: model, seed: 2 };
    expect((await worker.train(continued)).bytes).to.deep.equal((await trainChild(continued)).bytes);
  });

  it("trains one after another, in the order of the calls", async () => {
    const order: number[] = [];
    await Promise.all([1, 2, 3].map((seed) => worker.train({ ...request, seed }).then(() => order.push(seed))));
    expect(order).to.deep.equal([1, 2, 3]);
  });

  it("leaves the event loop free", async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const start = performance.now();
    await worker.train({ ...request, settings: { ...SETTINGS, epochs: 30 } });
    clearInterval(timer);
    expect(ticks).to.be.above((performance.now() - start) / 5 / 4);
  });

  it("stops when it is aborted, and trains again afterwards", async () => {
    const controller = new AbortController();
    const stopped = worker.train(endless, { signal: controller.signal, onEpoch: () => controller.abort() });
    expect(await failure(stopped)).to.include({ code: "aborted", message: "Stopped." });
    expect(getEventListeners(controller.signal, "abort")).to.be.empty;
    expect(await failure(worker.train(request, { signal: AbortSignal.abort() }))).to.include({ code: "aborted" });
    expect((await worker.train(request)).epochsRun).to.equal(2);
  });

  it("hands on refusals with their code", async () => {
    const refused = await failure(worker.train({ ...request, throttle: 2 }));
    expect(refused).to.include({ code: "bad-input", name: "PonasError" });
    expect(refused.message).to.match(/^A throttle of 2/);
  });

  it("says so where its thread dies, and starts another one for the next request", async function () {
    this.timeout(20_000);
    const small = createTrainingWorker({ maxHeapMb: 8 });
    // Twice: the second request must not wait for the thread that is gone.
    for (const { code, message } of [await failure(small.train(endless)), await failure(small.train(endless))]) {
      expect(code).to.equal("engine");
      expect(message).to.match(/^The training thread died: .*memory/);
    }
    await small.close();
  });

  it("rejects what runs and what waits when it is closed", async () => {
    let started: () => void;
    const first = new Promise<void>((resolve) => (started = resolve));
    const running = failure(worker.train(endless, { onEpoch: () => started() }));
    const waiting = failure(worker.train(request));
    await first;
    await worker.close();
    expect(await running).to.include({ code: "aborted", message: "The training thread was closed." });
    expect(await waiting).to.include({ code: "aborted" });
    expect(await failure(worker.train(request))).to.include({ code: "aborted" });
    await worker.close();
  });
});
