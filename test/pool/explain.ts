import { expect } from "chai";

import type { PoolFacts, TaskFacts } from "../../offchain/pool/explain-facts.ts";
import { accountsOf, explainAccount, explainTask, type TaskExplanation } from "../../offchain/pool/explain.ts";
import type { SharesFile } from "../../offchain/pool/shares-file.ts";
import { CREDIT_REASONS } from "../../offchain/protocol/abi.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import {
  confirmedTask,
  counted,
  credited,
  DESCRIBED,
  digest,
  event,
  fileOf,
  listed,
  MANAGER,
  MINERS,
  POOL,
  poolOf,
  PUBLISHER,
  sharesFile,
  SILENT_ONE,
  SOLO,
  TASK,
  TERMS,
  TOKEN,
  VALIDATOR_A,
  VALIDATOR_B,
} from "./kit/won-task.ts";

const [ADA, BEN, CAT] = MINERS.map(({ address }) => address) as [Address, Address, Address];

function explain(
  file: SharesFile,
  pool: PoolFacts = poolOf(file),
  facts: Partial<TaskFacts> = {},
): Promise<TaskExplanation> {
  return explainTask({ facts: confirmedTask({ pools: [pool], ...facts }), files: fileOf(file), described: DESCRIBED });
}

const messages = ({ disagreements }: Pick<TaskExplanation, "disagreements">): string[] =>
  disagreements.map(({ message }) => message);

/** All that the events credit an account. */
function creditsOf(facts: TaskFacts, account: Address): bigint {
  return [...facts.events, ...facts.pools.flatMap(({ events }) => events)]
    .filter((entry) => entry.name === "Credited")
    .filter(({ args }) => args.account === account)
    .reduce((sum, { args }) => sum + args.amount, 0n);
}

