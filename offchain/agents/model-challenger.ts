/**
 * The duty of whoever has looked at a candidate's whole model: shows the chain one that is malformed, has one that
 * cannot be fetched published part by part, and takes the stake of validators that vouched for a malformed one.
 */
import type { ModelOpening } from "../evaluation/dispute-openings.ts";
import {
  architectureOf,
  joinUnits,
  malformedUnit,
  openWholeUnit,
  unitNames,
  type UnitName,
} from "../evaluation/model-parts.ts";
import { encodeModel, modelRoot } from "../evaluation/model.ts";
import type { Evaluation } from "../evaluation/evaluate.ts";
import { labelsHash, spaceTuple, validatorSeal, ZERO_HASH, type Address, type Hex } from "../protocol/bytes.ts";
import type { Head } from "../protocol/chain-client.ts";
import { PonasError, explainError } from "../protocol/errors.ts";
import type { CandidateEvaluator } from "./candidate-evaluation.ts";
import { ensureDisputeFunds } from "./dispute-funds.ts";
import { createDisputeSides } from "./dispute-sides.ts";
import type { DisputeOptions } from "./dispute-clocks.ts";
import type { Duty } from "./duties.ts";
import type { Demand } from "./model-disputes.ts";
import { formatAmount, hasEnded, type Examined, type Seal, type TaskState } from "./registry.ts";
import { collectLostStakes, stakeAtRisk } from "./stake.ts";
import { shapeOf } from "./task-descriptor.ts";
import type { TaskFiles } from "./task-files.ts";

export interface ModelChallengerOptions extends DisputeOptions {
  readonly taskFiles: TaskFiles;
  readonly evaluate: CandidateEvaluator;
  /** takes files that were put together from published parts, by participant: `evaluate` reads them */
  readonly published: Map<Address, Uint8Array>;
  /** units of the asset that one candidate's parts may cost */
  readonly partsBudget: bigint;
}

/** Seconds that are left to a claimant for the clocks of queued demands. */
const CLAIMANT_FIRST = 6n;

const isUnder = (demand: Demand): boolean => demand.stage === "Queued" || demand.stage === "Open";

