/**
 * The ways of farming that docs/pool.md names, each as what it gains: with its defence, and with the defence switched
 * off, where it must pay.
 */
import { expect } from "chai";
import { eq } from "drizzle-orm";
import { keccak256, stringToBytes } from "viem";

import { decodeModel, encodeModel, modelRoot, type Model } from "../../offchain/evaluation/model.ts";
import { auditChance, CHANCE_UNIT } from "../../offchain/pool/audit-draw.ts";
import type { Job } from "../../offchain/pool/messages.ts";
import {
  createScheme,
  creditedWork,
  leaseWork,
  pointsByMiner,
  type CountedTrial,
  type SchemeTerms,
} from "../../offchain/pool/points-schemes.ts";
import { leases, sessions, shares } from "../../offchain/pool/schema.ts";
import { epochsFault } from "../../offchain/pool/shares.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sampleArchitecture } from "../../offchain/search/spaces.ts";
import type { Samples } from "../../offchain/training/datasets.ts";
import { randomModel } from "../evaluation/random-model.ts";
import { FAST, refusalOf, ScriptedMiner, SLOW } from "./kit/scripted-miner.ts";
import {
  cleanUp,
  createTestPool,
  DESCRIPTOR,
  evaluate,
  signerOf,
  taskOf,
  TEST,
  trialOf,
  VALIDATION,
  type TestPool,
  type Trial,
} from "./kit/world.ts";

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

const BLEND: SchemeTerms = { name: "blend", performance: 1, effort: 1 };
const SCHEMES: SchemeTerms[] = [{ name: "performance" }, { name: "effort" }, BLEND, { name: "pplns", trials: 1000 }];

