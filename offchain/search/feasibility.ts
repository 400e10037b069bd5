/** Which architectures need no training to be judged. */
import { isBounded, type HardwareBounds } from "../evaluation/hardware.ts";
import { networkShapes } from "../evaluation/shapes.ts";
import { MAX_FAN_IN } from "../evaluation/well-formed.ts";
import { isDead, type Architecture } from "../protocol/architecture.ts";
import { findTiling } from "./tiling.ts";

/** What a task allows a network to cost. */
export interface Limits {
  /** multiply–accumulates of one image; without it any number */
  readonly maxMacs?: number;
  readonly hardware?: HardwareBounds;
}

export type Admission =
  | { readonly architecture: Architecture; readonly reason: null }
  | { readonly architecture: null; readonly reason: string };

/**
 * The architecture as it is to be trained, with its tiling where the hardware is bounded; or, as a clause about it, why
 * it needs no training to be judged: its reward is 0.
 */
export function admit(architecture: Architecture, limits: Limits = {}): Admission {
  const reason = hopelessness(architecture, limits);
  if (reason !== null) return { architecture: null, reason };
  const { hardware } = limits;
  if (hardware === undefined || !isBounded(hardware)) return { architecture, reason: null };
  const { tiling, reason: misfit } = findTiling(architecture, { bounds: hardware });
  return tiling === null
    ? { architecture: null, reason: misfit }
    : { architecture: { ...architecture, tiling }, reason: null };
}

/**
 * Why an architecture needs no training to be judged whatever the hardware, as a clause about it, or null.
 * @param maxMacs multiply–accumulates of one image that are allowed; without it any number
 */
export function hopelessness(architecture: Architecture, { maxMacs }: Pick<Limits, "maxMacs"> = {}): string | null {
  if (isDead(architecture)) return "a layer has no bits, so its output is the same for every image";
  const { layers, headInputs, macs } = networkShapes(architecture);
  const fanIn = layers.reduce((largest, layer) => Math.max(largest, layer.fanIn), headInputs);
  if (fanIn > MAX_FAN_IN) return `a unit reads ${fanIn} values, more than ${MAX_FAN_IN}`;
  if (maxMacs !== undefined && macs > maxMacs) return `an image costs ${macs} multiplications, more than ${maxMacs}`;
  return null;
}
