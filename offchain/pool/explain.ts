/**
 * Every unit that anybody gets of a task, re-derived from the chain's events and the files that they name, and compared
 * with what the contracts have credited. Pure: whoever reads the chain and fetches the files hands them in.
 */
import { getAddress, zeroAddress } from "viem";

import { BURN_REASONS, CREDIT_REASONS } from "../protocol/abi.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import {
  all,
  cite,
  find,
  type CreditReason,
  type Disagreement,
  type Due,
  type FetchedFile,
  type Loss,
  type TaskFacts,
} from "./explain-facts.ts";
import { derivePool, splitOf, type FloatReturn } from "./explain-pool.ts";
import { blockLine, deriveRegistry, type RegistryAccount } from "./explain-registry.ts";
import { checkSplit } from "./explain-shares.ts";

/** What a credit was for, in words. */
export const CREDIT_TEXTS: Record<CreditReason | "Objection" | "ObjectionBond", string> = {
  Reward: "reward of the block",
  RewardReturned: "reward of the void task, back",
  PublisherBond: "publisher's bond, back",
  ValidatorFee: "validator's fee",
  ValidatorFeeReturned: "validators' fee, unearned",
  CommitBond: "commitment's bond, back",
  CandidateBond: "candidate's bond, back",
  Compensation: "compensation by the publisher",
  Refutation: "half the bond of a refuted candidate",
  Stake: "stake, back",
  PoolShare: "share of the pool's reward by points",
  PoolFee: "manager's fee of the pool's reward",
  PoolFloat: "manager's float, back",
  Objection: "half the manager's stake on a split that fell",
  ObjectionBond: "bond of an objection, back",
};

/** One amount of one account. */
export interface Part {
  readonly account: Address;
  /** the contract that credits it, and where it is withdrawn */
  readonly contract: Address;
  /** the asset's smallest unit */
  readonly amount: bigint;
  readonly reason: CreditReason;
  /** credited: the account has it; claimable: `derivation` ends with the call that credits it */
  readonly status: "credited" | "claimable";
  readonly derivation: readonly string[];
}

/** The winning model, evaluated anew. */
export interface Recomputed {
  /** null where the file is no model */
  readonly modelRoot: Hex | null;
  readonly correct: number;
  readonly total: number;
  /** which rule it breaks */
  readonly malformed: string | null;
}

export interface TaskExplanation {
  readonly task: bigint;
  /** number of the chain's block at which everything was read */
  readonly at: bigint;
  readonly phase: TaskFacts["phase"];
  readonly parts: readonly Part[];
  /** what went to the floats of pools' managers, beside the credits */
  readonly floats: readonly (FloatReturn & { readonly pool: Address })[];
  readonly losses: readonly Loss[];
  readonly disagreements: readonly Disagreement[];
  readonly verified: readonly string[];
  readonly trusted: readonly string[];
}

/** What one account gets of one task; amounts are in the asset's smallest unit. */
export interface AccountExplanation {
  readonly task: bigint;
  readonly account: Address;
  readonly at: bigint;
  readonly phase: TaskFacts["phase"];
  /** sum of the parts: what was credited, and what a call will credit */
  readonly total: bigint;
  readonly parts: readonly (Part & { readonly text: string })[];
  readonly floats: TaskExplanation["floats"];
  readonly losses: readonly Loss[];
  readonly disagreements: readonly Disagreement[];
  readonly verified: readonly string[];
  readonly trusted: readonly string[];
}

/**
 * Re-derives all payments of a task.
 * @param files the shares files of the pools' splits, by the CID that the contract carries (lower-case hex)
 * @param classes of the task's template; null where its descriptor could not be had
 * @param recomputed the winner evaluated anew, where that was asked for
 */
