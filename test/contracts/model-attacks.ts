/**
 * Attacks by models: malformed ones, those that nobody can fetch, and the stake of validators that sealed them. Each is
 * played with all defences and without one.
 */
import { concat } from "viem";

import { DEMAND_STAGES } from "../../offchain/protocol/abi.ts";
import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { keccak256, treeProof, treeRoot, unitHash, ZERO_HASH, type Hex } from "../../offchain/protocol/bytes.ts";
import { challenge, disputable, movesOf } from "./dispute-game.ts";
import { attack, ending } from "./kit/attack.ts";
import { ARCHITECTURE, FALSE_LOGITS, honest, lying, SAMPLE, send, TRUE } from "./kit/small-network.ts";
import {
  openOnTrial,
  publishUnit,
  showArchitecture,
  showUnit,
  wholeUnit,
  withLargeBias,
  withStrayWeight,
  type Trial,
  type Unit,
} from "./kit/trials.ts";
import { at, DEMAND_PRICE, goTo, now, STAKES, type Signer, type World } from "./support.ts";

/** What becomes of the claimant when all windows are over and anybody tries to confirm. */
async function fate(w: World, taskId: bigint): Promise<string> {
  const { windowEnd } = await w.registry.examinationOf(taskId);
  if (windowEnd > 0n && (await now()) < Number(windowEnd)) await goTo(windowEnd);
  if ((await w.phase(taskId)) === "Confirmable") await w.registry.confirm(taskId);
  return w.stateOf(taskId, w.ada);
}

const demandStage = async (w: World, id: bigint): Promise<string> =>
  DEMAND_STAGES[Number((await w.arithmetic.demandOf(id)).stage)]!;

const layersWith = (change: Partial<Architecture["layers"][number]>): Architecture => ({
  ...ARCHITECTURE,
  layers: ARCHITECTURE.layers.map((layer) => ({ ...layer, ...change })),
});

describe("A malformed model", () => {
  const architectures = [
    [
      "with more bits than an activation has",
      "ranges",
      { architecture: layersWith({ actIntBits: 8, actFracBits: 8 }) },
    ],
    ["that tells other classes than the test set has", "input", { classes: ARCHITECTURE.classes + 1 }],
    ["with another head than the task's", "template", { pool: "flatten" }],
    ["with a number of filters that is not in the task's list", "space", { lists: { filters: [8] } }],
    ["whose root binds a unit that no layer has", "unit count", { units: honest.openable.opening.units + 1 }],
    [
      "with a unit that reads more values than can be recomputed in a transaction",
      "fan-in",
      {
        architecture: {
          ...ARCHITECTURE,
          layers: [
            { ...ARCHITECTURE.layers[0]!, filters: 255 },
            { ...ARCHITECTURE.layers[1]!, kernelHeight: 9, kernelWidth: 9 },
          ],
        },
        units: 255 + 4 + 3,
      },
    ],
    [
      "with a hardware witness that does not hold",
      "hardware",
      {
        architecture: {
          ...ARCHITECTURE,
          tiling: {
            tiles: [
              [1, 1],
              [1, 1],
            ],
            groups: [1, 1],
          },
        },
        params: { maxLuts: 1 },
      },
    ],
  ] as const satisfies readonly (readonly [string, string, Trial])[];

  for (const [name, without, trial] of architectures) {
    attack(name, { without, withstood: "done, Eliminated", succeeds: "NotMalformed, Winner" }, async (w) => {
      const shown = await openOnTrial(w, trial);
      const how = await ending(w, showArchitecture(w, shown, w.stranger));
      return `${how}, ${await fate(w, shown.taskId)}`;
    });
  }

  const malformedUnits = [
    ["with a weight out of the range of its bits", "weights' range", withStrayWeight()],
    ["with an accumulator that can reach 2^31", "bound", withLargeBias()],
  ] as const;
  for (const [name, without, { network, units }] of malformedUnits) {
    attack(name, { without, withstood: "done, Eliminated", succeeds: "NotMalformed, Winner" }, async (w) => {
      const { taskId, model } = await openOnTrial(w, { unitsRoot: units });
      const how = await ending(w, showUnit(w, taskId, model, wholeUnit(network, 0, 0), w.stranger));
      return `${how}, ${await fate(w, taskId)}`;
    });
  }

  attack(
    "with a kernel row more than its layer has",
    { without: "kernel rows", withstood: "done, Eliminated", succeeds: "NotMalformed, Winner" },
    async (w) => {
      const row: Hex = "0x000000000000";
      const rows = [row, row, row, row].map((bytes) => keccak256(bytes));
      const leaves = honest.openable.units.with(0, unitHash(0, 0, 0, rows));
      const { taskId, model } = await openOnTrial(w, { unitsRoot: treeRoot(leaves) });
      const unit: Unit = { bias: 0, rows, weights: concat([row, row, row, row]), siblings: treeProof(leaves, 0) };
      const how = await ending(w, showUnit(w, taskId, model, unit, w.stranger));
      return `${how}, ${await fate(w, taskId)}`;
    },
  );

  attack(
    "that is none, but is shown to be one",
    { without: "well-formed models", withstood: "NotMalformed, Winner", succeeds: "done, Eliminated" },
    async (w) => {
      const shown = await openOnTrial(w);
      const how = await ending(w, showArchitecture(w, shown, w.stranger));
      return `${how}, ${await fate(w, shown.taskId)}`;
    },
  );
});

