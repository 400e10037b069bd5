/**
 * The same few steps on any engine. As a program, for engines that need an environment of their own:
 * `node engine-steps.ts ENGINE` prints two runs of the first network as JSON.
 */
import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import type { RuntimeName } from "../../offchain/evaluation/onnx-runtime.ts";
import type { Engine } from "../../offchain/training/engine.ts";
import { createOnnxEngine } from "../../offchain/training/onnx-engine.ts";
import { initialParameters } from "../../offchain/training/parameters.ts";
import type { StepRecipe } from "../../offchain/training/settings.ts";
import { network, quadrants } from "./networks.ts";

/** Grids so fine that a rounding which falls differently hardly moves the loss. */
const FINE = { actIntBits: 3, actFracBits: 8, weightIntBits: 2, weightFracBits: 12 };
export const BATCH = 16;
const STEPS = 4;

/** Strides, uneven kernels, pools that divide the tensor and pools that do not, both kinds of head. */
export const NETWORKS: readonly (readonly [Architecture, StepRecipe])[] = [
  [
    network(
      [6, 7, 1],
      [
        { ...FINE, poolSize: 2 },
        { ...FINE, kernelHeight: 2 },
      ],
    ),
    { optimizer: "adam" },
  ],
  [network([9, 9, 1], [FINE, { ...FINE, filters: 9, strideWidth: 2, poolSize: 3 }]), { optimizer: "adam" }],
  [
    network([8, 7, 2], [{ ...FINE, kernelHeight: 5, kernelWidth: 2, strideHeight: 3, filters: 12 }], {
      pool: "global-sum",
      hidden: 5,
      hiddenActIntBits: 6,
      hiddenActFracBits: 6,
    }),
    { optimizer: "sgd", momentum: 0.9, weightDecay: 1e-3 },
  ],
  [
    network([6, 6, 1], [FINE, { ...FINE, kernelHeight: 1, poolSize: 2 }], { pool: "global-sum", hidden: 0 }),
    { optimizer: "adam", dropout: 0.5 },
  ],
];

export interface Steps {
  readonly losses: readonly number[];
  /** of all weights and biases, in order */
  readonly parameters: readonly number[];
}

export async function takeSteps(engine: Engine, at: number): Promise<Steps> {
  const [architecture, settings] = NETWORKS[at]!;
  const { pixels, labels } = quadrants(architecture.input, BATCH * STEPS, at);
  const size = pixels.length / (BATCH * STEPS);
  const random = createRandom(at);
  const width = architecture.head.hidden || architecture.layers.at(-1)!.filters;
  const initial = initialParameters(architecture, at);
  const trainer = await engine.createTrainer({ architecture, batch: BATCH, initial, settings });
  try {
    const losses: number[] = [];
    for (let start = 0; start < BATCH * STEPS; start += BATCH) {
      const mask = Float32Array.from({ length: BATCH * width }, () => 2 * random.integer(2));
      const { loss } = await trainer.step({
        pixels: pixels.slice(start * size, (start + BATCH) * size),
        labels: labels.slice(start, start + BATCH),
        learningRate: 0.01,
        ...(settings.dropout === undefined ? {} : { dropoutMask: mask }),
      });
      losses.push(loss);
    }
    const parameters = (await trainer.parameters()).flatMap(({ weights, bias }) => [...weights, ...bias]);
    return { losses, parameters };
  } finally {
    trainer.release();
  }
}

if (process.argv[1] === import.meta.filename) {
  const engine = createOnnxEngine(process.argv[2] as RuntimeName);
  console.log(JSON.stringify([await takeSteps(engine, 0), await takeSteps(engine, 0)]));
}
