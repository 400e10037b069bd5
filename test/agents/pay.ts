import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";
import { pino } from "pino";

import type { PoolConnection } from "../../offchain/agents/pool-connection.ts";
import type { PoolContract } from "../../offchain/agents/pool-contract.ts";
import { runPoolMiner, type PoolMinerOptions } from "../../offchain/agents/pool-miner.ts";
import { createStateFolder } from "../../offchain/agents/state-folder.ts";
import type { TaskFiles } from "../../offchain/agents/task-files.ts";
import { buildPointsTree } from "../../offchain/pool/points-tree.ts";
import type { Address, Hex } from "../../offchain/protocol/bytes.ts";
import type { ChainClient, Head } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { cidOf } from "../../offchain/storage/cid.ts";
import type { ModelStore } from "../../offchain/storage/model-store.ts";

const MINER: Address = "0x0000000000000000000000000000000000000011";
const OTHER: Address = "0x0000000000000000000000000000000000000022";
const tree = buildPointsTree([
  { account: MINER, points: 30n },
  { account: OTHER, points: 10n },
]);
const good = JSON.stringify({
  points: tree.leaves.map(({ account, points }) => ({ account, points: String(points) })),
});
const lie = JSON.stringify({ points: [{ account: MINER, points: "31" }] });

/** What the file of each task's split is; a task that is not here has none that arrives. */
const FILES: Record<string, string> = { 1: "no JSON at all", 2: '{"points":7}', 3: lie, 5: good };
const TASKS = 5n;

describe("A pool's miner", () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "ponas-pay-"))));
  afterEach(() => rmSync(dir, { recursive: true }));

  /** Five tasks that the pool has won and split; each head is 5 seconds after the one before. */
  function world(stop: AbortController, phase = () => "Claims") {
    const { signal } = stop;
    const lines: { level: number; msg: string }[] = [];
    const log = pino({ level: "info" }, { write: (text: string) => void lines.push(JSON.parse(text) as never) });
    const claims: bigint[] = [];
    const collected: bigint[] = [];
    const fetched = new Map<string, number>();
    let credit = 0n;
    const chain = {
      account: MINER,
      domain: { chainId: 1n },
      deployment: {},
      heads: async function* (): AsyncGenerator<Head, void, void> {
        for (let at = 1n; !signal.aborted; at++) {
          yield { number: at, hash: "0x00", timestamp: 5n * at };
          await sleep(20, signal).catch(() => undefined);
        }
      },
      read: () => Promise.resolve(TASKS), // taskCount
    } as unknown as ChainClient;
    const cids = new Map<string, string>();
    const pool = {
      account: () => Promise.resolve({ phase: phase(), split: { root: tree.root } }),
      sharesCid: async (taskId: bigint): Promise<Hex> => {
        const { bytes } = await cidOf(Buffer.from(`shares of ${taskId}`));
        const hex = Buffer.from(bytes).toString("hex");
        cids.set(hex, String(taskId));
        return `0x${hex}`;
      },
      isClaimed: () => Promise.resolve(false),
      hasWon: (taskId: bigint) => Promise.resolve(taskId <= 2n),
      collect: (taskId: bigint) => Promise.resolve(void collected.push(taskId)),
      claim: (taskId: bigint) => {
        claims.push(taskId);
        credit += 5n;
        return Promise.resolve();
      },
      credit: () => Promise.resolve(credit),
      withdraw: () => Promise.resolve(void (credit = 0n)),
    } as unknown as PoolContract;
    const store = {
      get: async (cid: Uint8Array, { signal: wanted }: { signal: AbortSignal }) => {
        const taskId = cids.get(Buffer.from(cid).toString("hex"))!;
        fetched.set(taskId, (fetched.get(taskId) ?? 0) + 1);
        const text = FILES[taskId];
        if (text !== undefined) return Buffer.from(text);
        await sleep(60_000, wanted); // on its way for ever
        throw new PonasError("unavailable", "It did not arrive.");
      },
    } as unknown as ModelStore;
    const files = { forget: () => undefined } as unknown as TaskFiles;
    const connection = {
      nextJob: () =>
        Promise.reject(new PonasError("pool", "The pool has banned this miner: one of its shares was false.")),
      connected: () => false,
    } as unknown as PoolConnection;
    const state = createStateFolder(dir);
    const workers = [{ connection, worker: undefined }];
    const outbox = { forget: () => undefined, accepted: () => [] };
    const options = { chain, pool, workers, outbox, files, store, state, log, signal } as unknown as PoolMinerOptions;
    return { options, lines, claims, collected, fetched };
  }

  it("fetches what its pool has won, where the manager has not for half a minute, and nothing else", async () => {
    const stop = new AbortController();
    let looks = 0;
    const { options, collected } = world(stop, () => (++looks > 5 * 9 ? "Closed" : "Committed"));
    const running = runPoolMiner(options);
    await sleep(100);
    expect(collected, "it is the manager's turn").to.deep.equal([]);
    await sleep(700);
    stop.abort();
    await running;
    expect([...new Set(collected)].sort()).to.deep.equal([1n, 2n]);
  });

  it("is paid although it is banned, and other tasks' shares files lie, are broken, or never arrive", async () => {
    const stop = new AbortController();
    const { options, lines, claims, fetched } = world(stop);
    const running = runPoolMiner(options);
    await sleep(4500);
    stop.abort();
    await running;

    expect(claims).to.deep.equal([5n]);
    const sentences = lines.filter(({ level }) => level >= 40).map(({ msg }) => msg);
    expect(sentences).to.have.members([
      "no more jobs, only claims of what was earned: The pool has banned this miner: one of its shares was false.",
      "claim pay of task 1: The shares file of task 1 is not JSON.",
      "claim pay of task 2: The shares file of task 2 is not valid at points: Invalid input: expected array, received number.",
      "claim pay of task 3: The shares file of task 3 has another root than the split on chain.",
    ]);
    expect(lines.map(({ msg }) => msg)).to.include("claimed 30 points of task 5");
    // Tried again, but not at every head: after 5 seconds, then 10, then 20.
    expect(fetched.get("3")).to.be.within(2, 4);
    expect(fetched.get("4"), "one fetch at a time").to.equal(1);
  });
});
