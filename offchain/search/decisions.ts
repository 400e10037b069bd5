/** An architecture as a sequence of decisions: ten a layer, layer after layer, in the order of `HYPERPARAMETERS`. */
import { createHash } from "node:crypto";

import { z } from "zod";

import { HYPERPARAMETERS, type Architecture, type Layer, type Template } from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import { boxesOf, isMember, usableChoices, type SearchSpace } from "./boxes.ts";

export interface Decisions {
  /** the choices of each decision, without repetitions; over a union of boxes those of all boxes together */
  readonly choices: readonly (readonly number[])[];
  /** A walk through the decisions of one architecture. */
  walk(): Walk;
}

export interface Walk {
  /** Which choices of the next decision lead to a member of the space, given those taken; null where all do. */
  allowed(): boolean[] | null;
  /** Takes one of the next decision's choices. @param choice index into `choices` */
  take(choice: number): void;
}

/** @throws PonasError bad-input where a decision has nothing to choose from, or a box is of another depth */
export function createDecisions(space: SearchSpace, depth: number): Decisions {
  /** [box][decision]: the choices there */
  const boxes = boxesOf(space, depth).map((box) =>
    box.flatMap((lists) => HYPERPARAMETERS.map((name) => usableChoices(lists, name))),
  );
  const choices = Array.from({ length: depth * HYPERPARAMETERS.length }, (_, decision) => [
    ...new Set(boxes.flatMap((box) => box[decision]!)),
  ]);
  const empty = choices.findIndex(({ length }) => length === 0);
  if (empty !== -1) {
    const name = HYPERPARAMETERS[empty % HYPERPARAMETERS.length]!;
    throw new PonasError("bad-input", `The space has no usable choice of ${name}.`);
  }
  return {
    choices,
    walk() {
      let compatible = boxes;
      let decision = 0;
      return {
        allowed() {
          if (boxes.length === 1) return null;
          const open = new Set(compatible.flatMap((box) => box[decision]!));
          return open.size === choices[decision]!.length ? null : choices[decision]!.map((value) => open.has(value));
        },
        take(choice) {
          const value = choices[decision]![choice]!;
          if (boxes.length > 1) compatible = compatible.filter((box) => box[decision]!.includes(value));
          decision++;
        },
      };
    },
  };
}

/** The values that an architecture's layers choose, decision by decision. */
export function valuesOf({ layers }: Architecture): number[] {
  return layers.flatMap((layer) => HYPERPARAMETERS.map((name) => layer[name]));
}

/** The architecture of a template whose layers choose these values. */
export function architectureOf(template: Template, values: readonly number[]): Architecture {
  const layers = Array.from(
    { length: template.depth },
    (_, layer) =>
      Object.fromEntries(
        HYPERPARAMETERS.map((name, index) => [name, values[layer * HYPERPARAMETERS.length + index]!]),
      ) as Layer,
  );
  return { input: [...template.input], classes: template.classes, layers, head: { ...template.head } };
}

/**
 * Values from a saved state, read back into a member of the space.
 * @param what what they belong to, as the subject of a sentence
 * @throws PonasError bad-input where the space has no such architecture
 */
export function memberOf(
  space: SearchSpace,
  template: Template,
  values: readonly number[],
  what: string,
): Architecture {
  if (values.length === template.depth * HYPERPARAMETERS.length) {
    const architecture = architectureOf(template, values);
    if (isMember(architecture, space)) return architecture;
  }
  throw new PonasError("bad-input", `${what} holds a network that is not of the space.`);
}

/** An architecture's decisions in 48 bits of a hash: a collision, once in 10^7 searches, costs one proposal. */
export function keyOf(architecture: Architecture): string {
  return createHash("sha256")
    .update(JSON.stringify(valuesOf(architecture)))
    .digest("hex")
    .slice(0, 12);
}

/** Parts of saved states. */
export const keySchema = z.string().regex(/^[0-9a-f]{12}$/);
export const rewardSchema = z.number().min(0).max(1);
export const randomStateSchema = z.int().min(0).max(0xffffffff);
export const valuesSchema = z.array(z.int().min(0).max(65535)).max(640);
