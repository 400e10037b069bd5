import { readFileSync } from "node:fs";

import { expect } from "chai";
import { hexlify } from "ethers";

import { PHASES, SPLIT_PHASES } from "../../offchain/protocol/abi.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import { buildPointsTree } from "../../offchain/pool/points-tree.ts";
import type { Pool } from "../../types/ethers-contracts/index.ts";
import { commitPool, good, leafOf, objectMissing, receiptOf, splitOf, win } from "./pool-support.ts";
import {
  at,
  cidOf,
  digest,
  goTo,
  KEY,
  labels,
  modelOf,
  now,
  PHASE_LENGTHS,
  REWARD,
  TEST_PARTS,
  world,
  worldWithDisputes,
  type World,
} from "./support.ts";

interface Row {
  readonly from: string;
  readonly to: string;
  readonly call: string;
}

/** The rows of the table under a heading of docs/states.md. */
function tableOf(heading: string): Row[] {
  const text = readFileSync(new URL("../../docs/states.md", import.meta.url), "utf8");
  const section = text.split("\n## ").find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`docs/states.md has no section "${heading}"`);
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) => {
      const [, from, to, call] = line.split("|").map((cell) => cell.trim());
      return { from: from!, to: to!, call: call! };
    });
}
const nameOf = ({ from, to, call }: Row): string => `${from} → ${to} by ${call}`;

const fair = modelOf("fair", 30);
const tree = (who: Address) => buildPointsTree([{ account: who, points: 5n }]);

// ————— Tasks —————

interface Drive {
  readonly w: World;
  readonly taskId: bigint;
  /** Makes the row's call, or lets its time come. */
  readonly act: () => Promise<unknown>;
}
const drive = (w: World, taskId: bigint, act: () => Promise<unknown>): Drive => ({ w, taskId, act });
/** Time drives a row: the phase is still the old one a second before. */
const timed = (w: World, taskId: bigint, boundary: bigint, from: string): Drive =>
  drive(w, taskId, async () => {
    if (BigInt(await now()) < boundary - 1n) await goTo(boundary - 1n);
    expect(await w.phase(taskId), "a second before").to.equal(from);
    await goTo(boundary);
  });

async function opened(w: World, next: boolean, sealers = w.validators.slice(0, 0)): Promise<bigint> {
  const taskId = await w.toSeal(
    next
      ? [
          [w.ada, good],
          [w.ben, fair],
        ]
      : [[w.ada, good]],
  );
  await w.openExamined(taskId, good, sealers);
  return taskId;
}

/** All validators have sealed another result than the opened one. */
async function contradictable(next: boolean): Promise<{ w: World; taskId: bigint }> {
  const w = await world();
  const taskId = await w.toSeal(
    next
      ? [
          [w.ada, good],
          [w.ben, fair],
        ]
      : [[w.ada, good]],
  );
  for (const validator of w.validators) await w.seal(taskId, validator, w.ada.address, good, fair.result);
  await w.openExamined(taskId, good, []);
  return { w, taskId };
}

