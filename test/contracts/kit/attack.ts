/** One attack as two tests: with all defences, and without one of them. */
import { expect } from "chai";
import type { BaseContract, Interface } from "ethers";

import { CHALLENGE_STAGES } from "../../../offchain/protocol/abi.ts";
import { at, now, worldOfArithmetic, type World } from "../support.ts";
import { DEFENCES, type Defence } from "./defences.ts";
import { turnOff } from "./switches.ts";

/** The stage of a challenge by its name. */
export async function stageOf({ arithmetic }: World, id: bigint): Promise<string> {
  return CHALLENGE_STAGES[Number((await arithmetic.challengeOf(id)).stage)]!;
}

/** The second at which a challenge's clock runs out; 0 where none runs. */
export const deadlineOf = async ({ arithmetic }: World, id: bigint): Promise<bigint> =>
  (await arithmetic.challengeOf(id)).deadline;

/** Lets the clock of a challenge run out, if one runs, and says how the challenge ended. */
export async function afterSilence(w: World, id: bigint): Promise<string> {
  const deadline = await deadlineOf(w, id);
  if (deadline > 0n) {
    if ((await now()) < Number(deadline)) await at(deadline);
    await w.arithmetic.timeOut(id);
  }
  return stageOf(w, id);
}

/** The data with which a call was reverted, wherever the error holds it. */
function revertData(error: unknown): string | undefined {
  for (let at = error; typeof at === "object" && at !== null; at = (at as { cause?: unknown }).cause) {
    const { data } = at as { data?: unknown };
    if (typeof data === "string") return data;
    const inner = (data as { data?: unknown } | undefined)?.data;
    if (typeof inner === "string") return inner;
  }
  return undefined;
}

/** How a transaction ends: "done", or the name of the error that the contracts revert it with. */
export async function ending(w: World, transaction: Promise<unknown>, to?: BaseContract): Promise<string> {
  try {
    await transaction;
    return "done";
  } catch (error) {
    const data = revertData(error);
    const interfaces: Interface[] = [w.arithmetic, w.registry, w.stake, w.token, ...(to === undefined ? [] : [to])].map(
      (contract) => contract.interface,
    );
    for (const known of data === undefined ? [] : interfaces) {
      const name = known.parseError(data!)?.name;
      if (name !== undefined) return name;
    }
    throw error;
  }
}

/**
 * @param play the attack, which says in words how it ended; `off` where the defence is switched off
 * @param withstood how it ends at the deployed contracts
 * @param succeeds how it ends without the defence
 */
export function attack(
  name: string,
  {
    without,
    withstood,
    succeeds,
    in: makeWorld = worldOfArithmetic,
  }: {
    readonly without: Defence;
    readonly withstood: string;
    readonly succeeds: string;
    readonly in?: () => Promise<World>;
  },
  play: (w: World, off: boolean) => Promise<string>,
): void {
  describe(name, () => {
    it("does not get through", async () => {
      expect(await play(await makeWorld(), false)).to.equal(withstood);
    });
    it(`would get through where ${DEFENCES[without].without}`, async function () {
      // The first of them compiles.
      this.timeout(120_000);
      const w = await makeWorld();
      await turnOff(w, without);
      expect(await play(w, true)).to.equal(succeeds);
    });
  });
}
