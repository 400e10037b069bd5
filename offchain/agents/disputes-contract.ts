/** The disputes contract as agents see it: challenges of single predictions, what was shown in them, and the moves. */
import { bytesToHex, encodeFunctionData, hexToBytes } from "viem";

import type { Computation, ModelOpening, ShownTrace } from "../evaluation/dispute-openings.ts";
import { CHALLENGE_STAGES, disputesAbi, taskRegistryAbi } from "../protocol/abi.ts";
import { blocks, PREDICTION_BLOCK, ZERO_ADDRESS, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient, Head } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { createModelDisputes } from "./model-disputes.ts";
import { createRegistry, formatAmount, paying } from "./registry.ts";

export type ChallengeStage = (typeof CHALLENGE_STAGES)[number];

const DECIDED: ReadonlySet<ChallengeStage> = new Set<ChallengeStage>(["None", "Refuted", "Upheld", "Moot"]);

export const isOpen = (stage: ChallengeStage): boolean => !DECIDED.has(stage);

/** A challenge at one block; what the fields mean stands with `IPredictionDisputes.Challenge`. */
export interface Challenge {
  readonly id: bigint;
  readonly taskId: bigint;
  readonly stage: ChallengeStage;
  readonly challenger: Address;
  /** the candidate */
  readonly participant: Address;
  readonly sample: number;
  readonly prediction: number;
  /** seconds since 1970 */
  readonly deadline: number;
  readonly step: number;
  readonly row: number;
  readonly column: number;
  readonly channel: number;
  readonly kernelRow: number;
  /** whether a validator stands in, for its seal on the candidate */
  readonly ofSeal: boolean;
  /** who answers: that validator, or the candidate (a pool by its manager) */
  readonly defender: Address;
}

/** A challenge among the others of its task. */
export interface ChallengeInTask extends Challenge {
  /** its candidate is refuted, or its validator has lost another one: what is not decided is pointless */
  readonly moot: boolean;
  /** challenges of the candidate, or of the validator's seal on it, whose clocks run */
  readonly running: number;
}

/** What the claimant has shown in a challenge so far. */
export interface Shown {
  readonly trace?: ShownTrace;
  readonly rows?: Hex | undefined;
  readonly positions?: Hex | undefined;
  readonly values?: Hex | undefined;
}

export type DisputesContract = NonNullable<Awaited<ReturnType<typeof createDisputesContract>>>;

