/** The engine on TensorFlow.js. */
import type { Engine } from "./engine.ts";
import { loadTfjs, type TfjsBackend } from "./tfjs-backend.ts";
import { createTfjsTrainer } from "./tfjs-trainer.ts";

export interface TfjsEngine extends Engine {
  /** which TensorFlow.js computes, on what */
  readonly detail: string;
}

/**
 * Training on TensorFlow.js, on the best of its backends that is installed here unless one is given. A process uses
 * one backend at a time.
 * @throws PonasError engine where none works
 */
export async function createTfjsEngine(backend?: TfjsBackend): Promise<TfjsEngine> {
  const loaded = backend ?? (await loadTfjs());
  return {
    name: "tfjs",
    detail: loaded.detail,
    createTrainer: async (options) => createTfjsTrainer(loaded, options),
    // Every tensor belongs to a trainer, and the backend to the process.
    dispose: async () => {},
  };
}
