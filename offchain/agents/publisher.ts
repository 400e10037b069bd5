/**
 * The publisher: puts a data set's splits on IPFS, the test set encrypted, escrows the reward, releases the key when
 * training has ended, and takes back what is left.
 */
import { randomBytes } from "node:crypto";

import { z } from "zod";

import type { Space, Template } from "../protocol/architecture.ts";
import { commitTestSet, keyHash, spaceHash, type Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import type { ModelStore } from "../storage/model-store.ts";
import { encodeSamples, encryptTestSet, type Dataset, type Samples } from "../training/datasets.ts";
import type { TrainingSettings } from "../training/settings.ts";
import { runDuties, type Duty } from "./duties.ts";
import { createKeeper } from "./keeper.ts";
import { createRegistry, toHex, type Registry, type TaskParams } from "./registry.ts";
import type { StateFolder } from "./state-folder.ts";
import { shapeOf, type TaskDescriptor } from "./task-descriptor.ts";

export interface TaskPlan {
  readonly title: string;
  readonly dataset: Dataset;
  readonly space: Space;
  readonly template: Template;
  readonly maxMacs?: number;
  readonly training: TrainingSettings;
  /** what is fixed by the plan's files, is not asked for */
  readonly terms: Omit<TaskParams, "descriptorCid" | "keyHash" | "testRoot" | "spaceHash" | "testCount">;
}

export interface PublisherOptions {
  readonly chain: ChainClient;
  readonly store: ModelStore;
  readonly state: StateFolder;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const hex32 = z.string().regex(/^0x[0-9a-f]{64}$/) as unknown as z.ZodType<Hex>;
const secretSchema = z.strictObject({ key: hex32, keyHash: hex32, taskId: z.string().regex(/^\d+$/).optional() });

/**
 * Publishes a task. The key is on disk before anything is on chain: whatever is killed, it can still be released.
 * @returns the task's id
 */
export async function publishTask(
  plan: TaskPlan,
  { chain, store, state, log, signal }: PublisherOptions,
): Promise<bigint> {
  const { title, dataset, space, template, maxMacs, training, terms } = plan;
  const registry = createRegistry(chain);
  const put = async (
    samples: Samples,
    encrypt?: (bytes: Uint8Array) => Uint8Array,
  ): Promise<{ cid: string; count: number }> => {
    const bytes = encodeSamples(samples);
    const { cid } = await store.put(encrypt === undefined ? bytes : encrypt(bytes), { signal });
    return { cid, count: samples.count };
  };
  if (terms.minCorrect > dataset.test.count) {
    throw new PonasError(
      "bad-input",
      `A minimum of ${terms.minCorrect} correct is more than the ${dataset.test.count} test samples.`,
    );
  }
  const key: Hex = `0x${randomBytes(32).toString("hex")}`;
  const hash = keyHash(chain.domain, chain.account, key);
  const descriptor: TaskDescriptor = {
    version: 1,
    title,
    template,
    space,
    maxMacs,
    data: {
      train: await put(dataset.train),
      validation: await put(dataset.validation),
      encryptedTest: await put(dataset.test, (bytes) => encryptTestSet(bytes, Buffer.from(key.slice(2), "hex"))),
    },
    training,
  };
  const { cidBytes } = await store.put(Buffer.from(JSON.stringify(descriptor)), { signal });
  const { testRoot } = commitTestSet(dataset.test.pixels, dataset.test.labels, shapeOf(template));
  state.write(`published/${hash}.json`, { key, keyHash: hash });
  const taskId = await registry.publish({
    ...terms,
    descriptorCid: toHex(cidBytes),
    keyHash: hash,
    testRoot,
    spaceHash: spaceHash(space),
    testCount: dataset.test.count,
  });
  log.info({ event: "publish", taskId: String(taskId) }, `published task ${taskId}: ${title}`);
  return taskId;
}

/** The duty that releases a task's key as soon as training has ended. */
function createRelease(taskId: bigint, registry: Registry, { state, log }: PublisherOptions): Duty {
  return {
    name: "release",
    run: async () => {
      const task = await registry.task(taskId);
      if (task.phase === "Initialisation" || task.phase === "Training") return;
      if (task.phase !== "AwaitKey") return true;
      const secret = state.read(`published/${task.keyHash}.json`, secretSchema);
      if (secret === undefined) {
        throw new PonasError("not-found", `The key of task ${taskId}'s test set is not in ${state.path}.`, {
          cure: "run this with the state folder the task was published from, before the key's deadline",
        });
      }
      await registry.release(taskId, secret.key);
      log.info({ event: "release", taskId: String(taskId) }, "released the key of the test set");
      return true;
    },
  };
}

/** Follows a task to its end: releases the key, keeps it moving, withdraws what comes back. */
export async function followTask(taskId: bigint, options: PublisherOptions): Promise<void> {
  const { chain, log, signal } = options;
  const registry = createRegistry(chain);
  const takeBack: Duty = {
    name: "withdraw",
    run: async () => {
      const { phase, voidReason } = await registry.task(taskId);
      if (phase !== "Confirmed" && phase !== "Void") return;
      await withdrawCredit(registry, chain, log);
      const end = phase === "Confirmed" ? "ended with a block" : `is void (${voidReason})`;
      log.info({ event: "end", taskId: String(taskId), phase }, `task ${taskId} ${end}`);
      return true;
    },
  };
  const keeper = createKeeper({ taskId, registry, log, patience: 6 });
  await runDuties({ chain, log, signal, duties: [createRelease(taskId, registry, options), keeper, takeBack] });
}

/** Withdraws what the registry owes this account, if it owes anything. */
export async function withdrawCredit(registry: Registry, chain: ChainClient, log: Log): Promise<void> {
  const credit = await registry.credit(chain.account);
  if (credit === 0n) return;
  await registry.withdraw();
  log.info({ event: "withdraw-credit", amount: String(credit) }, `withdrew ${formatAmount(credit)}`);
}

/** An amount of the asset (18 decimals) for people, without needless zeros: "12.5". */
export function formatAmount(units: bigint): string {
  const whole = units / 10n ** 18n;
  const fraction = (units % 10n ** 18n).toString().padStart(18, "0").replace(/0+$/, "");
  return fraction === "" ? String(whole) : `${whole}.${fraction}`;
}
