/**
 * The project's tests, one after another, and one line at the end that adds them up. With arguments, only the suites
 * of those names: `npm test -- contracts pool`.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MOCHA = ["mocha", "--exit", "--timeout", "20000"];
const SUITES: Record<string, string[]> = {
  solidity: ["hardhat", "test", "solidity"],
  contracts: ["hardhat", "test", "mocha"],
  protocol: [...MOCHA, "test/protocol/**/*.ts"],
  evaluation: [...MOCHA, "test/evaluation/**/*.ts"],
  search: [...MOCHA, "test/search/**/*.ts"],
  training: [...MOCHA, "test/training/**/*.ts"],
  storage: [...MOCHA, "test/storage/**/*.ts"],
  pool: [...MOCHA, "test/pool/**/*.ts"],
  agents: [...MOCHA, "test/agents/**/*.ts"],
  cli: [...MOCHA, "test/cli/**/*.ts"],
  "end-to-end": [...MOCHA, "test/end-to-end/**/*.ts"],
};

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

const last = (text: string, pattern: RegExp): number => Number([...text.matchAll(pattern)].at(-1)?.[1] ?? 0);

/** Reads mocha's and Hardhat's closing lines: "12 passing (3s)", "1 failing", "2 pending" or "2 skipped". */
function count(text: string): Count {
  return {
    passed: last(text, /^\s*(\d+) passing\b/gm),
    failed: last(text, /^\s*(\d+) failing\b/gm),
    skipped: last(text, /^\s*(\d+) (?:pending|skipped)\b/gm),
  };
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(`There is no suite called ${unknown.join(", ")}; there are ${Object.keys(SUITES).join(", ")}.`);
  process.exit(2);
}

const scratch = mkdtempSync(join(tmpdir(), "ponas-test-"));
const total: Count = { passed: 0, failed: 0, skipped: 0 };
const broken: string[] = [];
for (const [name, [command, ...args]] of Object.entries(SUITES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  if (args.at(-1)!.startsWith("test/") && !existsSync(`test/${name}`)) continue;
  console.log(`\n===== ${name} =====`);
  const start = performance.now();
  const output = join(scratch, name);
  // tee keeps the output live and readable afterwards; pipefail keeps the exit status
  const run = spawnSync("bash", ["-c", `set -o pipefail; "$@" 2>&1 | tee "$0"`, output, command!, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, FORCE_COLOR: "0" },
  });
  const seen = count(readFileSync(output, "utf8"));
  total.passed += seen.passed;
  total.failed += seen.failed;
  total.skipped += seen.skipped;
  if (run.status !== 0 && seen.failed === 0) {
    total.failed += 1;
    broken.push(`${name} ended with ${run.status ?? run.signal} before counting its tests`);
  }
  if (run.status === 0 && seen.passed === 0) {
    total.failed += 1;
    broken.push(`${name} ran no test`);
  }
  console.log(`(${name}: ${((performance.now() - start) / 1000).toFixed(0)} s)`);
}
rmSync(scratch, { recursive: true, force: true });
for (const line of broken) console.error(line);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);
