/**
 * A pool's manager to put load on, in a process of its own: `node manager-process.ts PLACE MINERS`, PLACE a folder or
 * a server's URL. Prints its endpoint's URL once it takes shares. Everything is the product's but the evaluation of
 * models, which takes no time: what this measures is everything around it.
 */
import { privateKeyToAccount } from "viem/accounts";

import { startPoolEndpoint } from "../../../offchain/agents/pool-endpoint.ts";
import { decodeModel, modelRoot } from "../../../offchain/evaluation/model.ts";
import { openPoolDatabase } from "../../../offchain/pool/database.ts";
import { createPoolManager } from "../../../offchain/pool/manager.ts";
import type { Evaluate } from "../../../offchain/pool/shares.ts";
import { digestOf, type Signer } from "../../../offchain/pool/signatures.ts";
import type { Hex } from "../../../offchain/protocol/bytes.ts";
import { signDigest } from "../../../offchain/protocol/secp256k1.ts";
import { IDENTITY, SILENT, taskOf } from "../kit/world.ts";

/** Key number n of the tests, signing as the agents do. */
export function signDigests(n: number): Signer {
  const key: Hex = `0x${(n + 1).toString(16).padStart(64, "0")}`;
  const { address } = privateKeyToAccount(key);
  return { address, sign: (data) => Promise.resolve(signDigest(digestOf(data), key)) };
}

/** What a model of the load counts for: its root says. */
export const correctOf = (root: Hex): number => Number.parseInt(root.slice(2, 6), 16) % 20;

const instant: Evaluate = (bytes, request) => {
  const root = modelRoot(decodeModel(bytes, { maxBytes: request.maxBytes }));
  const { count: total } = request;
  return Promise.resolve({ malformed: null, modelRoot: root, correct: correctOf(root), total } as never);
};

if (process.argv[1] === import.meta.filename) {
  const [, , place, miners] = process.argv;
  const database = await openPoolDatabase(place!);
  const manager = createPoolManager({
    database,
    identity: IDENTITY,
    receiptKey: signDigests(1000),
    evaluate: instant,
    seed: 3,
    log: SILENT,
  });
  const { signal } = new AbortController();
  await manager.openTask(taskOf(1n));
  const endpoint = await startPoolEndpoint({
    manager,
    host: "127.0.0.1",
    port: 0,
    signal,
    log: SILENT,
    // All miners of the load come from one address.
    limits: { maxConnectionsPerAddress: Number(miners) + 10, connectionBurst: Number(miners) + 10 },
  });
  setInterval(() => void manager.sweep(), 1000);
  console.log(endpoint.url);
}
