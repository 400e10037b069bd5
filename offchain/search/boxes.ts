/**
 * Sets of architectures: a space of ten lists for every layer alike, or a union of disjoint boxes, which have ten
 * lists per layer. Strides of 0 belong to no convolution: such choices never count.
 */
import { z } from "zod";

import {
  HYPERPARAMETERS,
  parseWith,
  spaceSchema,
  type Architecture,
  type Hyperparameter,
  type Layer,
  type Space,
  type Template,
} from "../protocol/architecture.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Random } from "../protocol/random.ts";

/** One space per layer: the product of the layers' lists. */
export type Box = readonly Space[];
/**
 * The same ten lists for every layer, or a union of boxes of which no two have an architecture in common. Neither
 * changes while it is in use.
 */
export type SearchSpace = Space | readonly Box[];

/** Above what any list of hyperparameters needs, and small enough for a stranger's JSON. */
const MAX_CHOICES = 256;
/** Above what any part of a partition needs; the check that boxes are disjoint is quadratic. */
const MAX_BOXES = 128;

/** The distinct choices of a hyperparameter that a layer can take, in the list's order. */
export function usableChoices(space: Space, name: Hyperparameter): number[] {
  const distinct = [...new Set(space[name])];
  return name === "strideHeight" || name === "strideWidth" ? distinct.filter((stride) => stride > 0) : distinct;
}

/** A space with its usable choices only, in ascending order: spaces of the same architectures are equal JSON then. */
export function canonicalSpace(space: Space): Space {
  return Object.fromEntries(
    HYPERPARAMETERS.map((name) => [name, usableChoices(space, name).sort((a, b) => a - b)]),
  ) as Space;
}

const boundedSpaceSchema = spaceSchema
  .refine((space) => Object.values(space).every((list) => list.length <= MAX_CHOICES), {
    error: `a list has at most ${MAX_CHOICES} choices`,
    abort: true,
  })
  .transform(canonicalSpace)
  .refine((space) => HYPERPARAMETERS.every((name) => space[name].length > 0), "a stride has no choice but 0");

/** A box as JSON from anybody, read into its canonical form. */
export const boxSchema = z.array(boundedSpaceSchema).min(1).max(64);

const unionSchema = z
  .array(boxSchema)
  .max(MAX_BOXES)
  .refine((boxes) => boxes.every((box) => box.length === boxes[0]!.length), {
    error: "boxes have different numbers of layers",
    abort: true,
  })
  .refine(
    (boxes) => boxes.every((box, index) => boxes.slice(0, index).every((other) => areDisjoint(box, other))),
    "two boxes overlap",
  );

/**
 * A space or a union of boxes as JSON from anybody, read into canonical form; the order of boxes stays.
 * @param what what it is, as the subject of a sentence
 * @throws PonasError bad-input
 */
export function parseSearchSpace(value: unknown, what: string): SearchSpace {
  return Array.isArray(value) ? parseWith(unionSchema, value, what) : parseWith(boundedSpaceSchema, value, what);
}

/** True where two boxes of the same depth have no architecture in common. */
export function areDisjoint(one: Box, other: Box): boolean {
  return one.some((space, layer) =>
    HYPERPARAMETERS.some((name) => {
      const taken = new Set(usableChoices(other[layer]!, name));
      return !usableChoices(space, name).some((value) => taken.has(value));
    }),
  );
}

/**
 * The boxes of which a space is the union, for networks of this many layers.
 * @throws PonasError bad-input where a box is of another depth
 */
export function boxesOf(space: SearchSpace, depth: number): readonly Box[] {
  if (!isUnion(space)) return [Array<Space>(depth).fill(space)];
  const other = space.find((box) => box.length !== depth);
  if (other === undefined) return space;
  throw new PonasError("bad-input", `A box has ${other.length} layers, but the networks have ${depth}.`);
}

function isUnion(space: SearchSpace): space is readonly Box[] {
  return Array.isArray(space);
}

/** Number of architectures of a box: the product of all its lists' lengths. */
function boxSize(box: Box): bigint {
  return box.reduce(
    (size, space) => HYPERPARAMETERS.reduce((part, name) => part * BigInt(usableChoices(space, name).length), size),
    1n,
  );
}

/**
 * Number of architectures of a space: the sum of its boxes' sizes.
 * @throws PonasError bad-input where a box is of another depth
 */
export function spaceSize(space: SearchSpace, depth: number): bigint {
  return boxesOf(space, depth).reduce((size, box) => size + boxSize(box), 0n);
}

/**
 * An architecture of the space, each with equal probability.
 * @throws PonasError bad-input where the space is empty or a box is of another depth than the template
 */
export function sampleArchitecture(template: Template, space: SearchSpace, random: Random): Architecture {
  const boxes = boxesOf(space, template.depth);
  const box = boxes.length === 1 ? boxes[0]! : sampleBox(boxes, random);
  const layers = box.map(
    (lists) => Object.fromEntries(HYPERPARAMETERS.map((name) => [name, sampleChoice(lists, name, random)])) as Layer,
  );
  return { input: [...template.input], classes: template.classes, layers, head: { ...template.head } };
}

