/** A search's journal: JSON lines that only grow, so that a search can be killed at any instant and gone on with. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { z } from "zod";

import { architectureSchema, parseWith } from "../protocol/architecture.ts";
import { writeDurably } from "../protocol/durable-file.ts";
import { PonasError } from "../protocol/errors.ts";
import { takeLock } from "../protocol/lock.ts";

/** Every journal begins with these bytes. */
const BEGINNING = '{"ponas-search":1,';

/** What makes a search this search and no other: any JSON, compared field by field. */
export type Identity = Readonly<Record<string, unknown>>;

const headerSchema = z.object({
  "ponas-search": z.literal(1),
  search: z.record(z.string(), z.unknown()),
  begun: z.record(z.string(), z.unknown()),
});

/** The part of a journal that says which search it is of. */
export interface JournalHeader {
  readonly search: Identity;
  /** with what it was begun that may be otherwise when it is gone on with: any JSON */
  readonly begun: Readonly<Record<string, unknown>>;
}

const trialRecordSchema = z
  .object({
    /** the network's number in the order of asking, from 0 */
    trial: z.int().min(0),
    /** 0, or under successive halving how often the network has been taken further */
    rung: z.int().min(0),
    architecture: architectureSchema,
    /** epochs asked for so far, those of earlier rungs included */
    epochs: z.int().min(1),
    seed: z.int(),
    /** canonical count over the validation samples */
    correct: z.int().min(0),
    total: z.int().min(0),
    /** mean cross-entropy of this training's epochs, in nats; null where it stopped being a number */
    trainLoss: z.array(z.number().nullable()),
    /** of this training and its evaluation */
    seconds: z.number().min(0),
    imagesPerSecond: z.number().min(0),
    engine: z.string().nullable(),
    /** why the model is malformed whatever it predicts, or null */
    infeasible: z.string().nullable(),
    diverged: z.boolean(),
    dead: z.boolean(),
    /** why there is no model, as a sentence, or null */
    failed: z.string().nullable(),
    modelRoot: z.string().nullable(),
    /** sha-256 of the model file, in hexadecimal */
    modelFile: z.string().nullable(),
  })
  .refine(({ correct, total }) => correct <= total, { path: ["correct"], error: "more are right than there are" });
/** One finished training of a search. */
export type TrialRecord = z.infer<typeof trialRecordSchema>;

export interface Journal {
  /** where the journal lies, as an absolute path */
  readonly file: string;
  readonly header: JournalHeader;
  /** the finished trainings, in the order in which they ended */
  readonly records: readonly TrialRecord[];
  /**
   * Returns when the record is on the disk.
   * @throws PonasError unavailable where the disk does not take it; the journal is then as it was before
   */
  append(record: TrialRecord): void;
  /** Gives the journal free for other processes. */
  close(): void;
}

/**
 * Opens a journal, or begins it where the file does not exist or is empty. What a killed process or a full disk left
 * of a last line is cut off.
 * @throws PonasError bad-input where the file is no journal, is of another search, is damaged, or is in use
 */
