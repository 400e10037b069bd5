/** What a model file scores on a set of samples: the one number that everything on chain speaks of. */
import { resultHash, ZERO_HASH, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import { createFastEvaluator } from "./fast.ts";
import { decodeModel, modelRoot, type Model } from "./model.ts";
import { referenceLogits } from "./reference.ts";
import { malformation, type Rules } from "./well-formed.ts";

export interface EvaluationRequest {
  /** count × H·W·C bytes, row-major, channels last */
  readonly pixels: Uint8Array;
  /** count bytes */
  readonly labels: Uint8Array;
  readonly count: number;
  /** cap of the model file */
  readonly maxBytes: number;
  /** what the task fixes; without it any well-formed network counts */
  readonly rules?: Rules;
  /** "fast" unless said otherwise; both give the same numbers */
  readonly engine?: "fast" | "reference";
  readonly signal?: AbortSignal;
}

export interface Score {
  /** 0 … total */
  readonly correct: number;
  readonly total: number;
  /** one class a sample; empty for a malformed model */
  readonly predictions: Uint8Array;
  readonly malformed: null | { readonly reason: string };
}

export interface Evaluation extends Score {
  /** hash over the predictions (docs/bytes.md); 0 for a malformed model */
  readonly result: Hex;
  /** null where the file could not be read */
  readonly modelRoot: Hex | null;
}

/**
 * Evaluates a model file that nobody vouches for. A malformed model is an answer — zero correct — and not an error.
 * @throws PonasError bad-input where the samples do not fit each other or the network; aborted; engine
 */
export async function evaluateModel(bytes: Uint8Array, request: EvaluationRequest): Promise<Evaluation> {
  const { model, ...score } = await scoreFile(bytes, request);
  return {
    ...score,
    result: score.malformed === null ? resultHash(score.predictions) : ZERO_HASH,
    modelRoot: model === null ? null : modelRoot(model),
  };
}

/** As {@link evaluateModel}, without the hashes: they take longer than a small network's predictions. */
export async function scoreModel(bytes: Uint8Array, request: EvaluationRequest): Promise<Score> {
  const { model: _, ...score } = await scoreFile(bytes, request);
  return score;
}

/** `model` is null where the file could not be read. */
async function scoreFile(bytes: Uint8Array, request: EvaluationRequest): Promise<Score & { model: Model | null }> {
  const { labels, count, maxBytes, rules } = request;
  if (labels.length !== count)
    throw new PonasError("bad-input", `There are ${labels.length} labels for ${count} samples.`);
  const zero = { correct: 0, total: count, predictions: new Uint8Array() };

  let model: Model;
  try {
    model = decodeModel(bytes, { maxBytes });
  } catch (error) {
    const refused =
      error instanceof PonasError && (error.code === "malformed-model" || error.code === "model-too-large");
    if (!refused) throw error;
    return { ...zero, model: null, malformed: { reason: error.message } };
  }
  const fault = malformation(model, rules);
  if (fault !== null) return { ...zero, model, malformed: { reason: `The model is malformed: ${fault}.` } };

  const predictions = await predict(model, request);
  const correct = predictions.reduce((sum, prediction, i) => sum + (prediction === labels[i] ? 1 : 0), 0);
  return { model, correct, total: count, predictions, malformed: null };
}

/**
 * The class of each sample: the index of its largest logit, the lowest index of equals.
 * @param model well-formed
 * @throws PonasError bad-input where the samples' size is not the network's; aborted; engine
 */
export async function predict(
  model: Model,
  { pixels, count, engine = "fast", signal }: Pick<EvaluationRequest, "pixels" | "count" | "engine" | "signal">,
): Promise<Uint8Array> {
  const { input, classes } = model.architecture;
  const size = input.reduce((product, dim) => product * dim, 1);
  if (pixels.length !== count * size) {
    throw new PonasError(
      "bad-input",
      `The network reads images of ${input.join("×")} = ${size} bytes, but ${count} samples have ${pixels.length} bytes.`,
    );
  }
  if (engine === "reference") return largestOfEach(referenceLogits(model, pixels, count, signal), classes);
  const evaluator = await createFastEvaluator(model);
  try {
    return largestOfEach(await evaluator.logits(pixels, count, signal), classes);
  } finally {
    await evaluator.dispose();
  }
}

/** Index of the largest logit of each row of `classes`; the lowest index wins a tie. */
export function largestOfEach(logits: Float64Array, classes: number): Uint8Array {
  return Uint8Array.from({ length: logits.length / classes }, (_, row) => {
    let best = 0;
    for (let k = 1; k < classes; k++) if (logits[row * classes + k]! > logits[row * classes + best]!) best = k;
    return best;
  });
}
