/**
 * What the task registry owes of an ended task, re-derived from the task's terms and events alone by the rules of
 * contracts/TaskRegistry.sol: the reward, bonds that come back, validators' fees, compensations, and what was burned.
 */
import { CREDIT_REASONS, ELIMINATIONS } from "../protocol/abi.ts";
import { formatAmount } from "../protocol/amounts.ts";
import {
  all,
  cite,
  find,
  type BurnReason,
  type Due,
  type Loss,
  type RegistryEvent,
  type TaskFacts,
} from "./explain-facts.ts";

type EventNamed<N extends RegistryEvent["name"]> = Extract<RegistryEvent, { name: N }>;

export interface RegistryAccount {
  readonly dues: readonly Due[];
  readonly losses: readonly Loss[];
  /** what must have been burned until now, by reason */
  readonly burned: ReadonlyMap<BurnReason, bigint>;
  /** what the task took in, in all */
  readonly paidIn: bigint;
  /** sentences about contradictions within the task's own events */
  readonly faults: readonly string[];
}

/** Everything that was credited or is to be, of a task that has ended; nothing of one that has not. */
export function deriveRegistry(facts: TaskFacts): RegistryAccount {
  const { events, taskId, registry: contract, publisher } = facts;
  const confirmed = find(events, "BlockConfirmed");
  const voided = find(events, "TaskVoided");
  const end = confirmed ?? voided;
  const published = find(events, "TaskPublished");
  const commitments = all(events, "Committed");
  const participants = [...new Set(commitments.map(({ args }) => args.participant))];
  const revealed = new Map(all(events, "Revealed").map((event) => [event.args.participant, event]));
  const eliminated = new Map(all(events, "CandidateEliminated").map((event) => [event.args.participant, event]));
  const settled = new Map(all(events, "Settled").map((event) => [event.args.participant, event]));
  const candidates = [...revealed.values()].filter(({ args }) => args.candidate);
  const slashed = [...eliminated.values()].filter((event) => elimination(event) !== "Unattested");

  const dues: Due[] = [];
  const losses: Loss[] = [];
  const burned = new Map<BurnReason, bigint>();
  const burn = (reason: BurnReason, amount: bigint): void => {
    if (amount > 0n) burned.set(reason, (burned.get(reason) ?? 0n) + amount);
  };
  const owe = (due: Pick<Due, "account" | "amount" | "reason" | "derivation" | "transaction">, call?: string): void => {
    if (due.amount > 0n) dues.push({ ...due, contract, call: due.transaction === null ? (call ?? null) : null });
  };
  const paidIn =
    facts.reward +
    facts.publisherBond +
    facts.validatorFee +
    BigInt(participants.length) * facts.commitBond +
    BigInt(commitments.length) * facts.commitFee +
    BigInt(candidates.length) * facts.candidateBond;

  burn("CommitFee", BigInt(commitments.length) * facts.commitFee);
  for (const participant of facts.commitFee === 0n ? [] : participants) {
    const own = commitments.filter(({ args }) => args.participant === participant);
    losses.push({
      account: participant,
      amount: BigInt(own.length) * facts.commitFee,
      derivation: [
        `fees of ${own.length} commitments, each ${formatAmount(facts.commitFee)}, burned (${own.map(cite).join("; ")})`,
      ],
    });
  }
  for (const event of slashed) burn("CandidateBond", event.args.slashed - event.args.slashed / 2n);

  // The reveal phase is over once a first candidate was taken, or none was there to take.
  const examined = find(events, "ExaminationBegun") !== undefined || reasonOf(facts) === "NoCandidate";
  const silent = participants.filter((participant) => !revealed.has(participant));
  if (examined) {
    burn("UnrevealedBonds", BigInt(silent.length) * facts.commitBond);
    for (const account of silent) {
      losses.push({
        account,
        amount: facts.commitBond,
        derivation: ["the commitment was never opened (there is no Revealed event): its bond was burned"],
      });
    }
  }
  const faults = [...eliminated.values()].flatMap((event) => faultsOf(event, facts));

  for (const event of slashed) {
    const { participant, slashed: amount } = event.args;
    losses.push({
      account: participant,
      amount,
      derivation: [`candidate's bond, lost for ${words(elimination(event))}: half burned (${cite(event)})`],
    });
    if (elimination(event) !== "Refuted") continue;
    // The refuter is named by the credit in the same transaction; its amount follows from the bond.
    const credit = all(events, "Credited").find(
      ({ transaction, args }) => transaction === event.transaction && CREDIT_REASONS[args.reason] === "Refutation",
    );
    if (credit === undefined) faults.push(`the refutation of ${participant} (${cite(event)}) has credited nobody`);
    else {
      owe({
        account: credit.args.account,
        amount: amount / 2n,
        reason: "Refutation",
        derivation: [
          `refuted ${participant}, whose candidate's bond is ${formatAmount(amount)} (${cite(event)})`,
          `half of it: ⌊${amount} / 2⌋ = ${amount / 2n} units`,
        ],
        transaction: event.transaction,
      });
    }
  }
  if (end === undefined || published === undefined) return { dues, losses, burned, paidIn, faults };

  // ————— The publisher's and the winner's —————

  const terms = (amount: bigint): string => `${formatAmount(amount)} by the task's terms (${cite(published)})`;
  const transaction = end.transaction;
  const atPublishersCost = reasonOf(facts) === "KeyNotReleased" || reasonOf(facts) === "TestSetRejected";
  const ended =
    confirmed === undefined ? `the task is void: ${words(reasonOf(facts))} (${cite(end)})` : blockLine(confirmed);
  if (confirmed !== undefined) {
    owe({
      account: confirmed.args.winner,
      amount: facts.reward,
      reason: "Reward",
      derivation: [ended, `the reward is ${terms(facts.reward)}`],
      transaction,
    });
  } else {
    owe({
      account: publisher,
      amount: facts.reward,
      reason: "RewardReturned",
      derivation: [ended, `so the reward goes back: ${terms(facts.reward)}`],
      transaction,
    });
  }
  if (!atPublishersCost || participants.length === 0) {
    owe({
      account: publisher,
      amount: facts.publisherBond,
      reason: "PublisherBond",
      derivation: [ended, `the publisher's bond comes back: ${terms(facts.publisherBond)}`],
      transaction,
    });
  } else {
    burn("PublisherBond", facts.publisherBond - facts.publisherBond / 2n);
    losses.push({
      account: publisher,
      amount: facts.publisherBond,
      derivation: [ended, "the publisher's bond: half burned, the rest to those who had committed"],
    });
  }

  // ————— Validators —————

  const unopposed = slashed.filter((event) => elimination(event) !== "Refuted");
  const kept = unopposed.reduce((sum, { args }) => sum + args.slashed / 2n, 0n);
  const bySilence = unopposed
    .filter((event) => elimination(event) !== "FalseClaim")
    .reduce((sum, { args }) => sum + args.slashed / 2n, 0n);
  const pot = facts.validatorFee + kept;
  const potLines = [
    `validators' fee ${terms(facts.validatorFee)}` +
      (kept === 0n ? "" : `, and ${formatAmount(kept)}, the other halves of bonds that candidates lost`),
  ];
  const attested = all(events, "Attested").filter(({ args }) => args.participant === confirmed?.args.winner);
  if (attested.length === 0) {
    burn("CandidateBond", bySilence);
    owe({
      account: publisher,
      amount: pot - bySilence,
      reason: "ValidatorFeeReturned",
      derivation: [
        ended,
        "no validator has earned it: the pot goes back to the publisher",
        ...potLines,
        ...(bySilence === 0n ? [] : [`less ${formatAmount(bySilence)}, lost by silence, which is burned`]),
      ],
      transaction,
    });
  } else {
    for (const due of validatorFees(facts, attested, pot, [ended, ...potLines], faults)) dues.push(due);
  }

  // ————— Participants —————

  for (const [index, account] of participants.entries()) {
    const settlement = settled.get(account);
    const common = { account, transaction: settlement?.transaction ?? null };
    const call = `settle(${taskId}, ${account}), by anyone`;
    const reveal = revealed.get(account);
    const first = commitments.find(({ args }) => args.participant === account)!;
    const bond = `commitment's bond of ${terms(facts.commitBond)}, paid in with the commitment (${cite(first)})`;
    if (atPublishersCost) {
      owe(
        { ...common, amount: facts.commitBond, reason: "CommitBond", derivation: [ended, `comes back: ${bond}`] },
        call,
      );
      const half = facts.publisherBond / 2n;
      const count = BigInt(participants.length);
      const place = BigInt(index);
      owe(
        {
          ...common,
          amount: (half * (place + 1n)) / count - (half * place) / count,
          reason: "Compensation",
          derivation: [
            ended,
            `half of the publisher's bond, ${half} units, goes to the ${count} who committed, by place (${cite(first)})`,
            `place ${place}: ⌊${half}·${place + 1n} / ${count}⌋ − ⌊${half}·${place} / ${count}⌋`,
          ],
        },
        call,
      );
      continue;
    }
    if (reveal === undefined) continue;
    owe(
      {
        ...common,
        amount: facts.commitBond,
        reason: "CommitBond",
        derivation: [`the commitment was opened (${cite(reveal)})`, `comes back: ${bond}`],
      },
      call,
    );
    const lost = eliminated.get(account);
    if (!reveal.args.candidate || (lost !== undefined && elimination(lost) !== "Unattested")) continue;
    owe(
      {
        ...common,
        amount: facts.candidateBond,
        reason: "CandidateBond",
        derivation: [
          `a candidate that was not found false (${cite(reveal)})`,
          `its bond comes back: ${formatAmount(facts.candidateBond)} by the task's terms`,
        ],
      },
      call,
    );
  }
  return { dues, losses, burned, paidIn, faults };
}

