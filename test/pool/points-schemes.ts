import { expect } from "chai";
import { keccak256, stringToBytes } from "viem";

import { CHANCE_UNIT } from "../../offchain/pool/audit-draw.ts";
import {
  createScheme,
  creditedWork,
  leaseWork,
  pointsByMiner,
  schemeIdOf,
  schemeSchema,
  type CountedTrial,
  type SchemeTerms,
} from "../../offchain/pool/points-schemes.ts";
import { buildPointsTree, splitReward } from "../../offchain/pool/points-tree.ts";
import { trainingFlops } from "../../offchain/training/train.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { sampleArchitecture } from "../../offchain/search/spaces.ts";
import { DESCRIPTOR, signerOf } from "./kit/world.ts";

const SCHEMES: SchemeTerms[] = [
  { name: "performance" },
  { name: "effort" },
  { name: "blend", performance: 3, effort: 1 },
  { name: "pplns", trials: 150 },
];
const ACCOUNTS: Address[] = Array.from({ length: 30 }, (_, i) => signerOf(500 + i).address);

/** A task's accepted trials: each miner's number of them follows its speed, as leases do. */
function trialsOf(random: Random, { speeds, count }: { speeds: number[]; count: number }): CountedTrial[] {
  const total = speeds.reduce((sum, speed) => sum + speed, 0);
  return Array.from({ length: count }, (_, index) => {
    let at = random.next() * total;
    const miner = speeds.findIndex((speed) => (at -= speed) < 0);
    return {
      taskId: index < count / 3 ? 1n : 2n,
      miner: ACCOUNTS[miner === -1 ? 0 : miner]!,
      number: index + 1,
      testCorrect: 100 + random.integer(900),
      baseline: 100 + random.integer(200),
      work: BigInt(1 + random.integer(1_000_000)),
      chance: 100_000,
      audit: random.next() < 0.1 ? "passed" : "none",
      voided: false,
    };
  });
}

const sumOf = (trials: CountedTrial[], points: bigint[], miners: readonly Address[]): bigint =>
  pointsByMiner(trials, points)
    .filter(({ account }) => miners.includes(account))
    .reduce((sum, leaf) => sum + leaf.points, 0n);

