/**
 * Measures what one manager process can take: `node test/pool/load/measure.ts [--database folder|server|URL]
 * [--miners 2000] [--rate 300] [--seconds 60]`. "server" starts a PostgreSQL of its own, which waits for the disk at
 * each commit. Prints the figures as JSON.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { isServerUrl } from "../../../offchain/pool/database-server.ts";
import { startServer, type TestServer } from "../kit/postgres.ts";
import type { LoadResult } from "./generator.ts";

async function firstLine(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout!.setEncoding("utf8");
  for await (const piece of child.stdout!) {
    text += piece as string;
    if (text.includes("\n")) break;
  }
  if (!text.includes("\n")) throw new Error(`A process of the measurement ended with code ${child.exitCode}.`);
  return text.trim();
}

export async function measure(options: {
  readonly database: string;
  readonly miners: number;
  readonly rate: number;
  readonly seconds: number;
}): Promise<LoadResult> {
  const { database, miners, rate, seconds } = options;
  const dir = mkdtempSync(join(tmpdir(), "ponas-load-"));
  let server: TestServer | undefined;
  const children: ChildProcess[] = [];
  const run = (script: string, args: string[]): ChildProcess => {
    const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    return child;
  };
  try {
    if (database === "server") server = await startServer({ durable: true });
    const place = isServerUrl(database) ? database : ((await server?.newDatabase()) ?? dir);
    const manager = run("manager-process.ts", [place, String(miners)]);
    const url = await firstLine(manager);
    const generator = run("generator.ts", [JSON.stringify({ url, miners, rate, seconds, pid: manager.pid })]);
    return JSON.parse(await firstLine(generator)) as LoadResult;
  } finally {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      database: { type: "string", default: "folder" },
      miners: { type: "string", default: "2000" },
      rate: { type: "string", default: "300" },
      seconds: { type: "string", default: "60" },
    },
  });
  const { database, miners, rate, seconds } = values;
  const result = await measure({ database, miners: Number(miners), rate: Number(rate), seconds: Number(seconds) });
  console.log(JSON.stringify(result, null, 2));
}
