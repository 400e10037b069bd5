import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import type { Train } from "../../offchain/search/search.ts";
import { essence, fakeSearch, fakeTrainer, hash, scratchFolder, type FakeResult } from "./kit/fake-search.ts";

const CHILD = join(import.meta.dirname, "kit/search-process.ts");

async function failure(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

const models = (file: string): string[] => (existsSync(`${file}.models`) ? readdirSync(`${file}.models`) : []);

describe("A search", () => {
  it("tries as many networks as asked for, no two the same, and hands out the best with its model", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a");
    const { train, orders } = fakeTrainer();
    const { best, trials, networks, exhausted } = await fakeSearch({ file, train });
    expect({ networks, exhausted }).to.deep.equal({ networks: 40, exhausted: null });
    expect(trials.map(({ trial }) => trial)).to.deep.equal(Array.from({ length: 40 }, (_, trial) => trial));
    expect(new Set(orders.map(({ architecture }) => JSON.stringify(architecture))).size).to.equal(40);
    expect(orders.every(({ epochs, initial }) => epochs === 3 && initial === null)).to.equal(true);
    const rewards = trials.map(({ reward }) => reward);
    expect(best!.reward).to.equal(Math.max(...rewards));
    expect(best!.trial.trial).to.equal(rewards.indexOf(best!.reward));
    expect(`0x${hash(best!.bytes)}`).to.equal(best!.trial.modelRoot);
    // A trial is marked where it beats all before it.
    expect(trials.filter((trial) => trial.best).map(({ trial }) => trial)).to.deep.equal(
      rewards.flatMap((reward, trial) => (rewards.slice(0, trial).every((other) => other < reward) ? [trial] : [])),
    );
    expect(models(file)).to.deep.equal([best!.trial.modelFile]);
  });

  for (const strategy of ["random", "evolution", "local-search", "rnn-reinforce"] as const) {
    it(`gives the same trials whatever the timing: ${strategy}`, async () => {
      using folder = scratchFolder();
      const results: FakeResult[] = [];
      for (const [timing, longest] of [
        [0, 0],
        [1, 6],
        [2, 6],
      ] as const) {
        const { train } = fakeTrainer({ timing, longest });
        results.push(await fakeSearch({ file: join(folder.path, String(timing)), strategy, train, episodes: 30 }));
      }
      expect(essence(results[1]!)).to.deep.equal(essence(results[0]!));
      expect(essence(results[2]!)).to.deep.equal(essence(results[0]!));
    });
  }

  it("trains nothing again that is in its journal, and goes on to more networks", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a");
    const first = await fakeSearch({ file, episodes: 25 });
    const again = fakeTrainer();
    expect(essence(await fakeSearch({ file, episodes: 25, train: again.train }))).to.deep.equal(essence(first));
    expect(again.orders).to.deep.equal([]);
    const more = await fakeSearch({ file, episodes: 40, train: again.train });
    expect(again.orders).to.have.length(15);
    expect(more.trials.filter(({ fresh }) => fresh)).to.have.length(15);
    expect(essence(more)).to.deep.equal(essence(await fakeSearch({ file: join(folder.path, "b") })));
    // Of fewer networks than it holds, the best of those: its model is made again, and the other one's stays.
    const fewer = await fakeSearch({ file, episodes: 10 });
    expect(essence(fewer)).to.deep.equal(essence(await fakeSearch({ file: join(folder.path, "c"), episodes: 10 })));
    expect(models(file)).to.include(more.best!.trial.modelFile);
  });

  it("makes the best model again where its file is lost or damaged", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a");
    const { best } = await fakeSearch({ file });
    const path = join(`${file}.models`, best!.trial.modelFile!);
    for (const spoil of [() => rmSync(path), () => writeFileSync(path, "other bytes")]) {
      spoil();
      expect((await fakeSearch({ file })).best!.bytes).to.deep.equal(best!.bytes);
      writeFileSync(path, best!.bytes);
    }
    rmSync(path);
    const other: Train = async (order, signal) => {
      return { ...(await fakeTrainer().train(order, signal)), modelRoot: "0xother" };
    };
    expect(await failure(fakeSearch({ file, train: other }))).to.include({ code: "integrity" });
  });

  it("refuses a journal whose trials its strategy would not have proposed", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a");
    await fakeSearch({ file });
    const lines = readFileSync(file, "utf8").split("\n");
    lines[9] = lines[9]!.replace(/"filters":(\d+)/, (_, filters) => `"filters":${filters === "24" ? 36 : 24}`);
    writeFileSync(file, lines.join("\n"));
    const { code, message } = await failure(fakeSearch({ file }));
    expect(code).to.equal("bad-input");
    expect(message).to.match(/^Trial \d+ of the journal .* is another network than the strategy proposes/);
  });

  it("scores a network that cannot be trained with 0 after a second attempt, and goes on", async () => {
    using folder = scratchFolder();
    const { train, orders } = fakeTrainer();
    const attempts = new Map<number, number>();
    const failing: Train = async (order, signal) => {
      const attempt = (attempts.get(order.trial) ?? 0) + 1;
      attempts.set(order.trial, attempt);
      if (order.trial === 3 || (order.trial === 5 && attempt === 1)) {
        throw new PonasError("engine", "The training process died.");
      }
      return train(order, signal);
    };
    const file = join(folder.path, "a");
    const result = await fakeSearch({ file, train: failing, episodes: 12 });
    expect(result.trials[3]).to.include({ reward: 0, failed: "The training process died.", modelRoot: null });
    expect(result.trials[5]!.failed).to.equal(null);
    expect([attempts.get(3), attempts.get(5)]).to.deep.equal([2, 2]);
    expect(orders).to.have.length(11);
    // It stays so: what was proposed after it depends on it.
    expect(essence(await fakeSearch({ file, episodes: 12 }))).to.deep.equal(essence(result));
  });

  it("ends where one training after another fails, or where one shows a defect", async () => {
    using folder = scratchFolder();
    const dying: Train = () => Promise.reject(new PonasError("engine", "There is no engine."));
    const { code, message } = await failure(fakeSearch({ file: join(folder.path, "a"), train: dying }));
    expect(code).to.equal("engine");
    expect(message).to.equal("3 trainings in a row failed. The last one: There is no engine.");
    const broken: Train = () => Promise.reject(new TypeError("undefined is not a function"));
    expect((await failure(fakeSearch({ file: join(folder.path, "b"), train: broken }))).name).to.equal("TypeError");
  });

  it("ends early where the space is used up", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a");
    const { networks, exhausted, trials } = await fakeSearch({ file, episodes: 50, filters: [4, 8, 12] });
    expect([networks, trials.length]).to.deep.equal([9, 9]);
    expect(exhausted).to.match(/no new network within the limits/);
  });

  it("stops when it is told to, and goes on to what an undisturbed search gives", async () => {
    using folder = scratchFolder();
    const undisturbed = essence(await fakeSearch({ file: join(folder.path, "whole") }));
    const file = join(folder.path, "a");
    for (const last of [0, 7, 30]) {
      const controller = new AbortController();
      const { train } = fakeTrainer({ timing: last, longest: 5 });
      const stopped = fakeSearch({
        file,
        train,
        signal: controller.signal,
        onTrial: ({ trial }) => trial === last && controller.abort(),
      });
      expect(await failure(stopped)).to.include({ code: "aborted" });
    }
    expect(essence(await fakeSearch({ file }))).to.deep.equal(undisturbed);
  });

  it("goes on to the same trials after kill -9 at any instant, with and without halving", async () => {
    using folder = scratchFolder();
    const random = createRandom("instants of death");
    let killed = 0;
    for (const eta of [undefined, 2]) {
      const undisturbed = essence(
        await fakeSearch({ file: join(folder.path, `whole-${eta}`), epochs: 4, ...(eta === undefined ? {} : { eta }) }),
      );
      const file = join(folder.path, `killed-${eta}`);
      let finished = 0;
      for (let life = 0; ; life++) {
        const child = spawn(process.execPath, [CHILD, file, String(eta ?? "none"), String(life)], {
          stdio: ["ignore", "pipe", "inherit"],
        });
        let output = "";
        child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
        // Most die while they train; loading takes the first part of a life, which is not the same twice.
        const closed = once(child, "close") as Promise<[number | null]>;
        if (life < 5) {
          await Promise.race([closed, journalGrows(file, 2 + random.integer(7))]);
          await new Promise((resolve) => setTimeout(resolve, random.integer(20)));
          child.kill("SIGKILL");
        }
        const [code] = await closed;
        if (code === 0) {
          expect(JSON.parse(output)).to.deep.equal(JSON.parse(JSON.stringify(undisturbed)));
          break;
        }
        killed++;
        const lines = readFileSync(file, "utf8").split("\n").slice(1, -1);
        expect(lines.length).to.be.at.least(finished);
        finished = lines.length;
        const records = lines.map((line) => JSON.parse(line) as { trial: number; rung: number });
        expect(new Set(records.map(({ trial, rung }) => `${trial}/${rung}`)).size).to.equal(finished);
      }
    }
    // A life may end by itself where this process gets no time to end it.
    expect(killed).to.be.at.least(5);
  });
});

