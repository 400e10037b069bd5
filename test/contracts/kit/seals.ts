/** Candidates that were refuted, and challenges of the seals on them. */
import { challenge, disputable, openPrediction, type Examined, type Setting } from "../dispute-game.ts";
import type { Signer, World } from "../support.ts";
import { afterSilence } from "./attack.ts";
import { SAMPLE } from "./small-network.ts";

/** A candidate whose predictions are the setting's labels, sealed by victor; its friend challenges it, and it is silent. */
export async function refuted(
  w: World,
  setting: Setting,
  sealed = setting.labels,
  examined: Examined = {},
): Promise<bigint> {
  const taskId = await disputable(w, setting, setting.labels, { sealers: [w.victor], sealed, ...examined });
  await afterSilence(w, await challenge(w, taskId, w.ben, SAMPLE, setting.labels));
  return taskId;
}

/** Challenges what victor sealed of a sample. @returns the challenge's number */
export async function challengeSeal(
  w: World,
  taskId: bigint,
  challenger: Signer,
  predictions: Uint8Array,
  sample = SAMPLE,
): Promise<bigint> {
  const opened = openPrediction(sample, predictions);
  await w.arithmetic.connect(challenger).challengeSeal(taskId, w.ada, w.victor, ...opened);
  return w.arithmetic.challengeCount();
}
