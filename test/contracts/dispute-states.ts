import { readFileSync } from "node:fs";

import { expect } from "chai";

import { CHALLENGE_STAGES, DEMAND_STAGES } from "../../offchain/protocol/abi.ts";
import { challenge, disputable, movesOf, openPrediction, type Game, type Move } from "./dispute-game.ts";
import { FALSE_LOGITS, honest, LOGITS, lying, place, SAMPLE, TRUE } from "./kit/small-network.ts";
import { openOnTrial, wholeUnit } from "./kit/trials.ts";
import { goTo, networkHelpers, worldOfArithmetic, type Signer, type World } from "./support.ts";

const ALL_CALLS = ["answerTrace", "pickTensor", "answerRows", "pickRow", "answerPositions", "pickColumn", "answerValues", "prove"]; // prettier-ignore
const OPENING = 0xffff_ffff;

/** The rows "from to call" of the table under a heading of docs/states.md. */
function tableOf(heading: string): string[] {
  const text = readFileSync(new URL("../../docs/states.md", import.meta.url), "utf8");
  const section = text.split("\n## ").find((part) => part.startsWith(`${heading}\n`))!;
  const rows = section.split("\n").filter((line) => line.startsWith("| "));
  return rows.slice(2).map((line) => line.split("|").slice(1, 4).map((cell) => cell.trim()).join(" ")); // prettier-ignore
}

/** Tries a call on a chain that is put back afterwards; what it made of the stage, or null where it was refused. */
async function attempt<T>(call: () => Promise<unknown>, stage: () => Promise<T>): Promise<T | null> {
  const snapshot = await networkHelpers.takeSnapshot();
  try {
    await call();
    return await stage();
  } catch (error) {
    if (!(error instanceof Error) || !/revert/i.test(error.message)) throw error;
    return null;
  } finally {
    await snapshot.restore();
  }
}

