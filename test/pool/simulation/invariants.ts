/** What must hold of the money in every history. */
import { readSharesFile } from "../../../offchain/pool/shares-file.ts";
import type { History } from "./history.ts";

/** What is wrong with a history's shares and points, one sentence each; none in a good one. */
export function faultsOf(history: History): string[] {
  const { acknowledged, shares, points, sharesFile } = history;
  const faults: string[] = [];
  const fault = (sentence: string): void => void faults.push(sentence);

  const byLease = new Map(shares.map((share) => [share.leaseId, share]));
  if (byLease.size !== shares.length) fault("A lease has more than one share.");
  if (new Set(shares.map(({ modelRoot }) => modelRoot)).size !== shares.length)
    fault("A model has more than one share.");
  for (const { lease, receipt, correct, miner } of acknowledged) {
    const kept = byLease.get(lease);
    if (kept === undefined) fault(`The share of lease ${lease}, of ${miner}, was acknowledged and is lost.`);
    else if (kept.receipt !== receipt || kept.correct !== correct)
      fault(`Lease ${lease} has another share than was acknowledged.`);
  }
  const twice = acknowledged.length - new Set(acknowledged.map(({ lease }) => lease)).size;
  if (twice > 0) fault(`${twice} shares were acknowledged as new more than once.`);

  if (sharesFile === null) return faults;
  const sums = new Map<string, bigint>();
  for (const share of shares) {
    if (share.voided && share.points !== 0n) fault(`The voided share of lease ${share.leaseId} has points.`);
    sums.set(share.miner, (sums.get(share.miner) ?? 0n) + (share.points ?? 0n));
  }
  for (const { account, points: paid } of points) {
    if (sums.get(account) !== paid) fault(`${account} has ${paid} points, its shares have ${sums.get(account) ?? 0n}.`);
  }
  const paid = new Set(points.map(({ account }) => account as string));
  for (const [account, sum] of sums)
    if (sum > 0n && !paid.has(account)) fault(`${account} has ${sum} points and no leaf.`);

  const file = readSharesFile(sharesFile, "The shares file");
  const listed = file.shares.reduce((sum, share) => sum + share.points, 0n);
  const positive = points.reduce((sum, leaf) => sum + leaf.points, 0n);
  const below = [...sums.values()].reduce((sum, value) => (value < 0n ? sum + value : sum), 0n);
  if (file.total !== positive) fault(`The tree's sum is ${file.total}, its leaves have ${positive}.`);
  if (listed !== positive + below) fault(`The file's shares have ${listed} points, their miners ${positive + below}.`);
  return faults;
}