const TASKS: Record<string, () => Promise<Drive>> = {
  "None → Initialisation by publish": async () => {
    const w = await world();
    return drive(w, 1n, () => w.publish());
  },
  "None → Training by publish": async () => {
    const w = await world();
    return drive(w, 1n, () => w.publish({ phases: { ...PHASE_LENGTHS, initialisation: 0 } }));
  },
  "Initialisation → Training by time": async () => {
    const w = await world();
    const taskId = await w.publish();
    return timed(w, taskId, (await w.schedule(taskId)).trainingStart, "Initialisation");
  },
  "Training → Training by commit": async () => {
    const w = await world();
    const taskId = await w.toTraining();
    return drive(w, taskId, () => w.commit(taskId, w.ada, good));
  },
  "Training → AwaitKey by time": async () => {
    const w = await world();
    const taskId = await w.toTraining();
    return timed(w, taskId, (await w.schedule(taskId)).trainingEnd, "Training");
  },
  "AwaitKey → TestVote by release": async () => {
    const w = await world();
    const taskId = await w.toAwaitKey([]);
    return drive(w, taskId, () => w.release(taskId));
  },
  "AwaitKey → Advanceable by time": async () => {
    const w = await world();
    const taskId = await w.toAwaitKey([]);
    return timed(w, taskId, (await w.schedule(taskId)).keyDeadline, "AwaitKey");
  },
  "TestVote → TestVote by voteTestSet": async () => {
    const w = await world();
    const taskId = await w.toTestVote([]);
    return drive(w, taskId, () => w.registry.connect(w.victor).voteTestSet(taskId));
  },
  "TestVote → Void by voteTestSet": async () => {
    const w = await world();
    const taskId = await w.toTestVote([]);
    await w.registry.connect(w.victor).voteTestSet(taskId);
    return drive(w, taskId, () => w.registry.connect(w.vlad).voteTestSet(taskId));
  },
  "TestVote → Reveal by time": async () => {
    const w = await world();
    const taskId = await w.toTestVote([]);
    return timed(w, taskId, (await w.schedule(taskId)).revealStart, "TestVote");
  },
  "Reveal → Reveal by reveal": async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    return drive(w, taskId, () => w.reveal(taskId, w.ada, good));
  },
  "Reveal → Advanceable by time": async () => {
    const w = await world();
    const taskId = await w.toReveal([]);
    return timed(w, taskId, (await w.schedule(taskId)).revealEnd, "Reveal");
  },
  "Advanceable → Void by advance": async () => {
    const w = await world();
    const taskId = await w.toReveal([]);
    await goTo((await w.schedule(taskId)).revealEnd);
    return drive(w, taskId, () => w.advance(taskId));
  },
  "Advanceable → Seal by advance": async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    await w.reveal(taskId, w.ada, good);
    await goTo((await w.schedule(taskId)).revealEnd);
    return drive(w, taskId, () => w.advance(taskId));
  },
  "Advanceable → Open by advance": async () => {
    const w = await world();
    const taskId = await opened(w, true);
    await goTo((await w.schedule(taskId)).windowEnd);
    return drive(w, taskId, () => w.advance(taskId));
  },
  "Seal → Seal by seal": async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    return drive(w, taskId, () => w.seal(taskId, w.vera, w.ada.address, good));
  },
  "Seal → Open by time": async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    return timed(w, taskId, (await w.schedule(taskId)).sealDeadline, "Seal");
  },
  "Open → Window by open": async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    return drive(w, taskId, () => w.open(taskId, good));
  },
  "Open → Seal by open": async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good, 40],
      [w.ben, fair],
    ]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    return drive(w, taskId, () => w.open(taskId, good));
  },
  "Open → Void by open": async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good, 40]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    return drive(w, taskId, () => w.open(taskId, good));
  },
  "Open → Advanceable by time": async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await goTo((await w.schedule(taskId)).sealDeadline);
    return timed(w, taskId, (await w.schedule(taskId)).openDeadline, "Open");
  },
  "Window → Window by seal": async () => {
    const w = await world();
    const taskId = await opened(w, true);
    return drive(w, taskId, () => w.seal(taskId, w.vera, w.ben.address, fair));
  },
  "Window → Window by attest": async () => {
    const w = await world();
    const taskId = await opened(w, false, [...w.validators]);
    return drive(w, taskId, () => w.registry.attest(taskId, [w.vera]));
  },
  "Window → Confirmable by attest": async () => {
    const w = await world();
    const taskId = await opened(w, false, [...w.validators]);
    await goTo((await now()) + PHASE_LENGTHS.shortWindow);
    return drive(w, taskId, () => w.registry.attest(taskId, [w.victor, w.vlad]));
  },
  "Window → Confirmable by time": async () => {
    const w = await world();
    const taskId = await opened(w, false, [...w.validators]);
    await w.registry.attest(taskId, [w.victor, w.vlad]);
    return timed(w, taskId, (await w.schedule(taskId)).windowEnd, "Window");
  },
  "Window → Window by time": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, false);
    await w.scripted.setContested(taskId, w.ada, true);
    return timed(w, taskId, (await w.schedule(taskId)).windowEnd, "Window");
  },
  "Window → Advanceable by time": async () => {
    const w = await world();
    const taskId = await opened(w, false);
    return timed(w, taskId, (await w.schedule(taskId)).windowEnd, "Window");
  },
  "Window → Seal by refute": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, true);
    return drive(w, taskId, () => w.scripted.refute(w.registry, taskId, w.ada, w.max));
  },
  "Window → Open by refute": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, true);
    await at((await now()) + PHASE_LENGTHS.seal);
    return drive(w, taskId, () => w.scripted.refute(w.registry, taskId, w.ada, w.max));
  },
  "Window → Void by refute": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, false);
    return drive(w, taskId, () => w.scripted.refute(w.registry, taskId, w.ada, w.max));
  },
  "Window → Seal by contradict": async () => {
    const { w, taskId } = await contradictable(true);
    return drive(w, taskId, () => w.contradict(taskId, fair.result, w.validators));
  },
  "Window → Open by contradict": async () => {
    const { w, taskId } = await contradictable(true);
    await at((await now()) + PHASE_LENGTHS.seal);
    return drive(w, taskId, () => w.contradict(taskId, fair.result, w.validators));
  },
  "Window → Void by contradict": async () => {
    const { w, taskId } = await contradictable(false);
    return drive(w, taskId, () => w.contradict(taskId, fair.result, w.validators));
  },
  "Confirmable → Confirmable by attest": async () => {
    const w = await world();
    const taskId = await opened(w, false, [...w.validators]);
    await w.registry.attest(taskId, [w.victor, w.vlad]);
    await goTo((await w.schedule(taskId)).windowEnd);
    return drive(w, taskId, () => w.registry.attest(taskId, [w.vera]));
  },
  "Confirmable → Seal by refute": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, true, [...w.validators]);
    // A quorum ends the window after 150 s: less than the 400 s in which the next candidate may be sealed.
    await w.registry.attest(taskId, [...w.validators]);
    await goTo((await w.schedule(taskId)).windowEnd);
    return drive(w, taskId, () => w.scripted.refute(w.registry, taskId, w.ada, w.max));
  },
  "Confirmable → Open by refute": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, true);
    await goTo((await w.schedule(taskId)).windowEnd);
    return drive(w, taskId, () => w.scripted.refute(w.registry, taskId, w.ada, w.max));
  },
  "Confirmable → Void by refute": async () => {
    const w = await worldWithDisputes();
    const taskId = await opened(w, false);
    await goTo((await w.schedule(taskId)).windowEnd);
    return drive(w, taskId, () => w.scripted.refute(w.registry, taskId, w.ada, w.max));
  },
  "Confirmable → Confirmed by confirm": async () => {
    const w = await world();
    const taskId = await w.toSeal([[w.ada, good]]);
    await w.toConfirmable(taskId, good);
    return drive(w, taskId, () => w.registry.confirm(taskId));
  },
  "Confirmed → Confirmed by settle": async () => {
    const { w, taskId, act } = await TASKS["Confirmable → Confirmed by confirm"]!();
    await act();
    return drive(w, taskId, () => w.registry.settle(taskId, w.ada));
  },
  "Confirmed → Confirmed by settleValidator": async () => {
    const { w, taskId, act } = await TASKS["Confirmable → Confirmed by confirm"]!();
    await act();
    return drive(w, taskId, () => w.registry.settleValidator(taskId, w.vera));
  },
  "Void → Void by settle": async () => {
    const w = await world();
    const taskId = await w.toReveal([[w.ada, good]]);
    await goTo((await w.schedule(taskId)).revealEnd);
    await w.advance(taskId);
    return drive(w, taskId, () => w.registry.settle(taskId, w.ada));
  },
};

