/** The moves of a dispute as the chain has them: one transaction each, in plain words and with its gas. */
import { decodeEventLog, decodeFunctionData, getAddress } from "viem";

import { CHALLENGE_STAGES, disputesAbi } from "../../../protocol/abi.ts";
import type { Address, Hex } from "../../../protocol/bytes.ts";
import type { ChainClient } from "../../../protocol/chain-client.ts";

export interface Move {
  readonly challenge: bigint;
  /** whose seal is challenged; null where the candidate itself is */
  readonly validator: Address | null;
  readonly by: Address;
  /** the call, as `IPredictionDisputes` names it */
  readonly call: string;
  readonly words: string;
  readonly gas: bigint;
  readonly transaction: Hex;
}

function outcomeOf(decided: Record<string, unknown> | undefined): string {
  return CHALLENGE_STAGES[Number(decided?.outcome ?? 0)]!.toLowerCase();
}

/**
 * The moves of all challenges since a block, in the order in which they were mined.
 * @param disputes the contract
 */
export async function readMoves(chain: ChainClient, disputes: Address, fromBlock: bigint): Promise<Move[]> {
  const { client } = chain;
  const logs = await client.getContractEvents({ abi: disputesAbi, address: disputes, fromBlock });
  const transactions = new Map<Hex, typeof logs>();
  for (const log of logs) {
    const own = transactions.get(log.transactionHash) ?? [];
    own.push(log);
    transactions.set(log.transactionHash, own);
  }
  const validators = new Map<bigint, Address>();
  for (const log of logs) {
    if (log.eventName === "SealChallenged") validators.set(log.args.challengeId!, log.args.validator!);
  }
  const moves = await Promise.all(
    [...transactions].map(async ([transaction, events]): Promise<Move | null> => {
      const challenge = events.flatMap(({ args }) => ("challengeId" in args ? [args.challengeId!] : [])).at(0);
      // Withdrawals, for instance, are no moves.
      if (challenge === undefined) return null;
      const sent = await client.getTransaction({ hash: transaction });
      const { gasUsed } = await client.getTransactionReceipt({ hash: transaction });
      const { functionName, args } = decodeMove(sent.input);
      const words = describe(functionName, args ?? [], events);
      const validator = validators.get(challenge) ?? null;
      return { challenge, validator, by: getAddress(sent.from), call: functionName, words, gas: gasUsed, transaction };
    }),
  );
  return moves.filter((move) => move !== null);
}

/** The call; of several in one transaction the last: what comes before it only says which challenge it is for. */
function decodeMove(data: Hex) {
  const call = decodeFunctionData({ abi: disputesAbi, data });
  const last = call.functionName === "multicall" ? call.args[0].at(-1) : undefined;
  return last === undefined ? call : decodeFunctionData({ abi: disputesAbi, data: last });
}

type Events = readonly { readonly topics: readonly Hex[]; readonly data: Hex }[];

function describe(call: string, args: readonly unknown[], events: Events): string {
  const said = new Map(
    events.map(({ topics, data }) => {
      const event = decodeEventLog({ abi: disputesAbi, topics: [...topics] as [Hex, ...Hex[]], data });
      return [event.eventName as string, event.args as Record<string, unknown>];
    }),
  );
  const [, second, third, fourth] = args;
  switch (call) {
    case "challenge":
      return `challenges the prediction of image ${said.get("Challenged")!.sample}, which is opened as class ${said.get("Challenged")!.prediction}`;
    case "challengeSeal": {
      const { sample, prediction, participant, validator } = said.get("SealChallenged")!;
      return `challenges that ${validator} sealed class ${prediction} of image ${sample} for ${participant}, which is refuted`;
    }
    case "answerTrace": {
      const { tensors, logits } = said.get("TraceAnswered") as { tensors: Hex[]; logits: number[] };
      return `shows the hashes of ${tensors.length} tensors and ${logits.length} logits, of which the one of that class is the largest`;
    }
    case "pickTensor":
      return `says which is the first wrong one: ${nameOf(Number(fourth), third as { tensors: readonly Hex[] })}`;
    case "answerRows":
      return `shows the hashes of that tensor's ${hashes(second)} rows`;
    case "pickRow":
      return `says which row is wrong: ${third}`;
    case "answerPositions":
      return `shows the hashes of that row's ${hashes(second)} positions`;
    case "pickColumn":
      return `says which position is wrong: ${third}`;
    case "answerValues":
      return "shows the values at that position";
    case "prove": {
      const decided = said.get("Decided");
      if (decided === undefined) return "has the chain sum a part of one of them";
      const { claimed, computed } = decided;
      return `has the chain compute one of them: it was claimed to be ${claimed}, the chain finds ${computed} – ${outcomeOf(decided)}`;
    }
    case "timeOut":
      return `ends it, since whose move it was let its clock run out – ${outcomeOf(said.get("Decided"))}`;
    default:
      return call;
  }
}

/** Tensors count from 0 on chain, for people from 1; the logits come after them. */
function nameOf(step: number, { tensors }: { readonly tensors: readonly Hex[] }): string {
  return step === tensors.length ? "a logit" : `tensor ${step + 1} of ${tensors.length}`;
}

function hashes(joined: unknown): number {
  return (String(joined).length - 2) / 64;
}

/** "184,211 gas" */
export function formatGas(gas: bigint): string {
  return `${gas.toLocaleString("en")} gas`;
}
