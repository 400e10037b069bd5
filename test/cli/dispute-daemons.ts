import { existsSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { HDNodeWallet } from "ethers";

import { isOfClaimant } from "../../offchain/agents/dispute-clocks.ts";
import { isOpen, type ChallengeInTask } from "../../offchain/agents/disputes-contract.ts";
import type { DisputeReport } from "../../offchain/agents/dispute-report.ts";
import { stakeAtRisk } from "../../offchain/agents/stake.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { balanceOf, insist, someoneBelow, until } from "../agents/kit/dispute-cast.ts";
import { DISPUTES, startLocalNetwork, type LocalNetwork } from "../agents/local-network.ts";
import { terms, TOKEN, untilPhase } from "../agents/noise-task.ts";
import { startAlone, startLie, type LonelyTask, type LyingTask } from "../agents/scenarios/challengers.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, startPonas, type Running, type Workplace } from "./support.ts";

const MNEMONIC = "test test test test test test test test test test test junk";
const { bond } = DISPUTES;
/** The sample by which a true result is challenged. */
const SAMPLE = 7;
/** What a validator stakes where nothing is said. */
const STAKE = 1000n * TOKEN;

/** What `--json` prints of a dispute: amounts and numbers of the chain are decimal strings. */
type Printed<T> = { [K in keyof T]: bigint extends T[K] ? Exclude<T[K], bigint> | string : T[K] };
interface PrintedReport {
  readonly challenges: readonly Printed<DisputeReport["challenges"][number]>[];
  readonly demands: readonly Printed<DisputeReport["demands"][number]>[];
}

/**
 * A challenger and a validator as processes, in two tasks at once. In one both challenge a liar, are killed with −9 in the
 * middle of the game, and are there again. In the other an honest claimant is silent when its friend challenges it, so
 * that the friend can challenge the validator's seal. `ponas disputes` looks on.
 */
describe("ponas challenger run, validator run and disputes on a chain", function () {
  this.bail(true); // each goes on where the one before has ended
  let network: LocalNetwork;
  let place: Workplace;
  let lie: LyingTask;
  let sacrifice: Sacrifice;
  let challenger: ChainClient;
  let validator: ChainClient;
  let daemons: Running[];
  let watching: Running;
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
    const own = ["--key-file", keyFile, "--state-dir", join(place.cwd, role), "--peer", lie.peer, sacrifice.peer];
    return [role, "run", ...onChain(), ...own, "--log", "json"];
  };
  const disputes = (...args: string[]) => ponas(["disputes", ...onChain(), ...args], place);
  const stages = async (): Promise<string[]> => (await lie.challenges()).map(({ stage }) => stage);

  before(async () => {
    place = createWorkplace();
    network = await startLocalNetwork({ disputes: true });
    challenger = await network.account(4);
    validator = await network.account(5);
    [lie, sacrifice] = await Promise.all([startLie(network, "liar's", 2), startSacrifice(network, 6)]);
    daemons = [start(...daemon("challenger", 4)), start(...daemon("validator", 5))];
    watching = start("disputes", ...onChain(), "--watch");
    await Promise.all(daemons.map((one) => one.said('"event":"ready"')));
    sacrifice.begin(validator.account);
  });
  after(async () => {
    await Promise.all(running.map((one) => one.kill("SIGKILL")));
    await network.stop();
    place[Symbol.dispose]();
  });

  it("leave an account to the process that has it", async () => {
    expectRefusal(
      await ponas(daemon("challenger", 4), place),
      1,
      /^The challenger's account 0x\w{40} is in use by process \d+\. \(stop that process, or /,
    );
  });

  it("play a dispute to its end through kill −9", async () => {
    await until(network, async () => (await stages()).length === 2);
    lie.letAnswer(true);
    await until(network, async () => (await stages()).some((stage) => !["Trace", "Tensor"].includes(stage)));
    lie.letAnswer(false);
    // Killed where it is the liar's turn in both: however long they are away, nothing is lost but time.
    await until(network, async () => (await lie.challenges()).every(({ stage }) => isOfClaimant(stage)));
    const killed = await Promise.all(daemons.map((one) => one.kill("SIGKILL")));
    expect(killed.map(({ code }) => code)).to.deep.equal([null, null]);
    daemons = [start(...daemon("challenger", 4)), start(...daemon("validator", 5))];
    await Promise.all(daemons.map((one) => one.said('"event":"ready"')));
    lie.letAnswer(true);
    await lie.end();
    await until(network, async () => (await lie.challenges()).every(({ stage }) => !isOpen(stage)));
    expect(await stages()).to.have.members(["Refuted", "Moot"]);
  });

  it("tell a validator that its seal is challenged, and defend it", async () => {
    const { taskId, participant, friend } = sacrifice;
    expect((await sacrifice.over).stage).to.equal("Upheld");
    expect(await stakeAtRisk(validator, validator.account)).to.equal(STAKE);
    await daemons[1]!.said(
      new RegExp(
        `${friend} says that this validator has sealed a wrong prediction of sample ${SAMPLE} for ${participant} in task ` +
          `${taskId}; it answers by [-\\d]+T[:.\\d]+Z, or loses its stake of 1000`,
      ),
    );
    await daemons[1]!.said(`the seal stands; half of the bond of ${friend} is this validator's`);
  });

  it("have paid out what was won, and end with 0 at Ctrl-C", async () => {
    const { registry, disputes: contract } = lie;
    /** What an account has, and what it can withdraw: of seals the validator's agent withdraws when none can be challenged. */
    const worth = async (chain: ChainClient): Promise<bigint> =>
      (await balanceOf(chain)) + (await contract.creditOf(chain.account)) + (await registry.credit(chain.account));
    const half = (terms.reward * BigInt(terms.candidateBondBps)) / 20_000n;
    await until(network, async () => (await balanceOf(challenger)) >= 10_000n * TOKEN);
    await until(network, async () => (await worth(validator)) + (await balanceOf(challenger)) >= 20_000n * TOKEN - STAKE + half + bond / 2n); // prettier-ignore
    const won = [(await balanceOf(challenger)) - 10_000n * TOKEN, (await worth(validator)) - 10_000n * TOKEN + STAKE];
    expect([won[0]!, won[1]! - bond / 2n], "half the liar's bond is one's; of the friend's the validator's").to.have.members([0n, half]); // prettier-ignore

    const ended = await Promise.all([...daemons, watching].map((one) => one.kill("SIGINT")));
    expect(ended.map(({ code }) => code)).to.deep.equal([0, 0, 0]);
    for (const { stderr } of ended) expect(stderr).not.to.match(/unexpectedly|^\s+at /m);
    for (const role of ["challenger", "validator"]) expect(existsSync(join(place.cwd, role, `${role}.lock`))).to.equal(false); // prettier-ignore
  });

  it("say what is, what was, and what there is not", async () => {
    const says = (task: LonelyTask, sample: number): string =>
      `\nchallenge \\d+ of task ${task.taskId}: 0x\\w{40} says that class \\d of sample ${sample} is not what the model of ${task.participant} makes of it`; // prettier-ignore
    const { stdout } = watching.soFar();
    expect(stdout).to.match(/^[-\d]+T[:.\d]+Z\nThere are no open disputes\.\n/);
    expect(stdout).to.match(
      new RegExp(`${says(lie, lie.sample)}; bond 1; \\w+, the (claimant|challenger) is to move, \\d+ s left\n`),
    );
    expect(stdout).to.match(
      new RegExp(
        `${says(sacrifice, SAMPLE)}, as the validator ${validator.account} has sealed; bond 1, stake at risk 1000; ` +
          "\\w+, the (validator|challenger) is to move, \\d+ s left\n",
      ),
    );
    const of = (task: LonelyTask) => disputes("--json", "--task", String(task.taskId), "--peer", task.peer);
    const [ofLie, ofSacrifice, nowhere] = await Promise.all([of(lie), of(sacrifice), disputes("--task", "99")]);
    expectRefusal(nowhere, 1, "There is no task 99.");
    const { challenges, demands } = jsonOf<PrintedReport>(ofLie);
    expect(demands).to.deep.equal([]);
    expect(challenges.map(({ stage }) => stage)).to.have.members(["Refuted", "Moot"]);
    expect(challenges.map((one) => one.challenger)).to.have.members([challenger.account, validator.account]);
    const decided = { bond: String(bond), toMove: null, secondsLeft: null, unknown: null };
    for (const one of challenges) {
      expect(one).to.include({ ...decided, task: String(lie.taskId), candidate: lie.participant, sample: lie.sample });
      expect(one).to.include({ validator: null, stake: null, right: "challenger" });
    }
    const [ofClaim, ofSeal] = jsonOf<PrintedReport>(ofSacrifice).challenges;
    for (const one of [ofClaim, ofSeal]) expect(one).to.include({ ...decided, challenger: sacrifice.friend, sample: SAMPLE }); // prettier-ignore
    expect(ofClaim).to.include({ validator: null, stake: null, stage: "Refuted", right: "claimant" });
    expect(ofSeal).to.include({ validator: validator.account, stake: String(STAKE), stage: "Upheld" });
    expect(ofSeal).to.include({ right: "validator" });
  });
});