/** Every call on a task, with arguments that would do in its own phase. */
const TASK_CALLS: Record<string, (w: World, taskId: bigint) => Promise<unknown>> = {
  commit: (w, taskId) => w.registry.connect(w.cleo).commit(taskId, digest("matrix")),
  release: (w, taskId) => w.registry.release(taskId, KEY),
  voteTestSet: (w, taskId) => w.registry.connect(w.victor).voteTestSet(taskId),
  reveal: (w, taskId) => w.reveal(taskId, w.ada, good),
  advance: (w, taskId) => w.advance(taskId),
  seal: (w, taskId) => w.seal(taskId, w.victor, w.ada.address, good),
  open: (w, taskId) => w.registry.open(taskId, hexlify(good.predictions), hexlify(labels), TEST_PARTS),
  attest: (w, taskId) => w.registry.attest(taskId, [w.victor]),
  contradict: (w, taskId) => w.contradict(taskId, fair.result, w.validators),
  confirm: (w, taskId) => w.registry.confirm(taskId),
  refute: (w, taskId) => w.scripted.refute(w.registry, taskId, w.ada, w.max),
  settle: (w, taskId) => w.registry.settle(taskId, w.ada),
  settleValidator: (w, taskId) => w.registry.settleValidator(taskId, w.victor),
};

