/**
 * Disputes as duties: of whoever finds another result than the one that was opened, and of the claimant that is
 * challenged. Both evaluate by themselves and follow the first difference.
 */
import { openModel, openSample, knowTrace, type OpenableModel } from "../evaluation/dispute-openings.ts";
import type { Evaluation } from "../evaluation/evaluate.ts";
import { decodeModel } from "../evaluation/model.ts";
import { referenceTrace } from "../evaluation/reference.ts";
import type { Address } from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import type { Samples } from "../training/datasets.ts";
import { answer, press, type Side } from "./dispute-moves.ts";
import type { Challenge, DisputesContract } from "./disputes-contract.ts";
import type { Duty } from "./duties.ts";
import type { Registry, TaskState } from "./registry.ts";

const DECIDED = new Set<Challenge["stage"]>(["None", "Refuted", "Upheld", "Moot"]);
const OF_CLAIMANT = new Set<Challenge["stage"]>(["Trace", "Rows", "Positions", "Values"]);

/** What both sides need of a candidate's model and of the test set. */
export interface DisputeFiles {
  /** the model's canonical file */
  model(task: TaskState, participant: Address): Promise<Uint8Array>;
  testSet(task: TaskState): Promise<Samples>;
}

interface DisputeOptions {
  readonly taskId: bigint;
  readonly chain: ChainClient;
  readonly registry: Registry;
  readonly disputes: DisputesContract;
  readonly files: DisputeFiles;
  readonly log: Log;
}

/** Keeps what this side knows of the samples that are disputed. */
function createSides({ files }: DisputeOptions) {
  const models = new Map<Address, Promise<OpenableModel>>();
  const sides = new Map<string, Promise<Side>>();
  const openable = async (task: TaskState, participant: Address): Promise<OpenableModel> =>
    openModel(decodeModel(await files.model(task, participant), { maxBytes: task.maxModelBytes }));
  const make = async (task: TaskState, participant: Address, sample: number): Promise<Side> => {
    let model = models.get(participant);
    if (model === undefined) models.set(participant, (model = openable(task, participant)));
    model.catch(() => models.delete(participant));
    const { pixels, labels } = await files.testSet(task);
    const size = pixels.length / labels.length;
    const own = pixels.subarray(sample * size, (sample + 1) * size);
    const { model: network } = await model;
    const trace = knowTrace(network, own, referenceTrace(network, own));
    return { openable: await model, trace, sample: openSample(pixels, labels, sample) };
  };
  return (task: TaskState, participant: Address, sample: number): Promise<Side> => {
    const key = `${participant} ${sample}`;
    let side = sides.get(key);
    if (side === undefined) sides.set(key, (side = make(task, participant, sample)));
    side.catch(() => sides.delete(key));
    return side;
  };
}

/** Ends what time has ended: a challenge whose clock ran out, or one that is pointless or may run now. */
async function tidy({ disputes }: DisputeOptions, challenge: Challenge, head: Head): Promise<string | null> {
  if (challenge.stage === "Queued") {
    await disputes.advance(challenge.id);
    return "moved a queued challenge on";
  }
  if (head.timestamp < BigInt(challenge.deadline)) return null;
  await disputes.timeOut(challenge.id);
  return "closed a challenge whose clock had run out";
}

/**
 * The duty of whoever has evaluated a candidate: challenges a prediction that is not the model's, and follows it to the
 * end. One challenge at a time is enough: the first that is won refutes the candidate.
 * @param evaluate its own evaluation of a candidate; undefined while it cannot be had
 */
export function createChallenger(
  options: DisputeOptions & {
    readonly evaluate: (task: TaskState, participant: Address, head: Head) => Promise<Evaluation | undefined>;
  },
): Duty {
  const { taskId, chain, registry, disputes, log, evaluate } = options;
  const sideOf = createSides(options);

  async function follow(task: TaskState, challenge: Challenge, head: Head): Promise<void> {
    const own = challenge.challenger === chain.account;
    const mine = own && !OF_CLAIMANT.has(challenge.stage) && challenge.stage !== "Queued";
    const done =
      mine && head.timestamp < BigInt(challenge.deadline)
        ? await press(
            disputes,
            challenge,
            await disputes.shown(challenge.id),
            await sideOf(task, challenge.participant, challenge.sample),
          )
        : own
          ? await tidy(options, challenge, head)
          : null;
    if (done !== null)
      log.info(
        { event: "dispute", taskId: String(taskId), challenge: String(challenge.id) },
        `challenge ${challenge.id}: ${done}`,
      );
  }

  async function raise(task: TaskState, participant: Address, head: Head): Promise<void> {
    if (head.timestamp >= task.schedule.windowEnd) return;
    const found = await evaluate(task, participant, head);
    const opened = await disputes.predictionsOf(taskId, participant);
    if (found === undefined || found.malformed !== null || opened === undefined) return;
    const sample = opened.findIndex((prediction, i) => prediction !== found.predictions[i]);
    if (sample < 0) return;
    log.warn(
      { event: "challenge", taskId: String(taskId), participant, sample },
      `challenges sample ${sample}: ${participant} opened class ${opened[sample]}, its model says ${found.predictions[sample]}`,
    );
    await disputes.raise(taskId, sample, opened);
  }

  return {
    name: "challenge",
    run: async (head) => {
      const task = await registry.task(taskId);
      const { phase, examined } = task;
      if (phase === "Confirmed" || phase === "Void") return collect();
      if (phase !== "Window" || examined === null) return;
      const ids = await disputes.challengesOf(taskId, examined.participant);
      const challenges = await Promise.all(ids.map(disputes.challenge));
      const open = challenges.filter(({ stage }) => !DECIDED.has(stage));
      for (const challenge of open) await follow(task, challenge, head);
      if (!open.some(({ challenger }) => challenger === chain.account)) await raise(task, examined.participant, head);
    },
  };

  async function collect(): Promise<boolean> {
    if ((await disputes.credit()) > 0n) await disputes.withdraw();
    return true;
  }
}

/** The claimant's duty: answers every challenge of its candidate in time. Whoever has the model may, for a pool its manager. */
export function createDefender(options: DisputeOptions & { readonly participant: Address }): Duty {
  const { taskId, registry, disputes, participant, log } = options;
  const sideOf = createSides(options);
  return {
    name: "defend",
    run: async (head) => {
      const task = await registry.task(taskId);
      if (task.phase === "Confirmed" || task.phase === "Void") return true;
      if (task.phase !== "Window" || task.examined?.participant !== participant) return;
      for (const id of await disputes.challengesOf(taskId, participant)) {
        const challenge = await disputes.challenge(id);
        if (DECIDED.has(challenge.stage)) continue;
        const due = OF_CLAIMANT.has(challenge.stage) && head.timestamp < BigInt(challenge.deadline);
        const done = due
          ? await answer(disputes, challenge, await sideOf(task, participant, challenge.sample))
          : await tidy(options, challenge, head);
        if (done !== null)
          log.info({ event: "defend", taskId: String(taskId), challenge: String(id) }, `challenge ${id}: ${done}`);
      }
    },
  };
}
