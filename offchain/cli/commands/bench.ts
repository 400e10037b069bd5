import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";

import type { Command } from "commander";

import { EXIT, explainError, PonasError } from "../../protocol/errors.ts";
import { presentEngines } from "../../training/engines.ts";
import type { Figure } from "../bench/figures.ts";
import { GROUP_NAMES, GROUPS, type GroupName } from "../bench/groups.ts";
import { describeMachine, machineSlug, type Machine } from "../bench/machine.ts";
import { renderMarkdown, renderText, summaryOf, type GroupResult, type Report } from "../bench/report.ts"; // prettier-ignore
import { wholeNumber, type Context } from "../context.ts";

interface Options {
  readonly only?: readonly GroupName[];
  readonly quick?: boolean;
  readonly trials: number;
  readonly strict?: boolean;
  readonly out?: string;
  readonly json?: boolean;
}

function groupList(text: string): GroupName[] {
  return text.split(",").map((word) => {
    const known = GROUP_NAMES.find((name) => name === word.trim());
    if (known === undefined) {
      throw new PonasError("usage", `--only takes groups of ${GROUP_NAMES.join(", ")}, not "${word}".`);
    }
    return known;
  });
}

export function register(program: Command, context: Context): void {
  program
    .command("bench")
    .description("how fast and how exact ponas is on this machine, each figure beside the bar that it has to meet")
    .option("--only <groups>", `of ${GROUP_NAMES.join(", ")}; separated by commas`, groupList)
    .option("--quick", "everything as short as it can be: to see that it works")
    .option("--trials <n>", "trials of the memory group", wholeNumber("--trials", 20, 100_000), 200)
    .option("--strict", "exit with 1 where a bar is missed or a group fails")
    .option("--out <file>", "write the report there too: JSON, Markdown (.md), or a folder/ for Markdown by machine")
    .option("--json", "print JSON")
    .action(async ({ only, quick = false, trials, strict, out, json }: Options) => {
      const date = new Date().toISOString();
      const engines = await presentEngines();
      const machine = describeMachine(engines);
      const file = out === undefined ? undefined : reportFile(out, machine);
      const say = (text: string): void => void process.stderr.write(`${text}\n`);
      if (machine.busy !== null) say(machine.busy);

      const figures: Figure[] = [];
      const groups: GroupResult[] = [];
      const names = only ?? GROUP_NAMES.filter((name) => GROUPS[name].standard);
      for (const name of GROUP_NAMES.filter((name) => names.includes(name))) {
        const start = performance.now();
        let failed: string | null = null;
        try {
          const { measure } = await GROUPS[name].load();
          const progress = (text: string): void => say(`${name}: ${text}`);
          figures.push(...(await measure({ quick, trials, engines, signal: context.signal, say: progress })));
        } catch (error) {
          // What the machine cannot do is said; the other groups' figures are worth as much as before.
          if (!(error instanceof PonasError) || error.code === "aborted") throw error;
          failed = explainError(error);
        }
        groups.push({ name, seconds: Math.round((performance.now() - start) / 100) / 10, failed });
      }
      const report: Report = { date, quick, machine, engines, groups, figures, summary: summaryOf(figures) };
      if (file !== undefined) {
        const text = extname(file) === ".md" ? renderMarkdown(report) : `${JSON.stringify(report, null, 2)}\n`;
        write(file, () => writeFileSync(file, text));
      }
      context.print(json, report, renderText(report));
      const short = report.summary.missed > 0 || groups.some(({ failed }) => failed !== null);
      if (strict === true && short) context.setExitCode(EXIT.fault);
    });
}

/** Where the report goes; that it cannot be written is said before long work, not after it. @throws PonasError bad-input */
function reportFile(out: string, machine: Machine): string {
  const isFolder = out.endsWith("/") || (existsSync(out) && statSync(out).isDirectory());
  const file = isFolder ? join(out, `${machineSlug(machine)}.md`) : out;
  // Appending nothing leaves the report of an earlier run as it is until there is a new one.
  write(file, () => {
    if (isFolder) mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, "", { flag: "a" });
  });
  return file;
}

/** @throws PonasError bad-input */
function write(file: string, work: () => void): void {
  try {
    work();
  } catch (cause) {
    throw new PonasError("bad-input", `The report ${file} cannot be written.`, { cause });
  }
}
