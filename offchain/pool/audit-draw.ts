/**
 * Which shares are audited (docs/pool.md "Share = one finished trial"). A draw hangs on a secret that the manager
 * commits to before it leases anything of the task, and reveals in the shares file: miners cannot foresee it, the
 * manager cannot choose it afterwards, and anybody can repeat it.
 */
import { encodeAbiParameters, keccak256, parseAbiParameters } from "viem";

import { tag, type Hex } from "../protocol/bytes.ts";

/** Chances are in millionths. */
export const CHANCE_UNIT = 1_000_000;

/**
 * The chance q with which a share of work p is audited, of a miner that has W of unpaid work in the task to lose:
 *
 *     q = max(rate, p / (p + W))
 *
 * Then no lie pays, whatever the rate, however many there are, and however fast they are told. What a miner has to
 * its credit, B ≥ W, becomes B + p with an invented share that is not drawn. Drawn and shown, it voids all of B, so
 *
 *     E[B′] = (1 − q)(B + p)                        ≤ B + (1 − q)p − qB ≤ B    as q ≥ p / (p + W) ≥ p / (p + B)
 *
 * and drawn and not handed over, it costs `missingCost` = p(1 − q)/q ≤ W:
 *
 *     E[B′] = (1 − q)(B + p) + q(B − p(1 − q)/q)    = B
 *
 * By induction over its shares, a liar's credit is in expectation at most that of its honest trials alone, and so less
 * than that of an honest miner of the same speed, who fills the invented ones' time with more; the ban takes what it
 * would have earned later. A miner's first share is always audited (W = 0), so a new identity begins with nothing to
 * hide behind. For n shares of equal work this draws 1 + 1/2 + 1/3 + … up to 1/rate, and `rate` of those after: of
 * 100 shares, 12 at the default rate of a tenth.
 * @param rate in millionths, 1 … 10^6
 * @param work of the share, above 0
 * @param atRisk W: the miner's work of the task that is neither drawn and open, nor voided, less what missing models
 *   cost; never more than what it would be paid for
 * @returns q in millionths, rounded up
 */
export function auditChance({
  rate,
  work,
  atRisk,
}: {
  readonly rate: number;
  readonly work: bigint;
  readonly atRisk: bigint;
}): number {
  const whole = work + (atRisk > 0n ? atRisk : 0n);
  if (whole <= 0n) return CHANCE_UNIT;
  const fair = Number((work * BigInt(CHANCE_UNIT) + whole - 1n) / whole);
  return Math.min(CHANCE_UNIT, Math.max(1, rate, fair));
}

/**
 * What a model that was drawn and not handed over takes from its miner, beside its own share's pay: p(1 − q)/q. A drawn
 * share stands for the 1/q like it of which one is looked at, so a miner that has lost its models loses, in
 * expectation, just the pay of those that it lost.
 */
export function missingCost(work: bigint, chance: number): bigint {
  return (work * BigInt(CHANCE_UNIT - chance)) / BigInt(chance);
}

const SECRET = parseAbiParameters("bytes32, bytes32");
const DRAW = parseAbiParameters("bytes32, bytes32, uint256, uint64");

/** What miners are shown of a task's secret before it is revealed: H(T"audit-secret", secret). */
export function auditCommitment(secret: Hex): Hex {
  return keccak256(encodeAbiParameters(SECRET, [tag("audit-secret"), secret]));
}

/** Whether a lease's share is drawn: the first 8 bytes of H(T"audit-draw", secret, taskId, lease) / 2^64 < q. */
export function isDrawn(secret: Hex, taskId: bigint, lease: number, chance: number): boolean {
  const hash = keccak256(encodeAbiParameters(DRAW, [tag("audit-draw"), secret, taskId, BigInt(lease)]));
  return BigInt(hash.slice(0, 18)) * BigInt(CHANCE_UNIT) < BigInt(chance) << 64n;
}
