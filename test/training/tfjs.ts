/** The engine on TensorFlow.js's WebAssembly backend. */
import { expect } from "chai";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import type { Engine, StepInput } from "../../offchain/training/engine.ts";
import { createOnnxEngine } from "../../offchain/training/onnx-engine.ts";
import { initialParameters } from "../../offchain/training/parameters.ts";
import type { StepRecipe } from "../../offchain/training/settings.ts";
import { dropoutWidth } from "../../offchain/training/step-graph.ts";
import { loadTfjs, type TfjsBackend } from "../../offchain/training/tfjs-backend.ts";
import { createTfjsEngine } from "../../offchain/training/tfjs-engine.ts";
import { trainChild } from "../../offchain/training/train.ts";
import { NETWORKS, takeSteps, type Steps } from "./engine-steps.ts";
import { network, quadrants, SETTINGS } from "./networks.ts";

function noise({ input, classes }: Architecture, batch: number, random: Random): Omit<StepInput, "learningRate"> {
  return {
    pixels: Uint8Array.from({ length: batch * input[0] * input[1] * input[2] }, () => random.integer(256)),
    labels: Uint8Array.from({ length: batch }, () => random.integer(classes)),
  };
}

/** What a few steps on the same samples do: losses and what the parameters are then. */
async function run(engine: Engine, architecture: Architecture, settings: StepRecipe, steps = 8) {
  const batch = 16;
  const { pixels, labels } = quadrants(architecture.input, batch, 3);
  const random = createRandom("masks");
  const initial = initialParameters(architecture, 7);
  const trainer = await engine.createTrainer({ architecture, batch, initial, settings });
  const losses: number[] = [];
  try {
    for (let step = 0; step < steps; step++) {
      const mask = Float32Array.from({ length: batch * dropoutWidth(architecture) }, () =>
        random.integer(4) > 0 ? 4 / 3 : 0,
      );
      const dropped = settings.dropout === undefined ? {} : { dropoutMask: mask };
      losses.push((await trainer.step({ pixels, labels, learningRate: 5e-3, ...dropped })).loss);
    }
    return { losses, parameters: await trainer.parameters() };
  } finally {
    trainer.release();
  }
}

const SMALL = network([9, 8, 2], [{ poolSize: 2 }, { kernelWidth: 5, strideHeight: 2 }]);
const WITH_HIDDEN = network([7, 7, 1], [{ strideWidth: 3 }, {}], {
  pool: "global-sum",
  hidden: 6,
  hiddenActIntBits: 3,
  hiddenActFracBits: 4,
});

