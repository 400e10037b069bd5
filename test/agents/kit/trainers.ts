/** Trainers that learn nothing: random networks with their true accuracy, as fast or as slow as a test wants them. */
import type { PoolWorker } from "../../../offchain/agents/pool-jobs.ts";
import type { TaskState } from "../../../offchain/agents/registry.ts";
import type { TaskFiles } from "../../../offchain/agents/task-files.ts";
import { encodeModel } from "../../../offchain/evaluation/model.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import type { TrainingOutcome, TrainingRequest } from "../../../offchain/training/train.ts";
import { randomModel } from "../../evaluation/random-model.ts";
import { DESCRIPTOR, evaluate, VALIDATION } from "../../pool/kit/world.ts";

/** The task of the pool's tests, as the chain and IPFS would have it. */
export const taskOf = (taskId: bigint): Promise<TaskState> =>
  Promise.resolve({ id: taskId, maxModelBytes: DESCRIPTOR.maxModelBytes } as TaskState);
export const files = { samples: () => Promise.resolve(VALIDATION) } as unknown as TaskFiles;

async function outcomeOf({ architecture, seed, settings, doneEpochs = 0 }: TrainingRequest): Promise<TrainingOutcome> {
  const model = randomModel(createRandom(`${seed}`), architecture);
  const bytes = encodeModel(model);
  const { correct, total } = await evaluate(bytes, { ...VALIDATION, maxBytes: bytes.length });
  const epochsRun = settings.epochs - doneEpochs;
  return {
    model,
    bytes,
    trainLoss: Array.from({ length: epochsRun }, () => 1),
    validation: { correct, total },
    epochValidation: [],
    bestEpoch: settings.epochs,
    infeasible: null,
    epochsRun,
    imagesPerSecond: 1,
    seconds: 0.01,
    flops: 1e6,
    engine: "onnx",
    diverged: false,
    dead: false,
  };
}

/** Ends after so many milliseconds. */
export function quickTrainer(ms = 5): PoolWorker["worker"] {
  return {
    train: async (request, { signal } = {}) => {
      await sleep(ms, signal);
      return outcomeOf(request);
    },
  };
}

/** Hands out a checkpoint after epoch 2, and then trains until it is stopped. */
export function endlessTrainer(onCheckpoint: () => void = () => undefined): PoolWorker["worker"] {
  return {
    train: async (request, options = {}) => {
      const { bytes } = await outcomeOf(request);
      const epoch = (request.doneEpochs ?? 0) + 2;
      options.onCheckpoint?.({ epoch, bytes, trainLoss: [1, 1] });
      onCheckpoint();
      await sleep(3_600_000, options.signal);
      throw new Error("an hour has passed");
    },
  };
}
