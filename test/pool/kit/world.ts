/** A small task, its models, and keys: what every test of the pool starts from. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { sql } from "drizzle-orm";
import { pino } from "pino";
import { privateKeyToAccount } from "viem/accounts";

import { evaluateModel } from "../../../offchain/evaluation/evaluate.ts";
import { encodeModel, modelRoot } from "../../../offchain/evaluation/model.ts";
import { openPoolDatabase, type PoolDatabase } from "../../../offchain/pool/database.ts";
import { createPoolManager, type PoolManager, type PoolManagerOptions } from "../../../offchain/pool/manager.ts";
import type { Job, Share } from "../../../offchain/pool/messages.ts";
import type { Evaluate } from "../../../offchain/pool/shares.ts";
import type { PoolIdentity, Signer } from "../../../offchain/pool/signatures.ts";
import type { PoolTask, PoolTaskDescriptor } from "../../../offchain/pool/task.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import type { Samples } from "../../../offchain/training/datasets.ts";
import { randomModel } from "../../evaluation/random-model.ts";

export const IDENTITY: PoolIdentity = { chainId: 31337n, pool: "0x00000000000000000000000000000000DeaDBeef" };
export const SILENT = pino({ level: process.env.POOL_TEST_LOG ?? "silent" });

/** Key number n of the tests. */
export function signerOf(n: number): Signer {
  const account = privateKeyToAccount(`0x${(n + 1).toString(16).padStart(64, "0")}`);
  return { address: account.address, sign: (data) => account.signTypedData(data as never) };
}
export const RECEIPT_KEY = signerOf(1000);

export const DESCRIPTOR: PoolTaskDescriptor = {
  template: { input: [4, 4, 1], classes: 3, depth: 2, head: { pool: "global-sum", hidden: 0 } },
  space: {
    kernelHeight: [1, 3],
    kernelWidth: [1, 3],
    filters: [2, 3, 4],
    strideHeight: [1, 2],
    strideWidth: [1, 2],
    poolSize: [1],
    actIntBits: [2, 3],
    actFracBits: [4, 5],
    weightIntBits: [2],
    weightFracBits: [4, 5],
  },
  settings: { epochs: 3, batch: 32, learningRate: 3e-3, schedule: "cosine", optimizer: "adam" },
  maxModelBytes: 100_000,
  trainCount: 100,
  validationCount: 30,
};

function samplesOf(seed: string, count: number): Samples {
  const random = createRandom(seed);
  const [height, width, channels] = DESCRIPTOR.template.input;
  return {
    count,
    pixels: Uint8Array.from({ length: count * height * width * channels }, () => random.integer(256)),
    // Classes of unequal size, so that random networks differ in accuracy and some are better than chance.
    labels: Uint8Array.from({ length: count }, () => random.choice([0, 0, 0, 0, 0, 1, 1, 1, 2])),
  };
}
export const VALIDATION = samplesOf("validation", DESCRIPTOR.validationCount);
export const TEST = samplesOf("test", 40);

export function taskOf(taskId: bigint, changes: Partial<PoolTask> = {}): PoolTask {
  return { taskId, descriptor: DESCRIPTOR, validation: VALIDATION, endsAt: Date.now() + 3_600_000, ...changes };
}

export const evaluate: Evaluate = (bytes, request) => evaluateModel(bytes, { ...request, engine: "reference" });

export interface Trial {
  readonly share: Share;
  readonly model: Uint8Array;
}

/** What a miner makes of a job: a random network in place of a trained one, with its true accuracy. */
export async function trialOf(job: Job, salt = ""): Promise<Trial> {
  const model = randomModel(createRandom(`${job.seed} ${salt}`), job.architecture);
  const bytes = encodeModel(model);
  const { correct, total } = await evaluate(bytes, { ...VALIDATION, maxBytes: bytes.length });
  const { taskId, lease, architecture, seed, settings } = job;
  return {
    model: bytes,
    share: {
      taskId,
      lease,
      architecture,
      seed,
      epochs: settings.epochs,
      trainLoss: [1.5, 0.1 + 0.2, null],
      validation: { correct, total },
      seconds: 1.25,
      flops: 1e9,
      modelRoot: modelRoot(model),
    },
  };
}

const made: string[] = [];
let shared: PoolDatabase | undefined;

export function scratchFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), "ponas-pool-"));
  made.push(dir);
  return dir;
}

/** Closes and removes what the tests of a file have opened. */
export async function cleanUp(): Promise<void> {
  await shared?.close();
  shared = undefined;
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true, force: true });
}

/** An empty database: one for all tests of a file, emptied for each, since making one takes seconds. */
export async function emptyDatabase(): Promise<PoolDatabase> {
  shared ??= await openPoolDatabase(scratchFolder());
  await shared.queries.execute(sql`TRUNCATE tasks, miners RESTART IDENTITY CASCADE`);
  return shared;
}

export interface TestPool {
  readonly manager: PoolManager;
  readonly database: PoolDatabase;
  /** moves the manager's clock */
  advance(ms: number): void;
  now(): number;
}

/** A manager over an empty database, or over one that another manager has left. */
export async function createTestPool(
  options: Partial<PoolManagerOptions> & { startAt?: number } = {},
): Promise<TestPool> {
  const { startAt = Date.now(), ...given } = options;
  const database = options.database ?? (await emptyDatabase());
  let shift = startAt - Date.now();
  const now = (): number => Date.now() + shift;
  const manager = createPoolManager({
    identity: IDENTITY,
    receiptKey: RECEIPT_KEY,
    evaluate,
    seed: 7,
    log: SILENT,
    clock: now,
    ...given,
    database,
  });
  return {
    manager,
    database,
    now,
    advance: (ms) => {
      shift += ms;
    },
  };
}
