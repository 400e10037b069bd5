/** What came of the lie, for people. */
import pc from "picocolors";

import { percent } from "../../../agents/claimant.ts";
import { formatAmount } from "../../../protocol/amounts.ts";
import type { Account, Entry } from "./accounts.ts";
import { formatGas } from "./moves.ts";
import type { CheatSummary } from "./run.ts";

export function describeCheat({ task, liar, moves, block, accounts }: CheatSummary): string {
  const gas = moves.reduce((sum, move) => sum + move.gas, 0n);
  return [
    pc.bold(`The lie: ${liar.claimed} of ${liar.total} correct were claimed; the model makes ${liar.correct}.`),
    `  It is in one prediction, of image ${liar.sample} of the test set. Count and seals agreed with it.`,
    "",
    pc.bold(`How it was played out: ${moves.length} moves, ${formatGas(gas)}`),
    ...moves.map(
      ({ name, words, gas: used }, index) =>
        `  ${String(index + 1).padStart(2)}  ${name.padEnd(11)} ${formatGas(used).padStart(13)}  ${words}`,
    ),
    "",
    pc.bold(
      `Block ${block.height}: ${block.correct} of ${block.total} correct (${percent(block.correct, block.total)}), won by the honest ${block.winnerRole}`,
    ),
    `  model      ${block.modelCid}`,
    `  winner     ${block.winner}`,
    "",
    pc.bold("Who has more or less than before, and for what:"),
    ...accounts.accounts.flatMap(describeAccount),
    pc.bold("  burned"),
    ...merge(accounts.burned).map(describeEntry),
    "",
    `Of the liar's bond of ${formatAmount(task.candidateBond)}, half is the challenger's and half is burned.`,
    "Every contract has what it owes, and what everybody has and what is burned is what everybody was given, to the last unit.",
  ].join("\n");
}

function describeAccount({ name, change, entries }: Account): string[] {
  return [pc.bold(`  ${name.padEnd(12)} ${signed(change)}`), ...merge(entries).map(describeEntry)];
}

function describeEntry({ amount, reason }: Entry): string {
  return `    ${signed(amount).padStart(24)}  ${reason}`;
}

function signed(amount: bigint): string {
  return amount < 0n ? `-${formatAmount(-amount)}` : `+${formatAmount(amount)}`;
}

/** Entries of one reason as one. */
function merge(entries: readonly Entry[]): Entry[] {
  const sums = new Map<string, bigint>();
  for (const { amount, reason } of entries) sums.set(reason, (sums.get(reason) ?? 0n) + amount);
  return [...sums].map(([reason, amount]) => ({ reason, amount }));
}