export async function explainTask(options: {
  readonly facts: TaskFacts;
  readonly files: ReadonlyMap<Hex, FetchedFile>;
  readonly classes: number | null;
  readonly recomputed?: Recomputed | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<TaskExplanation> {
  const { facts, files, classes, recomputed, signal } = options;
  const disagreements: Disagreement[] = [];
  const verified: string[] = [];
  const trusted: string[] = [];
  const disagree = (kind: Disagreement["kind"], message: string, account: Address | null = null): void =>
    void disagreements.push({ kind, account, pool: null, message, remedy: null });
  const registry = deriveRegistry(facts);
  for (const fault of registry.faults) disagree("payment", `Task ${facts.taskId}: ${fault}.`);
  const parts = [...compare(facts, facts.registry, facts.events, registry.dues, disagree)];
  checkBalance(facts, registry, disagree, verified);

  const floats: TaskExplanation["floats"][number][] = [];
  for (const pool of facts.pools) {
    const posted = splitOf(pool);
    const file = posted === undefined ? undefined : files.get(posted.args.sharesCid);
    const split = await checkSplit({ facts, pool, file, classes, signal });
    if (split !== null) {
      disagreements.push(...split.disagreements);
      verified.push(...split.verified);
      trusted.push(...split.trusted);
    }
    const ofPool = registry.dues.filter(({ account }) => account === pool.pool);
    const derived = derivePool(facts, pool, ofPool, split);
    disagreements.push(...derived.disagreements);
    floats.push(...derived.floats.map((float) => ({ ...float, pool: pool.pool })));
    const unexplained = split !== null && split.tree === null ? "no tree is known whose root was posted" : undefined;
    parts.push(...compare(facts, pool.pool, pool.events, derived.dues, disagree, unexplained));
  }
  checkModel(facts, recomputed, disagree, verified, trusted);
  const { taskId: task, at, phase } = facts;
  return { task, at, phase, parts, floats, losses: registry.losses, disagreements, verified, trusted };
}

/** One account's part of a task's explanation; disagreements that concern others alone are left out. */
export function explainAccount(explanation: TaskExplanation, given: Address): AccountExplanation {
  const account = getAddress(given);
  const { task, at, phase, verified, trusted } = explanation;
  const own = <T extends { readonly account: Address | null }>(entries: readonly T[]): T[] =>
    entries.filter((entry) => entry.account === account);
  const parts = own(explanation.parts).map((part) => ({ ...part, text: CREDIT_TEXTS[part.reason] }));
  return {
    task,
    account,
    at,
    phase,
    total: parts.reduce((sum, { amount }) => sum + amount, 0n),
    parts,
    floats: own(explanation.floats),
    losses: own(explanation.losses),
    disagreements: explanation.disagreements.filter((entry) => entry.account === null || entry.account === account),
    verified,
    trusted,
  };
}

/** Holds what a contract has credited against what it owes by the derivation. */
function* compare(
  { taskId }: TaskFacts,
  contract: Address,
  events: TaskFacts["events"] | TaskFacts["pools"][number]["events"],
  dues: readonly Due[],
  disagree: (kind: "payment", message: string, account: Address) => void,
  unexplained?: string,
): Generator<Part> {
  const credits = all(events as TaskFacts["events"], "Credited");
  const open = new Map<string, typeof credits>();
  const keyOf = (transaction: Hex, account: Address, reason: CreditReason): string =>
    `${transaction} ${account} ${reason}`;
  for (const credit of credits) {
    const key = keyOf(credit.transaction, credit.args.account, CREDIT_REASONS[credit.args.reason]!);
    open.set(key, [...(open.get(key) ?? []), credit]);
  }
  for (const { account, amount, reason, derivation, transaction, call } of dues) {
    if (transaction === null) {
      const pending = call === null ? [] : [`not credited yet: ${call}`];
      yield { account, contract, amount, reason, status: "claimable", derivation: [...derivation, ...pending] };
      continue;
    }
    const credit = open.get(keyOf(transaction, account, reason))?.shift();
    if (credit === undefined) {
      disagree(
        "payment",
        `Task ${taskId} owes ${account} ${amount} units (${CREDIT_TEXTS[reason]}), but the transaction ${transaction} credited nothing for it.`,
        account,
      );
      continue;
    }
    const paid = credit.args.amount;
    if (paid !== amount) {
      disagree(
        "payment",
        `${account} was credited ${paid} units (${CREDIT_TEXTS[reason]}; ${cite(credit)}), but ${amount} follow.`,
        account,
      );
    }
    yield {
      account,
      contract,
      amount: paid,
      reason,
      status: "credited",
      derivation: [...derivation, `credited (${cite(credit)}, transaction ${credit.transaction})`],
    };
  }
  for (const credit of [...open.values()].flat()) {
    const { account, amount, reason: number } = credit.args;
    const reason = CREDIT_REASONS[number]!;
    const why = unexplained ?? "nothing in the task's events says why";
    disagree(
      "payment",
      `${account} was credited ${amount} units (${CREDIT_TEXTS[reason]}; ${cite(credit)}), but ${why}.`,
      account,
    );
    const derivation = [`credited (${cite(credit)}, transaction ${credit.transaction})`, `not re-derived: ${why}`];
    yield { account, contract, amount, reason, status: "credited", derivation };
  }
}

/** All that an ended task took in was credited, is still to be, or was burned, for the stated reasons. */
function checkBalance(
  { events, taskId, phase }: TaskFacts,
  { dues, burned, paidIn }: RegistryAccount,
  disagree: (kind: "payment", message: string) => void,
  verified: string[],
): void {
  const actual = new Map<(typeof BURN_REASONS)[number], bigint>();
  for (const { args } of all(events, "Burned")) {
    const reason = BURN_REASONS[args.reason]!;
    actual.set(reason, (actual.get(reason) ?? 0n) + args.amount);
  }
  for (const reason of BURN_REASONS) {
    const [said, follows] = [actual.get(reason) ?? 0n, burned.get(reason) ?? 0n];
    if (said !== follows) {
      disagree(
        "payment",
        `Task ${taskId} burned ${said} units (${reason}), but by its events ${follows} are to be burned.`,
      );
    }
  }
  if (phase !== "Confirmed" && phase !== "Void") return;
  const out = [...dues.map(({ amount }) => amount), ...burned.values()].reduce((sum, amount) => sum + amount, 0n);
  if (out === paidIn)
    verified.push(`the task's money is whole: ${paidIn} units came in, and as many are credited, owed or burned`);
  else disagree("payment", `Task ${taskId} took in ${paidIn} units, but ${out} are credited, owed or burned.`);
}

function checkModel(
  { events }: TaskFacts,
  recomputed: Recomputed | undefined,
  disagree: (kind: "model", message: string) => void,
  verified: string[],
  trusted: string[],
): void {
  const block = find(events, "BlockConfirmed");
  if (block === undefined) return;
  const { modelRoot, correct, total } = block.args;
  if (recomputed === undefined) {
    trusted.push("that the winner's predictions are its model's was not checked here (--recompute does)");
  } else if (recomputed.malformed !== null) {
    disagree("model", `${blockLine(block)}, but its model is malformed: ${recomputed.malformed}`);
  } else if (recomputed.modelRoot !== modelRoot || recomputed.correct !== correct || recomputed.total !== total) {
    disagree(
      "model",
      `${blockLine(block)}, model ${modelRoot}; evaluated anew, the file is the model ${recomputed.modelRoot} with ` +
        `${recomputed.correct} of ${recomputed.total}.`,
    );
  } else verified.push(`the winning model, evaluated anew, has ${correct} of ${total} correct`);
}

/** Every account that gets or loses something of the task. */
export function accountsOf({ parts, floats, losses }: TaskExplanation): Address[] {
  const accounts = new Set([...parts, ...floats, ...losses].map(({ account }) => account));
  accounts.delete(zeroAddress);
  return [...accounts].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
}