describe("the table of tasks' states", () => {
  const rows = tableOf("Tasks");

  it("has a driver for every row, and no row twice", () => {
    expect(rows.map(nameOf).toSorted()).to.deep.equal(Object.keys(TASKS).toSorted());
  });

  it("names every phase as a start and as an end, and no other", () => {
    expect([...new Set(rows.flatMap(({ from, to }) => [from, to]))].toSorted()).to.deep.equal([...PHASES].toSorted());
  });

  it("leaves no phase but the two ends without a way out", () => {
    for (const phase of PHASES) {
      const leaves = rows.some(({ from, to }) => from === phase && to !== phase);
      expect(leaves, phase).to.equal(!["Confirmed", "Void"].includes(phase));
    }
  });

  for (const row of rows) {
    it(nameOf(row), async () => {
      const { w, taskId, act } = await TASKS[nameOf(row)]!();
      expect(await w.phase(taskId)).to.equal(row.from);
      await act();
      expect(await w.phase(taskId)).to.equal(row.to);
    });
  }

  for (const phase of PHASES) {
    const allowed = new Set(rows.filter(({ from }) => from === phase).map(({ call }) => call));
    // refutations need a deployment with disputes, and have a test of their own below
    const refused = Object.keys(TASK_CALLS).filter((call) => call !== "refute" && !allowed.has(call));
    it(`in ${phase} refuses ${refused.join(", ")}`, async () => {
      const arrival = rows.find((row) => row.from === phase && TASKS[nameOf(row)] !== undefined)!;
      const { w, taskId } = await TASKS[nameOf(arrival)]!();
      expect(await w.phase(taskId)).to.equal(phase);
      for (const call of refused) {
        await expect(TASK_CALLS[call]!(w, taskId), call)
          .to.be.revertedWithCustomError(w.registry, "WrongPhase")
          .withArgs(taskId, BigInt(PHASES.indexOf(phase)));
      }
    });
  }

  it("refuses a refutation everywhere but in Window and Confirmable", async () => {
    const refused = async (w: World, taskId: bigint): Promise<void> => {
      const phase = await w.phase(taskId);
      await expect(TASK_CALLS.refute!(w, taskId), phase)
        .to.be.revertedWithCustomError(w.registry, "WrongPhase")
        .withArgs(taskId, BigInt(PHASES.indexOf(phase)));
    };
    const w = await worldWithDisputes();
    await refused(w, 1n);
    const taskId = await w.publish();
    await refused(w, taskId);
    await goTo((await w.schedule(taskId)).trainingStart);
    await refused(w, taskId);
    await w.commit(taskId, w.ada, good);
    await goTo((await w.schedule(taskId)).trainingEnd);
    await refused(w, taskId);
    await w.release(taskId);
    await refused(w, taskId);
    await goTo((await w.schedule(taskId)).revealStart);
    await w.reveal(taskId, w.ada, good);
    await refused(w, taskId);
    await goTo((await w.schedule(taskId)).revealEnd);
    await refused(w, taskId);
    await w.advance(taskId);
    await refused(w, taskId);
    await goTo((await w.schedule(taskId)).sealDeadline);
    await refused(w, taskId);
    await w.open(taskId, good);
    await goTo((await w.schedule(taskId)).windowEnd);
    await w.registry.confirm(taskId);
    await refused(w, taskId);
    const empty = await w.toReveal([]);
    await goTo((await w.schedule(empty)).revealEnd);
    await w.advance(empty);
    await refused(w, empty);
  });
});

// ————— Rewards in a pool —————

