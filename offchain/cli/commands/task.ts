import { Option, type Command } from "commander";

import { followTask, publishTask } from "../../agents/publisher.ts";
import { createRegistry, formatAmount, type TaskState } from "../../agents/registry.ts";
import { createStateFolder } from "../../agents/state-folder.ts";
import { openStorage, type StorageOptions } from "../../agents/storage.ts";
import type { HardwareBounds } from "../../evaluation/hardware.ts";
import { PonasError } from "../../protocol/errors.ts";
import { spaceByName } from "../../search/spaces.ts";
import { loadDataset } from "../../training/datasets.ts";
import {
  addChainOptions,
  addStorageOptions,
  amountOption,
  openReader,
  openSession,
  taskNumber,
  wholeNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";
import { addTrainingOptions, trainingSettings, type RecipeOptions } from "../training-options.ts";
import { chooseWindows, readLimits } from "../windows.ts";

interface PublishOptions extends DaemonOptions, StorageOptions, RecipeOptions {
  readonly dataset: string;
  readonly dataDir?: string;
  readonly trainLimit?: number;
  readonly space: string;
  readonly layers: number;
  readonly head: "flatten" | "global-sum";
  readonly maxMacs?: number;
  readonly maxLuts: number;
  readonly minThroughput: number;
  readonly reward: bigint;
  readonly bond: bigint;
  readonly validatorFee: bigint;
  readonly minAccuracy: number;
  readonly maxModelBytes: number;
  readonly initialisation: number;
  readonly training: number;
  readonly keyRelease: number;
  readonly testVote: number;
  readonly reveal: number;
  readonly seal: number;
  readonly open: number;
  readonly shortWindow?: number;
  readonly longWindow?: number;
  readonly seed: number;
  readonly follow?: boolean;
  readonly json?: boolean;
}

function percentage(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 100)) {
    throw new PonasError("usage", `--min-accuracy takes a percentage from 0 to 100, not "${text}".`);
  }
  return value;
}

const seconds = (flag: string, least = 1) => wholeNumber(flag, least, 30 * 86_400);
const hardware = (flag: string) => wholeNumber(flag, 0, 0xffff_ffff);

