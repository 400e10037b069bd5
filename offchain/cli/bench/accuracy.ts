/** A six-layer network of the paper's S2 on Fashion-MNIST, as `ponas train` trains it: what it gets on the test split. */
import { join } from "node:path";

import { evaluateModel } from "../../evaluation/evaluate.ts";
import type { Model } from "../../evaluation/model.ts";
import { architectureSchema, parseWith } from "../../protocol/architecture.ts";
import { loadDataset } from "../../training/datasets.ts";
import type { Engine } from "../../training/engine.ts";
import { createEngine } from "../../training/engines.ts";
import { parametersOf } from "../../training/parameters.ts";
import type { Samples } from "../../training/samples.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../training/settings.ts";
import { trainChild } from "../../training/train.ts";
import { readJsonFile } from "../files.ts";
import { PROJECT_ROOT } from "../project.ts";
import { measured } from "./figures.ts";
import type { Measure } from "./group.ts";
import { checkpoint, summarise } from "./statistics.ts";

const EXAMPLE = "docs/examples/fashion-mnist-s2.json";
const EPOCHS = 3;
/** Percent of the test split. */
const ACCURACY_BAR = 88;
/** Images of one step where training's predictions are asked for. */
const ASKED_AT_ONCE = 250;

export const measure: Measure = async ({ quick, signal, say }) => {
  const architecture = parseWith(architectureSchema, readJsonFile(join(PROJECT_ROOT, EXAMPLE)), EXAMPLE);
  const { train, validation, test } = await loadDataset("fashion-mnist", {
    limits: quick ? { train: 640, validation: 100, test: 1000 } : {},
  });
  const settings = { ...DEFAULT_TRAINING_SETTINGS, epochs: quick ? 1 : EPOCHS };
  const engine = await createEngine();
  try {
    const { model, bytes, trainLoss, imagesPerSecond } = await trainChild(
      { architecture, train, validation, settings, seed: 0 },
      {
        engine,
        signal,
        onEpoch: ({ epoch, epochs, trainLoss }) => say(`epoch ${epoch} of ${epochs}, loss ${trainLoss.toFixed(4)}`),
      },
    );
    const { correct, total, predictions } = await evaluateModel(bytes, { ...test, maxBytes: bytes.length, signal });
    const seen = await trainingPredictions(engine, model, test, signal);
    const differing = seen.filter((prediction, i) => prediction !== predictions[i]).length;
    return [
      measured(
        {
          id: "accuracy/test",
          what: `accuracy of ${EXAMPLE} on Fashion-MNIST's ${total} test images, epochs trained: ${settings.epochs}`,
          unit: "%",
          bar: { of: "value", least: ACCURACY_BAR },
          note: `${correct} of ${total}; engine ${engine.name}, ${imagesPerSecond.toFixed(0)} images/s, seed 0, last loss ${trainLoss.at(-1)?.toFixed(4)}`,
        },
        summarise([(100 * correct) / total]),
      ),
      measured(
        {
          id: "accuracy/training-time",
          what: "test images of which training sees another class than the canonical evaluation",
          unit: "images",
          bar: { of: "value", most: 0 },
          note: `of ${total}`,
        },
        summarise([differing]),
      ),
    ];
  } finally {
    await engine.dispose();
  }
};

/** What the step graph itself says of images, before any update. */
async function trainingPredictions(
  engine: Engine,
  model: Model,
  { pixels, labels, count }: Samples,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { architecture } = model;
  const size = pixels.length / count;
  const seen = new Uint8Array(count);
  for (let start = 0; start < count; start += ASKED_AT_ONCE) {
    const end = Math.min(start + ASKED_AT_ONCE, count);
    // A step moves the weights, so every part gets a trainer of its own; sessions are kept between them.
    const trainer = await engine.createTrainer({
      architecture,
      batch: end - start,
      initial: parametersOf(model),
      settings: DEFAULT_TRAINING_SETTINGS,
    });
    try {
      const part = { pixels: pixels.subarray(start * size, end * size), labels: labels.subarray(start, end) };
      seen.set((await trainer.step({ ...part, learningRate: 1e-6 })).predictions, start);
    } finally {
      trainer.release();
    }
    await checkpoint(signal);
  }
  return seen;
}
