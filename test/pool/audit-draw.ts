import { expect } from "chai";

import { auditChance, auditCommitment, CHANCE_UNIT, isDrawn, missingCost } from "../../offchain/pool/audit-draw.ts";
import { DEFAULT_RULES } from "../../offchain/pool/rules.ts";
import { leastChance } from "../../offchain/pool/audits.ts";
import { createRandom } from "../../offchain/protocol/random.ts";

const SECRET = `0x${"5e".repeat(32)}` as const;
const RATE = leastChance(DEFAULT_RULES.auditRate);

/** What becomes of a miner that invents a share of work p with `credit` to its name: expectation, in millionths of p. */
type Answer = "shown" | "withheld";
function expectedCredit(credit: bigint, work: bigint, chance: number, answer: Answer): number {
  const escaped = BigInt(CHANCE_UNIT - chance) * (credit + work);
  const caught = answer === "shown" ? 0n : BigInt(chance) * (credit - missingCost(work, chance));
  return Number(escaped + caught) / CHANCE_UNIT;
}

describe("The draw of audits", () => {
  it("makes no invented share worth its while, whatever its work, the miner's credit and the pool's rate", () => {
    const random = createRandom("credits");
    for (let round = 0; round < 5000; round++) {
      const work = BigInt(1 + random.integer(10 ** random.integer(10)));
      const credit = BigInt(random.integer(10 ** (1 + random.integer(9))));
      const rate = leastChance(random.next() ** 3);
      const chance = auditChance({ rate, work, atRisk: credit });
      expect(chance).to.be.within(rate, CHANCE_UNIT);
      for (const answer of ["shown", "withheld"] as const) {
        // What is rounded is rounded by less than a unit of work.
        expect(expectedCredit(credit, work, chance, answer)).to.be.at.most(Number(credit) + 1);
      }
      expect(missingCost(work, chance) <= credit, "it never costs what the miner does not have").to.equal(true);
    }
  });

  it("would make one worth its while at the same rate without regard to what the miner has to lose", () => {
    const flat = (credit: bigint) => expectedCredit(credit, 100n, RATE, "shown");
    expect(flat(0n)).to.be.greaterThan(0);
    expect(flat(300n)).to.be.greaterThan(300);
  });

  it("audits a miner's first share always, and of a hundred equal ones twelve", () => {
    let expected = 0;
    for (let index = 0; index < 100; index++) {
      expected += auditChance({ rate: RATE, work: 7n, atRisk: 7n * BigInt(index) }) / CHANCE_UNIT;
    }
    expect(auditChance({ rate: RATE, work: 7n, atRisk: 0n })).to.equal(CHANCE_UNIT);
    expect(expected).to.be.within(11.9, 12);
  });

  it("draws as often as its chance says, by the secret alone, and each lease for itself", () => {
    for (const chance of [RATE, 500_000]) {
      let drawn = 0;
      for (let lease = 1; lease <= 4000; lease++) drawn += Number(isDrawn(SECRET, 9n, lease, chance));
      expect(drawn / 4000).to.be.closeTo(chance / CHANCE_UNIT, 0.025);
    }
    for (let lease = 1; lease <= 50; lease++) expect(isDrawn(SECRET, 9n, lease, CHANCE_UNIT)).to.equal(true);
    const draws = (secret: `0x${string}`, task: bigint): string =>
      Array.from({ length: 64 }, (_, lease) => Number(isDrawn(secret, task, lease, 500_000))).join("");
    expect(draws(SECRET, 9n)).to.equal(draws(SECRET, 9n));
    expect(draws(SECRET, 10n)).to.not.equal(draws(SECRET, 9n));
    expect(draws(`0x${"5f".repeat(32)}`, 9n)).to.not.equal(draws(SECRET, 9n));
    expect(auditCommitment(SECRET)).to.not.equal(SECRET);
  });

  it("leaves a liar less than an honest miner of the same speed, whichever part of its shares it invents", () => {
    const random = createRandom("liars");
    const shares = 60;
    const runs = 1500;
    for (const part of [0.05, 0.3, 1]) {
      for (const answer of ["shown", "withheld"] as const) {
        let earned = 0;
        for (let run = 0; run < runs; run++) {
          let credit = 0n;
          let banned = false;
          for (let index = 0; index < shares && !banned; index++) {
            const chance = auditChance({ rate: RATE, work: 100n, atRisk: credit });
            const invented = random.next() < part;
            if (!invented || random.integer(CHANCE_UNIT) >= chance) credit += 100n;
            else if (answer === "shown") [credit, banned] = [0n, true];
            else credit -= missingCost(100n, chance);
          }
          earned += Number(credit);
        }
        const honest = shares * 100;
        // At most its honest shares' worth, up to the noise of so many runs.
        expect(earned / runs, `${part} ${answer}`).to.be.at.most(honest * (1 - part) + honest * 0.06);
        expect(earned / runs).to.be.lessThan(honest);
      }
    }
  });
});
