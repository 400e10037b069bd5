/**
 * A miner's finished shares until the pool has said what becomes of them, and the token of its session: in a folder,
 * so that a miner that was killed hands in what it had finished; or in memory where it has none.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { signedShareSchema, type SignedShare } from "../pool/messages.ts";
import { parseWith } from "../protocol/architecture.ts";

export interface FinishedShare {
  readonly signed: SignedShare;
  readonly model: Uint8Array;
}

export interface PoolOutbox {
  readonly shares: ReadonlyMap<number, FinishedShare>;
  /** Keeps a share, and writes it down before it returns. */
  put(share: FinishedShare): void;
  remove(lease: number): void;
  session(): string | undefined;
  keepSession(token: string): void;
}

/** @param dir created where it is missing @throws PonasError bad-input where a share in it cannot be read */
export function createPoolOutbox(dir?: string): PoolOutbox {
  const shares = new Map<number, FinishedShare>();
  let token: string | undefined;
  if (dir !== undefined) {
    mkdirSync(dir, { recursive: true });
    const sessionFile = join(dir, "session");
    if (existsSync(sessionFile)) token = readFileSync(sessionFile, "utf8").trim();
    for (const name of readdirSync(dir).filter((entry) => entry.endsWith(".json"))) {
      const file = join(dir, name);
      const signed = parseWith(signedShareSchema, JSON.parse(readFileSync(file, "utf8")), `The unsent share ${file}`);
      shares.set(signed.share.lease, { signed, model: readFileSync(modelFile(dir, signed.share.lease)) });
    }
  }

  return {
    shares,
    put(share) {
      const { lease, taskId } = share.signed.share;
      if (dir !== undefined) {
        // The model first: a share file that is there is complete.
        writeWhole(modelFile(dir, lease), share.model);
        const { signed } = share;
        const json = { ...signed, share: { ...signed.share, taskId: taskId.toString() } };
        writeWhole(join(dir, `${lease}.json`), JSON.stringify(json));
      }
      shares.set(lease, share);
    },
    remove(lease) {
      shares.delete(lease);
      if (dir === undefined) return;
      rmSync(join(dir, `${lease}.json`), { force: true });
      rmSync(modelFile(dir, lease), { force: true });
    },
    session: () => token,
    keepSession(value) {
      if (value === token) return;
      token = value;
      if (dir !== undefined) writeWhole(join(dir, "session"), `${value}\n`);
    },
  };
}

const modelFile = (dir: string, lease: number): string => join(dir, `${lease}.model`);

function writeWhole(file: string, content: string | Uint8Array): void {
  writeFileSync(`${file}.tmp`, content, { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
}
