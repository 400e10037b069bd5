import type { Command } from "commander";

import { HYPERPARAMETERS } from "../../protocol/architecture.ts";
import { spaceByName, spaceNotes } from "../../search/spaces.ts";
import type { Context } from "../context.ts";

export function register(program: Command, context: Context): void {
  program
    .command("space")
    .description("a named search space: the choices of each hyperparameter")
    .argument("<name>", "full, S1 … S9, or demo")
    .option("--json", "print JSON")
    .action((name: string, { json }: { json?: boolean }) => {
      const space = spaceByName(name);
      context.note(spaceNotes(name));
      const lines = HYPERPARAMETERS.map((parameter) => `${parameter.padEnd(15)} ${space[parameter].join(" ")}`);
      context.print(json, space, lines.join("\n"));
    });
}
