/**
 * What the calls cost, compared with snapshots/gas.json to the unit; UPDATE_SNAPSHOTS=1 writes it anew. Gas is that of
 * the whole transaction, calldata included.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

import { expect } from "chai";
import { hexlify, type ContractTransactionReceipt, type ContractTransactionResponse } from "ethers";

import { commitTestSet, resultHash, type Address } from "../../offchain/protocol/bytes.ts";
import { buildPointsTree } from "../../offchain/pool/points-tree.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { accountOf, commitPool, leafOf, receiptOf, splitOf, win } from "./pool-support.ts";
import { cidOf, deploy, ethers, goTo, modelOf, now, restart, units, world, type Model } from "./support.ts";

const FILE = new URL("../../snapshots/gas.json", import.meta.url);
const UPDATE = process.env.UPDATE_SNAPSHOTS === "1";
const recorded = (existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : {}) as Record<string, number>;
const measured: Record<string, number> = {};

async function measure(name: string, sent: Promise<ContractTransactionResponse>): Promise<ContractTransactionReceipt> {
  const receipt = (await (await sent).wait())!;
  measured[name] = Number(receipt.gasUsed);
  return receipt;
}

/** What participants of a task without dispute pay, in gas: at 1 gwei this must stay under 0.6 % of 1 ETH. */
const PARTICIPANTS_LIMIT = 6_000_000;

