/** What a round came to, read from the chain alone. */
import pc from "picocolors";
import { CID } from "multiformats/cid";

import { percent } from "../../agents/claimant.ts";
import { formatAmount } from "../../agents/registry.ts";
import type { LedgerBlock, TaskState } from "../../agents/registry.ts";
import type { CreditReason } from "../../pool/explain-facts.ts";
import { accountsOf, CREDIT_TEXTS, explainAccount, type TaskExplanation } from "../../pool/explain.ts";
import { CREDIT_REASONS, poolAbi, taskRegistryAbi } from "../../protocol/abi.ts";
import type { Address } from "../../protocol/bytes.ts";
import type { ChainClient } from "../../protocol/chain-client.ts";
import { PonasError } from "../../protocol/errors.ts";

export interface Payment {
  readonly account: Address;
  readonly role: string;
  /** the asset's smallest unit */
  readonly amount: bigint;
  readonly reason: string;
}

export interface Summary {
  readonly blocks: readonly {
    readonly height: bigint;
    readonly taskId: bigint;
    readonly winner: Address;
    readonly winnerRole: string;
    readonly modelRoot: string;
    readonly modelCid: string;
    readonly correct: number;
    readonly total: number;
  }[];
  /** how the reward was divided: these add up to it */
  readonly payments: readonly Payment[];
  /** everything else that was credited: validators' fees, bonds */
  readonly otherCredits: readonly Payment[];
  readonly tasks: readonly {
    readonly id: bigint;
    readonly phase: string;
    readonly reward: bigint;
    readonly commitments: number;
  }[];
  /** the block's model, fetched again by its CID and evaluated anew */
  readonly reevaluated: { readonly correct: number; readonly total: number } | null;
  /** what chain and IPFS alone say of everybody's money (`ponas explain`) */
  readonly explained: {
    /** credited: until now; total: with what a call will credit */
    readonly accounts: readonly { readonly account: Address; readonly credited: bigint; readonly total: bigint }[];
    readonly disagreements: readonly string[];
  };
}

export async function readSummary(options: {
  readonly chain: ChainClient;
  readonly task: TaskState;
  /** null where the task is void */
  readonly block: (LedgerBlock & { readonly reevaluated: { correct: number; total: number } }) | null;
  readonly pool: Address;
  readonly roleOf: (account: Address) => string;
  readonly explanation: TaskExplanation;
}): Promise<Summary> {
  const { chain, task, block, pool, roleOf, explanation } = options;
  const credits = async (abi: typeof taskRegistryAbi | typeof poolAbi, address: Address) => {
    const logs = await chain.client.getContractEvents({
      abi: abi as typeof poolAbi,
      address,
      eventName: "Credited",
      args: { taskId: task.id },
      fromBlock: BigInt(chain.deployment.fromBlock),
      toBlock: explanation.at,
      strict: true,
    });
    return logs.map(({ args }) => ({ ...args, reason: CREDIT_REASONS[args.reason]! }));
  };
  const all = [...(await credits(taskRegistryAbi, chain.deployment.registry)), ...(await credits(poolAbi, pool))];
  const asPayment = ({ account, amount, reason }: (typeof all)[number]): Payment => ({
    account,
    role: roleOf(account),
    amount,
    reason: CREDIT_TEXTS[reason],
  });
  const poolWon = block?.winner.toLowerCase() === pool.toLowerCase();
  const division: CreditReason[] =
    block === null ? ["RewardReturned"] : poolWon ? ["PoolShare", "PoolFee"] : ["Reward"];
  const divides = ({ reason }: (typeof all)[number]): boolean => division.includes(reason);
  const payments = all.filter(divides).map(asPayment);
  const paid = payments.reduce((sum, { amount }) => sum + amount, 0n);
  if (paid !== task.reward) {
    throw new PonasError("integrity", `The payments add up to ${paid} units, but the reward was ${task.reward}.`);
  }
  return {
    blocks:
      block === null
        ? []
        : [
            {
              height: block.height,
              taskId: block.taskId,
              winner: block.winner,
              winnerRole: roleOf(block.winner),
              modelRoot: block.modelRoot,
              modelCid: CID.decode(block.modelCid).toString(),
              correct: block.correct,
              total: block.total,
            },
          ],
    payments,
    otherCredits: all.filter((credit) => !divides(credit) && !(poolWon && credit.reason === "Reward")).map(asPayment),
    tasks: [{ id: task.id, phase: task.phase, reward: task.reward, commitments: task.commitments }],
    reevaluated: block?.reevaluated ?? null,
    explained: {
      accounts: accountsOf(explanation).map((account) => {
        const { total, parts } = explainAccount(explanation, account);
        const had = parts.filter(({ status }) => status === "credited");
        return { account, total, credited: had.reduce((sum, { amount }) => sum + amount, 0n) };
      }),
      disagreements: explanation.disagreements.map(({ message }) => message),
    },
  };
}

export function describeSummary({ blocks, payments, otherCredits, tasks, reevaluated, explained }: Summary): string {
  const lines: string[] =
    blocks.length > 0 ? [] : [pc.bold("No block: nobody found a model worth a claim, and the task is void.")];
  for (const block of blocks) {
    lines.push(
      pc.bold(
        `Block ${block.height}: ${block.correct} of ${block.total} correct (${percent(block.correct, block.total)}), won by the ${block.winnerRole}`,
      ),
      `  model      ${block.modelCid}`,
      `  modelRoot  ${block.modelRoot}`,
      `  winner     ${block.winner}`,
    );
    if (reevaluated !== null)
      lines.push(
        `  checked    fetched back by its CID, evaluated anew: ${reevaluated.correct} of ${reevaluated.total}`,
      );
  }
  const row = ({ account, role, amount, reason }: Payment): string =>
    `  ${formatAmount(amount).padStart(22)}  ${role.padEnd(13)} ${account}  ${reason}`;
  lines.push("", `Reward of ${formatAmount(tasks[0]!.reward)}, divided:`, ...payments.map(row));
  const fees = otherCredits.filter(({ reason }) => reason === CREDIT_TEXTS.ValidatorFee);
  const rest = otherCredits.filter(({ reason }) => reason !== CREDIT_TEXTS.ValidatorFee);
  if (fees.length > 0) lines.push("", "Validators' fee, divided:", ...fees.map(row));
  if (rest.length > 0) lines.push("", "Returned:", ...rest.map(row));
  lines.push(
    "",
    explained.disagreements.length === 0
      ? "Re-derived: every one of these amounts follows from chain and IPFS alone, to the last unit (ponas explain)."
      : pc.red("Not everything follows from chain and IPFS:"),
    ...explained.disagreements.map((message) => `  ${message}`),
  );
  return lines.join("\n");
}
