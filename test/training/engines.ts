import { expect } from "chai";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

import { PonasError } from "../../offchain/protocol/errors.ts";
import type { Engine, EngineName } from "../../offchain/training/engine.ts";
import { chooseEngine, createEngine, presentEngines } from "../../offchain/training/engines.ts";
import { initialParameters } from "../../offchain/training/parameters.ts";
import { createTrainingWorker } from "../../offchain/training/worker.ts";
import { BATCH, NETWORKS, takeSteps, type Steps } from "./engine-steps.ts";
import { network, quadrants, SETTINGS } from "./networks.ts";

const run = promisify(execFile);

/** Chromium's software Vulkan, as Debian's package chromium-common has it. */
const CHROMIUM = "/usr/lib/chromium";
const SWIFTSHADER = `${CHROMIUM}/vk_swiftshader_icd.json`;
const driver = existsSync(SWIFTSHADER);

function expectClose(found: Steps, expected: Steps): void {
  expect(found.losses).to.have.length(expected.losses.length);
  for (const [step, loss] of expected.losses.entries()) {
    expect(found.losses[step], `loss of step ${step}`).to.be.closeTo(loss, 1e-4);
  }
}

async function failure(work: Promise<unknown>): Promise<PonasError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).to.be.instanceOf(PonasError);
  return error as PonasError;
}

describe("engines on onnxruntime", function () {
  let onnx: Engine;
  let expected: Steps[];

  before(async () => {
    onnx = await createEngine("onnx");
    expected = [];
    for (const at of NETWORKS.keys()) expected.push(await takeSteps(onnx, at));
  });
  after(() => onnx.dispose());

  it("give equal bits for equal steps", async () => {
    for (const at of NETWORKS.keys()) expect(await takeSteps(onnx, at)).to.deep.equal(expected[at]);
  });

  it("train on onnx-web as on onnx, and there too equal steps give equal bits", async () => {
    const web = await createEngine("onnx-web");
    for (const at of NETWORKS.keys()) {
      const steps = await takeSteps(web, at);
      expectClose(steps, expected[at]!);
      expect(await takeSteps(web, at)).to.deep.equal(steps);
    }
    await web.dispose();
  });

  it("share sessions between networks that differ in bit widths alone, and train each as if it were alone", async () => {
    const [architecture, settings] = NETWORKS[0]!;
    const layers = architecture.layers.map((layer) => ({ ...layer, actFracBits: 3, weightFracBits: 5 }));
    const { pixels, labels } = quadrants(architecture.input, BATCH, 0);
    const trainers = [];
    const losses: number[] = [];
    for (const network of [architecture, { ...architecture, layers }]) {
      const initial = initialParameters(network, 0);
      trainers.push(await onnx.createTrainer({ architecture: network, batch: BATCH, initial, settings }));
    }
    for (let step = 0; step < 4; step++) {
      for (const trainer of trainers) losses.push((await trainer.step({ pixels, labels, learningRate: 0.01 })).loss);
    }
    for (const trainer of trainers) trainer.release();

    const coarse = await createEngine("onnx");
    const initial = initialParameters({ ...architecture, layers }, 0);
    const options = { architecture: { ...architecture, layers }, batch: BATCH, initial, settings };
    const alone = await coarse.createTrainer(options);
    for (let step = 0; step < 4; step++) {
      const { loss } = await alone.step({ pixels, labels, learningRate: 0.01 });
      expect(losses[2 * step + 1], `step ${step}`)
        .to.equal(loss)
        .and.not.to.equal(losses[2 * step]);
    }
    alone.release();
    await coarse.dispose();
  });

  it(`train on webgpu as on onnx${driver ? "" : " (skipped: Debian's chromium-common, whose SwiftShader stands in for a GPU, is not installed)"}`, async function () {
    if (!driver) return this.skip();
    const { stdout } = await run(process.execPath, [`${import.meta.dirname}/engine-steps.ts`, "webgpu"], {
      env: { ...process.env, VK_ICD_FILENAMES: SWIFTSHADER, LD_LIBRARY_PATH: CHROMIUM },
    });
    const [first, second] = JSON.parse(stdout) as [Steps, Steps];
    expectClose(first, expected[0]!);
    expect(second).to.deep.equal(first);
  });

  it("start anew with the next trainer after a session failed", async () => {
    const engine = await createEngine("onnx");
    const [architecture, settings] = NETWORKS[0]!;
    const initial = initialParameters(architecture, 0);
    const trainer = await engine.createTrainer({ architecture, batch: BATCH, initial, settings });
    trainer.release();
    await engine.dispose();
    const { pixels, labels } = quadrants(architecture.input, BATCH, 0);
    const error = await failure(trainer.step({ pixels, labels, learningRate: 0.01 }));
    expect(error.code).to.equal("engine");
    expect(error.message).to.match(/^onnxruntime \(onnx\) could not take a training step: .*[^.]\.$/);
    expect(await takeSteps(engine, 0)).to.deep.equal(expected[0]);
    await engine.dispose();
  });
});

