/** Miners drawn by a seed. */
import { createRandom, type Random } from "../../../offchain/protocol/random.ts";
import { signerOf } from "../kit/world.ts";
import { speedFor } from "./history.ts";
import type { MinerSpec } from "./miner.ts";

/** A heavy tail: P(X > x) = (least / x)^1.5 up to `most`, which few reach. */
export function heavyTailed(random: Random, least: number, most: number): number {
  return Math.min(most, least * (1 - random.next()) ** (-1 / 1.5));
}

export interface PopulationOptions {
  readonly seed: number;
  readonly count: number;
  readonly phaseMs: number;
  /** networks of the greatest cost that the slowest and the fastest miner can train in the phase */
  readonly trials: readonly [number, number];
  /** departures of each miner in a phase, on average, at any time with the same chance; 0: nobody leaves */
  readonly leaveRate?: number;
}

/** Miners that are there from the beginning, their speeds heavy-tailed. */
export function drawPopulation(options: PopulationOptions): MinerSpec[] {
  const { seed, count, phaseMs, trials, leaveRate = 0 } = options;
  const random = createRandom(`${seed}/population`);
  return Array.from({ length: count }, (_, at) => {
    const speed = speedFor(heavyTailed(random, ...trials), phaseMs);
    const leavesAt = leaveRate === 0 ? Infinity : (-Math.log(1 - random.next()) / leaveRate) * phaseMs;
    return {
      signer: signerOf(at),
      name: `miner ${at}`,
      speed,
      joinsAt: at,
      leavesAt: leavesAt < phaseMs ? Math.round(leavesAt) : null,
    };
  });
}
