/**
 * The messages between a pool's manager and its miners: JSON-RPC 2.0, methods named after Stratum's (docs/pool.md
 * "Miner protocol"). One schema a message; integers that may pass 2^53 travel as decimal strings, bytes as base64.
 * Receivers ignore fields they do not know, so that a later version may add some.
 */
import { getAddress, isAddress } from "viem";
import { z } from "zod";

import { architectureSchema } from "../protocol/architecture.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import { trainingSettingsSchema } from "../training/settings.ts";

/** Largest run of model bytes in one answer of `mining.model`. */
export const MODEL_CHUNK_BYTES = 256 * 1024;

/** No message is longer than this many bytes of text: a chunk in base64 and some room. */
export const MAX_MESSAGE_BYTES = 512 * 1024;

const hash = z
  .string()
  .regex(/^0x[0-9a-f]{64}$/, "expected 32 bytes in lower-case hex")
  .transform((text) => text as Hex);
const signature = z
  .string()
  .regex(/^0x[0-9a-f]{130}$/, "expected a signature of 65 bytes in lower-case hex")
  .transform((text) => text as Hex);
const address = z
  .string()
  .refine((text) => isAddress(text), "expected an account's address")
  .transform((text) => getAddress(text) as Address);
const integerString = z
  .string()
  .regex(/^\d{1,78}$/, "expected an integer as a decimal string")
  .transform((text) => BigInt(text));
const uint32 = z.int().min(0).max(0xffff_ffff);
const milliseconds = z.int().min(0);
const quantity = z.number().min(0).max(1e30);
const lease = z.int().min(1);
const token = z.string().regex(/^[0-9a-f]{64}$/, "expected a session's token");

export const tallySchema = z
  .object({ correct: uint32, total: z.int().min(1).max(0xffff_ffff) })
  .refine(({ correct, total }) => correct <= total, "more correct than there are samples");
/** Correct predictions out of a number of samples. */
export type Tally = z.infer<typeof tallySchema>;

export const benchmarkSchema = z.object({
  /** training images per second of the benchmark's network */
  imagesPerSecond: z.number().positive().max(1e12),
  /** multiply-accumulates of one image's forward pass through that network */
  macs: z.number().positive().max(1e15),
});
/** A short run of the real training step; speed in MAC/s is the product of the two. */
export type Benchmark = z.infer<typeof benchmarkSchema>;

export const jobSchema = z.object({
  lease,
  taskId: integerString,
  /** a trial of a subspace, or one that starts from a confirmed architecture */
  kind: z.enum(["explore", "exploit"]),
  architecture: architectureSchema,
  /** seed of initial weights and of the order of samples */
  seed: uint32,
  /** the whole recipe, epochs included */
  settings: trainingSettingsSchema,
  /** the model to start from; its bytes come by `mining.model`. null: from fresh weights */
  initial: z
    .object({
      modelRoot: hash,
      /** null: not measured, as of the checkpoint of a trial that another miner began */
      validation: tallySchema.nullable(),
    })
    .nullable(),
  /** epochs that others have trained `initial` for: `settings.epochs` more are left, by the whole recipe's schedule */
  epochsBefore: z.int().min(0).max(100_000).default(0),
  /** what the task's audits hang on, hashed (`auditCommitment`): the shares file reveals it */
  auditCommitment: hash.optional(),
  /** Unix time by which the next heartbeat or the share must be there */
  heartbeatBy: milliseconds,
  /** Unix time at which the lease ends whatever happens */
  endsAt: milliseconds,
});
/** One lease: one trial, to be handed back as one share. */
export type Job = z.infer<typeof jobSchema>;

export const shareSchema = z.object({
  taskId: integerString,
  lease,
  architecture: architectureSchema,
  seed: uint32,
  /** epochs that were run */
  epochs: z.int().min(0).max(100_000),
  /** mean training loss of each epoch; null where it was not a finite number */
  trainLoss: z.array(z.number().nullable()).max(10_000),
  /** canonical accuracy on the task's validation split (docs/evaluation.md) */
  validation: tallySchema,
  /** time spent */
  seconds: quantity,
  /** floating-point operations spent */
  flops: quantity,
  modelRoot: hash,
});
/** One finished trial (docs/pool.md "Share"). */
export type Share = z.infer<typeof shareSchema>;

