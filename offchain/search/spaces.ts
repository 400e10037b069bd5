/** The search spaces that have names: the paper's (Table 1 and the nine subspaces) and the demo's. */
import type { Space } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";

export {
  boxSchema,
  isMember,
  mutate,
  neighbours,
  parseSearchSpace,
  sampleArchitecture,
  spaceSize,
  type Box,
  type SearchSpace,
} from "./boxes.ts";

export const SPACES = {
  full: {
    kernelHeight: [1, 3, 5, 7, 9],
    kernelWidth: [1, 3, 5, 7, 9],
    filters: [4, 8, 12, 24, 36, 64, 128],
    strideHeight: [1, 2, 3, 4, 5],
    strideWidth: [1, 2, 3, 4, 5],
    poolSize: [1, 2],
    actIntBits: [0, 1, 2, 3],
    actFracBits: [0, 1, 2, 3, 4, 5, 6],
    weightIntBits: [0, 1, 2, 3, 4],
    weightFracBits: [0, 1, 2, 3, 4, 5, 6],
  },
  // 48 filters (S1, S2) and 32 filters (S7, S8) stand outside the full space, as in the paper.
  S1: {
    kernelHeight: [1, 5, 7],
    kernelWidth: [3, 5, 7],
    filters: [24, 36, 48, 64],
    strideHeight: [1, 2, 3],
    strideWidth: [1, 2, 3],
    poolSize: [1, 2],
    actIntBits: [1, 2, 3],
    actFracBits: [1, 2, 3, 4, 5],
    weightIntBits: [0, 1, 2, 3, 4],
    weightFracBits: [2, 3, 4, 5],
  },
  S2: {
    kernelHeight: [1, 3, 5, 7],
    kernelWidth: [1, 3, 5, 7],
    filters: [24, 36, 48, 64],
    strideHeight: [1, 2, 3],
    strideWidth: [1, 2, 3],
    poolSize: [1, 2],
    actIntBits: [0, 1, 2, 3],
    actFracBits: [0, 1, 2, 3, 4, 5, 6],
    weightIntBits: [0, 1, 2, 3],
    weightFracBits: [0, 1, 2, 3, 4, 5, 6],
  },
  S3: {
    kernelHeight: [1, 3, 5, 7, 9],
    kernelWidth: [1, 3, 5, 7, 9],
    filters: [4, 8, 12, 24, 36, 64, 128],
    strideHeight: [1, 2, 3],
    strideWidth: [1, 2, 3],
    poolSize: [1],
    actIntBits: [0, 1, 2, 3],
    actFracBits: [0, 1, 2, 3, 4, 5, 6],
    weightIntBits: [0, 1, 2, 3],
    weightFracBits: [0, 1, 2, 3, 4, 5, 6],
  },
  S4: {
    kernelHeight: [1, 3, 5, 7, 9],
    kernelWidth: [1, 3, 5, 7, 9],
    filters: [4, 8, 12, 24, 36, 64, 128],
    strideHeight: [1, 2, 3, 4, 5],
    strideWidth: [1, 2, 3, 4, 5],
    poolSize: [1],
    actIntBits: [2, 3],
    actFracBits: [4, 5, 6],
    weightIntBits: [2, 3],
    weightFracBits: [4, 5, 6],
  },
  S5: {
    kernelHeight: [1, 3, 5, 7, 9],
    kernelWidth: [1, 3, 5, 7, 9],
    filters: [4, 8, 12, 24, 36, 64, 128],
    strideHeight: [1, 2, 3, 4, 5],
    strideWidth: [1, 2, 3, 4, 5],
    poolSize: [1],
    actIntBits: [0, 1],
    actFracBits: [1, 2, 3],
    weightIntBits: [0, 1],
    weightFracBits: [1, 2, 3],
  },
  S6: {
    kernelHeight: [1, 3, 5],
    kernelWidth: [1, 3, 5],
    filters: [4, 8, 12],
    strideHeight: [1, 2, 3],
    strideWidth: [1, 2, 3],
    poolSize: [1],
    actIntBits: [0, 1, 2, 3],
    actFracBits: [0, 1, 2, 3, 4, 5, 6],
    weightIntBits: [0, 1, 2, 3],
    weightFracBits: [0, 1, 2, 3, 4, 5, 6],
  },
  S7: {
    kernelHeight: [5, 7, 9],
    kernelWidth: [5, 7, 9],
    filters: [32, 64, 128],
    strideHeight: [3, 4, 5],
    strideWidth: [3, 4, 5],
    poolSize: [1],
    actIntBits: [0, 1, 2, 3],
    actFracBits: [0, 1, 2, 3, 4, 5, 6],
    weightIntBits: [0, 1, 2, 3],
    weightFracBits: [0, 1, 2, 3, 4, 5, 6],
  },
  S8: {
    kernelHeight: [5, 7, 9],
    kernelWidth: [5, 7, 9],
    filters: [32, 64, 128],
    strideHeight: [3, 4, 5],
    strideWidth: [3, 4, 5],
    poolSize: [1],
    actIntBits: [2, 3],
    actFracBits: [4, 5, 6],
    weightIntBits: [2, 3],
    weightFracBits: [4, 5, 6],
  },
  S9: {
    kernelHeight: [1, 3, 5],
    kernelWidth: [1, 3, 5],
    filters: [24, 36],
    strideHeight: [1, 2, 3],
    strideWidth: [1, 2, 3],
    poolSize: [1],
    actIntBits: [2, 3],
    actFracBits: [5, 6],
    weightIntBits: [2, 3],
    weightFracBits: [5, 6],
  },
  // Small networks with room in every number format: nearly all of them learn within a minute, which the paper's
  // spaces, made for long searches, do not offer.
  demo: {
    kernelHeight: [3, 5],
    kernelWidth: [3, 5],
    filters: [12, 24, 36],
    strideHeight: [1, 2],
    strideWidth: [1, 2],
    poolSize: [1],
    actIntBits: [2, 3],
    actFracBits: [4, 5, 6],
    weightIntBits: [2, 3],
    weightFracBits: [4, 5, 6],
  },
} as const satisfies Record<string, { readonly [name in keyof Space]: readonly number[] }>;

export type SpaceName = keyof typeof SPACES;
export const SPACE_NAMES = Object.keys(SPACES) as SpaceName[];

const NOTES: Partial<Record<SpaceName, string>> = {
  S3: "The paper also lists a stride of 0 in S3, which no convolution has; it is left out.",
};

/** What a person should know about a named space: where it is not what the paper lists. */
export function spaceNotes(name: string): string[] {
  const known = SPACE_NAMES.find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  const note = known === undefined ? undefined : NOTES[known];
  return note === undefined ? [] : [note];
}

/**
 * A space by its name; upper and lower case are one.
 * @throws PonasError bad-input that lists the names
 */
export function spaceByName(name: string): Space {
  const known = SPACE_NAMES.find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  if (known === undefined) {
    throw new PonasError("bad-input", `There is no search space called ${name}.`, {
      cure: `the spaces are ${SPACE_NAMES.join(", ")}`,
    });
  }
  return structuredClone(SPACES[known]) as unknown as Space;
}
