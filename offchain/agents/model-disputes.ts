/**
 * The part of the disputes contract that is about a candidate's whole model: malformed ones, parts that are demanded,
 * and validators that sealed what was refuted.
 */
import { encodeFunctionData } from "viem";

import type { ModelOpening, OpenableModel } from "../evaluation/dispute-openings.ts";
import { openWholeUnit, type UnitName, type WholeUnit } from "../evaluation/model-parts.ts";
import { DEMAND_STAGES, disputesAbi } from "../protocol/abi.ts";
import type { Address, Hex, SpaceTuple } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
import { sendBatched, type BatchedCall } from "./batches.ts";
import { paying, type Registry } from "./registry.ts";

export type DemandStage = (typeof DEMAND_STAGES)[number];

export interface Demand {
  readonly id: bigint;
  readonly participant: Address;
  readonly challenger: Address;
  readonly stage: DemandStage;
  /** null for what the model's root binds itself */
  readonly unit: UnitName | null;
  /** seconds since 1970; 0 while no clock runs */
  readonly deadline: number;
}

/** `TestOpening` of the contracts. */
export interface TestOpening {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly classes: number;
  readonly labels: Hex;
  readonly samplesRoot: Hex;
}

/** The layer of a demand for what the model's root binds itself. */
const OPENING = 2 ** 32 - 1;
const NO_UNIT: WholeUnit = { bias: 0, rows: [], weights: "0x", siblings: [] };

/** At most, apart from the bytes of what is published. */
const DEMAND_GAS = 130_000;
const ANSWER_GAS = 150_000;
const EXPIRE_GAS = 120_000;