export const signedShareSchema = z.object({ share: shareSchema, signature });
/** A share with its miner's signature over `shareData`. */
export type SignedShare = z.infer<typeof signedShareSchema>;

export const targetSchema = z.object({ taskId: integerString, best: tallySchema });
/** The pool's best so far; what beats it is sent at once. */
export type Target = z.infer<typeof targetSchema>;

export const pointsReceiptSchema = z.object({
  taskId: integerString,
  miner: address,
  sequence: z.int().min(1),
  points: integerString,
  signature,
});
/** The manager's signed word on all points of a miner in a task (`pointsData`). */
export type PointsReceipt = z.infer<typeof pointsReceiptSchema>;

export const checkpointSchema = z.object({
  lease,
  /** epochs of this lease that the model has behind it; more than in the checkpoint before */
  epochs: z.int().min(1).max(100_000),
  /** its bytes are asked for by `mining.model` at once, and may be forgotten after the answer */
  modelRoot: hash,
});
/** A trial in progress, for whoever has to go on with it. */
export type Checkpoint = z.infer<typeof checkpointSchema>;

export const decisionSchema = z.object({
  id: z.int().min(1),
  taskId: integerString,
  /** Unix time */
  at: milliseconds,
  /** one of offchain/pool/decisions.ts's, or a later version's */
  kind: z.string().max(40),
  miner: address.nullable(),
  /** part of the partition; -1 is the whole space */
  part: z.int().nullable(),
  lease: lease.nullable(),
  /** one sentence */
  reason: z.string().max(1000),
  figures: z.record(z.string(), z.union([z.number(), z.string(), z.array(z.number())])),
});
/** One decision of the manager's, with its reason. */
export type Decision = z.infer<typeof decisionSchema>;

/** Most decisions in one answer of `mining.decisions`. */
export const MAX_DECISIONS = 100;

export const schemeNoticeSchema = z.object({
  /** name and parameters, as the pool's contract has them hashed */
  text: z.string().max(200),
  /** why the miners' word is a part of it; null where every point is counted from a model */
  unproven: z.string().max(500).nullable(),
  /** least chance of an audit, in millionths */
  auditRate: z.int().min(1).max(1_000_000),
});
/** What a pool tells its miners of how it counts. */
export type SchemeNotice = z.infer<typeof schemeNoticeSchema>;

export const shareStandingSchema = z.object({
  lease,
  modelRoot: hash,
  validation: tallySchema,
  /** as of points-schemes.ts, or a later version's */
  audit: z.string().max(20),
  voided: z.boolean(),
  /** why it counts for less than it might */
  reason: z.string().max(2000).nullable(),
  testCorrect: uint32.nullable(),
  baseline: uint32.nullable(),
  /** null until they are counted; may be below zero */
  points: z
    .string()
    .regex(/^-?\d{1,78}$/)
    .nullable(),
});
/** What has become of an accepted share. */
export type ShareStanding = z.infer<typeof shareStandingSchema>;

/** Most shares in one answer of `mining.shares`. */
export const MAX_STANDINGS = 200;

const nothing = z.object({});
const modelRequest = z.object({ modelRoot: hash, offset: z.int().min(0) });
const modelChunk = z.object({
  /** length of the whole model file */
  size: z.int().min(1),
  /** bytes from `offset` on, at most MODEL_CHUNK_BYTES of them */
  data: z.base64().max(Math.ceil(MODEL_CHUNK_BYTES / 3) * 4),
});