function sampleChoice(space: Space, name: Hyperparameter, random: Random): number {
  const choices = usableChoices(space, name);
  if (choices.length === 0) throw new PonasError("bad-input", `The space has no usable choice of ${name}.`);
  return random.choice(choices);
}

/** Sizes of the boxes of unions that were drawn from, which never change: a search draws many thousand times. */
const knownSizes = new WeakMap<readonly Box[], { readonly sizes: readonly bigint[]; readonly total: bigint }>();

/** One of the boxes, with probabilities exactly in proportion to their sizes. */
function sampleBox(boxes: readonly Box[], random: Random): Box {
  let known = knownSizes.get(boxes);
  if (known === undefined) {
    const sizes = boxes.map(boxSize);
    known = { sizes, total: sizes.reduce((sum, size) => sum + size, 0n) };
    knownSizes.set(boxes, known);
  }
  const { sizes, total } = known;
  if (total === 0n) throw new PonasError("bad-input", "The space holds no architecture.");
  let rest = integerBelow(total, random);
  return boxes[sizes.findIndex((size) => (rest -= size) < 0n)]!;
}

/** Uniform in [0, bound), for bounds of any length: as many random bits as it takes, drawn anew while too large. */
function integerBelow(bound: bigint, random: Random): bigint {
  const bits = (bound - 1n).toString(2).length;
  for (;;) {
    let drawn = 0n;
    for (let at = 0; at < bits; at += 32) drawn = (drawn << 32n) | BigInt(random.integer(2 ** 32));
    drawn &= (1n << BigInt(bits)) - 1n;
    if (drawn < bound) return drawn;
  }
}

/** True where every layer's every decision is a choice of the space; input, classes and head are not looked at. */
export function isMember({ layers }: Architecture, space: SearchSpace): boolean {
  const boxes = isUnion(space) ? space : boxesOf(space, layers.length);
  return boxes.some((box) => box.length === layers.length && mismatches(layers, box, 1).length === 0);
}

/** One decision of an architecture made otherwise. */
interface Change {
  readonly layer: number;
  readonly name: Hyperparameter;
  readonly value: number;
}

/** The decisions that are no choices of a box, up to `enough` of them. */
function mismatches(layers: readonly Layer[], box: Box, enough: number): Omit<Change, "value">[] {
  const found: Omit<Change, "value">[] = [];
  for (const [layer, decisions] of layers.entries()) {
    for (const name of HYPERPARAMETERS) {
      if (isChoice(box[layer]!, name, decisions[name])) continue;
      found.push({ layer, name });
      if (found.length === enough) return found;
    }
  }
  return found;
}

function isChoice(space: Space, name: Hyperparameter, value: number): boolean {
  const impossible = value === 0 && (name === "strideHeight" || name === "strideWidth");
  return !impossible && space[name].includes(value);
}

/** What leads to another member in one step, by layer, hyperparameter and value. */
function changesOf({ layers }: Architecture, space: SearchSpace): Change[] {
  const values = new Map<string, Set<number>>();
  const add = (box: Box, { layer, name }: Omit<Change, "value">): void => {
    const key = `${layer} ${name}`;
    const known = values.get(key) ?? new Set();
    values.set(key, known);
    for (const value of usableChoices(box[layer]!, name)) if (value !== layers[layer]![name]) known.add(value);
  };
  const decisions = layers.flatMap((_, layer) => HYPERPARAMETERS.map((name) => ({ layer, name })));
  for (const box of boxesOf(space, layers.length)) {
    const wrong = mismatches(layers, box, 2);
    if (wrong.length === 1) add(box, wrong[0]!);
    if (wrong.length === 0) for (const decision of decisions) add(box, decision);
  }
  return decisions.flatMap(({ layer, name }) =>
    [...(values.get(`${layer} ${name}`) ?? [])].sort((a, b) => a - b).map((value) => ({ layer, name, value })),
  );
}

/** The architecture with one decision changed, and without its tiling, which was the old one's. */
function withChange({ input, classes, layers, head }: Architecture, { layer, name, value }: Change): Architecture {
  return {
    input: [...input],
    classes,
    layers: layers.map((decisions, index) => (index === layer ? { ...decisions, [name]: value } : { ...decisions })),
    head: { ...head },
  };
}

/**
 * All members of the space that differ in exactly one decision, by layer, hyperparameter and value. In a union of
 * boxes a neighbour may lie in another box; the architecture itself need not be a member.
 * @throws PonasError bad-input where a box is of another depth
 */
export function neighbours(architecture: Architecture, space: SearchSpace): Architecture[] {
  return changesOf(architecture, space).map((change) => withChange(architecture, change));
}

/** One of the neighbours, each with equal probability, or null where there are none. */
export function mutate(architecture: Architecture, space: SearchSpace, random: Random): Architecture | null {
  const changes = changesOf(architecture, space);
  return changes.length === 0 ? null : withChange(architecture, random.choice(changes));
}