function validatorFees(
  { events, taskId, registry: contract }: TaskFacts,
  attested: readonly EventNamed<"Attested">[],
  wholePot: bigint,
  lines: readonly string[],
  faults: string[],
): Due[] {
  const dues: Due[] = [];
  const left = new Map(attested.map((event) => [event.args.validator, event]));
  let pot = wholePot;
  let unsettled = attested.reduce((sum, { args }) => sum + args.stake, 0n);
  const credits = all(events, "Credited").filter(({ args }) => CREDIT_REASONS[args.reason] === "ValidatorFee");
  for (const credit of credits) {
    const event = left.get(credit.args.account);
    if (event === undefined) continue; // a payment that nothing explains: found when payments are compared
    left.delete(credit.args.account);
    const { stake } = event.args;
    // A share that rounds to nothing is settled without an event, before this one or after it.
    const unseen = [...left.values()]
      .filter(({ args }) => (pot * args.stake) / unsettled === 0n)
      .reduce((sum, { args }) => sum + args.stake, 0n);
    const least = (pot * stake) / unsettled;
    const most = (pot * stake) / (unsettled - unseen);
    const amount = credit.args.amount >= least && credit.args.amount <= most ? credit.args.amount : least;
    dues.push({
      contract,
      account: credit.args.account,
      amount,
      reason: "ValidatorFee",
      derivation: [
        ...lines,
        `sealed the opened result with a stake of ${formatAmount(stake)} (${cite(event)})`,
        `of what was left of the pot, by what stake was left: ⌊${pot}·${stake} / ${unsettled}⌋ = ${amount} units`,
      ],
      transaction: credit.transaction,
      call: null,
    });
    pot -= amount;
    unsettled -= stake;
  }
  for (const [account, event] of left) {
    const { stake } = event.args;
    const amount = (pot * stake) / unsettled;
    const formula = `⌊${pot}·${stake} / ${unsettled}⌋ = ${amount} units`;
    pot -= amount;
    unsettled -= stake;
    if (amount === 0n) continue;
    dues.push({
      contract,
      account,
      amount,
      reason: "ValidatorFee",
      derivation: [
        ...lines,
        `sealed the opened result with a stake of ${formatAmount(stake)} (${cite(event)})`,
        `of what is left of the pot, by what stake is left: ${formula} (a unit more or less, as others settle first)`,
      ],
      transaction: null,
      call: `settleValidator(${taskId}, ${account}), by anyone`,
    });
  }
  if (pot < 0n) faults.push("validators were credited with more than the pot held");
  return dues;
}

