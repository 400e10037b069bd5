import { once } from "node:events";
import { connect as connectSocket } from "node:net";

import { expect } from "chai";
import { WebSocket } from "ws";

import { startPoolEndpoint, type EndpointLimits, type PoolEndpoint } from "../../offchain/agents/pool-endpoint.ts";
import { createTimeOuts, createTokenBuckets } from "../../offchain/pool/limits.ts";
import { CLOSE, MANAGER_METHODS, RPC_ERROR } from "../../offchain/pool/messages.ts";
import { createRandom, type Random } from "../../offchain/protocol/random.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { refusalOf, ScriptedMiner } from "./kit/scripted-miner.ts";
import { cleanUp, createTestPool, SILENT, taskOf, type TestPool } from "./kit/world.ts";

const WAIT = { timeoutMs: 30_000 };

describe("A sender's limits", () => {
  let now = 0;
  const clock = (): number => now;

  it("give a burst, then the rate, say how long to wait, and forget those who rest", () => {
    now = 0;
    const buckets = createTokenBuckets({ rate: 2, burst: 3, clock });
    expect([1, 2, 3].map(() => buckets.take("a"))).to.deep.equal([0, 0, 0]);
    expect(buckets.take("a")).to.equal(500);
    expect(buckets.take("b")).to.equal(0);
    now = 499;
    expect(buckets.take("a")).to.be.within(1, 2);
    now = 501;
    expect(buckets.take("a")).to.equal(0);
    now = 1e9;
    expect([1, 2, 3, 4].map(() => buckets.take("a"))).to.deep.equal([0, 0, 0, 500]);
    // A clock that is set back takes nothing away and gives nothing.
    now = 5e8;
    expect(buckets.take("a")).to.be.above(0);
  });

  it("shut out whoever breaks the rules again and again, with the last reason, for as long as they say", () => {
    now = 0;
    const outs = createTimeOuts({ strikes: 3, shutOutMs: 1000, clock });
    outs.strike("a", "first");
    outs.strike("a", "second");
    now = 1001; // by now both are forgotten
    outs.strike("a", "third");
    outs.strike("a", "fourth");
    expect(outs.of("a")).to.equal(null);
    outs.strike("a", "fifth");
    expect(outs.of("a")).to.deep.equal({ ms: 1000, reason: "fifth" });
    expect(outs.of("b")).to.equal(null);
    now = 2001;
    expect(outs.of("a")).to.equal(null);
  });
});

