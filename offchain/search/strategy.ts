/** How a search chooses its next network: ask, train elsewhere, tell. */
import type { Architecture, Space, Template } from "../protocol/architecture.ts";

export interface Strategy {
  /**
   * The next architecture to try. Several may be asked for before any is told of.
   * @throws PonasError not-found where the space seems to hold nothing new within the limits
   */
  ask(): Architecture;
  /** @param reward validation accuracy of the trained network, 0 … 1; 0 for one that is not feasible */
  tell(architecture: Architecture, reward: number): void;
  /** Everything the strategy knows, as JSON: a strategy created with it as `state` goes on as this one would. */
  save(): unknown;
}

export interface StrategyOptions {
  readonly template: Template;
  readonly space: Space;
  readonly seed: number;
  /** multiply–accumulates of one image that a proposal may cost */
  readonly maxMacs?: number;
  /** what `save` returned; the seed is not used then */
  readonly state?: unknown;
}
