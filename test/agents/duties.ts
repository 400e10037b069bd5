import { expect } from "chai";
import { pino } from "pino";

import { createFollowed, runDuties, type Duty } from "../../offchain/agents/duties.ts";
import type { ChainClient, Head } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { sleep } from "../../offchain/protocol/wait.ts";

/** A chain that has nothing but a new head every 20 ms. */
function headsOnly(signal: AbortSignal): ChainClient {
  const heads = async function* (): AsyncGenerator<Head, void, void> {
    for (let number = 1n; !signal.aborted; number++) {
      yield { number, hash: "0x00", timestamp: number };
      await sleep(20, signal).catch(() => undefined);
    }
  };
  return { heads } as Partial<ChainClient> as ChainClient;
}

interface Line {
  readonly level: number;
  readonly msg: string;
}

function collectingLog() {
  const lines: Line[] = [];
  const log = pino({ level: "info" }, { write: (text: string) => void lines.push(JSON.parse(text) as Line) });
  return { log, lines };
}

const never = (): Promise<void> => new Promise(() => undefined);

describe("Duties", () => {
  it("go on beside one that waits for something that never comes", async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const { log } = collectingLog();
    let started = 0;
    let others = 0;
    const stuck: Duty = {
      name: "stuck",
      run: async () => {
        started++;
        await sleep(60_000, signal);
      },
    };
    const other: Duty = { name: "other", run: () => Promise.resolve(void others++) };
    const followed = createFollowed({ dutiesFor: (id) => [id === 1n ? stuck : other], log, signal });
    followed.follow(1n);
    followed.follow(2n);
    const running = runDuties({ chain: headsOnly(signal), log, signal, duties: [stuck, other], followed });
    await sleep(2500);
    stop.abort();
    await running;
    expect(started, "never twice at a time").to.equal(2);
    expect(others, "a second's patience at each head").to.be.at.least(4);
  });

  it("end when all of them say that they are done, and tasks are let go", async () => {
    const { signal } = new AbortController();
    const { log } = collectingLog();
    const ended: bigint[] = [];
    const followed = createFollowed({
      dutiesFor: () => [{ name: "once", run: () => Promise.resolve(true) }],
      onEnd: (id) => void ended.push(id),
      log,
      signal,
    });
    let heads = 0;
    const count: Duty = { name: "count", run: () => Promise.resolve(++heads === 5) };
    followed.follow(7n);
    await runDuties({ chain: headsOnly(signal), log, signal, duties: [count], followed });
    expect(heads).to.equal(5);
    expect(ended).to.deep.equal([7n]);
  });

  it("report a failure once, however often it repeats, and try again at every head", async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const { log, lines } = collectingLog();
    let tries = 0;
    const failing: Duty = {
      name: "failing",
      run: () => Promise.reject(new PonasError("unavailable", tries++ < 3 ? "It is away." : "It is broken.")),
    };
    const defect: Duty = { name: "defect", run: () => Promise.reject(new TypeError("x is not a function")) };
    const refused: Duty = { name: "refused", run: () => Promise.reject(new PonasError("reverted", "Too late.")) };
    const running = runDuties({ chain: headsOnly(signal), log, signal, duties: [failing, defect, refused] });
    while (tries < 6) await sleep(10);
    stop.abort();
    await running;
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).to.deep.equal([
      "40 failing: It is away.",
      "50 defect: x is not a function",
      "40 failing: It is broken.",
    ]);
  });

  it("are waited for when the signal fires", async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const { log } = collectingLog();
    let rested = false;
    const slow: Duty = {
      name: "slow",
      run: async () => {
        await Promise.race([never(), sleep(60_000, signal).catch(() => undefined)]);
        await sleep(100);
        rested = true;
      },
    };
    const running = runDuties({ chain: headsOnly(signal), log, signal, duties: [slow] });
    await sleep(50);
    stop.abort();
    await running;
    expect(rested).to.equal(true);
  });
});
