/** The model files that a search may still need, each named by its hash: what is damaged or half written is absent. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { writeDurably } from "../protocol/durable-file.ts";
import { PonasError } from "../protocol/errors.ts";

export interface ModelFolder {
  /** Returns when the file is on the disk. @throws PonasError unavailable where the disk does not take it */
  put(bytes: Uint8Array): string;
  /** A model by its name, or null where it is missing or damaged. */
  get(name: string): Uint8Array | null;
  /** Deletes every other model of the folder; what is no model stays. */
  keepOnly(names: ReadonlySet<string>): void;
}

/** A model's name, or that of one that is being written. */
const MODEL_NAME = /^[0-9a-f]{64}((\.\d+)?\.new)?$/;

/** @param folder made with the first model */
export function createModelFolder(folder: string): ModelFolder {
  return {
    put: (bytes) => {
      const name = hashOf(bytes);
      try {
        mkdirSync(folder, { recursive: true });
        writeDurably(join(folder, name), bytes);
      } catch (cause) {
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
        if (MODEL_NAME.test(name) && !names.has(name)) rmSync(join(folder, name), { force: true });
      }
    },
  };
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