describe("Explaining the payments of a task", () => {
  let file: SharesFile;
  before(async () => (file = await sharesFile()));

  it("re-derives every credit of every account to the last unit, and nothing else", async () => {
    const facts = confirmedTask({ pools: [poolOf(file)] });
    const explanation = await explainTask({ facts, files: fileOf(file), described: DESCRIBED });
    expect(messages(explanation)).to.deep.equal([]);
    for (const account of [PUBLISHER, POOL, SOLO, VALIDATOR_A, VALIDATOR_B, MANAGER, ADA, BEN]) {
      expect(explainAccount(explanation, account).total, account).to.equal(creditsOf(facts, account));
    }
    const paid = [ADA, BEN, MANAGER].reduce((sum, account) => sum + explainAccount(explanation, account).total, 0n);
    expect(paid).to.equal(TERMS.reward);
    expect(explainAccount(explanation, CAT).parts).to.deep.equal([]);
    expect(accountsOf(explanation)).to.include.members([SILENT_ONE, SOLO, ADA, MANAGER]);
    expect(explainAccount(explanation, SILENT_ONE).losses.map(({ amount }) => amount)).to.deep.equal([7n, TOKEN]);
    expect(explainAccount(explanation, SOLO).losses.map(({ amount }) => amount)).to.include(TERMS.candidateBond);
  });

  it("names what every figure comes from", async () => {
    const { parts } = explainAccount(await explain(file), BEN);
    const text = parts.flatMap(({ derivation }) => derivation).join("\n");
    expect(text).to.match(/won 100\.000000000000000001 \(Collected, chain block \d+\)/);
    expect(text).to.match(/fixed at 333 parts of 10000 \(TaskEntered, chain block \d+\)/);
    expect(text).to.contain("lease 12 (exploit): task 3, 40 correct on the test set, baseline 35 (lease 11)");
    expect(text).to.contain("lease 13 (explore): task 3, 30 correct on the test set, baseline 22 (chance)");
    expect(text).to.match(/leaf \d: p = 13 points, pre = \d+ to its left/);
    expect(text).to.match(/⌊R\(pre\+p\)\/S⌋ − ⌊R·pre\/S⌋ = .* = \d+ units/);
    expect(text).to.match(/credited \(Credited, chain block \d+, transaction 0x[0-9a-f]{64}\)/);
  });

  it("says what is claimable, by which call, before it is claimed", async () => {
    const pool = poolOf(file, { claimed: false, phase: "Objection", deadline: 1_700_000_000 });
    const explanation = await explain(file, pool);
    expect(messages(explanation)).to.deep.equal([]);
    const [part] = explainAccount(explanation, ADA).parts;
    expect(part!.status).to.equal("claimable");
    expect(part!.amount).to.equal(explainAccount(await explain(file), ADA).total);
    expect(part!.derivation.at(-1)).to.match(
      /^not credited yet: claim\(3, leaf \d .*, from 2023-11-14T22:13:20.000Z on$/,
    );
  });

  for (const terms of [
    { name: "performance" } as const,
    { name: "effort" } as const,
    { name: "blend", performance: 3, effort: 1 } as const,
    { name: "pplns", trials: 2 } as const,
  ]) {
    it(`re-derives a split by ${terms.name}`, async () => {
      const made = await sharesFile(terms);
      const explanation = await explain(made);
      expect(messages(explanation)).to.deep.equal([]);
      const total = [ADA, BEN, CAT, MANAGER].reduce(
        (sum, account) => sum + explainAccount(explanation, account).total,
        0n,
      );
      expect(total).to.equal(TERMS.reward);
    });
  }

  // ————— Lies —————

  const change = (i: number, changes: Partial<SharesFile["shares"][number]>): SharesFile["shares"] =>
    file.shares.map((share, at) => (at === i ? { ...share, ...changes } : share));

  /** One of the shares as if it were of another task; its signature is not looked at here. */
  const signedFor = (taskId: bigint, i: number): SharesFile["shares"][number] => {
    const share = file.shares[i]!;
    return { ...share, taskId, modelRoot: digest(`model of task ${taskId}`), share: { ...share.share, taskId } };
  };

  const lies: Record<string, { tell: () => SharesFile; pool?: (told: SharesFile) => PoolFacts; finds: RegExp[] }> = {
    "points of a share that do not follow": {
      tell: () => listed({ ...file, shares: change(0, { points: 99n }) }),
      finds: [/gives lease 11 99 points, but by the scheme "performance" it has 13/, /posted the root/],
    },
    "a test count above the number of samples": {
      tell: () => counted({ ...file, shares: change(2, { testCorrect: 65 }) }),
      finds: [/lease 13 has 65 correct of 64 test samples/],
    },
    "another count for the model that won than the chain's": {
      tell: () => counted({ ...file, shares: change(1, { testCorrect: 41 }) }),
      finds: [/counts 41 correct for the model that won; the chain counted 40/],
    },
    "no count for the model that won": {
      tell: () => counted({ ...file, shares: change(1, { testCorrect: null }) }),
      finds: [/counts nothing correct for the model that won; the chain counted 40/],
    },
    "a trial of another task where only this one's count": {
      tell: () => {
        const foreign = signedFor(2n, 0);
        return counted({
          ...file,
          tasks: [{ ...file.tasks[0]!, taskId: 2n }, ...file.tasks],
          shares: [{ ...foreign, number: 50, lease: 5, testCorrect: 64, baseline: 0 }, ...file.shares],
        });
      },
      finds: [
        /lease 5 is of task 2, and the scheme "performance" counts no other task's/,
        /lease 5 is of another task, and counts on this one's test set/,
        /posted the root/,
      ],
    },
    "a trial of a task after this one": {
      tell: () =>
        counted({
          ...file,
          scheme: { name: "pplns", trials: 9 },
          schemeText: "pplns trials=9",
          tasks: [...file.tasks, { ...file.tasks[0]!, taskId: 4n }],
          shares: [
            ...file.shares.map((share) => ({ ...share, testCorrect: null })),
            { ...signedFor(4n, 0), number: 200, lease: 5, testCorrect: null },
          ],
        }),
      finds: [/lease 5 is of another task, and was accepted after all of this one/],
    },
    "a parent that came later": {
      tell: () => counted({ ...file, shares: change(1, { parent: 14, parentCorrect: 1, baseline: 3 }) }),
      finds: [/lease 12 goes on from lease 14, which is not of an earlier trial of its task/],
    },
    "a parent that is not listed": {
      tell: () => counted({ ...file, shares: change(1, { parent: 9 }) }),
      finds: [/lease 12 goes on from lease 9, which the file does not list/],
    },
    "an exploit trial that goes on from nothing": {
      tell: () => counted({ ...file, shares: change(1, { parentCorrect: null }) }),
      finds: [/lease 12 is exploit and has the parent 11, with nothing correct/],
    },
    "an explored trial that had to beat another": {
      tell: () => counted({ ...file, shares: change(0, { parentCorrect: 29, work: 0n }) }),
      finds: [/lease 11 is explore and has no parent, with 29 correct/],
    },
    "an audit that was drawn and never ended": {
      tell: () => counted({ ...file, shares: change(0, { audit: "due" }) }),
      finds: [/lease 11 was drawn for an audit that nobody has ended/],
    },
    "a liar whose other shares count": {
      tell: () => counted({ ...file, shares: change(2, { audit: "false", voided: true }) }),
      finds: [/lease 12 counts, although an audit has found its miner lying/],
    },
    "a task's terms twice": {
      tell: () => counted({ ...file, tasks: [...file.tasks, ...file.tasks] }),
      finds: [/says twice of a task how its shares are counted/],
    },
    "a lower baseline": {
      tell: () => counted({ ...file, shares: change(0, { baseline: 2 }) }),
      finds: [/lease 11 has the baseline 2, but chance is 22/, /posted the root/],
    },
    "a baseline that is not the parent's": {
      tell: () => counted({ ...file, shares: change(1, { baseline: 22 }) }),
      finds: [/lease 12 has the baseline 22, but its parent, lease 11, has 35/],
    },
    "work that the network does not have": {
      tell: () => counted({ ...file, shares: change(0, { work: 10n ** 9n }) }),
      finds: [/lease 11 is given work of 1000000000, but 3 epochs of its network are/],
    },
    "a changed list beside the true shares": {
      tell: () => ({ ...file, points: file.points.map((leaf, i) => (i === 0 ? { ...leaf, points: 77n } : leaf)) }),
      finds: [/gives 0x\w+ 77 points, but its shares have 13/, /says the root/, /posted the root/],
    },
    "a changed sum": { tell: () => ({ ...file, total: 1n }), finds: [/says 1 points; 26 were posted/] },
    "another root than the posted one": {
      tell: () => ({ ...file, root: digest("a lie") }),
      finds: [/says the root 0x\w+; 0x\w+ was posted/],
    },
    "a share left out, and its miner with it": {
      tell: () => listed({ ...file, shares: file.shares.filter(({ lease }) => lease !== 12) }),
      finds: [/lists no share with the model that won/],
    },
    "a miner left out of the list alone": {
      tell: () => ({ ...file, points: file.points.slice(1) }),
      finds: [/leaves out 0x\w+, whose shares have 13 points/, /posted the root/],
    },
    "a share twice": {
      tell: () => counted({ ...file, shares: [...file.shares, { ...file.shares[0]!, number: 200 }] }),
      finds: [/lists the lease 11 twice/, /counts the model 0x\w+ twice/],
    },
    "one model under two leases": {
      tell: () => counted({ ...file, shares: [...file.shares, { ...file.shares[0]!, number: 200, lease: 77 }] }),
      finds: [/was signed for lease 11/, /counts the model 0x\w+ twice, for the leases 11 and 77/],
    },
    "shares in another order": {
      tell: () => counted({ ...file, shares: [...file.shares].reverse() }),
      finds: [/does not list its shares in ascending order/],
    },
    "accounts in another order": {
      tell: () => ({ ...file, points: [...file.points].reverse() }),
      finds: [/does not list its accounts in ascending order/],
    },
    "a share that somebody else signed": {
      tell: () => counted({ ...file, shares: change(0, { miner: CAT }) }),
      finds: [/the share of lease 11 is not signed by 0x/],
    },
    "a share without a receipt": {
      tell: () => counted({ ...file, shares: change(0, { receipt: file.shares[1]!.receipt }) }),
      finds: [/the share of lease 11 has no receipt of 0x/],
    },
    "a share of more epochs than its lease": {
      tell: () => counted({ ...file, shares: change(0, { epochs: 2 }) }),
      finds: [/lease 11 was for 2 epochs, and its share says 3/],
    },
    "an audit that was drawn and not made": {
      tell: () => counted({ ...file, shares: change(0, { audit: "none" }) }),
      finds: [/lease 11 was drawn for an audit, and has none/],
    },
    "a secret of the audits that was changed afterwards": {
      tell: () => ({
        ...file,
        tasks: file.tasks.map((task) => ({ ...task, audit: { ...task.audit, secret: digest("a better one") } })),
      }),
      finds: [/reveals a secret of the audits of task 3 that does not hash to its commitment/],
    },
    "another task's file": { tell: () => ({ ...file, taskId: 4n }), finds: [/says taskId 4, not 3/] },
    "a file for another pool": {
      tell: () => ({ ...file, pool: SOLO }),
      finds: [/says pool 0x\w+, not 0x00000000000000000000000000000000DeaDBeef/],
    },
    "a scheme that is not the pool's": {
      tell: () => counted({ ...file, scheme: { name: "effort" }, schemeText: "effort" }),
      pool: (told) => ({ ...poolOf(told), schemeId: poolOf(file).schemeId }),
      finds: [/counts by the scheme "effort", which is not the pool's/],
    },
    "other classes than the task's": {
      tell: () => counted({ ...file, tasks: file.tasks.map((task) => ({ ...task, classes: 10 })) }),
      finds: [/says classes 10, not 3/],
    },
  };
  for (const [name, { tell, pool, finds }] of Object.entries(lies)) {
    it(`finds ${name}`, async () => {
      const told = tell();
      const explanation = await explain(told, (pool ?? poolOf)(told));
      for (const pattern of finds) expect(messages(explanation).join("\n")).to.match(pattern);
    });
  }

  it("finds payments that do not follow, and credits that nothing explains", async () => {
    const pool = poolOf(file);
    const events = pool.events.map((entry) =>
      entry.name === "Credited" && CREDIT_REASONS[entry.args.reason] === "PoolFee"
        ? { ...entry, args: { ...entry.args, amount: entry.args.amount + 1n } }
        : entry,
    );
    const explanation = await explain(file, { ...pool, events: [...events, credited(CAT, 5n, "PoolShare")] });
    expect(messages(explanation)).to.have.length(2);
    expect(messages(explanation)[0]).to.match(
      new RegExp(`^${MANAGER} was credited \\d+ units \\(manager's fee.*\\), but \\d+ follow\\.$`),
    );
    expect(messages(explanation)[1]).to.match(
      new RegExp(`^${CAT} was credited 5 units .*, but nothing .* says why\\.$`),
    );
    expect(explainAccount(explanation, ADA).disagreements, "is no concern of Ada's").to.deep.equal([]);
    expect(explainAccount(explanation, CAT).total).to.equal(5n);
  });

  it("finds a wrong fee, since every payment depends on it", async () => {
    const pool = poolOf(file, { feeBps: 500 });
    const events = pool.events.map((entry) =>
      entry.name === "TaskEntered" ? { ...entry, args: { ...entry.args, feeBps: 333 } } : entry,
    );
    const found = messages(await explain(file, { ...pool, events }));
    expect(found).to.have.length(3);
    for (const message of found) expect(message).to.match(/was credited \d+ units .*, but \d+ follow/);
  });

  it("finds money that was not credited, not burned, or burned for nothing", async () => {
    const { events } = confirmedTask();
    const without = (name: "Burned" | "Credited", reason: number): TaskFacts["events"] =>
      events.filter((entry) => !(entry.name === name && entry.args.reason === reason));
    const unburned = await explain(file, poolOf(file), { events: without("Burned", 3) });
    expect(messages(unburned)).to.deep.equal([
      `Task 3 burned 0 units (CandidateBond), but by its events ${TERMS.candidateBond - TERMS.candidateBond / 2n} are to be burned.`,
    ]);
    const unpaid = await explain(file, poolOf(file), { events: without("Credited", 2) });
    expect(messages(unpaid)).to.have.length(1);
    expect(messages(unpaid)[0]).to.match(
      /^Task 3 owes 0x\w+ 10000000000000000001 units \(publisher's bond, back\), but/,
    );
  });

  it("says that a file did not arrive, and shows what was paid all the same", async () => {
    const facts = confirmedTask({ pools: [poolOf(file)] });
    const explanation = await explainTask({
      facts,
      files: new Map([["0x01551220aa", { fault: "It did not arrive." }]]),
      described: DESCRIBED,
    });
    expect(messages(explanation)[0]).to.match(/^The shares file of task 3 .* cannot be had: It did not arrive\.$/);
    const own = explainAccount(explanation, ADA);
    expect(own.total).to.equal(creditsOf(facts, ADA));
    expect(own.disagreements).to.have.length(2);
    expect(own.parts[0]!.derivation.at(-1)).to.equal("not re-derived: no tree is known whose root was posted");
  });

  it("says that a file is none, in one sentence", async () => {
    for (const bytes of [Buffer.from("no JSON"), Buffer.from('{"format":"ponas shares 2"}'), Buffer.from("[]")]) {
      const explanation = await explainTask({
        facts: confirmedTask({ pools: [poolOf(file, { claimed: false })] }),
        files: new Map([["0x01551220aa", { bytes }]]),
        described: DESCRIBED,
      });
      expect(messages(explanation), bytes.toString()).to.have.length(1);
      expect(messages(explanation)[0]).to.match(/^The shares file of task 3 of the pool 0x\w+ is not (JSON|valid)/);
    }
  });

  it("names the call that acts on a lie while the objection window is open", async () => {
    const told = listed({ ...file, shares: change(0, { points: 1n }) });
    const pool = poolOf(told, { claimed: false, phase: "Objection", deadline: 1_700_000_000 });
    const { disagreements } = await explain(told, pool);
    const split = disagreements.find(({ kind }) => kind === "split");
    expect(split!.remedy).to.match(
      /^demandLeaf\(3, i\) on 0x\w+ for any i below 2, with a bond, until 2023-11-14T22:13:20/,
    );
    const points = disagreements.find(({ kind, account }) => kind === "points" && account === ADA);
    expect(points!.remedy).to.match(/objectMissing\(3, 0x\w+, …\)/);
    const later = await explain(told, { ...pool, phase: "Claims" });
    expect(later.disagreements.every(({ remedy }) => remedy === null)).to.equal(true);
  });

  it("compares the winner's count with the model evaluated anew", async () => {
    const facts = confirmedTask({ pools: [poolOf(file)] });
    const gone = { fault: "The model did not arrive within 60 s." };
    const without = await explainTask({ facts, files: fileOf(file), described: DESCRIBED, recomputed: gone });
    expect(messages(without)).to.have.length(1);
    expect(messages(without)[0]).to.match(/could not be evaluated anew: The model did not arrive within 60 s\.$/);
    expect(without.parts, "payments are re-derived all the same").not.to.be.empty;
    const with_ = (recomputed: { correct: number; malformed: string | null }) =>
      explainTask({
        facts,
        files: fileOf(file),
        described: DESCRIBED,
        recomputed: { modelRoot: digest("model 2"), total: 64, ...recomputed },
      });
    expect(messages(await with_({ correct: 40, malformed: null }))).to.deep.equal([]);
    expect((await with_({ correct: 40, malformed: null })).verified.at(-1)).to.contain("has 40 of 64 correct");
    expect(messages(await with_({ correct: 39, malformed: null }))[0]).to.match(
      /evaluated anew, the file is .* with 39 of 64/,
    );
    expect(messages(await with_({ correct: 0, malformed: "The fan-in is too large." }))[0]).to.contain("malformed");
  });

  // ————— Other ends —————

  it("re-derives payments by receipts, in the order in which they were claimed", async () => {
    const entered = poolOf(file, { claimed: false });
    const receipts = [
      { miner: ADA, sequence: 1n, points: 1n },
      { miner: BEN, sequence: 2n, points: 3n },
      { miner: ADA, sequence: 2n, points: 2n },
      { miner: CAT, sequence: 1n, points: 2n },
    ];
    const [third, rest] = [(TERMS.reward * 3n) / 7n, TERMS.reward - (TERMS.reward * 3n) / 7n];
    const events = [
      ...entered.events.filter(({ name }) => name !== "SplitPosted"),
      ...receipts.map((receipt) => event("ReceiptSubmitted", { taskId: TASK, ...receipt })),
      credited(BEN, third, "PoolShare", "by receipt"),
      event("ReceiptClaimed", { taskId: TASK, miner: BEN, amount: third }, "by receipt"),
    ];
    const explanation = await explain(file, { ...entered, phase: "ReceiptClaims", events });
    expect(messages(explanation)).to.deep.equal([]);
    expect(explainAccount(explanation, BEN).total).to.equal(third);
    const [ada] = explainAccount(explanation, ADA).parts;
    expect(ada!.amount).to.equal(rest / 2n);
    expect(ada!.derivation.at(-1)).to.match(/^not credited yet: claimByReceipt\(3, 0x\w+\)/);
    const total = [ADA, BEN, CAT].reduce((sum, account) => sum + explainAccount(explanation, account).total, 0n);
    expect(total).to.equal(TERMS.reward);
  });

  it("re-derives a split that fell: the stake halved, the bond back, the whole reward to the receipts", async () => {
    const fallen = poolOf(file, { claimed: false });
    const stake = (TERMS.reward * 500n + 9_999n) / 10_000n;
    const bond = (TERMS.reward * 10n + 9_999n) / 10_000n;
    const events = [
      ...fallen.events,
      event("LeafDemanded", { taskId: TASK, id: 1, by: CAT, index: 0, bond, deadline: 9 }),
      event("LeafDemanded", { taskId: TASK, id: 2, by: SOLO, index: 1, bond, deadline: 9 }),
      event("ObjectionAnswered", { taskId: TASK, id: 2, index: 1, miner: ADA, points: 13n }),
      event("Burned", { amount: bond - bond / 2n, reason: 5, taskId: TASK }),
      event("SplitFell", { taskId: TASK, to: CAT, amount: stake / 2n }, "fall"),
      event("Burned", { amount: stake - stake / 2n, reason: 4, taskId: TASK }, "fall"),
      credited(CAT, stake / 2n, "Objection", "fall"),
      credited(CAT, bond, "ObjectionBond", "fall"),
      event("ReceiptSubmitted", { taskId: TASK, miner: ADA, sequence: 1n, points: 4n }),
    ];
    const explanation = await explain(file, { ...fallen, phase: "ReceiptClaims", events });
    expect(messages(explanation)).to.deep.equal([]);
    expect(explainAccount(explanation, CAT).total).to.equal(stake / 2n + bond);
    expect(explainAccount(explanation, ADA).total).to.equal(TERMS.reward);
    expect(explainAccount(explanation, MANAGER).total).to.equal(0n);
    expect(explainAccount(explanation, MANAGER).losses.map(({ amount }) => amount)).to.deep.equal([stake]);
    expect(explainAccount(explanation, SOLO).losses.map(({ amount }) => amount)).to.include(bond);
  });

  it("re-derives a reward that is paid by an earlier task's split", async () => {
    const entered = poolOf(file, { claimed: false });
    const adopted = entered.events.find((entry) => entry.name === "SplitPosted")!;
    const events = [
      ...entered.events.filter(({ name }) => name !== "SplitPosted"),
      event("SplitAdopted", { taskId: TASK, fromTask: 2n }),
    ];
    const explanation = await explain(file, { ...entered, events, adopted });
    expect(messages(explanation)).to.deep.equal([]);
    expect(explainAccount(explanation, MANAGER).parts).to.deep.equal([]);
    const total = [ADA, BEN].reduce((sum, account) => sum + explainAccount(explanation, account).total, 0n);
    expect(total).to.equal(TERMS.reward);
  });

  it("re-derives a task void at its publisher's cost, with compensations by place", async () => {
    const published = confirmedTask().events.slice(0, 7);
    const half = TERMS.publisherBond / 2n;
    const facts = confirmedTask({
      phase: "Void",
      voidReason: "KeyNotReleased",
      events: [
        ...published,
        event("TaskVoided", { taskId: TASK, reason: 1 }, "void"),
        credited(PUBLISHER, TERMS.reward, "RewardReturned", "void"),
        credited(PUBLISHER, TERMS.validatorFee, "ValidatorFeeReturned", "void"),
        event("Burned", { amount: TERMS.publisherBond - half, reason: 2, taskId: TASK }, "void"),
        event("Settled", { taskId: TASK, participant: SOLO }, "settle solo"),
        credited(SOLO, TERMS.commitBond, "CommitBond", "settle solo"),
        credited(SOLO, (half * 2n) / 3n - half / 3n, "Compensation", "settle solo"),
      ],
    });
    const explanation = await explainTask({ facts, files: new Map(), described: null });
    expect(messages(explanation)).to.deep.equal([]);
    const silent = explainAccount(explanation, SILENT_ONE);
    expect(silent.parts.map(({ status, reason }) => `${reason} ${status}`)).to.deep.equal([
      "CommitBond claimable",
      "Compensation claimable",
    ]);
    expect(silent.parts[0]!.derivation.at(-1)).to.contain(`settle(3, ${SILENT_ONE})`);
  });

  it("decides nothing of a task that has not ended", async () => {
    const facts = confirmedTask({ phase: "Training", events: confirmedTask().events.slice(0, 7) });
    const explanation = await explainTask({ facts, files: new Map(), described: null });
    expect(messages(explanation)).to.deep.equal([]);
    expect(explanation.parts).to.deep.equal([]);
  });

  it("is not fooled by a validator whose share rounds to nothing, whenever it settles", async () => {
    const [a, b] = [1000n * TOKEN, 1n];
    const pot = 999n;
    const { events } = confirmedTask({ validatorFee: 999n });
    const changed = events
      .filter((entry) => entry.name !== "CandidateEliminated" && !(entry.name === "Burned" && entry.args.reason === 3))
      .filter((entry) => !(entry.name === "Credited" && CREDIT_REASONS[entry.args.reason] === "ValidatorFee"))
      .map((entry) =>
        entry.name === "Attested"
          ? { ...entry, args: { ...entry.args, stake: entry.args.validator === VALIDATOR_A ? a : b } }
          : entry,
      );
    const back = [credited(SOLO, TERMS.candidateBond, "CandidateBond", "settle")];
    const pool = poolOf(file);
    // Settled first, the small one takes its stake out of the sum without a word: the rest is the other's.
    for (const amount of [pot, (pot * a) / (a + b)]) {
      const explanation = await explain(file, pool, {
        validatorFee: 999n,
        events: [...changed, ...back, credited(VALIDATOR_A, amount, "ValidatorFee")],
      });
      expect(messages(explanation).filter((message) => message.includes("validator's fee"))).to.deep.equal([]);
    }
  });
});
