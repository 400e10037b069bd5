/**
 * A pool's miner in a process of its own, to be killed: `node miner-process.ts URL FOLDER WORKERS [KEY]`. Prints a line
 * for each finished trial that is on the disk.
 */
import { writeSync } from "node:fs";

import { connectToPool } from "../../../offchain/agents/pool-connection.ts";
import { runJobs } from "../../../offchain/agents/pool-jobs.ts";
import { createPoolOutbox } from "../../../offchain/agents/pool-outbox.ts";
import { FAST } from "../../pool/kit/scripted-miner.ts";
import { signerOf, SILENT } from "../../pool/kit/world.ts";
import { files, quickTrainer, taskOf } from "./trainers.ts";

if (process.argv[1] === import.meta.filename) {
  const [, , url, dir, count, key = "1"] = process.argv;
  const kept = createPoolOutbox(dir);
  const outbox: typeof kept = {
    ...kept,
    put(share) {
      kept.put(share);
      const { lease, modelRoot } = share.signed.share;
      writeSync(1, `${lease} ${modelRoot}\n`);
    },
  };
  const { signal } = new AbortController();
  const workers = Array.from({ length: Number(count) }, (_, worker) => ({
    worker: quickTrainer(20),
    connection: connectToPool({
      url: url!,
      signer: signerOf(Number(key)),
      benchmark: FAST,
      outbox,
      worker,
      signal,
      log: SILENT,
      timing: { firstPauseMs: 20, lastPauseMs: 100, orphanMs: 500 },
    }),
  }));
  await runJobs({ taskOf, workers, files, onTask: () => undefined, log: SILENT, signal });
}
