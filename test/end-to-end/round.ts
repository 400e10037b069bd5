import { expect } from "chai";

import type { TaskState } from "../../offchain/agents/registry.ts";
import type { LogRecord, Processes } from "../../offchain/cli/demo/processes.ts";
import { runDemo } from "../../offchain/cli/demo/run.ts";

/**
 * One round with every role in a process of its own, the manager killed with −9 in the middle of training and a
 * validator in the middle of sealing, each started again with the same arguments.
 */
describe("A whole round with separate processes", function () {
  this.timeout(280_000);

  it("ends right although the manager and a validator are killed and restarted in the middle", async () => {
    const killed = new Map<string, string>();
    const records: LogRecord[] = [];
    const sharesSeen = (): number =>
      records.filter(({ event, status }) => event === "trial" && status === "accepted").length;

    const meddle = async ({ phase }: TaskState, processes: Processes): Promise<void> => {
      if (phase === "Training" && !killed.has("pool") && sharesSeen() >= 2) {
        killed.set("pool", phase);
        await processes.restart("pool");
      }
      if (phase === "Seal" && !killed.has("validator-2")) {
        killed.set("validator-2", phase);
        await processes.restart("validator-2");
      }
    };
    const summary = await runDemo({
      dataset: "mnist",
      space: "demo",
      training: 75,
      epochs: 1,
      trainLimit: 6000,
      minAccuracy: 20,
      seed: 7,
      // All but idle, so that it is the pool that wins, and pays.
      soloThrottle: 0.02,
      signal: AbortSignal.timeout(270_000),
      onRecord: (record) => void records.push(record),
      onTask: () => undefined,
      onStep: () => undefined,
      meddle,
    });

    expect([...killed.keys()], "killed on the way").to.have.members(["pool", "validator-2"]);
    const [block] = summary.blocks;
    expect(block!.winnerRole).to.equal("pool");
    expect(summary.reevaluated).to.deep.equal({ correct: block!.correct, total: block!.total });
    expect(block!.correct / block!.total).to.be.above(0.8);

    const paid = summary.payments.reduce((sum, { amount }) => sum + amount, 0n);
    expect(paid).to.equal(summary.tasks[0]!.reward);
    expect(summary.payments.filter(({ role }) => role === "pool manager")).to.have.length(1);
    expect(summary.payments.filter(({ role }) => role === "pool miner").length).to.be.at.least(2);

    const fees = summary.otherCredits.filter(({ role }) => role === "validator");
    expect(fees, "the restarted validator is paid like the others").to.have.length(3);

    // Whoever got something got just what follows from chain and IPFS, to the last unit; the pool's reward passed through.
    expect(summary.explained.disagreements).to.deep.equal([]);
    const credited = new Map(summary.explained.accounts.map(({ account }) => [account as string, 0n]));
    const pool = { account: block!.winner, amount: summary.tasks[0]!.reward };
    for (const { account, amount } of [...summary.payments, ...summary.otherCredits, pool]) {
      credited.set(account, (credited.get(account) ?? 0n) + amount);
    }
    const explained = new Map(summary.explained.accounts.map(({ account, credited: sum }) => [account as string, sum]));
    expect(explained).to.deep.equal(credited);

    // What was accepted before the kill is counted after it, and nothing twice.
    const accepted = records.filter(({ event, status }) => event === "trial" && status === "accepted");
    expect(new Set(accepted.map(({ lease }) => lease)).size).to.equal(accepted.length);
  });
});
