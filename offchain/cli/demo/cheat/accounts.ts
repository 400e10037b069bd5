/** Where every unit of the asset went in the round with a liar, from the chain alone: it adds up or it is an error. */
import { createRegistry, type TaskState } from "../../../agents/registry.ts";
import {
  BURN_REASONS,
  CREDIT_REASONS,
  disputesAbi,
  localAssetAbi,
  taskRegistryAbi,
  validatorStakeAbi,
} from "../../../protocol/abi.ts";
import { formatAmount } from "../../../protocol/amounts.ts";
import type { Address } from "../../../protocol/bytes.ts";
import type { ChainClient } from "../../../protocol/chain-client.ts";
import { PonasError } from "../../../protocol/errors.ts";
import { CREDIT_TEXTS } from "../../../pool/explain.ts";
import { everyoneOfCheat, type Actor, type CheatCast } from "../cast.ts";
import { ENDOWMENT } from "../stage.ts";

export interface Entry {
  /** the asset's smallest unit; negative where it was paid or lost */
  readonly amount: bigint;
  readonly reason: string;
}

/** One actor's money: the entries add up to what it has more, or less, than at the beginning. */
export interface Account {
  readonly name: string;
  readonly role: string;
  readonly address: Address;
  readonly change: bigint;
  readonly entries: readonly Entry[];
}

export interface Accounts {
  readonly accounts: readonly Account[];
  readonly burned: readonly Entry[];
}

export const BURN_TEXTS: Record<(typeof BURN_REASONS)[number], string> = {
  CommitFee: "fees of commitments",
  UnrevealedBonds: "bonds of commitments that were not revealed",
  PublisherBond: "half of a publisher's bond",
  CandidateBond: "half the bond of a refuted candidate",
  PoolStake: "half a manager's stake",
  ObjectionBond: "half the bond of an objection that was wrong",
  ChallengeBond: "half the bond of a challenge that was wrong",
  DemandPrice: "half the price of demands that were answered",
  ValidatorStake: "half the stake of validators that sealed what was refuted",
};

/** The contracts that hold money. */
const HOLDERS = ["registry", "disputes", "stake"] as const;

/**
 * @param disputes the contract
 * @throws PonasError integrity where a unit is missing, or in the wrong hands
 */
