/** A task with a real network in it, opened and in its window, and both sides of a dispute over one of its samples. */
import { hexlify } from "ethers";

import {
  firstDifference,
  knowTrace,
  openComputation,
  openModel,
  openSample,
  showTrace,
  type KnownTrace,
  type OpenableModel,
} from "../../offchain/evaluation/dispute-openings.ts";
import { modelRoot, type Model as Network } from "../../offchain/evaluation/model.ts";
import { referenceTrace, type Trace } from "../../offchain/evaluation/reference.ts";
import { hashTensor, type TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { traceSteps } from "../../offchain/evaluation/trace-steps.ts";
import { blocks, commitTestSet, resultHash, type Hex } from "../../offchain/protocol/bytes.ts";
import type { Random } from "../../offchain/protocol/random.ts";
import { concat } from "viem";
import { randomArchitecture, randomModel, randomPixels } from "../evaluation/random-model.ts";
import { cidOf, digest, goTo, type Model, type Signer, type World } from "./support.ts";

const SAMPLES = 8;

/** A network and a test set whose labels are what it predicts. */
export interface Setting {
  readonly network: Network;
  readonly openable: OpenableModel;
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

export function someSetting(random: Random, architecture = randomArchitecture(random)): Setting {
  const network = randomModel(random, architecture, random.choice(["any", "below-2^31"] as const));
  const pixels = randomPixels(random, architecture, SAMPLES);
  const size = pixels.length / SAMPLES;
  const labels = Uint8Array.from({ length: SAMPLES }, (_, i) =>
    argmax(referenceTrace(network, pixels.subarray(i * size, (i + 1) * size)).logits),
  );
  return { network, openable: openModel(network), pixels, labels };
}

export function argmax(logits: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[largest]!) largest = i;
  return largest;
}

export function pixelsOf({ pixels }: Setting, sample: number): Uint8Array {
  const size = pixels.length / SAMPLES;
  return pixels.subarray(sample * size, (sample + 1) * size);
}

/** What the network truly makes of a sample. */
export function truth(setting: Setting, sample: number): KnownTrace {
  const pixels = pixelsOf(setting, sample);
  return knowTrace(setting.network, pixels, referenceTrace(setting.network, pixels));
}

/**
 * A trace with one value that is not the true one; what comes after it follows from it, as far as `consistent`, so that the lie is
 * found only where it is.
 */
export function corrupted(setting: Setting, sample: number, place: TracedPlace, change: number): KnownTrace {
  const pixels = pixelsOf(setting, sample);
  const trace = referenceTrace(setting.network, pixels);
  const steps = traceSteps(setting.network.architecture);
  const tensor = trace.tensors[place.step];
  if (tensor === undefined) {
    const logits = Float64Array.from(trace.logits);
    logits[place.channel]! += change;
    return knowTrace(setting.network, pixels, { ...trace, logits } as Trace);
  }
  const values = Int32Array.from(tensor.values);
  values[(place.row * tensor.width + place.column) * tensor.channels + place.channel]! += change;
  const known = knowTrace(setting.network, pixels, trace);
  const tensors = [...known.tensors];
  tensors[place.step + 1] = hashTensor(values, steps[place.step]!.output);
  return { ...known, tensors };
}

/** A task whose examined candidate is this network, opened with these predictions, in its window. */
export async function disputable(w: World, { network, pixels, labels }: Setting, predictions = labels) {
  const [height, width, channels] = network.architecture.input;
  const shape = { height, width, channels, classes: network.architecture.classes };
  const set = commitTestSet(pixels, labels, shape);
  const correct = predictions.filter((prediction, i) => prediction === labels[i]).length;
  const model: Model = {
    opening: {
      modelRoot: modelRoot(network),
      modelCid: cidOf("network"),
      validationCorrect: correct,
      validationTotal: labels.length,
      salt: digest("salt"),
    },
    correct,
    predictions,
    result: resultHash(predictions),
  };
  const taskId = await w.toSeal([[w.ada, model]], {
    testRoot: set.testRoot,
    testCount: labels.length,
    minCorrect: 1,
  });
  const { sealDeadline } = await w.registry.examinationOf(taskId);
  await goTo(sealDeadline);
  await w.registry.open(taskId, hexlify(predictions), hexlify(labels), { ...shape, samplesRoot: set.samplesRoot });
  return taskId;
}

export async function challenge(w: World, taskId: bigint, challenger: Signer, sample: number, predictions: Uint8Array) {
  const block = predictions.subarray(512 * Math.floor(sample / 512), 512 * Math.floor(sample / 512) + 512);
  await w.arithmetic.connect(challenger).challenge(taskId, sample, predictions.length, blocks(predictions), hexlify(block));
  return w.arithmetic.challengeCount();
}

export type Outcome = "Refuted" | "Upheld";

/**
 * Plays a challenge from the claimant's first answer to its decision, each side from its own trace: the challenger follows
 * the first difference to its own values; where there is none, it insists on `insists`.
 */
export async function play(
  w: World,
  id: bigint,
  setting: Setting,
  sample: number,
  {
    claimant,
    challenger,
    insists,
    parts = 1,
  }: { claimant: KnownTrace; challenger: Signer; insists?: TracedPlace; parts?: number },
): Promise<void> {
  const { openable, network } = setting;
  const game = w.arithmetic.connect(challenger);
  const answers = w.arithmetic.connect(w.ada);
  const model = openable.opening as never;
  const own = truth(setting, sample);
  const shown = showTrace(claimant);
  await answers.answerTrace(id, model, shown as never);
  const steps = traceSteps(network.architecture);
  const step = firstDifference(own, shown) ?? insists!.step;
  await game.pickTensor(id, model, shown as never, step);

  let place: TracedPlace = { step, row: 0, column: 0, channel: 0 };
  let claimed: Hex = "0x";
  if (step === steps.length - 1) {
    const wrong = own.logits.findIndex((logit, i) => logit !== shown.logits[i]);
    place = { ...place, channel: wrong >= 0 ? wrong : insists!.channel };
  } else {
    const theirs = claimant.tensors[step + 1]!;
    const mine = own.tensors[step + 1]!;
    const rows = concat(theirs.rows as Hex[]);
    await answers.answerRows(id, rows);
    const differingRow = mine.rows.findIndex((hash, i) => hash !== theirs.rows[i]);
    const row = differingRow >= 0 ? differingRow : insists!.row;
    await game.pickRow(id, rows, row);
    const positions = concat(theirs.positions[row] as Hex[]);
    await answers.answerPositions(id, positions);
    const differing = mine.positions[row]!.findIndex((hash, i) => hash !== theirs.positions[row]![i]);
    const column = differing >= 0 ? differing : insists!.column;
    await game.pickColumn(id, positions, column);
    const { channels, valueBytes, width } = theirs.shape;
    const start = (row * width + column) * channels * valueBytes;
    const values = theirs.bytes.subarray(start, start + channels * valueBytes);
    claimed = hexlify(values) as Hex;
    await answers.answerValues(id, claimed);
    const byte = values.findIndex((value, i) => value !== mine.bytes[start + i]);
    place = { step, row, column, channel: byte >= 0 ? Math.floor(byte / valueBytes) : insists!.channel };
  }

  const { windowHeight, operation } = steps[step]!;
  const ends = Array.from(
    { length: Math.min(parts, windowHeight) },
    (_, i, { length } = { length: Math.min(parts, windowHeight) }) => Math.floor(((i + 1) * windowHeight) / length),
  );
  let from = 0;
  for (const to of operation === "linear" ? ends : [windowHeight]) {
    const opened = step === 0 ? openSample(setting.pixels, setting.labels, sample) : undefined;
    const computation = openComputation(openable, own, shown, place, { claimed, sample: opened, from, to });
    await game.prove(id, computation as never);
    from = to;
  }
}
