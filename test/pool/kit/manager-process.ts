/**
 * A pool's manager in a process of its own, to be killed: `node manager-process.ts PLACE PORT`, PLACE a folder or a
 * server's URL. Prints "ready" once it takes shares. Without a port it counts the points of task 1 instead, which takes
 * it about a second: prints "ready" when it begins, and "counted" when it is done.
 */
import { startPoolEndpoint } from "../../../offchain/agents/pool-endpoint.ts";
import { openPoolDatabase } from "../../../offchain/pool/database.ts";
import { createPoolManager } from "../../../offchain/pool/manager.ts";
import { PonasError } from "../../../offchain/protocol/errors.ts";
import { sleep } from "../../../offchain/protocol/wait.ts";
import { evaluate, IDENTITY, RECEIPT_KEY, SILENT, taskOf, TEST, VALIDATION } from "./world.ts";

if (process.argv[1] === import.meta.filename) {
  const [, , place, port] = process.argv;
  const database = await openPoolDatabase(place!, { timing: { lastPauseMs: 200 } });
  const counts = port === undefined;
  const manager = createPoolManager({
    database,
    identity: IDENTITY,
    receiptKey: RECEIPT_KEY,
    evaluate: async (...request) => {
      if (counts) await sleep(20);
      return evaluate(...request);
    },
    seed: 3,
    log: SILENT,
    rules: { neighbourShare: 0.5, subspaces: 2, checkpointMs: 1 },
  });
  const signal = new AbortController().signal;
  if (counts) {
    console.log("ready");
    await manager.points(1n, { test: TEST, until: 0, signal, validation: VALIDATION });
    console.log("counted");
    await manager.stop();
    await database.close();
    process.exit();
  }
  await manager.openTask(taskOf(1n));
  await startPoolEndpoint({ manager, host: "127.0.0.1", port: Number(port), signal, log: SILENT });
  setInterval(() => {
    manager.sweep().catch((error: unknown) => {
      if (!(error instanceof PonasError && error.retryable)) throw error;
    });
  }, 200);
  console.log("ready");
}
