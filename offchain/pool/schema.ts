/**
 * The tables of migrations/*.sql as drizzle sees them; test/pool/database.ts compares the two. What the columns mean
 * stands in the SQL. Only standard PostgreSQL is used: the embedded database and a server take the same.
 */
import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  integer,
  jsonb,
  numeric,
  pgTable,
  primaryKey,
  text,
} from "drizzle-orm/pg-core";

import type { Architecture } from "../protocol/architecture.ts";
import type { Address, Hex } from "../protocol/bytes.ts";
import type { SearchSpace } from "../search/spaces.ts";
import type { TrainingSettings } from "../training/settings.ts";

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });
const hex = (name: string) => text(name).$type<Hex>();
const account = (name: string) => text(name).$type<Address>();
const time = (name: string) => bigint(name, { mode: "number" });
const wholeNumber = (name: string) => bigint(name, { mode: "number" });
const task = () => numeric("task_id", { precision: 78, scale: 0, mode: "bigint" });
const amount = (name: string) => numeric(name, { precision: 39, scale: 0, mode: "bigint" });

export const tasks = pgTable("tasks", {
  taskId: task().primaryKey(),
  descriptor: jsonb("descriptor").$type<unknown>().notNull(),
  subspaces: jsonb("subspaces").$type<SearchSpace[]>().notNull(),
  seed: wholeNumber("seed").notNull(),
  openedAt: time("opened_at").notNull(),
  endsAt: time("ends_at").notNull(),
  closed: boolean("closed").notNull().default(false),
});

export const miners = pgTable("miners", {
  address: account("address").primaryKey(),
  firstSeen: time("first_seen").notNull(),
  bannedAt: time("banned_at"),
  banReason: text("ban_reason"),
});

export const sessions = pgTable("sessions", {
  id: text("id").primaryKey(),
  miner: account("miner").notNull(),
  client: text("client").notNull(),
  speed: doublePrecision("speed").notNull(),
  measured: integer("measured").notNull().default(0),
  lastSeen: time("last_seen").notNull(),
});

export const leases = pgTable("leases", {
  id: wholeNumber("id").primaryKey().generatedAlwaysAsIdentity(),
  taskId: task().notNull(),
  sessionId: text("session_id").notNull(),
  miner: account("miner").notNull(),
  kind: text("kind", { enum: ["explore", "exploit"] }).notNull(),
  part: integer("part"),
  architecture: jsonb("architecture").$type<Architecture>().notNull(),
  seed: wholeNumber("seed").notNull(),
  settings: jsonb("settings").$type<TrainingSettings>().notNull(),
  parentShare: wholeNumber("parent_share"),
  continues: boolean("continues").notNull().default(false),
  state: text("state", {
    enum: ["live", "expired", "reissued", "done", "refused", "infeasible", "given-up"],
  }).notNull(),
  attempt: integer("attempt").notNull().default(1),
  issuedAt: time("issued_at").notNull(),
  heartbeatBy: time("heartbeat_by").notNull(),
  endsAt: time("ends_at").notNull(),
  epoch: doublePrecision("epoch").notNull().default(0),
  shareDigest: hex("share_digest"),
  refusal: text("refusal"),
  resumes: wholeNumber("resumes"),
  epochsBefore: integer("epochs_before").notNull().default(0),
});

export const models = pgTable(
  "models",
  {
    taskId: task().notNull(),
    modelRoot: hex("model_root").notNull(),
    bytes: bytea("bytes").notNull(),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.modelRoot] })],
);

