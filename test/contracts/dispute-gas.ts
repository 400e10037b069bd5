/**
 * What a dispute costs, move by move, compared with snapshots/dispute-gas.json to the unit; UPDATE_SNAPSHOTS=1 writes it anew.
 * Gas is that of the whole transaction, calldata included.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

import { expect } from "chai";

import type { Architecture, Layer } from "../../offchain/protocol/architecture.ts";
import type { TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { traceSteps } from "../../offchain/evaluation/trace-steps.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { PLAIN_LAYER } from "../evaluation/random-model.ts";
import { argmax, challenge, changed, disputable, openPrediction, play, someSetting, truth } from "./dispute-game.ts";
import { goTo, restart, worldOfArithmetic, type World } from "./support.ts";

const FILE = new URL("../../snapshots/dispute-gas.json", import.meta.url);
const UPDATE = process.env.UPDATE_SNAPSHOTS === "1";
type Costs = Record<string, number>;
const recorded = (existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : {}) as Record<string, Costs>;
const measured: Record<string, Costs> = {};

const LARGEST_STEP = 3_000_000;
const WHOLE_DISPUTE = 4_000_000;
const SMALL_DISPUTE = 1_000_000;
const MOST_ANSWERS = 4;

const layer = (kernel: number, filters: number, more: Partial<Layer> = {}): Layer => ({
  ...PLAIN_LAYER,
  kernelHeight: kernel,
  kernelWidth: kernel,
  filters,
  weightIntBits: 1,
  weightFracBits: 7,
  ...more,
});

/** As deep as the paper's networks, with its largest layer where tensors are as wide as they can be. */
const LARGEST: Architecture = {
  input: [32, 32, 3],
  classes: 10,
  layers: [layer(1, 128), layer(9, 128, { poolSize: 2 }), ...[1, 1, 1].map(() => layer(1, 128, { poolSize: 2 }))],
  head: { pool: "global-sum", hidden: 0 },
};

const SMALL: Architecture = {
  input: [28, 28, 1],
  classes: 10,
  layers: [layer(3, 16, { poolSize: 2 }), layer(3, 16, { poolSize: 2 })],
  head: { pool: "global-sum", hidden: 0 },
};

/** A dispute over the second convolution: one value, in the middle of its tensor, is not what the claimant says. */
function disputeOver(architecture: Architecture) {
  const setting = someSetting(createRandom("dispute gas"), architecture, 1);
  const step = traceSteps(architecture).findIndex(({ linear }) => linear?.number === 1);
  const { height, width, channels } = traceSteps(architecture)[step]!.output;
  const place: TracedPlace = { step, row: height >> 1, column: width >> 1, channel: channels - 1 };
  const own = truth(setting, 0);
  const claimant = changed(own, place, 1);
  expect(argmax(claimant.logits)).to.equal(setting.labels[0]);

  return async (w: World, parts: number): Promise<Costs> => {
    const taskId = await disputable(w, setting);
    const costs: Costs = {};
    const id = await challenge(w, taskId, w.stranger, 0, setting.labels);
    const [raised] = await w.arithmetic.queryFilter(w.arithmetic.filters.Challenged(id));
    costs.challenge = Number((await raised!.getTransactionReceipt()).gasUsed);
    let answers = 0;
    let part = 0;
    await play(w, id, setting, 0, { own, claimant, challenger: w.stranger, parts }, ({ by, name }, { gasUsed }) => {
      if (by === "claimant") answers++;
      costs[name === "prove" && parts > 1 ? `prove, part ${++part}` : name] = Number(gasUsed);
    });
    expect(await w.stateOf(taskId, w.ada)).to.equal("Eliminated");
    expect(answers).to.be.at.most(MOST_ANSWERS);
    costs["whole dispute"] = Object.values(costs).reduce((sum, cost) => sum + cost, 0);
    return costs;
  };
}

describe("The gas of a dispute", function () {
  this.timeout(300_000);
  let largest: ReturnType<typeof disputeOver>;
  let small: ReturnType<typeof disputeOver>;
  let w: World;

  before(() => {
    largest = disputeOver(LARGEST);
    small = disputeOver(SMALL);
  });

  // An empty chain, so that addresses, and with them the price of calldata, are the same whatever ran before. On it one
  // dispute already: some slots are filled once in a deployment's life.
  beforeEach(async () => {
    await restart();
    w = await worldOfArithmetic();
    await small(w, 1);
  });

  it("over a 9×9 kernel with 128 channels in and out stays below 3 M a step and 4 M in all", async () => {
    const costs = await largest(w, 1);
    measured["9×9 kernel, 128 channels in and out"] = costs;
    for (const [move, cost] of Object.entries(costs)) {
      expect(cost, move).to.be.below(move === "whole dispute" ? WHOLE_DISPUTE : LARGEST_STEP);
    }
  });

  it("over a 9×9 kernel in three parts needs no step of half of that", async () => {
    const costs = await largest(w, 3);
    measured["9×9 kernel, 128 channels in and out, in three parts"] = costs;
    for (const [move, cost] of Object.entries(costs)) {
      expect(cost, move).to.be.below(move === "whole dispute" ? WHOLE_DISPUTE : LARGEST_STEP / 2);
    }
  });

  it("over a 3×3 kernel with 16 channels stays below 1 M in all", async () => {
    const costs = await small(w, 1);
    measured["3×3 kernel, 16 channels in and out"] = costs;
    expect(costs["whole dispute"]).to.be.below(SMALL_DISPUTE);
  });

  it("over a validator's seal costs some 80,000 more to begin, for reading the seal and holding the stake", async () => {
    const setting = someSetting(createRandom("dispute gas"), SMALL, 1);
    const taskId = await disputable(w, setting, setting.labels, { sealers: [w.victor] });
    const refuted = await challenge(w, taskId, w.ben, 0, setting.labels);
    await goTo((await w.arithmetic.challengeOf(refuted)).deadline);
    await w.arithmetic.timeOut(refuted);
    const prediction = openPrediction(0, setting.labels);
    const raised = await w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.ada, w.victor, ...prediction);
    const id = await w.arithmetic.challengeCount();
    await goTo((await w.arithmetic.challengeOf(id)).deadline);
    const slashed = await w.arithmetic.timeOut(id);
    const costs = { challengeSeal: 0, "timeOut, the validator's stake lost": 0 };
    for (const [name, transaction] of [
      ["challengeSeal", raised],
      ["timeOut, the validator's stake lost", slashed],
    ] as const) {
      costs[name] = Number((await transaction.wait())!.gasUsed);
    }
    measured["a validator's seal"] = costs;
    expect(costs.challengeSeal).to.be.below(350_000);
  });

  it("is what the snapshots say", () => {
    if (UPDATE) writeFileSync(FILE, `${JSON.stringify(measured, null, 2)}\n`);
    else expect(measured).to.deep.equal(recorded);
  });
});
