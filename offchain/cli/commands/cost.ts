import type { Command } from "commander";

import { architectureSchema, parseWith, type Architecture } from "../../protocol/architecture.ts";
import { PonasError } from "../../protocol/errors.ts";
import { findTiling, type TilingResult } from "../../search/tiling.ts";
import { hardwareBound, type Context } from "../context.ts";
import { readJsonFile } from "../files.ts";

interface Options {
  readonly input?: Architecture["input"];
  readonly maxLuts: number;
  readonly minThroughput: number;
  readonly naqsCompat?: boolean;
  readonly json?: boolean;
}

function dimensions(text: string): Architecture["input"] {
  const parts = text.split(/[x×]/);
  const parsed = architectureSchema.shape.input.safeParse(parts.map((part) => (/^\d+$/.test(part) ? +part : NaN)));
  if (parsed.success) return parsed.data;
  throw new PonasError(
    "usage",
    `--input takes height x width x channels, up to 64x64x255, such as 32x32x3, not "${text}".`,
  );
}

export function register(program: Command, context: Context): void {
  program
    .command("cost")
    .description("look-up tables and throughput of an architecture on an FPGA, and the tiling that reaches them")
    .argument("<architecture>", "ARCH.json (docs/interfaces.md)")
    .option("--input <HxWxC>", "input in place of the architecture's own", dimensions)
    .option("--max-luts <n>", "look-up tables of the device; 0: any number", hardwareBound("--max-luts"), 100_000)
    .option(
      "--min-throughput <n>",
      "images a second that must be exceeded; 0: any",
      hardwareBound("--min-throughput"),
      10,
    )
    .option("--naqs-compat", "count cycles as the paper's source does by mistake, to compare with its logs")
    .option("--json", "print JSON")
    .action((file: string, { input, maxLuts, minThroughput, naqsCompat, json }: Options) => {
      const given = parseWith(architectureSchema, readJsonFile(file), `The architecture ${file}`);
      const architecture = input === undefined ? given : { ...given, input };
      const result = findTiling(architecture, { bounds: { maxLuts, minThroughput }, compat: naqsCompat });
      context.print(json, result, describe(result));
    });
}

function describe({ luts, throughput, tiling, reason }: TilingResult): string {
  if (tiling === null) return `not feasible: ${reason}`;
  const tiles = tiling.tiles.map(([tn, tm]) => `${tn}×${tm}`);
  let first = 0;
  const groups = tiling.groups.map((size) => tiles.slice(first, (first += size)).join(", "));
  return [
    `${luts} look-up tables, ${throughput!.toFixed(2)} images/s`,
    ...groups.map((group, index) => `group ${index + 1}: tiles ${group} (channels × filters at a time)`),
  ].join("\n");
}
