/** What validators have to lose, how it comes back to them, and what of it is somebody else's. */
import { validatorStakeAbi } from "../protocol/abi.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createRegistry, formatAmount, paying } from "./registry.ts";

const at = ({ deployment }: ChainClient) => ({ abi: validatorStakeAbi, address: deployment.stake }) as const;

/** All that a validator can lose: what is active, and what unbonds. */
export async function stakeAtRisk(chain: ChainClient, validator: Address): Promise<bigint> {
  const active = await chain.read({ ...at(chain), functionName: "stakeOf", args: [validator] });
  const [unbonding] = await chain.read({ ...at(chain), functionName: "unbondingOf", args: [validator] });
  return active + unbonding;
}

/** An account's stake; amounts in units of the asset. */
export interface StakeStatus {
  readonly account: Address;
  /** counts in votes and seals */
  readonly active: bigint;
  /** counts no longer, and may still be lost */
  readonly unbonding: {
    readonly amount: bigint;
    /** second, by the chain's clock, from which it can be withdrawn */
    readonly readyAt: number;
    readonly secondsLeft: number;
  } | null;
  /** challenges of its seals, and seals that are held: until they are decided no stake is withdrawn */
  readonly holds: number;
  /** the account's own already, to be withdrawn at any time */
  readonly credit: bigint;
}

export async function stakeStatus(chain: ChainClient): Promise<StakeStatus> {
  const { account } = chain;
  const [head, active, [amount, readyAt], holds, credit] = await Promise.all([
    chain.head(),
    chain.read({ ...at(chain), functionName: "stakeOf", args: [account] }),
    chain.read({ ...at(chain), functionName: "unbondingOf", args: [account] }),
    chain.read({ ...at(chain), functionName: "holdsOf", args: [account] }),
    chain.read({ ...at(chain), functionName: "creditOf", args: [account] }),
  ]);
  const secondsLeft = Math.max(0, readyAt - Number(head.timestamp));
  return {
    account,
    active,
    unbonding: amount === 0n ? null : { amount, readyAt, secondsLeft },
    holds: Number(holds),
    credit,
  };
}

/**
 * Sees to it that this account has at least `amount` staked.
 * @param again stakes also where some of its stake unbonds; otherwise who leaves is left alone
 */
export async function ensureStake(
  amount: bigint,
  { chain, log, again = false }: { readonly chain: ChainClient; readonly log: Log; readonly again?: boolean },
): Promise<void> {
  const { active, unbonding } = await stakeStatus(chain);
  if (active >= amount) return;
  if (unbonding !== null && !again) {
    const leaving = `${formatAmount(unbonding.amount)} unbond, so nothing is staked beside the ${formatAmount(active)}`;
    log.warn({ event: "leaving" }, `${leaving} that are left (--stake-again stakes what is missing)`);
    return;
  }
  await paying(chain, async () => {
    await createRegistry(chain).approve(chain.deployment.stake, amount - active);
    await chain.send({ ...at(chain), functionName: "stake", args: [amount - active] });
  });
  log.info({ event: "stake", amount: String(amount) }, `staked ${formatAmount(amount)}`);
}

/**
 * Begins to take stake out: it counts no longer from now on, and can be withdrawn when the unbonding period is over.
 * @param amount all that is active unless given
 * @throws PonasError funds where less is active; bad-input where nothing is, or nothing is asked for
 */
export async function unbond(chain: ChainClient, amount?: bigint): Promise<StakeStatus> {
  return paying(chain, async () => {
    const { active } = await stakeStatus(chain);
    const wanted = amount ?? active;
    if (active === 0n) throw new PonasError("bad-input", `The account ${chain.account} has no active stake to unbond.`);
    if (wanted === 0n) throw new PonasError("bad-input", "An amount of 0 unbonds nothing.");
    if (wanted > active) {
      const has = `The account ${chain.account} has ${formatAmount(active)} of active stake`;
      throw new PonasError("funds", `${has}, less than ${formatAmount(wanted)}.`);
    }
    await chain.send({ ...at(chain), functionName: "beginUnbonding", args: [wanted] });
    return stakeStatus(chain);
  });
}

