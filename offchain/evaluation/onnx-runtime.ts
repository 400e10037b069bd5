/**
 * The variants of onnxruntime behind one interface. Packages are loaded when they are asked for: the native one is
 * optional, the WebAssembly one runs wherever Node does, and a GPU's driver stays untouched by whoever wants no GPU.
 */
import type { InferenceSession, TensorConstructor } from "onnxruntime-common";

import { PonasError } from "../protocol/errors.ts";

/**
 * onnx: native, on the CPU. onnx-web: WebAssembly with SIMD, one thread. webgpu and cuda: the native package's
 * providers of these names; what they lack runs on the CPU, node by node.
 */
export const RUNTIME_NAMES = ["onnx", "onnx-web", "webgpu", "cuda"] as const;
export type RuntimeName = (typeof RUNTIME_NAMES)[number];

export interface SessionOptions {
  /** threads of one run; 1 unless said otherwise, and always 1 on onnx-web */
  readonly threads?: number;
  /** true refuses a graph of which any node would run on the CPU instead of the GPU; false unless said otherwise */
  readonly gpuOnly?: boolean;
}

export interface Runtime {
  readonly name: RuntimeName;
  /** The runtime's own class: it knows no tensors of another copy of onnxruntime-common. */
  readonly Tensor: TensorConstructor;
  /** Which paths of the canonical evaluation this runtime computes exactly (fast.ts): "all", "single" or "none". */
  readonly exact: "all" | "single" | "none";
  /** true where tensors handed in for the outputs are filled; elsewhere they stay as they were, without an error */
  readonly fillsOutputs: boolean;
  /**
   * @param bytes a serialised model
   * @throws PonasError engine where the graph is refused
   */
  createSession(bytes: Uint8Array, options?: SessionOptions): Promise<InferenceSession>;
}

/** What to do where one is missing. */
const CURES: Readonly<Record<RuntimeName, string>> = {
  onnx: "npm install --no-save onnxruntime-node@1.30.0, on Linux with glibc, macOS or Windows; onnx-web runs everywhere",
  "onnx-web": "run npm ci again and read what it prints",
  webgpu: "install the GPU's Vulkan driver and the loader (Debian: apt-get install libvulkan1 mesa-vulkan-drivers)",
  cuda: "node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12, with CUDA 12 and cuDNN 9 where the loader finds them (x86-64 Linux)",
};

/** The command or the step that makes a runtime present. */
export function runtimeCure(name: RuntimeName): string {
  return CURES[name];
}

const loading = new Map<RuntimeName, Promise<Runtime>>();

/**
 * Loads a runtime's package, once. That a GPU is there shows only with the first session.
 * @throws PonasError engine where the package is missing or does not load on this machine
 */
export function loadRuntime(name: RuntimeName): Promise<Runtime> {
  let runtime = loading.get(name);
  if (runtime === undefined) {
    runtime = name === "onnx-web" ? loadWeb() : loadNative(name);
    loading.set(name, runtime);
  }
  return runtime;
}

/** The runtime for everything that is to be exact everywhere: the native one, or WebAssembly where it is missing. */
export async function loadCpuRuntime(): Promise<Runtime> {
  try {
    return await loadRuntime("onnx");
  } catch {
    return loadRuntime("onnx-web");
  }
}

async function loadNative(name: Exclude<RuntimeName, "onnx-web">): Promise<Runtime> {
  // Of the options of its CUDA provider the package passes only the device on, so TF32 (10 bits of mantissa instead
  // of 23) is forbidden to NVIDIA's libraries themselves, which read this when they are loaded.
  if (name === "cuda") process.env["NVIDIA_TF32_OVERRIDE"] = "0";
  const { InferenceSession, Tensor } = await packageOf(name, () => import("onnxruntime-node"));
  return {
    name,
    Tensor,
    exact: ({ onnx: "all", webgpu: "single", cuda: "none" } as const)[name],
    fillsOutputs: true,
    createSession: (bytes, { threads = 1, gpuOnly = false } = {}) =>
      sessionOf(name, () =>
        InferenceSession.create(bytes, {
          executionProviders: [name === "onnx" ? "cpu" : name],
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          executionMode: "sequential",
          graphOptimizationLevel: "all",
          logSeverityLevel: 3,
          ...(gpuOnly ? { extra: { session: { disable_cpu_ep_fallback: "1" } } } : {}),
        }),
      ),
  };
}

async function loadWeb(): Promise<Runtime> {
  const { InferenceSession, Tensor, env } = await packageOf("onnx-web", () => import("onnxruntime-web"));
  // One thread starts no worker; the .wasm file lies beside the package's entry point and is read from there.
  env.wasm.numThreads = 1;
  env.wasm.proxy = false;
  return {
    name: "onnx-web",
    Tensor,
    exact: "all",
    fillsOutputs: false,
    createSession: (bytes) =>
      sessionOf("onnx-web", () =>
        InferenceSession.create(bytes, {
          executionProviders: ["wasm"],
          executionMode: "sequential",
          graphOptimizationLevel: "all",
          logSeverityLevel: 3,
        }),
      ),
  };
}

async function packageOf<T>(name: RuntimeName, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new PonasError("engine", `The engine ${name} is not present: ${reasonOf(cause)}.`, {
      cure: CURES[name],
      cause,
    });
  }
}

async function sessionOf(name: RuntimeName, create: () => Promise<InferenceSession>): Promise<InferenceSession> {
  try {
    return await create();
  } catch (cause) {
    const cure = name === "webgpu" || name === "cuda" ? CURES[name] : undefined;
    throw new PonasError("engine", `onnxruntime (${name}) could not load a network: ${reasonOf(cause)}.`, {
      cure,
      cause,
    });
  }
}

/**
 * Runs a session.
 * @throws PonasError engine where onnxruntime fails: out of memory, or a GPU that went away
 */
export async function runSession(
  name: RuntimeName,
  what: string,
  session: InferenceSession,
  feeds: InferenceSession.FeedsType,
  fetches?: InferenceSession.FetchesType,
): Promise<InferenceSession.ReturnType> {
  try {
    return await (fetches === undefined ? session.run(feeds) : session.run(feeds, fetches));
  } catch (cause) {
    throw new PonasError("engine", `onnxruntime (${name}) could not ${what}: ${reasonOf(cause)}.`, { cause });
  }
}

/** What an error of a native library says, in one clause: without source lines, stack traces and full stop. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message
    .split("\n")[0]!
    .replace(/^\/\S+:\d+ .* was false\. /, "")
    .trim()
    .replace(/\.$/, "");
}
