/**
 * The project's tests, and one line at the end that adds them up. With arguments, only the suites of those names:
 * `npm test -- contracts pool`. What mostly waits for a chain's clock runs beside what computes, and goes first where
 * both want the processor: its phases are seconds. Ctrl-C stops everything.
 */
import { availableParallelism } from "node:os";

import { runLanes, type Suite } from "./suites.ts";

/** Files of the command line's tests that play on a chain, with processes. */
const DAEMONS = "test/cli/*-daemons.ts";
const mocha = (name: string, ...args: readonly string[]): Suite => ({
  name,
  command: ["mocha", ...args, `test/${name}/**/*.ts`],
});

/** What runs beside one another; in each, one suite after another. */
const WAITING: readonly (readonly Suite[])[] = [
  // Two files at once: their scenarios wait for chains of their own.
  [mocha("agents", "--parallel", "--jobs", "2"), mocha("end-to-end")],
  [{ name: "daemons", command: ["mocha", DAEMONS] }],
];
// Those with clocks of their own come first, beside what is mostly idle.
const COMPUTING: readonly Suite[] = [
  mocha("cli", "--ignore", DAEMONS),
  ...["pool", "protocol", "storage"].map((name) => mocha(name)),
  { name: "solidity", command: ["hardhat", "test", "solidity"] },
  { name: "contracts", command: ["hardhat", "test", "mocha"] },
  ...["evaluation", "search", "training"].map((name) => mocha(name)),
];

const wanted = process.argv.slice(2);
const names = [...COMPUTING, ...WAITING.flat()].map(({ name }) => name);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`There is no suite called ${unknown.join(", ")}; there are ${names.join(", ")}.`);
  process.exit(2);
}

const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => interrupted.abort());

const chosen = (suites: readonly Suite[]): readonly Suite[] =>
  suites.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const computing = chosen(COMPUTING);
const waiting = WAITING.map(chosen).filter((suites) => suites.length > 0);
const lanes =
  availableParallelism() > 1
    ? [
        ...waiting.map((suites) => ({ suites, niceness: 0 })),
        { suites: computing, niceness: waiting.length > 0 ? 10 : 0 },
      ]
    : [{ suites: [...computing, ...waiting.flat()], niceness: 0 }];

const say = (text: string): void => void process.stdout.write(text);
const { passed, failed, skipped } = await runLanes(lanes, { signal: interrupted.signal, say });
say(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exit(interrupted.signal.aborted ? 130 : failed === 0 ? 0 : 1);
