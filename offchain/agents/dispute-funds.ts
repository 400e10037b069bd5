/** Whether an account can pay for a dispute to its end: its bond, and the gas of every move that it may have to make. */
import { formatEther } from "viem";

import { localAssetAbi } from "../protocol/abi.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import { explainError, PonasError } from "../protocol/errors.ts";
import type { Log } from "../protocol/log.ts";
import { formatAmount } from "./registry.ts";

/** All moves of a whole dispute over the largest layer of the paper's full space cost less (docs/protocol.md). */
const DISPUTE_GAS = 4_000_000n;
const TIP = 1_000_000_000n;

/**
 * @param amount units of the asset that are taken first
 * @param what it is that would be paid for, with a capital
 * @throws PonasError funds, where it could be begun but not ended
 */
export async function ensureDisputeFunds(chain: ChainClient, amount: bigint, what: string): Promise<void> {
  const { account, client, deployment } = chain;
  const token = { abi: localAssetAbi, address: deployment.asset } as const;
  const balance = await chain.read({ ...token, functionName: "balanceOf", args: [account] });
  if (balance < amount) {
    throw new PonasError(
      "funds",
      `${what} takes ${formatAmount(amount)} of the asset, but the account ${account} has ${formatAmount(balance)}.`,
      { cure: "fund the account: nothing needs to be started again" },
    );
  }
  const { baseFeePerGas } = await client.getBlock();
  const gas = DISPUTE_GAS * (2n * (baseFeePerGas ?? 0n) + TIP);
  const ether = await client.getBalance({ address: account });
  if (ether < gas) {
    throw new PonasError(
      "funds",
      `${what} may take ${formatEther(gas)} of the chain's coin for gas, but the account ${account} has ${formatEther(ether)}.`,
      { cure: "fund the account: nothing needs to be started again" },
    );
  }
}

/** Says once that the account is short of funds, and again when it was not in between. */
export function createFundsWatch(chain: ChainClient, log: Log, amount: bigint, what: string): () => Promise<void> {
  let short = false;
  return async () => {
    try {
      await ensureDisputeFunds(chain, amount, what);
      short = false;
    } catch (error) {
      if (!(error instanceof PonasError && error.code === "funds")) throw error;
      if (!short) log.warn({ event: "funds" }, explainError(error));
      short = true;
    }
  };
}
