/**
 * What a miner must not lose: finished shares until the pool has said what becomes of them, their models until the task
 * is over, and the tokens of its sessions. In a folder, so that a miner that was killed hands in what it had finished;
 * or in memory where it has none.
 */
import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { signedShareSchema, type SignedShare } from "../pool/messages.ts";
import type { Hex } from "../protocol/bytes.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import { acceptedShareSchema, type AcceptedShare } from "./share-receipts.ts";
import { createStateFolder } from "./state-folder.ts";

export interface FinishedShare {
  readonly signed: SignedShare;
  readonly model: Uint8Array;
  /** number of the link whose session has the lease, from 0 */
  readonly worker: number;
}

export interface PoolOutbox {
  /** by lease */
  readonly shares: ReadonlyMap<number, FinishedShare>;
  /** leases whose share some link is handing in */
  readonly delivering: Set<number>;
  /**
   * Keeps a share, written down before the return, and its model until `forget`.
   * @throws PonasError unavailable where it cannot be written down; it is in `shares` all the same
   */
  put(share: FinishedShare): void;
  /** The pool has refused the share for good. @param keepModel it is another share's too */
  remove(lease: number, keepModel: boolean): void;
  /**
   * The pool has accepted the share: its receipt is kept until `forget`. @param keepModel it may still ask for the model
   * @throws what the file system says; the share then stays where it is, to be handed in again by the next process
   */
  accept(lease: number, receipt: Hex, keepModel: boolean): void;
  /** The accepted shares of a task, with their receipts. @throws PonasError bad-input where one is damaged */
  accepted(taskId: bigint): AcceptedShare[];
  /** A model of a share that was put here, in this process or before. */
  model(modelRoot: Hex): Uint8Array | undefined;
  /** The task is over: nobody asks for its models any more, and its receipts have done their work. */
  forget(taskId: bigint): void;
  session(worker: number): string | undefined;
  /** @throws PonasError unavailable where it cannot be written down */
  keepSession(worker: number, token: string): void;
}

const keptSchema = signedShareSchema.extend({ worker: z.int().min(0).default(0) });
const sessionSchema = z.string().regex(/^[0-9a-f]{64}$/);

const shareFile = (lease: number): string => `unsent/${lease}.json`;
const acceptedFile = (taskId: bigint, lease: number): string => `accepted/${taskId}/${lease}.json`;
const modelFile = (taskId: bigint, modelRoot: string): string => `models/${taskId}/${modelRoot}.model`;

/**
 * @param dir created where it is missing; of one pool, since leases are numbered by pool
 * @param onDamage is told of each share in it that cannot be read; it is set aside
 */