describe("Farming at a pool's manager", () => {
  let pool: TestPool;
  let opened: TestPool[] = [];
  const start = async (options: Parameters<typeof createTestPool>[0] = {}): Promise<void> => {
    pool = await createTestPool(options);
    opened.push(pool);
    await pool.manager.openTask(taskOf(1n));
  };
  const miner = (key: number): ScriptedMiner => new ScriptedMiner(pool.manager, key);
  const points = async (): Promise<Map<string, bigint>> => {
    await pool.manager.closeTask("over");
    const { signal } = new AbortController();
    const leaves = await pool.manager.points(1n, { test: TEST, signal, validation: VALIDATION });
    return new Map(leaves.map((leaf) => [leaf.account, leaf.points]));
  };
  const accuracyOf = async (bytes: Uint8Array, on: Samples): Promise<number> =>
    (await evaluate(bytes, { ...on, maxBytes: bytes.length })).correct;
  /** A finished trial of a job whose model is another one. */
  async function handOver(job: Job, model: Uint8Array): Promise<Trial> {
    const { share } = await trialOf(job);
    return {
      model,
      share: {
        ...share,
        trainLoss: Array<number>(share.epochs).fill(1),
        modelRoot: modelRoot(decodeModel(model, { maxBytes: model.length })),
        validation: { correct: await accuracyOf(model, VALIDATION), total: VALIDATION.count },
      },
    };
  }
  /** Another model with the same predictions on the validation split: a bias one step higher. */
  async function withOneBiasChanged(bytes: Uint8Array): Promise<Uint8Array> {
    const correct = await accuracyOf(bytes, VALIDATION);
    const { layers } = decodeModel(bytes, { maxBytes: bytes.length });
    for (const [at, { bias }] of layers.entries()) {
      for (const unit of bias.keys()) {
        const copy = decodeModel(bytes, { maxBytes: bytes.length });
        copy.layers[at]!.bias[unit]! += 1;
        const changed = encodeModel(copy);
        if ((await accuracyOf(changed, VALIDATION)) === correct) return changed;
      }
    }
    throw new Error("no such bias");
  }
  afterEach(async () => {
    for (const { manager } of opened) await manager.stop();
    opened = [];
  });
  after(cleanUp);

  for (const scheme of SCHEMES.slice(0, 2)) {
    it(`by handing back an exploit job's model, as it is or with one bias changed, earns nothing by ${scheme.name}`, async () => {
      await start({ scheme, rules: { neighbourShare: 0, reseedShare: 0, longerShare: 0 } });
      const ada = await miner(1).join();
      let best = await trialOf(await ada.job(0));
      for (let salt = 0; salt < 30; salt++) {
        const other = await trialOf(ada.jobs[0]!, `${salt}`);
        if (other.share.validation.correct > best.share.validation.correct) best = other;
      }
      await ada.submit(best);
      const lazy = await miner(2).join(SLOW);
      const job = await lazy.job(0);
      expect(job.initial!.modelRoot).to.equal(best.share.modelRoot);
      const same = await refusalOf(lazy.submit(await handOver(job, best.model)));
      expect(same.message).to.equal(`The model ${best.share.modelRoot} is already among the pool's shares.`);
      await lazy.submit(await handOver(await lazy.job(1), await withOneBiasChanged(best.model)));
      const paid = await points();
      expect(paid.get(ada.signer.address)! > 0n).to.equal(true);
      expect(paid.get(lazy.signer.address)).to.equal(undefined);

      // Were it an explore share like any other, it would be paid.
      const { queries } = pool.database;
      await queries
        .update(leases)
        .set({ kind: "explore", parentShare: null })
        .where(eq(leases.miner, lazy.signer.address));
      await queries
        .update(shares)
        .set({ work: leaseWork(job.architecture, job.settings.epochs, DESCRIPTOR.trainCount), testTotal: null })
        .where(eq(shares.miner, lazy.signer.address));
      expect((await points()).get(lazy.signer.address)! > 0n).to.equal(true);
    });
  }

  it("by handing back the checkpoint that one's trial goes on from earns nothing, and pays where nothing was asked of it", async () => {
    for (const defended of [true, false]) {
      await start({ scheme: { name: "effort" }, rules: { heartbeatMs: 1000, checkpointMs: 1 } });
      const ada = await miner(1).join();
      const job = await ada.job(0);
      const { model } = await trialOf(job, "half way");
      const root = modelRoot(decodeModel(model, { maxBytes: model.length }));
      ada.models.set(root, model);
      await ada.peer.request(
        "mining.checkpoint",
        { lease: job.lease, epochs: 2, modelRoot: root },
        { timeoutMs: 30_000 },
      );
      ada.hangUp();
      pool.advance(2000);
      const lazy = await miner(2).join();
      const rest = await lazy.job(0);
      expect(rest).to.deep.include({ epochsBefore: 2, initial: { modelRoot: root, validation: null } });
      if (!defended) await pool.database.queries.update(leases).set({ resumes: null });
      const copy = await handOver(rest, await withOneBiasChanged(model));
      const { correct } = copy.share.validation;
      const why = `The share has ${correct} of 30 right, and the checkpoint that its trial goes on from has ${correct}: nothing was gained.`;
      if (defended) {
        expect((await refusalOf(lazy.submit(copy))).message).to.equal(why);
        // The same share gets the same answer, and no other takes its place.
        expect((await refusalOf(lazy.submit(copy))).message).to.equal(why);
        expect(lazy.closed).to.equal(null);
      } else await lazy.submit(copy);
      expect((await points()).size).to.equal(defended ? 0 : 1);
    }
  });

  it("by inventing the FLOPs and the time that a trial took changes nothing, as they are the lease's", async () => {
    const paid: bigint[] = [];
    for (const invented of [false, true]) {
      await start({ scheme: { name: "effort" } });
      const ada = await miner(1).join();
      const trial = await trialOf(await ada.job(0));
      await ada.submit(trial, invented ? { flops: 1e18, seconds: 1e6 } : {});
      paid.push((await points()).get(ada.signer.address)!);
      expect(paid[0]).to.equal(leaseWork(trial.share.architecture, 3, DESCRIPTOR.trainCount));
    }
    expect(paid[1]).to.equal(paid[0]);
  });

  it("by a recipe's early stop earns the epochs that were run, and is refused before its patience can be over", async () => {
    const settings = { ...DESCRIPTOR.settings, epochs: 10, earlyStop: { patience: 3 } };
    pool = await createTestPool({ scheme: { name: "effort" } });
    opened.push(pool);
    await pool.manager.openTask(taskOf(1n, { descriptor: { ...DESCRIPTOR, settings } }));
    const ada = await miner(1).join();
    const early = async (index: number, epochs: number): Promise<Trial> => {
      const { share, model } = await trialOf(await ada.job(index));
      return { model, share: { ...share, epochs, trainLoss: Array<number>(epochs).fill(1) } };
    };
    const refusal = await refusalOf(ada.submit(await early(0, 3)));
    expect(refusal.message).to.equal("The share has 3 epochs of the 10 that its lease is for.");
    const [four, ten] = [await early(0, 4), await early(0, 10)];
    await ada.submit(four);
    const [session] = await pool.database.queries.select().from(sessions);
    expect(session!.measured, "its speed is known by trials that stop early, too").to.equal(1);
    const whole = await early(2, 10);
    await ada.submit(whole);
    const { trainCount } = DESCRIPTOR;
    expect((await points()).get(ada.signer.address)).to.equal(
      leaseWork(four.share.architecture, 4, trainCount) + leaseWork(whole.share.architecture, 10, trainCount),
    );
    expect(leaseWork(ten.share.architecture, 4, trainCount) * 10n).to.be.closeTo(
      leaseWork(ten.share.architecture, 10, trainCount) * 4n,
      40n,
    );
  });

  /** The task's points by each scheme, as a manager of a pool that has it counts them. */
  async function pointsByScheme(): Promise<{ text: string; paid: Map<string, bigint> }[]> {
    const first = await points();
    await pool.manager.stop();
    const counted = [{ text: createScheme(BLEND).text, paid: first }];
    for (const scheme of SCHEMES.filter(({ name }) => name !== BLEND.name)) {
      pool = await createTestPool({ database: pool.database, scheme });
      opened.push(pool);
      counted.push({ text: createScheme(scheme).text, paid: await points() });
    }
    return counted;
  }

  it("as ten identities instead of one miner with ten workers changes the pay by less than 1 %, by every scheme", async () => {
    const pay: Map<string, number>[] = [];
    for (const keys of [Array<number>(10).fill(1), Array.from({ length: 10 }, (_, at) => at + 1)]) {
      await start({ scheme: BLEND, rules: { auditRate: 0.3, collectPerSecond: 1000, paceMs: 0 } });
      // Those who are split, two workers of somebody else's, and a weak miner for exploit trials.
      const workers: ScriptedMiner[] = [];
      for (const [at, key] of [...keys, 20, 20, 21].entries()) {
        workers.push(await miner(key).join(at === 12 ? SLOW : FAST));
      }
      for (let round = 0; round < 2; round++) {
        for (const worker of workers) {
          await worker.finish(await worker.job(round));
          // What a search proposes next hangs on what it has heard by then.
          await worker.job(round + 1);
        }
      }
      const own = [...new Set(keys)].map((key) => signerOf(key).address);
      pay.push(new Map((await pointsByScheme()).map(({ text, paid }) => [text, sumOf(paid, own) / sumOf(paid)])));
    }
    expect(pay[0]!.size).to.equal(4);
    for (const [text, one] of pay[0]!) {
      expect(one, `${text}: others earn too`).to.be.within(0.5, 0.99);
      expect(Math.abs(pay[1]!.get(text)! / one - 1), text).to.be.below(0.01);
    }
  });

  it("by inventing half of one's rewards earns less than an honest miner of the same speed, by every scheme", async () => {
    const sums = new Map<string, { honest: number; liar: number; believed: number }>();
    for (let seed = 0; seed < 3; seed++) {
      const random = createRandom(`liar ${seed}`);
      const auditSecret = () => keccak256(stringToBytes(`draws ${seed}`));
      await start({ scheme: BLEND, seed, auditSecret, rules: { paceMs: 0, collectPerSecond: 1000, handOverMs: 200 } });
      // A best that nobody else claims, so that lies are told of what is not checked at once.
      const top = await miner(3).join();
      let bar = await trialOf(await top.job(0));
      for (let salt = 0; salt < 40; salt++) {
        const other = await trialOf(top.jobs[0]!, `${salt}`);
        if (other.share.validation.correct > bar.share.validation.correct) bar = other;
      }
      await top.submit(bar);
      top.hangUp();
      const [ada, eve] = [await miner(1).join(), await miner(2).join()];
      for (let round = 0; round < 6; round++) {
        await ada.finish(await ada.job(round));
        if (eve.closed !== null) continue;
        const trial = await trialOf(await eve.job(round));
        const invents = round > 0 && random.next() < 0.5;
        const lie = { validation: bar.share.validation, modelRoot: keccak256(stringToBytes(`${seed} ${round}`)) };
        await (invents ? eve.submitShare({ ...trial.share, ...lie }) : eve.submit(trial)).catch((error: unknown) => {
          if (eve.closed === null) throw error;
        });
      }
      const counted = await pointsByScheme();
      // What it would be paid were its word taken for its models as for its work.
      const rows = await pool.database.queries.select().from(shares).orderBy(shares.id);
      const trusting = rows.map((row): CountedTrial => {
        const its = { ...row, number: row.id, baseline: row.baseline! };
        if (row.miner !== eve.signer.address) return its;
        const testCorrect = Math.round((row.correct * TEST.count) / row.total);
        return { ...its, testCorrect, audit: "none", voided: false };
      });
      for (const { text, paid } of counted) {
        const worthOf = createScheme(SCHEMES.find((one) => createScheme(one).text === text)!).score(trusting);
        const believing = new Map(
          pointsByMiner(trusting, worthOf).map((leaf) => [leaf.account as string, leaf.points]),
        );
        const { honest = 0, liar = 0, believed = 0 } = sums.get(text) ?? {};
        sums.set(text, {
          honest: honest + sumOf(paid, [ada.signer.address]) / sumOf(paid),
          liar: liar + sumOf(paid, [eve.signer.address]) / sumOf(paid),
          believed: believed + sumOf(believing, [eve.signer.address]) / sumOf(believing),
        });
      }
    }
    expect(sums.size).to.equal(4);
    for (const [text, { honest, liar, believed }] of sums) {
      expect(liar, text).to.be.lessThan(0.75 * honest);
      // The lie is worth telling where nobody looks.
      expect(believed, text).to.be.greaterThan(1.2 * liar);
    }
  });
});

const sumOf = (paid: Map<string, bigint>, accounts: readonly string[] = [...paid.keys()]): number =>
  Number(accounts.reduce((sum, account) => sum + (paid.get(account) ?? 0n), 0n));