export async function readAccounts(options: {
  readonly chain: ChainClient;
  readonly cast: CheatCast;
  readonly disputes: Address;
  readonly task: TaskState;
}): Promise<Accounts> {
  const { chain, cast, disputes, task } = options;
  const { asset, registry, stake, fromBlock } = chain.deployment;
  const actors = everyoneOfCheat(cast);
  const holders = { registry, disputes, stake };
  const since = { fromBlock: BigInt(fromBlock) } as const;
  const balance = (account: Address): Promise<bigint> =>
    chain.read({ abi: localAssetAbi, address: asset, functionName: "balanceOf", args: [account] });

  const accounts: Account[] = [];
  let inHands = 0n;
  for (const actor of actors) {
    const { name, role, address } = actor;
    const wallet = await balance(address);
    const credits = await sum(
      HOLDERS.map((holder) =>
        chain.read({ abi: disputesAbi, address: holders[holder], functionName: "creditOf", args: [address] }),
      ),
    );
    const staked = await chain.read({
      abi: validatorStakeAbi,
      address: stake,
      functionName: "stakeOf",
      args: [address],
    });
    inHands += wallet + credits + staked;
    const entries = await entriesOf(actor);
    accounts.push({ name, role, address, change: wallet + credits + staked - ENDOWMENT, entries });
  }

  const burned: Entry[] = [];
  for (const holder of HOLDERS) {
    const logs = await chain.client.getContractEvents({
      abi: disputesAbi,
      address: holders[holder],
      eventName: "Burned",
      ...since,
      strict: true,
    });
    for (const { args } of logs) burned.push({ amount: args.amount, reason: BURN_TEXTS[BURN_REASONS[args.reason]!] });
    const has = await balance(holders[holder]);
    const owed = await chain.read({ abi: disputesAbi, address: holders[holder], functionName: "owed", args: [] });
    expectEqual(`what the ${holder} contract has`, has, "what it owes", owed);
  }
  const escrow = (
    await chain.read({ abi: taskRegistryAbi, address: registry, functionName: "taskOf", args: [task.id] })
  ).escrow;
  expectEqual("what the ended task still holds", escrow, "nothing", 0n);
  const burnedInAll = burned.reduce((total, { amount }) => total + amount, 0n);
  expectEqual(
    "what everybody has, and what is burned",
    inHands + burnedInAll,
    "what everybody was given",
    ENDOWMENT * BigInt(actors.length),
  );
  for (const { name, change, entries } of accounts) {
    const explained = entries.reduce((total, { amount }) => total + amount, 0n);
    expectEqual(`what ${name} has more or less`, change, "the sum of its entries", explained);
  }
  return { accounts, burned };

  /** What an actor was credited, by the contracts' own events, and what it must have paid by the task's terms. */
  async function entriesOf(actor: Actor): Promise<Entry[]> {
    const { address } = actor;
    const entries: Entry[] = [];
    const about = { taskId: task.id, participant: address };
    const at = { abi: taskRegistryAbi, address: registry, strict: true, ...since } as const;
    const commitments = await chain.client.getContractEvents({ ...at, eventName: "Committed", args: about });
    if (commitments.length > 0) {
      entries.push({ amount: -task.commitBond, reason: "bond of its commitment" });
      const fees = -task.commitFee * BigInt(commitments.length);
      entries.push({ amount: fees, reason: `fee of ${times(commitments.length, "commitment")}, burned` });
    }
    const state = (await createRegistry(chain).commitmentOf(task.id, address))?.state;
    if (state !== undefined && state !== "Committed" && state !== "Withdrawn") {
      entries.push({ amount: -task.candidateBond, reason: "bond of its claim" });
    }
    if (address === task.publisher) {
      entries.push({ amount: -task.reward, reason: "reward for the winner" });
      entries.push({ amount: -task.publisherBond, reason: "bond that it releases the key" });
      entries.push({ amount: -task.validatorFee, reason: "fee for the validators" });
    }
    const raised = await Promise.all(
      (["Challenged", "SealChallenged"] as const).map((eventName) =>
        chain.client.getContractEvents({ abi: disputesAbi, address: disputes, eventName, ...since, strict: true }),
      ),
    );
    const own = raised.flat().filter(({ args }) => args.challenger === address).length;
    if (own > 0) {
      const bond = await chain.read({ abi: disputesAbi, address: disputes, functionName: "challengeBond", args: [] });
      entries.push({ amount: -bond * BigInt(own), reason: `bond of ${times(own, "challenge")}` });
    }
    const slashed = await chain.client.getContractEvents({
      abi: validatorStakeAbi,
      address: stake,
      eventName: "Slashed",
      args: { validator: address },
      ...since,
      strict: true,
    });
    for (const { args } of slashed) {
      entries.push({ amount: -args.amount, reason: "stake of a validator that sealed what was refuted" });
    }
    for (const holder of HOLDERS) {
      const logs = await chain.client.getContractEvents({
        abi: disputesAbi,
        address: holders[holder],
        eventName: "Credited",
        args: { account: address },
        ...since,
        strict: true,
      });
      for (const { args } of logs) {
        entries.push({ amount: args.amount, reason: CREDIT_TEXTS[CREDIT_REASONS[args.reason]!] });
      }
    }
    return entries;
  }
}

function times(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count} ${what}s`;
}

async function sum(amounts: readonly Promise<bigint>[]): Promise<bigint> {
  return (await Promise.all(amounts)).reduce((total, amount) => total + amount, 0n);
}

function expectEqual(what: string, is: bigint, other: string, wanted: bigint): void {
  if (is === wanted) return;
  throw new PonasError(
    "integrity",
    `The accounts do not add up: ${what} is ${formatAmount(is)}, ${other} is ${formatAmount(wanted)}.`,
  );
}
