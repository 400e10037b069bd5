/** The challenge windows of a task that is published: what a deployment allows, and what they are unless given. */
import { disputesAbi, taskRegistryAbi, validatorStakeAbi } from "../protocol/abi.ts";
import { ZERO_ADDRESS } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";

/** What a deployment fixes, in seconds. */
export interface Limits {
  /** of each move of a dispute; 0 without disputes */
  readonly answerPeriod: number;
  /** after which validators' stake can leave */
  readonly unbondingPeriod: number;
}

/** Lengths in seconds. */
export interface Windows {
  readonly shortWindow: number;
  readonly longWindow: number;
}

const SHORT_WINDOW = 600;
const LONG_WINDOW = 86_400;
/** Answer periods from a seal to the challenge of it, beside the windows (`TaskParameters`). */
const PERIODS_OF_DISPUTES = 18;

export async function readLimits(chain: ChainClient): Promise<Limits> {
  const { registry, stake } = chain.deployment;
  const [disputes, unbondingPeriod] = await Promise.all([
    chain.read({ abi: taskRegistryAbi, address: registry, functionName: "disputes", args: [] }),
    chain.read({ abi: validatorStakeAbi, address: stake, functionName: "unbondingPeriod", args: [] }),
  ]);
  const answerPeriod =
    disputes === ZERO_ADDRESS
      ? 0
      : await chain.read({ abi: disputesAbi, address: disputes, functionName: "answerPeriod", args: [] });
  return { answerPeriod, unbondingPeriod: Number(unbondingPeriod) };
}

/**
 * The windows as they were given; else ten minutes and a day, or longer where the deployment, or the other window, wants
 * it. A quorum that attests ends the window with the short one, and a challenger needs a period to get a message mined.
 * @throws PonasError usage, where the registry would refuse them
 */
export function chooseWindows(
  given: Partial<Windows> & { readonly seal: number; readonly open: number },
  { answerPeriod, unbondingPeriod }: Limits,
): Windows {
  const { seal, open } = given;
  const shortWindow = given.shortWindow ?? Math.max(SHORT_WINDOW, answerPeriod);
  const longWindow = given.longWindow ?? Math.max(LONG_WINDOW, shortWindow);
  if (shortWindow < answerPeriod) {
    throw new PonasError(
      "usage",
      `A short window of ${shortWindow} s is shorter than the ${answerPeriod} s in which a move of a dispute is to be made on this deployment: a challenger could come too late.`,
      { cure: `--short-window ${answerPeriod}, or more` },
    );
  }
  if (shortWindow > longWindow) {
    throw new PonasError(
      "usage",
      `A short window of ${shortWindow} s is longer than the long one of ${longWindow} s.`,
      { cure: `--long-window ${shortWindow}, or more` },
    );
  }
  const room = unbondingPeriod - PERIODS_OF_DISPUTES * answerPeriod;
  const longest = Math.floor((room - seal - open) / 2);
  if (longWindow > longest) {
    const shorter =
      longest >= shortWindow
        ? `--long-window ${longest}, or less`
        : `--seal, --open and twice --long-window of ${room} s or less together`;
    throw new PonasError(
      "usage",
      `Validators' stake can leave ${unbondingPeriod} s after it is asked for on this deployment, before two candidates are disputed to the end that have ${seal} s to be sealed, ${open} s to be opened and a long window of ${longWindow} s each.`,
      { cure: shorter },
    );
  }
  return { shortWindow, longWindow };
}
