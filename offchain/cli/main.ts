/**
 * The command line: `ponas COMMAND`. Every command is a module that registers itself on the program; what they share
 * (signals, output, keys) is in `context.ts`. Names, JSON and exit codes: docs/interfaces.md.
 */
import { Command, CommanderError } from "commander";

import { EXIT, PonasError, explainError } from "../protocol/errors.ts";
import { createContext, type Context } from "./context.ts";

type Register = (program: Command, context: Context) => void;

/** Loaded one by one only as needed: `ponas --help` must not wait for onnxruntime, Helia and a database. */
const COMMANDS: Record<string, { summary: string; load: () => Promise<{ register: Register }> }> = {
  demo: { summary: "a whole round on this machine, from publishing to pay", load: () => import("./commands/demo.ts") },
  train: { summary: "train one architecture on a data set", load: () => import("./commands/train.ts") },
  evaluate: { summary: "a model file's canonical accuracy", load: () => import("./commands/evaluate.ts") },
  inspect: { summary: "what is in a model file", load: () => import("./commands/inspect.ts") },
  cost: { summary: "what an architecture costs on an FPGA", load: () => import("./commands/cost.ts") },
  search: { summary: "search a space for the best network", load: () => import("./commands/search.ts") },
  space: { summary: "a named search space", load: () => import("./commands/space.ts") },
  partition: { summary: "a space divided among miners", load: () => import("./commands/partition.ts") },
  split: { summary: "what a pool pays for given points", load: () => import("./commands/split.ts") },
  bench: { summary: "how fast this machine is, and how exact", load: () => import("./commands/bench.ts") },
  doctor: { summary: "whether this machine has what ponas needs", load: () => import("./commands/doctor.ts") },
  task: { summary: "publish and follow tasks", load: () => import("./commands/task.ts") },
  pool: { summary: "create and run a mining pool", load: () => import("./commands/pool.ts") },
  miner: { summary: "mine alone or in a pool", load: () => import("./commands/miner.ts") },
  explain: {
    summary: "every unit paid of a task, and from what it follows",
    load: () => import("./commands/explain.ts"),
  },
  validator: { summary: "stake and validate", load: () => import("./commands/validator.ts") },
  challenger: { summary: "refute false claims, with a bond", load: () => import("./commands/challenger.ts") },
  disputes: { summary: "open disputes, and who is right", load: () => import("./commands/disputes.ts") },
  auditor: { summary: "re-derive every payment of every task", load: () => import("./commands/auditor.ts") },
};

/** Runs one command line and returns the exit code; prints one sentence, never a stack, for what a user can cause. */
export async function main(args: readonly string[]): Promise<number> {
  const words = args.filter((word) => !word.startsWith("-"));
  const name = (words[0] === "help" ? words[1] : words[0]) ?? "";
  // Before the context is there, Ctrl-C simply ends the process: loading what a daemon needs takes a second or more in
  // which no handler would run, and there is nothing yet to be put in order.
  const named = Object.hasOwn(COMMANDS, name) ? await COMMANDS[name]!.load() : undefined;
  const context = createContext();
  const program = new Command("ponas")
    .description("Proof of neural architecture: mine blocks by searching for neural networks somebody pays for.")
    .exitOverride()
    .configureOutput({ writeErr: (text) => process.stderr.write(text) })
    .showHelpAfterError("(add --help to see what there is)");
  try {
    if (named !== undefined) named.register(program, context);
    else for (const [name, { summary }] of Object.entries(COMMANDS)) program.command(name).description(summary);
    if (args.length === 0) {
      program.outputHelp();
      return EXIT.usage;
    }
    await program.parseAsync([...args], { from: "user" });
    return context.exitCode();
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (error instanceof PonasError) {
      if (error.code === "aborted" && context.interrupted()) return 130;
      process.stderr.write(`${explainError(error)}\n`);
      return error.exitCode;
    }
    if (context.interrupted()) return 130;
    process.stderr.write(
      `ponas failed unexpectedly: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    return EXIT.fault;
  } finally {
    context.dispose();
  }
}