export async function createModelDisputes(chain: ChainClient, registry: Registry, address: Address) {
  const at = { abi: disputesAbi, address } as const;
  const since = { fromBlock: BigInt(chain.deployment.fromBlock) } as const;
  const batched = async <Call extends BatchedCall>(
    calls: readonly Call[],
    renew?: (refused: readonly Call[]) => Promise<readonly Call[]>,
  ): Promise<number> => {
    const multicall = (data: readonly Hex[]) => chain.send({ ...at, functionName: "multicall", args: [data] });
    const { taken, failure } = await sendBatched(calls, multicall, renew);
    if (failure !== null) throw failure;
    return taken;
  };
  const demandOf = async (id: bigint): Promise<Demand> => {
    const view = await chain.read({ ...at, functionName: "demandOf", args: [id] });
    const { participant, challenger, layer, index, deadline } = view;
    const unit = layer === OPENING ? null : { layer, index };
    return { id, participant, challenger, stage: DEMAND_STAGES[view.stage]!, unit, deadline };
  };
  const price = await chain.read({ ...at, functionName: "demandPrice", args: [] });

  return {
    /** what a demand costs */
    price,

    /** All demands of a task's candidates, in the order in which they were raised. */
    demandsIn: async (taskId: bigint): Promise<Demand[]> => {
      const logs = await chain.client.getContractEvents({ ...at, eventName: "Demanded", args: { taskId }, ...since });
      return Promise.all(logs.map(({ args }) => demandOf(args.demandId!)));
    },

    /** What a demand made the claimant publish of its model; undefined where it has not. */
    shownModel: async (demandId: bigint): Promise<ModelOpening | undefined> => {
      const args = { demandId };
      return (await chain.client.getContractEvents({ ...at, eventName: "ModelShown", args, ...since })).at(-1)?.args
        .model;
    },
    shownUnit: async (demandId: bigint): Promise<WholeUnit | undefined> => {
      const args = { demandId };
      return (await chain.client.getContractEvents({ ...at, eventName: "UnitShown", args, ...since })).at(-1)?.args
        .unit;
    },

    /**
     * Demands units, or with null the architecture; the account pays the price of each. One allowance for all of them,
     * and few transactions: there may be hundreds, and little time. Parts that somebody else demanded in the meantime are
     * left out.
     * @throws PonasError funds; reverted where it is too late
     */
    demand: (taskId: bigint, parts: readonly (UnitName | null)[]) =>
      paying(chain, async () => {
        await registry.approve(address, BigInt(parts.length) * price);
        await batched(
          parts.map((unit) => {
            const args = [taskId, unit?.layer ?? OPENING, unit?.index ?? 0] as const;
            return {
              gas: DEMAND_GAS,
              data: [encodeFunctionData({ abi: disputesAbi, functionName: "demand", args })],
              alone: async () => {
                try {
                  await chain.send({ ...at, functionName: "demand", args });
                } catch (error) {
                  if (!(error instanceof PonasError && error.message.includes("AlreadyDemanded"))) throw error;
                }
              },
            };
          }),
        );
      }),

    /**
     * Publishes what is demanded, queued demands included: an answer makes room for the clock of the next one.
     * @param demands those whose clocks run first
     * @param openable opens the architecture for what the root binds, and units of it
     * @returns how many were taken
     * @throws PonasError reverted, of the first that the chain refused, after all others were taken
     */
    publish: (demands: readonly Demand[], openable: OpenableModel) => {
      const answerOf = ({ id, stage, unit }: Demand): BatchedCall & { readonly id: bigint } => {
        const answer =
          unit === null
            ? ({ ...at, functionName: "answerModel", args: [id, openable.opening] } as const)
            : ({
                ...at,
                functionName: "answerUnit",
                args: [id, openable.opening, openWholeUnit(openable, unit) ?? NO_UNIT],
              } as const);
        const start = { ...at, functionName: "expireDemand", args: [id] } as const;
        const data = encodeFunctionData(answer as Parameters<typeof encodeFunctionData>[0]);
        const queued = stage === "Queued";
        return {
          id,
          gas: ANSWER_GAS,
          data: queued ? [encodeFunctionData(start), data] : [data],
          alone: async () => {
            if (queued) await chain.send(start);
            await (answer.functionName === "answerModel" ? chain.send(answer) : chain.send(answer));
          },
        };
      };
      // Anybody may have started a clock, or have answered, in the meantime.
      const renew = async (refused: readonly { readonly id: bigint }[]) =>
        asAnswered(await Promise.all(refused.map(({ id }) => demandOf(id)))).map(answerOf);
      return batched(asAnswered(demands).map(answerOf), renew);
    },

    /** Gives prices back, starts clocks, or refutes: what time and other disputes have made of these demands. */
    expire: (ids: readonly bigint[]) =>
      batched(
        ids.map((id) => {
          const call = { ...at, functionName: "expireDemand", args: [id] } as const;
          return { gas: EXPIRE_GAS, data: [encodeFunctionData(call)], alone: () => chain.send(call) };
        }),
      ),

    showMalformedArchitecture: (
      taskId: bigint,
      participant: Address,
      model: ModelOpening,
      space: SpaceTuple,
      test: TestOpening,
    ) =>
      chain.send({ ...at, functionName: "showMalformedArchitecture", args: [taskId, participant, model, space, test] }),
    showMalformedUnit: (
      taskId: bigint,
      participant: Address,
      model: ModelOpening,
      { layer, index }: UnitName,
      unit: WholeUnit,
    ) =>
      chain.send({ ...at, functionName: "showMalformedUnit", args: [taskId, participant, model, layer, index, unit] }),

    /** Whether anybody has shown that a candidate's model is malformed. */
    isShownMalformed: async (taskId: bigint, participant: Address): Promise<boolean> => {
      const args = { taskId, participant };
      return (await chain.client.getContractEvents({ ...at, eventName: "ModelRefuted", args, ...since })).length > 0;
    },

    /** Candidates of a task that this account has shown to be malformed. */
    refutedByUs: async (taskId: bigint): Promise<Address[]> => {
      const args = { taskId, refuter: chain.account };
      const logs = await chain.client.getContractEvents({ ...at, eventName: "ModelRefuted", args, ...since });
      return logs.map((log) => log.args.participant!);
    },
    /** Validators that have lost their stake for their seal on a candidate. */
    slashed: async (taskId: bigint, participant: Address): Promise<Address[]> => {
      const args = { taskId, participant };
      const logs = await chain.client.getContractEvents({ ...at, eventName: "ValidatorSlashed", args, ...since });
      return logs.map((log) => log.args.validator!);
    },
    slash: (taskId: bigint, participant: Address, validator: Address) =>
      chain.send({ ...at, functionName: "slashValidator", args: [taskId, participant, validator] }),
  };
}

/** What can be answered, in an order in which it can: what runs makes room for what is queued. */
function asAnswered(demands: readonly Demand[]): Demand[] {
  const of = (wanted: DemandStage): Demand[] => demands.filter(({ stage }) => stage === wanted);
  return [...of("Open").toSorted((a, b) => a.deadline - b.deadline), ...of("Queued")];
}
