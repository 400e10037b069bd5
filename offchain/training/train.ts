/** Training one child network: from an architecture and a seed to a model file with its canonical score. */
import { scoreModel, type Score } from "../evaluation/evaluate.ts";
import { encodeModel, type Model } from "../evaluation/model.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import { malformation } from "../evaluation/well-formed.ts";
import { architectureSchema, isDead, parseWith, type Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { sleep } from "../protocol/wait.ts";
import { createBatches } from "./batches.ts";
import type { Engine, Trainer } from "./engine.ts";
import { createEngine } from "./engines.ts";
import { initialParameters, parametersOf, quantise } from "./parameters.ts";
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
  /** of its training alone */
  readonly imagesPerSecond: number;
  /** canonical count over the validation samples, where the recipe scores every epoch */
  readonly validation?: Tally;
}

/** The model as it is after an epoch that is not the last: what a training can be gone on with elsewhere. */
export interface Checkpoint {
  /** epochs of the recipe that it has behind it, 1 or more and fewer than the recipe has */
  readonly epoch: number;
  /** the model's canonical file; what the optimiser remembers, and the bits below the quantised ones, are not in it */
  readonly bytes: Uint8Array;
  /** mean cross-entropy of each epoch of this training, in nats */
  readonly trainLoss: readonly number[];
}

/** How many of how many samples were right. */
export interface Tally {
  readonly correct: number;
  readonly total: number;
}

export interface TrainingRequest {
  readonly architecture: Architecture;
  readonly train: Samples;
  readonly validation: Samples;
  readonly settings: TrainingSettings;
  /** fixes initial weights, the order of the samples, and what is dropped and augmented */
  readonly seed: number;
  /** the model to go on from, of the same architecture; without it, fresh weights */
  readonly initial?: Model;
  /**
   * epochs of the recipe that `initial` has behind it, fewer than the recipe has: training goes on with the next one, on
   * the learning rates and the samples that it would have come to. 0 unless given
   */
  readonly doneEpochs?: number;
  /** share of the time to use, above 0 and up to 1; the rest is slept away between steps */
  readonly throttle?: number;
}

export interface TrainingOptions {
  readonly onEpoch?: (progress: EpochProgress) => void;
  /** hears of the model after an epoch, except the last one */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
  /** milliseconds that lie at least between two checkpoints, and before the first; 0 unless given */
  readonly checkpointMs?: number;
  /** stops within one step */
  readonly signal?: AbortSignal;
  /** without it, the best one present, for this training alone */
  readonly engine?: Engine;
}

export interface TrainingOutcome {
  readonly model: Model;
  /** the model's canonical file */
  readonly bytes: Uint8Array;
  /** mean cross-entropy of each epoch, in nats; of a diverged one the last value is missing */
  readonly trainLoss: number[];
  /** canonical count over the validation samples; 0 correct where infeasible */
  readonly validation: Tally;
  /** right predictions over the validation samples after each epoch; empty where the recipe scores only the last */
  readonly epochValidation: number[];
  /** the epoch that the model comes from, counted from 1: with early stop the best, else the last; 0 without any */
  readonly bestEpoch: number;
  /** why the model is malformed whatever it predicts, or null */
  readonly infeasible: string | null;
  /** finished ones of this training, without those that `initial` had behind it */
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
  const engine = options.engine ?? (await createEngine());
  const dead = isDead(architecture);
  const parameters = initial === undefined ? initialParameters(architecture, seed) : parametersOf(initial);
  const untrained = initial ?? quantise(architecture, parameters);
  const score = (bytes: Uint8Array) => scoreModel(bytes, { ...validation, maxBytes: bytes.length, signal });
  let run: Run = { trainLoss: [], epochValidation: [], best: null, images: 0, seconds: 0, diverged: false };