/** Makes all that unbonds active again. @throws PonasError bad-input where nothing does */
export async function cancelUnbonding(chain: ChainClient): Promise<StakeStatus> {
  return paying(chain, async () => {
    const { unbonding } = await stakeStatus(chain);
    if (unbonding === null) throw new PonasError("bad-input", `The account ${chain.account} has nothing unbonding.`);
    await chain.send({ ...at(chain), functionName: "cancelUnbonding", args: [] });
    return stakeStatus(chain);
  });
}

/** A validator's seal on a candidate. */
export interface SealPlace {
  readonly taskId: bigint;
  readonly participant: Address;
  readonly validator: Address;
}

const asArguments = ({ taskId, participant, validator }: SealPlace) => [taskId, participant, validator] as const;

/** Whether a validator has stake that unbonds, and is not held for that seal. */
export async function isLeaving(chain: ChainClient, seal: SealPlace): Promise<boolean> {
  const [unbonding] = await chain.read({ ...at(chain), functionName: "unbondingOf", args: [seal.validator] });
  return unbonding > 0n && !(await chain.read({ ...at(chain), functionName: "isSealHeld", args: asArguments(seal) }));
}

/** Keeps the stake of a seal's validator as long as that seal may be challenged. Where somebody else did, nothing is done. */
export async function holdSeal(chain: ChainClient, seal: SealPlace): Promise<void> {
  try {
    await chain.send({ ...at(chain), functionName: "holdSeal", args: asArguments(seal) });
  } catch (error) {
    if (!(error instanceof PonasError && error.code === "reverted")) throw error;
    if (!(await chain.read({ ...at(chain), functionName: "isSealHeld", args: asArguments(seal) }))) throw error;
  }
}

/** Releases this account's seals that are held and can be challenged no more. */
async function releaseSeals(chain: ChainClient): Promise<void> {
  const held = await chain.client.getContractEvents({
    ...at(chain),
    eventName: "SealHeld",
    args: { validator: chain.account },
    fromBlock: BigInt(chain.deployment.fromBlock),
  });
  for (const { args } of held) {
    const seal = args as SealPlace;
    if (!(await chain.read({ ...at(chain), functionName: "isSealHeld", args: asArguments(seal) }))) continue;
    try {
      await chain.send({ ...at(chain), functionName: "releaseSeal", args: asArguments(seal) });
    } catch (error) {
      if (!(error instanceof PonasError && error.code === "reverted")) throw error; // it may be challenged yet
    }
  }
}

/**
 * Takes out what can be: the unbonded stake where its period is over and nothing holds it, and credits. Seals that are
 * held for nothing any more are released for it.
 * @returns what was paid, 0 where there is nothing yet, and how the stake stands after it
 */
export async function withdrawStake(chain: ChainClient): Promise<StakeStatus & { readonly paid: bigint }> {
  return paying(chain, async () => {
    const { unbonding, holds } = await stakeStatus(chain);
    const isReady = unbonding !== null && unbonding.secondsLeft === 0;
    if (isReady && holds > 0) await releaseSeals(chain);
    if (isReady && (holds === 0 || (await stakeStatus(chain)).holds === 0))
      await chain.send({ ...at(chain), functionName: "finishUnbonding", args: [] });
    const paid = await withdrawCredit(chain);
    return { ...(await stakeStatus(chain)), paid };
  });
}

/** Withdraws this account's halves of stakes that others have lost, if there are any. */
export async function collectLostStakes(chain: ChainClient, log: Log): Promise<void> {
  const credit = await withdrawCredit(chain);
  if (credit === 0n) return;
  log.info({ event: "withdraw-credit", amount: String(credit) }, `withdrew ${formatAmount(credit)} of lost stakes`);
}

/** @returns what was withdrawn, in units of the asset */
async function withdrawCredit(chain: ChainClient): Promise<bigint> {
  const credit = await chain.read({ ...at(chain), functionName: "creditOf", args: [chain.account] });
  if (credit > 0n) await chain.send({ ...at(chain), functionName: "withdraw", args: [] });
  return credit;
}
