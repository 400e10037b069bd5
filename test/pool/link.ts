import { once } from "node:events";
import { createServer } from "node:net";

import { expect } from "chai";
import { WebSocket } from "ws";

import {
  connectToPool,
  type PoolConnection,
  type PoolConnectionOptions,
} from "../../offchain/agents/pool-connection.ts";
import { createPoolOutbox } from "../../offchain/agents/pool-outbox.ts";
import { startPoolEndpoint, type EndpointLimits, type PoolEndpoint } from "../../offchain/agents/pool-endpoint.ts";
import { CLOSE } from "../../offchain/pool/messages.ts";
import type { PoolManagerOptions } from "../../offchain/pool/manager.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { FAST, SLOW } from "./kit/scripted-miner.ts";
import {
  cleanUp,
  createTestPool,
  evaluate,
  IDENTITY,
  scratchFolder,
  signerOf,
  SILENT,
  taskOf,
  trialOf,
  type TestPool,
} from "./kit/world.ts";

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await condition()); waited += 10) {
    if (waited > 10_000) throw new Error("it did not come to pass within 10 s");
    await sleep(10);
  }
}

async function failureOf(promise: Promise<unknown>): Promise<PonasError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PonasError) return error;
    throw error;
  }
  throw new Error("nothing failed");
}