/** What a miner may ask of the manager. */
export const MANAGER_METHODS = {
  "mining.subscribe": {
    params: z.object({
      /** name/version of the miner's program */
      client: z.string().min(1).max(100),
      benchmark: benchmarkSchema,
      /** token of a session to go on with */
      session: token.optional(),
    }),
    result: z.object({
      session: token,
      chainId: integerString,
      pool: address,
      receiptKey: address,
      /** a lease's miner is taken for gone when it is silent for so long */
      heartbeatMs: z.int().min(1),
      /** shortest time between two checkpoints of a lease; 0: none are taken */
      checkpointMs: z.int().min(0).default(0),
      challenge: z.object({ nonce: hash, expiresAt: milliseconds }),
      scheme: schemeNoticeSchema.optional(),
    }),
  },
  "mining.authorize": { params: z.object({ miner: address, signature }), result: nothing },
  "mining.submit": {
    params: signedShareSchema,
    result: z.object({
      receipt: signature,
      best: z.boolean(),
      /** whether the pool may still ask for the model */
      keep: z.boolean().default(true),
    }),
  },
  "mining.heartbeat": {
    params: z.object({ lease, epoch: z.number().min(0).max(100_000) }),
    result: z.object({ heartbeatBy: milliseconds, endsAt: milliseconds }),
  },
  "mining.abandon": {
    params: z.object({
      lease,
      /** "infeasible": no trial of it can end in a model; "stopped": this miner cannot go on */
      outcome: z.enum(["infeasible", "stopped"]),
      reason: z.string().max(500),
    }),
    result: nothing,
  },
  /** Keeps the model of a trial in progress; "try again" where it comes too early, and then it may be left out. */
  "mining.checkpoint": { params: checkpointSchema, result: nothing },
  /** What was decided about this miner, ascending by id. */
  "mining.decisions": {
    params: z.object({
      taskId: integerString,
      /** the decisions after this one */
      after: z.int().min(0).default(0),
      limit: z.int().min(1).max(MAX_DECISIONS).default(MAX_DECISIONS),
    }),
    result: z.object({ decisions: z.array(decisionSchema).max(MAX_DECISIONS) }),
  },
  "mining.model": { params: modelRequest, result: modelChunk },
  /** What has become of this miner's shares in a task, ascending by lease. */
  "mining.shares": {
    params: z.object({
      taskId: integerString,
      /** the shares of leases after this one */
      after: z.int().min(0).default(0),
    }),
    result: z.object({ shares: z.array(shareStandingSchema).max(MAX_STANDINGS) }),
  },
  /** How this account stands with the pool. */
  "mining.status": {
    params: nothing,
    result: z.object({
      miner: address,
      /** links of this account, and how many it may have */
      sessions: z.int().min(0),
      maxSessions: z.int().min(0),
      /** messages of this link against the protocol, how many end it, and the last one's reason */
      offences: z.int().min(0),
      maxOffences: z.int().min(0),
      lastOffence: z.string().max(1000).nullable(),
      /** requests a second that this account may make for long, and how many at once */
      requestsPerSecond: z.number().min(0),
      requestBurst: z.int().min(0),
    }),
  },
  "mining.points": {
    params: z.object({ taskId: integerString }),
    result: z.object({ receipt: pointsReceiptSchema.nullable() }),
  },
} as const;

/** What the manager may tell or ask of a miner. */
export const MINER_METHODS = {
  /** A job, or that there is none and why; it replaces whatever job the miner has. */
  "mining.notify": {
    params: z.object({ job: jobSchema.nullable(), reason: z.string().max(500).optional() }),
    result: null,
  },
  "mining.set_target": { params: targetSchema, result: null },
  "mining.points": { params: pointsReceiptSchema, result: null },
  "mining.model": { params: modelRequest, result: modelChunk },
} as const;

/** JSON-RPC's own error codes, and the pool's. */
export const RPC_ERROR = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  /** subscribe and authorize come first */
  unauthorized: -32001,
  /** final: the same request will be refused again */
  refused: -32002,
  /** final, and the miner is shut out */
  banned: -32003,
  /** the same request may succeed later */
  retry: -32004,
} as const;

/** What an error says beside its sentence, where a program may want to know. */
export const errorDataSchema = z.discriminatedUnion("kind", [
  /** too many requests of this account: the next one may come then */
  z.object({ kind: z.literal("rate"), retryAfterMs: z.int().min(0) }),
  /** shut out for some time, for offences */
  z.object({ kind: z.literal("shut-out"), retryAfterMs: z.int().min(0), reason: z.string().max(1000) }),
  /** shut out for good */
  z.object({ kind: z.literal("banned"), reason: z.string().max(1000) }),
]);
export type ErrorData = z.infer<typeof errorDataSchema>;

/** Why a manager's endpoint ends a connection; WebSocket close codes of the range for applications. */
export const CLOSE = {
  banned: 4001,
  offences: 4002,
  replaced: 4003,
  silent: 4004,
  flood: 4005,
  slow: 4006,
  busy: 4007,
  goingAway: 1001,
} as const;
