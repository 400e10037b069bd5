/** The engines on onnxruntime: a whole training step is one graph, and sessions are kept for networks of equal shapes. */
import type { InferenceSession } from "onnxruntime-common";

import { loadRuntime, runSession, type RuntimeName } from "../evaluation/onnx-runtime.ts";
import type { Architecture } from "../protocol/architecture.ts";
import { blockSizeOf, type BlockSize } from "./blocked-convolution.ts";
import type { Engine } from "./engine.ts";
import { createOnnxTrainer } from "./onnx-trainer.ts";
import type { StepRecipe } from "./settings.ts";
import { buildStepGraph, piecesOf, type StepGraphOptions } from "./step-graph.ts";

/** Sessions that are kept ready for further trials: neighbours in a search often differ in bit widths alone. */
const KEPT_SESSIONS = 4;

interface Entry {
  readonly session: Promise<InferenceSession>;
  users: number;
}

export interface OnnxEngineOptions {
  /** into how many pieces a CPU divides a step's samples; {@link piecesOf} unless given */
  readonly pieces?: typeof piecesOf;
}

/**
 * Training on one of onnxruntime's variants, which is loaded with the first trainer. One thread, so that runs repeat
 * bit for bit; more cores are for more workers.
 */
export function createOnnxEngine(name: RuntimeName = "onnx", options: OnnxEngineOptions = {}): Engine {
  const entries = new Map<string, Entry>();
  let blockSize: Promise<BlockSize> | undefined;
  // On a GPU MaxUnpool is missing, and dozens of one-number inputs would cost every step more than a session does once.
  const onCpu = name === "onnx" || name === "onnx-web";
  const formats = onCpu ? "inputs" : "constants";
  const poolGradient = onCpu ? "indices" : "mask";

  async function createSession(step: StepGraphOptions): Promise<InferenceSession> {
    const runtime = await loadRuntime(name);
    blockSize ??= blockSizeOf(runtime);
    // A GPU is the better filled the more samples it has at once.
    const pieces = onCpu ? (options.pieces ?? piecesOf)(step.architecture, step.batch) : 1;
    const graph = buildStepGraph({ ...step, formats, poolGradient, pieces, blockSize: await blockSize });
    return runtime.createSession(graph);
  }

  function open(architecture: Architecture, batch: number, settings: StepRecipe): [string, Entry] {
    const { optimizer, momentum, weightDecay, dropout = 0 } = settings;
    const network = onCpu ? shapesOf(architecture) : { ...architecture, tiling: undefined };
    const key = JSON.stringify([network, batch, optimizer, momentum, weightDecay, dropout > 0]);
    const known = entries.get(key);
    // Taken out and put in again: a Map keeps the order of insertion, so the first idle entry is the oldest.
    entries.delete(key);
    const entry = known ?? { session: createSession({ architecture, batch, settings }), users: 0 };
    entries.set(key, entry);
    entry.session.catch(() => forget(key, entry));
    entry.users += 1;
    return [key, entry];
  }

  function forget(key: string, entry: Entry): void {
    if (entries.get(key) === entry) entries.delete(key);
  }

  async function trim(limit: number): Promise<void> {
    for (const [key, entry] of [...entries]) {
      if (entries.size <= limit) return;
      if (entry.users > 0) continue;
      entries.delete(key);
      await (await entry.session).release();
    }
  }

  return {
    name,
    createTrainer: async ({ architecture, batch, initial, settings }) => {
      const runtime = await loadRuntime(name);
      const [key, entry] = open(architecture, batch, settings);
      const session = await entry.session;
      await trim(KEPT_SESSIONS);
      return createOnnxTrainer({
        runtime,
        formats,
        run: async (feeds, fetches) => {
          try {
            return await runSession(name, "take a training step", session, feeds, fetches);
          } catch (error) {
            // A session that failed once, on a GPU that went away for instance, is not handed to anybody else.
            forget(key, entry);
            throw error;
          }
        },
        architecture,
        batch,
        initial,
        settings,
        onRelease: () => {
          entry.users -= 1;
          if (entries.get(key) !== entry && entry.users === 0) void session.release();
        },
      });
    },
    dispose: () => trim(0),
  };
}

/** What of an architecture its step graph depends on where number formats are inputs: everything but bit widths. */
function shapesOf({ input, classes, layers, head }: Architecture): unknown {
  const kernels = layers.map((layer) => [
    ...[layer.kernelHeight, layer.kernelWidth, layer.filters],
    ...[layer.strideHeight, layer.strideWidth, layer.poolSize],
  ]);
  return [input, classes, kernels, head.pool, head.hidden];
}
