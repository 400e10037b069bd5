import { ensureStake } from "../../offchain/agents/stake.ts";
import { runValidator } from "../../offchain/agents/validator.ts";
import { sideBySide, startLocalNetwork, type LocalNetwork } from "./local-network.ts";
import { TOKEN } from "./noise-task.ts";
import { auditEverything, auditPool } from "./scenarios/auditing.ts";
import { mineWithinHardwareBounds } from "./scenarios/hardware.ts";
import { outliveBadLuck, withdrawFromAbsentTestSet } from "./scenarios/participation.ts";
import { objectToMissingPoints, payByReceipts } from "./scenarios/pay.ts";
import { publishOnce, releaseAfterOutage } from "./scenarios/publishing.ts";
import { passOverBadModels, voteWrongTestSet } from "./scenarios/validation.ts";

describe("Agents on a real chain", function () {
  this.timeout(480_000);
  let network: LocalNetwork | undefined;
  const daemons: Promise<void>[] = [];

  after(async () => {
    await network?.stop();
    await Promise.all(daemons);
  });

  /** Two validators follow every task of every scenario at once. */
  const setUp = async (): Promise<LocalNetwork> => {
    const started = (network = await startLocalNetwork());
    const { log, signal } = started;
    for (const index of [18, 19]) {
      const chain = await started.account(index);
      const { store, files } = await started.store(`validator-${index}`);
      await ensureStake(1000n * TOKEN, { chain, log });
      daemons.push(runValidator({ chain, store, files, log, signal, modelTimeoutMs: 3000 }));
    }
    return started;
  };

  sideBySide(setUp, {
    "validators pass over liars, malformed, oversized, absent and untiled models, and confirm the honest one":
      passOverBadModels,
    "a miner wins a task with hardware bounds by a network that carries its tiling": mineWithinHardwareBounds,
    "validators vote a test set void that is not the committed one, and everyone is made good": voteWrongTestSet,
    "validators vote a test set void that was never published, and everyone is made good": withdrawFromAbsentTestSet,
    "a claimant wins although its disk is lost twice; without test set or money it takes its bond back": outliveBadLuck,
    "a publisher releases its key after the RPC was away for 20 s": releaseAfterOutage,
    "a publisher that was stopped after paying is told so before it pays again": publishOnce,
    "miners whose manager has vanished are paid by their receipts, and not by forged ones": payByReceipts,
    "a miner that a split leaves out brings it down by its receipt, and is paid": objectToMissingPoints,
    "an auditor that is killed halfway re-derives what a pool pays, and the command says the same": auditPool,
  });

  it("leave nothing that does not follow from chain and IPFS", () => auditEverything(network!));
});
