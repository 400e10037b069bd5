/**
 * The moves of a dispute over one prediction (docs/protocol.md, "Disputes"), from what a side knows and what was shown:
 * no move depends on an earlier one having been seen, so a restart is a normal start.
 */
import { concat, hexToBytes, sliceHex } from "viem";

import {
  firstDifference,
  openComputation,
  showTrace,
  type KnownTrace,
  type OpenableModel,
  type SampleOpening,
} from "../evaluation/dispute-openings.ts";
import { valuesAt } from "../evaluation/trace-openings.ts";
import { traceSteps } from "../evaluation/trace-steps.ts";
import type { Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Challenge, DisputesContract, Shown } from "./disputes-contract.ts";

/** What a side of a dispute knows of the disputed sample. */
export interface Side {
  readonly openable: OpenableModel;
  readonly trace: KnownTrace;
  readonly sample: SampleOpening;
}

/** Gas of one computation stays far below a block's: kernel rows of so many values are summed in one part. */
const VALUES_A_PART = 10_368;

/** Makes the claimant's move, where one is due. @returns what was done, in words, or null */
export async function answer(
  disputes: DisputesContract,
  challenge: Challenge,
  { openable, trace }: Side,
): Promise<string | null> {
  const { id, step, row, column } = challenge;
  // The pixels stand before the tensors of the trace.
  const tensor = trace.tensors[step + 1];
  switch (challenge.stage) {
    case "Trace":
      await disputes.answerTrace(challenge, openable.opening, showTrace(trace));
      return "showed its trace";
    case "Rows":
      await disputes.answerRows(id, concat(tensor!.rows as Hex[]));
      return `showed the rows of tensor ${step}`;
    case "Positions":
      await disputes.answerPositions(id, concat(tensor!.positions[row] as Hex[]));
      return `showed row ${row} of tensor ${step}`;
    case "Values":
      await disputes.answerValues(id, valuesAt(tensor!, row, column));
      return `showed position (${row}, ${column}) of tensor ${step}`;
    default:
      return null;
  }
}

/**
 * Makes the challenger's move, where one is due.
 * @returns what was done, in words, or null
 * @throws PonasError not-found where what was shown is no different from what this side knows
 */
export async function press(
  disputes: DisputesContract,
  challenge: Challenge,
  shown: Shown,
  side: Side,
): Promise<string | null> {
  const { id, step, row, column } = challenge;
  const { openable, trace, sample } = side;
  const mine = trace.tensors[step + 1];
  switch (challenge.stage) {
    case "Tensor": {
      const first = firstDifference(trace, shown.trace!);
      if (first === null) throw noDifference(challenge);
      await disputes.pickTensor(id, openable.opening, shown.trace!, first);
      return first === trace.tensors.length - 1 ? "disputes a logit" : `disputes tensor ${first}`;
    }
    case "Row": {
      const wrong = differing(mine!.rows, shown.rows!, challenge);
      await disputes.pickRow(id, shown.rows!, wrong);
      return `disputes row ${wrong}`;
    }
    case "Column": {
      const wrong = differing(mine!.positions[row]!, shown.positions!, challenge);
      await disputes.pickColumn(id, shown.positions!, wrong);
      return `disputes column ${wrong}`;
    }
    case "Proof": {
      const logit = step === trace.tensors.length - 1;
      const claimed = logit ? "0x" : shown.values!;
      const wrong = logit ? differingLogit(side, shown) : differingValue(side, challenge, claimed);
      if (wrong < 0) throw noDifference(challenge);
      const { windowHeight, windowWidth, input, operation } = traceSteps(openable.model.architecture)[step]!;
      const rowsAPart = Math.max(1, Math.floor(VALUES_A_PART / (windowWidth * input.channels)));
      const to = operation === "linear" ? Math.min(windowHeight, challenge.kernelRow + rowsAPart) : windowHeight;
      const place = { step, row, column, channel: challenge.kernelRow > 0 ? challenge.channel : wrong };
      const from = challenge.kernelRow;
      await disputes.prove(id, openComputation(openable, trace, shown.trace!, place, { claimed, sample, from, to }));
      return to < windowHeight ? `summed kernel rows up to ${to}` : "had the chain compute the disputed value";
    }
    default:
      return null;
  }
}

function differing(mine: readonly Hex[], shown: Hex, challenge: Challenge): number {
  const wrong = mine.findIndex((hash, i) => hash !== sliceHex(shown, 32 * i, 32 * i + 32));
  if (wrong < 0) throw noDifference(challenge);
  return wrong;
}

function differingLogit({ trace }: Side, { trace: shown }: Shown): number {
  return trace.logits.findIndex((logit, i) => logit !== shown!.logits[i]);
}

function differingValue({ trace }: Side, { step, row, column }: Challenge, shown: Hex): number {
  const tensor = trace.tensors[step + 1]!;
  const mine = hexToBytes(valuesAt(tensor, row, column));
  const theirs = hexToBytes(shown);
  const byte = mine.findIndex((value, i) => value !== theirs[i]);
  return byte < 0 ? -1 : Math.floor(byte / tensor.shape.valueBytes);
}

function noDifference({ id }: Challenge): PonasError {
  return new PonasError(
    "not-found",
    `What was shown in challenge ${id} is what this side computes too: there is nothing to dispute.`,
  );
}