function faultsOf(event: EventNamed<"CandidateEliminated">, { candidateBond }: TaskFacts): string[] {
  const expected = elimination(event) === "Unattested" ? 0n : candidateBond;
  if (event.args.slashed === expected) return [];
  return [`${cite(event)} takes ${event.args.slashed} units from ${event.args.participant}, the terms say ${expected}`];
}

function elimination({ args }: EventNamed<"CandidateEliminated">): (typeof ELIMINATIONS)[number] {
  return ELIMINATIONS[args.reason]!;
}

function reasonOf({ phase, voidReason }: TaskFacts): TaskFacts["voidReason"] {
  return phase === "Void" ? voidReason : "NotVoid";
}

/** A block of the ledger in one line. */
export function blockLine(event: EventNamed<"BlockConfirmed">): string {
  const { height, winner, correct, total } = event.args;
  return `block ${height} of the ledger: ${winner} won with ${correct} of ${total} correct (${cite(event)})`;
}

const WORDS: Record<string, string> = {
  KeyNotReleased: "the key was not released in time",
  TestSetRejected: "validators voted the test set wrong",
  NoCandidate: "no candidate stood",
  Unopened: "not opening its predictions in time",
  FalseClaim: "a count that its predictions do not have",
  Contradicted: "a result that a quorum of validators contradicted",
  Refuted: "a claim that a dispute refuted",
};

function words(reason: string): string {
  return WORDS[reason] ?? reason;
}