describe("A claimant that withholds", () => {
  const OPENING = 2n ** 32n - 1n;
  const demand = (w: World, taskId: bigint, layer: bigint | number, index: number, by: Signer = w.stranger) =>
    w.arithmetic.connect(by).demand(taskId, layer, index);
  const deadlineOf = async (w: World, id: bigint): Promise<bigint> => (await w.arithmetic.demandOf(id)).deadline;

  attack(
    "its model",
    { without: "failed demands", withstood: "Failed, Eliminated", succeeds: "Failed, Winner" },
    async (w) => {
      const taskId = await disputable(w, lying);
      await demand(w, taskId, OPENING, 0);
      await at(await deadlineOf(w, 1n));
      await w.arithmetic.connect(w.max).expireDemand(1);
      return `${await demandStage(w, 1n)}, ${await fate(w, taskId)}`;
    },
  );

  attack(
    "a unit until its deadline's second",
    { without: "demands' clock", withstood: "DemandOver, Failed", succeeds: "done, Answered" },
    async (w) => {
      const taskId = await disputable(w, honest);
      await demand(w, taskId, 0, 1);
      await at(await deadlineOf(w, 1n));
      const how = await ending(w, publishUnit(w, 1n, 1));
      await ending(w, w.arithmetic.connect(w.max).expireDemand(1));
      return `${how}, ${await demandStage(w, 1n)}`;
    },
  );

  attack(
    "a unit and publishes another one",
    { without: "published unit", withstood: "HashMismatch, Failed", succeeds: "done, Answered" },
    async (w) => {
      const taskId = await disputable(w, honest);
      await demand(w, taskId, 0, 1);
      const how = await ending(w, publishUnit(w, 1n, 0));
      const deadline = await deadlineOf(w, 1n);
      if (deadline > 0n) await goTo(deadline);
      await ending(w, w.arithmetic.connect(w.max).expireDemand(1));
      return `${how}, ${await demandStage(w, 1n)}`;
    },
  );

  attack(
    "its model, and whose friends hold every place among the running demands until the window is over",
    { without: "queued demands", withstood: "Candidate, Eliminated", succeeds: "Winner, Winner" },
    async (w) => {
      const taskId = await disputable(w, lying);
      await goTo((await w.schedule(taskId)).windowEnd - 20n);
      // Units that there are not: the architecture alone answers.
      for (let friend = 0; friend < 8; friend++) await demand(w, taskId, 7, friend, w.ben);
      await demand(w, taskId, OPENING, 0);
      const confirmed = await fate(w, taskId);
      for (let friend = 1n; friend <= 8n; friend++) await ending(w, publishUnit(w, friend, 0));
      await ending(w, w.arithmetic.expireDemand(9));
      const deadline = await deadlineOf(w, 9n);
      if (deadline > 0n) await at(deadline);
      await ending(w, w.arithmetic.expireDemand(9));
      return `${confirmed}, ${await w.stateOf(taskId, w.ada)}`;
    },
  );

  attack(
    "its model until the window is over, and publishes it then",
    { without: "time after publication", withstood: "done, Eliminated", succeeds: "NotChallengeable, Winner" },
    async (w) => {
      const taskId = await disputable(w, lying);
      await goTo((await w.schedule(taskId)).windowEnd - 20n);
      await demand(w, taskId, 0, 1);
      await at((await deadlineOf(w, 1n)) - 1n);
      await publishUnit(w, 1n, 1);
      const confirmed = await fate(w, taskId);
      const how = await ending(w, challenge(w, taskId, w.stranger, SAMPLE, lying.labels));
      if (how !== "done") return `${how}, ${confirmed}`;
      for (const move of movesOf(1n, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })) await send(w, move);
      return `${how}, ${await w.stateOf(taskId, w.ada)}`;
    },
  );

  attack(
    "nothing, and is flooded with demands",
    { without: "demand price", withstood: `pays ${11n * DEMAND_PRICE}`, succeeds: "pays 0" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const before = await w.token.balanceOf(w.stranger);
      for (let index = 0; index < 11; index++) await demand(w, taskId, 0, index);
      return `pays ${before - (await w.token.balanceOf(w.stranger))}`;
    },
  );

  attack(
    "nothing, and is asked for more at once than it can publish in one period",
    { without: "running demands", withstood: "8 clocks", succeeds: "11 clocks" },
    async (w) => {
      const taskId = await disputable(w, honest);
      for (let index = 0; index < 11; index++) await demand(w, taskId, 0, index);
      let running = 0;
      for (let id = 1n; id <= 11n; id++) if ((await demandStage(w, id)) === "Open") running++;
      return `${running} clocks`;
    },
  );
});

