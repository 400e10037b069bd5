import { expect } from "chai";
import { spawn } from "node:child_process";
import { getEventListeners, once } from "node:events";

import { trainChild, type EpochProgress } from "../../offchain/training/train.ts";
import { createTrainingWorker, type TrainingWorker } from "../../offchain/training/worker.ts";
import { quadrants, SETTINGS } from "./networks.ts";
import { endless, failure, input, isAlive, request } from "./worker-request.ts";

const IMPORTS = `
  import { createTrainingWorker } from ${JSON.stringify(new URL("../../offchain/training/worker.ts", import.meta.url))};
  import { quadrants } from ${JSON.stringify(new URL("./networks.ts", import.meta.url))};
  const samples = quadrants([8, 8, 1], 64, 1);
  const request = { ...${JSON.stringify({ ...endless, train: null, validation: null })}, train: samples, validation: samples };
`;
/** Prints its training process's id once that trains. */
const ENDLESS_PARENT = `${IMPORTS}
  let pid, told = false;
  const worker = createTrainingWorker({ onStart: (id) => (pid = id) });
  await worker.train(request, { onEpoch: () => told || ((told = true), console.log(pid)) });
`;
const IDLE_PARENT = `${IMPORTS}
  await createTrainingWorker().train({ ...request, settings: { ...request.settings, epochs: 1 } });
`;

describe("a training worker", () => {
  let worker: TrainingWorker;
  beforeEach(() => (worker = createTrainingWorker()));
  afterEach(() => worker.close());

  it("gives what training in the same process gives, with progress", async () => {
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

  it("says so where its process dies, and starts another one for the next request", async () => {
    const pids: number[] = [];
    const mortal = createTrainingWorker({ onStart: (pid) => pids.push(pid) });
    const killed = mortal.train(endless, { onEpoch: () => process.kill(pids[0]!, "SIGKILL") });
    expect(await failure(killed)).to.include({
      code: "engine",
      message: "The training process died: it was ended by SIGKILL.",
    });
    expect((await mortal.train(request)).epochsRun).to.equal(2);
    expect(pids).to.have.length(2);
    // Killed while idle: nobody waits, so nobody is told.
    process.kill(pids[1]!, "SIGKILL");
    while (isAlive(pids[1]!)) await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await mortal.train(request)).epochsRun).to.equal(2);
    await mortal.close();
    expect(pids.filter(isAlive)).to.deep.equal([]);
  });

  it("holds on to the samples of two tasks, and is handed forgotten ones again", async () => {
    const expected = (await trainChild(request)).bytes;
    for (let other = 0; other < 3; other++) {
      const train = quadrants(input, 32, other);
      await worker.train({ ...request, train, validation: quadrants(input, 10, other) });
    }
    expect((await worker.train(request)).bytes).to.deep.equal(expected);
    expect((await worker.train({ ...request, validation: request.train })).validation.total).to.equal(160);
    expect((await worker.train(request)).bytes).to.deep.equal(expected);
  });

  it("dies with its parent, however that ends", async () => {
    const parent = spawn(process.execPath, ["--input-type=module-typescript", "--eval", ENDLESS_PARENT], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const pid = Number(await new Promise((resolve) => parent.stdout.once("data", resolve)));
    expect(isAlive(pid)).to.equal(true);
    parent.kill("SIGKILL");
    const deadline = performance.now() + 10_000;
    while (isAlive(pid) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isAlive(pid)).to.equal(false);
  });

  it("does not keep its parent alive while it is idle", async () => {
    const parent = spawn(process.execPath, ["--input-type=module-typescript", "--eval", IDLE_PARENT], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const [code] = (await once(parent, "exit")) as [number | null];
    expect(code).to.equal(0);
  });

  it("rejects what runs and what waits when it is closed", async () => {
    let started: () => void;
    const first = new Promise<void>((resolve) => (started = resolve));
    const running = failure(worker.train(endless, { onEpoch: () => started() }));
    const waiting = failure(worker.train(request));
    await first;
    await worker.close();
    expect(await running).to.include({ code: "aborted", message: "The training process was closed." });
    expect(await waiting).to.include({ code: "aborted" });
    expect(await failure(worker.train(request))).to.include({ code: "aborted" });
    await worker.close();
  });
});
