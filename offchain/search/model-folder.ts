/** The model files that a search may still need, each named by its hash: what is damaged or half written is absent. */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { PonasError } from "../protocol/errors.ts";

export interface ModelFolder {
  /** Returns when the file is on the disk. @throws PonasError unavailable where the disk does not take it */
  put(bytes: Uint8Array): string;
  /** A model by its name, or null where it is missing or damaged. */
  get(name: string): Uint8Array | null;
  /** Deletes every other file of the folder. */
  keepOnly(names: ReadonlySet<string>): void;
}

/** @param folder made with the first model */
export function createModelFolder(folder: string): ModelFolder {
  return {
    put: (bytes) => {
      const name = hashOf(bytes);
      const draft = join(folder, `${name}.new`);
      try {
        mkdirSync(folder, { recursive: true });
        writeFileSync(draft, bytes);
        const descriptor = openSync(draft, "r");
        fsyncSync(descriptor);
        closeSync(descriptor);
        renameSync(draft, join(folder, name));
      } catch (cause) {
        rmSync(draft, { force: true });
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new PonasError("unavailable", `A model cannot be written into ${folder}: ${reason}.`, {
          cure: "make room on the disk, then go on with --resume",
          cause,
        });
      }
      return name;
    },
    get: (name) => {
      const file = join(folder, name);
      if (!existsSync(file)) return null;
      const bytes = readFileSync(file);
      return hashOf(bytes) === name ? bytes : null;
    },
    keepOnly: (names) => {
      if (!existsSync(folder)) return;
      for (const name of readdirSync(folder)) {
        if (!names.has(name)) rmSync(join(folder, name), { force: true });
      }
    },
  };
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