/** The deployment's disputes, or null where it has none. */
export async function createDisputesContract(chain: ChainClient) {
  const registryAt = { abi: taskRegistryAbi, address: chain.deployment.registry } as const;
  const address = await chain.read({ ...registryAt, functionName: "disputes", args: [] });
  if (address === ZERO_ADDRESS) return null;
  const at = { abi: disputesAbi, address } as const;
  const registry = createRegistry(chain);
  const since = { fromBlock: BigInt(chain.deployment.fromBlock) } as const;

  const models = await createModelDisputes(chain, registry, address);
  const bond = await chain.read({ ...at, functionName: "challengeBond", args: [] });
  let gas = 0n;
  const send: ChainClient["send"] = async (request) => {
    const sent = await chain.send(request);
    gas += sent.gasUsed;
    return sent;
  };
  const challenge = async (id: bigint): Promise<Challenge> => {
    const view = await chain.read({ ...at, functionName: "challengeOf", args: [id] });
    return { ...view, id, stage: CHALLENGE_STAGES[view.stage]! };
  };
  /** How many challenges there are of all tasks, and which the last one is: after a reorganisation it may be another. */
  const newest = async (): Promise<string> => {
    const count = await chain.read({ ...at, functionName: "challengeCount", args: [] });
    if (count === 0n) return "0";
    const { taskId, participant, defender, challenger, sample } = await challenge(count);
    return [count, taskId, participant, defender, challenger, sample].join(" ");
  };
  /** numbers of a task's challenges while this was the newest one */
  const known = new Map<bigint, { readonly last: string; readonly ids: readonly bigint[] }>();
  const challengeIds = async (taskId: bigint): Promise<readonly bigint[]> => {
    const last = await newest();
    const before = known.get(taskId);
    if (before?.last === last) return before.ids;
    const args = { taskId };
    const [ofCandidates, ofSeals] = await Promise.all([
      chain.client.getContractEvents({ ...at, eventName: "Challenged", args, ...since }),
      chain.client.getContractEvents({ ...at, eventName: "SealChallenged", args, ...since }),
    ]);
    const ids = [...ofCandidates, ...ofSeals].map((log) => log.args.challengeId!);
    ids.sort((a, b) => (a < b ? -1 : 1));
    known.set(taskId, { last, ids });
    return ids;
  };

  return {
    address,
    /** what is about whole models */
    models,
    /** what a challenger risks */
    bond,

    /** challenges of one candidate whose clocks run at once */
    atOnce: Number(await chain.read({ ...at, functionName: "RUNNING_CHALLENGES", args: [] })),

    challenge,

    /** All challenges of a task's candidates, decided ones included, in the order in which they were raised. */
    challengesIn: async (taskId: bigint): Promise<ChallengeInTask[]> => {
      const challenges = await Promise.all((await challengeIds(taskId)).map(challenge));
      // After a reorganisation a number may stand for another task's challenge.
      if (challenges.some((one) => one.taskId !== taskId)) known.delete(taskId);
      const ofTask = challenges.filter((one) => one.taskId === taskId);
      const open = ofTask.filter(({ stage }) => isOpen(stage));
      const participantsOf = (seals: boolean) =>
        new Set(open.filter(({ ofSeal }) => ofSeal === seals).map(({ participant }) => participant));
      const refuted = new Map<Address, boolean>();
      for (const participant of participantsOf(false))
        refuted.set(participant, (await registry.commitmentOf(taskId, participant))?.state === "Eliminated");
      const slashed = new Map<Address, readonly Address[]>();
      for (const participant of participantsOf(true))
        slashed.set(participant, await models.slashed(taskId, participant));
      return ofTask.map((one) => {
        const { participant, ofSeal, defender } = one;
        const alike = ofTask.filter(
          (other) => other.participant === participant && other.ofSeal === ofSeal && other.defender === defender,
        );
        const lost = alike.some(({ stage }) => stage === "Refuted");
        const fallen = ofSeal ? slashed.get(participant)?.includes(defender) : refuted.get(participant);
        const moot = lost || fallen === true;
        const running = alike.filter(({ stage }) => isOpen(stage) && stage !== "Queued").length;
        return { ...one, moot, running };
      });
    },

    /**
     * Tasks in which a seal is challenged, and nothing decided yet.
     * @param account whose seal it is, or who challenges it; anybody unless said otherwise
     */
    tasksOfSealChallenges: async (account?: Address): Promise<bigint[]> => {
      const logs = await chain.client.getContractEvents({ ...at, eventName: "SealChallenged", ...since });
      const of = logs.filter(
        ({ args }) => account === undefined || args.validator === account || args.challenger === account,
      );
      const stages = await Promise.all(of.map(async ({ args }) => (await challenge(args.challengeId!)).stage));
      return [...new Set(of.filter((_, i) => isOpen(stages[i]!)).map(({ args }) => args.taskId!))];
    },

    /** Stands for all challenges of all tasks: nothing is new where it is what it was; "0" where there are none. */
    newest,

    /** Refuted candidates of a task the seals on which can be challenged still. */
    refutedLately: async (taskId: bigint, { timestamp }: Head): Promise<Address[]> => {
      const refuted = await registry.eliminatedIn(taskId);
      const untils = await Promise.all(
        refuted.map((participant) =>
          chain.read({ ...at, functionName: "sealsChallengeableUntil", args: [taskId, participant] }),
        ),
      );
      return refuted.filter((_, i) => timestamp < BigInt(untils[i]!));
    },

    /** What has been shown up to the challenge's stage. */
    shown: async (challengeId: bigint): Promise<Shown> => {
      const of = { ...at, args: { challengeId }, ...since };
      const { client } = chain;
      const [trace, rows, positions, values] = await Promise.all([
        client.getContractEvents({ ...of, eventName: "TraceAnswered" }),
        client.getContractEvents({ ...of, eventName: "RowsAnswered" }),
        client.getContractEvents({ ...of, eventName: "PositionsAnswered" }),
        client.getContractEvents({ ...of, eventName: "ValuesAnswered" }),
      ]);
      const shown = trace.at(-1)?.args;
      return {
        ...(shown === undefined ? {} : { trace: { tensors: shown.tensors!, logits: shown.logits! } }),
        rows: rows.at(-1)?.args.rows,
        positions: positions.at(-1)?.args.positions,
        values: values.at(-1)?.args.values,
      };
    },

    /** The predictions that a candidate was opened with; undefined where it is not opened. */
    predictionsOf: async (taskId: bigint, participant: Address): Promise<Uint8Array | undefined> => {
      const args = { taskId, participant };
      const logs = await chain.client.getContractEvents({
        ...registryAt,
        eventName: "PredictionsShown",
        args,
        ...since,
      });
      const shown = logs.at(-1)?.args.predictions;
      return shown === undefined ? undefined : hexToBytes(shown);
    },

    // ————— Moves —————

    /** Challenges a sample's prediction; the account pays the bond. @throws PonasError funds */
    raise: (taskId: bigint, sample: number, predictions: Uint8Array) =>
      paying(chain, async () => {
        await registry.approve(address, bond);
        const args = [taskId, sample, predictions.length, blocks(predictions), blockOf(sample, predictions)] as const;
        await send({ ...at, functionName: "challenge", args });
      }),

    /** Challenges a prediction that a validator has sealed for a refuted candidate; the account pays the bond. @throws PonasError funds */
    raiseAgainstSeal: (
      taskId: bigint,
      participant: Address,
      validator: Address,
      sample: number,
      predictions: Uint8Array,
    ) =>
      paying(chain, async () => {
        await registry.approve(address, bond);
        const opened = [predictions.length, blocks(predictions), blockOf(sample, predictions)] as const;
        const args = [taskId, participant, validator, sample, ...opened] as const;
        await send({ ...at, functionName: "challengeSeal", args });
      }),

    /** The one answer that no hash binds: it says which challenge it is for, whose number may be another's on another fork. */
    answerTrace: (
      { id, challenger, sample }: Pick<Challenge, "id" | "challenger" | "sample">,
      model: ModelOpening,
      trace: ShownTrace,
    ): Promise<unknown> => {
      const { abi } = at;
      const calls = [
        encodeFunctionData({ abi, functionName: "expectChallenge", args: [id, challenger, sample] }),
        encodeFunctionData({ abi, functionName: "answerTrace", args: [id, model, trace] }),
      ];
      return send({ ...at, functionName: "multicall", args: [calls], name: "answerTrace" });
    },
    pickTensor: (id: bigint, model: ModelOpening, trace: ShownTrace, step: number): Promise<unknown> =>
      send({ ...at, functionName: "pickTensor", args: [id, model, trace, step] }),
    answerRows: (id: bigint, rows: Hex): Promise<unknown> =>
      send({ ...at, functionName: "answerRows", args: [id, rows] }),
    pickRow: (id: bigint, rows: Hex, row: number): Promise<unknown> =>
      send({ ...at, functionName: "pickRow", args: [id, rows, row] }),
    answerPositions: (id: bigint, positions: Hex): Promise<unknown> =>
      send({ ...at, functionName: "answerPositions", args: [id, positions] }),
    pickColumn: (id: bigint, positions: Hex, column: number): Promise<unknown> =>
      send({ ...at, functionName: "pickColumn", args: [id, positions, column] }),
    answerValues: (id: bigint, values: Hex): Promise<unknown> =>
      send({ ...at, functionName: "answerValues", args: [id, values] }),
    prove: (id: bigint, computation: Computation): Promise<unknown> =>
      send({ ...at, functionName: "prove", args: [id, computation] }),
    timeOut: (id: bigint) => send({ ...at, functionName: "timeOut", args: [id] }),
    advance: (id: bigint) => send({ ...at, functionName: "advance", args: [id] }),

    creditOf: (account: Address): Promise<bigint> => chain.read({ ...at, functionName: "creditOf", args: [account] }),
    /** Withdraws what the contract owes this account, if it owes anything. */
    collect: async (log: Log): Promise<void> => {
      const credit = await chain.read({ ...at, functionName: "creditOf", args: [chain.account] });
      if (credit === 0n) return;
      await send({ ...at, functionName: "withdraw", args: [] });
      log.info(
        { event: "withdraw-credit", amount: String(credit) },
        `withdrew ${formatAmount(credit)} from disputes; moves since the start took ${gas} gas`,
      );
    },
  };
}

/** The predictions of a sample's block. */
function blockOf(sample: number, predictions: Uint8Array): Hex {
  const start = PREDICTION_BLOCK * Math.floor(sample / PREDICTION_BLOCK);
  return bytesToHex(predictions.subarray(start, start + PREDICTION_BLOCK));
}
