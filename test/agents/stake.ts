import { expect } from "chai";

import { cancelUnbonding, ensureStake, stakeStatus, unbond, withdrawStake } from "../../offchain/agents/stake.ts";
import { localAssetAbi } from "../../offchain/protocol/abi.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { explainError, PonasError } from "../../offchain/protocol/errors.ts";
import { createLines } from "./kit/dispute-cast.ts";
import { startLocalNetwork, type LocalNetwork } from "./local-network.ts";

const TOKEN = 10n ** 18n;
/** of the local network's deployment */
const UNBONDING_SECONDS = 86_400;

describe("A validator's stake", () => {
  let network: LocalNetwork;
  let chain: ChainClient;
  before(async () => {
    network = await startLocalNetwork();
    chain = await network.account(3, { tokens: 1000n });
    await ensureStake(1000n * TOKEN, { chain, log: network.log });
  });
  after(() => network.stop());

  const balance = (): Promise<bigint> => {
    const at = { abi: localAssetAbi, address: network.deployment.asset } as const;
    return chain.read({ ...at, functionName: "balanceOf", args: [chain.account] });
  };
  const refusal = (work: Promise<unknown>): Promise<string> => work.then(() => "none", explainError);
  const pass = async (seconds: number): Promise<void> => {
    await chain.client.request({ method: "evm_increaseTime", params: [seconds] } as never);
    await chain.client.request({ method: "evm_mine", params: [] } as never);
  };

  it("is refused where more is asked for than there is, or nothing", async () => {
    expect(await refusal(unbond(chain, 1001n * TOKEN))).to.equal(
      `The account ${chain.account} has 1000 of active stake, less than 1001.`,
    );
    expect(await refusal(unbond(chain, 0n))).to.equal("An amount of 0 unbonds nothing.");
    expect(await refusal(cancelUnbonding(chain))).to.equal(`The account ${chain.account} has nothing unbonding.`);
  });

  it("counts no longer once it unbonds, and is paid when its time has come, not before", async () => {
    const begun = await unbond(chain, 400n * TOKEN);
    expect(begun).to.include({ account: chain.account, active: 600n * TOKEN, holds: 0, credit: 0n });
    expect(begun.unbonding!.amount).to.equal(400n * TOKEN);
    expect(begun.unbonding!.secondsLeft).to.be.within(UNBONDING_SECONDS - 60, UNBONDING_SECONDS);

    expect((await withdrawStake(chain)).paid).to.equal(0n);
    expect((await stakeStatus(chain)).unbonding!.amount).to.equal(400n * TOKEN);

    // A validator that is started again, to answer for its seals, does not stake what it takes out.
    const { log, lines } = createLines();
    await ensureStake(1000n * TOKEN, { chain, log });
    expect((await stakeStatus(chain)).active).to.equal(600n * TOKEN);
    expect(lines.join()).to.contain("400 unbond, so nothing is staked beside the 600 that are left");

    await pass(UNBONDING_SECONDS);
    expect((await stakeStatus(chain)).unbonding!.secondsLeft).to.equal(0);
    const paid = await withdrawStake(chain);
    expect(paid).to.deep.include({ paid: 400n * TOKEN, active: 600n * TOKEN, unbonding: null, credit: 0n });
    expect(await balance()).to.equal(400n * TOKEN);
    expect((await withdrawStake(chain)).paid).to.equal(0n);
  });

  it("comes back where its unbonding is cancelled, and unbonds whole where no amount is said", async () => {
    expect((await unbond(chain, TOKEN)).active).to.equal(599n * TOKEN);
    expect(await cancelUnbonding(chain)).to.deep.include({ active: 600n * TOKEN, unbonding: null });
    expect((await unbond(chain)).active).to.equal(0n);
    expect(await refusal(unbond(chain))).to.equal(`The account ${chain.account} has no active stake to unbond.`);
    await pass(UNBONDING_SECONDS);
    await ensureStake(10n * TOKEN, { chain, log: network.log, again: true });
    expect((await stakeStatus(chain)).active).to.equal(10n * TOKEN);
    expect((await withdrawStake(chain)).paid).to.equal(600n * TOKEN);
    expect(await balance()).to.equal(990n * TOKEN);
  });

  /** A chain on which this account's unbonding is over, and these seals of it are held. */
  function holding(
    seals: readonly { participant: Address; challengeable: boolean; released?: boolean }[],
    challenges = 0,
  ) {
    const sent: string[] = [];
    const held = new Set(seals.filter(({ released }) => released !== true).map(({ participant }) => participant));
    const values: Record<string, () => unknown> = {
      stakeOf: () => 5n,
      unbondingOf: () => [7n, 10],
      holdsOf: () => BigInt(challenges + held.size),
      creditOf: () => 3n,
    };
    const send = async ({ functionName, args }: { functionName: string; args: readonly [bigint, Address] }) => {
      const seal = seals.find(({ participant }) => participant === args[1]);
      if (seal?.challengeable === true) throw new PonasError("reverted", "SealNotReleasable");
      if (seal !== undefined) held.delete(seal.participant);
      sent.push(functionName);
    };
    const chain = {
      account: `0x${"a".repeat(40)}`,
      deployment: network.deployment,
      client: {
        getContractEvents: () =>
          Promise.resolve(seals.map(({ participant }) => ({ args: { taskId: 1n, participant } }))),
      },
      head: () => Promise.resolve({ number: 1n, hash: "0x01", timestamp: 20n }),
      read: ({ functionName, args }: { functionName: string; args: readonly [bigint, Address] }) =>
        Promise.resolve(functionName === "isSealHeld" ? held.has(args[1]) : values[functionName]!()),
      send,
    } as unknown as ChainClient;
    return { chain, sent };
  }
  const [one, other, third] = ["1", "2", "3"].map((digit): Address => `0x${digit.repeat(40)}`);

  it("stays where it is while a challenge or a seal holds it, and what is owed besides is paid", async () => {
    const challenged = holding([], 1);
    expect(await withdrawStake(challenged.chain)).to.deep.include({ paid: 3n, holds: 1 });
    expect(challenged.sent).to.deep.equal(["withdraw"]);
    const held = holding([
      { participant: one!, challengeable: true },
      { participant: other!, challengeable: false },
    ]);
    expect(await withdrawStake(held.chain)).to.deep.include({ paid: 3n, holds: 1 });
    expect(held.sent).to.deep.equal(["releaseSeal", "withdraw"]);
  });

  it("leaves when the last held seal can be challenged no more", async () => {
    const { chain, sent } = holding([
      { participant: one!, challengeable: false },
      { participant: other!, challengeable: false, released: true },
      { participant: third!, challengeable: false },
    ]);
    expect(await withdrawStake(chain)).to.deep.include({ holds: 0 });
    expect(sent).to.deep.equal(["releaseSeal", "releaseSeal", "finishUnbonding", "withdraw"]);
  });
});
