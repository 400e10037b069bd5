import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { Option, type Command } from "commander";

import { HYPERPARAMETERS, type Space } from "../../protocol/architecture.ts";
import { PonasError } from "../../protocol/errors.ts";
import {
  createPartition,
  MAX_MINERS,
  PAPER_SUBSPACES,
  PARTITION_NAMES,
  type PartitionName,
} from "../../search/partition.ts";
import { spaceByName, spaceNotes, spaceSize, type Box, type SearchSpace } from "../../search/spaces.ts";
import { wholeNumber, type Context } from "../context.ts";

interface Options {
  readonly space: string;
  readonly strategy: PartitionName;
  readonly miners: number;
  readonly seed: number;
  readonly weights?: readonly number[];
  readonly depth: number;
  readonly json?: boolean;
}

/** Miners whose parts are shown to people; JSON has all of them. */
const SHOWN = 20;

export function register(program: Command, context: Context): void {
  program
    .command("partition")
    .description("a space divided among miners")
    .requiredOption("--space <name>", "full, S1 … S9, or demo")
    .addOption(
      new Option(
        "--strategy <name>",
        "Algorithm 1, the paper's S1 … S9, or boxes that cover the space and do not overlap",
      )
        .choices([...PARTITION_NAMES])
        .makeOptionMandatory(),
    )
    .requiredOption("--miners <n>", "number of parts", wholeNumber("--miners", 1, MAX_MINERS))
    .option("--seed <n>", "fixes what is drawn", wholeNumber("--seed", 0, 0xffffffff), 0)
    .option("--weights <w1,w2,…>", "disjoint: to what the miners' shares are in proportion (default: equal)", weights)
    .option("--depth <n>", "layers of a network", wholeNumber("--depth", 1, 64), 6)
    .option("--json", "print JSON: ten lists for every miner; for disjoint, a list of boxes for every miner")
    .action(async (options: Options) => {
      const { strategy, weights: given, miners } = options;
      if (given !== undefined && strategy !== "disjoint") {
        throw new PonasError("usage", `--weights is for --strategy disjoint; ${strategy} takes none.`);
      }
      if (given !== undefined && given.length !== miners) {
        throw new PonasError("usage", `--weights names ${given.length} weights for ${miners} miners.`);
      }
      const space = spaceByName(options.space);
      const named = options.strategy === "paper" ? PAPER_SUBSPACES.slice(0, options.miners) : [options.space];
      context.note(named.flatMap(spaceNotes));
      const parts = createPartition(options.strategy, { ...options, space });
      if (options.json === true) await printParts(parts);
      else context.print(false, parts, describe(parts, space, options).join("\n"));
    });
}

function weights(text: string): number[] {
  return text.split(",").map((word) => {
    const value = Number(word);
    if (word.trim() !== "" && Number.isFinite(value) && value >= 0) return value;
    throw new PonasError("usage", `--weights takes numbers of 0 or more with commas between, not "${word}".`);
  });
}

/** One JSON value, piece by piece: parts of many miners and layers are longer than a string can be. */
async function printParts(parts: readonly SearchSpace[]): Promise<void> {
  function* pieces(): Generator<string> {
    for (const [i, part] of parts.entries()) yield (i === 0 ? "[" : ",") + JSON.stringify(part);
    yield "]\n";
  }
  await pipeline(Readable.from(pieces()), process.stdout, { end: false });
}

function describe(
  parts: readonly SearchSpace[],
  space: Space,
  { space: name, strategy, miners, seed, depth }: Options,
): string[] {
  const total = spaceSize(space, depth);
  const shown = parts.slice(0, SHOWN).flatMap((part, i) => {
    const size = spaceSize(part, depth);
    const lines = isBoxes(part) ? part.map((box) => describeBox(box, space)) : describeSpace(part);
    const shape = isBoxes(part)
      ? `, ${share(size, total)} of the space, in ${part.length} ${part.length === 1 ? "box" : "boxes"}`
      : "";
    return [`miner ${i + 1}: ${count(size)} architectures${shape}`, ...lines.map((line) => `  ${line}`)];
  });
  const rest = miners > SHOWN ? [`and ${miners - SHOWN} miners more: --json prints all`] : [];
  return [
    `${strategy} of ${name} among ${miners} miners, seed ${seed}: ${count(total)} architectures of ${depth} layers`,
    ...shown,
    ...rest,
  ];
}

const isBoxes = (part: SearchSpace): part is readonly Box[] => Array.isArray(part);

function describeSpace(space: Space): string[] {
  return HYPERPARAMETERS.map((name) => `${name.padEnd(15)} ${space[name].join(" ")}`);
}

/** The decisions that a box leaves fewer choices than the space. */
function describeBox(box: Box, space: Space): string {
  const narrowed = box.flatMap((lists, layer) =>
    HYPERPARAMETERS.filter((name) => lists[name].length < space[name].length).map(
      (name) => `layer ${layer + 1} ${name} ${lists[name].join(" ")}`,
    ),
  );
  return narrowed.length === 0 ? "all of it" : narrowed.join(", ");
}

function share(size: bigint, total: bigint): string {
  return `${(Number((size * 10n ** 8n) / total) / 1e6).toFixed(4)} %`;
}

/** A count to three digits, of any length. */
function count(size: bigint): string {
  const digits = String(size);
  return digits.length <= 9 ? digits : `${digits[0]}.${digits.slice(1, 3)}e${digits.length - 1}`;
}