/** An honest candidate that does not answer its friend, who then challenges the validator that sealed its result. */
interface Sacrifice extends LonelyTask {
  readonly friend: Address;
  begin(validator: Address): void;
  /** The challenge of the seal, decided. */
  readonly over: Promise<ChallengeInTask>;
}

/** @param first index of the publisher's account; those of the claimant and of its friend are the next ones */
async function startSacrifice(network: LocalNetwork, first: number): Promise<Sacrifice> {
  const { signal } = network;
  const candidate = await someoneBelow(Infinity);
  const task = await startAlone(network, "sacrifice's", first, candidate);
  const { taskId, store, files, registry, participant } = task;
  const friend = await network.account(first + 2);
  const shared = { chain: friend, participant, model: candidate.model, sample: SAMPLE, store, files, signal };
  const started = Promise.withResolvers<Address>();
  const play = async (): Promise<ChallengeInTask> => {
    const validator = await started.promise;
    await untilPhase(registry, taskId, "Window");
    const lost = await insist(taskId, { ...shared, mayMove: () => false });
    expect(lost.stage, "the claimant is silent").to.equal("Refuted");
    return insist(taskId, { ...shared, validator, mayMove: () => true });
  };
  const over = play();
  over.catch(() => undefined); // its own test says so
  return { ...task, friend: friend.account, begin: started.resolve, over };
}