interface PoolDrive {
  readonly w: World;
  readonly pool: Pool;
  readonly taskId: bigint;
  readonly act: () => Promise<unknown>;
}
const poolDrive = (w: World, pool: Pool, taskId: bigint, act: () => Promise<unknown>): PoolDrive => ({
  w,
  pool,
  taskId,
  act,
});
const poolTimed = async (w: World, pool: Pool, taskId: bigint, from: string): Promise<PoolDrive> => {
  const { deadline } = await pool.accountOf(taskId);
  return poolDrive(w, pool, taskId, async () => {
    await goTo(deadline - 1n);
    expect(await w.splitPhase(pool, taskId), "a second before").to.equal(from);
    await goTo(deadline);
  });
};
async function committed(): Promise<[World, Pool, bigint]> {
  const w = await worldWithDisputes();
  const pool = await w.createPool();
  const taskId = await w.toTraining();
  await commitPool(w, pool, taskId, good);
  return [w, pool, taskId];
}
async function collected(objectionWindow = 200): Promise<[World, Pool, bigint]> {
  const w = await worldWithDisputes();
  const pool = await w.createPool({ objectionWindow });
  const taskId = await win(w, pool);
  await pool.collect(taskId);
  return [w, pool, taskId];
}
const post = (w: World, pool: Pool, taskId: bigint) =>
  pool.connect(w.manager).postSplit(taskId, splitOf(tree(w.mia.address as Address)), cidOf("shares"));
async function claimable(): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await collected();
  await post(w, pool, taskId);
  await goTo((await pool.accountOf(taskId)).deadline);
  return [w, pool, taskId];
}
const submit = async (w: World, pool: Pool, taskId: bigint, miner = w.mia) =>
  pool.submitReceipt(taskId, miner, 1, 5, await receiptOf(w, pool, taskId, miner.address, 1n, 5n));
async function receipts(miners: (w: World) => World["mia"][]): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await collected();
  await goTo((await pool.accountOf(taskId)).deadline);
  for (const miner of miners(w)) await submit(w, pool, taskId, miner);
  return [w, pool, taskId];
}
async function receiptsOver(miners: (w: World) => World["mia"][]): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await receipts(miners);
  await goTo((await pool.accountOf(taskId)).deadline);
  return [w, pool, taskId];
}

/** A split with one leaf, and an objection against it from a quarter of the window on. */
async function objected(): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await collected();
  await post(w, pool, taskId);
  await goTo((await now()) + 50);
  await objectMissing(w, pool, taskId, w.mia.address);
  return [w, pool, taskId];
}
const demand = async (w: World, pool: Pool, taskId: bigint) => {
  await w.token.connect(w.stranger).approve(pool, REWARD);
  return pool.connect(w.stranger).demandLeaf(taskId, 0);
};
const answer = (w: World, pool: Pool, taskId: bigint, id = 1) =>
  pool.answer(taskId, id, leafOf(tree(w.mia.address as Address), 0), []);
async function answering(): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await objected();
  await goTo((await pool.accountOf(taskId)).deadline);
  return [w, pool, taskId];
}
async function contested(): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await collected();
  await post(w, pool, taskId);
  await w.scripted.setContested(taskId, pool, true);
  await goTo((await pool.accountOf(taskId)).deadline);
  return [w, pool, taskId];
}
async function fallen(): Promise<[World, Pool, bigint]> {
  const [w, pool, taskId] = await answering();
  await goTo((await pool.accountOf(taskId)).deadline);
  return [w, pool, taskId];
}

