/** The process of `createTrainingWorker`: one training at a time, with one engine for all of them. */
import { PonasError } from "../protocol/errors.ts";
import type { Engine, EngineName } from "./engine.ts";
import { createEngine } from "./engines.ts";
import type { Samples } from "./samples.ts";
import { trainChild, type Checkpoint, type EpochProgress } from "./train.ts";
import type { FromWorker, NamedRequest, ToWorker } from "./worker-messages.ts";

const [engineName] = process.argv.slice(2) as EngineName[];
let engine: Promise<Engine> | null = null;
const held = new Map<number, Samples>();
let running: AbortController | null = null;

// A parent that goes away, in whatever way, takes its training along; Ctrl-C on a terminal, and a signal to the whole
// group of processes, are for the parent to answer.
process.on("disconnect", () => process.exit());
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);

function post(message: FromWorker): void {
  if (process.connected) process.send!(message);
}

async function train(
  { train, validation, ...rest }: NamedRequest,
  checkpointMs: number | null,
  { signal }: AbortController,
): Promise<void> {
  try {
    const request = { ...rest, train: held.get(train)!, validation: held.get(validation)! };
    const onEpoch = (progress: EpochProgress) => post({ type: "epoch", progress });
    const checkpoints =
      checkpointMs === null
        ? {}
        : { checkpointMs, onCheckpoint: (checkpoint: Checkpoint) => post({ type: "checkpoint", checkpoint }) };
    engine ??= createEngine(engineName);
    const outcome = await trainChild(request, { engine: await engine, onEpoch, ...checkpoints, signal });
    post({ type: "done", outcome });
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

process.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "samples":
      held.set(message.id, message.samples);
      break;
    case "forget":
      held.delete(message.id);
      break;
    case "train":
      void train(message.request, message.checkpointMs, (running = new AbortController()));
      break;
    case "abort":
      running?.abort();
  }
});
