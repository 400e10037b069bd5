import { expect } from "chai";
import { hexlify, type ContractTransactionResponse } from "ethers";

import { modelRoot } from "../../offchain/evaluation/model.ts";
import { commitTestSet, resultHash } from "../../offchain/protocol/bytes.ts";
import { challenge, movesOf } from "./dispute-game.ts";
import { honest, place, SAMPLE, TRUE } from "./kit/small-network.ts";
import { wholeUnit } from "./kit/trials.ts";
import { examinePool } from "./pool-support.ts";
import { CHALLENGE_BOND, cidOf, DEMAND_PRICE, digest, goTo, world, worldOfArithmetic, type Model } from "./support.ts";

const SHAPE = { height: 6, width: 6, channels: 1, classes: 3 };

/** A pool's candidate with the honest small network, opened and in its window. */
async function poolOnTrial() {
  const w = await worldOfArithmetic();
  const { network, pixels, labels } = honest;
  const set = commitTestSet(pixels, labels, SHAPE);
  const model: Model = {
    opening: {
      modelRoot: modelRoot(network),
      modelCid: cidOf("network"),
      validationCorrect: 1,
      validationTotal: 1,
      salt: digest("salt"),
    },
    correct: labels.length,
    predictions: labels,
    result: resultHash(labels),
  };
  const pool = await w.createPool();
  const taskId = await w.toTraining({ testRoot: set.testRoot, testCount: labels.length, minCorrect: 1 });
  await examinePool(w, pool, taskId, model);
  await goTo((await w.registry.examinationOf(taskId)).sealDeadline);
  await w.registry.open(taskId, hexlify(labels), hexlify(labels), { ...SHAPE, samplesRoot: set.samplesRoot });
  return { w, pool, taskId };
}

describe("A pool's candidate in dispute", () => {
  it("is defended by its manager alone, and what disputes owe the pool goes to the float", async () => {
    const { w, pool, taskId } = await poolOnTrial();
    const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
    const moves = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(0) });
    for (const { by, name, args } of moves) {
      if (name === "answerTrace") {
        for (const other of [w.stranger, w.ada]) {
          const answer = w.arithmetic.connect(other).getFunction(name as string)(
            ...args,
          ) as Promise<ContractTransactionResponse>;
          await expect(answer).to.be.revertedWithCustomError(w.arithmetic, "NotYourMove");
        }
      }
      await w.arithmetic.connect(by === "claimant" ? w.manager : w.stranger).getFunction(name)(...args);
    }
    await w.arithmetic.connect(w.stranger).demand(taskId, 0, 0);
    const model = honest.openable.opening as never;
    await w.arithmetic.connect(w.manager).answerUnit(1, model, wholeUnit(honest.network, 0, 0) as never);

    const due = CHALLENGE_BOND / 2n + DEMAND_PRICE / 2n;
    expect(await w.arithmetic.creditOf(pool)).to.equal(due);
    const float = await pool.float();
    await expect(pool.connect(w.mia).collectDisputes()).to.emit(pool, "DisputesCollected").withArgs(due);
    expect((await pool.float()) - float).to.equal(due);
    expect(await w.token.balanceOf(pool)).to.equal(await pool.owed());
    await pool.collectDisputes();
    expect((await pool.float()) - float).to.equal(due);
    await pool.connect(w.manager).withdrawFloat(due);
  });

  it("has nothing to collect in a deployment without disputes", async () => {
    const w = await world();
    const pool = await w.createPool();
    const before = await pool.float();
    await pool.collectDisputes();
    expect(await pool.float()).to.equal(before);
  });
});
