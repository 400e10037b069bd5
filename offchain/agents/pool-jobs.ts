/**
 * The jobs of a pool's miner: several workers, each with a link and so a lease of its own, train what the manager leases
 * to them and hand it in. A miner that is stopped gives its leases back, with what its trainings have come to.
 */
import { decodeModel, modelRoot } from "../evaluation/model.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { sleep } from "../protocol/wait.ts";
import type { Checkpoint } from "../training/train.ts";
import type { TrainingWorker } from "../training/worker.ts";
import { percent } from "./claimant.ts";
import type { MinerJob, PoolConnection, ShareVerdict } from "./pool-connection.ts";
import type { TaskState } from "./registry.ts";
import type { TaskFiles } from "./task-files.ts";

/** A training process and the link whose leases it works off: the speed that the pool measures there is its own. */
export interface PoolWorker {
  readonly connection: PoolConnection;
  readonly worker: Pick<TrainingWorker, "train">;
}

export interface JobOptions {
  /** a task as the chain has it */
  readonly taskOf: (taskId: bigint) => Promise<TaskState>;
  readonly workers: readonly PoolWorker[];
  readonly files: TaskFiles;
  /** share of the time to use, above 0 and up to 1 */
  readonly throttle?: number;
  /** told of a task before the first share of it is handed in */
  readonly onTask: (taskId: bigint) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** After a job that failed, so long before the next one: doubled from the first to the last, in milliseconds. */
const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 60_000;
/** A training process hands out its model so often at most, for the case that the miner is stopped. */
const SNAPSHOT_MS = 2000;
/** A stopping miner waits so long for the pool: to take its leases back, or to answer to a share. */
const FAREWELL_MS = 3000;

/** What the workers of a miner have done together. */
interface Tally {
  trials: number;
  best: number;
}

/**
 * Works until the signal fires, and then gives back what it has not finished.
 * @throws PonasError pool where no link will ever have a job again
 */
export async function runJobs(options: JobOptions): Promise<void> {
  const { workers, log } = options;
  const tally: Tally = { trials: 0, best: 0 };
  const shutOut: PonasError[] = [];
  await Promise.all(
    workers.map(async (worker, index) => {
      try {
        await runWorker(worker, log.child(workers.length === 1 ? {} : { worker: index }), tally, options);
      } catch (error) {
        if (!(error instanceof PonasError && error.code === "pool")) throw error;
        const news = !shutOut.some(({ message }) => message === error.message);
        shutOut.push(error);
        if (news && shutOut.length < workers.length) log.warn({ worker: index }, explainError(error));
      }
    }),
  );
  if (shutOut.length === workers.length) throw shutOut[0]!;
}

/** One job after another. A trial that fails is given back; the next may well succeed. */
async function runWorker(
  { connection, worker }: PoolWorker,
  log: Log,
  tally: Tally,
  { taskOf, files, throttle, onTask, signal }: JobOptions,
): Promise<void> {
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    let job: MinerJob;
    try {
      job = await connection.nextJob(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const { lease } = job;
    const progress = createProgress(job, connection, log);
    let farewell: Promise<void> | undefined;
    const stop = (): void => {
      farewell = progress.giveBack("its miner was stopped");
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      await runTrial(job, progress);
      pause = FIRST_PAUSE_MS;
    } catch (error) {
      if (signal.aborted) return;
      if (job.signal.aborted) {
        log.info({ event: "training", lease, best: shown(tally.best, 0) }, `lease ${lease} was taken back`);
        continue;
      }
      if (error instanceof PonasError && error.code === "pool") throw error;
      log.warn({ lease }, `the trial of lease ${lease} failed: ${explainError(error)}`);
      await progress.giveBack(explainError(error));
      // Whatever is wrong with this machine, the pool is not to be flooded with it.
      await sleep(pause, signal).catch(() => undefined);
      pause = Math.min(2 * pause, LAST_PAUSE_MS);
    } finally {
      signal.removeEventListener("abort", stop);
      await farewell;
    }
  }

  async function runTrial(job: MinerJob, progress: Progress): Promise<void> {
    const { lease, taskId, kind, architecture, seed, epochsBefore } = job;
    const task = await taskOf(taskId);
    const train = await files.samples(task, "train");
    const validation = await files.samples(task, "validation");
    log.info(
      { event: "training", lease, best: shown(tally.best, validation.count) },
      `trial ${tally.trials + 1}: ${kind}, lease ${lease}${epochsBefore > 0 ? `, on from epoch ${epochsBefore}` : ""}`,
    );
    const initial =
      job.initialBytes === null ? undefined : decodeModel(job.initialBytes, { maxBytes: task.maxModelBytes });
    const settings = { ...job.settings, epochs: epochsBefore + job.settings.epochs };
    const outcome = await worker.train(
      { architecture, train, validation, settings, seed, initial, doneEpochs: epochsBefore, throttle },
      {
        signal: AbortSignal.any([job.signal, signal]),
        onEpoch: ({ epoch }) => connection.progress(epoch - epochsBefore),
        onCheckpoint: progress.keep,
        checkpointMs: SNAPSHOT_MS,
      },
    );
    progress.end();
    if (outcome.infeasible !== null) return connection.abandon(lease, "infeasible", outcome.infeasible);
    try {
      onTask(taskId);
    } catch (error) {
      log.error({ event: "disk" }, `task ${taskId} could not be written down: ${explainError(error)}`);
    }
    const { trainLoss, validation: score, epochsRun, seconds, flops, model, bytes } = outcome;
    const submitted = connection.submit(
      {
        taskId,
        lease,
        architecture,
        seed,
        epochs: epochsRun,
        // A loss that was no number any more ended the trial; it stands as null behind the others.
        trainLoss: [...trainLoss, ...(outcome.diverged ? [NaN] : [])].map((loss) =>
          Number.isFinite(loss) ? loss : null,
        ),
        validation: score,
        seconds,
        flops,
        modelRoot: modelRoot(model),
      },
      bytes,
    );
    const verdict = await withinFarewell(submitted, signal);
    if (verdict === null) return log.info({ lease }, `the share of lease ${lease} is kept for the next start`);
    tally.trials += 1;
    tally.best = Math.max(tally.best, score.correct);
    log.info(
      {
        event: "trial",
        lease,
        correct: score.correct,
        total: score.total,
        best: shown(tally.best, score.total),
        status: verdict.status,
      },
      `trial ${tally.trials}: ${percent(score.correct, score.total)} on validation in ${seconds.toFixed(0)} s, ${endOf(verdict)}`,
    );
  }
}

function endOf(verdict: ShareVerdict): string {
  if (verdict.status === "refused") return `refused: ${verdict.reason}`;
  return verdict.best ? "accepted, the pool's best" : "accepted";
}

function shown(best: number, total: number): string {
  return best === 0 || total === 0 ? "–" : percent(best, total);
}

/** The verdict, or null where the miner is stopped and the pool does not answer soon. */
async function withinFarewell(verdict: Promise<ShareVerdict>, signal: AbortSignal): Promise<ShareVerdict | null> {
  const answered = new AbortController();
  const impatience = async (): Promise<null> => {
    await new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      for (const end of [signal, answered.signal]) end.addEventListener("abort", () => resolve(), { once: true });
    });
    await sleep(FAREWELL_MS, answered.signal).catch(() => undefined);
    return null;
  };
  try {
    return await Promise.race([verdict, impatience()]);
  } finally {
    answered.abort();
  }
}

