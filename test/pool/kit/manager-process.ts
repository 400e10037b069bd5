/**
 * A pool's manager in a process of its own, to be killed: `node manager-process.ts FOLDER PORT`. Prints "ready" once
 * it takes shares.
 */
import { startPoolEndpoint } from "../../../offchain/agents/pool-endpoint.ts";
import { openPoolDatabase } from "../../../offchain/pool/database.ts";
import { createPoolManager } from "../../../offchain/pool/manager.ts";
import { evaluate, IDENTITY, RECEIPT_KEY, SILENT, taskOf } from "./world.ts";

if (process.argv[1] === import.meta.filename) {
  const [, , dir, port] = process.argv;
  const database = await openPoolDatabase(dir!);
  const manager = createPoolManager({
    database,
    identity: IDENTITY,
    receiptKey: RECEIPT_KEY,
    evaluate,
    seed: 3,
    log: SILENT,
    rules: { neighbourShare: 0.5, subspaces: 2 },
  });
  const signal = new AbortController().signal;
  await manager.openTask(taskOf(1n));
  await startPoolEndpoint({ manager, host: "127.0.0.1", port: Number(port), signal, log: SILENT });
  setInterval(() => void manager.sweep(), 200);
  console.log("ready");
}
