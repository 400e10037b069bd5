/**
 * Every unit that anybody gets of a task, re-derived from the chain's events and the files that they name, and compared
 * with what the contracts have credited. Pure: whoever reads the chain and fetches the files hands them in.
 */
import { getAddress, zeroAddress } from "viem";

import { BURN_REASONS, CREDIT_REASONS } from "../protocol/abi.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import {
  all,
  append,
  cite,
  find,
  type BurnReason,
  type CreditReason,
  type Disagreement,
  type Due,
  type FetchedFile,
  type Loss,
  type TaskFacts,
} from "./explain-facts.ts";
import { derivePool, splitOf, type DerivedSplit, type FloatReturn } from "./explain-pool.ts";
import { blockLine, deriveRegistry, type RegistryAccount } from "./explain-registry.ts";
import { checkSplit, treeOfFile, type DescribedTask } from "./explain-shares.ts";

/** What a credit was for, in words. */
export const CREDIT_TEXTS: Record<CreditReason, string> = {
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
  ChallengeBond: "bond of a challenge, back",
  ChallengeWon: "half the bond of a challenge that was wrong",
  DemandPrice: "price of a demand, back",
  DemandAnswered: "half the price of a demand that was answered",
  StakeSlashed: "half the stake of a validator with a false seal",
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

/** The winning model, evaluated anew, or why it could not be: it or the test set is not to be had. */
export type Recomputed =
  | {
      /** null where the file is no model */
      readonly modelRoot: Hex | null;
      readonly correct: number;
      readonly total: number;
      /** which rule it breaks */
      readonly malformed: string | null;
    }
  | { readonly fault: string };

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
 * @param described from the task's descriptor; null where that could not be had
 * @param recomputed the winner evaluated anew, where that was asked for
 */
export async function explainTask(options: {
  readonly facts: TaskFacts;
  readonly files: ReadonlyMap<Hex, FetchedFile>;
  readonly described: DescribedTask | null;
  readonly recomputed?: Recomputed | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<TaskExplanation> {
  const { facts, files, described, recomputed, signal } = options;
  const disagreements: Disagreement[] = [];
  const verified: string[] = [];
  const trusted: string[] = [];
  const disagree = (kind: Disagreement["kind"], message: string, account: Address | null = null): void =>
    void disagreements.push({ kind, account, pool: null, message, remedy: null });
  const registry = deriveRegistry(facts);
  for (const fault of registry.faults) disagree("payment", `Task ${facts.taskId}: ${fault}.`);
  const parts = [...compare(facts, facts.registry, facts.events, registry.dues, disagree)];
  checkBurned(`Task ${facts.taskId}`, facts.events, registry.burned, disagree);
  checkBalance(facts, registry, disagree, verified);
  const losses = [...registry.losses];

  const floats: TaskExplanation["floats"][number][] = [];
  for (const pool of facts.pools) {
    const posted = splitOf(pool) ?? pool.adopted;
    const file = posted === null ? undefined : files.get(posted.args.sharesCid);
    const own = await checkSplit({ facts, pool, file, described, signal });
    if (own !== null) {
      append(disagreements, own.disagreements);
      append(verified, own.verified);
      append(trusted, own.trusted);
    }
    const split = own ?? adoptedSplit(pool, file, (message) => disagree("file", message));
    const ofPool = registry.dues.filter(({ account }) => account === pool.pool);
    const derived = derivePool(facts, pool, ofPool, split);
    for (const fault of derived.faults) disagree("payment", `Task ${facts.taskId}: ${fault}.`);
    append(
      floats,
      derived.floats.map((float) => ({ ...float, pool: pool.pool })),
    );
    append(losses, derived.losses);
    const unexplained = split !== null && split.tree === null ? "no tree is known whose root was posted" : undefined;
    append(parts, compare(facts, pool.pool, pool.events, derived.dues, disagree, unexplained));
    checkBurned(`The pool ${pool.pool}`, pool.events, derived.burned, disagree);
  }
  checkModel(facts, recomputed, disagree, verified, trusted);
  const { taskId: task, at, phase } = facts;
  return { task, at, phase, parts, floats, losses, disagreements, verified, trusted };
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

/** What was burned, for each of the stated reasons. */
function checkBurned(
  whose: string,
  events: TaskFacts["events"] | TaskFacts["pools"][number]["events"],
  burned: ReadonlyMap<BurnReason, bigint>,
  disagree: (kind: "payment", message: string) => void,
): void {
  const actual = new Map<BurnReason, bigint>();
  for (const { args } of all(events as TaskFacts["events"], "Burned")) {
    const reason = BURN_REASONS[args.reason]!;
    actual.set(reason, (actual.get(reason) ?? 0n) + args.amount);
  }
  for (const reason of BURN_REASONS) {
    const [said, follows] = [actual.get(reason) ?? 0n, burned.get(reason) ?? 0n];
    if (said === follows) continue;
    disagree("payment", `${whose} burned ${said} units (${reason}), but by its events ${follows} are to be burned.`);
  }
}

/** All that an ended task took in was credited, is still to be, or was burned. */
function checkBalance(
  { taskId, phase }: TaskFacts,
  { dues, burned, paidIn }: RegistryAccount,
  disagree: (kind: "payment", message: string) => void,
  verified: string[],
): void {
  if (phase !== "Confirmed" && phase !== "Void") return;
  const out = [...dues.map(({ amount }) => amount), ...burned.values()].reduce((sum, amount) => sum + amount, 0n);
  if (out === paidIn) {
    verified.push(`the task's money is whole: ${paidIn} units came in, and as many are credited, owed or burned`);
  } else disagree("payment", `Task ${taskId} took in ${paidIn} units, but ${out} are credited, owed or burned.`);
}

/** The tree of an earlier task by which this reward is paid; its points are that task's to explain. */
function adoptedSplit(
  { adopted, pool }: TaskFacts["pools"][number],
  file: FetchedFile | undefined,
  disagree: (message: string) => void,
): DerivedSplit | null {
  if (adopted === null) return null;
  const tree = treeOfFile(file, adopted.args.root);
  if (tree === null) {
    disagree(`The shares file of the split that the pool ${pool} pays by (${cite(adopted)}) does not make its root.`);
  }
  return { tree, pointsOf: () => [`how its points came about: ponas explain ${adopted.args.taskId}`] };
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
  } else if ("fault" in recomputed) {
    disagree("model", `${blockLine(block)}, but its model could not be evaluated anew: ${recomputed.fault}`);
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