/** Waits until so many lines were added to the file since now. */
async function journalGrows(file: string, lines: number): Promise<void> {
  const count = (): number => (existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0);
  const aim = count() + lines;
  const deadline = performance.now() + 10_000;
  while (count() < aim && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("A search with successive halving", () => {
  it("takes the best of each rung to the next one, from the weights of the last", async () => {
    using folder = scratchFolder();
    const { train, orders } = fakeTrainer();
    const { trials, best } = await fakeSearch({ file: join(folder.path, "a"), train, episodes: 18, epochs: 9, eta: 3 });
    const rungs = [0, 1, 2].map((rung) => trials.filter((trial) => trial.rung === rung));
    expect(rungs.map(({ length }) => length)).to.deep.equal([18, 6, 2]);
    expect(rungs.map((rung) => rung[0]!.epochs)).to.deep.equal([1, 3, 9]);
    for (const rung of [0, 1]) {
      const ranked = rungs[rung]!.toSorted((a, b) => b.reward - a.reward || a.trial - b.trial);
      expect(rungs[rung + 1]!.map(({ trial }) => trial)).to.deep.equal(
        ranked.slice(0, rungs[rung + 1]!.length).map(({ trial }) => trial),
      );
    }
    const made = new Map<string, string>();
    for (const { trial, rung, initial, epochs } of orders) {
      expect(epochs).to.equal([1, 2, 6][rung]);
      if (rung === 0) expect(initial).to.equal(null);
      else expect(`0x${hash(initial!)}`).to.equal(made.get(`${trial}/${rung - 1}`));
      made.set(`${trial}/${rung}`, trials.find((found) => found.trial === trial && found.rung === rung)!.modelRoot!);
    }
    expect(best!.reward).to.equal(Math.max(...trials.map(({ reward }) => reward)));
  });

  it("keeps only the models that may be gone on from, and at the end only the best", async () => {
    using folder = scratchFolder();
    const file = join(folder.path, "a");
    let most = 0;
    await fakeSearch({ file, episodes: 30, epochs: 4, eta: 2, onTrial: () => (most = Math.max(most, models(file).length)) }); // prettier-ignore
    expect(most).to.be.within(15, 15 + 7 + 1);
    expect(models(file)).to.have.length(1);
  });

  it("goes on to more networks as if it had been begun with them", async () => {
    using folder = scratchFolder();
    const options = { epochs: 4, eta: 2 };
    const whole = essence(await fakeSearch({ file: join(folder.path, "whole"), ...options, episodes: 40 }));
    const file = join(folder.path, "a");
    await fakeSearch({ file, ...options, episodes: 12 });
    expect(essence(await fakeSearch({ file, ...options, episodes: 40 }))).to.deep.equal(whole);
  });

  it("takes no network further that has no model", async () => {
    using folder = scratchFolder();
    const infeasible: Train = async (order, signal) => {
      return { ...(await fakeTrainer().train(order, signal)), infeasible: "its fan-in is too large" };
    };
    const options = { file: join(folder.path, "a"), episodes: 8, epochs: 4, eta: 2 };
    const { trials, best } = await fakeSearch({ ...options, train: infeasible });
    expect(trials.map(({ rung, reward }) => [rung, reward])).to.deep.equal(Array(8).fill([0, 0]));
    expect(best).to.equal(null);
  });
});
