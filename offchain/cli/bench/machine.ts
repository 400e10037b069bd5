/** Which machine the figures are of: without it they mean nothing. */
import { readdirSync, readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";

import type { EnginePresence } from "../../training/engines.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly os: string;
  readonly node: string;
  /** GPUs by the names that their driver gives, and what the engines that are present say of them */
  readonly accelerators: readonly string[];
  /** mean number of processes that wanted to run in the last 1, 5 and 15 minutes, at the start; 0 on Windows */
  readonly loadAverage: readonly number[];
  /** a sentence where something else was running, or null */
  readonly busy: string | null;
}

/** From this load on, in the minute before, somebody else's work is in the figures. */
const IDLE_LOAD = 0.5;

export function describeMachine(engines: readonly EnginePresence[]): Machine {
  const load = loadavg();
  const gpus = engines.filter(({ name, present }) => present && (name === "webgpu" || name === "cuda"));
  const busy =
    load[0]! < IDLE_LOAD
      ? null
      : `The machine was busy at the start (load ${load[0]!.toFixed(2)}): absolute figures are too low, and ratios spread.`;
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round((10 * totalmem()) / 2 ** 30) / 10,
    os: `${distribution() ?? type()}, kernel ${release()}, ${arch()}`,
    node: process.versions.node,
    accelerators: [...nvidiaModels(), ...gpus.map(({ name, detail }) => `${name}: ${detail}`)],
    loadAverage: load.map((value) => Math.round(100 * value) / 100),
    busy,
  };
}

/** A name for files: "amd-epyc-2-cores", "amd-epyc-2-cores-webgpu". */
export function machineSlug({ cpu, cores, accelerators }: Machine): string {
  const names = accelerators.map((text) => text.split(":")[0]!);
  return [cpu, cores === 1 ? "1-core" : `${cores}-cores`, ...names]
    .join(" ")
    .toLowerCase()
    .replace(/\((r|tm)\)/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 80);
}

function distribution(): string | undefined {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  } catch {
    return undefined; // not a Linux of today
  }
}

const NVIDIA = "/proc/driver/nvidia/gpus";

/** "NVIDIA H200" for instance; empty without NVIDIA's driver for Linux. */
function nvidiaModels(): string[] {
  try {
    return readdirSync(NVIDIA).flatMap((bus) => {
      const model = /^Model:\s*(.+)$/m.exec(readFileSync(join(NVIDIA, bus, "information"), "utf8"))?.[1];
      return model === undefined ? [] : [model.trim()];
    });
  } catch {
    return [];
  }
}
