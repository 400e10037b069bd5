/** A task with a real network in it, opened and in its window, and both sides of a dispute over one of its samples. */
import { hexlify, type ContractTransactionReceipt, type ContractTransactionResponse } from "ethers";
import { concat } from "viem";

import {
  firstDifference,
  openComputation,
  openSample,
  showTrace,
  type KnownTrace,
} from "../../offchain/evaluation/dispute-openings.ts";
import { modelRoot } from "../../offchain/evaluation/model.ts";
import type { TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { traceSteps } from "../../offchain/evaluation/trace-steps.ts";
import { CHALLENGE_STAGES } from "../../offchain/protocol/abi.ts";
import { blocks, commitTestSet, PREDICTION_BLOCK, resultHash, type Hex } from "../../offchain/protocol/bytes.ts";
import { truth, type Setting } from "../evaluation/lies.ts";
import { cidOf, digest, goTo, now, type Model, type Signer, type TaskParams, type World } from "./support.ts";

export { argmax, changed, pixelsOf, someSetting, truth, valuesOf, type Setting } from "../evaluation/lies.ts";

/** How the candidate came to be opened; by default nobody has sealed it. */
export interface Examined {
  readonly sealers?: readonly Signer[];
  /** predictions whose result they sealed; those that are opened unless said otherwise */
  readonly sealed?: Uint8Array;
  readonly params?: Partial<TaskParams>;
  /** others that claim the same, and are examined after it */
  readonly alike?: readonly Signer[];
}

/** A task whose examined candidate is this network, opened with these predictions, in its window. */
export async function disputable(
  w: World,
  { network, pixels, labels }: Setting,
  predictions = labels,
  { sealers = [], sealed = predictions, params = {}, alike = [] }: Examined = {},
) {
  const { testRoot } = testSetOf({ network, pixels, labels });
  const model = claimedModel({ network, labels }, predictions);
  const entries = [w.ada, ...alike].map((who) => [who, model] as const);
  const taskId = await w.toSeal(entries, {
    testRoot,
    testCount: labels.length,
    minCorrect: 1,
    ...params,
  });
  for (const sealer of sealers) await w.seal(taskId, sealer, w.ada.address, model, resultHash(sealed));
  await openExamined(w, taskId, { network, pixels, labels }, predictions);
  return taskId;
}

/** What is committed, revealed and sealed of a network, with the predictions that are claimed of it. */
export function claimedModel({ network, labels }: Pick<Setting, "network" | "labels">, predictions: Uint8Array): Model {
  const correct = predictions.filter((prediction, i) => prediction === labels[i]).length;
  return {
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
}

function testSetOf({ network, pixels, labels }: Omit<Setting, "openable">) {
  const [height, width, channels] = network.architecture.input;
  const shape = { height, width, channels, classes: network.architecture.classes };
  const { testRoot, samplesRoot } = commitTestSet(pixels, labels, shape);
  return { testRoot, parts: { ...shape, samplesRoot } };
}

/** Anybody opens the examined candidate when its seals are in. */
export async function openExamined(
  w: World,
  taskId: bigint,
  setting: Omit<Setting, "openable">,
  predictions = setting.labels,
): Promise<void> {
  const { sealDeadline } = await w.registry.examinationOf(taskId);
  if ((await now()) < Number(sealDeadline)) await goTo(sealDeadline);
  await w.registry.open(taskId, hexlify(predictions), hexlify(setting.labels), testSetOf(setting).parts);
}

/** What opens a prediction under its result, as challenges take it. */
export function openPrediction(sample: number, predictions: Uint8Array) {
  const start = PREDICTION_BLOCK * Math.floor(sample / PREDICTION_BLOCK);
  const block = predictions.subarray(start, start + PREDICTION_BLOCK);
  return [sample, predictions.length, blocks(predictions), hexlify(block)] as const;
}

export async function challenge(w: World, taskId: bigint, challenger: Signer, sample: number, predictions: Uint8Array) {
  await w.arithmetic.connect(challenger).challenge(taskId, ...openPrediction(sample, predictions));
  return w.arithmetic.challengeCount();
}

/** One call of a game; the claimant's answers may come from anybody. */
export interface Move {
  readonly by: "claimant" | "challenger";
  readonly name: "answerTrace" | "pickTensor" | "answerRows" | "pickRow" | "answerPositions" | "pickColumn" | "answerValues" | "prove"; // prettier-ignore
  readonly args: readonly unknown[];
}

export interface Game {
  /** what the claimant shows */
  readonly claimant: KnownTrace;
  /** what the challenger knows; the truth unless said otherwise */
  readonly own?: KnownTrace;
  /** where the challenger insists on a difference though it sees none */
  readonly insists?: TracedPlace | undefined;
  /** in how many transactions a sum is computed */
  readonly parts?: number;
}

/**
 * All moves of a challenge from the claimant's first answer to its decision, each side from its own trace: the challenger
 * follows the first difference to its own values.
 */
export function movesOf(
  id: bigint,
  setting: Setting,
  sample: number,
  { claimant, insists, parts = 1, own = truth(setting, sample) }: Game,
): Move[] {
  const { openable, network } = setting;
  const model = openable.opening;
  const shown = showTrace(claimant);
  const steps = traceSteps(network.architecture);
  const moves: Move[] = [{ by: "claimant", name: "answerTrace", args: [id, model, shown] }];
  // No such trace is taken: there are no further moves.
  if (claimant.tensors.length !== steps.length) return moves;
  const step = firstDifference(own, shown) ?? insists!.step;
  moves.push({ by: "challenger", name: "pickTensor", args: [id, model, shown, step] });

  let place: TracedPlace = { step, row: 0, column: 0, channel: 0 };
  let claimed: Hex = "0x";
  if (step === steps.length - 1) {
    const wrong = own.logits.findIndex((logit, i) => logit !== shown.logits[i]);
    place = { ...place, channel: wrong >= 0 ? wrong : insists!.channel };
  } else {
    const theirs = claimant.tensors[step + 1]!;
    const mine = own.tensors[step + 1]!;
    const rows = concat(theirs.rows as Hex[]);
    moves.push({ by: "claimant", name: "answerRows", args: [id, rows] });
    // Rows of another number are not taken.
    if (theirs.rows.length !== mine.rows.length) return moves;
    const differingRow = mine.rows.findIndex((hash, i) => hash !== theirs.rows[i]);
    const row = differingRow >= 0 ? differingRow : insists!.row;
    const positions = concat(theirs.positions[row] as Hex[]);
    const differing = mine.positions[row]!.findIndex((hash, i) => hash !== theirs.positions[row]![i]);
    const column = differing >= 0 ? differing : insists!.column;
    const { channels, valueBytes, width } = theirs.shape;
    const start = (row * width + column) * channels * valueBytes;
    const values = theirs.bytes.subarray(start, start + channels * valueBytes);
    claimed = hexlify(values) as Hex;
    const byte = values.findIndex((value, i) => value !== mine.bytes[start + i]);
    place = { step, row, column, channel: byte >= 0 ? Math.floor(byte / valueBytes) : insists!.channel };
    moves.push(
      { by: "challenger", name: "pickRow", args: [id, rows, row] },
      { by: "claimant", name: "answerPositions", args: [id, positions] },
      { by: "challenger", name: "pickColumn", args: [id, positions, column] },
      { by: "claimant", name: "answerValues", args: [id, claimed] },
    );
  }

  const { windowHeight, operation } = steps[step]!;
  const count = operation === "linear" ? Math.min(parts, windowHeight) : 1;
  let from = 0;
  for (let part = 1; part <= count; part++) {
    const to = Math.floor((part * windowHeight) / count);
    const opened = step === 0 ? openSample(setting.pixels, setting.labels, sample) : undefined;
    const computation = openComputation(openable, own, shown, place, { claimed, sample: opened, from, to });
    moves.push({ by: "challenger", name: "prove", args: [id, computation] });
    from = to;
  }
  return moves;
}

/** Plays a challenge by transactions of both sides. @param sent is told of every one */
export async function play(
  w: World,
  id: bigint,
  setting: Setting,
  sample: number,
  { challenger, ...game }: Game & { challenger: Signer },
  sent: (move: Move, receipt: ContractTransactionReceipt) => void = () => undefined,
): Promise<void> {
  const moves = movesOf(id, setting, sample, game);
  for (const move of moves) {
    const contract = w.arithmetic.connect(move.by === "claimant" ? w.ada : challenger);
    const transaction = await contract.getFunction(move.name)(...move.args);
    sent(move, (await (transaction as ContractTransactionResponse).wait())!);
  }
}

/**
 * A whole challenge in one call that changes nothing: the disputes contract is a multicall, and a participant that challenges
 * itself may make the moves of both sides. Thousands of games over one task take no longer than their arithmetic.
 * @returns the challenge as the last move leaves it; or, where the chain refuses a move, why
 */
export async function imagine(
  w: World,
  taskId: bigint,
  { setting, predictions, sample }: { setting: Setting; predictions: Uint8Array; sample: number },
  game: Game | ((id: bigint) => Move[]),
): Promise<{ stage: string; refused: null } | { stage: null; refused: string }> {
  const { arithmetic } = w;
  const id = (await arithmetic.challengeCount()) + 1n;
  const moves = typeof game === "function" ? game(id) : movesOf(id, setting, sample, game);
  const encode = (name: string, args: readonly unknown[]): string =>
    arithmetic.interface.encodeFunctionData(name as "prove", args as never);
  const calls = [
    encode("challenge", [taskId, ...openPrediction(sample, predictions)]),
    ...moves.map(({ name, args }) => encode(name, args)),
    encode("challengeOf", [id]),
  ];
  try {
    const results = await arithmetic.connect(w.ada).multicall.staticCall(calls);
    const [after] = arithmetic.interface.decodeFunctionResult("challengeOf", results.at(-1)!) as unknown as [
      { stage: bigint },
    ];
    return { stage: CHALLENGE_STAGES[Number(after.stage)]!, refused: null };
  } catch (error) {
    // Errors of libraries are not among the contract's own, so their names stand in the message alone.
    const { message, revert } = error as { message: string; revert?: { name: string } };
    const known = revert?.name ?? /custom error '(\w+)\(/.exec(message)?.[1];
    if (known === undefined) throw error;
    return { stage: null, refused: known };
  }
}
