/** Whether a training process stays as large as it is, trial after trial, with sessions of ever other networks. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

import { createRandom } from "../../protocol/random.ts";
import { sampleArchitecture, spaceByName } from "../../search/spaces.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../../training/settings.ts";
import { createTrainingWorker } from "../../training/worker.ts";
import { measured, missing, type Figure } from "./figures.ts";
import { noise, type Measure } from "./group.ts";
import { summarise } from "./statistics.ts";

/** More than an engine keeps sessions of, so that most trials build one and give one back. */
const NETWORKS = 24;
const TEMPLATE = { input: [12, 12, 1], classes: 10, depth: 3, head: { pool: "flatten", hidden: 0 } } as const;
/** How much larger the last tenth of the trials may find the process than the second tenth did. */
const GROWTH_BAR = 1.1;

export const measure: Measure = async ({ quick, trials, signal, say }) => {
  const count = quick ? 10 : trials;
  const size = { id: "memory/worker", what: `a training process after ${count} trials`, unit: "MiB" } as const;
  const growth = {
    id: "memory/growth",
    what: `growth of a training process over ${count} trials`,
    unit: "×",
    bar: { of: "value", most: GROWTH_BAR },
    note: "resident memory in the last tenth of the trials, divided by that in the second tenth; medians",
  } as const;
  say(growth.what);

  const random = createRandom("memory");
  const template = { ...TEMPLATE, input: [...TEMPLATE.input] as [number, number, number] };
  const networks = Array.from({ length: NETWORKS }, () => sampleArchitecture(template, spaceByName("demo"), random));
  const samples = noise(networks[0]!, 64);
  const settings = { ...DEFAULT_TRAINING_SETTINGS, epochs: 1, batch: 16 };
  let pid = 0;
  const worker = createTrainingWorker({ onStart: (started) => (pid = started) });
  const resident: number[] = [];
  try {
    for (let trial = 0; trial < count; trial++) {
      const architecture = networks[trial % NETWORKS]!;
      await worker.train({ architecture, train: samples, validation: samples, settings, seed: trial }, { signal });
      const mebibytes = residentMebibytes(pid);
      if (mebibytes === null) {
        const reason = "the size of a process cannot be read on this system (neither /proc nor ps)";
        return [missing(size, reason), missing(growth, reason)];
      }
      resident.push(mebibytes);
    }
  } finally {
    await worker.close();
  }
  const tenth = Math.floor(count / 10);
  const early = summarise(resident.slice(tenth, 2 * tenth));
  const late = summarise(resident.slice(-tenth));
  const figures: Figure[] = [measured(size, late), measured(growth, summarise([late.median / early.median]))];
  return figures;
};

function residentMebibytes(pid: number): number | null {
  for (const read of [residentByProc, residentByPs]) {
    try {
      const kibibytes = read(pid);
      if (Number.isFinite(kibibytes)) return kibibytes / 1024;
    } catch {
      // not this kind of system: the next way
    }
  }
  return null;
}

function residentByProc(pid: number): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

function residentByPs(pid: number): number {
  return Number.parseInt(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }), 10);
}