describe("gas", () => {
  const good = modelOf("good", 36);
  const fair = modelOf("fair", 30);

  // an empty chain, so that addresses, and with them the price of calldata, are the same whatever ran before
  before(restart);

  it("of a task from publication to the last payment", async () => {
    const w = await world();
    await measure("publish a task", w.registry.connect(w.publisher).publish(w.paramsOf()));
    const taskId = 1n;
    await goTo((await w.schedule(taskId)).trainingStart);
    await measure("commit for the first time", w.commit(taskId, w.ada, fair));
    await measure("replace a commitment", w.commit(taskId, w.ada, good));
    await w.commit(taskId, w.ben, fair);
    await w.commit(taskId, w.cleo, fair);
    await goTo((await w.schedule(taskId)).trainingEnd);
    await measure("release the key", w.release(taskId));
    await measure("vote the test set wrong", w.registry.connect(w.vlad).voteTestSet(taskId));
    await goTo((await w.schedule(taskId)).revealStart);
    await measure("reveal as a candidate", w.reveal(taskId, w.ada, good));
    await measure("reveal without a claim", w.reveal(taskId, w.ben, fair, 0));
    await w.reveal(taskId, w.cleo, fair);
    await goTo((await w.schedule(taskId)).revealEnd);
    await measure("take the first candidate", w.advance(taskId));
    await measure("seal a result", w.seal(taskId, w.victor, w.ada.address, good));
    await w.seal(taskId, w.vera, w.ada.address, good);
    await goTo((await w.schedule(taskId)).sealDeadline);
    await measure("open 40 predictions", w.open(taskId, good));
    await measure("attest two seals, reaching the quorum", w.registry.attest(taskId, [w.victor, w.vera]));
    await goTo((await w.schedule(taskId)).windowEnd);
    await measure("confirm a block", w.registry.confirm(taskId));
    await measure("settle the winner", w.registry.settle(taskId, w.ada));
    await measure("settle a candidate that was not examined", w.registry.settle(taskId, w.cleo));
    await measure("settle a validator", w.registry.settleValidator(taskId, w.victor));
    await measure("withdraw a credit", w.registry.connect(w.ada).withdraw());
  });

  it("of voiding a task and of eliminating a candidate", async () => {
    const w = await world();
    const keyless = await w.toAwaitKey([[w.ada, good]]);
    await goTo((await w.schedule(keyless)).keyDeadline);
    await measure("void a task whose key was not released", w.advance(keyless));
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    await goTo((await w.schedule(taskId)).openDeadline);
    await measure("eliminate an unopened candidate and take the next", w.advance(taskId));
  });

  it("of showing that a quorum sealed another result", async () => {
    const w = await world();
    const taskId = await w.toSeal([
      [w.ada, good],
      [w.ben, fair],
    ]);
    for (const validator of [w.victor, w.vera]) await w.seal(taskId, validator, w.ada.address, good, fair.result);
    await w.openExamined(taskId, good, []);
    await measure(
      "contradict a candidate by two seals and take the next",
      w.contradict(taskId, fair.result, [w.victor, w.vera]),
    );
  });

  it("of opening 10,000 predictions", async () => {
    const w = await world();
    const random = createRandom("gas");
    const count = 10_000;
    const labels = Uint8Array.from({ length: count }, () => random.integer(10));
    const predictions = labels.map((label) => (random.integer(100) < 95 ? label : (label + 1) % 10));
    const correct = labels.filter((label, i) => label === predictions[i]).length;
    const shape = { height: 1, width: 1, channels: 1, classes: 10 };
    const set = commitTestSet(new Uint8Array(count), labels, shape);
    const model: Model = { ...modelOf("large", 0), correct, predictions, result: resultHash(predictions) };
    const taskId = await w.toSeal([[w.ada, model]], { testCount: count, testRoot: set.testRoot });
    await goTo((await w.schedule(taskId)).sealDeadline);
    const parts = { ...shape, samplesRoot: set.samplesRoot };
    await measure("open 10,000 predictions", w.registry.open(taskId, hexlify(predictions), hexlify(labels), parts));
    expect(await w.phase(taskId)).to.equal("Window");
  }).timeout(60_000);

  it("of entering a queue of 64 candidates stays within the logarithm", async () => {
    const harness = await deploy("LibraryHarness");
    for (let i = 0; i < 64; i++) {
      const receipt = (await (await harness.push(100 + i, i + 1, accountOf(i))).wait())!;
      if (i === 3) measured["enter a queue of 3 candidates at its front"] = Number(receipt.gasUsed);
      if (i === 63) measured["enter a queue of 63 candidates at its front"] = Number(receipt.gasUsed);
    }
  });

  it("of staking", async () => {
    const w = await world();
    await measure("stake again", w.stake.connect(w.victor).stake(units(1)));
    await measure("begin unbonding", w.stake.connect(w.victor).beginUnbonding(units(1)));
    await goTo((await now()) + 10_000);
    await measure("finish unbonding", w.stake.connect(w.victor).finishUnbonding());
  });

  it("of a pool", async () => {
    const w = await world();
    const pool = await w.createPool();
    const created = await w.factory.connect(w.stranger).create(
      { manager: w.manager.address, receiptKey: w.receiptSigner.address, feeBps: 100, objectionWindow: 1, settlementWindow: 1, receiptsWindow: 1, schemeId: ethers.ZeroHash },
      ethers.ZeroHash,
    ); // prettier-ignore
    await measure("create a pool", Promise.resolve(created));
    const committing = await w.toTraining();
    await measure("commit through a pool", commitPool(w, pool, committing, good));
    const taskId = await win(w, pool);
    await measure("collect a won reward", pool.collect(taskId));
    const tree = buildPointsTree(
      Array.from({ length: 1000 }, (_, i) => ({ account: accountOf(i), points: BigInt(i + 1) })),
    );
    await measure("post a split", pool.connect(w.manager).postSplit(taskId, splitOf(tree), cidOf("shares")));
    await w.token.connect(w.stranger).approve(pool, units(100));
    const promised = { miner: accountOf(500), points: 501n };
    const receipt = await receiptOf(w, pool, taskId, promised.miner, 1n, promised.points);
    await measure(
      "object with a points receipt",
      pool.objectMissing(taskId, promised.miner, 1, promised.points, receipt),
    );
    await measure("demand a leaf", pool.connect(w.stranger).demandLeaf(taskId, 7));
    await measure(
      "answer a points receipt among 1,000 miners",
      pool.answer(taskId, 1, leafOf(tree, 500), tree.proof(500)),
    );
    await measure(
      "answer the demand of a leaf among 1,000 miners",
      pool.answer(taskId, 2, leafOf(tree, 7), tree.proof(7)),
    );
    await goTo((await pool.accountOf(taskId)).deadline);
    await measure("claim a share among 1,000 miners", pool.claim(taskId, leafOf(tree, 500), tree.proof(500)));
    await measure("claim the fee", pool.claimFee(taskId));
    const other = await win(w, pool);
    await pool.collect(other);
    await goTo((await pool.accountOf(other)).deadline);
    const signature = await receiptOf(w, pool, other, w.mia.address as Address, 1n, 5n);
    await measure("submit a points receipt", pool.submitReceipt(other, w.mia, 1, 5, signature));
    await goTo((await pool.accountOf(other)).deadline);
    await measure("claim by a receipt", pool.claimByReceipt(other, w.mia));
    const third = await win(w, pool);
    await pool.collect(third);
    await pool.connect(w.manager).postSplit(third, splitOf(tree), cidOf("shares"));
    for (const index of [0, 1]) await pool.connect(w.stranger).demandLeaf(third, index);
    for (let i = 0; i < 2; i++) await goTo((await pool.accountOf(third)).deadline);
    await measure("finalise the fall of a split", pool.finaliseFall(third));
    await measure("return a bond", pool.returnBond(third, 2));
  });

  it("that participants pay for a task without dispute stays under 0.6 % of a reward of 1 ETH at 1 gwei", () => {
    const paid = [
      "commit for the first time",
      "reveal as a candidate",
      "take the first candidate",
      "open 10,000 predictions",
      "attest two seals, reaching the quorum",
      "confirm a block",
      "settle the winner",
      "withdraw a credit",
      "seal a result",
      "seal a result",
      "seal a result",
      "settle a validator",
      "settle a validator",
      "settle a validator",
    ].reduce((sum, name) => sum + measured[name]!, 0);
    expect(paid).to.be.lessThan(PARTICIPANTS_LIMIT);
  });

  it("is what the snapshots say", () => {
    if (UPDATE) writeFileSync(FILE, `${JSON.stringify(measured, null, 2)}\n`);
    else expect(measured).to.deep.equal(recorded);
  });
});
