/** Which TensorFlow.js trains here: the fastest one that is installed, loaded without a network and made repeatable. */
import { createRequire } from "node:module";
import path from "node:path";
import util from "node:util";

import type * as tfjsWasm from "@tensorflow/tfjs-backend-wasm";
import type * as tfjsCore from "@tensorflow/tfjs-core";

import { PonasError } from "../protocol/errors.ts";

/** the namespace that @tensorflow/tfjs-core exports, and tfjs-node among other things */
export type Tf = typeof tfjsCore;

/** From the fastest to the slowest; the first two are optional, the others come with ponas. */
const TFJS_VARIANTS = ["node-gpu", "node", "wasm", "cpu"] as const;
export type TfjsVariant = (typeof TFJS_VARIANTS)[number];

/** What brings TensorFlow's own kernels onto a machine with an NVIDIA GPU. */
export const TFJS_GPU_INSTALL = "npm install --no-save @tensorflow/tfjs-node-gpu@4.22.0";

export interface TfjsBackend {
  readonly tf: Tf;
  readonly variant: TfjsVariant;
  /** the variant in words, and why faster ones that are installed could not be used */
  readonly detail: string;
}

export interface LoadTfjsOptions {
  /** loads a CommonJS module of that name, or throws what `require` throws */
  readonly load?: (name: string) => unknown;
  /** those to try, in this order */
  readonly variants?: readonly TfjsVariant[];
}

/**
 * Loads the first variant that works and makes it TensorFlow.js's backend, of which a process has one at a time.
 * @throws PonasError engine where none works
 */
export async function loadTfjs({
  load = createRequire(import.meta.url),
  variants = TFJS_VARIANTS,
}: LoadTfjsOptions = {}): Promise<TfjsBackend> {
  const faults: string[] = [];
  for (const variant of variants) {
    try {
      const { tf, detail } = await LOADERS[variant](load);
      // Without it the CPU backend prints an advertisement.
      tf.enableProdMode();
      return { tf, variant, detail: [detail, ...faults].join("; ") };
    } catch (error) {
      const optional = variant === "node-gpu" || variant === "node";
      if (optional && isMissing(error, `@tensorflow/tfjs-${variant}`)) continue;
      faults.push(`tfjs-${variant} does not load: ${firstLine(error)}`);
    }
  }
  throw new PonasError("engine", `No TensorFlow.js backend works here: ${faults.join("; ") || "none is installed"}.`, {
    cure: `npm install, or for an NVIDIA GPU ${TFJS_GPU_INSTALL}`,
  });
}

type Load = (name: string) => unknown;
interface Loaded {
  readonly tf: Tf;
  readonly detail: string;
}

const LOADERS: Record<TfjsVariant, (load: Load) => Promise<Loaded>> = {
  "node-gpu": (load) => loadNative(load, "@tensorflow/tfjs-node-gpu"),
  node: (load) => loadNative(load, "@tensorflow/tfjs-node"),
  wasm: async (load) => {
    const tf = asTf(load("@tensorflow/tfjs-core"));
    const wasm = load("@tensorflow/tfjs-backend-wasm") as typeof tfjsWasm;
    const main = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
    wasm.setWasmPaths(path.dirname(main) + path.sep);
    wasm.setThreadsCount(1);
    await withoutNewProcessListeners(() => choose(tf, "wasm"));
    refuseUnservedMemory((tf.backend() as WasmBackend).wasm);
    return { tf, detail: `TensorFlow.js ${tf.version_core} on WebAssembly, one thread` };
  },
  cpu: async (load) => {
    const tf = asTf(load("@tensorflow/tfjs-core"));
    load("@tensorflow/tfjs-backend-cpu");
    await choose(tf, "cpu");
    return { tf, detail: `TensorFlow.js ${tf.version_core} in plain JavaScript, very slow` };
  },
};

/**
 * TensorFlow reads these when it is loaded: one thread on the CPU and repeatable kernels and full float32 products on
 * a GPU, so that equal seeds give equal bits; memory as it is needed, so that several workers share a GPU.
 */
