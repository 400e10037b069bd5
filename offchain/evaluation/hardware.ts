/**
 * What a network costs on an FPGA: look-up tables and throughput of a tiling, by the formulas of the paper's source
 * (docs/evaluation.md, "Hardware cost"). Whole numbers only, so that a contract can repeat it.
 */
import { z } from "zod";

import type { Architecture, Tiling } from "../protocol/architecture.ts";
import { networkShapes } from "./shapes.ts";

const bound = z.int().min(0).max(0xffff_ffff);

export const hardwareBoundsSchema = z.object({
  /** look-up tables of the device: a tiling needs at most so many */
  maxLuts: bound,
  /** images per second: a tiling runs more than so many */
  minThroughput: bound,
});
/** What a task allows a network to cost; 0 means no bound. */
export type HardwareBounds = Readonly<z.infer<typeof hardwareBoundsSchema>>;

/** Cycles per second of the device. */
const CLOCK_HZ = 100_000_000;

/** Bits of the first layer's activations: pixels stand for 0 … 1, in six fraction bits. */
const PIXEL_BITS = { integer: 1, fraction: 6 } as const;

/** Multipliers of activations with more integer bits than this are unknown. */
const MAX_MULTIPLIER_BITS = 4;

/** Bits before and after the binary point. */
interface Format {
  readonly integer: number;
  readonly fraction: number;
}

/** All that the cost of one layer follows from. */
export interface HardwareLayer {
  /** input channels, N */
  readonly channels: number;
  /** M */
  readonly filters: number;
  /** multiplications for one pair of an input channel and a filter: R · C · Kh · Kw */
  readonly work: number;
  readonly activation: Format;
  readonly weight: Format;
  readonly output: Format;
}

/** Input channels and filters that are computed at a time: [Tn, Tm]. */
export type Tile = Tiling["tiles"][number];

/**
 * A network's layers as the device sees them; R and C are height and width of a layer's *padded* input.
 * @param options.compat N stands in place of R, as in the paper's source by mistake: for comparison with its logs alone
 */
export function hardwareLayers(
  architecture: Architecture,
  { compat = false }: { readonly compat?: boolean } = {},
): HardwareLayer[] {
  const shapes = networkShapes(architecture);
  let activation: Format = PIXEL_BITS;
  return architecture.layers.map((layer, index) => {
    const { input, padding } = shapes.layers[index]!;
    const rows = compat ? input.channels : input.height + padding.top + padding.bottom;
    const columns = input.width + padding.left + padding.right;
    const described = {
      channels: input.channels,
      filters: layer.filters,
      work: rows * columns * layer.kernelHeight * layer.kernelWidth,
      activation,
      weight: { integer: layer.weightIntBits, fraction: layer.weightFracBits },
      output: { integer: layer.actIntBits, fraction: layer.actFracBits },
    };
    activation = described.output;
    return described;
  });
}

/** ⌈M / Tm⌉ · ⌈N / Tn⌉ · R · C · Kh · Kw: clock cycles of one image in one layer. */
export function tileCycles({ channels, filters, work }: HardwareLayer, [tn, tm]: Tile): number {
  return Math.ceil(filters / tm) * Math.ceil(channels / tn) * work;
}

/** Look-up tables of one layer: Tm equal units, each for Tn input channels. Never fewer for a larger tile. */
export function tileLuts(layer: HardwareLayer, [tn, tm]: Tile): number {
  return tm * unitLuts(layer, tn);
}

/**
 * Look-up tables of the unit that computes one filter from `tn` channels at a time: multipliers, a tree of adders, the
 * accumulator, and what cuts its sum to the output's bits.
 */
export function unitLuts({ activation, weight, output }: HardwareLayer, tn: number): number {
  let integer = activation.integer + weight.integer;
  const products = activation.fraction + weight.fraction;
  let luts = tn * multiplierLuts(activation.integer, weight.integer + weight.fraction);
  for (let terms = tn; terms > 1; terms = Math.ceil(terms / 2)) {
    luts += (integer + products) * Math.floor(terms / 2);
    integer += 1;
  }
  integer = Math.max(integer, output.integer);
  const fraction = Math.max(products, output.fraction);
  return luts + integer + fraction + truncationLuts({ integer: integer + 1, fraction }, output);
}

/**
 * Look-up tables that cut a sum down to the output's bits, whose format is no wider than the sum's.
 * Source: the table of the paper's source, which is linear from three integer and two fraction bits on.
 */
function truncationLuts({ integer, fraction }: Format, output: Format): number {
  if (integer < 3 || fraction < 2) return 0;
  const excess = integer - output.integer;
  const cut = fraction - output.fraction;
  const all = excess === integer - 1 && cut === fraction - 1;
  return integer + fraction - 2 - (excess > 1 ? 1 : 0) - cut - (all ? 1 : 0);
}

/**
 * Look-up tables of one multiplier, or Infinity where the source does not tell.
 * It goes by the activations' *integer* bits alone, and none where they have none or the weights have fewer: so the
 * source has it. Its table ends at 14 weight bits; two more go on in the same steps.
 * @param activationBits integer bits
 * @param weightBits integer and fraction bits
 */