  try {
    if (!dead && malformation(untrained) === null) {
      const batch = Math.min(settings.batch, request.train.count);
      const trainer = await engine.createTrainer({ architecture, batch, initial: parameters, settings });
      try {
        run = await runEpochs(trainer, batch, request, score, options);
      } finally {
        trainer.release();
      }
    }
    const { model, epoch: bestEpoch } = run.best ?? { model: untrained, epoch: 0 };
    const bytes = encodeModel(model);
    const { correct, malformed } = run.best?.evaluation ?? (await score(bytes));
    return {
      model,
      bytes,
      trainLoss: run.trainLoss,
      validation: { correct, total: validation.count },
      epochValidation: run.epochValidation,
      bestEpoch,
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
  readonly epochValidation: number[];
  /** the model to hand back; null where no epoch ended well */
  readonly best: EpochResult | null;
  readonly images: number;
  readonly seconds: number;
  readonly diverged: boolean;
}

interface EpochResult {
  readonly epoch: number;
  readonly model: Model;
  /** null where the recipe does not score every epoch */
  readonly evaluation: Score | null;
}

async function runEpochs(
  trainer: Trainer,
  batch: number,
  request: TrainingRequest,
  score: (bytes: Uint8Array) => Promise<Score>,
  { onEpoch, onCheckpoint, checkpointMs = 0, signal }: TrainingOptions,
): Promise<Run> {
  const { architecture, train, settings, throttle = 1, doneEpochs = 0 } = request;
  const { epochs, earlyStop } = settings;
  const stepsPerEpoch = Math.floor(train.count / batch);
  const imagesPerEpoch = stepsPerEpoch * batch;
  const nextEpoch = createBatches({ ...request, batch });
  const nap = createThrottle(throttle, signal);
  const trainLoss: number[] = [];
  const epochValidation: number[] = [];
  let best: EpochResult | null = null;
  for (let epoch = 1; epoch <= doneEpochs; epoch++) for (const _ of nextEpoch()); // draws what they drew
  const start = performance.now();
  let [step, scoringMs, checkpointAt] = [0, 0, start];
  const ended = (diverged: boolean): Run => {
    const seconds = (performance.now() - start - scoringMs) / 1000;
    return { trainLoss, epochValidation, best, images: step * batch, seconds, diverged };
  };

  for (let epoch = doneEpochs + 1; epoch <= epochs; epoch++) {
    const epochStart = performance.now();
    let lossSum = 0;
    let right = 0;
    for (const samples of nextEpoch()) {
      if (signal?.aborted === true) throw new PonasError("aborted", "Stopped.", { cause: signal.reason });
      const stepStart = performance.now();
      const learningRate = learningRateAt(settings, doneEpochs * stepsPerEpoch + step, epochs * stepsPerEpoch);
      const { loss, predictions } = await trainer.step({ ...samples, learningRate });
      step += 1;
      if (!Number.isFinite(loss)) return ended(true);
      lossSum += loss;
      for (let i = 0; i < batch; i++) if (predictions[i] === samples.labels[i]) right += 1;
      await nap(performance.now() - stepStart);
    }
    const parameters = await trainer.parameters();
    const finite = parameters.every(({ weights, bias }) => allFinite(weights) && allFinite(bias));
    if (!finite) return ended(true);
    const trainingSeconds = (performance.now() - epochStart) / 1000;

    const model = quantise(architecture, parameters);
    const scoreStart = performance.now();
    const evaluation: Score | null = earlyStop === undefined ? null : await score(encodeModel(model));
    if (evaluation !== null) epochValidation.push(evaluation.correct);
    await nap(performance.now() - scoreStart);
    scoringMs += performance.now() - scoreStart;
    const bar = best?.evaluation?.correct ?? -1;
    if (evaluation === null || evaluation.correct > bar) best = { epoch, model, evaluation };
    trainLoss.push(lossSum / stepsPerEpoch);
    onEpoch?.({
      epoch,
      epochs,
      trainLoss: lossSum / stepsPerEpoch,
      trainAccuracy: right / imagesPerEpoch,
      imagesPerSecond: imagesPerEpoch / trainingSeconds,
      ...(evaluation === null ? {} : { validation: { correct: evaluation.correct, total: evaluation.total } }),
    });
    if (earlyStop !== undefined && epoch - best!.epoch >= earlyStop.patience) break;
    if (onCheckpoint !== undefined && epoch < epochs && performance.now() - checkpointAt >= checkpointMs) {
      checkpointAt = performance.now();
      onCheckpoint({ epoch, bytes: encodeModel(model), trainLoss: [...trainLoss] });
    }
  }
  return ended(false);
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
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

function checkRequest(request: TrainingRequest): void {
  const { architecture, train, validation, settings, initial, doneEpochs = 0, throttle = 1 } = request;
  parseWith(architectureSchema, architecture, "The architecture");
  parseWith(trainingSettingsSchema, settings, "The training recipe");
  if (!(throttle > 0 && throttle <= 1)) {
    throw new PonasError("bad-input", `A throttle of ${throttle} is not a share of time above 0 and up to 1.`);
  }
  if (initial !== undefined && networkKey(initial.architecture) !== networkKey(architecture)) {
    throw new PonasError("bad-input", "The initial model has another architecture than the one to be trained.");
  }
  const whole = Number.isInteger(doneEpochs) && doneEpochs >= 0;
  if (!whole || (doneEpochs > 0 && (initial === undefined || doneEpochs >= settings.epochs))) {
    throw new PonasError(
      "bad-input",
      `A training of ${settings.epochs} epochs cannot go on after ${doneEpochs} of them${initial === undefined ? " without a model" : ""}.`,
    );
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
