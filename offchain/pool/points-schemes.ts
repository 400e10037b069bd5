/**
 * What a trial is worth (docs/pool.md "Points"): one rule a pool, fixed in its contract by the hash of its text. Every
 * rule is integer arithmetic over what the shares file lists, gives the same whatever the order of the list, and adds
 * up over trials, so that it is all one whether a miner appears as one account or as ten.
 */
import { keccak256, stringToBytes } from "viem";
import { z } from "zod";

import type { Architecture } from "../protocol/architecture.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import { trainingFlops } from "../training/train.ts";
import { missingCost } from "./audit-draw.ts";
import type { PointsLeaf } from "./points-tree.ts";

const weight = z.int().min(1).max(1000);

export const schemeSchema = z.discriminatedUnion("name", [
  z.strictObject({ name: z.literal("performance") }),
  z.strictObject({ name: z.literal("effort") }),
  /** shares of the reward that go by performance and by effort, as performance : effort */
  z.strictObject({ name: z.literal("blend"), performance: weight, effort: weight }),
  /** effort of the last accepted trials, so many of them, of this task and of those before it */
  z.strictObject({ name: z.literal("pplns"), trials: z.int().min(1).max(1_000_000) }),
]);
/** A scheme's name and parameters. */
export type SchemeTerms = z.infer<typeof schemeSchema>;
export type SchemeName = SchemeTerms["name"];
export const SCHEME_NAMES: readonly SchemeName[] = ["performance", "effort", "blend", "pplns"];

/** One accepted trial as a scheme sees it. */
export interface CountedTrial {
  readonly taskId: bigint;
  readonly miner: Address;
  /** place in the pool's order of acceptance, over all tasks */
  readonly number: number;
  /** right on the released test set; null where the model was not handed over to be counted */
  readonly testCorrect: number | null;
  /** of the released test set: by chance, ⌈samples / classes⌉, or what the parent has right */
  readonly baseline: number;
  /** {@link creditedWork} */
  readonly work: bigint;
  /** chance of an audit, in millionths */
  readonly chance: number;
  readonly audit: AuditState;
  readonly voided: boolean;
}

/**
 * none: not drawn. due: drawn, and not looked at yet. passed: the model was handed over and is what the share says.
 * false: it is not. missing: it was drawn, and not handed over in time.
 */
export const AUDIT_STATES = ["none", "due", "passed", "false", "missing"] as const;
export type AuditState = (typeof AUDIT_STATES)[number];

export interface PointsScheme {
  readonly terms: SchemeTerms;
  /** for people and for the contract: `performance`, `blend performance=3 effort=1`, … */
  readonly text: string;
  /** why the miners' word is a part of it; null where every point is counted from a model */
  readonly unproven: string | null;
  /** whether it counts right predictions on the test set, so that every model is needed */
  readonly countsTest: boolean;
  /** accepted trials that it looks back on, those of other tasks included; null: the task's own, and all of them */
  readonly window: number | null;
  /**
   * Points of each trial, in the order given. A sampled model that was not handed over counts below zero by
   * {@link missingCost} where the work is what is paid for.
   * @param trials those of one task; with a `window`, also those before it
   */
  score(trials: readonly CountedTrial[]): bigint[];
}

const UNPROVEN = "that a trial was really trained for the work it is paid for is not proven, only sampled results are";

/** Multiply–adds are counted in units of a million floating-point operations, so that sums stay far below 2^128. */
const WORK_UNIT = 1_000_000n;

/**
 * The fixed figure of a lease for the work in it: {@link trainingFlops} of so many epochs over the training images, in
 * units of 10^6, rounded up. It follows from the lease and never from what a miner says it took.
 * @param epochs those of the lease that this miner had to run; fewer where the share says that it ended early
 */
export function leaseWork(architecture: Architecture, epochs: number, trainCount: number): bigint {
  return (BigInt(trainingFlops(architecture, 1)) * BigInt(epochs) * BigInt(trainCount) + WORK_UNIT - 1n) / WORK_UNIT;
}

