/** Test suites as processes: several lanes at once, in each lane one suite after another. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { getPriority, setPriority } from "node:os";
import { setTimeout as wait } from "node:timers/promises";

export interface Suite {
  readonly name: string;
  /** program and arguments */
  readonly command: readonly [string, ...string[]];
}

export interface Lane {
  readonly suites: readonly Suite[];
  /** how much less urgent than the runner itself, 0 … 19 */
  readonly niceness: number;
}

export interface Count {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Finished {
  readonly output: string;
  /** null where a signal ended it, or it could not be started */
  readonly code: number | null;
  /** why there is no code */
  readonly cause: string;
}

const LOWEST = 19;
/** What a suite may take to stop; after that it is killed. */
const GRACE_MS = 5000;
/** What is still in the pipe of a process that has ended, also where one that it left behind holds the other end. */
const DRAIN_MS = 1000;
/** Characters of one suite's failures that are told again at the end. */
const FAILURES_AGAIN = 6000;

const last = (text: string, pattern: RegExp): number => Number([...text.matchAll(pattern)].at(-1)?.[1] ?? 0);

/** Reads mocha's and Hardhat's closing lines: "12 passing (3s)", "1 failing", "2 pending" or "2 skipped". */
function countTests(text: string): Count {
  return {
    passed: last(text, /^\s*(\d+) passing\b/gm),
    failed: last(text, /^\s*(\d+) failing\b/gm),
    skipped: last(text, /^\s*(\d+) (?:pending|skipped)\b/gm),
  };
}

/** What a suite says of its failures: from its count of them on, as mocha and Hardhat print it. Empty without any. */
function tellFailures(text: string): string {
  const from = [...text.matchAll(/^\s*[1-9]\d* failing\b/gm)].at(-1)?.index;
  if (from === undefined) return "";
  const told = text.slice(from).trim();
  return told.length > FAILURES_AGAIN ? `${told.slice(0, FAILURES_AGAIN)} …` : told;
}

/**
 * Runs all suites. What a suite says is shown as it says it where there is one lane, and else in one piece when the
 * suite is over. Failures are told once more at the end: whoever reads a long log reads that first.
 * @param signal stops every suite, with all processes that it started, and lets none begin
 * @param say is given text with its line breaks
 * @returns all counts added up; a suite that fails without a failed test, or has none, counts as one that failed
 */
export async function runLanes(
  lanes: readonly Lane[],
  { signal, say }: { readonly signal: AbortSignal; readonly say: (text: string) => void },
): Promise<Count> {
  const counts: Count[] = [];
  const broken: string[] = [];
  const failures: string[] = [];
  const occupied = lanes.filter(({ suites }) => suites.length > 0);
  const live = occupied.length === 1;

  const runSuite = async ({ name, command }: Suite, niceness: number): Promise<void> => {
    const heading = `\n===== ${name} =====\n`;
    if (live) say(heading);
    const start = performance.now();
    const { output, code, cause } = await finish(command, { niceness, signal, hear: live ? say : () => undefined });
    const seen = countTests(output);
    counts.push(seen);
    const told = tellFailures(output);
    if (told !== "") failures.push(`\n===== ${name}: failures =====\n${told}\n`);
    const lacks = signal.aborted
      ? "was stopped"
      : code !== 0 && seen.failed === 0
        ? `ended with ${code ?? cause} before counting its tests`
        : code === 0 && seen.passed === 0
          ? "ran no test"
          : null;
    if (lacks !== null) {
      counts.push({ passed: 0, failed: 1, skipped: 0 });
      broken.push(`${name} ${lacks}\n`);
    }
    const footer = `(${name}: ${((performance.now() - start) / 1000).toFixed(0)} s)\n`;
    say(live ? footer : `${heading}${output}${footer}`);
  };

  await Promise.all(
    occupied.map(async ({ suites, niceness }) => {
      for (const suite of suites) if (!signal.aborted) await runSuite(suite, niceness);
    }),
  );
  say([...failures, ...broken].join(""));
  const sum = (of: keyof Count): number => counts.reduce((total, count) => total + count[of], 0);
  return { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
}

/** Runs a program in a process group of its own, so that all it started can be stopped with it. */
async function finish(
  [program, ...args]: Suite["command"],
  options: { readonly niceness: number; readonly signal: AbortSignal; readonly hear: (text: string) => void },
): Promise<Finished> {
  const { niceness, signal, hear } = options;
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, FORCE_COLOR: "0" },
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      hear(text);
    });
  }
  const closed = once(child, "close").catch(() => undefined);
  const ended = new Promise<Omit<Finished, "output">>((resolve) => {
    child.once("error", (error) => resolve({ code: null, cause: error.message }));
    child.once("exit", (code, cause) => resolve({ code, cause: String(cause) }));
  });
  lower(child, niceness);
  let killer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    signalGroup(child, "SIGTERM");
    killer = setTimeout(() => signalGroup(child, "SIGKILL"), GRACE_MS);
  };
  signal.addEventListener("abort", stop, { once: true });
  const result = await ended;
  signal.removeEventListener("abort", stop);
  clearTimeout(killer);
  if (signal.aborted) signalGroup(child, "SIGKILL");
  await Promise.race([closed, wait(DRAIN_MS)]);
  child.stdout.destroy();
  child.stderr.destroy();
  return { ...result, output };
}

function lower({ pid }: ChildProcess, niceness: number): void {
  if (pid === undefined || niceness === 0) return;
  setPriority(pid, Math.min(LOWEST, getPriority() + niceness));
}

function signalGroup({ pid }: ChildProcess, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // all of it has ended
  }
}
