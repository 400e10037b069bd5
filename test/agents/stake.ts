import { expect } from "chai";

import { cancelUnbonding, stakeStatus, unbond, withdrawStake } from "../../offchain/agents/stake.ts";
import { ensureStake } from "../../offchain/agents/validator.ts";
import { localAssetAbi } from "../../offchain/protocol/abi.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import { explainError } from "../../offchain/protocol/errors.ts";
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
    expect((await withdrawStake(chain)).paid).to.equal(600n * TOKEN);
    expect(await balance()).to.equal(1000n * TOKEN);
  });

  it("stays where it is while a challenge of a seal holds it, and what is owed besides is paid", async () => {
    const sent: string[] = [];
    const values: Record<string, unknown> = { stakeOf: 5n, unbondingOf: [7n, 10], holdsOf: 1n, creditOf: 3n };
    const held = {
      account: chain.account,
      deployment: network.deployment,
      head: () => Promise.resolve({ number: 1n, hash: "0x01", timestamp: 20n }),
      read: ({ functionName }: { functionName: string }) => Promise.resolve(values[functionName]),
      send: ({ functionName }: { functionName: string }) => Promise.resolve(void sent.push(functionName)),
    } as unknown as ChainClient;
    expect(await withdrawStake(held)).to.deep.include({ paid: 3n, holds: 1 });
    expect(sent).to.deep.equal(["withdraw"]);
  });
});
