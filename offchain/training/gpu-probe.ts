/**
 * Whether a GPU provider of onnxruntime runs here, and how fast. Asked in a process of its own: a broken driver takes
 * that process down and no other, and what native libraries print stays off the terminal.
 */
import { fork } from "node:child_process";

export type GpuRuntime = "webgpu" | "cuda";

export interface GpuProbe {
  /** why it does not run, without a full stop; or null */
  readonly error: string | null;
  /** how many times as fast as one core of the CPU a convolution runs; 0 where it does not run */
  readonly speed: number;
}

/** Longest wait for a driver: a first use of CUDA on a cold disk takes some ten seconds. */
const DEADLINE_MS = 60_000;

const known = new Map<GpuRuntime, Promise<GpuProbe>>();

/** Asks once in the life of this process. */
export function probeGpu(name: GpuRuntime): Promise<GpuProbe> {
  let probe = known.get(name);
  if (probe === undefined) known.set(name, (probe = ask(name)));
  return probe;
}

function ask(name: GpuRuntime): Promise<GpuProbe> {
  return new Promise((resolve) => {
    const failed = (error: string): void => resolve({ error, speed: 0 });
    const child = fork(new URL("./gpu-probe-process.ts", import.meta.url), [name], {
      execArgv: [],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      timeout: DEADLINE_MS,
      killSignal: "SIGKILL",
    });
    child.on("message", (probe: GpuProbe) => {
      resolve(probe);
      // Drivers are not always good at ending.
      child.kill("SIGKILL");
    });
    child.on("error", (error) => failed(error.message));
    child.on("exit", (code, signal) => {
      if (signal === "SIGKILL") failed(`its driver did not answer within ${DEADLINE_MS / 1000} s`);
      else failed(`its driver ended the process with ${signal ?? `code ${code}`}`);
    });
  });
}
