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
import { createRegistry, hasEnded, toHex, withdrawCredit, type Registry, type TaskParams } from "./registry.ts";
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
  checkTemplate(dataset, template);
  await refuseForgotten(registry, chain, state);
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
    spaceHash: spaceHash(space, template),
    testCount: dataset.test.count,
  });
  state.write(`published/${hash}.json`, { key, keyHash: hash, taskId: String(taskId) });
  log.info({ event: "publish", taskId: String(taskId) }, `published task ${taskId}: ${title}`);
  return taskId;
}

/**
 * The chain learns sizes and classes of the test set by its root alone, and models by the template.
 * @throws PonasError bad-input where the two differ: no model could count on such a test set
 */
function checkTemplate(dataset: Dataset, template: Template): void {
  const { height, width, channels, classes } = shapeOf(template);
  const asked = `${height}×${width}×${channels} with ${classes} classes`;
  const given = `${dataset.height}×${dataset.width}×${dataset.channels} with ${dataset.classes} classes`;
  if (asked !== given) {
    throw new PonasError("bad-input", `The task asks for models of ${asked}, but its samples are ${given}.`);
  }
  for (const split of ["train", "validation", "test"] as const) {
    const { pixels, labels, count } = dataset[split];
    if (pixels.length !== count * height * width * channels || labels.length !== count) {
      throw new PonasError(
        "bad-input",
        `The ${split} split has ${pixels.length} pixels and ${labels.length} labels, which are not ${count} samples of ${asked}.`,
      );
    }
    const stray = labels.findIndex((label) => label >= classes);
    if (stray >= 0) {
      throw new PonasError(
        "bad-input",
        `Sample ${stray} of the ${split} split has label ${labels[stray]}, of ${asked}.`,
      );
    }
  }
}

/** How many of the newest tasks are looked at for those of a run that was stopped before it knew of them. */
const RECENT_TASKS = 200n;

/**
 * Looks for tasks that an earlier run has paid for without saying so, since it was stopped in between; they are written
 * down, so that this is said once.
 * @throws PonasError bad-input naming them
 */
async function refuseForgotten(registry: Registry, chain: ChainClient, state: StateFolder): Promise<void> {
  const names = state.list("published").filter((name) => name.endsWith(".json"));
  const secrets = names.map((name) => state.read(`published/${name}`, secretSchema)!);
  const unknown = new Map(secrets.filter(({ taskId }) => taskId === undefined).map((one) => [one.keyHash, one]));
  if (unknown.size === 0) return;
  const found: bigint[] = [];
  for (const id of await registry.latestTasks(RECENT_TASKS)) {
    const { keyHash: hash, publisher } = await registry.task(id);
    const secret = unknown.get(hash);
    if (secret === undefined || publisher !== chain.account) continue;
    state.write(`published/${hash}.json`, { ...secret, taskId: String(id) });
    found.push(id);
  }
  if (found.length === 0) return;
  throw new PonasError(
    "bad-input",
    `An earlier run was stopped after it had published task ${found.join(", ")}; nothing was published now.`,
    { cure: `follow it with "ponas task follow ${found[0]}"; run this again to publish another one` },
  );
}

/** The duty that releases a task's key as soon as training has ended. */
function createRelease(taskId: bigint, registry: Registry, { state, log }: PublisherOptions): Duty {
  return {
    name: "release",
    run: async () => {
      const task = await registry.task(taskId);
      if (task.phase === "Initialisation" || task.phase === "Training") return;
      if (task.phase !== "AwaitKey") {
        if (task.key === null)
          log.error({ event: "late", taskId: String(taskId) }, `the key of task ${taskId} was not released in time`);
        return true;
      }
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
      if (!hasEnded({ phase })) return;
      await withdrawCredit(registry, chain, log);
      const end = phase === "Confirmed" ? "ended with a block" : `is void (${voidReason})`;
      log.info({ event: "end", taskId: String(taskId), phase }, `task ${taskId} ${end}`);
      return true;
    },
  };
  const keeper = createKeeper({ taskId, registry, log, patience: 6 });
  await runDuties({ chain, log, signal, duties: [createRelease(taskId, registry, options), keeper, takeBack] });
}