/**
 * What of {@link leaseWork} is credited: of an exploit trial that is no better on the validation split than its parent
 * nothing, since it may be the parent's weights handed back.
 * @param parentCorrect of the parent; null for an explore trial
 */
export function creditedWork(work: bigint, correct: number, parentCorrect: number | null): bigint {
  return parentCorrect !== null && correct <= parentCorrect ? 0n : work;
}

/** Right predictions on the released test set above the lease's baseline; none without the model. */
function performanceOf({ testCorrect, baseline, voided }: CountedTrial): bigint {
  return voided || testCorrect === null ? 0n : BigInt(Math.max(0, testCorrect - baseline));
}

/** The work that is credited for it; less than nothing where its model was drawn and is not to be had. */
function effortOf({ work, chance, audit, voided }: CountedTrial): bigint {
  if (voided || audit === "false") return 0n;
  return audit === "missing" || audit === "due" ? -missingCost(work, chance) : work;
}

const sumOf = (values: readonly bigint[]): bigint => values.reduce((sum, value) => sum + value, 0n);

/** Reward · (a·Pᵢ/ΣP + b·Eᵢ/ΣE) / (a + b), over the common denominator. */
function blend(trials: readonly CountedTrial[], weights: { performance: number; effort: number }): bigint[] {
  const performance = trials.map(performanceOf);
  const effort = trials.map(effortOf);
  const whole = { performance: sumOf(performance), effort: sumOf(effort) };
  // Where there is nothing of the one, all goes by the other.
  if (whole.performance <= 0n) return effort;
  if (whole.effort <= 0n) return performance;
  return trials.map(
    (_, i) =>
      BigInt(weights.performance) * performance[i]! * whole.effort +
      BigInt(weights.effort) * effort[i]! * whole.performance,
  );
}

function lastOf(trials: readonly CountedTrial[], count: number): bigint[] {
  const newest = trials
    .filter(({ voided }) => !voided)
    .map(({ number }) => number)
    .sort((a, b) => b - a);
  const first = newest[Math.min(count, newest.length) - 1] ?? 0;
  return trials.map((trial) => (trial.number >= first ? effortOf(trial) : 0n));
}

export function createScheme(terms: SchemeTerms): PointsScheme {
  switch (terms.name) {
    case "performance":
      return {
        terms,
        text: "performance",
        unproven: null,
        countsTest: true,
        window: null,
        score: (trials) => trials.map(performanceOf),
      };
    case "effort":
      return {
        terms,
        text: "effort",
        unproven: UNPROVEN,
        countsTest: false,
        window: null,
        score: (trials) => trials.map(effortOf),
      };
    case "blend":
      return {
        terms,
        text: `blend performance=${terms.performance} effort=${terms.effort}`,
        unproven: UNPROVEN,
        countsTest: true,
        window: null,
        score: (trials) => blend(trials, terms),
      };
    case "pplns":
      return {
        terms,
        text: `pplns trials=${terms.trials}`,
        unproven: UNPROVEN,
        countsTest: false,
        window: terms.trials,
        score: (trials) => lastOf(trials, terms.trials),
      };
  }
}

/** `schemeId` of a pool's contract: keccak256 of the scheme's text. */
export function schemeIdOf(terms: SchemeTerms): Hex {
  return keccak256(stringToBytes(createScheme(terms).text));
}

/** Each miner's points, ascending by account; those who are left with nothing, or less, are left out. */
export function pointsByMiner(trials: readonly { readonly miner: Address }[], points: readonly bigint[]): PointsLeaf[] {
  const sums = new Map<Address, bigint>();
  trials.forEach(({ miner }, i) => sums.set(miner, (sums.get(miner) ?? 0n) + points[i]!));
  return [...sums]
    .filter(([, sum]) => sum > 0n)
    .map(([account, sum]) => ({ account, points: sum }))
    .sort((a, b) => (a.account.toLowerCase() < b.account.toLowerCase() ? -1 : 1));
}
