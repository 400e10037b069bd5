/** The gradients of a step on TensorFlow.js against those of the step graph. */
import { expect } from "chai";
import { InferenceSession, Tensor } from "onnxruntime-node";

import { networkShapes } from "../../offchain/evaluation/shapes.ts";
import { isDead, type Architecture, type Head } from "../../offchain/protocol/architecture.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { sampleArchitecture, spaceByName } from "../../offchain/search/spaces.ts";
import type { StepInput } from "../../offchain/training/engine.ts";
import { linearFormats, type LinearParameters } from "../../offchain/training/parameters.ts";
import { parameterLayout } from "../../offchain/training/state.ts";
import { buildStepGraph } from "../../offchain/training/step-graph.ts";
import { loadTfjs, type TfjsBackend } from "../../offchain/training/tfjs-backend.ts";
import { createStep, scoped } from "../../offchain/training/tfjs-step.ts";
import { parameterTensors, readParameters, sampleTensors } from "../../offchain/training/tfjs-trainer.ts";
import { SETTINGS } from "./networks.ts";

type Samples = Pick<StepInput, "pixels" | "labels">;

interface Found {
  readonly loss: number;
  readonly predictions: readonly number[];
  /** in the model's order */
  readonly gradients: readonly LinearParameters[];
}

interface Case {
  readonly architecture: Architecture;
  readonly batch: number;
  readonly parameters: LinearParameters[];
  readonly samples: Samples;
}

/** A network of the paper's full space that can learn: of one without bits no engine ever takes a step. */
function randomCase(random: Random): Case {
  const hidden = random.choice([0, 0, 7]);
  const head: Head = {
    pool: random.choice(["flatten", "global-sum"] as const),
    hidden,
    ...(hidden > 0 ? { hiddenActIntBits: 2, hiddenActFracBits: 4 } : {}),
  };
  const input = random.choice([
    [16, 16, 1],
    [12, 12, 3],
    [9, 14, 2],
  ] satisfies Architecture["input"][]);
  let architecture: Architecture;
  do architecture = sampleArchitecture({ input, classes: 5, depth: 6, head }, spaceByName("full"), random);
  while (isDead(architecture));
  const batch = 2 + random.integer(3);
  return {
    architecture,
    batch,
    parameters: randomParameters(architecture, random),
    samples: noise(architecture, batch, random),
  };
}

/** Weights over all of their formats, and biases that keep most units between their clamps. */
function randomParameters(architecture: Architecture, random: Random): LinearParameters[] {
  return linearFormats(architecture).map(({ units, fanIn, weightMin, weightMax, weightFractionBits }) => {
    const step = 2 ** -weightFractionBits;
    const spread = Math.max(step, 1 / Math.sqrt(fanIn));
    const weight = (): number => Math.min(weightMax * step, Math.max(weightMin * step, spread * random.normal()));
    return {
      weights: Float32Array.from({ length: units * fanIn }, weight),
      bias: Float32Array.from({ length: units }, () => 0.3 + 0.2 * random.normal()),
    };
  });
}

function noise({ input, classes }: Architecture, batch: number, random: Random): Samples {
  return {
    pixels: Uint8Array.from({ length: batch * input[0] * input[1] * input[2] }, () => random.integer(256)),
    labels: Uint8Array.from({ length: batch }, () => random.integer(classes)),
  };
}

/** For each linear layer the place in the model's order of each place in the graph's. */
function modelPlaces(architecture: Architecture): Uint32Array[] {
  const { layers, features } = networkShapes(architecture);
  return linearFormats(architecture).map(({ units, fanIn }, index) => {
    const afterFlatten = index === layers.length && architecture.head.pool === "flatten";
    const channels = layers[index]?.input.channels ?? (afterFlatten ? features.channels : fanIn);
    const positions = fanIn / channels;
    return Uint32Array.from({ length: units * fanIn }, (_, at) => {
      const within = at % fanIn;
      return at - within + (within % positions) * channels + Math.floor(within / positions);
    });
  });
}

