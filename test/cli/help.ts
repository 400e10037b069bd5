import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { expect } from "chai";
import { Command } from "commander";

import type { Context } from "../../offchain/cli/context.ts";

const FOLDER = resolve("offchain/cli/commands");

interface CommandModule {
  readonly register?: (program: Command, context: Context) => void;
}

const everyCommand = (command: Command): Command[] => [command, ...command.commands.flatMap(everyCommand)];

describe("Every command's help", () => {
  it("can be printed, with a word on each option", async () => {
    const program = new Command("ponas");
    for (const name of readdirSync(FOLDER)) {
      const { register } = (await import(pathToFileURL(resolve(FOLDER, name)).href)) as CommandModule;
      register?.(program, {} as Context);
    }
    const commands = everyCommand(program);
    expect(commands.length).to.be.above(20);
    for (const command of commands) {
      expect(() => command.helpInformation(), command.name()).not.to.throw();
      for (const { long, description } of command.options) expect(description, `${command.name()} ${long}`).not.to.equal(""); // prettier-ignore
    }
  });
});
