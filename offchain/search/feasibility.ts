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
export function admit(architecture: Architecture, { maxMacs, hardware }: Limits = {}): Admission {
  const refuse = (reason: string): Admission => ({ architecture: null, reason });
  if (isDead(architecture)) return refuse("a layer has no bits, so its output is the same for every image");
  const { layers, headInputs, macs } = networkShapes(architecture);
  const fanIn = layers.reduce((largest, layer) => Math.max(largest, layer.fanIn), headInputs);
  if (fanIn > MAX_FAN_IN) return refuse(`a unit reads ${fanIn} values, more than ${MAX_FAN_IN}`);
  if (maxMacs !== undefined && macs > maxMacs) {
    return refuse(`an image costs ${macs} multiplications, more than ${maxMacs}`);
  }
  if (hardware === undefined || !isBounded(hardware)) return { architecture, reason: null };
  const { tiling, reason } = findTiling(architecture, { bounds: hardware });
  return tiling === null ? refuse(reason) : { architecture: { ...architecture, tiling }, reason };
}