describe("A validator's stake", () => {
  const slash = (w: World, taskId: bigint): Promise<string> =>
    ending(w, w.arithmetic.connect(w.max).slashValidator(taskId, w.ada, w.victor));
  /** A model that nobody doubts is malformed. */
  const MALFORMED: Trial = { units: honest.openable.opening.units + 1 };

  attack(
    "is lost for a seal on a malformed model",
    { without: "slashing", withstood: "done, 0 left", succeeds: `NotSlashable, ${STAKES[0]} left` },
    async (w) => {
      const shown = await openOnTrial(w, { ...MALFORMED, sealers: [w.victor] });
      await showArchitecture(w, shown, w.stranger);
      return `${await slash(w, shown.taskId)}, ${await w.stake.stakeOf(w.victor)} left`;
    },
  );

  attack(
    "is not lost for a true seal on a model whose claimant loses a dispute on purpose",
    { without: "shown malformations", withstood: "NotSlashable", succeeds: "done" },
    async (w) => {
      const { taskId } = await openOnTrial(w, { sealers: [w.victor] });
      const id = await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
      await at((await w.arithmetic.challengeOf(id)).deadline);
      await w.arithmetic.timeOut(id);
      return slash(w, taskId);
    },
  );

  attack(
    "is not lost for the seal that says that the model is malformed",
    { without: "true seals", withstood: "NotSlashable", succeeds: "done" },
    async (w) => {
      const shown = await openOnTrial(w, { ...MALFORMED, sealers: [w.victor], sealed: ZERO_HASH });
      await showArchitecture(w, shown, w.stranger);
      return slash(w, shown.taskId);
    },
  );

  attack(
    "does not escape by unbonding",
    { without: "unbonding stake", withstood: "done, 0 unbonding", succeeds: `NotSlashable, ${STAKES[0]} unbonding` },
    async (w) => {
      const shown = await openOnTrial(w, { ...MALFORMED, sealers: [w.victor] });
      await w.stake.connect(w.victor).beginUnbonding(STAKES[0]);
      await showArchitecture(w, shown, w.stranger);
      const how = await slash(w, shown.taskId);
      return `${how}, ${(await w.stake.unbondingOf(w.victor)).amount} unbonding`;
    },
  );

  attack(
    "is lost by half where a friend shows the malformed model",
    { without: "burned stake", withstood: `loses ${STAKES[0] / 2n}`, succeeds: "loses 0" },
    async (w) => {
      const shown = await openOnTrial(w, { ...MALFORMED, sealers: [w.victor] });
      await showArchitecture(w, shown, w.ben);
      await slash(w, shown.taskId);
      return `loses ${STAKES[0] - (await w.stake.creditOf(w.ben))}`;
    },
  );
});
