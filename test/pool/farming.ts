/**
 * The ways of farming that docs/pool.md names, each as what it gains: with its defence, and with the defence switched
 * off, where it must pay.
 */
import { expect } from "chai";

import { decodeModel, encodeModel, modelRoot, type Model } from "../../offchain/evaluation/model.ts";
import { auditChance, CHANCE_UNIT } from "../../offchain/pool/audit-draw.ts";
import { createScheme, creditedWork, leaseWork, type CountedTrial } from "../../offchain/pool/points-schemes.ts";
import { epochsFault } from "../../offchain/pool/shares.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sampleArchitecture } from "../../offchain/search/spaces.ts";
import type { Samples } from "../../offchain/training/datasets.ts";
import { randomModel } from "../evaluation/random-model.ts";
import { DESCRIPTOR, evaluate, signerOf, TEST, VALIDATION } from "./kit/world.ts";

const CHANCE = Math.ceil(TEST.count / DESCRIPTOR.template.classes);
const MINER = signerOf(1).address;

const trial = (changes: Partial<CountedTrial>): CountedTrial => ({
  taskId: 1n,
  miner: MINER,
  number: 1,
  testCorrect: 0,
  baseline: CHANCE,
  work: 0n,
  chance: CHANCE_UNIT,
  audit: "passed",
  voided: false,
  ...changes,
});
const worth = (name: "performance" | "effort", ...trials: CountedTrial[]): number =>
  Number(
    createScheme({ name })
      .score(trials)
      .reduce((sum, points) => sum + points, 0n),
  );
const right = async (model: Model, on: Samples): Promise<number> =>
  (await evaluate(encodeModel(model), { ...on, maxBytes: DESCRIPTOR.maxModelBytes })).correct;

describe("Farming", () => {
  const random = createRandom("farming");
  let good: Model;
  before(async () => {
    const { template, space } = DESCRIPTOR;
    for (;;) {
      good = randomModel(random, sampleArchitecture(template, space, random));
      if ((await right(good, TEST)) > CHANCE + 2) return;
    }
  });

  /** The same network with one bias one step higher, which right predictions survive. */
  async function withOneBiasChanged(): Promise<Model> {
    for (const at of good.layers.keys()) {
      const copy = decodeModel(encodeModel(good), { maxBytes: DESCRIPTOR.maxModelBytes });
      const layer = copy.layers[at]!;
      layer.bias[0]! += 1;
      if ((await right(copy, TEST)) === (await right(good, TEST))) return copy;
    }
    throw new Error("no such bias");
  }

  it("by one changed bias, or by handing back what one was given, earns nothing, as an exploit share counts above its parent only", async () => {
    const copy = await withOneBiasChanged();
    expect(modelRoot(copy), "another model to the eye").to.not.equal(modelRoot(good));
    const gain = async (defended: boolean): Promise<number> =>
      worth(
        "performance",
        trial({ testCorrect: await right(copy, TEST), baseline: defended ? await right(good, TEST) : CHANCE }),
      );
    expect(await gain(true)).to.equal(0);
    expect(await gain(false)).to.be.greaterThan(0);

    const [before, after] = [await right(good, VALIDATION), await right(copy, VALIDATION)];
    const lease = leaseWork(good.architecture, 30, 60_000);
    const work = (defended: boolean) => creditedWork(lease, after, defended ? Math.max(before, after) : null);
    expect(worth("effort", trial({ work: work(true) }))).to.equal(0);
    expect(worth("effort", trial({ work: work(false) }))).to.equal(Number(lease));
  });

  it("by one epoch where thirty are leased is refused, and paid for one where a loss that is no number ended it", () => {
    const lease = { settings: { ...DESCRIPTOR.settings, epochs: 30 } };
    const share = {
      taskId: 1n,
      lease: 1,
      architecture: good.architecture,
      seed: 1,
      epochs: 1,
      trainLoss: [0.5] as (number | null)[],
      validation: { correct: 20, total: 30 },
      seconds: 1,
      flops: 1,
      modelRoot: modelRoot(good),
    };
    expect(epochsFault(share, lease)).to.equal("The share has 1 epochs of the 30 that its lease is for.");
    const excuse = { ...share, trainLoss: [0.5, null] };
    expect(epochsFault(excuse, lease)).to.equal(null);
    const full = leaseWork(good.architecture, 30, 60_000);
    const paid = (defended: boolean) =>
      worth("effort", trial({ work: leaseWork(good.architecture, defended ? excuse.epochs : 30, 60_000) }));
    expect(paid(true) * 30).to.be.closeTo(Number(full), 30);
    expect(paid(false)).to.equal(Number(full));
  });

  it("by choosing what does best on the validation split earns little, as points are counted on the released test set", async () => {
    const { template, space } = DESCRIPTOR;
    const chance = Math.ceil(VALIDATION.count / template.classes);
    let [gainThere, gainHere] = [0, 0];
    for (let round = 0; round < 3; round++) {
      let best: { model: Model; correct: number } | undefined;
      for (let i = 0; i < 60; i++) {
        const model = randomModel(random, sampleArchitecture(template, space, random));
        const correct = await right(model, VALIDATION);
        if (best === undefined || correct > best.correct) best = { model, correct };
      }
      const onTest = await right(best!.model, TEST);
      gainThere += worth("performance", trial({ testCorrect: best!.correct, baseline: chance })) / VALIDATION.count;
      gainHere += worth("performance", trial({ testCorrect: onTest, baseline: CHANCE })) / TEST.count;
    }
    expect(gainHere).to.be.lessThan(gainThere);
  });

  it("by ten identities with a maximum each earns nothing more, as scores add up over leases", () => {
    const draw = createRandom("maxima");
    const found = Array.from({ length: 100 }, () => CHANCE + draw.integer(TEST.count - CHANCE));
    /** What one share of all ten identities' points is to one miner's, by the sum or by the best of each. */
    const gain = (defended: boolean): number => {
      const of = (counts: number[]): number => {
        const points = counts.map((testCorrect) => worth("performance", trial({ testCorrect })));
        return defended ? points.reduce((a, b) => a + b, 0) : Math.max(...points);
      };
      const ten = Array.from({ length: 10 }, (_, part) => of(found.slice(10 * part, 10 * part + 10)));
      return ten.reduce((a, b) => a + b, 0) / of(found);
    };
    expect(gain(true)).to.equal(1);
    expect(gain(false)).to.be.greaterThan(5);
  });

  it("by inventing one more share now and then earns nothing more, as what is drawn costs what others are hoped to gain", () => {
    const work = 100n;
    /** Expected gain of one invented share beside eight true ones, in shares. */
    const gain = (defended: boolean): number => {
      const credit = 8n * work;
      const chance = defended ? auditChance({ rate: 100_000, work, atRisk: credit }) : 100_000;
      const q = chance / CHANCE_UNIT;
      return ((1 - q) * Number(credit + work) - Number(credit)) / Number(work);
    };
    expect(gain(true)).to.be.at.most(1e-4);
    expect(gain(false)).to.be.greaterThan(0.09);
  });
});
