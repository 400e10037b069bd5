/**
 * The demo's child processes: started by name, read line by line, and gone when the demo is gone, however it ends:
 * a normal end and Ctrl-C stop them, and after a kill −9 of the demo they see that their parent has changed.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { PonasError } from "../../protocol/errors.ts";
import { sleep } from "../../protocol/wait.ts";
import { PROJECT_ROOT } from "../project.ts";

export interface ProcessSpec {
  readonly name: string;
  /** script and arguments, relative to the project's root */
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
}

export interface Processes {
  /** Starts a process whose end before `stop` is an error unless it ends with 0. */
  start(spec: ProcessSpec): ChildProcess;
  /** Starts a process and waits for its end. @returns its stdout @throws PonasError where it fails */
  finish(spec: ProcessSpec, signal: AbortSignal): Promise<string>;
  /** Kills with −9 and starts again with the same arguments, as a crash and a restart would. */
  restart(name: string): Promise<void>;
  /** Fires when a started process fails. */
  readonly failed: AbortSignal;
  /** Stops every process: SIGTERM, after 5 s SIGKILL. Idempotent. */
  stop(): Promise<void>;
}

export interface LogRecord {
  readonly level: number;
  readonly name: string;
  readonly msg: string;
  readonly event?: string;
  readonly [field: string]: unknown;
}

const GRACE_MS = 5000;

/** @param onRecord is called with every log record of every process; lines that are no record go to its log file only */
export function createProcesses(logDir: string, onRecord: (record: LogRecord) => void): Processes {
  const running = new Map<string, { spec: ProcessSpec; child: ChildProcess }>();
  const failure = new AbortController();
  let stopping = false;

  const launch = (spec: ProcessSpec): { child: ChildProcess; tail: string[] } => {
    const child = spawn(process.execPath, spec.args, {
      cwd: PROJECT_ROOT,
      env: { ...process.env, ...spec.env, PONAS_PARENT: String(process.pid), FORCE_COLOR: "0" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const file: WriteStream = createWriteStream(join(logDir, `${spec.name}.log`), { flags: "a" });
    const tail: string[] = [];
    createInterface({ input: child.stderr! }).on("line", (line) => {
      file.write(`${line}\n`);
      const record = parseRecord(line);
      if (record !== undefined) onRecord(record);
      else if (tail.push(line) > 20) tail.shift();
    });
    child.once("close", () => file.end());
    return { child, tail };
  };

  const start = (spec: ProcessSpec): ChildProcess => {
    const { child, tail } = launch(spec);
    child.stdout!.resume();
    running.set(spec.name, { spec, child });
    child.once("close", (code, cause) => {
      if (running.get(spec.name)?.child !== child) return; // restarted on purpose
      running.delete(spec.name);
      if (code === 0 || stopping) return;
      const last = tail.at(-1) ?? "it said nothing";
      failure.abort(new PonasError("unavailable", `The process ${spec.name} ended with ${code ?? cause}: ${last}`));
    });
    return child;
  };

  const end = async (child: ChildProcess, how: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    child.kill(how);
    const killer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    await closed;
    clearTimeout(killer);
  };

  return {
    failed: failure.signal,
    start,
    finish: async (spec, signal) => {
      const { child, tail } = launch(spec);
      running.set(spec.name, { spec, child });
      let output = "";
      child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
      const abort = (): void => void child.kill("SIGTERM");
      signal.addEventListener("abort", abort, { once: true });
      const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
      signal.removeEventListener("abort", abort);
      running.delete(spec.name);
      if (signal.aborted) throw new PonasError("aborted", "Stopped.");
      if (code !== 0)
        throw new PonasError(
          "unavailable",
          `${spec.name} failed: ${tail.join(" ").slice(0, 500) || output.slice(-500)}`,
        );
      return output;
    },
    restart: async (name) => {
      const entry = running.get(name);
      if (entry === undefined) throw new PonasError("not-found", `There is no process called ${name}.`);
      running.delete(name);
      await end(entry.child, "SIGKILL");
      start(entry.spec);
    },
    stop: async () => {
      stopping = true;
      await Promise.all([...running.values()].map(({ child }) => end(child, "SIGTERM")));
    },
  };
}

function parseRecord(line: string): LogRecord | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const record = JSON.parse(line) as LogRecord;
    return typeof record.level === "number" && typeof record.name === "string" ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Free TCP ports on loopback, all different. Another program could take one before we do; then its owner says so. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(
    servers.map(
      (server) => new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve)),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** What `scripts/local-chain.ts` says once it listens. */
const LISTENING = /JSON-RPC server at (http:\/\/[\d.]+:\d+)/;

/**
 * Where a local chain listens that was started on port 0. A port that is chosen beforehand may be taken by the time
 * the chain is there, and by another chain with the same accounts: then two rounds would play on one.
 * @param chain just started, with its stdout in a pipe
 * @throws PonasError timeout; unavailable where it ends instead
 */
export async function addressOf(chain: ChildProcess, timeoutMs: number, signal: AbortSignal): Promise<string> {
  const settled = new AbortController();
  try {
    return await new Promise<string>((resolve, reject) => {
      createInterface({ input: chain.stdout! }).on("line", (line) => {
        const found = LISTENING.exec(line);
        if (found !== null) resolve(found[1]!);
      });
      chain.once("close", () => reject(new PonasError("unavailable", "The local chain ended before it listened.")));
      const stop = AbortSignal.any([signal, settled.signal]);
      sleep(timeoutMs, stop).then(
        () => reject(new PonasError("timeout", `The local chain did not start within ${timeoutMs / 1000} s.`)),
        reject,
      );
    });
  } finally {
    settled.abort();
  }
}