describe("The states of disputes", function () {
  this.timeout(120_000);

  it("of challenges are those of docs/states.md, and no call moves one where no row allows it", async () => {
    const w = await worldOfArithmetic();
    const seen = new Set<string>();
    const stageOf = async (id: bigint) => CHALLENGE_STAGES[Number((await w.arithmetic.challengeOf(id)).stage)]!;

    /** Every call in this stage, by each side. */
    async function tryAll(id: bigint, moves: readonly Move[]): Promise<void> {
      const from = await stageOf(id);
      const record = async (name: string, by: Signer, args: readonly unknown[]) => {
        const call = () => w.arithmetic.connect(by).getFunction(name)(...args) as Promise<unknown>;
        const to = await attempt(call, () => stageOf(id));
        if (to !== null) seen.add(`${from} ${to} ${name}`);
      };
      for (const name of ALL_CALLS) {
        const move = moves.find((one) => one.name === name);
        if (move !== undefined) for (const by of [w.ada, w.stranger, w.victor]) await record(name, by, move.args);
      }
      for (const name of ["timeOut", "advance"]) await record(name, w.ben, [id]);
    }

    async function play(setting: typeof honest, game: Game, thorough: boolean): Promise<void> {
      const start = await networkHelpers.takeSnapshot();
      const taskId = await disputable(w, setting);
      const other = await challenge(w, taskId, w.ben, SAMPLE, setting.labels);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, setting.labels);
      seen.add(`None ${await stageOf(id)} challenge`);
      const moves = movesOf(id, setting, SAMPLE, game);
      for (const move of moves) {
        // The move that is due before others of its name.
        await tryAll(id, [move, ...moves]);
        if (thorough) {
          const snapshot = await networkHelpers.takeSnapshot();
          await goTo((await w.arithmetic.challengeOf(id)).deadline);
          await tryAll(id, moves);
          await snapshot.restore();
          await goTo((await w.arithmetic.challengeOf(other)).deadline);
          await w.arithmetic.timeOut(other);
          await tryAll(id, moves);
          await snapshot.restore();
        }
        await w.arithmetic.connect(move.by === "claimant" ? w.ada : w.stranger).getFunction(move.name)(...move.args);
      }
      await tryAll(id, moves);
      await start.restore();
    }

    /** A seal's challenges, with the validator in the claimant's part: played to their end, queued, and moot. */
    async function sealGames(): Promise<void> {
      const taskId = await disputable(w, honest, honest.labels, { sealers: [w.victor] });
      const lost = await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
      await goTo((await w.arithmetic.challengeOf(lost)).deadline);
      await w.arithmetic.timeOut(lost);
      const raise = async (): Promise<bigint> => {
        const prediction = openPrediction(SAMPLE, honest.labels);
        await w.arithmetic.connect(w.stranger).challengeSeal(taskId, w.ada, w.victor, ...prediction);
        const id = await w.arithmetic.challengeCount();
        seen.add(`None ${await stageOf(id)} challengeSeal`);
        return id;
      };
      const id = await raise();
      const moves = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(0) });
      const start = await networkHelpers.takeSnapshot();
      for (const move of moves) {
        await tryAll(id, [move, ...moves]);
        await w.arithmetic.connect(move.by === "claimant" ? w.victor : w.stranger).getFunction(move.name)(...move.args);
      }
      await tryAll(id, moves);
      await start.restore();
      for (let i = 1; i < 8; i++) await raise();
      const queued = await raise();
      await tryAll(queued, []);
      await goTo((await w.arithmetic.challengeOf(queued - 1n)).deadline);
      await tryAll(id, []);
      await w.arithmetic.timeOut(id);
      for (const other of [id, id + 1n, queued]) await tryAll(other, moves);
    }

    await play(honest, { claimant: TRUE, insists: place(0) }, true);
    await play(honest, { claimant: TRUE, insists: place(0), parts: 2 }, false);
    await play(lying, { claimant: FALSE_LOGITS, insists: place(LOGITS) }, false);

    const taskId = await disputable(w, honest);
    for (let i = 0; i < 8; i++) await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
    const queued = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
    seen.add(`None ${await stageOf(queued)} challenge`);
    const first = movesOf(queued, honest, SAMPLE, { claimant: TRUE, insists: place(0) });
    await tryAll(queued, first);
    // One of the eight is lost by its challenger: there is room.
    const theirs = movesOf(queued - 1n, honest, SAMPLE, { claimant: TRUE, insists: place(0) });
    const snapshot = await networkHelpers.takeSnapshot();
    await w.arithmetic.connect(w.ada).getFunction(theirs[0]!.name as string)(...theirs[0]!.args);
    await goTo((await w.arithmetic.challengeOf(queued - 1n)).deadline);
    await w.arithmetic.timeOut(queued - 1n);
    await tryAll(queued, first);
    await snapshot.restore();
    await goTo((await w.arithmetic.challengeOf(queued - 8n)).deadline);
    await w.arithmetic.timeOut(queued - 8n);
    await tryAll(queued, first);

    await sealGames();
    expect([...seen].toSorted()).to.deep.equal(tableOf("Challenges").toSorted());
  });

  it("of demands are those of docs/states.md, and no call moves one where no row allows it", async () => {
    const w: World = await worldOfArithmetic();
    const { taskId } = await openOnTrial(w);
    const seen = new Set<string>();
    const stageOf = async (id: bigint) => DEMAND_STAGES[Number((await w.arithmetic.demandOf(id)).stage)]!;
    const model = honest.openable.opening as never;
    const unit = wholeUnit(honest.network, 0, 0) as never;

    async function tryAll(id: bigint): Promise<void> {
      const from = await stageOf(id);
      for (const [name, args] of [
        ["answerModel", [id, model]],
        ["answerUnit", [id, model, unit]],
        ["expireDemand", [id]],
      ] as const) {
        const call = () => w.arithmetic.connect(w.ben).getFunction(name)(...args) as Promise<unknown>;
        const to = await attempt(call, () => stageOf(id));
        if (to !== null) seen.add(`${from} ${to} ${name}`);
      }
    }

    const game = w.arithmetic.connect(w.stranger);
    await game.demand(taskId, 0, 0);
    await game.demand(taskId, OPENING, 0);
    for (let index = 10; index < 16; index++) await game.demand(taskId, 0, index);
    await game.demand(taskId, 0, 1);
    for (const id of [1n, 9n]) seen.add(`None ${await stageOf(id)} demand`);
    for (const id of [1n, 2n, 9n]) await tryAll(id);
    const start = await networkHelpers.takeSnapshot();
    await w.arithmetic.answerUnit(1, model, unit);
    for (const id of [1n, 9n]) await tryAll(id);
    await start.restore();
    await goTo((await w.arithmetic.demandOf(8)).deadline);
    await tryAll(1n);
    await w.arithmetic.expireDemand(3);
    for (const id of [1n, 2n, 3n, 9n]) await tryAll(id);

    expect([...seen].toSorted()).to.deep.equal(tableOf("Demands").toSorted());
  });
});
