/** What a task's payments are re-derived from: the chain's terms and events, and the files that its splits name. */
import type { Abi, ContractEventName, GetEventArgs } from "viem";

import type {
  BURN_REASONS,
  CREDIT_REASONS,
  PHASES,
  poolAbi,
  SPLIT_PHASES,
  taskRegistryAbi,
  VOID_REASONS,
} from "../protocol/abi.ts";
import type { Address, Hex } from "../protocol/bytes.ts";

export type CreditReason = (typeof CREDIT_REASONS)[number];
export type BurnReason = (typeof BURN_REASONS)[number];

/** Where an event stands on the chain. */
export interface EventOrigin {
  /** number of the chain's block */
  readonly block: bigint;
  /** place among the block's events */
  readonly index: number;
  readonly transaction: Hex;
}

/** Every event of a contract as a union by `name`, its arguments as viem decodes them. */
export type ChainEvent<A extends Abi> = {
  [N in ContractEventName<A>]: EventOrigin & {
    readonly name: N;
    readonly args: GetEventArgs<A, N, { EnableUnion: false; IndexedOnly: false; Required: true }>;
  };
}[ContractEventName<A>];

export type RegistryEvent = ChainEvent<typeof taskRegistryAbi>;
export type PoolEvent = ChainEvent<typeof poolAbi>;

/** A pool that has committed to the task. */
export interface PoolFacts {
  readonly pool: Address;
  readonly manager: Address;
  /** keccak256 of the name of its points scheme */
  readonly schemeId: Hex;
  /** seconds in which a split can be objected to; 0: nothing is staked on it */
  readonly objectionWindow: number;
  /** of this task's account */
  readonly phase: (typeof SPLIT_PHASES)[number];
  /** Unix seconds at which the phase ends; 0 where only a call ends it */
  readonly deadline: number;
  /** of this task, in the chain's order */
  readonly events: readonly PoolEvent[];
  /** the earlier split by which this reward is paid, where it was adopted; null where it was not */
  readonly adopted: Extract<PoolEvent, { name: "SplitPosted" }> | null;
}

/** One task at one block of the chain. Amounts are in the asset's smallest unit. */
export interface TaskFacts {
  readonly chainId: bigint;
  readonly registry: Address;
  readonly taskId: bigint;
  /** number of the block at which all of this was read */
  readonly at: bigint;
  readonly phase: (typeof PHASES)[number];
  readonly voidReason: (typeof VOID_REASONS)[number];
  readonly publisher: Address;
  readonly testCount: number;
  readonly reward: bigint;
  readonly publisherBond: bigint;
  readonly commitBond: bigint;
  readonly commitFee: bigint;
  /** what every candidate of the task posts */
  readonly candidateBond: bigint;
  readonly validatorFee: bigint;
  /** the registry's events of this task, in the chain's order */
  readonly events: readonly RegistryEvent[];
  readonly pools: readonly PoolFacts[];
}

/** A file by its CID as a pool's contract carries it: what arrived, verified against the CID, or why nothing did. */
export type FetchedFile = { readonly bytes: Uint8Array } | { readonly fault: string };

/** An amount that the contracts owe an account, or owed and have credited. */
export interface Due {
  /** the contract that holds the money */
  readonly contract: Address;
  readonly account: Address;
  readonly amount: bigint;
  readonly reason: CreditReason;
  /** short lines, each naming where its figures come from */
  readonly derivation: readonly string[];
  /** the transaction that must have credited it, or null with the call that will */
  readonly transaction: Hex | null;
  readonly call: string | null;
}

/** Something that was paid in and is not coming back. */
export interface Loss {
  readonly account: Address;
  readonly amount: bigint;
  readonly derivation: readonly string[];
}

/** A step that does not re-derive. */
export interface Disagreement {
  readonly kind: "payment" | "split" | "file" | "share" | "points" | "model";
  /** whose money it concerns; null: everybody's whom the task or the pool pays */
  readonly account: Address | null;
  readonly pool: Address | null;
  /** one sentence: what is said where, and what follows instead */
  readonly message: string;
  /** the call that acts on it while the pool's objection window is open; null where there is none */
  readonly remedy: string | null;
}

/**
 * The first event of a name, of those that fulfil the condition.
 * @param skip so many of them are passed over
 */
export function find<E extends { readonly name: string }, N extends E["name"]>(
  events: readonly E[],
  name: N,
  holds: (event: Extract<E, { name: N }>) => boolean = () => true,
  skip = 0,
): Extract<E, { name: N }> | undefined {
  return all(events, name).filter(holds)[skip];
}

/** All events of a name, in their order. */
export function all<E extends { readonly name: string }, N extends E["name"]>(
  events: readonly E[],
  name: N,
): Extract<E, { name: N }>[] {
  return events.filter((event): event is Extract<E, { name: N }> => event.name === name);
}

/** An event as a derivation cites it: "BlockConfirmed, chain block 57". */
export function cite({ name, block }: { readonly name: string; readonly block: bigint }): string {
  return `${name}, chain block ${block}`;
}

/** Appends a list of any length: as arguments of `push`, a hundred thousand of a liar's shares would break the stack. */
export function append<T>(list: T[], more: Iterable<T>): void {
  for (const entry of more) list.push(entry);
}
