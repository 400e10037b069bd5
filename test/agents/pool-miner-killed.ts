import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { startPoolEndpoint } from "../../offchain/agents/pool-endpoint.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { cleanUp, createTestPool, evaluate, scratchFolder, SILENT, taskOf } from "../pool/kit/world.ts";

const CHILD = join(import.meta.dirname, "kit/miner-process.ts");
const KILLS = 5;

describe("A pool's miner that is killed", () => {
  after(cleanUp);

  it("at random instants, with several workers, loses no finished trial and is paid for none twice", async () => {
    const control = new AbortController();
    const { signal } = control;
    // A check that takes a while, so that many a kill comes between the share and its verdict.
    const pool = await createTestPool({
      evaluate: async (...request) => {
        await sleep(40);
        return evaluate(...request);
      },
    });
    const { manager } = pool;
    await manager.openTask(taskOf(1n));
    const { url } = await startPoolEndpoint({ manager, host: "127.0.0.1", port: 0, signal, log: SILENT });
    const dir = scratchFolder();
    const random = createRandom("killed miners");
    let finished = "";
    let child: ChildProcess | undefined;

    async function start(workers: number): Promise<void> {
      const before = finished.length;
      const started = (child = spawn(process.execPath, [CHILD, url, dir, String(workers)], {
        stdio: ["ignore", "pipe", "inherit"],
      }));
      started.stdout!.on("data", (chunk: Buffer) => (finished += chunk.toString()));
      while (finished.length === before) await sleep(5);
    }
    async function kill(): Promise<void> {
      const closed = once(child!, "close");
      child!.kill("SIGKILL");
      await closed;
    }

    try {
      for (let round = 0; round < KILLS; round++) {
        // Fewer workers than before, too: somebody must answer for what the others have left.
        await start([3, 3, 1, 2, 3][round]!);
        await sleep(random.integer(400));
        await kill();
      }
      const left = readdirSync(join(dir, "unsent")).filter((name) => name.endsWith(".json"));
      await start(3);
      const waiting = (): string[] => readdirSync(join(dir, "unsent")).filter((name) => left.includes(name));
      for (let waited = 0; waiting().length > 0 && waited < 30_000; waited += 50) await sleep(50);
      expect(waiting()).to.deep.equal([]);
      await kill();
    } finally {
      child?.kill("SIGKILL");
    }

    // What the last life had finished, another one hands in.
    const kept = readdirSync(join(dir, "unsent")).map((name) => Number.parseInt(name, 10));
    const accepted = await manager.shares(1n);
    const lines = finished.trim().split("\n");
    expect(lines.length).to.be.above(KILLS);
    for (const line of lines) {
      const [lease, root] = line.split(" ");
      const counted = accepted.filter((share) => share.lease === Number(lease));
      if (kept.includes(Number(lease))) continue;
      expect(counted, `lease ${lease}`).to.have.length(1);
      expect(counted[0]!.modelRoot).to.equal(root);
    }
    expect(new Set(accepted.map(({ lease }) => lease)).size).to.equal(accepted.length);
    control.abort();
    await manager.stop();
  });
});
