/** Training one child network: from an architecture and a seed to a model file with its canonical score. */
import { evaluateModel } from "../evaluation/evaluate.ts";
import { encodeModel, type Model } from "../evaluation/model.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import { malformation } from "../evaluation/well-formed.ts";
import { architectureSchema, isDead, parseWith, type Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { createRandom, type Random } from "../protocol/random.ts";
import { sleep } from "../protocol/wait.ts";
import type { Engine, Trainer } from "./engine.ts";
import { createOnnxEngine } from "./onnx-engine.ts";
import { initialParameters, parametersOf, quantise, type LinearParameters } from "./parameters.ts";
import type { Samples } from "./samples.ts";
import { learningRateAt, trainingSettingsSchema, type TrainingSettings } from "./settings.ts";

/** One finished epoch. */
export interface EpochProgress {
  /** counted from 1 */
  readonly epoch: number;
  readonly epochs: number;
  /** mean cross-entropy over the epoch, in nats */
  readonly trainLoss: number;
  /** share of right predictions over the epoch, 0 … 1, of weights still moving */
  readonly trainAccuracy: number;
  readonly imagesPerSecond: number;
}

export interface TrainingRequest {
  readonly architecture: Architecture;
  readonly train: Samples;
  readonly validation: Samples;
  readonly settings: TrainingSettings;
  /** fixes initial weights and the order of the samples */
  readonly seed: number;
  /** the model to go on from, of the same architecture; without it, fresh weights */
  readonly initial?: Model;
  /** share of the time to use, above 0 and up to 1; the rest is slept away between steps */
  readonly throttle?: number;
}

export interface TrainingOptions {
  readonly onEpoch?: (progress: EpochProgress) => void;
  /** stops within one step */
  readonly signal?: AbortSignal;
  /** without it, one for this training alone */
  readonly engine?: Engine;
}

export interface TrainingOutcome {
  readonly model: Model;
  /** the model's canonical file */
  readonly bytes: Uint8Array;
  /** mean cross-entropy of each epoch, in nats; of a diverged one the last value is missing */
  readonly trainLoss: number[];
  /** canonical count over the validation samples; 0 correct where infeasible */
  readonly validation: { readonly correct: number; readonly total: number };
  /** why the model is malformed whatever it predicts, or null */
  readonly infeasible: string | null;
  /** finished ones */
  readonly epochsRun: number;
  /** of the training alone, naps of the throttle included */
  readonly imagesPerSecond: number;
  /** of everything, evaluation included */
  readonly seconds: number;
  /** {@link trainingFlops} of the steps taken */
  readonly flops: number;
  readonly engine: Engine["name"];
  /** true where the loss stopped being a number; the model is then the one of the last epoch that ended well */
  readonly diverged: boolean;
  /** true where some layer has no bits: nothing can be learnt, and nothing was trained */
  readonly dead: boolean;
}

/**
 * Floating-point operations of training on so many images: two for each multiply–accumulate, thrice over — the
 * forward pass, the gradient of the weights, the gradient of the inputs — but the first layer's inputs need none.
 */
export function trainingFlops(architecture: Architecture, images: number): number {
  const { macs, layers } = networkShapes(architecture);
  return 2 * images * (3 * macs - layers[0]!.macs);
}

/** Below this a nap costs more than it gives; shorter ones are saved up. */
const SHORTEST_NAP_MS = 20;

/**
 * Trains a child network with fake quantisation and scores it canonically. A network that cannot learn, diverges or
 * breaks a bound is an outcome and not an error.
 * @throws PonasError bad-input where request and samples do not fit; aborted; engine
 */
export async function trainChild(request: TrainingRequest, options: TrainingOptions = {}): Promise<TrainingOutcome> {
  const { architecture, settings, seed, initial, validation } = request;
  const { signal } = options;
  checkRequest(request);
  const start = performance.now();
  const engine = options.engine ?? createOnnxEngine();
  const dead = isDead(architecture);
  const parameters = initial === undefined ? initialParameters(architecture, seed) : parametersOf(initial);
  let model = initial ?? quantise(architecture, parameters);
  let run: Run = { trainLoss: [], images: 0, seconds: 0, diverged: false };

  try {
    if (!dead && malformation(model) === null) {
      const batch = Math.min(settings.batch, request.train.count);
      const trainer = await engine.createTrainer({ architecture, batch, initial: parameters, settings });
      try {
        const keep = (parameters: readonly LinearParameters[]): void => {
          model = quantise(architecture, parameters);
        };
        run = await runEpochs(trainer, batch, request, keep, options);
      } finally {
        trainer.release();
      }
    }
    const bytes = encodeModel(model);
    const { correct, malformed } = await evaluateModel(bytes, { ...validation, maxBytes: bytes.length, signal });
    return {
      model,
      bytes,
      trainLoss: run.trainLoss,
      validation: { correct, total: validation.count },
      infeasible: malformed?.reason ?? null,
      epochsRun: run.trainLoss.length,
      imagesPerSecond: run.seconds === 0 ? 0 : run.images / run.seconds,
      seconds: (performance.now() - start) / 1000,
      flops: trainingFlops(architecture, run.images),
      engine: engine.name,
      diverged: run.diverged,
      dead,
    };
  } finally {
    if (options.engine === undefined) await engine.dispose();
  }
}

interface Run {
  readonly trainLoss: number[];
  readonly images: number;
  readonly seconds: number;
  readonly diverged: boolean;
}

/** @param keep called after each epoch whose losses and parameters are numbers */
async function runEpochs(
  trainer: Trainer,
  batch: number,
  { train, settings, seed, throttle = 1 }: TrainingRequest,
  keep: (parameters: readonly LinearParameters[]) => void,
  { onEpoch, signal }: TrainingOptions,
): Promise<Run> {
  const stepsPerEpoch = Math.floor(train.count / batch);
  const steps = settings.epochs * stepsPerEpoch;
  const random = createRandom(`order ${seed}`);
  const nap = createThrottle(throttle, signal);
  const trainLoss: number[] = [];
  const start = performance.now();
  let step = 0;
  const ended = (diverged: boolean): Run => {
    return { trainLoss, images: step * batch, seconds: (performance.now() - start) / 1000, diverged };
  };

  for (let epoch = 1; epoch <= settings.epochs; epoch++) {
    const epochStart = performance.now();
    let lossSum = 0;
    let right = 0;
    for (const { pixels, labels } of shuffledBatches(train, batch, random)) {
      if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.", { cause: signal.reason });
      const stepStart = performance.now();
      const { loss, predictions } = await trainer.step({
        pixels,
        labels,
        learningRate: learningRateAt(settings, step, steps),
      });
      step += 1;
      if (!Number.isFinite(loss)) return ended(true);
      lossSum += loss;
      right += predictions.reduce((sum, prediction, i) => sum + (prediction === labels[i] ? 1 : 0), 0);
      await nap(performance.now() - stepStart);
    }
    const parameters = await trainer.parameters();
    const finite = parameters.every(({ weights, bias }) => allFinite(weights) && allFinite(bias));
    if (!finite) return ended(true);
    keep(parameters);
    const images = stepsPerEpoch * batch;
    trainLoss.push(lossSum / stepsPerEpoch);
    onEpoch?.({
      epoch,
      epochs: settings.epochs,
      trainLoss: lossSum / stepsPerEpoch,
      trainAccuracy: right / images,
      imagesPerSecond: images / ((performance.now() - epochStart) / 1000),
    });
  }
  return ended(false);
}

/** An epoch's batches in a fresh random order; what does not fill a batch is left out. The buffers are used again. */
function* shuffledBatches({ pixels, labels, count }: Samples, batch: number, random: Random): Generator<Samples> {
  const size = pixels.length / count;
  const order = random.shuffle(Uint32Array.from({ length: count }, (_, i) => i));
  const chosen = { pixels: new Uint8Array(batch * size), labels: new Uint8Array(batch), count: batch };
  for (let start = 0; start + batch <= count; start += batch) {
    for (let i = 0; i < batch; i++) {
      const from = order[start + i]!;
      chosen.pixels.set(pixels.subarray(from * size, (from + 1) * size), i * size);
      chosen.labels[i] = labels[from]!;
    }
    yield chosen;
  }
}

/** Sleeps so that work takes the given share of the time. */
function createThrottle(share: number, signal: AbortSignal | undefined): (workedMs: number) => Promise<void> {
  let owed = 0;
  return async (workedMs) => {
    owed += workedMs * (1 / share - 1);
    if (owed < SHORTEST_NAP_MS) return;
    const start = performance.now();
    await sleep(owed, signal);
    owed -= performance.now() - start;
  };
}

function allFinite(values: Float32Array): boolean {
  return values.every(Number.isFinite);
}

function checkRequest({ architecture, train, validation, settings, initial, throttle = 1 }: TrainingRequest): void {
  parseWith(architectureSchema, architecture, "The architecture");
  parseWith(trainingSettingsSchema, settings, "The training recipe");
  if (!(throttle > 0 && throttle <= 1)) {
    throw new PonasError("bad-input", `A throttle of ${throttle} is not a share of time above 0 and up to 1.`);
  }
  if (initial !== undefined && networkKey(initial.architecture) !== networkKey(architecture)) {
    throw new PonasError("bad-input", "The initial model has another architecture than the one to be trained.");
  }
  const size = architecture.input.reduce((product, dim) => product * dim, 1);
  for (const [name, { pixels, labels, count }] of Object.entries({ training: train, validation })) {
    if (count === 0 || labels.length !== count || pixels.length !== count * size) {
      throw new PonasError(
        "bad-input",
        `The network reads images of ${size} bytes, but the ${count} ${name} samples have ${pixels.length} bytes and ${labels.length} labels.`,
      );
    }
    const stray = labels.findIndex((label) => label >= architecture.classes);
    if (stray >= 0) {
      throw new PonasError(
        "bad-input",
        `The label of ${name} sample ${stray} is ${labels[stray]}, but the network has ${architecture.classes} classes.`,
      );
    }
  }
}

function networkKey({ input, classes, layers, head }: Architecture): string {
  return JSON.stringify(architectureSchema.parse({ input, classes, layers, head }));
}
