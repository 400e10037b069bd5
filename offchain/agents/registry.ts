/**
 * The task registry as agents see it: one reading of a task that holds everything a duty decides by, and the calls.
 * What a call costs is approved just before it, to the unit: no contract ever holds a standing allowance.
 */
import { decodeEventLog, hexToBytes } from "viem";

import { isBounded, type HardwareBounds } from "../evaluation/hardware.ts";
import {
  COMMITMENT_STATES,
  localAssetAbi,
  PHASES,
  taskRegistryAbi,
  validatorStakeAbi,
  VOID_REASONS,
} from "../protocol/abi.ts";
import { formatAmount } from "../protocol/amounts.ts";
import { ZERO_HASH, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { createSerial, type Serial } from "../pool/serial.ts";
import type { Opening } from "./claimant.ts";

export { formatAmount };

export type Phase = (typeof PHASES)[number];

export type CommitmentState = (typeof COMMITMENT_STATES)[number];

/** The candidate under examination. */
export interface Examined {
  readonly participant: Address;
  readonly opened: boolean;
  /** seconds since 1970; 0 before */
  readonly openedAt: bigint;
  /** hash of the opened predictions; of no meaning before */
  readonly result: Hex;
  /** whether enough stake was shown to agree with it */
  readonly quorum: boolean;
  /** all stake that could seal it */
  readonly totalStake: bigint;
  /** may be sealed too while this one is in its window */
  readonly next: Address | null;
}

/** A validator's seal on a candidate. */
export interface Seal {
  readonly validator: Address;
  readonly seal: Hex;
  /** what it weighs */
  readonly stake: bigint;
  readonly attested: boolean;
}

/** A task at one block. Times are seconds since 1970, amounts the asset's smallest unit. */
export interface TaskState {
  readonly id: bigint;
  readonly phase: Phase;
  readonly voidReason: (typeof VOID_REASONS)[number];
  readonly publisher: Address;
  readonly winner: Address;
  readonly descriptorCid: Hex;
  readonly keyHash: Hex;
  /** null until released */
  readonly key: Hex | null;
  readonly spaceHash: Hex;
  readonly testRoot: Hex;
  readonly testCount: number;
  readonly minCorrect: number;
  readonly maxModelBytes: number;
  /** absent where the task bounds nothing */
  readonly hardware?: HardwareBounds;
  /** lengths of the phases in seconds */
  readonly phases: TaskParams["phases"];
  readonly reward: bigint;
  readonly commitBond: bigint;
  readonly commitFee: bigint;
  readonly candidateBond: bigint;
  readonly publisherBond: bigint;
  readonly validatorFee: bigint;
  readonly commitments: number;
  readonly schedule: {
    readonly trainingStart: bigint;
    readonly trainingEnd: bigint;
    readonly keyDeadline: bigint;
    readonly releasedAt: bigint;
    readonly revealStart: bigint;
    readonly revealEnd: bigint;
    readonly sealDeadline: bigint;
    readonly openDeadline: bigint;
    readonly windowEnd: bigint;
  };
  readonly examined: Examined | null;
}

export interface CommitmentView {
  readonly hash: Hex;
  readonly sequence: bigint;
  readonly state: CommitmentState;
  readonly settled: boolean;
  readonly claimedCorrect: number;
  readonly modelRoot: Hex;
  readonly claimSeal: Hex;
  /** empty until opened as a candidate */
  readonly modelCid: Uint8Array;
}

export interface LedgerBlock {
  readonly height: bigint;
  readonly hash: Hex;
  readonly parent: Hex;
  readonly taskId: bigint;
  readonly winner: Address;
  readonly time: number;
  readonly correct: number;
  readonly total: number;
  readonly modelRoot: Hex;
  readonly modelCid: Uint8Array;
}

/** What a publisher fixes, as ITaskRegistry.TaskParams. */
export interface TaskParams {
  readonly descriptorCid: Hex;
  readonly keyHash: Hex;
  readonly testRoot: Hex;
  readonly spaceHash: Hex;
  readonly testCount: number;
  readonly minCorrect: number;
  readonly maxModelBytes: number;
  readonly maxLuts: number;
  readonly minThroughput: number;
  readonly candidateBondBps: number;
  readonly difficulty: {
    readonly flops: bigint;
    readonly networkFlops: bigint;
    readonly modelBytes: bigint;
    readonly dataBytes: bigint;
    readonly bandwidth: bigint;
  };
  readonly phases: {
    readonly initialisation: number;
    readonly training: number;
    readonly keyRelease: number;
    readonly testVote: number;
    readonly reveal: number;
    readonly seal: number;
    readonly open: number;
    readonly shortWindow: number;
    readonly longWindow: number;
  };
  readonly reward: bigint;
  readonly publisherBond: bigint;
  readonly commitBond: bigint;
  readonly commitFee: bigint;
  readonly validatorFee: bigint;
}

const payments = new WeakMap<ChainClient, Serial>();

/**
 * Runs what provides money and the call that takes it as one piece: an allowance or a float has room for one of the
 * account's calls at a time, and its tasks are worked on side by side.
 */
export function paying<T>(chain: ChainClient, work: () => Promise<T>): Promise<T> {
  const serial = payments.get(chain) ?? createSerial();
  payments.set(chain, serial);
  return serial(work);
}

export type Registry = ReturnType<typeof createRegistry>;

const NOBODY = "0x0000000000000000000000000000000000000000";

export function createRegistry(chain: ChainClient) {
  const { registry: address, asset, stake } = chain.deployment;
  const at = { abi: taskRegistryAbi, address } as const;

  /** Lets `spender` pull `amount`, unless it may already. Within {@link paying}. @throws PonasError funds */
  async function approve(spender: Address, amount: bigint): Promise<void> {
    if (amount === 0n) return;
    const token = { abi: localAssetAbi, address: asset } as const;
    const args = [chain.account, spender] as const;
    if ((await chain.read({ ...token, functionName: "allowance", args })) >= amount) return;
    const balance = await chain.read({ ...token, functionName: "balanceOf", args: [chain.account] });
    if (balance < amount) {
      throw new PonasError(
        "funds",
        `The account ${chain.account} has ${formatAmount(balance)} of the asset, but ${formatAmount(amount)} are needed.`,
        {
          cure: "fund the account; on a local chain the asset has a faucet",
        },
      );
    }
    await chain.send({ ...token, functionName: "approve", args: [spender, amount] });
  }

  async function task(id: bigint): Promise<TaskState> {
    const view = await chain.read({ ...at, functionName: "taskOf", args: [id] });
    const phase = PHASES[view.phase]!;
    if (phase === "None") throw new PonasError("not-found", `There is no task ${id}.`);
    const schedule = await chain.read({ ...at, functionName: "scheduleOf", args: [id] });
    const candidateBond = await chain.read({ ...at, functionName: "candidateBondOf", args: [id] });
    const examination = await chain.read({ ...at, functionName: "examinationOf", args: [id] });
    const { params } = view;
    return {
      id,
      phase,
      voidReason: VOID_REASONS[view.voidReason]!,
      publisher: view.publisher,
      winner: view.winner,
      descriptorCid: params.descriptorCid,
      keyHash: params.keyHash,
      key: view.key === ZERO_HASH ? null : view.key,
      spaceHash: params.spaceHash,
      testRoot: params.testRoot,
      testCount: params.testCount,
      minCorrect: params.minCorrect,
      maxModelBytes: params.maxModelBytes,
      hardware: isBounded(params) ? { maxLuts: params.maxLuts, minThroughput: params.minThroughput } : undefined,
      phases: params.phases,
      reward: params.reward,
      commitBond: params.commitBond,
      commitFee: params.commitFee,
      candidateBond,
      publisherBond: params.publisherBond,
      validatorFee: params.validatorFee,
      commitments: view.commitments,
      schedule: {
        trainingStart: BigInt(schedule.trainingStart),
        trainingEnd: BigInt(schedule.trainingEnd),
        keyDeadline: BigInt(schedule.keyDeadline),
        releasedAt: BigInt(schedule.releasedAt),
        revealStart: BigInt(schedule.revealStart),
        revealEnd: BigInt(schedule.revealEnd),
        sealDeadline: BigInt(schedule.sealDeadline),
        openDeadline: BigInt(schedule.openDeadline),
        windowEnd: BigInt(schedule.windowEnd),
      },
      examined:
        examination.participant === NOBODY
          ? null
          : {
              participant: examination.participant,
              opened: examination.openedAt !== 0,
              openedAt: BigInt(examination.openedAt),
              result: examination.result,
              quorum: examination.quorum,
              totalStake: examination.totalStake,
              next: examination.next === NOBODY ? null : examination.next,
            },
    };
  }

  return {
    address,
    approve,
    task,

    /** Ids of the tasks that have not ended. */
    openTasks: async (): Promise<bigint[]> => {
      const ids: bigint[] = [];
      for (const page = 100n; ;) {
        const found = await chain.read({ ...at, functionName: "openTasks", args: [BigInt(ids.length), page] });
        ids.push(...found);
        if (BigInt(found.length) < page) return ids;
      }
    },

    /** Ids of the newest tasks, ended or not, newest last. */
    latestTasks: async (most: bigint): Promise<bigint[]> => {
      const count = await chain.read({ ...at, functionName: "taskCount", args: [] });
      const first = count > most ? count - most + 1n : 1n;
      return Array.from({ length: Number(count - first + 1n) }, (_, i) => first + BigInt(i));
    },

    rankingScore: (id: bigint): Promise<bigint> => chain.read({ ...at, functionName: "rankingScore", args: [id] }),

    /** A participant's live commitment, or undefined. */
    commitmentOf: async (id: bigint, participant: Address): Promise<CommitmentView | undefined> => {
      const view = await chain.read({ ...at, functionName: "commitmentOf", args: [id, participant] });
      const state = COMMITMENT_STATES[view.state]!;
      if (state === "None") return undefined;
      const { hash, sequence, settled, claimedCorrect, modelRoot, claimSeal } = view;
      return {
        hash,
        sequence,
        state,
        settled,
        claimedCorrect,
        modelRoot,
        claimSeal,
        modelCid: hexToBytes(view.modelCid),
      };
    },

    sealOf: (id: bigint, participant: Address, validator: Address) =>
      chain.read({ ...at, functionName: "sealOf", args: [id, participant, validator] }),

    /** All seals on a candidate, in ascending order of their validators. */
    sealsOf: async (id: bigint, participant: Address): Promise<Seal[]> => {
      const logs = await chain.client.getContractEvents({
        ...at,
        eventName: "Sealed",
        args: { taskId: id, participant },
        fromBlock: BigInt(chain.deployment.fromBlock),
      });
      const validators = logs.map(({ args }) => args.validator!).toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
      return Promise.all(
        validators.map(async (validator) => {
          const { seal, stake, attested } = await chain.read({
            ...at,
            functionName: "sealOf",
            args: [id, participant, validator],
          });
          return { validator, seal, stake, attested };
        }),
      );
    },

    /** Candidates of a task that have lost their bond, in the order in which they did. */
    eliminatedIn: async (id: bigint): Promise<Address[]> => {
      const logs = await chain.client.getContractEvents({
        ...at,
        eventName: "CandidateEliminated",
        args: { taskId: id },
        fromBlock: BigInt(chain.deployment.fromBlock),
      });
      return logs.map(({ args }) => args.participant!);
    },

    /** Whether validators with so much of all stake can take a candidate's bond: a quorum, where there are no disputes. */
    decides: async (weight: bigint, totalStake: bigint): Promise<boolean> => {
      if ((await chain.read({ ...at, functionName: "disputes", args: [] })) !== NOBODY) return false;
      const quorum = BigInt(await chain.read({ ...at, functionName: "quorumBps", args: [] }));
      return weight > 0n && weight * 10_000n >= totalStake * quorum;
    },

    hasVoted: (id: bigint, validator: Address) =>
      chain.read({ ...at, functionName: "hasVoted", args: [id, validator] }),

    /** Stake that an account had at the end of a past second. */
    stakeAt: (validator: Address, time: bigint) =>
      chain.read({ abi: validatorStakeAbi, address: stake, functionName: "stakeAt", args: [validator, time] }),

    /** Stake that an account has at the latest block, without what unbonds. */
    stakeNow: (validator: Address) =>
      chain.read({ abi: validatorStakeAbi, address: stake, functionName: "stakeOf", args: [validator] }),

    settlementOf: (id: bigint, participant: Address) =>
      chain.read({ ...at, functionName: "settlementOf", args: [id, participant] }),

    /** The block that a confirmed task made, or undefined. Newest first: a task that just ended is near the head. */
    blockOf: async (id: bigint): Promise<LedgerBlock | undefined> => {
      const height = await chain.read({ ...at, functionName: "height", args: [] });
      for (let at_ = height; at_ > 0n; at_--) {
        const block = await chain.read({ ...at, functionName: "blockAt", args: [at_] });
        if (block.taskId === id) return { ...block, height: at_, modelCid: hexToBytes(block.modelCid) };
      }
      return undefined;
    },

    /** @returns the id of the new task */
    publish: async (params: TaskParams): Promise<bigint> => {
      const sent = await paying(chain, async () => {
        await approve(address, params.reward + params.publisherBond + params.validatorFee);
        return chain.send({ ...at, functionName: "publish", args: [params] });
      });
      const receipt = await chain.client.getTransactionReceipt({ hash: sent.hash });
      for (const { topics, data } of receipt.logs.filter(
        (log) => log.address.toLowerCase() === address.toLowerCase(),
      )) {
        const event = decodeEventLog({ abi: taskRegistryAbi, topics, data });
        if (event.eventName === "TaskPublished") return event.args.taskId;
      }
      throw new PonasError("integrity", `The publication ${sent.hash} was mined without its event.`);
    },

    commit: (state: TaskState, commitment: Hex) =>
      paying(chain, async () => {
        await approve(address, state.commitBond + state.commitFee);
        await chain.send({ ...at, functionName: "commit", args: [state.id, commitment] });
      }),

    reveal: (state: TaskState, opening: Opening, claimedCorrect: number, seal: Hex) =>
      paying(chain, async () => {
        if (isCandidate(state, claimedCorrect)) await approve(address, state.candidateBond);
        const args = [state.id, asArguments(opening), claimedCorrect, seal] as const;
        await chain.send({ ...at, functionName: "reveal", args });
      }),

    release: (id: bigint, key: Hex) => chain.send({ ...at, functionName: "release", args: [id, key] }),
    voteTestSet: (id: bigint) => chain.send({ ...at, functionName: "voteTestSet", args: [id] }),
    advance: (id: bigint) => chain.send({ ...at, functionName: "advance", args: [id] }),
    confirm: (id: bigint) => chain.send({ ...at, functionName: "confirm", args: [id] }),

    seal: (id: bigint, participant: Address, seal: Hex) =>
      chain.send({ ...at, functionName: "seal", args: [id, participant, seal] }),

    /** Publishes the examined candidate's predictions; `parts` open `testRoot`. */
    open: (
      id: bigint,
      predictions: Uint8Array,
      labels: Uint8Array,
      parts: { height: number; width: number; channels: number; classes: number; samplesRoot: Hex },
    ) => chain.send({ ...at, functionName: "open", args: [id, toHex(predictions), toHex(labels), parts] }),

    attest: (id: bigint, validators: readonly Address[]) =>
      chain.send({ ...at, functionName: "attest", args: [id, [...validators]] }),

    /** Shows that these validators, in ascending order, sealed `result` of the opened candidate, which is another. */
    contradict: (id: bigint, result: Hex, validators: readonly Address[]) =>
      chain.send({ ...at, functionName: "contradict", args: [id, result, [...validators]] }),

    settle: (id: bigint, participant: Address) =>
      chain.send({ ...at, functionName: "settle", args: [id, participant] }),

    settleValidator: (id: bigint, validator: Address) =>
      chain.send({ ...at, functionName: "settleValidator", args: [id, validator] }),

    credit: (account: Address): Promise<bigint> => chain.read({ ...at, functionName: "creditOf", args: [account] }),
    withdraw: () => chain.send({ ...at, functionName: "withdraw", args: [] }),
  };
}

/** Phases in which candidates are examined, or have been. */
const EXAMINING: ReadonlySet<Phase> = new Set<Phase>([
  "Advanceable",
  "Seal",
  "Open",
  "Window",
  "Confirmable",
  "Confirmed",
  "Void",
]);

/** Whether a candidate of the task may have been refuted. */
export const mayHaveRefuted = ({ phase }: TaskState): boolean => EXAMINING.has(phase);

export const hasEnded = ({ phase }: Pick<TaskState, "phase">): boolean => phase === "Confirmed" || phase === "Void";

/** A claim of at least the minimum (and of one) stands; anything less withdraws and needs no bond. */
export function isCandidate({ minCorrect }: TaskState, claimedCorrect: number): boolean {
  return claimedCorrect > 0 && claimedCorrect >= minCorrect;
}

/** An opening as the contracts take it. */
export function asArguments({ modelCid, ...opening }: Opening) {
  return { ...opening, modelCid: toHex(modelCid) };
}

export function toHex(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes).toString("hex")}`;
}

/** Withdraws what the registry owes this account, if it owes anything. */
export async function withdrawCredit(registry: Registry, chain: ChainClient, log: Log): Promise<void> {
  const credit = await registry.credit(chain.account);
  if (credit === 0n) return;
  await registry.withdraw();
  log.info({ event: "withdraw-credit", amount: String(credit) }, `withdrew ${formatAmount(credit)}`);
}