export function createPoolOutbox(dir?: string, onDamage: (sentence: string) => void = () => undefined): PoolOutbox {
  const shares = new Map<number, FinishedShare>();
  const sessions = new Map<number, string>();
  const delivering = new Set<number>();
  if (dir === undefined) {
    const models = new Map<Hex, { readonly taskId: bigint; readonly bytes: Uint8Array }>();
    let accepted: AcceptedShare[] = [];
    const remove = (lease: number, keepModel: boolean): void => {
      const root = shares.get(lease)?.signed.share.modelRoot;
      shares.delete(lease);
      if (root !== undefined && !keepModel) models.delete(root);
    };
    return {
      shares,
      delivering,
      put(finished) {
        const { lease, taskId, modelRoot } = finished.signed.share;
        shares.set(lease, finished);
        models.set(modelRoot, { taskId, bytes: finished.model });
      },
      remove,
      accept(lease, receipt, keepModel) {
        const signed = shares.get(lease)?.signed;
        if (signed !== undefined) accepted.push({ ...signed, receipt });
        remove(lease, keepModel);
      },
      accepted: (taskId) => accepted.filter(({ share }) => share.taskId === taskId),
      model: (modelRoot) => models.get(modelRoot)?.bytes,
      forget(taskId) {
        for (const [root, model] of models) if (model.taskId === taskId) models.delete(root);
        accepted = accepted.filter(({ share }) => share.taskId !== taskId);
      },
      session: (worker) => sessions.get(worker),
      keepSession: (worker, token) => void sessions.set(worker, token),
    };
  }

  const folder = createStateFolder(dir);
  /** where the model of each root lies */
  const models = new Map<string, string>();
  for (const name of folder
    .list("models")
    .flatMap((task) => folder.list(`models/${task}`).map((file) => `${task}/${file}`))) {
    const root = /^\d+\/(0x[0-9a-f]{64})\.model$/.exec(name)?.[1];
    // What is not whole was being written when the process was killed.
    if (root === undefined) folder.remove(`models/${name}`);
    else models.set(root, `models/${name}`);
  }
  for (const name of folder.list("unsent")) {
    if (name.endsWith(".new")) folder.remove(`unsent/${name}`);
    if (!name.endsWith(".json")) continue;
    try {
      const { worker, ...signed } = folder.read(`unsent/${name}`, keptSchema)!;
      const { lease, taskId, modelRoot } = signed.share;
      const model = folder.readBytes(modelFile(taskId, modelRoot));
      if (model === undefined) throw new PonasError("not-found", `The model of the unsent share ${name} is missing.`);
      shares.set(lease, { signed, model, worker });
    } catch (error) {
      mkdirSync(join(dir, "damaged"), { recursive: true });
      renameSync(join(dir, "unsent", name), join(dir, "damaged", name));
      onDamage(`${explainError(error)} It is set aside in ${join(dir, "damaged")}.`);
    }
  }

  function writing(what: string, write: () => void): void {
    try {
      write();
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const why = code === "ENOSPC" || code === "EDQUOT" ? "the disk is full" : (code ?? message);
      throw new PonasError("unavailable", `${what} cannot be written to ${dir}: ${why}.`, { cause });
    }
  }

  function session(worker: number): string | undefined {
    const known = sessions.get(worker);
    if (known !== undefined) return known;
    const bytes = folder.readBytes(`sessions/${worker}`);
    // A damaged one only costs the session.
    return sessionSchema.safeParse(bytes === undefined ? "" : Buffer.from(bytes).toString("utf8")).data;
  }

  const toJson = ({ share, signature }: SignedShare): object => ({
    share: { ...share, taskId: share.taskId.toString() },
    signature,
  });
  function remove(lease: number, keepModel: boolean): void {
    const share = shares.get(lease)?.signed.share;
    shares.delete(lease);
    folder.remove(shareFile(lease));
    if (share === undefined || keepModel) return;
    models.delete(share.modelRoot);
    folder.remove(modelFile(share.taskId, share.modelRoot));
  }

  return {
    shares,
    delivering,
    put(finished) {
      const { signed, model, worker } = finished;
      const { lease, taskId, modelRoot } = signed.share;
      shares.set(lease, finished);
      writing(`The share of lease ${lease}`, () => {
        // The model first: a share file that is there is complete.
        folder.writeBytes(modelFile(taskId, modelRoot), model);
        models.set(modelRoot, modelFile(taskId, modelRoot));
        folder.write(shareFile(lease), { ...toJson(signed), worker });
      });
    },
    remove,
    accept(lease, receipt, keepModel) {
      const signed = shares.get(lease)?.signed;
      if (signed === undefined) return;
      try {
        folder.write(acceptedFile(signed.share.taskId, lease), { ...toJson(signed), receipt });
      } catch (error) {
        shares.delete(lease); // from this process's hands: the pool has it
        throw error;
      }
      remove(lease, keepModel);
    },
    accepted: (taskId) =>
      folder
        .list(`accepted/${taskId}`)
        .filter((name) => name.endsWith(".json"))
        .map((name) => folder.read(`accepted/${taskId}/${name}`, acceptedShareSchema)!),
    model(modelRoot) {
      const unsent = [...shares.values()].find(({ signed }) => signed.share.modelRoot === modelRoot);
      if (unsent !== undefined) return unsent.model;
      const file = models.get(modelRoot);
      return file === undefined ? undefined : folder.readBytes(file);
    },
    forget(taskId) {
      if ([...shares.values()].some(({ signed }) => signed.share.taskId === taskId)) return;
      for (const [root, file] of models) if (file.startsWith(`models/${taskId}/`)) models.delete(root);
      folder.remove(`models/${taskId}`);
      folder.remove(`accepted/${taskId}`);
    },
    session,
    keepSession(worker, token) {
      if (session(worker) === token) return;
      sessions.set(worker, token);
      writing("The session's token", () => folder.writeBytes(`sessions/${worker}`, Buffer.from(token)));
    },
  };
}
