/**
 * The part of the disputes contract that is about a candidate's whole model: malformed ones, parts that are demanded,
 * and validators that sealed what was refuted.
 */
import type { ModelOpening } from "../evaluation/dispute-openings.ts";
import type { UnitName, WholeUnit } from "../evaluation/model-parts.ts";
import { DEMAND_STAGES, disputesAbi } from "../protocol/abi.ts";
import type { Address, Hex, SpaceTuple } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { PonasError } from "../protocol/errors.ts";
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

export async function createModelDisputes(chain: ChainClient, registry: Registry, address: Address) {
  const at = { abi: disputesAbi, address } as const;
  const since = { fromBlock: BigInt(chain.deployment.fromBlock) } as const;
  const price = await chain.read({ ...at, functionName: "demandPrice", args: [] });

  return {
    /** what a demand costs */
    price,

    /** All demands of a task's candidates, in the order in which they were raised. */
    demandsIn: async (taskId: bigint): Promise<Demand[]> => {
      const logs = await chain.client.getContractEvents({ ...at, eventName: "Demanded", args: { taskId }, ...since });
      return Promise.all(
        logs.map(async ({ args }): Promise<Demand> => {
          const id = args.demandId!;
          const view = await chain.read({ ...at, functionName: "demandOf", args: [id] });
          const { participant, challenger, layer, index, deadline } = view;
          const unit = layer === OPENING ? null : { layer, index };
          return { id, participant, challenger, stage: DEMAND_STAGES[view.stage]!, unit, deadline };
        }),
      );
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
     * Demands units, or with null the architecture; the account pays the price of each. One allowance for all of them:
     * there may be hundreds, and little time. Parts that somebody else demanded in the meantime are left out.
     * @throws PonasError funds; reverted where it is too late
     */
    demand: (taskId: bigint, parts: readonly (UnitName | null)[]) =>
      paying(chain, async () => {
        await registry.approve(address, BigInt(parts.length) * price);
        for (const unit of parts) {
          try {
            const args = [taskId, unit?.layer ?? OPENING, unit?.index ?? 0] as const;
            await chain.send({ ...at, functionName: "demand", args });
          } catch (error) {
            if (!(error instanceof PonasError && error.message.includes("AlreadyDemanded"))) throw error;
          }
        }
      }),
    answerModel: (id: bigint, model: ModelOpening) =>
      chain.send({ ...at, functionName: "answerModel", args: [id, model] }),
    answerUnit: (id: bigint, model: ModelOpening, unit: WholeUnit) =>
      chain.send({ ...at, functionName: "answerUnit", args: [id, model, unit] }),
    expireDemand: (id: bigint) => chain.send({ ...at, functionName: "expireDemand", args: [id] }),

    showMalformedArchitecture: (taskId: bigint, model: ModelOpening, space: SpaceTuple, test: TestOpening) =>
      chain.send({ ...at, functionName: "showMalformedArchitecture", args: [taskId, model, space, test] }),
    showMalformedUnit: (taskId: bigint, model: ModelOpening, { layer, index }: UnitName, unit: WholeUnit) =>
      chain.send({ ...at, functionName: "showMalformedUnit", args: [taskId, model, layer, index, unit] }),

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
