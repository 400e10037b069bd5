import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Puts a file in its place whole or not at all, whatever happens meanwhile; after the return it survives a crash of
 * the machine. Its folder must be there. A kill halfway leaves a draft beside it: the name, a process id, `.new`.
 * @param mode of a file that was not there before
 * @throws what the file system says; the file is then as it was
 */
export function writeDurably(file: string, bytes: Uint8Array, mode = 0o666): void {
  const draft = `${file}.${process.pid}.new`;
  try {
    const handle = openSync(draft, "w", mode);
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(handle, bytes, at);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder); // the rename itself
  } finally {
    closeSync(folder);
  }
}
