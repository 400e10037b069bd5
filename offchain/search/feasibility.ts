/** Which architectures need no training to be judged. */
import { networkShapes } from "../evaluation/shapes.ts";
import { MAX_FAN_IN } from "../evaluation/well-formed.ts";
import { isDead, type Architecture } from "../protocol/architecture.ts";

/**
 * Why an architecture needs no training to be judged, as a clause about it, or null where it is worth a trial.
 * @param maxMacs multiply–accumulates of one image that are allowed; without it any number
 */
export function hopelessness(
  architecture: Architecture,
  { maxMacs }: { readonly maxMacs?: number } = {},
): string | null {
  if (isDead(architecture)) return "a layer has no bits, so its output is the same for every image";
  const { layers, headInputs, macs } = networkShapes(architecture);
  const fanIn = layers.reduce((largest, layer) => Math.max(largest, layer.fanIn), headInputs);
  if (fanIn > MAX_FAN_IN) return `a unit reads ${fanIn} values, more than ${MAX_FAN_IN}`;
  if (maxMacs !== undefined && macs > maxMacs) return `an image costs ${macs} multiplications, more than ${maxMacs}`;
  return null;
}
