/** Which engines this machine has, which of them is the fastest, and how to get the others. */
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { loadRuntime, reasonOf, runtimeCure } from "../evaluation/onnx-runtime.ts";
import { PonasError } from "../protocol/errors.ts";
import { ENGINE_NAMES, type Engine, type EngineName } from "./engine.ts";
import { probeGpu } from "./gpu-probe.ts";
import { createOnnxEngine } from "./onnx-engine.ts";

export interface EnginePresence {
  readonly name: EngineName;
  readonly present: boolean;
  /** what was found, or why it does not run; without a full stop */
  readonly detail: string;
  /** the one command or step that makes it present, or faster; null where nothing does */
  readonly cure: string | null;
}

/**
 * An engine by its name, or the best one that is present.
 * @throws PonasError engine where the named one does not run here
 */
export async function createEngine(name?: EngineName): Promise<Engine> {
  const chosen = await chooseEngine(name);
  if (chosen !== "tfjs") return createOnnxEngine(chosen);
  const { createTfjsEngine } = await import("./tfjs-engine.ts");
  return createTfjsEngine();
}

/**
 * The name that {@link createEngine} would go by, for processes that are told theirs.
 * @throws PonasError engine where the named one does not run here
 */
export async function chooseEngine(name?: EngineName): Promise<EngineName> {
  if (name === undefined) return bestEngine();
  const { present, detail, cure } = await presence(name);
  if (present) return name;
  throw new PonasError("engine", `The engine ${name} does not run here: ${detail}.`, { cure: cure ?? undefined });
}

let best: Promise<EngineName> | undefined;

/** CUDA, WebGPU, the native CPU, WebAssembly, TensorFlow.js; the GPU only where it beats the CPU. */
function bestEngine(): Promise<EngineName> {
  best ??= fastest();
  return best;
}

// A GPU's driver is asked only where the machine shows signs of a GPU: elsewhere commands start at once.
async function fastest(): Promise<EngineName> {
  if (cudaProvider() && (await probeGpu("cuda")).speed > 1) return "cuda";
  if (maybeGpu() && (await probeGpu("webgpu")).speed > 1) return "webgpu";
  for (const name of ["onnx", "onnx-web"] as const) if ((await presence(name)).present) return name;
  return "tfjs";
}

/** All engines, as `doctor` lists them. */
export function presentEngines(): Promise<EnginePresence[]> {
  return Promise.all(ENGINE_NAMES.map(presence));
}

async function presence(name: EngineName): Promise<EnginePresence> {
  const found = (detail: string): EnginePresence => ({ name, present: true, detail, cure: null });
  if (name === "tfjs") return tfjsPresence();
  const missing = (detail: string): EnginePresence => ({ name, present: false, detail, cure: runtimeCure(name) });
  if (name === "onnx" || name === "onnx-web") {
    try {
      await loadRuntime(name);
    } catch (error) {
      return missing(reasonOf(error instanceof PonasError ? error.cause : error));
    }
    return found(name === "onnx" ? "native, on the CPU" : "WebAssembly with SIMD, on the CPU");
  }
  if (name === "cuda" && !cudaProvider()) return missing("its libraries are not installed");
  const { error, speed } = await probeGpu(name);
  if (error !== null) return missing(error);
  const share = speed.toPrecision(2);
  return found(`a convolution runs ${share} times as fast as on one core${speed > 1 ? "" : ": a software adapter?"}`);
}

async function tfjsPresence(): Promise<EnginePresence> {
  const { loadTfjs, TFJS_GPU_INSTALL } = await import("./tfjs-backend.ts");
  const cure = `${TFJS_GPU_INSTALL}, with an NVIDIA GPU, CUDA 11 and cuDNN 8 (x86-64 Linux or Windows)`;
  try {
    const { variant, detail } = await loadTfjs();
    return { name: "tfjs", present: true, detail, cure: variant === "node-gpu" ? null : cure };
  } catch (error) {
    return { name: "tfjs", present: false, detail: reasonOf(error), cure };
  }
}

/** True where the CUDA provider's libraries lie beside the native package's own. */
function cudaProvider(): boolean {
  try {
    const dist = dirname(createRequire(import.meta.url).resolve("onnxruntime-node"));
    const folder = join(dist, "..", "bin", "napi-v6", process.platform, process.arch);
    return existsSync(join(folder, "libonnxruntime_providers_cuda.so"));
  } catch {
    return false;
  }
}

/** False only where Linux shows no device of a GPU: whatever adapter there is, the CPU does its work. */
function maybeGpu(): boolean {
  if (process.platform !== "linux") return true;
  const rendering = existsSync("/dev/dri") && readdirSync("/dev/dri").some((device) => device.startsWith("renderD"));
  return rendering || existsSync("/dev/nvidia0") || existsSync("/dev/dxg");
}
