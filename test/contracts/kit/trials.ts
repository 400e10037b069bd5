/** A task whose examined candidate is any model that a root can bind, well-formed or not, opened and in its window. */
import { hexlify } from "ethers";
import { concat, encodeAbiParameters, parseAbiParameters } from "viem";

import { openModel, type Computation, type ModelOpening } from "../../../offchain/evaluation/dispute-openings.ts";
import type { Model as Network } from "../../../offchain/evaluation/model.ts";
import { openUnit } from "../../../offchain/evaluation/trace-openings.ts";
import { traceSteps } from "../../../offchain/evaluation/trace-steps.ts";
import type { Architecture, Space } from "../../../offchain/protocol/architecture.ts";
import { HYPERPARAMETERS } from "../../../offchain/protocol/architecture.ts";
import {
  architectureHash,
  architectureTuple,
  commitTestSet,
  keccak256,
  labelsHash,
  resultHash,
  spaceHash,
  spaceTuple,
  tag,
  treeProof,
  treeRoot,
  type Hex,
  type SpaceTuple,
} from "../../../offchain/protocol/bytes.ts";
import { zeroModel } from "../../evaluation/random-model.ts";
import { cidOf, digest, goTo, type Model, type Signer, type TaskParams, type World } from "../support.ts";
import { ARCHITECTURE, honest } from "./small-network.ts";

export type Unit = Computation["unit"];

/** A unit of a network's first layers, with all its kernel rows, as it is published. @param step of the trace */
export function wholeUnit(network: Network, step: number, index: number): Unit {
  const steps = traceSteps(network.architecture);
  const before = steps.slice(0, step).reduce((sum, { linear }) => sum + (linear?.units ?? 0), 0);
  const { bias, rows } = openUnit(network, steps[step]!, index);
  return {
    bias,
    rows: rows.map((row) => keccak256(row)),
    weights: concat(rows.map((row): Hex => `0x${Buffer.from(row).toString("hex")}`)),
    siblings: treeProof(openModel(network).units, before + index),
  };
}

/** A network whose first unit is malformed, and the root of its units. */
export interface MalformedUnit {
  readonly network: Network;
  readonly units: Hex;
}

function withFirst(change: (layer: Network["layers"][number]) => void): MalformedUnit {
  const network = zeroModel(ARCHITECTURE);
  change(network.layers[0]!);
  return { network, units: treeRoot(openModel(network).units) };
}

/** A weight of 8 bits that needs 9. */
export const withStrayWeight = (): MalformedUnit =>
  withFirst(({ weights }) => {
    weights[0] = 128;
  });

/** A bias that is 2^31 with what rounding adds. */
export const withLargeBias = (): MalformedUnit =>
  withFirst(({ bias }) => {
    bias[0] = 2 ** 31 - 1;
  });

/** What is to be opened; everything that is not given is that of the honest small network. */
export interface Trial {
  readonly architecture?: Architecture;
  /** how many units its root says that there are */
  readonly units?: number;
  readonly unitsRoot?: Hex;
  /** classes of the task's test set */
  readonly classes?: number;
  /** lists of the task that differ from what the architecture uses */
  readonly lists?: Partial<Space>;
  readonly pool?: Architecture["head"]["pool"];
  readonly params?: Partial<TaskParams>;
  /** validators that seal the predictions' result, or the given one */
  readonly sealers?: readonly Signer[];
  readonly sealed?: Hex;
}

export interface OnTrial {
  readonly taskId: bigint;
  readonly model: ModelOpening;
  readonly space: SpaceTuple;
  readonly test: { height: number; width: number; channels: number; classes: number; labels: Hex; samplesRoot: Hex };
}

const MODEL = parseAbiParameters("bytes32, bytes32, uint32, bytes32");

/** The candidate is ada's, and its predictions are the test set's labels. */
export async function openOnTrial(w: World, trial: Trial = {}): Promise<OnTrial> {
  const { openable, pixels, labels } = honest;
  const {
    architecture = ARCHITECTURE,
    units = openable.opening.units,
    unitsRoot = openable.opening.unitsRoot,
    classes = architecture.classes,
    pool = architecture.head.pool,
  } = trial;
  const model = { architecture: architectureTuple(architecture), units, unitsRoot };
  const modelRoot = keccak256(
    encodeAbiParameters(MODEL, [tag("model"), architectureHash(architecture), units, unitsRoot]),
  );
  const used = Object.fromEntries(
    HYPERPARAMETERS.map((name) => [name, architecture.layers.map((layer) => layer[name])]),
  ) as unknown as Space;
  const space = { ...used, ...trial.lists };
  const template = { depth: architecture.layers.length, head: { ...architecture.head, pool } };
  const [height, width, channels] = architecture.input;
  const shape = { height, width, channels, classes };
  const set = commitTestSet(pixels, labels, shape);
  const claimed: Model = {
    opening: {
      modelRoot,
      modelCid: cidOf("a model on trial"),
      validationCorrect: labels.length,
      validationTotal: labels.length,
      salt: digest("salt"),
    },
    correct: labels.length,
    predictions: labels,
    result: resultHash(labels),
  };
  const taskId = await w.toSeal([[w.ada, claimed]], {
    testRoot: set.testRoot,
    testCount: labels.length,
    minCorrect: 1,
    spaceHash: spaceHash(space, template),
    maxLuts: 0,
    minThroughput: 0,
    ...trial.params,
  });
  for (const sealer of trial.sealers ?? []) await w.seal(taskId, sealer, w.ada.address, claimed, trial.sealed);
  await goTo((await w.registry.examinationOf(taskId)).sealDeadline);
  await w.registry.open(taskId, hexlify(labels), hexlify(labels), { ...shape, samplesRoot: set.samplesRoot });
  return {
    taskId,
    model,
    space: spaceTuple(space, template),
    test: { ...shape, labels: labelsHash(labels), samplesRoot: set.samplesRoot },
  };
}

/** Anybody shows that the architecture is malformed. */
export const showArchitecture = (w: World, { taskId, model, space, test }: OnTrial, by: Signer): Promise<unknown> =>
  w.arithmetic.connect(by).showMalformedArchitecture(taskId, w.ada, model as never, space as never, test);

/** Anybody shows that a unit of the first layer is malformed. */
export const showUnit = (w: World, taskId: bigint, model: ModelOpening, unit: Unit, by: Signer): Promise<unknown> =>
  w.arithmetic.connect(by).showMalformedUnit(taskId, w.ada, model as never, 0, 0, unit as never);

/** The honest claimant publishes a unit of its first layer. */
export const publishUnit = (w: World, demandId: bigint, index: number): Promise<unknown> =>
  w.arithmetic
    .connect(w.ada)
    .answerUnit(demandId, honest.openable.opening as never, wholeUnit(honest.network, 0, index) as never);
