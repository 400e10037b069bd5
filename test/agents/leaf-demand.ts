import { expect } from "chai";

import { demandLeaf, recoverBonds } from "../../offchain/agents/leaf-demand.ts";
import type { LeafDemand, PoolContract, SplitPhase } from "../../offchain/agents/pool-contract.ts";
import { SPLIT_PHASES, type OBJECTION_STATES } from "../../offchain/protocol/abi.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

const ME: Address = "0x00000000000000000000000000000000000000aB";
const OTHER: Address = "0x00000000000000000000000000000000000000Cd";
const TASK = 7n;

/** A pool's contract with one posted split of three leaves, as far as demands for leaves go. */
function scripted(phase: SplitPhase, demands: LeafDemand[] = [], fellAt = 0) {
  const sent: string[] = [];
  const states = new Map<number, (typeof OBJECTION_STATES)[number]>(demands.map(({ id }) => [id, "Open"]));
  let credit = 0n;
  const pool = {
    account: () => Promise.resolve({ phase, fellAt, split: { count: 3 } }),
    leafDemands: () => Promise.resolve([...demands]),
    demandLeaf: (_task: bigint, index: number) => {
      sent.push(`demandLeaf ${index}`);
      demands.push({ id: demands.length + 1, by: ME, index, bond: 5n, deadline: 99 });
      return Promise.resolve();
    },
    objectionOf: (_task: bigint, id: number) => Promise.resolve({ state: states.get(id) }),
    finaliseFall: () => {
      sent.push("finaliseFall");
      states.set(1, "Returned"); // the first that ran out gets its bond with the fall
      credit += 30n;
      return Promise.resolve();
    },
    returnBond: (_task: bigint, id: number) => {
      sent.push(`returnBond ${id}`);
      states.set(id, "Returned");
      credit += 5n;
      return Promise.resolve();
    },
    credit: () => Promise.resolve(credit),
    withdraw: () => {
      sent.push("withdraw");
      credit = 0n;
      return Promise.resolve();
    },
  } as unknown as PoolContract;
  return { pool, sent, states };
}
const by = (who: Address, id: number, index: number): LeafDemand => ({ id, by: who, index, bond: 5n, deadline: 99 });
const refusalOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "",
    (error: unknown) => (error instanceof PonasError ? error.message : `no sentence: ${String(error)}`),
  );

describe("Demanding a leaf", () => {
  it("pays once, and says which objection it is and when it must be answered", async () => {
    const { pool, sent } = scripted("Objection", [by(OTHER, 1, 0)]);
    expect(await demandLeaf(pool, TASK, 2)).to.deep.equal({ id: 2, by: ME, index: 2, bond: 5n, deadline: 99 });
    expect(sent).to.deep.equal(["demandLeaf 2"]);
  });

  it("is refused with one sentence, before anything is paid, in every phase but the objections'", async () => {
    for (const phase of SPLIT_PHASES.filter((name) => name !== "Objection")) {
      const { pool, sent } = scripted(phase);
      expect(await refusalOf(demandLeaf(pool, TASK, 0)), phase).to.match(
        /^The reward of task 7 cannot be objected to: [a-z][^.]+\.$/,
      );
      expect(sent).to.deep.equal([]);
    }
  });

  it("is refused where there is no such leaf, or where it was demanded before", async () => {
    const { pool, sent } = scripted("Objection", [by(OTHER, 1, 0)]);
    expect(await refusalOf(demandLeaf(pool, TASK, 3))).to.equal(
      "The split of task 7 has no leaf 3: it has 3, numbered from 0.",
    );
    expect(await refusalOf(demandLeaf(pool, TASK, 0))).to.equal(
      `Leaf 0 of task 7 was demanded already, by ${OTHER}: once shown, it is shown to everybody.`,
    );
    expect(sent).to.deep.equal([]);
  });
});

describe("Recovering bonds", () => {
  it("books a fall that nobody has booked, and takes back every bond of one's own once", async () => {
    const mine = ME.toLowerCase() as Address;
    const { pool, sent } = scripted("Fallen", [by(mine, 1, 0), by(OTHER, 2, 1), by(mine, 3, 2)]);
    expect(await recoverBonds(pool, { account: ME }, TASK)).to.equal(35n);
    expect(sent).to.deep.equal(["finaliseFall", "returnBond 3", "withdraw"]);
  });

  it("a second time, or without bonds, sends nothing", async () => {
    const { pool, sent, states } = scripted("Receipts", [by(ME, 1, 0), by(OTHER, 2, 1)], 50);
    states.set(1, "Answered");
    expect(await recoverBonds(pool, { account: ME }, TASK)).to.equal(0n);
    expect(sent).to.deep.equal([]);
  });

  it("is refused with one sentence where the split did not fall", async () => {
    for (const phase of ["Objection", "Answering", "Claims"] as const) {
      const { pool, sent } = scripted(phase, [by(ME, 1, 0)]);
      expect(await refusalOf(recoverBonds(pool, { account: ME }, TASK))).to.equal(
        "No bond of task 7 comes back: its split has not fallen.",
      );
      expect(sent).to.deep.equal([]);
    }
  });
});