describe("the engines of a machine", function () {
  it("are listed with what they are, or with what brings them", async () => {
    const engines = await presentEngines();
    expect(engines.map(({ name }) => name)).to.deep.equal(["onnx", "onnx-web", "webgpu", "cuda", "tfjs"]);
    for (const { name, present, detail, cure } of engines) {
      expect(detail, name).to.match(/[^.]$/);
      if (!present) expect(cure, name).to.be.a("string");
    }
    expect(engines.filter(({ present }) => present).map(({ name }) => name)).to.include.members(["onnx", "onnx-web"]);
  });

  it("are refused by name where they are missing, with what brings them", async function () {
    const missing = (await presentEngines()).find(({ present }) => !present);
    if (missing === undefined) return this.skip();
    const { code, message, cure } = await failure(createEngine(missing.name));
    expect(code).to.equal("engine");
    expect(message).to.equal(`The engine ${missing.name} does not run here: ${missing.detail}.`);
    expect(cure).to.equal(missing.cure);
    expect((await failure(chooseEngine(missing.name))).message).to.equal(message);
  });

  it("fall back to WebAssembly where the native package is missing", async () => {
    const { stdout } = await run(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        `import { registerHooks } from "node:module";
         registerHooks({
           resolve: (specifier, context, next) => {
             if (!specifier.startsWith("onnxruntime-node")) return next(specifier, context);
             throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
           },
         });
         const { createEngine } = await import("../../offchain/training/engines.ts");
         const { takeSteps } = await import("./engine-steps.ts");
         const engine = await createEngine();
         console.log(JSON.stringify([engine.name, await takeSteps(engine, 0)]));`,
      ],
      { cwd: import.meta.dirname },
    );
    const [name, steps] = JSON.parse(stdout) as [EngineName, Steps];
    expect(name).to.equal("onnx-web");
    const web = await createEngine("onnx-web");
    expect(steps).to.deep.equal(await takeSteps(web, 0));
    await web.dispose();
  });

  const request = () => ({
    architecture: network([6, 6, 1], [{ poolSize: 2 }]),
    train: quadrants([6, 6, 1], 64, 1),
    validation: quadrants([6, 6, 1], 16, 2),
    settings: { ...SETTINGS, epochs: 1 },
    seed: 1,
  });

  it("train in a process that is told which", async () => {
    const worker = createTrainingWorker({ engine: "onnx-web" });
    const { engine } = await worker.train(request());
    await worker.close();
    expect(engine).to.equal("onnx-web");
  });

  it("that fail cost their process, and the next request starts another", async function () {
    const missing = (await presentEngines()).find(({ present }) => !present);
    if (missing === undefined) return this.skip();
    const pids: number[] = [];
    const worker = createTrainingWorker({ engine: missing.name, onStart: (pid) => pids.push(pid) });
    for (const _ of [1, 2]) {
      const { code, message, cure } = await failure(worker.train(request()));
      expect({ code, cure }).to.deep.equal({ code: "engine", cure: missing.cure });
      expect(message).to.equal(`The engine ${missing.name} does not run here: ${missing.detail}.`);
    }
    await worker.close();
    expect(new Set(pids).size).to.equal(2);
  });
});