describe("training on TensorFlow.js", () => {
  let backend: TfjsBackend;
  let engine: Engine;
  const listeners = (): number =>
    process.listenerCount("uncaughtException") + process.listenerCount("unhandledRejection");
  let added = 0;
  before(async () => {
    const found = listeners();
    backend = await loadTfjs({ variants: ["wasm"] });
    added = listeners() - found;
    engine = await createTfjsEngine(backend);
  });

  it("leaves the process's handling of errors as it was", () => {
    expect(added).to.equal(0);
  });

  const recipes: Record<string, StepRecipe> = {
    "with Adam": { optimizer: "adam" },
    "with decoupled decay and dropout": { optimizer: "adam", weightDecay: 0.05, dropout: 0.25 },
    "with Nesterov's momentum and decay": { optimizer: "sgd", momentum: 0.9, weightDecay: 5e-4 },
    "with plain gradients and dropout": { optimizer: "sgd", momentum: 0, dropout: 0.25 },
  };
  for (const [name, settings] of Object.entries(recipes)) {
    it(`${name} has the losses of the onnx engine`, async () => {
      const onnx = createOnnxEngine();
      for (const architecture of [SMALL, WITH_HIDDEN]) {
        const expected = await run(onnx, architecture, settings);
        const found = await run(engine, architecture, settings);
        for (const [step, loss] of found.losses.entries()) {
          expect(loss, `step ${step}`).to.be.closeTo(expected.losses[step]!, 1e-3 * expected.losses[step]!);
        }
      }
      await onnx.dispose();
    });
  }

  it("of a child network learns", async () => {
    const train = quadrants([8, 8, 1], 320, 1);
    const validation = quadrants([8, 8, 1], 80, 2);
    const settings = { ...SETTINGS, epochs: 3 };
    const outcome = await trainChild(
      { architecture: network([8, 8, 1], [{}, { strideHeight: 2 }]), train, validation, settings, seed: 1 },
      { engine },
    );
    expect(outcome.engine).to.equal("tfjs");
    expect(outcome.validation.correct).to.be.above(60);
  });

  it("gives parameters back as they went in, at a learning rate of 0", async () => {
    const architecture = network([5, 4, 3], [{ kernelHeight: 2 }, { filters: 3 }], WITH_HIDDEN.head);
    const initial = initialParameters(architecture, 5);
    const trainer = await engine.createTrainer({ architecture, batch: 2, initial, settings: SETTINGS });
    await trainer.step({ ...noise(architecture, 2, createRandom(1)), learningRate: 0 });
    expect(await trainer.parameters()).to.deep.equal(initial);
    trainer.release();
  });

  it("goes on with samples whose buffers are used again, and keeps none of the caller's arrays", async () => {
    const initial = initialParameters(SMALL, 5);
    const trainer = await engine.createTrainer({ architecture: SMALL, batch: 2, initial, settings: SETTINGS });
    for (const { weights, bias } of initial) {
      weights.fill(NaN);
      bias.fill(NaN);
    }
    const samples = noise(SMALL, 2, createRandom(1));
    const { loss } = await trainer.step({ ...samples, learningRate: 1e-3 });
    const before = await trainer.parameters();
    samples.pixels.fill(255);
    expect(await trainer.parameters()).to.deep.equal(before);
    before[0]!.bias.fill(NaN);
    expect((await trainer.parameters())[0]!.bias.every(Number.isFinite)).to.equal(true);
    expect(loss).to.be.above(0);
    trainer.release();
  });

  it("that diverges is an outcome, and breaks nothing for the next one", async () => {
    const [train, validation] = [quadrants(SMALL.input, 64, 1), quadrants(SMALL.input, 16, 2)];
    const expected = await run(engine, SMALL, SETTINGS, 2);
    const settings = { ...SETTINGS, learningRate: 1e300 };
    const outcome = await trainChild({ architecture: SMALL, train, validation, settings, seed: 1 }, { engine });
    expect(outcome.diverged).to.equal(true);
    expect(await run(engine, SMALL, SETTINGS, 2)).to.deep.equal(expected);
  });

  it("holds as many tensors and as much memory after many steps and trials as after the first", async () => {
    const { tf } = backend;
    const heap = (): number => (tf.backend() as unknown as { wasm: { HEAPU8: Uint8Array } }).wasm.HEAPU8.length;
    const idle = tf.memory().numTensors;
    const trainer = await engine.createTrainer({
      architecture: SMALL,
      batch: 16,
      initial: initialParameters(SMALL, 1),
      settings: SETTINGS,
    });
    const samples = quadrants(SMALL.input, 16, 1);
    await trainer.step({ ...samples, learningRate: 1e-3 });
    const [tensors, bytes] = [tf.memory().numTensors, heap()];
    for (let i = 0; i < 100; i++) await trainer.step({ ...samples, learningRate: 1e-3 });
    expect(tf.memory().numTensors).to.equal(tensors);
    trainer.release();
    trainer.release();
    for (let i = 0; i < 10; i++) await run(engine, SMALL, SETTINGS, 2);
    expect(tf.memory().numTensors).to.equal(idle);
    expect(heap()).to.equal(bytes);
  });

  it("is the same to the bit from run to run and from process to process", async () => {
    const runs: Steps[][] = [];
    for (const at of NETWORKS.keys()) runs.push([await takeSteps(engine, at), await takeSteps(engine, at)]);
    for (const [first, second] of runs) expect(second).to.deep.equal(first);
    const files = [
      "../../offchain/training/tfjs-backend.ts",
      "../../offchain/training/tfjs-engine.ts",
      "./engine-steps.ts",
    ];
    const [backends, engines, steps] = files.map((file) => JSON.stringify(import.meta.resolve(file)));
    const program = `
      import { loadTfjs } from ${backends};
      import { createTfjsEngine } from ${engines};
      import { NETWORKS, takeSteps } from ${steps};
      const engine = await createTfjsEngine(await loadTfjs({ variants: ["wasm"] }));
      const runs = [];
      for (const at of NETWORKS.keys()) runs.push([await takeSteps(engine, at), await takeSteps(engine, at)]);
      console.log(JSON.stringify(runs));`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program]);
    expect(JSON.parse(stdout)).to.deep.equal(runs);
  });

  it("that needs more memory than there is fails with a sentence, keeps its state and lets others go on", async () => {
    const { tf } = backend;
    const huge = network([64, 64, 1], [{ filters: 128 }]);
    const batch = 2100;
    const held = tf.memory().numTensors;
    const expected = await run(engine, SMALL, SETTINGS, 3);
    const initial = initialParameters(huge, 1);
    const trainer = await engine.createTrainer({ architecture: huge, batch, initial, settings: SETTINGS });
    const samples = { pixels: new Uint8Array(batch * 64 * 64), labels: new Uint8Array(batch), learningRate: 1 };
    const error = await trainer.step(samples).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(PonasError).with.property("code", "engine");
    expect((error as PonasError).message).to.equal(
      "TensorFlow.js (wasm) could not take a training step: out of memory: WebAssembly has at most 4 GiB.",
    );
    expect((error as PonasError).cure).to.match(/smaller batches/);
    expect(await trainer.parameters()).to.deep.equal(initial);
    trainer.release();
    expect(tf.memory().numTensors).to.equal(held);
    expect(await run(engine, SMALL, SETTINGS, 3)).to.deep.equal(expected);
  });
});
