/** A task of noise on which random networks are right now and then, in phases of seconds: cheap to take through a round. */
import type { TaskPlan } from "../../offchain/agents/publisher.ts";
import type { Registry, TaskState } from "../../offchain/agents/registry.ts";
import type { HardwareBounds } from "../../offchain/evaluation/hardware.ts";
import { encodeModel, modelRoot } from "../../offchain/evaluation/model.ts";
import type { Hex } from "../../offchain/protocol/bytes.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { admit } from "../../offchain/search/feasibility.ts";
import { sampleArchitecture, spaceByName } from "../../offchain/search/spaces.ts";
import type { Dataset, Samples } from "../../offchain/training/datasets.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../offchain/training/settings.ts";
import { randomModel } from "../evaluation/random-model.ts";

export const random = createRandom("agents' rounds");
export const TOKEN = 10n ** 18n;

export function someSamples(count: number): Samples {
  return {
    pixels: Uint8Array.from({ length: count * 64 }, () => random.integer(256)),
    labels: Uint8Array.from({ length: count }, () => random.integer(10)),
    count,
  };
}

export const dataset: Dataset = {
  name: "noise",
  height: 8,
  width: 8,
  channels: 1,
  classes: 10,
  train: someSamples(16),
  validation: someSamples(16),
  test: someSamples(64),
  notes: [],
};
export const space = spaceByName("demo");
export const template: TaskPlan["template"] = {
  input: [8, 8, 1],
  classes: 10,
  depth: 6,
  head: { pool: "flatten", hidden: 0 },
};
/**
 * How much longer than a quiet machine needs the phases are: on one that has other work besides, validators would be too
 * late for what the scenarios are about.
 */
const PACE = 2;
const paced = <Phases extends Partial<TaskPlan["terms"]["phases"]>>(phases: Phases): Phases =>
  Object.fromEntries(Object.entries(phases).map(([name, seconds]) => [name, PACE * seconds])) as Phases;

export const terms: TaskPlan["terms"] = {
  minCorrect: 1,
  maxModelBytes: 300_000,
  maxLuts: 0,
  minThroughput: 0,
  candidateBondBps: 500,
  difficulty: { flops: 1n, networkFlops: 1n, modelBytes: 1n, dataBytes: 1n, bandwidth: 1n },
  phases: paced({
    initialisation: 0,
    training: 15,
    keyRelease: 20,
    testVote: 5,
    reveal: 8,
    seal: 6,
    open: 6,
    shortWindow: 1,
    longWindow: 8,
  }),
  reward: 100n * TOKEN,
  publisherBond: 10n * TOKEN,
  commitBond: TOKEN,
  commitFee: 0n,
  validatorFee: 3n * TOKEN,
};

export const plan: TaskPlan = { title: "noise", dataset, space, template, training: DEFAULT_TRAINING_SETTINGS, terms };

/** @param phases in seconds on a quiet machine */
export function planWith(
  phases: Partial<TaskPlan["terms"]["phases"]>,
  changes: Partial<TaskPlan["terms"]> = {},
): TaskPlan {
  return { ...plan, terms: { ...terms, ...changes, phases: { ...terms.phases, ...paced(phases) } } };
}

/** A well-formed network of the task with random weights; with hardware bounds, one that carries its tiling. */
export function someModel(hardware?: HardwareBounds): { file: Uint8Array; root: Hex } {
  const drawn = sampleArchitecture(template, space, random);
  const architecture = hardware === undefined ? drawn : admit(drawn, { hardware }).architecture;
  if (architecture === null) return someModel(hardware);
  const made = randomModel(random, architecture);
  return { file: encodeModel(made), root: modelRoot(made) };
}

export async function untilPhase(registry: Registry, id: bigint, ...phases: TaskState["phase"][]): Promise<TaskState> {
  for (;;) {
    const task = await registry.task(id);
    if (phases.includes(task.phase)) return task;
    await sleep(200);
  }
}