const TENSORFLOW_ENVIRONMENT: Readonly<Record<string, string>> = {
  TF_NUM_INTRAOP_THREADS: "1",
  TF_NUM_INTEROP_THREADS: "1",
  OMP_NUM_THREADS: "1",
  TF_DETERMINISTIC_OPS: "1",
  TF_CUDNN_DETERMINISTIC: "1",
  NVIDIA_TF32_OVERRIDE: "0",
  TF_FORCE_GPU_ALLOW_GROWTH: "true",
  TF_CPP_MIN_LOG_LEVEL: "2",
};

/** tfjs-node's backend, as far as it says what it runs on. */
interface NativeBackend {
  readonly isUsingGpuDevice?: boolean;
}

async function loadNative(load: Load, name: string): Promise<Loaded> {
  // tfjs-node 4.22.0 calls the first, which Node 23 took away, and the second, of which Node warns.
  const removed = { isNullOrUndefined: (value: unknown) => value === null || value === undefined };
  Object.assign(util, { ...removed, isArray: Array.isArray });
  const unset = Object.keys(TENSORFLOW_ENVIRONMENT).filter((variable) => process.env[variable] === undefined);
  for (const variable of unset) process.env[variable] = TENSORFLOW_ENVIRONMENT[variable];
  try {
    const tf = asTf(load(name));
    await choose(tf, "tensorflow");
    const gpu = (tf.backend() as NativeBackend).isUsingGpuDevice === true;
    return { tf, detail: `${name} ${tf.version_core} on ${gpu ? "a GPU" : "the CPU"}` };
  } catch (error) {
    for (const variable of unset) Reflect.deleteProperty(process.env, variable);
    throw error;
  }
}

function asTf(module: unknown): Tf {
  if (module === null || typeof module !== "object" || !("setBackend" in module)) {
    throw new Error("it is not TensorFlow.js");
  }
  return module as Tf;
}

async function choose(tf: Tf, backend: string): Promise<void> {
  if (!(await tf.setBackend(backend))) throw new Error(`its backend "${backend}" does not start`);
}

/** Emscripten's start code rethrows every uncaught error of the whole process; what is uncaught is not its business. */
async function withoutNewProcessListeners(work: () => Promise<void>): Promise<void> {
  const events = ["uncaughtException", "unhandledRejection"] as const;
  const before = new Set<unknown>(events.flatMap((event) => process.listeners(event as "uncaughtException")));
  try {
    await work();
  } finally {
    for (const event of events) {
      for (const listener of process.listeners(event as "uncaughtException")) {
        if (!before.has(listener)) process.off(event, listener);
      }
    }
  }
}

interface WasmModule {
  _malloc(bytes: number): number;
  _free(address: number): void;
}
type WasmBackend = ReturnType<Tf["backend"]> & { readonly wasm: WasmModule };

/** The kernels' own scratch memory, which they do not check either, gets the rest of the 4 GiB. */
const MAX_WASM_BYTES = 3.5 * 2 ** 30;

/** WebAssembly's memory ends at 4 GiB, and the backend does not notice: it would go on at address 0. */
function refuseUnservedMemory(wasm: WasmModule & { served?: true }): void {
  if (wasm.served === true) return;
  // The first call of it puts another function in its place.
  wasm._free(wasm._malloc(1));
  const malloc = wasm._malloc.bind(wasm);
  wasm.served = true;
  wasm._malloc = (bytes) => {
    // More than 4 GiB would be cut to what is left of the number in 32 bits.
    const address = bytes > MAX_WASM_BYTES ? 0 : malloc(bytes) >>> 0;
    if (address !== 0 && address + bytes <= MAX_WASM_BYTES) return address;
    if (address !== 0) wasm._free(address);
    throw new RangeError("out of memory: WebAssembly has at most 4 GiB");
  };
}

function isMissing(error: unknown, name: string): boolean {
  return (
    error instanceof Error &&
    (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND" &&
    error.message.includes(`'${name}'`)
  );
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;
}
