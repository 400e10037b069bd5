/** The groups of figures by name, in the order in which they are measured. */
import type { Measure } from "./group.ts";

interface Group {
  readonly summary: string;
  /** whether it is measured unasked; a long one is not */
  readonly standard: boolean;
  readonly load: () => Promise<{ readonly measure: Measure }>;
}

/** Loaded one by one: what one group needs must not keep another from running. */
export const GROUPS = {
  training: {
    summary: "onnx against onnx-web",
    standard: true,
    load: () => import("./training.ts"),
  },
  workers: {
    summary: "two training processes against one",
    standard: true,
    load: () => import("./workers.ts"),
  },
  evaluation: {
    summary: "the fast evaluator against the reference, evaluation against training",
    standard: true,
    load: () => import("./evaluation.ts"),
  },
  search: {
    summary: "tilings, partitions, proposals",
    standard: true,
    load: () => import("./search.ts"),
  },
  engines: {
    summary: "every engine of this machine, checked and timed",
    standard: true,
    load: () => import("./engines.ts"),
  },
  memory: {
    summary: "growth of a training process over many trials",
    standard: true,
    load: () => import("./memory.ts"),
  },
  accuracy: {
    summary: "a network of S2 trained on Fashion-MNIST for 3 epochs: minutes, so only when named",
    standard: false,
    load: () => import("./accuracy.ts"),
  },
} as const satisfies Record<string, Group>;

export type GroupName = keyof typeof GROUPS;
export const GROUP_NAMES = Object.keys(GROUPS) as GroupName[];