export function register(program: Command, context: Context): void {
  const task = program.command("task").description("publish and follow tasks");

  const publish = task
    .command("publish")
    .description("escrow a reward for the best network over a space on a data set")
    .requiredOption("--dataset <name>", "mnist, fashion-mnist, cifar10, or a folder of IDX or CIFAR files")
    .option("--data-dir <folder>", "where the data set's files are")
    .option("--train-limit <n>", "only the first n training images", wholeNumber("--train-limit", 1))
    .option("--space <name>", "search space: full, S1 … S9, demo", "demo")
    .option("--layers <n>", "convolution layers of every network", wholeNumber("--layers", 1, 64), 6)
    .addOption(
      new Option("--head <kind>", "what follows the last layer").choices(["flatten", "global-sum"]).default("flatten"),
    )
    .option(
      "--max-macs <n>",
      "multiply–accumulates of one image that a proposal may cost",
      wholeNumber("--max-macs", 1),
    )
    .option(
      "--max-luts <n>",
      "look-up tables that a network may take on an FPGA; 0: any number",
      hardware("--max-luts"),
      0,
    )
    .option(
      "--min-throughput <n>",
      "images a second that it must exceed there; 0: any",
      hardware("--min-throughput"),
      0,
    )
    .addOption(amountOption("--reward", "paid to the winner", "100"))
    .addOption(amountOption("--bond", "lost if the key is not released", "10"))
    .addOption(amountOption("--validator-fee", "shared by the validators", "3"))
    .option("--min-accuracy <percent>", "a claim below it is no candidate", percentage, 50)
    .option("--max-model-bytes <n>", "cap of a model file", wholeNumber("--max-model-bytes", 1, 2 ** 30), 4 * 2 ** 20)
    .option("--initialisation <s>", "seconds to read and fetch", seconds("--initialisation", 0), 60)
    .option("--training <s>", "seconds in which commitments are taken", seconds("--training"), 3600)
    .option("--key-release <s>", "seconds the publisher has to release the key", seconds("--key-release"), 600)
    .option("--test-vote <s>", "seconds in which the test set may be voted wrong", seconds("--test-vote"), 300)
    .option("--reveal <s>", "seconds to open commitments", seconds("--reveal"), 600)
    .option("--seal <s>", "seconds for validators to seal a candidate's result", seconds("--seal"), 600)
    .option("--open <s>", "seconds to publish a candidate's predictions", seconds("--open"), 300)
    .option(
      "--short-window <s>",
      "challenge window with a quorum of validators (600, or the deployment's answer period where that is longer)",
      seconds("--short-window"),
    )
    .option(
      "--long-window <s>",
      "challenge window without one (86400, or the short window where that is longer)",
      seconds("--long-window"),
    )
    .option("--seed <n>", "fixes how the training file is cut into train and validation", wholeNumber("--seed", 0), 0)
    .option("--follow", "stay, release the key, and take back what is left")
    .option("--json", "print JSON");
  addStorageOptions(addChainOptions(addTrainingOptions(publish))).action(async (options: PublishOptions) => {
    const training = trainingSettings(options);
    const { chain, log, stateDir } = await openSession("publisher", options, context);
    const { signal } = context;
    const windows = chooseWindows(options, await readLimits(chain));
    const state = createStateFolder(stateDir);
    const dataset = await loadDataset(options.dataset, {
      dataDir: options.dataDir,
      seed: options.seed,
      limits: { train: options.trainLimit },
      signal,
    });
    context.note(dataset.notes);
    await using storage = await openStorage({ ...options, stateDir, log, signal });
    const shared = { chain, store: storage.store, state, log, signal };
    const input: [number, number, number] = [dataset.height, dataset.width, dataset.channels];
    const trial = dataset.train.count * training.epochs;
    const taskId = await publishTask(
      {
        title: `${dataset.name} over the space ${options.space}`,
        dataset,
        space: spaceByName(options.space),
        template: { input, classes: dataset.classes, depth: options.layers, head: { pool: options.head, hidden: 0 } },
        maxMacs: options.maxMacs,
        training,
        terms: {
          minCorrect: Math.ceil((options.minAccuracy * dataset.test.count) / 100),
          maxModelBytes: options.maxModelBytes,
          maxLuts: options.maxLuts,
          minThroughput: options.minThroughput,
          candidateBondBps: 500,
          difficulty: {
            // 100 trials, forward and backward, of networks at the cap (5 MMAC where none is set)
            flops: BigInt(Math.round(100 * trial * 6 * (options.maxMacs ?? 5_000_000))),
            networkFlops: 10n ** 12n,
            modelBytes: BigInt(options.maxModelBytes),
            dataBytes: BigInt(
              dataset.train.pixels.length + dataset.validation.pixels.length + dataset.test.pixels.length,
            ),
            bandwidth: 10_000_000n,
          },
          phases: {
            initialisation: options.initialisation,
            training: options.training,
            keyRelease: options.keyRelease,
            testVote: options.testVote,
            reveal: options.reveal,
            seal: options.seal,
            open: options.open,
            ...windows,
          },
          reward: options.reward,
          publisherBond: options.bond,
          commitBond: options.reward / 100n,
          commitFee: options.reward / 10_000n,
          validatorFee: options.validatorFee,
        },
      },
      shared,
    );
    context.print(options.json, { taskId: String(taskId) }, `task ${taskId}`);
    if (options.follow === true) await followTask(taskId, shared);
  });

  const follow = task
    .command("follow")
    .description("stay with a task that this account published: release its key, take back what is left")
    .argument("<id>", "task", taskNumber);
  addStorageOptions(addChainOptions(follow)).action(async (taskId: bigint, options: DaemonOptions & StorageOptions) => {
    const { chain, log, stateDir } = await openSession("publisher", options, context);
    const { signal } = context;
    await using storage = await openStorage({ ...options, stateDir, log, signal });
    await followTask(taskId, { chain, store: storage.store, state: createStateFolder(stateDir), log, signal });
  });

  const list = task
    .command("list")
    .description("the tasks that have not ended, best ranking score first")
    .option("--json", "print JSON");
  addChainOptions(list).action(async (options: DaemonOptions & { json?: boolean }) => {
    const registry = createRegistry(await openReader("task", options, context));
    const tasks = await Promise.all(
      (await registry.openTasks()).map(async (id) => ({
        ...(await registry.task(id)),
        score: await registry.rankingScore(id),
      })),
    );
    tasks.sort((a, b) => (a.score < b.score ? -1 : a.score > b.score ? 1 : 0));
    const lines = tasks.map(
      (t) => `task ${t.id}  ${t.phase.padEnd(14)} reward ${formatAmount(t.reward)}  score ${t.score}`,
    );
    context.print(options.json, tasks, lines.length === 0 ? "There is no open task." : lines.join("\n"));
  });

  const show = task
    .command("show")
    .description("one task as it stands")
    .argument("<id>", "task", taskNumber)
    .option("--json", "print JSON");
  addChainOptions(show).action(async (taskId: bigint, options: DaemonOptions & { json?: boolean }) => {
    const registry = createRegistry(await openReader("task", options, context));
    const state = await registry.task(taskId);
    context.print(options.json, state, describe(state));
  });
}

function describe(task: TaskState): string {
  const times = Object.entries(task.schedule).filter(([, time]) => time > 0n);
  return [
    `task ${task.id}: ${task.phase}${task.phase === "Void" ? ` (${task.voidReason})` : ""}`,
    ...(task.hardware === undefined ? [] : [describeHardware(task.hardware)]),
    `publisher ${task.publisher}, reward ${formatAmount(task.reward)}, minimum ${task.minCorrect} of ${task.testCount}`,
    `${task.commitments} commitments${task.examined === null ? "" : `, examined: ${task.examined.participant}`}`,
    ...times.map(([name, time]) => `${name.padEnd(14)} ${new Date(Number(time) * 1000).toISOString()}`),
  ].join("\n");
}

function describeHardware({ maxLuts, minThroughput }: HardwareBounds): string {
  const luts = maxLuts === 0 ? [] : [`at most ${maxLuts} look-up tables`];
  const throughput = minThroughput === 0 ? [] : [`more than ${minThroughput} images per second`];
  return `hardware: ${[...luts, ...throughput].join(", ")}`;
}
