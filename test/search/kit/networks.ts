/** Spaces, templates and searches that tests of strategies share. */
import type { Architecture, Space, Template } from "../../../offchain/protocol/architecture.ts";
import type { AdmittedStrategy } from "../../../offchain/search/admission.ts";
import { spaceByName } from "../../../offchain/search/spaces.ts";

export const template: Template = { input: [28, 28, 1], classes: 10, depth: 6, head: { pool: "flatten", hidden: 0 } };

/** Two choices a layer: the vertical stride. */
export const tinySpace: Space = {
  ...spaceByName("demo"),
  kernelHeight: [3],
  kernelWidth: [3],
  filters: [12],
  strideWidth: [2],
  actIntBits: [2],
  actFracBits: [4],
  weightIntBits: [2],
  weightFracBits: [4],
};

export const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/**
 * Runs a search with trials side by side: the oldest of `window` trials ends first.
 * @returns the best reward
 */
export function runTrials(
  strategy: AdmittedStrategy,
  trials: number,
  reward: (architecture: Architecture) => number,
  window = 4,
): number {
  const running: Architecture[] = [];
  let best = 0;
  const end = (): void => {
    const architecture = running.shift()!;
    const reached = reward(architecture);
    best = Math.max(best, reached);
    strategy.tell(architecture, reached);
  };
  for (let trial = 0; trial < trials; trial++) {
    running.push(strategy.ask());
    if (running.length === window) end();
  }
  while (running.length > 0) end();
  return best;
}