describe("A pool's manager under miners that cost too much", () => {
  let pool: TestPool;
  let endpoint: PoolEndpoint | undefined;
  const control = new AbortController();

  async function serve(limits: Partial<EndpointLimits> = {}): Promise<string> {
    await pool.manager.openTask(taskOf(1n));
    const { manager } = pool;
    const { signal } = control;
    endpoint = await startPoolEndpoint({ manager, host: "127.0.0.1", port: 0, signal, log: SILENT, limits });
    return endpoint.url;
  }
  async function open(url: string): Promise<WebSocket> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    socket.on("error", () => undefined);
    await once(socket, "open");
    return socket;
  }
  const endOf = async (socket: WebSocket): Promise<{ code: number; reason: string }> => {
    const [code, reason] = (await once(socket, "close")) as [number, Buffer];
    return { code, reason: reason.toString("utf8") };
  };

  afterEach(async () => {
    await endpoint?.stop();
    endpoint = undefined;
    await pool.manager.stop();
  });
  after(async () => {
    control.abort();
    await cleanUp();
  });

  it("answers an account's requests above its rate with when to come again, over all its links, and tells it how it stands", async () => {
    pool = await createTestPool({ rules: { requestsPerSecond: 1, requestBurst: 5 } });
    await pool.manager.openTask(taskOf(1n));
    const [one, two] = [
      await new ScriptedMiner(pool.manager, 1).join(),
      await new ScriptedMiner(pool.manager, 1).join(),
    ];
    const status = await one.peer.request("mining.status", {}, WAIT);
    expect(status).to.deep.equal({
      miner: one.signer.address,
      sessions: 2,
      maxSessions: 16,
      offences: 0,
      maxOffences: 10,
      lastOffence: null,
      requestsPerSecond: 1,
      requestBurst: 5,
    });
    for (let request = 0; request < 4; request++) {
      await [one, two][request % 2]!.peer.request("mining.points", { taskId: "1" } as never, WAIT);
    }
    const refusal = await refusalOf(two.peer.request("mining.status", {}, WAIT));
    expect(refusal.code).to.equal(RPC_ERROR.retry);
    expect(refusal.message).to.match(/makes more than 1 requests a second; mining.status may come again in \d+ ms/);
    expect(refusal.data).to.have.keys("kind", "retryAfterMs");
    const other = await new ScriptedMiner(pool.manager, 2).join();
    expect((await other.peer.request("mining.status", {}, WAIT)).sessions).to.equal(1);
    pool.advance(1000);
    await two.peer.request("mining.status", {}, WAIT);
  });

  it("shuts an account out for a while whose links keep ending for offences, and lets it in again", async () => {
    pool = await createTestPool({ rules: { maxStrikes: 2, shutOutMs: 60_000 } });
    await pool.manager.openTask(taskOf(1n));
    for (let link = 0; link < 2; link++) {
      const miner = await new ScriptedMiner(pool.manager, 1).join();
      for (let offence = 0; offence < 10; offence++) miner.raw('{"jsonrpc":"2.0","id":900,"method":"mining.none"}');
      expect(miner.closed!.code).to.equal(CLOSE.offences);
    }
    const miner = new ScriptedMiner(pool.manager, 1);
    const refusal = await refusalOf(miner.join());
    expect(refusal.message).to.contain(
      "is shut out for 60 s, for messages against the protocol; the last one: There is no method mining.none.",
    );
    expect(refusal.data).to.deep.include({ kind: "shut-out", reason: "There is no method mining.none." });
    await new ScriptedMiner(pool.manager, 2).join();
    pool.advance(60_000);
    await new ScriptedMiner(pool.manager, 1).join();
  });

  it("refuses links that come too fast or are too many, with the reason", async () => {
    pool = await createTestPool();
    const url = await serve({ connectionsPerSecond: 1e-6, connectionBurst: 4, maxConnectionsPerAddress: 2 });
    const [first] = [await open(url), await open(url)];
    const third = await open(url);
    expect(await endOf(third)).to.deep.equal({ code: CLOSE.busy, reason: "More than 2 links from one address." });
    const closed = endOf(first);
    first.close();
    await closed;
    await open(url);
    for (const expected of ["links from one address", "links from one address"]) {
      expect((await endOf(await open(url))).reason).to.contain(expected);
    }
  });

  it("shuts an address out that keeps sending too large or malformed frames, with the reason", async () => {
    pool = await createTestPool();
    const url = await serve({ maxStrikes: 2, shutOutMs: 60_000, maxMessageBytes: 1000 });
    for (let link = 0; link < 2; link++) {
      const socket = await open(url);
      socket.send("x".repeat(1001));
      expect((await endOf(socket)).code).to.equal(1009);
    }
    const { code, reason } = await endOf(await open(url));
    expect(code).to.equal(CLOSE.busy);
    expect(reason).to.match(/^Shut out for \d+ s: Max payload size exceeded$/);
  });

  it("is not stopped by anything that is sent: malformed frames, broken messages, links cut anywhere (seeded)", async () => {
    pool = await createTestPool();
    await serve({ maxStrikes: 1e6, connectionBurst: 1e6, maxConnectionsPerAddress: 1e6 });
    const uncaught: unknown[] = [];
    const note = (error: unknown): void => void uncaught.push(error);
    process.on("unhandledRejection", note);
    for (let seed = 0; seed < 120; seed++) {
      const random = createRandom(`frames ${seed}`);
      const raw = connectSocket(endpoint!.port, "127.0.0.1").on("error", () => undefined);
      const upgrade = `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
      const cut = random.next() < 0.1 ? random.integer(upgrade.length) : upgrade.length;
      raw.write(upgrade.slice(0, cut));
      for (let frame = 0; frame < 12; frame++) {
        const bytes = frameOf(random);
        if (!raw.destroyed)
          raw.write(bytes.subarray(0, random.next() < 0.1 ? random.integer(bytes.length) : bytes.length));
        if (random.next() < 0.05) raw.destroy();
      }
      if (seed % 20 === 19) await sleep(20);
      setTimeout(() => raw.destroy(), 100);
    }
    await sleep(150);
    process.off("unhandledRejection", note);
    expect(uncaught).to.deep.equal([]);
    const miner = await new ScriptedMiner(pool.manager, 1).join();
    await miner.finish(await miner.job(0));
    expect((await pool.manager.shares(1n)).length).to.equal(1);
  });
});

/** A masked frame: mostly text with a message that is nearly right, sometimes anything. */
function frameOf(random: Random): Buffer {
  const anything = random.next() < 0.2;
  const payload = Buffer.from(anything ? bytesOf(random, 40) : messageOf(random));
  const opcode = anything ? random.integer(16) : 1;
  const head = [(random.next() < 0.9 ? 0x80 : 0) | (random.next() < 0.05 ? 0x70 : 0) | opcode];
  const masked = random.next() < 0.95 ? 0x80 : 0;
  if (payload.length < 126) head.push(masked | payload.length);
  else head.push(masked | 126, payload.length >> 8, payload.length & 255);
  return Buffer.concat([Buffer.from(head), masked === 0 ? Buffer.alloc(0) : Buffer.alloc(4), payload]);
}

const bytesOf = (random: Random, most: number): Uint8Array =>
  Uint8Array.from({ length: random.integer(most) }, () => random.integer(256));

function messageOf(random: Random): string {
  const methods = [...Object.keys(MANAGER_METHODS), "mining.nothing", "__proto__", "constructor"];
  const value = (depth: number): unknown =>
    random.choice<() => unknown>([
      () => null,
      () => random.integer(2 ** 31) - 5,
      () => 1e308 * random.next(),
      () => "0x" + "ab".repeat(random.integer(70)),
      () => Buffer.from(bytesOf(random, 30)).toString("latin1"),
      () => (depth > 3 ? [] : Array.from({ length: random.integer(4) }, () => value(depth + 1))),
      () =>
        depth > 3
          ? {}
          : Object.fromEntries(
              [
                "miner",
                "signature",
                "client",
                "benchmark",
                "lease",
                "share",
                "taskId",
                "modelRoot",
                "__proto__",
                "epoch",
              ]
                .filter(() => random.next() < 0.3)
                .map((name) => [name, value(depth + 1)]),
            ),
    ])();
  const good: Record<string, unknown> = {
    jsonrpc: "2.0",
    id: random.integer(5),
    method: random.choice(methods),
    params: value(0),
  };
  if (random.next() < 0.2) good.params = { client: "fuzz", benchmark: { imagesPerSecond: 1, macs: 1 } };
  if (random.next() < 0.1) good[random.choice(Object.keys(good))] = undefined;
  if (random.next() < 0.1) good.result = value(0);
  if (random.next() < 0.1) good.error = value(0);
  const text = JSON.stringify(random.next() < 0.05 ? [good, good] : good);
  return random.next() < 0.1 ? text.slice(0, random.integer(text.length)) : text;
}
