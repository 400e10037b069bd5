import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { PonasError } from "./errors.ts";

/**
 * Takes a lock file that names the holder's process, and returns the call that gives it back. The lock of a process
 * that no longer lives is taken over, so a kill −9 leaves nothing to clean up by hand.
 * @param what the thing that is guarded, as the sentence of the refusal names it
 * @throws PonasError bad-input where a living process holds it
 */
export function takeLock(file: string, what: string): () => void {
  mkdirSync(dirname(file), { recursive: true });
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: "wx" });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const holder = Number(readFileSync(file, "utf8"));
      if (holder !== process.pid && isAlive(holder)) {
        throw new PonasError("bad-input", `${what} is in use by process ${holder}.`, {
          cure: "stop that process, or give this one a state folder and a key of its own",
        });
      }
      rmSync(file, { force: true });
    }
  }
  throw new PonasError("bad-input", `${what} is being taken by another process at this moment.`);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
