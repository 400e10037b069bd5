import { expect } from "chai";

import { createLossWatch, refuseAfterLoss } from "../../offchain/agents/lost-stake.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import type { ChainClient, Head } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createLines } from "./kit/dispute-cast.ts";

const TOKEN = 10n ** 18n;
const account: Address = `0x${"a".repeat(40)}`;
const recipient: Address = `0x${"b".repeat(40)}`;
const head: Head = { number: 1n, hash: "0x01", timestamp: 1n };

type StakeEvent = readonly [name: "Staked" | "Slashed", block: bigint, index: number, amount: bigint];

/** A chain on which nothing but this happened to the account's stake. */
function chainOf(events: readonly StakeEvent[], stakes: readonly bigint[] = []): ChainClient {
  const left = [...stakes];
  const getContractEvents = async ({ eventName, args }: { eventName: string; args: { validator: Address } }) => {
    expect(args.validator).to.equal(account);
    return events
      .filter(([name]) => name === eventName)
      .map(([, blockNumber, logIndex, amount]) => ({ blockNumber, logIndex, args: { amount, recipient } }));
  };
  const read = async ({ functionName }: { functionName: string }): Promise<unknown> =>
    functionName === "stakeOf" ? left.shift() : [0n, 0];
  const at = recipient;
  const deployment = { chainId: 1, fromBlock: 0, asset: at, stake: at, registry: at, poolFactory: at };
  return { account, deployment, read, client: { getContractEvents } } as unknown as ChainClient;
}

const LOSS = `The validator ${account} has lost its stake of 1000 in block 7, half of it to ${recipient}, for a seal that it could not defend`; // prettier-ignore

describe("A validator that has lost its stake", () => {
  const refusalOf = (...events: StakeEvent[]): Promise<unknown> =>
    refuseAfterLoss(chainOf(events)).then(
      () => undefined,
      (error: unknown) => error,
    );
  const staked: StakeEvent = ["Staked", 3n, 5, 1000n * TOKEN];
  const lost: StakeEvent = ["Slashed", 7n, 5, 1000n * TOKEN];

  it("does not stake again by itself", async () => {
    const error = (await refusalOf(staked, lost)) as PonasError;
    expect(error).to.be.instanceOf(PonasError);
    expect(error.code).to.equal("funds");
    expect(error.message).to.equal(`${LOSS}, and nothing is staked again by itself.`);
    expect(error.cure).to.contain("--stake-again");
    expect(await refusalOf(staked, lost, ["Staked", 7n, 4, TOKEN]), "before it, in its block").to.be.instanceOf(Error);
  });

  it("may do so where it has lost nothing, or has staked since", async () => {
    for (const events of [
      [],
      [staked],
      [staked, lost, ["Staked", 7n, 6, TOKEN]],
      [staked, lost, ["Staked", 9n, 0, TOKEN]],
      [staked, ["Slashed", 7n, 5, 0n]],
    ] as StakeEvent[][]) {
      expect(await refusalOf(...events)).to.equal(undefined);
    }
  });

  it("says so once while it runs, and nothing where it has taken stake back itself", async () => {
    const { log, lines } = createLines();
    const unlucky = createLossWatch(chainOf([staked, lost], [1000n * TOKEN, 1000n * TOKEN, 0n, 0n]), log);
    const gone = createLossWatch(chainOf([staked], [1000n * TOKEN, 0n]), log);
    for (let i = 0; i < 4; i++) await unlucky.run(head);
    for (let i = 0; i < 2; i++) await gone.run(head);
    expect(lines).to.deep.equal([`${LOSS}.`]);
  });
});