export const shares = pgTable("shares", {
  id: wholeNumber("id").primaryKey().generatedAlwaysAsIdentity(),
  taskId: task().notNull(),
  leaseId: wholeNumber("lease_id").notNull(),
  miner: account("miner").notNull(),
  /** a Share as JSON text has it: integers beyond 2^53 as decimal strings */
  share: jsonb("share").$type<unknown>().notNull(),
  signature: hex("signature").notNull(),
  receipt: hex("receipt").notNull(),
  modelRoot: hex("model_root").notNull(),
  correct: integer("correct").notNull(),
  total: integer("total").notNull(),
  acceptedAt: time("accepted_at").notNull(),
  voided: boolean("voided").notNull().default(false),
  work: amount("work").notNull().default(0n),
  chance: integer("chance").notNull().default(1_000_000),
  audit: text("audit", { enum: ["none", "due", "passed", "false", "missing"] }).notNull(),
  holder: text("holder", { enum: ["manager", "miner", "nobody"] }).notNull(),
  reason: text("reason"),
  testCorrect: integer("test_correct"),
  testTotal: integer("test_total"),
  baseline: integer("baseline"),
  points: amount("points"),
});

export const audits = pgTable("audits", {
  taskId: task().primaryKey(),
  secret: hex("secret").notNull(),
  rate: integer("rate").notNull(),
  handOverBy: time("hand_over_by"),
  testCount: integer("test_count"),
});

export const receipts = pgTable(
  "receipts",
  {
    taskId: task().notNull(),
    miner: account("miner").notNull(),
    sequence: wholeNumber("sequence").notNull(),
    points: amount("points").notNull(),
    signature: hex("signature").notNull(),
    issuedAt: time("issued_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.miner, table.sequence] })],
);

export const strategies = pgTable(
  "strategies",
  {
    taskId: task().notNull(),
    part: integer("part").notNull(),
    state: jsonb("state").$type<unknown>().notNull(),
    sequence: integer("sequence").notNull().default(0),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.part] })],
);

export const strategyEvents = pgTable(
  "strategy_events",
  {
    taskId: task().notNull(),
    part: integer("part").notNull(),
    sequence: integer("sequence").notNull(),
    architecture: jsonb("architecture").$type<Architecture>(),
    reward: doublePrecision("reward"),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.part, table.sequence] })],
);

export const parts = pgTable(
  "parts",
  {
    taskId: task().notNull(),
    part: integer("part").notNull(),
    space: jsonb("space").$type<SearchSpace>().notNull(),
    bits: doublePrecision("bits").notNull(),
    parent: integer("parent"),
    weight: doublePrecision("weight"),
    best: doublePrecision("best").notNull().default(0),
    trials: integer("trials").notNull().default(0),
    sessionId: text("session_id"),
    trialsBefore: integer("trials_before").notNull().default(0),
    keptUntil: time("kept_until").notNull().default(0),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.part] })],
);

export const roles = pgTable(
  "roles",
  {
    taskId: task().notNull(),
    sessionId: text("session_id").notNull(),
    strong: boolean("strong").notNull(),
    backup: boolean("backup").notNull().default(false),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.sessionId] })],
);

export const spread = pgTable("spread", {
  taskId: task().primaryKey(),
  sigma: doublePrecision("sigma").notNull(),
  mean: doublePrecision("mean").notNull(),
  samples: integer("samples").notNull(),
});

export const decisions = pgTable("decisions", {
  id: wholeNumber("id").primaryKey().generatedAlwaysAsIdentity(),
  taskId: task().notNull(),
  at: time("at").notNull(),
  kind: text("kind").notNull(),
  miner: account("miner"),
  sessionId: text("session_id"),
  part: integer("part"),
  leaseId: wholeNumber("lease_id"),
  reason: text("reason").notNull(),
  figures: jsonb("figures").$type<Record<string, number | string | number[]>>().notNull(),
});

export const checkpoints = pgTable("checkpoints", {
  leaseId: wholeNumber("lease_id").primaryKey(),
  taskId: task().notNull(),
  epochs: integer("epochs").notNull(),
  modelRoot: hex("model_root").notNull(),
  bytes: bytea("bytes").notNull(),
  takenAt: time("taken_at").notNull(),
});

export type PartRow = typeof parts.$inferSelect;
export type LeaseRow = typeof leases.$inferSelect;
export type SessionRow = typeof sessions.$inferSelect;
export type ShareRow = typeof shares.$inferSelect;
