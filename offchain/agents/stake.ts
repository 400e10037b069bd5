/** What validators have to lose, and what of it is somebody else's. */
import { validatorStakeAbi } from "../protocol/abi.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { formatAmount } from "./registry.ts";

/** All that a validator can lose: what is active, and what unbonds. */
export async function stakeAtRisk(chain: ChainClient, validator: Address): Promise<bigint> {
  const at = { abi: validatorStakeAbi, address: chain.deployment.stake } as const;
  const active = await chain.read({ ...at, functionName: "stakeOf", args: [validator] });
  const [unbonding] = await chain.read({ ...at, functionName: "unbondingOf", args: [validator] });
  return active + unbonding;
}

/** Withdraws this account's halves of stakes that others have lost, if there are any. */
export async function collectLostStakes(chain: ChainClient, log: Log): Promise<void> {
  const at = { abi: validatorStakeAbi, address: chain.deployment.stake } as const;
  const credit = await chain.read({ ...at, functionName: "creditOf", args: [chain.account] });
  if (credit === 0n) return;
  await chain.send({ ...at, functionName: "withdraw", args: [] });
  log.info({ event: "withdraw-credit", amount: String(credit) }, `withdrew ${formatAmount(credit)} of lost stakes`);
}
