/** The engine on onnxruntime: a whole training step is one graph, and sessions are kept for equal networks. */
import { InferenceSession, Tensor } from "onnxruntime-node";

import type { Architecture } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
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

/** Training on onnxruntime-node: one thread, so that runs repeat bit for bit; more cores are for more workers. */
export function createOnnxEngine(): Engine {
  const entries = new Map<string, Entry>();

  function open(architecture: Architecture, batch: number, settings: StepRecipe): Entry {
    const { tiling: _, ...network } = architecture;
    const { optimizer, momentum, weightDecay, dropout = 0 } = settings;
    const key = JSON.stringify([network, batch, optimizer, momentum, weightDecay, dropout > 0]);
    const known = entries.get(key);
    // Taken out and put in again: a Map keeps the order of insertion, so the first idle entry is the oldest.
    entries.delete(key);
    const entry = known ?? { session: createSession({ architecture, batch, settings }), users: 0 };
    entries.set(key, entry);
    entry.session.catch(() => entries.delete(key));
    entry.users += 1;
    return entry;
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
    name: "onnx",
    createTrainer: async ({ architecture, batch, initial, settings }) => {
      const entry = open(architecture, batch, settings);
      const session = await entry.session;
      await trim(KEPT_SESSIONS);
      return createOnnxTrainer({
        Tensor,
        run: (feeds, fetches) => engineCall("take a training step", () => session.run(feeds, fetches)),
        architecture,
        batch,
        initial,
        settings,
        onRelease: () => (entry.users -= 1),
      });
    },
    dispose: () => trim(0),
  };
}

async function engineCall<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PonasError("engine", `onnxruntime could not ${what}: ${reason}.`, { cause });
  }
}

function createSession(options: StepGraphOptions): Promise<InferenceSession> {
  return engineCall("build a training step", () =>
    InferenceSession.create(buildStepGraph(options), {
      executionProviders: ["cpu"],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
    }),
  );
}