function multiplierLuts(activationBits: number, weightBits: number): number {
  if (activationBits === 0 || weightBits < activationBits) return 0;
  if (activationBits > MAX_MULTIPLIER_BITS) return Infinity;
  if (activationBits === 1) return weightBits === 1 ? 1 : weightBits === 2 ? 3 : weightBits + 2;
  if (activationBits === 2) return weightBits === 2 ? 4 : 3 * weightBits + 2;
  if (activationBits === 3) return weightBits === 3 ? 17 : weightBits === 6 ? 32 : 5 * weightBits + 1;
  return 5 * weightBits + 9;
}

/** Why the cost model has nothing to say of a network, as a clause about it, or null. */
export function costFault(layers: readonly HardwareLayer[]): string | null {
  const unknown = layers.findIndex(
    ({ activation, weight }) => multiplierLuts(activation.integer, weight.integer + weight.fraction) === Infinity,
  );
  if (unknown < 0) return null;
  const { integer } = layers[unknown]!.activation;
  return `layer ${unknown} reads activations of ${integer} integer bits, and no multiplier for more than ${MAX_MULTIPLIER_BITS} is known`;
}

/** What a whole tiling costs. */
export interface TilingCost {
  /** look-up tables of the largest group */
  readonly luts: number;
  /** clock cycles of an image: over all groups, those of the group's slowest layer */
  readonly cycles: number;
}

/**
 * Cost of a tiling whose tiles lie within their layers. The layers of a group are on the device together and work as a
 * pipeline; the groups take turns.
 */
export function tilingCost(layers: readonly HardwareLayer[], { tiles, groups }: Tiling): TilingCost {
  let luts = 0;
  let cycles = 0;
  let first = 0;
  for (const size of groups) {
    let groupLuts = 0;
    let groupCycles = 0;
    for (let index = first; index < first + size; index++) {
      groupLuts += tileLuts(layers[index]!, tiles[index]!);
      groupCycles = Math.max(groupCycles, tileCycles(layers[index]!, tiles[index]!));
    }
    luts = Math.max(luts, groupLuts);
    cycles += groupCycles;
    first += size;
  }
  return { luts, cycles };
}

/** Images per second. */
export function throughputOf({ cycles }: TilingCost): number {
  return CLOCK_HZ / cycles;
}

/** Most clock cycles that an image may take: the largest whole number c with `CLOCK_HZ > minThroughput · c`. */
export function maxCycles({ minThroughput }: HardwareBounds): number {
  return minThroughput === 0 ? Infinity : Math.floor((CLOCK_HZ - 1) / minThroughput);
}

export function isBounded({ maxLuts, minThroughput }: HardwareBounds): boolean {
  return maxLuts > 0 || minThroughput > 0;
}

/** Why a tiling does not fit its network's layers, as a clause about the network, or null; it may have none. */
export function tilingFault({ layers, tiling }: Architecture): string | null {
  if (tiling === undefined) return null;
  const grouped = tiling.groups.reduce((sum, size) => sum + size, 0);
  if (tiling.tiles.length === layers.length && grouped === layers.length) return null;
  return `its tiling has ${tiling.tiles.length} tiles and groups of ${grouped} layers, for ${layers.length} layers`;
}

/**
 * Why an architecture does not show that it keeps within the bounds, as a clause about it, or null where its tiling
 * does or nothing is bounded.
 * @param architecture valid; no unit reads more than 16,384 values, so that all sums below are exact
 */
export function witnessFault(architecture: Architecture, bounds: HardwareBounds): string | null {
  if (!isBounded(bounds)) return null;
  const { tiling } = architecture;
  if (tiling === undefined) return "it carries no tiling, which the task's hardware bounds ask for";
  const layers = hardwareLayers(architecture);
  const fault = tilingFault(architecture) ?? costFault(layers);
  if (fault !== null) return fault;
  for (const [index, { channels, filters }] of layers.entries()) {
    const [tn, tm] = tiling.tiles[index]!;
    if (tn > channels || tm > filters) {
      return `layer ${index} has a tile of ${tn} channels × ${tm} filters, and only ${channels} × ${filters} in all`;
    }
  }
  return boundsFault("its tiling", tilingCost(layers, tiling), bounds);
}

/**
 * Why a cost does not keep within the bounds, as a clause, or null where it does.
 * @param what has the cost: "its tiling"
 */
export function boundsFault(what: string, { luts, cycles }: TilingCost, bounds: HardwareBounds): string | null {
  if (bounds.maxLuts > 0 && luts > bounds.maxLuts) {
    return `${what} needs ${luts} look-up tables, more than ${bounds.maxLuts}`;
  }
  const most = maxCycles(bounds);
  if (cycles > most) {
    return `${what} takes ${cycles} cycles an image, and more than ${bounds.minThroughput} images per second leave at most ${most}`;
  }
  return null;
}