const POOL: Record<string, () => Promise<PoolDrive>> = {
  "None → Committed by commit": async () => {
    const w = await worldWithDisputes();
    const pool = await w.createPool();
    const taskId = await w.toTraining();
    return poolDrive(w, pool, taskId, () => commitPool(w, pool, taskId, good));
  },
  "Committed → Committed by commit": async () => {
    const [w, pool, taskId] = await committed();
    return poolDrive(w, pool, taskId, () => commitPool(w, pool, taskId, fair));
  },
  "Committed → Committed by reveal": async () => {
    const [w, pool, taskId] = await committed();
    await goTo((await w.schedule(taskId)).trainingEnd);
    await w.release(taskId);
    await goTo((await w.schedule(taskId)).revealStart);
    const seal = w.claimSealOf(taskId, pool.target as string, good);
    return poolDrive(w, pool, taskId, () => pool.connect(w.manager).reveal(taskId, good.opening, 36, seal));
  },
  "Committed → AwaitSplit by collect": async () => {
    const w = await worldWithDisputes();
    const pool = await w.createPool();
    const taskId = await win(w, pool);
    return poolDrive(w, pool, taskId, () => pool.collect(taskId));
  },
  "Committed → Closed by collect": async () => {
    const [w, pool, taskId] = await committed();
    await goTo((await w.schedule(taskId)).keyDeadline);
    await w.advance(taskId);
    return poolDrive(w, pool, taskId, () => pool.collect(taskId));
  },
  "AwaitSplit → Objection by postSplit": async () => {
    const [w, pool, taskId] = await collected();
    return poolDrive(w, pool, taskId, () => post(w, pool, taskId));
  },
  "AwaitSplit → Claims by postSplit": async () => {
    const [w, pool, taskId] = await collected(0);
    return poolDrive(w, pool, taskId, () => post(w, pool, taskId));
  },
  "AwaitSplit → Receipts by time": async () => {
    const [w, pool, taskId] = await collected();
    return poolTimed(w, pool, taskId, "AwaitSplit");
  },
  "Objection → Claims by time": async () => {
    const [w, pool, taskId] = await collected();
    await post(w, pool, taskId);
    return poolTimed(w, pool, taskId, "Objection");
  },
  "Objection → Objection by objectMissing": async () => {
    const [w, pool, taskId] = await collected();
    await post(w, pool, taskId);
    return poolDrive(w, pool, taskId, () => objectMissing(w, pool, taskId, w.max.address));
  },
  "Objection → Objection by demandLeaf": async () => {
    const [w, pool, taskId] = await collected();
    await post(w, pool, taskId);
    return poolDrive(w, pool, taskId, () => demand(w, pool, taskId));
  },
  "Objection → Objection by answer": async () => {
    const [w, pool, taskId] = await objected();
    return poolDrive(w, pool, taskId, () => answer(w, pool, taskId));
  },
  "Objection → Answering by time": async () => {
    const [w, pool, taskId] = await objected();
    return poolTimed(w, pool, taskId, "Objection");
  },
  "Objection → Fallen by time": async () => {
    const [w, pool, taskId] = await collected();
    const second = BigInt((await now()) + 1);
    const posting = await pool
      .connect(w.manager)
      .postSplit.populateTransaction(taskId, splitOf(tree(w.mia.address as Address)), cidOf("shares"));
    const signature = await receiptOf(w, pool, taskId, w.max.address, 1n, 5n);
    const objecting = await pool.objectMissing.populateTransaction(taskId, w.max, 1, 5, signature);
    await at(second);
    await pool.connect(w.manager).multicall([posting.data, objecting.data]);
    return poolTimed(w, pool, taskId, "Objection");
  },
  "Objection → Receipts by refuteSplit": async () => {
    const [w, pool, taskId] = await objected();
    return poolDrive(w, pool, taskId, () => w.scripted.refuteSplit(pool, taskId, w.ada));
  },
  "Answering → Answering by answer": async () => {
    const [w, pool, taskId] = await objected();
    await objectMissing(w, pool, taskId, w.max.address);
    await goTo((await pool.accountOf(taskId)).deadline);
    return poolDrive(w, pool, taskId, () => answer(w, pool, taskId));
  },
  "Answering → Claims by answer": async () => {
    const [w, pool, taskId] = await answering();
    return poolDrive(w, pool, taskId, () => answer(w, pool, taskId));
  },
  "Answering → Claims by time": async () => {
    const [w, pool, taskId] = await contested();
    return poolDrive(w, pool, taskId, () => w.scripted.setContested(taskId, pool, false));
  },
  "Answering → Fallen by time": async () => {
    const [w, pool, taskId] = await answering();
    return poolTimed(w, pool, taskId, "Answering");
  },
  "Answering → Receipts by refuteSplit": async () => {
    const [w, pool, taskId] = await contested();
    return poolDrive(w, pool, taskId, () => w.scripted.refuteSplit(pool, taskId, w.ada));
  },
  "Fallen → Receipts by finaliseFall": async () => {
    const [w, pool, taskId] = await fallen();
    return poolDrive(w, pool, taskId, () => pool.finaliseFall(taskId));
  },
  "Claims → Claims by claim": async () => {
    const [w, pool, taskId] = await claimable();
    return poolDrive(w, pool, taskId, () => pool.claim(taskId, leafOf(tree(w.mia.address as Address), 0), []));
  },
  "Claims → Claims by claimFee": async () => {
    const [w, pool, taskId] = await claimable();
    return poolDrive(w, pool, taskId, () => pool.claimFee(taskId));
  },
  "Receipts → Receipts by submitReceipt": async () => {
    const [w, pool, taskId] = await receipts(() => []);
    return poolDrive(w, pool, taskId, () => submit(w, pool, taskId));
  },
  "Receipts → ReceiptClaims by time": async () => {
    const [w, pool, taskId] = await receipts(({ mia }) => [mia]);
    return poolTimed(w, pool, taskId, "Receipts");
  },
  "Receipts → Unclaimed by time": async () => {
    const [w, pool, taskId] = await receipts(() => []);
    return poolTimed(w, pool, taskId, "Receipts");
  },
  "ReceiptClaims → ReceiptClaims by claimByReceipt": async () => {
    const [w, pool, taskId] = await receiptsOver(({ mia, max }) => [mia, max]);
    return poolDrive(w, pool, taskId, () => pool.claimByReceipt(taskId, w.max));
  },
  "ReceiptClaims → Closed by claimByReceipt": async () => {
    const [w, pool, taskId] = await receiptsOver(({ mia }) => [mia]);
    return poolDrive(w, pool, taskId, () => pool.claimByReceipt(taskId, w.mia));
  },
  "Unclaimed → Claims by reclaim": async () => {
    const [w, pool, earlier] = await claimable();
    await pool.claim(earlier, leafOf(tree(w.mia.address as Address), 0), []);
    const taskId = await win(w, pool);
    await pool.collect(taskId);
    for (let i = 0; i < 2; i++) await goTo((await pool.accountOf(taskId)).deadline);
    return poolDrive(w, pool, taskId, () => pool.reclaim(taskId));
  },
  "Unclaimed → Closed by reclaim": async () => {
    const [w, pool, taskId] = await receiptsOver(() => []);
    return poolDrive(w, pool, taskId, () => pool.reclaim(taskId));
  },
};

