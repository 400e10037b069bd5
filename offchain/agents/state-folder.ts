import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { z } from "zod";

import { parseWith } from "../protocol/architecture.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { writeDurably } from "../protocol/durable-file.ts";
import { PonasError } from "../protocol/errors.ts";

/** What an agent must still know after it was killed: small files, each written whole or not at all. */
export interface StateFolder {
  readonly path: string;
  /** The file's value, or undefined where it does not exist. @throws PonasError bad-input where it is damaged */
  read<T>(name: string, schema: z.ZodType<T>): T | undefined;
  readBytes(name: string): Uint8Array | undefined;
  /** Replaces the file; after the return it survives a crash of the machine. */
  write(name: string, value: unknown): void;
  writeBytes(name: string, bytes: Uint8Array): void;
  /** Removes a file, or a folder with all that is in it; one that does not exist is fine. */
  remove(name: string): void;
  /** Names of what a folder holds; none where it does not exist. */
  list(name: string): string[];
}

/** Opens (and makes) a folder that only this user may read: keys of test sets lie in it. */
export function createStateFolder(path: string): StateFolder {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const writeBytes = (name: string, bytes: Uint8Array): void => {
    const file = join(path, name);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeDurably(file, bytes, 0o600);
  };
  const readBytes = (name: string): Uint8Array | undefined => {
    try {
      return readFileSync(join(path, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  };
  return {
    path,
    readBytes,
    writeBytes,
    read: (name, schema) => {
      const bytes = readBytes(name);
      if (bytes === undefined) return undefined;
      let json: unknown;
      try {
        json = JSON.parse(Buffer.from(bytes).toString("utf8"));
      } catch (cause) {
        throw new PonasError("bad-input", `The state file ${join(path, name)} is not JSON.`, { cause });
      }
      return parseWith(schema, json, `The state file ${join(path, name)}`);
    },
    write: (name, value) => writeBytes(name, Buffer.from(`${JSON.stringify(value, null, 1)}\n`)),
    remove: (name) => rmSync(join(path, name), { recursive: true, force: true }),
    list: (name) => {
      try {
        return readdirSync(join(path, name)).sort();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw error;
      }
    },
  };
}

const originSchema = z.strictObject({ chainId: z.int(), registry: z.string(), genesis: z.string() });

/**
 * Ties a folder to the chain and the registry it is used with at first: task 5 of another deployment is another task,
 * and a local chain that was started anew has the same addresses.
 * @throws PonasError chain-mismatch where the folder belongs to another one
 */
export async function tieToDeployment(
  state: StateFolder,
  { client, deployment }: Pick<ChainClient, "client" | "deployment">,
): Promise<void> {
  const { hash: genesis } = await client.getBlock({ blockNumber: 0n });
  const origin = { chainId: deployment.chainId, registry: deployment.registry, genesis };
  const known = state.read("deployment.json", originSchema);
  if (known === undefined) return state.write("deployment.json", origin);
  if (JSON.stringify(known) === JSON.stringify(origin)) return;
  throw new PonasError("chain-mismatch", `The state folder ${state.path} belongs to another chain or deployment.`, {
    cure: "name another folder with --state-dir; what the old deployment owes is collected with the old folder",
  });
}