describe("A miner's link to its pool", () => {
  let pool: TestPool;
  let endpoint: PoolEndpoint;
  let control: AbortController;
  let connections: PoolConnection[];

  async function serve(
    options: Partial<PoolManagerOptions> & { port?: number; limits?: Partial<EndpointLimits> } = {},
  ): Promise<void> {
    const { port = 0, limits, ...rest } = options;
    pool = await createTestPool(rest);
    const { manager } = pool;
    endpoint = await startPoolEndpoint({
      manager,
      host: "127.0.0.1",
      port,
      signal: control.signal,
      log: SILENT,
      limits,
    });
  }
  async function stopServing(): Promise<void> {
    await endpoint.stop();
    await pool.manager.stop();
  }
  function connect(key: number, options: Partial<PoolConnectionOptions> = {}): PoolConnection {
    const connection = connectToPool({
      url: endpoint.url,
      signer: signerOf(key),
      benchmark: FAST,
      signal: control.signal,
      log: SILENT,
      timing: { firstPauseMs: 20, lastPauseMs: 100, requestMs: 5000 },
      ...options,
    });
    connections.push(connection);
    return connection;
  }
  async function mine(connection: PoolConnection) {
    const { share, model } = await trialOf(await connection.nextJob());
    return { share, verdict: await connection.submit(share, model) };
  }

  beforeEach(() => {
    control = new AbortController();
    connections = [];
  });
  afterEach(async () => {
    control.abort();
    await Promise.all(connections.map((connection) => connection.close()));
    await stopServing();
  });
  after(cleanUp);

  it("carries jobs, shares, models and targets", async () => {
    await serve({ rules: { neighbourShare: 0, reseedShare: 0 } });
    await pool.manager.openTask(taskOf(1n));
    const targets: number[] = [];
    const ada = connect(1, { handlers: { onTarget: ({ best }) => targets.push(best.correct) } });
    const { share, verdict } = await mine(ada);
    expect(verdict.status).to.equal("accepted");
    await until(() => targets.includes(share.validation.correct));
    expect(ada.target()!.best).to.deep.equal(share.validation);
    const weak = connect(2, { benchmark: SLOW });
    const job = await weak.nextJob();
    expect(job.initial!.modelRoot).to.equal(share.modelRoot);
    expect(Buffer.from(job.initialBytes!).equals((await pool.manager.best(1n))!.bytes)).to.equal(true);
    expect(await weak.receipt(1n)).to.equal(null);
  });

  it("carries models of many chunks both ways", async () => {
    // 50 filters of 9×9×50: some 400 KB, so two chunks.
    const wide = { kernelHeight: [9], kernelWidth: [9], filters: [50], strideHeight: [1], strideWidth: [1] };
    const task = taskOf(1n);
    const { descriptor } = task;
    const space = { ...descriptor.space, ...wide };
    const big = { ...task, descriptor: { ...descriptor, space, maxModelBytes: 1_000_000 } };
    await serve({ rules: { neighbourShare: 0, reseedShare: 0 } });
    await pool.manager.openTask(big);
    const ada = connect(1);
    const job = await ada.nextJob();
    const { share, model } = await trialOf(job);
    expect(model.length).to.be.greaterThan(400_000);
    expect((await ada.submit(share, model)).status).to.equal("accepted");
    const weak = connect(2, { benchmark: SLOW });
    expect(Buffer.from((await weak.nextJob()).initialBytes!).equals(model)).to.equal(true);
  });

  it("keeps its job over a broken link, and takes it away when the pool has another", async () => {
    await serve({ rules: { heartbeatMs: 300 } });
    await pool.manager.openTask(taskOf(1n));
    const ada = connect(1);
    const job = await ada.nextJob();
    const { port } = endpoint;
    const { database } = pool;
    await stopServing();
    await until(() => !ada.connected());
    await serve({ port, database, rules: { heartbeatMs: 300 } });
    await pool.manager.openTask(taskOf(1n));
    await until(() => ada.connected());
    await sleep(50);
    expect(await ada.nextJob()).to.equal(job);
    expect(job.signal.aborted).to.equal(false);

    await pool.manager.closeTask("The phase is over.");
    await until(() => job.signal.aborted);
    await pool.manager.openTask(taskOf(2n));
    expect((await ada.nextJob()).taskId).to.equal(2n);
  });

  it("hands in a share that was finished while the pool was away", async () => {
    await serve();
    await pool.manager.openTask(taskOf(1n));
    const ada = connect(1);
    const { share, model } = await trialOf(await ada.nextJob());
    const { port } = endpoint;
    const { database } = pool;
    await stopServing();
    await until(() => !ada.connected());
    const verdict = ada.submit(share, model);
    await serve({ port, database });
    // The manager is back before it knows what it works on; the share waits for that, too.
    await sleep(150);
    await pool.manager.openTask(taskOf(1n));
    expect((await verdict).status).to.equal("accepted");
    expect(await pool.manager.shares(1n)).to.have.length(1);
  });

  it("hands in after its own death what it had finished, and resumes its session", async () => {
    let hold = true;
    let asked = 0;
    await serve({
      evaluate: async (bytes, request) => {
        asked++;
        while (hold) await sleep(10);
        return evaluate(bytes, request);
      },
    });
    await pool.manager.openTask(taskOf(1n));
    const stateDir = scratchFolder();
    const first = connect(1, { outbox: createPoolOutbox(stateDir) });
    const { share, model } = await trialOf(await first.nextJob());
    const lost = failureOf(first.submit(share, model));
    await until(() => asked > 0);
    await first.close();
    expect((await lost).code).to.equal("aborted");
    hold = false;
    const second = connect(1, { outbox: createPoolOutbox(stateDir) });
    await until(async () => (await pool.manager.shares(1n)).length === 1);
    const next = await second.nextJob();
    expect(next.lease).to.not.equal(share.lease);
    const third = connect(1, { outbox: createPoolOutbox(stateDir) });
    expect(
      (
        await failureOf(
          second
            .nextJob()
            .then(() => until(() => !second.connected()))
            .then(() => second.nextJob()),
        )
      ).message,
    ).to.equal("Another process has taken over this miner's session.");
    expect((await third.nextJob()).lease).to.equal(next.lease);
  });

  it("tells a banned miner why, once and for all", async () => {
    await serve();
    await pool.manager.openTask(taskOf(1n));
    const liar = connect(1);
    const { share, model } = await trialOf(await liar.nextJob());
    const validation = { ...share.validation, correct: share.validation.correct - 1 };
    const verdict = await liar.submit({ ...share, validation }, model);
    expect(verdict.status).to.equal("refused");
    expect((await failureOf(liar.nextJob())).message).to.match(/^The pool has banned this miner: The model has/);
    const back = connect(1);
    expect((await failureOf(back.nextJob())).message).to.contain("is banned from this pool.");
  });

  it("refuses an endpoint of another pool than it means", async () => {
    await serve();
    const lost = connect(1, { expected: { ...IDENTITY, chainId: 1n } });
    const failure = await failureOf(lost.nextJob());
    expect(failure.code).to.equal("chain-mismatch");
    expect(failure.message).to.contain("on chain 31337, not of");
  });

  it("tries until there is an endpoint, and stops at once when told to", async () => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    await serve({ port: 0 });
    const early = connect(1, { url: `ws://127.0.0.1:${port}` });
    const waiting = failureOf(early.nextJob());
    const offline = await failureOf(
      connect(2, { url: `ws://127.0.0.1:${port}`, timing: { requestMs: 100 } }).receipt(1n),
    );
    expect(offline.message).to.equal(`There is no link to the pool at ws://127.0.0.1:${port}.`);
    const start = performance.now();
    await early.close();
    expect((await waiting).code).to.equal("aborted");
    expect(performance.now() - start).to.be.lessThan(5000);
  });

  it("notices an endpoint that has gone silent", async () => {
    await serve({ limits: { pingMs: 3_600_000 } });
    const ada = connect(1, { timing: { silentMs: 200, firstPauseMs: 20, lastPauseMs: 50 } });
    await until(() => ada.connected());
    await until(() => !ada.connected());
    await until(() => ada.connected());
  });

  it("says in one sentence that its port is taken", async () => {
    await serve();
    const { manager } = pool;
    const second = startPoolEndpoint({
      manager,
      host: "127.0.0.1",
      port: endpoint.port,
      signal: control.signal,
      log: SILENT,
    });
    const failure = await failureOf(second);
    expect(failure.message).to.equal(`The port ${endpoint.port} on 127.0.0.1 for the pool's endpoint is in use.`);
  });

  describe("where clients misbehave", () => {
    async function raw(
      url = endpoint.url,
    ): Promise<{ socket: WebSocket; closed: Promise<{ code: number; reason: string }> }> {
      const socket = new WebSocket(url);
      const closed = new Promise<{ code: number; reason: string }>((resolve) => {
        socket.on("close", (code, reason) => resolve({ code, reason: reason.toString("utf8") }));
        socket.on("error", () => undefined);
      });
      await once(socket, "open");
      return { socket, closed };
    }

    it("cuts off one that floods, with the reason, while the others go on", async () => {
      await serve();
      await pool.manager.openTask(taskOf(1n));
      const ada = connect(1);
      const { socket, closed } = await raw();
      const flood = setInterval(() => {
        for (let i = 0; i < 50; i++) socket.send('{"jsonrpc":"2.0","method":"mining.dance"');
      }, 1);
      const results = [];
      for (let round = 0; round < 3; round++) results.push((await mine(ada)).verdict.status);
      const { code } = await closed;
      clearInterval(flood);
      expect([CLOSE.flood, CLOSE.offences]).to.include(code);
      expect(results).to.deep.equal(["accepted", "accepted", "accepted"]);
    });

    it("cuts off one that sends faster than the rate, even where every message is well formed", async () => {
      await serve({ limits: { messageBurst: 20, messagesPerSecond: 5 } });
      const { socket, closed } = await raw();
      for (let id = 0; id < 40; id++) {
        const params = { client: "flood", benchmark: FAST };
        socket.send(JSON.stringify({ jsonrpc: "2.0", id, method: "mining.subscribe", params }));
      }
      expect(await closed).to.deep.equal({ code: CLOSE.flood, reason: "More than 5 messages a second." });
    });

    it("cuts off one whose message is too long, without reading it", async () => {
      await serve();
      const { socket, closed } = await raw();
      socket.send("x".repeat(600 * 1024));
      expect((await closed).code).to.equal(1009);
    });

    it("takes no binary messages", async () => {
      await serve();
      const { socket, closed } = await raw();
      socket.send(Buffer.from("{}"));
      expect(await closed).to.deep.equal({ code: CLOSE.offences, reason: "Messages are text." });
    });

    it("drops one that does not read what it asks for", async () => {
      await serve();
      let told = 0;
      // In place of the manager, something that answers every message at length.
      const manager: Pick<typeof pool.manager, "connect"> = {
        connect: (channel) => ({ receive: () => channel.send("x".repeat(200_000)), closed: () => told++ }),
      };
      const limits = { messageBurst: 1e6, maxUnreadBytes: 1_000_000 };
      const talker = await startPoolEndpoint({
        manager,
        host: "127.0.0.1",
        port: 0,
        signal: control.signal,
        log: SILENT,
        limits,
      });
      const { socket, closed } = await raw(talker.url);
      socket.pause();
      for (let i = 0; i < 500 && told === 0; i++) {
        socket.send("more");
        await sleep(1);
      }
      expect(told).to.be.greaterThan(0);
      socket.resume();
      expect((await closed).code).to.equal(CLOSE.slow);
      await talker.stop();
    });

    it("lets only so many links of one address in", async () => {
      await serve({ limits: { maxConnectionsPerAddress: 2 } });
      await raw();
      await raw();
      const { closed } = await raw();
      expect((await closed).code).to.equal(CLOSE.busy);
    });

    it("drops one that is gone without a word", async () => {
      await serve({ limits: { pingMs: 50 } });
      const { socket, closed } = await raw();
      socket.pause();
      await sleep(200);
      socket.resume();
      expect((await closed).code).to.equal(1006);
    });
  });
});
