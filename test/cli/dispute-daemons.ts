import { existsSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { HDNodeWallet } from "ethers";

import { isOpen } from "../../offchain/agents/disputes-contract.ts";
import type { DisputeReport } from "../../offchain/agents/dispute-report.ts";
import { balanceOf, until } from "../agents/kit/dispute-cast.ts";
import { DISPUTES, startLocalNetwork, type LocalNetwork } from "../agents/local-network.ts";
import { terms, TOKEN } from "../agents/noise-task.ts";
import { startLie, type LyingTask } from "../agents/scenarios/challengers.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, startPonas, type Running, type Workplace } from "./support.ts";

const MNEMONIC = "test test test test test test test test test test test junk";
const { bond } = DISPUTES;
/** What a validator stakes where nothing is said. */
const STAKE = 1000n * TOKEN;

/** What `--json` prints of a dispute: amounts and numbers of the chain are decimal strings. */
type Printed<T> = { [K in keyof T]: T[K] extends bigint ? string : T[K] };
interface PrintedReport {
  readonly challenges: readonly Printed<DisputeReport["challenges"][number]>[];
  readonly demands: readonly Printed<DisputeReport["demands"][number]>[];
}

/**
 * A challenger and a validator as processes, against a liar: both challenge it, both are killed with −9 in the middle of
 * the game, and both are there again. `ponas disputes` looks on.
 */
describe("ponas challenger run, validator run and disputes on a chain", function () {
  this.timeout(300_000);
  let network: LocalNetwork;
  let place: Workplace;
  let task: LyingTask;
  const running: Running[] = [];

  const start = (...args: string[]): Running => {
    const begun = startPonas(args, { ...place, env: { PONAS_PARENT: String(process.pid) } });
    running.push(begun);
    return begun;
  };
  const onChain = (): string[] => ["--rpc", network.rpcUrl, "--deployment", join(network.dir, "deployment.json")];
  /** The arguments of a daemon with the n-th account. */
  const daemon = (role: string, index: number): string[] => {
    const { privateKey } = HDNodeWallet.fromPhrase(MNEMONIC, undefined, `m/44'/60'/0'/0/${index}`);
    const keyFile = join(place.cwd, place.write(`${role}.key`, privateKey));
    const own = ["--key-file", keyFile, "--state-dir", join(place.cwd, role), "--peer", task.peer];
    return [role, "run", ...onChain(), ...own, "--log", "json"];
  };
  const disputes = (...args: string[]) => ponas(["disputes", ...onChain(), ...args], place);
  const stages = async (): Promise<string[]> => (await task.challenges()).map(({ stage }) => stage);

  before(async () => {
    place = createWorkplace();
    network = await startLocalNetwork({ disputes: true });
  });
  after(async () => {
    await Promise.all(running.map((one) => one.kill("SIGKILL")));
    await network.stop();
    place[Symbol.dispose]();
  });

  it("play a dispute to its end through kill −9, pay out, and end with 0 at Ctrl-C", async () => {
    const challenger = await network.account(4);
    const validator = await network.account(5);
    task = await startLie(network, "processes", 2);
    const { taskId, sample, participant: liar } = task;
    const roles = [daemon("challenger", 4), daemon("validator", 5)];
    const first = roles.map((args) => start(...args));
    const watching = start("disputes", ...onChain(), "--watch");
    await Promise.all(first.map((one) => one.said('"event":"ready"')));
    expectRefusal(
      await ponas(roles[0]!, place),
      1,
      /^The challenger's account 0x\w{40} is in use by process \d+\. \(stop that process, or /,
    );

    await until(network, async () => (await stages()).filter((stage) => stage === "Trace").length === 2);
    const seen = await disputes("--json", "--peer", task.peer);
    const { challenges, demands } = jsonOf<PrintedReport>(seen);
    expect(demands).to.deep.equal([]);
    expect(challenges).to.have.length(2);
    for (const one of challenges) {
      expect(one).to.include({ task: String(taskId), candidate: liar, sample, bond: String(bond), stage: "Trace" });
      expect(one).to.include({ toMove: "claimant", right: "challenger", unknown: null });
      expect(one.secondsLeft).to.be.within(0, DISPUTES.answerPeriod);
    }
    expect(challenges.map((one) => one.challenger)).to.have.members([challenger.account, validator.account]);

    // Killed where none has been won: the liar owes each of them answers still.
    task.letAnswer(true);
    await until(network, async () => (await stages()).some((stage) => !["Trace", "Tensor"].includes(stage)));
    task.letAnswer(false);
    const killed = await Promise.all(first.map((one) => one.kill("SIGKILL")));
    expect(killed.map(({ code }) => code)).to.deep.equal([null, null]);
    expect((await task.challenges()).map(({ stage }) => isOpen(stage))).to.deep.equal([true, true]);
    const second = roles.map((args) => start(...args));
    task.letAnswer(true);

    await task.end();
    // One has half the candidate's bond, both have their own bonds back.
    const half = (terms.reward * BigInt(terms.candidateBondBps)) / 20_000n;
    const paid = async (): Promise<bigint[]> => Promise.all([challenger, validator].map(balanceOf));
    const all = 2n * 10_000n * TOKEN - STAKE + half;
    await until(network, async () => (await paid()).reduce((sum, one) => sum + one, 0n) === all);
    const [ofChallenger, ofValidator] = (await paid()) as [bigint, bigint];
    const won = [ofChallenger - 10_000n * TOKEN, ofValidator - 10_000n * TOKEN + STAKE];
    expect(won).to.have.members([0n, half]);

    for (const one of second) await one.said('"event":"withdraw-credit"');
    const [ended, ...others] = await Promise.all([...second.map((one) => one.kill("SIGINT")), watching.kill("SIGINT")]);
    expect([ended!, ...others].map(({ code }) => code)).to.deep.equal([0, 0, 0]);
    for (const { stderr } of [ended!, ...others]) expect(stderr).not.to.match(/unexpectedly|^\s+at /m);
    for (const role of ["challenger", "validator"]) expect(existsSync(join(place.cwd, role, `${role}.lock`))).to.equal(false); // prettier-ignore
    expect(watching.soFar().stdout)
      .to.match(/\nThere are no open disputes\.\n/)
      .and.match(new RegExp(`\\nchallenge 1 of task ${taskId}: 0x\\w{40} says that class \\d of sample ${sample} is not what the model of ${liar} makes of it; bond 1; Trace, the claimant is to move, \\d+ s left\\n`)); // prettier-ignore
  });

  it("say what was, and what there is not", async () => {
    const [all, nowhere] = await Promise.all([
      disputes("--json", "--task", String(task.taskId)),
      disputes("--task", "99"),
    ]);
    const { challenges } = jsonOf<PrintedReport>(all);
    expect(challenges.map(({ stage }) => stage)).to.have.members(["Refuted", "Moot"]);
    for (const { toMove, secondsLeft, right } of challenges) expect([toMove, secondsLeft, right]).to.deep.equal([null, null, null]); // prettier-ignore
    expectRefusal(nowhere, 1, "There is no task 99.");
  });
});