async function onnxGradients({ architecture, batch, parameters, samples }: Case, rounding: boolean): Promise<Found> {
  const { places, count } = parameterLayout(architecture);
  const order = modelPlaces(architecture);
  const vector = new Float32Array(count);
  for (const [index, { weights, bias }] of parameters.entries()) {
    order[index]!.forEach((place, at) => (vector[places[index]!.weights.start + at] = weights[place]!));
    vector.set(bias, places[index]!.bias.start);
  }
  const session = await InferenceSession.create(
    buildStepGraph({ architecture, batch, settings: SETTINGS, rounding, result: "gradients" }),
    { intraOpNumThreads: 1, graphOptimizationLevel: "disabled", logSeverityLevel: 3 },
  );
  const outputs = await session.run({
    pixels: new Tensor("uint8", samples.pixels, [batch, ...architecture.input]),
    labels: new Tensor("uint8", samples.labels, [batch]),
    parameters: new Tensor("float32", vector, [count]),
  });
  await session.release();
  const gradient = outputs["gradient"]!.data as Float32Array;
  return {
    loss: (outputs["loss"]!.data as Float32Array)[0]!,
    predictions: Array.from(outputs["predictions"]!.data as BigInt64Array, Number),
    gradients: places.map(({ weights, bias }, index) => {
      const found = new Float32Array(weights.size);
      order[index]!.forEach((place, at) => (found[place] = gradient[weights.start + at]!));
      return { weights: found, bias: gradient.slice(bias.start, bias.start + bias.size) };
    }),
  };
}

async function tfjsGradients(
  { tf }: TfjsBackend,
  { architecture, batch, parameters, samples }: Case,
  rounding: boolean,
): Promise<Found> {
  const step = createStep({ tf, architecture, settings: SETTINGS, rounding });
  const { loss, predictions, gradients } = scoped(tf, () =>
    step.gradients(parameterTensors(tf, architecture, parameters), sampleTensors(tf, architecture, batch, samples)),
  );
  const found = {
    loss: (await loss.data())[0]!,
    predictions: [...(await predictions.data())],
    gradients: await Promise.all(gradients.map((layer) => readParameters(tf, layer))),
  };
  tf.dispose([loss, predictions, ...gradients.flatMap(({ weights, bias }) => [weights, bias])]);
  return found;
}

/** The largest difference of a tensor's entries over the largest entry; the worst of all tensors. */
function gradientError(found: readonly LinearParameters[], expected: readonly LinearParameters[]): number {
  const error = (a: Float32Array, b: Float32Array): number => {
    const largest = b.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    const difference = a.reduce((max, x, at) => Math.max(max, Math.abs(x - b[at]!)), 0);
    return difference === 0 ? 0 : difference / largest;
  };
  return Math.max(
    ...found.flatMap(({ weights, bias }, index) => [
      error(weights, expected[index]!.weights),
      error(bias, expected[index]!.bias),
    ]),
  );
}

/** Compares the gradients of so many networks. */
async function compareGradients(
  backend: TfjsBackend,
  networks: number,
  seed: string,
  rounding: boolean,
): Promise<void> {
  const random = createRandom(seed);
  for (let i = 0; i < networks; i++) {
    const drawn = randomCase(random);
    const expected = await onnxGradients(drawn, rounding);
    const found = await tfjsGradients(backend, drawn, rounding);
    const which = `network ${i}: ${JSON.stringify(drawn.architecture)}`;
    expect(found.predictions, which).to.deep.equal(expected.predictions);
    expect(found.loss, which).to.be.closeTo(expected.loss, 1e-5 * expected.loss);
    expect(gradientError(found.gradients, expected.gradients), which).to.be.below(1e-4);
  }
}

describe("the gradients of a step on TensorFlow.js", () => {
  let backend: TfjsBackend;
  before(async () => {
    backend = await loadTfjs({ variants: ["wasm"] });
  });
  after(() => loadTfjs({ variants: ["wasm"] }));

  it("of 200 networks from the paper's full space are those of the onnx engine", async function () {
    this.timeout(300_000);
    await compareGradients(backend, 200, "full space", true);
  });

  it("are so without roundings, where activations are no longer integers", async function () {
    await compareGradients(backend, 20, "no rounding", false);
  });

  it("leave no tensor behind", async () => {
    const { numTensors } = backend.tf.memory();
    await tfjsGradients(backend, randomCase(createRandom("tensors")), true);
    expect(backend.tf.memory().numTensors).to.equal(numTensors);
  });
  // Last: a process has one backend at a time.
  it("in plain JavaScript, by the kernels that TensorFlow has too, are those of the onnx engine", async function () {
    await compareGradients(await loadTfjs({ variants: ["cpu"] }), 4, "plain", true);
  });
});
