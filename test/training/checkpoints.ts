import { expect } from "chai";

import { decodeModel } from "../../offchain/evaluation/model.ts";
import type { Engine } from "../../offchain/training/engine.ts";
import { createOnnxEngine } from "../../offchain/training/onnx-engine.ts";
import { initialParameters } from "../../offchain/training/parameters.ts";
import { trainChild, type Checkpoint, type TrainingRequest } from "../../offchain/training/train.ts";
import { createTrainingWorker } from "../../offchain/training/worker.ts";
import { network, quadrants, SETTINGS } from "./networks.ts";

const input: [number, number, number] = [8, 8, 1];
const request: TrainingRequest = {
  architecture: network(input, [{}, { strideHeight: 2 }]),
  train: quadrants(input, 96, 1),
  validation: quadrants(input, 60, 2),
  settings: {
    ...SETTINGS,
    epochs: 4,
    batch: 16,
    schedule: "cosine",
    dropout: 0.2,
    augmentation: { shift: 1, flip: true },
  },
  seed: 7,
};
const maxBytes = 1_000_000;

/** An engine that learns nothing and writes down what each step was given. */
function recorder(): { readonly engine: Engine; readonly steps: string[] } {
  const steps: string[] = [];
  const engine: Engine = {
    name: "onnx",
    createTrainer: async ({ architecture, batch }) => ({
      step: async ({ pixels, labels, learningRate, dropoutMask }) => {
        steps.push(JSON.stringify([[...pixels], [...labels], learningRate, [...(dropoutMask ?? [])]]));
        return { loss: 1, predictions: new Uint8Array(batch) };
      },
      parameters: async () => initialParameters(architecture, 3),
      release: () => undefined,
    }),
    dispose: async () => undefined,
  };
  return { engine, steps };
}

async function checkpointsOf(from: TrainingRequest): Promise<Checkpoint[]> {
  const made: Checkpoint[] = [];
  await trainChild(from, { engine: createOnnxEngine(), onCheckpoint: (checkpoint) => made.push(checkpoint) });
  return made;
}

describe("A training's checkpoints", () => {
  it("hold the model after each epoch but the last, as the shorter training has it", async () => {
    const flat = { ...request, settings: { ...request.settings, schedule: "constant" as const } };
    const made = await checkpointsOf(flat);
    expect(made.map(({ epoch }) => epoch)).to.deep.equal([1, 2, 3]);
    const short = await trainChild(
      { ...flat, settings: { ...flat.settings, epochs: 2 } },
      { engine: createOnnxEngine() },
    );
    expect(Buffer.from(made[1]!.bytes).equals(short.bytes)).to.equal(true);
    expect(made[1]!.trainLoss).to.deep.equal(short.trainLoss);
  });

  it("are gone on from with the samples and learning rates that an uninterrupted training would have come to", async () => {
    const [whole, rest] = [recorder(), recorder()];
    await trainChild(request, { engine: whole.engine });
    const initial = decodeModel((await checkpointsOf(request))[1]!.bytes, { maxBytes });
    const epochs: number[] = [];
    const outcome = await trainChild(
      { ...request, initial, doneEpochs: 2 },
      { engine: rest.engine, onEpoch: ({ epoch }) => epochs.push(epoch) },
    );
    expect(rest.steps).to.have.length(12);
    expect(rest.steps).to.deep.equal(whole.steps.slice(12));
    expect(epochs).to.deep.equal([3, 4]);
    expect(outcome).to.include({ epochsRun: 2, bestEpoch: 4 });
  });

  it("come no closer together than asked for", async () => {
    const made: number[] = [];
    await trainChild(request, {
      engine: recorder().engine,
      checkpointMs: 60_000,
      onCheckpoint: ({ epoch }) => made.push(epoch),
    });
    expect(made).to.deep.equal([]);
  });

  it("reach the parent of a training process, and only one that asks for them", async () => {
    const worker = createTrainingWorker({ engine: "onnx", env: { PONAS_TEST: "1" } });
    try {
      const made: Checkpoint[] = [];
      await worker.train(request, { onCheckpoint: (checkpoint) => made.push(checkpoint) });
      const here = await checkpointsOf(request);
      expect(made.map(({ epoch }) => epoch)).to.deep.equal([1, 2, 3]);
      expect(made.map(({ bytes }) => Buffer.from(bytes).toString("hex"))).to.deep.equal(
        here.map(({ bytes }) => Buffer.from(bytes).toString("hex")),
      );
      const initial = decodeModel(made[2]!.bytes, { maxBytes });
      expect((await worker.train({ ...request, initial, doneEpochs: 3 })).epochsRun).to.equal(1);
    } finally {
      await worker.close();
    }
  });

  it("are refused where there is no model, or nothing left to train", async () => {
    const sentence = async (changes: Partial<TrainingRequest>): Promise<string> =>
      trainChild({ ...request, ...changes }, { engine: recorder().engine }).then(
        () => "",
        (error: unknown) => (error as Error).message,
      );
    expect(await sentence({ doneEpochs: 2 })).to.equal(
      "A training of 4 epochs cannot go on after 2 of them without a model.",
    );
    const initial = decodeModel((await checkpointsOf(request))[0]!.bytes, { maxBytes });
    expect(await sentence({ initial, doneEpochs: 4 })).to.equal("A training of 4 epochs cannot go on after 4 of them.");
    expect(await sentence({ initial, doneEpochs: 1.5 })).to.contain("after 1.5 of them");
  });
});
