/** How a search chooses its next network: ask, train elsewhere, tell. */
import type { HardwareBounds } from "../evaluation/hardware.ts";
import type { Architecture, Template } from "../protocol/architecture.ts";
import type { SearchSpace } from "./spaces.ts";

export interface Strategy {
  /**
   * The next architecture to try. Several may be asked for before any is told of.
   * @throws PonasError not-found where the space seems to hold nothing new within the limits
   */
  ask(): Architecture;
  /**
   * Takes a result in, in any order; also of an architecture that was never asked for, such as another miner's.
   * @param reward validation accuracy of the trained network, 0 … 1; 0 for one that is not feasible
   * @throws PonasError bad-input where the reward is no such number or the architecture is not of the space
   */
  tell(architecture: Architecture, reward: number): void;
  /** Everything the strategy knows, as JSON: a strategy created with it as `state` goes on as this one would. */
  save(): unknown;
}

export interface StrategyOptions {
  readonly template: Template;
  readonly space: SearchSpace;
  readonly seed: number;
  /** multiply–accumulates of one image that a proposal may cost */
  readonly maxMacs?: number;
  /** what a proposal must reach on the device of the cost model; any may where it is not given */
  readonly hardware?: HardwareBounds;
  /** what `save` returned; the seed is not used then */
  readonly state?: unknown;
}
