/** How many trainings a miner runs at a time, and on what: `--workers`, `--gpu` and `--engine`. */
import { availableParallelism } from "node:os";

import type { Command } from "commander";

import { PonasError } from "../../protocol/errors.ts";
import type { EngineName } from "../../training/engine.ts";
import { chooseEngine } from "../../training/engines.ts";
import { createTrainingWorker, type TrainingWorker } from "../../training/worker.ts";
import { wholeNumber } from "../context.ts";
import type { EngineOptions } from "../engine-option.ts";

export interface WorkerCountOptions extends EngineOptions {
  readonly workers?: number;
  readonly gpu?: readonly string[];
}

export interface WorkerPlan {
  readonly engine: EngineName;
  readonly workers: number;
  /** of each worker the CUDA device that it sees; empty where nothing was chosen */
  readonly gpus: readonly string[];
}

/** A pool admits so many sessions of one account unless its manager says otherwise; more workers are for whoever asks. */
const MOST_BY_DEFAULT = 16;
/** These look at CUDA's devices; a CPU has none, and WebGPU takes the one that the system gives it. */
const CUDA_ENGINES: ReadonlySet<EngineName> = new Set(["cuda", "tfjs"]);

export function addWorkerOptions(command: Command): Command {
  return command
    .option(
      "--workers <n>",
      "networks trained at a time (default: the cores, 16 at most; 1 on a GPU)",
      wholeNumber("--workers", 1, 1024),
    )
    .option("--gpu <list>", "CUDA devices such as 0,1: a worker on each; one named twice gets two", parseGpus);
}

/** @throws PonasError usage */
export function parseGpus(text: string): string[] {
  const gpus = text.split(",").map((part) => part.trim());
  if (gpus.every((gpu) => /^(\d{1,3}|(GPU|MIG)-[0-9A-Za-z/-]{1,80})$/.test(gpu))) return gpus;
  throw new PonasError("usage", `--gpu takes devices' numbers or ids such as 0,1, not "${text}".`);
}

/** @throws PonasError usage where the options do not go together; engine where the engine does not run here */
export async function chooseWorkers(
  { engine: named, workers, gpu }: WorkerCountOptions,
  cores = availableParallelism(),
): Promise<WorkerPlan> {
  if (gpu !== undefined) {
    if (workers !== undefined && workers !== gpu.length) {
      throw new PonasError(
        "usage",
        `--gpu names ${gpu.length} devices, a worker on each, but --workers says ${workers}.`,
        {
          cure: "name a device twice to have two workers on it",
        },
      );
    }
    if (named !== undefined && !CUDA_ENGINES.has(named)) {
      throw new PonasError(
        "usage",
        `--gpu chooses among CUDA's devices, and the engine ${named} looks at none of them.`,
        {
          cure: "--engine cuda or tfjs",
        },
      );
    }
    return { engine: await chooseEngine(named ?? "cuda"), workers: gpu.length, gpus: gpu };
  }
  const engine = await chooseEngine(named);
  const usual = engine === "cuda" || engine === "webgpu" ? 1 : Math.min(cores, MOST_BY_DEFAULT);
  return { engine, workers: workers ?? usual, gpus: [] };
}

/** The training processes; each starts with its first training. */
export function startWorkers({ engine, workers, gpus }: WorkerPlan): TrainingWorker[] {
  return Array.from({ length: workers }, (_, index) => {
    const gpu = gpus[index];
    // Numbered as nvidia-smi and doctor show them, and not by speed.
    const env = gpu === undefined ? undefined : { CUDA_DEVICE_ORDER: "PCI_BUS_ID", CUDA_VISIBLE_DEVICES: gpu };
    return createTrainingWorker({ engine, env });
  });
}
