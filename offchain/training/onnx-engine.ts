/** The engines on onnxruntime: a whole training step is one graph, and sessions are kept for equal networks. */
import type { InferenceSession } from "onnxruntime-common";

import { loadRuntime, runSession, type RuntimeName } from "../evaluation/onnx-runtime.ts";
import type { Architecture } from "../protocol/architecture.ts";
import type { Engine } from "./engine.ts";
import { createOnnxTrainer } from "./onnx-trainer.ts";
import type { StepRecipe } from "./settings.ts";
import { buildStepGraph, type StepGraphOptions } from "./step-graph.ts";

/** Graphs that are kept ready for a further trial of the same architecture. */
const KEPT_SESSIONS = 4;

interface Entry {
  readonly session: Promise<InferenceSession>;
  users: number;
}

/**
 * Training on one of onnxruntime's variants, which is loaded with the first trainer. One thread, so that runs repeat
 * bit for bit; more cores are for more workers.
 */
export function createOnnxEngine(name: RuntimeName = "onnx"): Engine {
  const entries = new Map<string, Entry>();
  // MaxUnpool runs on CPUs only, and MaxPool gives indices only there and on CUDA.
  const poolGradient = name === "onnx" || name === "onnx-web" ? "indices" : "mask";

  async function createSession(options: StepGraphOptions): Promise<InferenceSession> {
    const runtime = await loadRuntime(name);
    return runtime.createSession(buildStepGraph({ ...options, poolGradient }));
  }

  function open(architecture: Architecture, batch: number, settings: StepRecipe): [string, Entry] {
    const { tiling: _, ...network } = architecture;
    const { optimizer, momentum, weightDecay, dropout = 0 } = settings;
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
