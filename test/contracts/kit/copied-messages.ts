/** A message that somebody copies and sends first: what becomes of the copy, of the original, and of its sender. */
import { expect } from "chai";
import type { BaseContract, FunctionFragment } from "ethers";

import { networkHelpers, worldOfArithmetic, type Signer, type World } from "../support.ts";
import { ending, stageOf } from "./attack.ts";

export interface Message {
  readonly to: BaseContract;
  readonly by: Signer;
  readonly args: readonly unknown[];
}

export interface Copied {
  /** how the copy ends: "done", or the error */
  readonly copy: string;
  /** how the original ends that comes behind it */
  readonly original: string;
  /** units of the asset that its sender has more in the end than it would have had alone */
  readonly gain?: bigint;
  readonly arrange: (w: World) => Promise<Message>;
}

/** Everything that an account has. */
async function moneyOf(w: World, { address }: Signer, to: BaseContract): Promise<bigint> {
  let money = await w.token.balanceOf(address);
  const holders = new Set([w.registry, w.arithmetic, w.stake, ...("creditOf" in to ? [to as World["registry"]] : [])]);
  for (const contract of holders) money += await contract.creditOf(address);
  return money + (await w.stake.stakeOf(address)) + (await w.stake.unbondingOf(address)).amount;
}

/** What the contracts say of an account: its games, and of every task its state in it. */
async function standingOf(w: World, { address }: Signer): Promise<unknown[]> {
  const standing: unknown[] = [await w.stake.stakeOf(address)];
  for (let id = 1n; id <= (await w.arithmetic.challengeCount()); id++) {
    if ((await w.arithmetic.challengeOf(id)).challenger === address) standing.push(await stageOf(w, id));
  }
  for (let taskId = 1n; taskId <= (await w.registry.taskCount()); taskId++) {
    if ((await w.registry.taskOf(taskId)).publisher !== w.publisher.address) continue;
    const { state, modelRoot } = await w.registry.commitmentOf(taskId, address);
    const { seal, attested } = await w.registry.sealOf(taskId, w.ada, address);
    standing.push([await w.phase(taskId), Number(state), modelRoot, seal, attested]);
  }
  return standing;
}

/**
 * A test for each message, and one that no other function changes the contract.
 * @param functionsOf the contract; without it the messages are some of those that it takes
 * @param others functions that are tested elsewhere
 */
export function copiedMessages(
  contract: string,
  messages: Readonly<Record<string, Copied>>,
  functionsOf?: (w: World) => BaseContract,
  others: readonly string[] = [],
): void {
  for (const [name, { copy, original, gain = 0n, arrange }] of Object.entries(messages)) {
    const costs = gain < 0n ? "takes the refuter's part from" : "takes nothing from";
    it(`${costs} its sender: ${contract}.${name} (copy: ${copy}; original: ${original})`, async () => {
      const w = await worldOfArithmetic();
      const { by, args, to } = await arrange(w);
      const sent = (who: Signer) => to.connect(who).getFunction(name)(...args) as Promise<unknown>;
      const before = await networkHelpers.takeSnapshot();
      await ending(w, sent(by), to);
      const alone = { money: await moneyOf(w, by, to), standing: await standingOf(w, by) };
      await before.restore();
      await w.token.connect(w.cleo).approve(to, 2n ** 96n);
      expect(await ending(w, sent(w.cleo), to)).to.equal(copy);
      expect(await ending(w, sent(by), to)).to.equal(original);
      expect(await standingOf(w, by)).to.deep.equal(alone.standing);
      expect(await moneyOf(w, by, to)).to.equal(alone.money + gain);
    });
  }

  if (functionsOf === undefined) return;
  it(`is one of those above, or changes nothing: ${contract}`, async () => {
    const functions = functionsOf(await worldOfArithmetic()).interface.fragments.filter(
      (fragment): fragment is FunctionFragment =>
        fragment.type === "function" && !["view", "pure"].includes((fragment as FunctionFragment).stateMutability),
    );
    expect(functions.map(({ name }) => name).toSorted()).to.deep.equal(
      [...Object.keys(messages), ...others].toSorted(),
    );
  });
}
