/** Runs in the worker thread of `createTrainingWorker`: one training at a time, with one engine for all of them. */
import { parentPort } from "node:worker_threads";

import { PonasError } from "../protocol/errors.ts";
import { createOnnxEngine } from "./engine.ts";
import { trainChild, type TrainingRequest } from "./train.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

if (parentPort === null) throw new Error("worker-thread.ts is run by createTrainingWorker");
const port = parentPort;
const engine = createOnnxEngine();
let running: AbortController | null = null;

const post = (message: FromWorker): void => port.postMessage(message);

async function train(request: TrainingRequest, { signal }: AbortController): Promise<void> {
  try {
    const onEpoch = (progress: Extract<FromWorker, { type: "epoch" }>["progress"]) => post({ type: "epoch", progress });
    post({ type: "done", outcome: await trainChild(request, { engine, onEpoch, signal }) });
  } catch (error) {
    if (error instanceof PonasError) {
      post({ type: "failed", code: error.code, message: error.message, cure: error.cure });
    } else {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      post({ type: "failed", code: null, message });
    }
  } finally {
    running = null;
  }
}

port.on("message", (message: ToWorker) => {
  if (message.type === "abort") running?.abort();
  else void train(message.request, (running = new AbortController()));
});