/**
 * Every call on a task's reward; commit and reveal are the registry's to refuse, and returnBond is due by objection,
 * whatever the phase.
 */
const POOL_CALLS: Record<string, (w: World, pool: Pool, taskId: bigint) => Promise<unknown>> = {
  collect: (_, pool, taskId) => pool.collect(taskId),
  postSplit: post,
  claim: (w, pool, taskId) => pool.claim(taskId, leafOf(tree(w.mia.address as Address), 0), []),
  claimFee: (_, pool, taskId) => pool.claimFee(taskId),
  submitReceipt: (w, pool, taskId) => submit(w, pool, taskId),
  claimByReceipt: (w, pool, taskId) => pool.claimByReceipt(taskId, w.mia),
  reclaim: (_, pool, taskId) => pool.reclaim(taskId),
  objectMissing: (w, pool, taskId) => objectMissing(w, pool, taskId, w.max.address),
  demandLeaf: demand,
  answer,
  finaliseFall: (_, pool, taskId) => pool.finaliseFall(taskId),
  refuteSplit: (w, pool, taskId) => w.scripted.refuteSplit(pool, taskId, w.ada),
};

describe("the table of a pool's rewards", () => {
  const rows = tableOf("Rewards in a pool");

  it("has a driver for every row, and no row twice", () => {
    expect(rows.map(nameOf).toSorted()).to.deep.equal(Object.keys(POOL).toSorted());
  });

  it("names every phase, and no other", () => {
    expect([...new Set(rows.flatMap(({ from, to }) => [from, to]))].toSorted()).to.deep.equal(
      [...SPLIT_PHASES].toSorted(),
    );
  });

  for (const row of rows) {
    it(nameOf(row), async () => {
      const { w, pool, taskId, act } = await POOL[nameOf(row)]!();
      expect(await w.splitPhase(pool, taskId)).to.equal(row.from);
      await act();
      expect(await w.splitPhase(pool, taskId)).to.equal(row.to);
    });
  }

  for (const phase of SPLIT_PHASES) {
    const allowed = new Set(rows.filter(({ from }) => from === phase).map(({ call }) => call));
    const refused = Object.keys(POOL_CALLS).filter((call) => !allowed.has(call));
    it(`in ${phase} refuses ${refused.join(", ")}`, async () => {
      const arrival = rows.find(({ to }) => to === phase) ?? rows.find(({ from }) => from === phase)!;
      const { w, pool, taskId, act } = await POOL[nameOf(arrival)]!();
      if (arrival.to === phase) await act();
      expect(await w.splitPhase(pool, taskId)).to.equal(phase);
      for (const call of refused) {
        await expect(POOL_CALLS[call]!(w, pool, taskId), call)
          .to.be.revertedWithCustomError(pool, "WrongSplitPhase")
          .withArgs(taskId, BigInt(SPLIT_PHASES.indexOf(phase)));
      }
    });
  }
});