export function createModelChallenger(options: ModelChallengerOptions): Duty {
  const { taskId, chain, registry, disputes, files, taskFiles, log, evaluate, published, partsBudget } = options;
  const { models } = disputes;
  const sides = createDisputeSides(files);
  /** architectures that the chain found nothing wrong with, and budgets that were spent: by participant */
  const cleared = new Set<Address>();
  const complained = new Set<Address>();
  /** since when there has been room for the clock of a queued demand: by participant */
  const idleSince = new Map<Address, bigint>();
  const about = (event: string, participant: Address) => ({ event, taskId: String(taskId), participant });

  async function showArchitecture(task: TaskState, participant: Address, opening: ModelOpening): Promise<boolean> {
    const { space, template } = await taskFiles.descriptor(task);
    const { commitment, samples } = await taskFiles.testSet(task);
    const test = { ...shapeOf(template), labels: labelsHash(samples.labels), samplesRoot: commitment.samplesRoot };
    try {
      await models.showMalformedArchitecture(taskId, participant, opening, spaceTuple(space, template), test);
    } catch (error) {
      if (!(error instanceof PonasError && error.code === "reverted")) throw error;
      log.debug(about("malformed", participant), explainError(error));
      return false;
    }
    log.warn(about("malformed", participant), `showed that the architecture of ${participant} is malformed`);
    return true;
  }

  /** A model that could be read under its root, and counts nothing. */
  async function showMalformed(task: TaskState, participant: Address, reason: string): Promise<void> {
    const openable = await sides.openable(task, participant);
    const unit = malformedUnit(openable.model);
    if (unit === null) return void (await showArchitecture(task, participant, openable.opening));
    await models.showMalformedUnit(taskId, participant, openable.opening, unit, openWholeUnit(openable, unit)!);
    log.warn(about("malformed", participant), `showed that the model of ${participant} is malformed: ${reason}`);
  }

  /** Demands what is not published yet, and puts together what is. */
  async function demandParts(task: TaskState, participant: Address, demands: readonly Demand[]): Promise<void> {
    if (published.has(participant)) return;
    const first = demands.find(({ unit }) => unit === null);
    if (first === undefined) return demand(participant, [null], demands);
    const opening = first.stage === "Answered" ? await models.shownModel(first.id) : undefined;
    if (opening === undefined) return;
    if (!cleared.has(participant)) {
      if (await showArchitecture(task, participant, opening)) return;
      cleared.add(participant);
    }
    const architecture = architectureOf(opening.architecture);
    const of = ({ layer, index }: UnitName): Demand | undefined =>
      demands.find(({ unit }) => unit?.layer === layer && unit.index === index);
    const names = unitNames(architecture);
    const missing = names.filter((name) => of(name) === undefined);
    if (missing.length > 0) return demand(participant, missing, demands);
    if (names.some((name) => of(name)!.stage !== "Answered")) return;
    const shown = new Map(
      await Promise.all(names.map(async (name) => [key(name), await models.shownUnit(of(name)!.id)] as const)),
    );
    const model = joinUnits(architecture, (name) => {
      const unit = shown.get(key(name));
      if (unit === undefined)
        throw new PonasError("not-found", `The chain's log lacks a part of ${participant}'s model.`);
      return unit;
    });
    if (modelRoot(model) !== (await registry.commitmentOf(taskId, participant))?.modelRoot)
      throw new PonasError(
        "integrity",
        `The published parts of ${participant} are not the model that it committed to.`,
      );
    published.set(participant, encodeModel(model));
    log.info(about("published", participant), `put the model of ${participant} together from its parts on chain`);
  }

  async function demand(
    participant: Address,
    parts: readonly (UnitName | null)[],
    demands: readonly Demand[],
  ): Promise<void> {
    const spent = BigInt(demands.filter(({ challenger }) => challenger === chain.account).length) * models.price;
    const cost = BigInt(parts.length) * models.price;
    if (spent + cost > partsBudget) {
      if (!complained.has(participant))
        log.error(
          about("demand", participant),
          `the parts of ${participant}'s model would cost ${formatAmount(spent + cost)}, over the budget of ` +
            `${formatAmount(partsBudget)}: they are not demanded (raise --parts-budget)`,
        );
      complained.add(participant);
      return;
    }
    // A model that was paid for is of use only where what is wrong with it can be challenged too.
    await ensureDisputeFunds(chain, cost + disputes.bond, "Demanding a model's parts, and a challenge,");
    try {
      await models.demand(taskId, parts);
    } catch (error) {
      if (!complained.has(participant))
        log.error(
          about("demand", participant),
          `not all parts of ${participant}'s model are demanded: ${explainError(error)}`,
        );
      complained.add(participant);
      throw error;
    }
    log.warn(
      about("demand", participant),
      parts[0] === null
        ? `demanded the architecture of ${participant}, whose model cannot be had`
        : `demanded ${parts.length} units of ${participant}'s model`,
    );
  }

  /** What time has made of demands, whoever raised them: a candidate falls, prices come back, clocks start. */
  async function tidy(demands: readonly Demand[], head: Head): Promise<void> {
    const under = demands.filter(isUnder);
    for (const participant of new Set(under.map((one) => one.participant))) {
      const ofIt = under.filter((one) => one.participant === participant);
      const open = ofIt.filter(({ stage }) => stage === "Open");
      const refuted = (await registry.commitmentOf(taskId, participant))?.state === "Eliminated";
      const late = open.find(({ deadline }) => head.timestamp >= BigInt(deadline));
      const queued = ofIt
        .filter(({ stage }) => stage === "Queued")
        .slice(0, Math.max(0, disputes.atOnce - open.length));
      // A claimant that is awake starts and answers them at once; who starts one before it has its call refused.
      const since = queued.length === 0 ? null : (idleSince.get(participant) ?? head.timestamp);
      if (since === null) idleSince.delete(participant);
      else idleSince.set(participant, since);
      const patient = since !== null && head.timestamp < since + CLAIMANT_FIRST;
      // One that was not answered refutes the candidate: then nothing else of it runs, and the rest is over.
      const due = refuted ? ofIt : late !== undefined ? [late] : patient ? [] : queued;
      if (due.length === 0) continue;
      await models.expire(due.map(({ id }) => id));
      log.info(
        { ...about("demand", participant), demands: due.map(({ id }) => String(id)) },
        refuted
          ? `${due.length} demands of ${participant}'s model are over`
          : late !== undefined
            ? `${participant} kept a part back, and is refuted`
            : `the clocks of ${due.length} demands of ${participant}'s model run`,
      );
    }
  }

  /** Seals on a malformed model that are not those of its zero result. */
  async function falseSeals(participant: Address, commitment: Hex): Promise<Seal[]> {
    return (await registry.sealsOf(taskId, participant)).filter(
      ({ validator, seal }) =>
        seal !== ZERO_HASH && seal !== validatorSeal(chain.domain, taskId, commitment, validator, ZERO_HASH),
    );
  }

  /** Whose seal on a malformed model is not that of the zero result has vouched for it. */
  async function slash(): Promise<void> {
    for (const participant of await models.refutedByUs(taskId)) {
      const candidate = await registry.commitmentOf(taskId, participant);
      if (candidate === undefined) continue;
      const slashed = await models.slashed(taskId, participant);
      for (const { validator } of await falseSeals(participant, candidate.hash)) {
        if (slashed.includes(validator) || (await stakeAtRisk(chain, validator)) === 0n) continue;
        try {
          await models.slash(taskId, participant, validator);
          log.warn(about("slash", participant), `took the stake of ${validator}, which vouched for ${participant}`);
        } catch (error) {
          // A stake that goes in this moment is no reason to leave the others.
          if (!(error instanceof PonasError && error.code === "reverted")) throw error;
        }
      }
    }
    await collectLostStakes(chain, log);
  }

  async function examine(task: TaskState, examined: Examined, demands: readonly Demand[], head: Head): Promise<void> {
    const { participant, openedAt } = examined;
    if (participant === chain.account) return;
    const ofIt = demands.filter((one) => one.participant === participant);
    let found: Evaluation | undefined;
    try {
      found = await evaluate(task, participant, head);
    } catch (error) {
      if (!(error instanceof PonasError) || (error.code !== "unavailable" && error.code !== "timeout")) throw error;
      // It may only be slow: it is bought when a quarter of the window is over, or when others have begun to.
      const patience = (task.schedule.windowEnd - openedAt) / 4n;
      if (ofIt.length === 0 && head.timestamp < openedAt + patience) throw error;
      return demandParts(task, participant, ofIt);
    }
    if (found?.malformed == null) return;
    const root = (await registry.commitmentOf(taskId, participant))?.modelRoot;
    if (found.modelRoot !== root) return demandParts(task, participant, ofIt);
    await showMalformed(task, participant, found.malformed.reason);
  }

  /**
   * Shows what else is wrong with a candidate that fell for another reason, for those who vouched for it: of a malformed
   * model every value may be right, and the game over one prediction cannot tell.
   */
  async function showLate(task: TaskState, participant: Address, head: Head): Promise<void> {
    if (await models.isShownMalformed(taskId, participant)) return;
    const found = await evaluate(task, participant, head);
    const candidate = await registry.commitmentOf(taskId, participant);
    if (found?.malformed == null || found.modelRoot !== candidate?.modelRoot) return;
    for (const { validator } of await falseSeals(participant, candidate.hash)) {
      if ((await stakeAtRisk(chain, validator)) / 2n < disputes.bond) continue;
      return showMalformed(task, participant, found.malformed.reason);
    }
  }

  return {
    name: "challenge model",
    run: async (head) => {
      const task = await registry.task(taskId);
      const { phase, examined } = task;
      const ended = hasEnded({ phase });
      if (!ended && phase !== "Window" && phase !== "Seal" && phase !== "Open") return;
      const demands = await models.demandsIn(taskId);
      await tidy(demands, head);
      let first: unknown;
      const refuted = await disputes.refutedLately(taskId, head);
      const looks = refuted.map((participant) => () => showLate(task, participant, head));
      if (phase === "Window" && examined !== null) looks.unshift(() => examine(task, examined, demands, head));
      for (const look of looks) {
        try {
          await look();
        } catch (error) {
          first ??= error;
        }
      }
      await slash();
      if (first !== undefined) throw first;
      return ended && refuted.length === 0 && !demands.some((one) => isUnder(one) && one.challenger === chain.account);
    },
  };
}

const key = ({ layer, index }: UnitName): string => `${layer} ${index}`;
