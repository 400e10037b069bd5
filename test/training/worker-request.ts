/** What the tests of training processes share: a request of a second, one that never ends, and how things fail. */
import type { TrainingRequest } from "../../offchain/training/train.ts";
import { network, quadrants, SETTINGS } from "./networks.ts";

export const input: [number, number, number] = [8, 8, 1];
export const request: TrainingRequest = {
  architecture: network(input, [{}, { strideHeight: 2 }]),
  train: quadrants(input, 160, 1),
  validation: quadrants(input, 100, 2),
  settings: SETTINGS,
  seed: 7,
};
export const endless: TrainingRequest = { ...request, settings: { ...SETTINGS, epochs: 10_000 } };

export async function failure(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
