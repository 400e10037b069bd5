import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

import { expect } from "chai";

import { sleep } from "../../offchain/protocol/wait.ts";

/** Processes that a demo started: they carry its process id in their environment. */
function childrenOf(demo: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/environ`, "latin1").split("\0").includes(`PONAS_PARENT=${demo}`);
      } catch {
        return false; // gone, or another user's
      }
    })
    .map(Number);
}

async function untilAny(demo: number): Promise<void> {
  while (childrenOf(demo).length === 0) await sleep(50);
}

async function untilGone(demo: number, ms: number): Promise<number[]> {
  const deadline = performance.now() + ms;
  while (childrenOf(demo).length > 0 && performance.now() < deadline) await sleep(200);
  return childrenOf(demo);
}

(process.platform === "linux" ? describe : describe.skip)("A demo that is interrupted", () => {
  for (const [signal, afterMs] of [
    ["SIGINT", 0],
    ["SIGINT", 17_000],
    ["SIGKILL", 17_000],
  ] as const) {
    it(`leaves no process behind after ${signal}, ${afterMs / 1000} s after the first`, async () => {
      const demo = spawn(process.execPath, ["offchain/cli/ponas.ts", "demo"], { stdio: "ignore" });
      const ended = new Promise<number | null>((resolve) => demo.once("close", resolve));
      await untilAny(demo.pid!);
      await sleep(afterMs);
      expect(childrenOf(demo.pid!).length, "processes of the running demo").to.be.above(0);
      demo.kill(signal);
      const code = await ended;
      if (signal === "SIGINT") expect(code).to.equal(130);
      expect(await untilGone(demo.pid!, signal === "SIGINT" ? 500 : 20_000)).to.deep.equal([]);
    });
  }
});
