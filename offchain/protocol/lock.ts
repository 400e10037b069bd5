import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { PonasError } from "./errors.ts";

/** How long a lock file may stand empty: its taker is between creating and writing it, or died there. */
const EMPTY_MS = 100;

/**
 * Takes a lock file that names the holder's process, and returns the call that gives it back. The lock of a process
 * that no longer lives is taken over, so a kill −9 leaves nothing to clean up by hand.
 * @param what the thing that is guarded, as the sentence of the refusal names it
 * @throws PonasError bad-input where a living process holds it
 */
export function takeLock(file: string, what: string): () => void {
  mkdirSync(dirname(file), { recursive: true });
  const own = `${process.pid} ${startOf(process.pid) ?? ""}`.trim();
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      writeFileSync(file, own, { flag: "wx" });
      return () => {
        if (read(file) === own) rmSync(file, { force: true });
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    let holder = read(file);
    if (holder === "") {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EMPTY_MS);
      holder = read(file);
    }
    if (holder === undefined) continue;
    if (isHeld(holder)) throw inUse(what, holder);
    removeStale(file, holder, what);
  }
  throw new PonasError("bad-input", `${what} is being taken by another process at this moment.`);
}

function inUse(what: string, holder: string): PonasError {
  return new PonasError("bad-input", `${what} is in use by process ${parseInt(holder, 10)}.`, {
    cure: "stop that process, or give this one a state folder and a key of its own",
  });
}

/** Moves the lock aside before it goes: another process may have taken it over since we read it. */
function removeStale(file: string, stale: string, what: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  const moved = read(aside) ?? "";
  rmSync(aside, { force: true });
  if (moved === stale) return;
  writeFileSync(file, moved, { flag: "wx" });
  throw inUse(what, moved);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** @param holder process id and, where the system tells, when that process began: ids are given out again */
function isHeld(holder: string): boolean {
  const [pid = 0, start] = holder.split(" ").map(Number);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  if (start === undefined) return pid !== process.pid && isAlive(pid);
  return isAlive(pid) && startOf(pid) === start;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When a process began, in clock ticks since the machine started (proc(5), field 22); undefined without /proc. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  } catch {
    return undefined;
  }
}
