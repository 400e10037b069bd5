/** Runs the real command line as a child process, as npm's `ponas` does. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { expect } from "chai";

import { sleep } from "../../offchain/protocol/wait.ts";
import type { Architecture } from "../../offchain/protocol/architecture.ts";

const PONAS = resolve("offchain/cli/ponas.ts");

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Record<string, string>;
}

export const ponas = (args: readonly string[], options: RunOptions): Promise<Finished> =>
  startPonas(args, options).finished;

/** A command that runs until it is stopped. */
export interface Running {
  readonly finished: Promise<Finished>;
  /** What it has said so far. */
  soFar(): { readonly stdout: string; readonly stderr: string };
  /** Waits until it has said that, on either stream. @throws where it ends without */
  said(what: RegExp | string): Promise<void>;
  /** Sends a signal, and waits for the end. */
  kill(signal: NodeJS.Signals): Promise<Finished>;
}

export function startPonas(args: readonly string[], { cwd, env = {} }: RunOptions): Running {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PONAS_")));
  const child = spawn(process.execPath, [PONAS, ...args], { cwd, env: { ...inherited, FORCE_COLOR: "0", ...env } });
  child.stdin.end();
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  let ended = false;
  const finished = new Promise<Finished>((done) =>
    child.once("close", (code) => {
      ended = true;
      done({ code, stdout, stderr });
    }),
  );
  const has = (what: RegExp | string): boolean =>
    [stdout, stderr].some((text) => (typeof what === "string" ? text.includes(what) : what.test(text)));
  return {
    finished,
    soFar: () => ({ stdout, stderr }),
    said: async (what) => {
      while (!has(what)) {
        if (ended) throw new Error(`It ended without having said ${String(what)}:\n${stdout}${stderr}`);
        await sleep(50);
      }
    },
    kill: (signal) => {
      child.kill(signal);
      return finished;
    },
  };
}

/** The one JSON value that a successful run prints; fails where stdout holds anything else. */
export function jsonOf<T>({ code, stdout, stderr }: Finished): T {
  expect(code, stderr).to.equal(0);
  expect(stdout).to.match(/^[^\n]+\n$/);
  return JSON.parse(stdout) as T;
}

/** Checks that a run was refused with one clear sentence and no stack trace, and nothing on stdout. */
export function expectRefusal({ code, stdout, stderr }: Finished, exitCode: number, sentence: RegExp | string): void {
  expect(stderr).to.match(sentence instanceof RegExp ? sentence : new RegExp(escaped(sentence)));
  expect(stderr).not.to.match(/^\s+at /m);
  expect(stderr).not.to.include("unexpectedly");
  expect(stderr.trim().split("\n")).to.have.length.at.most(exitCode === 1 ? 1 : 3);
  expect(stdout).to.equal("");
  expect(code).to.equal(exitCode);
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A small network on MNIST that trains in a second. */
export const ARCHITECTURE: Architecture = {
  input: [28, 28, 1],
  classes: 10,
  layers: [
    { kernelHeight: 3, kernelWidth: 3, filters: 6, strideHeight: 2, strideWidth: 2, poolSize: 1, actIntBits: 2, actFracBits: 4, weightIntBits: 2, weightFracBits: 5 }, // prettier-ignore
    { kernelHeight: 3, kernelWidth: 3, filters: 8, strideHeight: 2, strideWidth: 2, poolSize: 1, actIntBits: 2, actFracBits: 4, weightIntBits: 2, weightFracBits: 5 }, // prettier-ignore
  ],
  head: { pool: "flatten", hidden: 0 },
};

export interface Workplace extends Disposable {
  readonly cwd: string;
  /** Writes a file there. @returns its name, relative to `cwd` */
  write(name: string, content: string | Uint8Array): string;
  writeJson(name: string, value: unknown): string;
}

export function createWorkplace(): Workplace {
  const cwd = mkdtempSync(join(tmpdir(), "ponas-cli-"));
  const write = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(cwd, name), content);
    return name;
  };
  return {
    cwd,
    write,
    writeJson: (name, value) => write(name, JSON.stringify(value)),
    [Symbol.dispose]: () => rmSync(cwd, { recursive: true, force: true }),
  };
}