// ————— What a trial has come to —————

interface Progress {
  /** Takes a checkpoint of the training, and hands it to the pool where the pool wants one by now. */
  keep(checkpoint: Checkpoint): void;
  /** The training is over: from here on the lease is for its share. */
  end(): void;
  /** Gives the lease of a training back, after the last checkpoint, within a few seconds. */
  giveBack(reason: string): Promise<void>;
}

function createProgress({ lease, epochsBefore }: MinerJob, connection: PoolConnection, log: Log): Progress {
  let last: Checkpoint | null = null;
  let sent: Checkpoint | null = null;
  let sentAt = performance.now();
  let sending: Promise<void> = Promise.resolve();
  let idle = true;
  let ended = false;

  async function send(checkpoint: Checkpoint): Promise<void> {
    const { epoch, bytes } = checkpoint;
    try {
      const model = decodeModel(bytes, { maxBytes: bytes.length });
      const offer = { lease, epochs: epoch - epochsBefore, modelRoot: modelRoot(model) };
      if (await connection.checkpoint(offer, bytes)) sent = checkpoint;
    } catch (error) {
      // The trial goes on without it: a checkpoint is a favour to whoever may have to go on with the lease.
      log.warn({ lease }, `the checkpoint of lease ${lease} cannot be handed over: ${explainError(error)}`);
    }
  }

  return {
    keep(checkpoint) {
      last = checkpoint;
      const least = connection.checkpointMs();
      if (!idle || least === 0 || performance.now() - sentAt < least) return;
      sentAt = performance.now();
      idle = false;
      sending = send(checkpoint).finally(() => {
        idle = true;
      });
    },
    end() {
      ended = true;
    },
    async giveBack(reason) {
      if (ended) return;
      const done = new AbortController();
      const farewell = async (): Promise<void> => {
        await sending;
        if (last !== null && last !== sent) await send(last);
        await connection.abandon(lease, "stopped", reason.slice(0, 500));
      };
      await Promise.race([farewell(), sleep(FAREWELL_MS, done.signal).catch(() => undefined)]);
      done.abort();
    },
  };
}
