/**
 * The vocabulary of the search: what one network's architecture is, and what a space of them is.
 * Sources: paper §4.1 (the ten hyperparameters), EVALUATION "Layers", INTERFACES "ARCH.json".
 */
import { z } from "zod";

import { PonasError } from "./errors.ts";

const bits = z.int().min(0).max(16);
const size = z.int().min(1).max(65535);

/** The ten hyperparameters of one layer, in the order in which they are hashed and in which a controller decides them. */
export const HYPERPARAMETERS = [
  "kernelHeight",
  "kernelWidth",
  "filters",
  "strideHeight",
  "strideWidth",
  "poolSize",
  "actIntBits",
  "actFracBits",
  "weightIntBits",
  "weightFracBits",
] as const;
export type Hyperparameter = (typeof HYPERPARAMETERS)[number];

export const layerSchema = z.strictObject({
  kernelHeight: size,
  kernelWidth: size,
  filters: size,
  strideHeight: size,
  strideWidth: size,
  poolSize: size,
  actIntBits: bits,
  actFracBits: bits,
  weightIntBits: bits,
  weightFracBits: bits,
});
/** One convolution layer: "same" convolution, requantisation, max-pool (EVALUATION "Layers"). */
export type Layer = z.infer<typeof layerSchema>;

export const headSchema = z
  .strictObject({
    /** global sum over positions, or flatten in (row, column, channel) order */
    pool: z.enum(["global-sum", "flatten"]),
    /** units of the hidden dense layer; 0 = none */
    hidden: z.int().min(0).max(65535),
    hiddenActIntBits: bits.optional(),
    hiddenActFracBits: bits.optional(),
  })
  .refine(
    ({ hidden, hiddenActIntBits, hiddenActFracBits }) =>
      [hiddenActIntBits, hiddenActFracBits].every((given) => (given !== undefined) === hidden > 0),
    "hiddenActIntBits and hiddenActFracBits are given exactly where hidden > 0",
  );
export type Head = z.infer<typeof headSchema>;

export const tilingSchema = z.strictObject({
  tiles: z.array(z.tuple([size, size])),
  groups: z.array(z.int().min(1).max(255)),
});
/** Hardware witness: per layer a tile (Tn, Tm), and the sizes of the pipelined groups in order. */
export type Tiling = z.infer<typeof tilingSchema>;

export const architectureSchema = z.strictObject({
  /** [height, width, channels], height and width 1 … 64 */
  input: z.tuple([z.int().min(1).max(64), z.int().min(1).max(64), z.int().min(1).max(255)]),
  classes: z.int().min(1).max(256),
  layers: z.array(layerSchema).min(1).max(64),
  head: headSchema,
  tiling: tilingSchema.optional(),
});
/** A child network's architecture: everything but its weights. */
export type Architecture = z.infer<typeof architectureSchema>;

/** What a task fixes of every architecture: input, classes, number of layers, head. */
export const templateSchema = z.strictObject({
  input: architectureSchema.shape.input,
  classes: architectureSchema.shape.classes,
  depth: z.int().min(1).max(64),
  head: headSchema,
});
export type Template = z.infer<typeof templateSchema>;

const choices = z.array(z.int().min(0).max(65535)).min(1);
export const spaceSchema = z.strictObject(
  Object.fromEntries(HYPERPARAMETERS.map((name) => [name, choices])) as Record<Hyperparameter, typeof choices>,
);
/** A search space: for each hyperparameter the list of its choices, the same for every layer (paper Table 1). */
export type Space = z.infer<typeof spaceSchema>;

/**
 * Why an architecture does not belong to a task's template and space, or null where it does.
 * Strides of 0 (paper's S3) belong to no convolution and are never members.
 */
export function membershipFault(architecture: Architecture, template: Template, space: Space): string | null {
  const { input, classes, layers, head } = architecture;
  if (input.some((dim, axis) => dim !== template.input[axis])) {
    return `its input is ${input.join("×")}, the task's is ${template.input.join("×")}`;
  }
  if (classes !== template.classes) return `it has ${classes} classes, the task has ${template.classes}`;
  if (layers.length !== template.depth) return `it has ${layers.length} layers, the task asks for ${template.depth}`;
  for (const key of ["pool", "hidden", "hiddenActIntBits", "hiddenActFracBits"] as const) {
    if (head[key] !== template.head[key])
      return `its head has ${key} ${head[key]}, the task's has ${template.head[key]}`;
  }
  for (const [index, layer] of layers.entries()) {
    for (const name of HYPERPARAMETERS) {
      const value = layer[name];
      const impossible = value === 0 && (name === "strideHeight" || name === "strideWidth");
      if (impossible || !space[name].includes(value)) {
        return `layer ${index} has ${name} ${value}, which is not in the task's space`;
      }
    }
  }
  return null;
}

/** True where a layer has no bits at all for its activations or its weights: no logit depends on the image then. */
export function isDead({ layers, head }: Architecture): boolean {
  const silent = head.hidden > 0 && (head.hiddenActIntBits ?? 0) + (head.hiddenActFracBits ?? 0) === 0;
  return (
    silent ||
    layers.some(
      ({ actIntBits, actFracBits, weightIntBits, weightFracBits }) =>
        actIntBits + actFracBits === 0 || weightIntBits + weightFracBits === 0,
    )
  );
}

/** Parses untrusted JSON with a schema, or says in one sentence where it is wrong. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  throw new PonasError("bad-input", `${what} is not valid${where}: ${issue?.message ?? "unknown fault"}.`);
}
