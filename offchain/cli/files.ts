import { accessSync, constants, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { PonasError } from "../protocol/errors.ts";

/** A cap for model files given on the command line; a task's own cap binds on chain. */
export const MAX_MODEL_BYTES = 64 * 2 ** 20;

/** @throws PonasError bad-input where the file cannot be read */
export function readModelFile(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read";
    throw new PonasError("bad-input", `The model file ${file} ${reason}.`, { cause });
  }
}

const MODEL_FILE = "model file";

const unwritable = (what: string, file: string, cause: unknown): PonasError =>
  new PonasError("bad-input", `The ${what} ${file} cannot be written.`, { cause });

/** Says before long work what would be found out after it. @throws PonasError bad-input */
export function checkWritable(file: string, what = MODEL_FILE): void {
  try {
    if (existsSync(file) && statSync(file).isDirectory()) throw new Error("it is a folder");
    accessSync(existsSync(file) ? file : dirname(file), constants.W_OK);
  } catch (cause) {
    throw unwritable(what, file, cause);
  }
}

/** @throws PonasError bad-input */
export function writeModelFile(file: string, bytes: Uint8Array): void {
  try {
    writeFileSync(file, bytes);
  } catch (cause) {
    throw unwritable(MODEL_FILE, file, cause);
  }
}

/** Reads a JSON file. @throws PonasError bad-input */
export function readJsonFile(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read";
    throw new PonasError("bad-input", `The file ${file} ${reason}.`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PonasError("bad-input", `The file ${file} is not JSON.`, { cause });
  }
}
