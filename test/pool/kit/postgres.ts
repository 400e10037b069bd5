/** A PostgreSQL server of the tests' own: made in a temporary folder, run as a user who may, gone afterwards. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import pg from "pg";

import { sleep } from "../../../offchain/protocol/wait.ts";

export interface TestServer {
  readonly url: string;
  /** URL of an empty database on it */
  newDatabase(encoding?: string): Promise<string>;
  /** Runs statements as the server's owner. */
  sql(statement: string): Promise<Record<string, unknown>[]>;
  /** SIGQUIT: an immediate shutdown, which is a crash to its clients and its files. */
  crash(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

function binaries(): string | undefined {
  const root = "/usr/lib/postgresql";
  const installed = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...installed.map((version) => join(root, version, "bin")), ...(process.env.PATH ?? "").split(":")];
  return folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
}

/** The account to run it as: PostgreSQL refuses to be run by root. Undefined where this process's own will do. */
function otherAccount(): { uid: number; gid: number } | undefined | null {
  if (process.getuid?.() !== 0) return undefined;
  try {
    const id = (flag: string): number =>
      Number(execFileSync("id", [flag, "postgres"], { stdio: ["ignore", "pipe", "ignore"] }));
    return { uid: id("-u"), gid: id("-g") };
  } catch {
    return null;
  }
}

/** Why there can be no server here, or null. */
export function whyNoServer(): string | null {
  if (binaries() === undefined) return "PostgreSQL's server is not installed";
  if (otherAccount() === null) return "PostgreSQL does not run as root, and there is no account postgres";
  return null;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** @param durable waits for the disk at each commit as a pool's server does; tests of processes that die need none of it */
export async function startServer({ durable = false } = {}): Promise<TestServer> {
  const bin = binaries()!;
  const account: { uid?: number; gid?: number } = otherAccount() ?? {};
  const dir = mkdtempSync(join(tmpdir(), "ponas-postgres-"));
  if (account.uid !== undefined) chownSync(dir, account.uid, account.gid!);
  const data = join(dir, "data");
  const password = join(dir, "password");
  writeFileSync(password, "s3cret\n", { mode: 0o644 });
  const cluster = ["-D", data, "-U", "owner", "-E", "UTF8", "--locale=C", "--no-sync"];
  execFileSync(join(bin, "initdb"), [...cluster, "--auth=scram-sha-256", `--pwfile=${password}`], {
    ...account,
    cwd: dir,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const port = await freePort();
  const url = (database: string): string => `postgresql://owner:s3cret@127.0.0.1:${port}/${database}`;
  let child: ChildProcess | undefined;
  let databases = 0;

  async function sql(statement: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: url("postgres") });
    client.on("error", () => undefined);
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(statement)).rows;
    } finally {
      await client.end();
    }
  }
  async function start(): Promise<void> {
    child = spawn(
      join(bin, "postgres"),
      [
        "-D",
        data,
        "-p",
        String(port),
        "-k",
        dir,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        `fsync=${durable ? "on" : "off"}`,
      ],
      {
        ...account,
        cwd: dir,
        stdio: "ignore",
      },
    );
    for (let waited = 0; ; waited += 50) {
      try {
        await sql("SELECT 1");
        return;
      } catch (error) {
        if (waited > 20_000 || child.exitCode !== null) throw error;
        await sleep(50);
      }
    }
  }
  async function end(signal: "SIGQUIT" | "SIGINT"): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }
  await start();
  return {
    url: url("postgres"),
    sql,
    start,
    crash: () => end("SIGQUIT"),
    async newDatabase(encoding = "UTF8") {
      const name = `pool${++databases}`;
      await sql(`CREATE DATABASE ${name} ENCODING '${encoding}' TEMPLATE template0`);
      return url(name);
    },
    async stop() {
      await end("SIGINT");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