export function openJournal(path: string, { search, begun }: JournalHeader): Journal {
  const file = canonicalPath(path);
  const unlock = lock(file);
  try {
    // What is compared with a file must have gone through JSON itself.
    const header = JSON.parse(JSON.stringify({ "ponas-search": 1, search, begun })) as z.infer<typeof headerSchema>;
    if (!existsSync(file) || statSync(file).size === 0) begin(file, header);
    const { header: found, records, bytes } = parse(file, readWhole(file));
    checkIdentity(file, found.search, header.search);
    return appendable({ file, header: found, records, bytes, unlock });
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * Which search a journal is of; reads nothing else and takes no lock.
 * @throws PonasError not-found where there is no such file; bad-input where it is no journal
 */
export function readJournalHeader(path: string): JournalHeader {
  if (!existsSync(path)) throw new PonasError("not-found", `There is no journal ${path}.`);
  if (statSync(path).size === 0) throw new PonasError("not-found", `The journal ${path} is empty.`);
  return parse(path, readWhole(path)).header;
}

function appendable(from: {
  readonly file: string;
  readonly header: JournalHeader;
  readonly records: TrialRecord[];
  readonly bytes: number;
  readonly unlock: () => void;
}): Journal {
  const { file, header, records, unlock } = from;
  let size = from.bytes;
  const descriptor = openSync(file, "r+");
  ftruncateSync(descriptor, size);
  let open = true;
  return {
    file,
    header,
    records,
    append: (record) => {
      if (!open) throw new Error(`the journal ${file} is closed`);
      const line = Buffer.from(`${JSON.stringify(record)}\n`);
      try {
        for (let at = 0; at < line.length;) at += writeSync(descriptor, line, at, line.length - at, size + at);
        fsyncSync(descriptor);
      } catch (cause) {
        // Half a line would hide every later one; where even this fails, the next opening cuts it off.
        tryTo(() => ftruncateSync(descriptor, size));
        throw new PonasError("unavailable", `The journal ${file} cannot be written: ${reasonOf(cause)}.`, {
          cure: "make room on the disk, then go on with --resume",
          cause,
        });
      }
      size += line.length;
      records.push(record);
    },
    close: () => {
      if (!open) return;
      open = false;
      closeSync(descriptor);
      unlock();
    },
  };
}

/** Two names of one file must meet at one lock. */
function canonicalPath(path: string): string {
  const file = resolve(path);
  return existsSync(file) ? realpathSync(file) : file;
}

function lock(file: string): () => void {
  try {
    return takeLock(`${file}.lock`, `The journal ${file}`);
  } catch (cause) {
    if (cause instanceof PonasError) {
      throw new PonasError(cause.code, cause.message, { cure: "wait for that search, or name another journal", cause });
    }
    throw new PonasError("bad-input", `The journal ${file} cannot be written: ${reasonOf(cause)}.`, { cause });
  }
}

/** A journal appears under its name with its whole first line or not at all. */
function begin(file: string, header: z.infer<typeof headerSchema>): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeDurably(file, Buffer.from(`${JSON.stringify(header)}\n`));
  } catch (cause) {
    throw new PonasError("bad-input", `The journal ${file} cannot be written: ${reasonOf(cause)}.`, { cause });
  }
}

/** Reads a file, but of one that is no journal no more than its beginning. */
function readWhole(file: string): Buffer {
  try {
    const descriptor = openSync(file, "r");
    try {
      const beginning = Buffer.alloc(BEGINNING.length);
      readSync(descriptor, beginning, 0, beginning.length, 0);
      if (beginning.toString("latin1") !== BEGINNING) throw notAJournal(file);
      return readFileSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    if (cause instanceof PonasError) throw cause;
    throw new PonasError("bad-input", `The journal ${file} cannot be read: ${reasonOf(cause)}.`, { cause });
  }
}

interface Parsed {
  readonly header: z.infer<typeof headerSchema>;
  readonly records: TrialRecord[];
  /** up to the end of the last whole line */
  readonly bytes: number;
}

function parse(file: string, content: Buffer): Parsed {
  const bytes = content.lastIndexOf(0x0a) + 1;
  const [first, ...lines] = content.toString("utf8", 0, bytes).split("\n").slice(0, -1);
  const header = headerSchema.safeParse(first === undefined ? undefined : parseJson(first));
  if (!header.success) throw notAJournal(file);
  const records = lines.map((line, index) =>
    parseWith(trialRecordSchema, parseJson(line), `Line ${index + 2} of the journal ${file}`),
  );
  return { header: header.data, records, bytes };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // The schema refuses it, and says where.
    return undefined;
  }
}

function notAJournal(file: string): PonasError {
  return new PonasError("bad-input", `The file ${file} is not the journal of a search.`, {
    cure: "name the journal that the search printed, or a new file",
  });
}

function checkIdentity(file: string, found: Identity, wanted: Identity): void {
  const difference = firstDifference(found, wanted);
  if (difference === null) return;
  const [was, is] = [JSON.stringify(difference.found) ?? "none", JSON.stringify(difference.wanted) ?? "none"];
  const short = was.length + is.length < 120 ? `is ${was} there and ${is} here` : "differs";
  const field = difference.path.join(".");
  throw new PonasError("bad-input", `The journal ${file} is of another search: its ${field} ${short}.`, {
    cure: "give the options that the search was begun with, or name a new journal",
  });
}

interface Difference {
  readonly path: readonly string[];
  readonly found: unknown;
  readonly wanted: unknown;
}

/** The first field, however deep, in which two objects from JSON differ, or null. */
function firstDifference(found: Identity, wanted: Identity, path: readonly string[] = []): Difference | null {
  for (const field of new Set([...Object.keys(wanted), ...Object.keys(found)])) {
    const [was, is] = [found[field], wanted[field]];
    if (isDeepStrictEqual(was, is)) continue;
    const here = [...path, field];
    return isFields(was) && isFields(is) ? firstDifference(was, is, here) : { path: here, found: was, wanted: is };
  }
  return null;
}

function isFields(value: unknown): value is Identity {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // The caller reports the failure that came before this one.
  }
}
