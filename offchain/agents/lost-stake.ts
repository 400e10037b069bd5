/** What a validator is told of stake that it has lost, and why its process does not stake again by itself. */
import { validatorStakeAbi } from "../protocol/abi.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { Duty } from "./duties.ts";
import { formatAmount } from "./registry.ts";
import { stakeAtRisk } from "./stake.ts";

interface LostStake {
  /** in units of the asset */
  readonly amount: bigint;
  /** who has half of it */
  readonly recipient: Address;
  readonly blockNumber: bigint;
}

/** The last stake that this account has lost, where it has staked nothing since. */
async function lastLoss(chain: ChainClient): Promise<LostStake | undefined> {
  const { stake: address, fromBlock } = chain.deployment;
  const of = { abi: validatorStakeAbi, address, args: { validator: chain.account }, fromBlock: BigInt(fromBlock) };
  const [lost, staked] = await Promise.all([
    chain.client.getContractEvents({ ...of, eventName: "Slashed" }),
    chain.client.getContractEvents({ ...of, eventName: "Staked" }),
  ]);
  const last = lost.findLast(({ args }) => args.amount! > 0n);
  if (last === undefined) return undefined;
  const { amount, recipient } = last.args;
  const since = staked.some(
    ({ blockNumber, logIndex }) =>
      blockNumber > last.blockNumber || (blockNumber === last.blockNumber && logIndex > last.logIndex),
  );
  return since ? undefined : { amount: amount!, recipient: recipient!, blockNumber: last.blockNumber };
}

/**
 * Sees to it that nobody's stake is lost twice for one fault: whoever computes otherwise than the chain would lose what
 * a restart puts in again.
 * @throws PonasError funds where this account has lost its stake and staked nothing since
 */
export async function refuseAfterLoss(chain: ChainClient): Promise<void> {
  const loss = await lastLoss(chain);
  if (loss === undefined) return;
  throw new PonasError("funds", `${describe(chain, loss)}, and nothing is staked again by itself.`, {
    cure: "find out which of its seals was false, then pass --stake-again; --stake 0 goes on without",
  });
}

/** The duty that says once that this account has lost stake, whatever has taken it. */
export function createLossWatch(chain: ChainClient, log: Log): Duty {
  let known: bigint | undefined;
  return {
    name: "watch stake",
    run: async () => {
      const stake = await stakeAtRisk(chain, chain.account);
      const fewer = known !== undefined && stake < known;
      const loss = fewer ? await lastLoss(chain) : undefined;
      known = stake;
      if (loss === undefined) return;
      const { amount, recipient } = loss;
      log.error({ event: "stake-lost", amount: String(amount), recipient }, `${describe(chain, loss)}.`);
    },
  };
}

const describe = ({ account }: Pick<ChainClient, "account">, { amount, recipient, blockNumber }: LostStake): string =>
  `The validator ${account} has lost its stake of ${formatAmount(amount)} in block ${blockNumber}, half of it to ` +
  `${recipient}, for a seal that it could not defend`;