describe("The points schemes", () => {
  for (const terms of SCHEMES) {
    const scheme = createScheme(terms);
    describe(`"${scheme.text}"`, () => {
      it("pays ten identities what it pays the one miner that they are", () => {
        const random = createRandom("identities");
        const trials = trialsOf(random, { speeds: [1, 4, 2, 1, 8], count: 400 });
        const whole = ACCOUNTS[1]!;
        const parts = ACCOUNTS.slice(10, 20);
        const split = trials.map((trial) =>
          trial.miner === whole ? { ...trial, miner: parts[random.integer(parts.length)]! } : trial,
        );
        const one = sumOf(trials, scheme.score(trials), [whole]);
        const ten = sumOf(split, scheme.score(split), parts);
        expect(one > 0n).to.equal(true);
        expect(ten).to.equal(one);
        // The rounding of payments is all that can differ.
        const amount = 10n ** 18n;
        const paid = (list: CountedTrial[], accounts: readonly Address[]) =>
          splitReward({ leaves: pointsByMiner(list, scheme.score(list)), amount, feeBps: 200 })
            .payments.filter(({ account }) => accounts.includes(account))
            .reduce((sum, payment) => sum + payment.amount, 0n);
        const difference = Number(paid(split, parts) - paid(trials, [whole])) / Number(paid(trials, [whole]));
        expect(Math.abs(difference)).to.be.lessThan(1e-9);
      });

      it("pays ten identities within 1 % of the one miner where each lease falls anew", () => {
        // The same speed as one account or in ten parts: the leases are others, their number and worth on average not.
        const pay = (speeds: number[], own: readonly Address[]): number => {
          const runs = 60;
          let part = 0;
          for (let run = 0; run < runs; run++) {
            const trials = trialsOf(createRandom(`run ${run}`), { speeds, count: 2000 });
            const points = createScheme(terms.name === "pplns" ? { name: "pplns", trials: 1500 } : terms).score(trials);
            part += Number(sumOf(trials, points, own)) / Number(sumOf(trials, points, ACCOUNTS));
          }
          return part / runs;
        };
        const one = pay([6, 5, 5], ACCOUNTS.slice(0, 1));
        const ten = pay([...Array.from({ length: 10 }, () => 0.6), 5, 5], ACCOUNTS.slice(0, 10));
        expect(ten / one).to.be.within(0.99, 1.01);
      });

      it("says the same whatever the order of the list", () => {
        const random = createRandom("order");
        const trials = trialsOf(random, { speeds: [1, 2, 3], count: 200 });
        const shuffled = random.shuffle([...trials]);
        expect(pointsByMiner(shuffled, scheme.score(shuffled))).to.deep.equal(
          pointsByMiner(trials, scheme.score(trials)),
        );
      });

      it("gives nothing for what is void or false, and stays within what a tree can hold", () => {
        const trials = trialsOf(createRandom("void"), { speeds: [1, 1], count: 5000 });
        const void_ = trials.map((trial) => (trial.miner === ACCOUNTS[0] ? { ...trial, voided: true } : trial));
        expect(sumOf(void_, scheme.score(void_), [ACCOUNTS[0]!])).to.equal(0n);
        const heavy = trials.map((trial) => ({ ...trial, testCorrect: 16_384, work: 10n ** 10n }));
        expect(buildPointsTree(pointsByMiner(heavy, scheme.score(heavy))).sum > 0n).to.equal(true);
      });
    });
  }

  it("blends so that each part of the reward goes by its own measure", () => {
    const trial = (miner: number, testCorrect: number, work: bigint): CountedTrial => ({
      taskId: 1n,
      miner: ACCOUNTS[miner]!,
      number: miner + 1,
      testCorrect,
      baseline: 100,
      work,
      chance: CHANCE_UNIT,
      audit: "passed",
      voided: false,
    });
    const trials = [trial(0, 400, 0n), trial(1, 0, 70n), trial(2, 0, 30n)];
    const scheme = createScheme({ name: "blend", performance: 3, effort: 1 });
    const { payments } = splitReward({ leaves: pointsByMiner(trials, scheme.score(trials)), amount: 4000n, feeBps: 0 });
    const paid = new Map(payments.map(({ account, amount }) => [account, amount]));
    expect(ACCOUNTS.slice(0, 3).map((account) => paid.get(account))).to.deep.equal([3000n, 700n, 300n]);
    // Without any of the one, everything goes by the other.
    const idle = [trial(1, 0, 70n), trial(2, 0, 30n)];
    expect(scheme.score(idle)).to.deep.equal([70n, 30n]);
    expect(scheme.score([trial(0, 400, 0n)])).to.deep.equal([300n]);
  });

  it("counts the last N accepted trials of whatever task, so that whoever hops to rich tasks gains nothing", () => {
    const base = trialsOf(createRandom("hop"), { speeds: [1], count: 12 });
    const trials = base.map((trial, i) => ({ ...trial, work: 10n, miner: ACCOUNTS[i % 3]!, voided: i === 9 }));
    const points = createScheme({ name: "pplns", trials: 6 }).score(trials);
    expect(points.map(Number)).to.deep.equal([0, 0, 0, 0, 0, 10, 10, 10, 10, 0, 10, 10]);
    // A steady miner earns in the next task by what it did before it; one that comes for the last trial, by that one.
    const loyal = trialsOf(createRandom("loyal"), { speeds: [1], count: 100 }).map((trial) => ({ ...trial, work: 1n }));
    const hopper = { ...loyal[99]!, number: 101, miner: ACCOUNTS[1]! };
    const scored = createScheme({ name: "pplns", trials: 100 }).score([...loyal, hopper]);
    expect(sumOf([...loyal, hopper], scored, [ACCOUNTS[1]!])).to.equal(1n);
    expect(sumOf([...loyal, hopper], scored, [ACCOUNTS[0]!])).to.equal(99n);
  });

  it("takes from the work that is paid for what a missing model stood for, and never pays less than nothing", () => {
    const [good, bad] = trialsOf(createRandom("missing"), { speeds: [1], count: 2 }) as [CountedTrial, CountedTrial];
    const scheme = createScheme({ name: "effort" });
    const trials = [
      { ...good, work: 1000n },
      { ...bad, work: 10n, chance: 100_000, audit: "missing" as const },
    ];
    expect(scheme.score(trials)).to.deep.equal([1000n, -90n]);
    expect(sumOf(trials, scheme.score(trials), ACCOUNTS)).to.equal(910n);
    expect(pointsByMiner([trials[1]!], scheme.score([trials[1]!]))).to.deep.equal([]);
    // Where points are counted from models there is nothing to take back.
    expect(createScheme({ name: "performance" }).score([{ ...trials[1]!, testCorrect: null }])).to.deep.equal([0n]);
  });

  it("measures a lease's work by its network and epochs, as training counts it", () => {
    const random = createRandom("work");
    const { template, space } = DESCRIPTOR;
    for (let i = 0; i < 20; i++) {
      const architecture = sampleArchitecture(template, space, random);
      const flops = BigInt(trainingFlops(architecture, 1));
      expect(leaseWork(architecture, 30, 60_000)).to.equal((flops * 1_800_000n + 999_999n) / 1_000_000n);
      expect(leaseWork(architecture, 0, 60_000)).to.equal(0n);
    }
    expect(creditedWork(5n, 40, null)).to.equal(5n);
    expect(creditedWork(5n, 40, 40)).to.equal(0n);
    expect(creditedWork(5n, 41, 40)).to.equal(5n);
  });

  it("are named in the pool's contract by the hash of their text, and refuse parameters that are none", () => {
    expect(schemeIdOf({ name: "performance" })).to.equal(keccak256(stringToBytes("performance")));
    expect(new Set(SCHEMES.map(schemeIdOf)).size).to.equal(SCHEMES.length);
    for (const wrong of [
      { name: "hashrate" },
      { name: "blend", performance: 0, effort: 1 },
      { name: "pplns", trials: 1.5 },
      { name: "performance", trials: 3 },
    ]) {
      expect(schemeSchema.safeParse(wrong).success).to.equal(false);
    }
  });
});
