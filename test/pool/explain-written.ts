import { expect } from "chai";

import { explainAccount, explainTask } from "../../offchain/pool/explain.ts";
import { readSharesFile } from "../../offchain/pool/shares-file.ts";
import type { SchemeTerms } from "../../offchain/pool/points-schemes.ts";
import { ScriptedMiner, SLOW } from "./kit/scripted-miner.ts";
import { confirmedTask, DESCRIBED, fileOf, MANAGER, poolOf, TASK, TERMS } from "./kit/won-task.ts";
import { cleanUp, createTestPool, DESCRIPTOR, taskOf, TEST } from "./kit/world.ts";

const SCHEMES: SchemeTerms[] = [
  { name: "performance" },
  { name: "effort" },
  { name: "blend", performance: 2, effort: 3 },
  { name: "pplns", trials: 6 },
];

describe("Explaining a split that a pool's manager has written", () => {
  after(cleanUp);

  for (const scheme of SCHEMES) {
    it(`re-derives every point by ${scheme.name}`, async () => {
      const pool = await createTestPool({ scheme, rules: { neighbourShare: 0, reseedShare: 0 } });
      const never = new AbortController().signal;
      // A task before this one, for the scheme that looks back.
      for (const taskId of [TASK - 1n, TASK]) {
        await pool.manager.openTask(taskOf(taskId));
        const ada = await new ScriptedMiner(pool.manager, 1).join();
        for (let round = 0; round < 3; round++) await ada.finish(await ada.job(round));
        const weak = await new ScriptedMiner(pool.manager, 2).join(SLOW);
        await weak.finish(await weak.job(0));
        await pool.manager.closeTask("over");
        await pool.manager.points(taskId, { test: TEST, signal: never });
        ada.hangUp();
        weak.hangUp();
      }
      const file = readSharesFile(await pool.manager.sharesFile(TASK), "The shares file");
      await pool.manager.stop();

      const winner = file.shares.find(({ taskId, testCorrect }) => taskId === TASK && testCorrect !== 0)!;
      const { events } = confirmedTask();
      const facts = confirmedTask({
        testCount: TEST.count,
        pools: [poolOf(file)],
        events: events.map((event) =>
          event.name === "BlockConfirmed"
            ? {
                ...event,
                args: {
                  ...event.args,
                  modelRoot: winner.modelRoot,
                  correct: winner.testCorrect ?? 1,
                  total: TEST.count,
                },
              }
            : event,
        ),
      });
      const described = { classes: DESCRIPTOR.template.classes, trainCount: DESCRIPTOR.trainCount };
      expect(described).to.deep.equal(DESCRIBED);
      const explanation = await explainTask({ facts, files: fileOf(file), described });
      expect(explanation.disagreements.map(({ message }) => message)).to.deep.equal([]);
      const paid = [...file.points.map(({ account }) => account), MANAGER];
      expect(paid.reduce((sum, account) => sum + explainAccount(explanation, account).total, 0n)).to.equal(
        TERMS.reward,
      );
      expect(file.shares.some(({ taskId }) => taskId !== TASK)).to.equal(scheme.name === "pplns");
    });
  }
});
