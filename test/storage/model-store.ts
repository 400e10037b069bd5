import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { cidOf } from "../../offchain/storage/cid.ts";
import { createModelStore } from "../../offchain/storage/model-store.ts";
import { createBench, failure, MIB, randomBytes } from "./support.ts";

const NODE_MODULE = new URL("../../offchain/storage/ipfs-node.ts", import.meta.url).href;
const STORE_MODULE = new URL("../../offchain/storage/model-store.ts", import.meta.url).href;

/** Runs a node in a process of its own, which puts what `script` says and prints its addresses and CIDs. */
async function otherProcess(dir: string, script: string, ...flags: string[]) {
  const code = `
    const { startIpfsNode } = await import(${JSON.stringify(NODE_MODULE)});
    const { createModelStore } = await import(${JSON.stringify(STORE_MODULE)});
    const node = await startIpfsNode({ dir: ${JSON.stringify(dir)} });
    const store = createModelStore({ rpcUrl: node.rpcUrl });
    const print = (value) => console.log(JSON.stringify(value));
    ${script}`;
  const child = spawn(process.execPath, [...flags, "--input-type=module", "-e", code], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdout.setEncoding("utf8");
  const lines = child.stdout.iterator({ destroyOnReturn: false }) as AsyncIterator<string>;
  let text = "";
  const line = async (): Promise<unknown> => {
    while (!text.includes("\n")) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error("the other process ended");
      text += value;
    }
    const end = text.indexOf("\n");
    const first = text.slice(0, end);
    text = text.slice(end + 1);
    return JSON.parse(first);
  };
  return { child, line };
}

describe("The model store", () => {
  const bench = createBench();
  afterEach(() => bench.clear());

  it("puts a file at one node and gets it at another, of every size around a leaf's", async () => {
    const a = await bench.node();
    const b = await bench.node({ peers: a.multiaddrs });
    const here = createModelStore({ rpcUrl: a.rpcUrl });
    const there = createModelStore({ rpcUrl: `${b.rpcUrl}/api/v0/` });
    for (const size of [0, 1, MIB, MIB + 1, 3.5 * MIB]) {
      const bytes = randomBytes(size, size);
      const put = await here.put(bytes);
      expect(put.size).equal(size);
      expect(put.cid).equal(String(await cidOf(bytes)));
      const got = await there.get(put.cidBytes, { maxBytes: size, timeoutMs: 10_000 });
      expect(Buffer.from(got).equals(bytes)).equal(true);
      expect(await there.get(put.cid, { maxBytes: 2 ** 40, timeoutMs: 10_000 })).length(size);
      if (size > 0) {
        const { code, message } = await failure(there.get(put.cid, { maxBytes: size - 1 }));
        expect(code).equal("model-too-large");
        expect(message).equal(`The file ${put.cid} has ${size} bytes, over the cap of ${size - 1}.`);
      }
    }
  });

  it("gets a file from a node in another process, and says so within its deadline when that process has died", async () => {
    const bytes = randomBytes(1, MIB + 5);
    const { child, line } = await otherProcess(
      bench.folder(),
      `print(node.multiaddrs);
       const bytes = new Uint8Array(await new Response(process.stdin).arrayBuffer());
       print(await store.put(bytes));
       setInterval(() => {}, 1000);`,
    );
    bench.later(async () => child.kill("SIGKILL"));
    const peers = (await line()) as string[];
    child.stdin.end(bytes);
    const { cid } = (await line()) as { cid: string };
    const store = createModelStore({ rpcUrl: (await bench.node({ peers })).rpcUrl });
    expect(Buffer.from(await store.get(cid, { maxBytes: 2 * MIB })).equals(bytes)).equal(true);

    child.kill("SIGKILL");
    await once(child, "exit");
    const missing = await cidOf(randomBytes(2, 10));
    const start = performance.now();
    const { code, message } = await failure(store.get(String(missing), { maxBytes: MIB, timeoutMs: 800 }));
    expect(performance.now() - start).within(700, 15_000);
    expect(code).equal("unavailable");
    expect(message).match(new RegExp(`^The CID ${missing} did not arrive within 0.8 s from any peer of http://127`));
  });

  it("leaves nothing in its process: it ends by itself after stop", async () => {
    const { child, line } = await otherProcess(
      bench.folder(),
      `await store.put(new Uint8Array(10));
       await store.get("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", { maxBytes: 1, timeoutMs: 300 }).catch(() => {});
       await Promise.all([node.stop(), node.stop()]);
       print(process.getActiveResourcesInfo().filter((name) => /server|socket/i.test(name) && name !== "PipeWrap"));`,
    );
    const ended = once(child, "exit");
    expect(await line()).deep.equal([]);
    const [code] = (await Promise.race([
      ended,
      new Promise((resolve) => setTimeout(resolve, 5000, ["still running"])),
    ])) as [number];
    child.kill("SIGKILL");
    expect(code).equal(0);
  });

  it("waits for a file that is published, and for a peer that is connected, only after it was asked for", async () => {
    let fastest = Infinity;
    // Announced, not found by asking again; a machine with other work may be late once.
    for (let attempt = 0; attempt < 5 && fastest >= 1000; attempt++) {
      const a = await bench.node();
      const b = await bench.node();
      const bytes = randomBytes(3 + attempt, 1000);
      const early = createModelStore({ rpcUrl: b.rpcUrl }).get(String(await cidOf(bytes)), { maxBytes: MIB });
      await new Promise((resolve) => setTimeout(resolve, 200));
      await b.connect(a.multiaddrs[0]!);
      await new Promise((resolve) => setTimeout(resolve, 1000)); // it is asked for again 1 s and 2.6 s after the first time
      await createModelStore({ rpcUrl: a.rpcUrl }).put(bytes);
      const start = performance.now();
      expect(Buffer.from(await early).equals(bytes)).equal(true);
      fastest = Math.min(fastest, performance.now() - start);
    }
    expect(fastest).below(1000);
  });

  it("rides over a node that is away and comes back on the same port", async () => {
    const dir = bench.folder();
    const first = await bench.node({ dir });
    const bytes = randomBytes(4, 2 * MIB);
    const store = createModelStore({ rpcUrl: first.rpcUrl });
    const { cid } = await store.put(bytes);
    await first.stop();
    const waiting = [store.get(cid, { maxBytes: 2 * MIB }), store.put(bytes), store.has(cid)] as const;
    await new Promise((resolve) => setTimeout(resolve, 500));
    await bench.node({ dir, rpc: { port: Number(new URL(first.rpcUrl).port) } });
    const [got, put, has] = await Promise.all(waiting);
    expect(Buffer.from(got).equals(bytes)).equal(true);
    expect(put.cid).equal(cid);
    expect(has).equal(true);
  });

  it("says in one sentence that the node's RPC is down, or is none", async () => {
    const gone = await bench.server(() => {});
    await gone.close();
    const down = createModelStore({ rpcUrl: gone.url });
    const cid = String(await cidOf(new Uint8Array(3)));
    for (const call of [
      () => down.put(new Uint8Array(3), { timeoutMs: 300 }),
      () => down.get(cid, { maxBytes: 10, timeoutMs: 300 }),
      () => down.has(cid, { timeoutMs: 300 }),
    ]) {
      const error = await failure(call());
      expect(error.code).equal("store-unreachable");
      expect(error.message).equal(`The IPFS node at ${gone.url} does not answer.`);
      expect(error.cure).match(/start it/);
    }
    const other = await bench.server((_path, _query, response) => response.writeHead(404).end("404 page not found"));
    const store = createModelStore({ rpcUrl: other.url });
    const start = performance.now();
    expect((await failure(store.put(new Uint8Array(3)))).message).equal(
      `The IPFS node at ${other.url} refused add: 404 404 page not found`,
    );
    expect((await failure(store.get(cid, { maxBytes: 10 }))).message).match(/refused block\/get: 404/);
    expect(performance.now() - start).below(20_000);
    for (const url of ["", "127.0.0.1:5001", "ftp://127.0.0.1", "http://127.0.0.1/else", "http://u:p@127.0.0.1"]) {
      expect(() => createModelStore({ rpcUrl: url })).throws(/is not the URL of an IPFS node's RPC/);
    }
  });

  it("gives up at once when it is told to stop, by the call's signal or by its own", async () => {
    const node = await bench.node();
    const life = new AbortController();
    const store = createModelStore({ rpcUrl: node.rpcUrl, signal: life.signal });
    const missing = String(await cidOf(new Uint8Array([9, 9])));
    const start = performance.now();
    const one = failure(store.get(missing, { maxBytes: 10, signal: AbortSignal.timeout(100) }));
    const two = failure(store.get(missing, { maxBytes: 10 }));
    expect((await one).code).equal("aborted");
    life.abort();
    expect((await two).code).equal("aborted");
    expect((await failure(store.put(new Uint8Array(1)))).code).equal("aborted");
    expect(performance.now() - start).below(20_000);
  });

  it("refuses caps and deadlines that are none", async () => {
    const store = createModelStore({ rpcUrl: "http://127.0.0.1:1" });
    const cid = String(await cidOf(new Uint8Array(1)));
    expect((await failure(store.get(cid, { maxBytes: Number.NaN }))).message).equal("NaN is no cap in bytes.");
    expect((await failure(store.get(cid, { maxBytes: -1 }))).code).equal("bad-input");
    expect((await failure(store.get(cid, { maxBytes: 1, timeoutMs: 0 }))).message).equal("0 ms is no time to wait.");
    expect((await failure(store.get("nonsense", { maxBytes: 1 }))).message).equal('"nonsense" is not a CID.');
  });

  it("keeps what is pinned through a collection and a restart, under the same peer ID, and lets go of the rest", async () => {
    const dir = bench.folder();
    const a = await bench.node();
    const b = await bench.node({ dir, peers: a.multiaddrs });
    const source = createModelStore({ rpcUrl: a.rpcUrl });
    const kept = await source.put(randomBytes(5, 2.5 * MIB));
    const twin = await source.put(new Uint8Array(2 * MIB)); // both leaves are the same block
    const loose = await source.put(randomBytes(6, 100));
    const store = createModelStore({ rpcUrl: b.rpcUrl });
    await store.pin(kept.cid);
    await store.pin(kept.cid);
    await store.pin(twin.cidBytes);
    await store.get(loose.cid, { maxBytes: MIB });
    expect([await store.has(kept.cid), await store.has(twin.cid), await store.has(loose.cid)]).deep.equal([
      true,
      true,
      false,
    ]);
    await b.stop();

    const again = await bench.node({ dir });
    expect(again.peerId).equal(b.peerId);
    const alone = createModelStore({ rpcUrl: again.rpcUrl });
    await fetch(`${again.rpcUrl}/api/v0/repo/gc`, { method: "POST" });
    expect(await alone.get(kept.cid, { maxBytes: 3 * MIB })).length(2.5 * MIB);
    expect((await failure(alone.get(loose.cid, { maxBytes: MIB, timeoutMs: 300 }))).code).equal("unavailable");

    for (const { cid } of [kept, twin]) {
      await alone.unpin(cid);
      await alone.unpin(cid);
      expect(await alone.has(cid)).equal(false);
    }
    await fetch(`${again.rpcUrl}/api/v0/repo/gc`, { method: "POST" });
    expect(blockFiles(dir)).deep.equal([]);
  });

  it("gets and puts over blocks that a crash tore on the node's disk", async () => {
    const a = await bench.node();
    const dir = bench.folder();
    const b = await bench.node({ dir, peers: a.multiaddrs });
    const bytes = randomBytes(7, 1.5 * MIB);
    const store = createModelStore({ rpcUrl: b.rpcUrl });
    const { cid } = await createModelStore({ rpcUrl: a.rpcUrl }).put(bytes);
    await store.pin(cid);
    for (const file of blockFiles(dir)) writeFileSync(file, "");
    expect(Buffer.from(await store.get(cid, { maxBytes: 2 * MIB })).equals(bytes)).equal(true);
    await a.stop();
    for (const file of blockFiles(dir)) writeFileSync(file, randomBytes(8, statSync(file).size));
    await store.put(bytes);
    expect(Buffer.from(await store.get(cid, { maxBytes: 2 * MIB })).equals(bytes)).equal(true);
  });

  it("takes up a folder whose process was killed in the middle of a put", async () => {
    const dir = bench.folder();
    const { child, line } = await otherProcess(
      dir,
      `const bytes = new Uint8Array(${6 * MIB});
       print("go");
       for (let i = 0; ; i++) await store.put(bytes.fill(i)).then(() => print(i));`,
    );
    while ((await line()) !== 1);
    await new Promise((resolve) => setTimeout(resolve, 40));
    child.kill("SIGKILL");
    await once(child, "exit");
    const store = createModelStore({ rpcUrl: (await bench.node({ dir })).rpcUrl });
    for (const fill of [0, 1]) {
      const cid = String(await cidOf(new Uint8Array(6 * MIB).fill(fill)));
      expect(await store.has(cid)).equal(true);
      expect((await store.get(cid, { maxBytes: 6 * MIB })).every((byte) => byte === fill)).equal(true);
    }
    for (const fill of [2, 3]) await store.put(new Uint8Array(6 * MIB).fill(fill));
  });

  it("puts the same file twice at once, and many files side by side", async () => {
    const { rpcUrl } = await bench.node();
    const store = createModelStore({ rpcUrl });
    const files = Array.from({ length: 8 }, (_, i) => randomBytes(i >> 1, 300_000));
    const put = await Promise.all(files.map((bytes) => store.put(bytes)));
    expect(new Set(put.map(({ cid }) => cid)).size).equal(4);
    for (const { cid } of put) expect(await store.has(cid)).equal(true);
  });

  it("holds about one file in memory while it fetches one", async () => {
    const a = await bench.node();
    const size = 24 * MIB;
    const bytes = randomBytes(9, size);
    const store = createModelStore({ rpcUrl: a.rpcUrl });
    const { cid } = await store.put(bytes);
    const { child, line } = await otherProcess(
      bench.folder(),
      `const far = createModelStore({ rpcUrl: ${JSON.stringify(a.rpcUrl)} });
       await far.get(${JSON.stringify(String((await store.put(new Uint8Array(1))).cid))}, { maxBytes: 9 });
       const held = () => (gc(), process.memoryUsage().arrayBuffers);
       const before = held();
       let most = 0;
       const watch = setInterval(() => { most = Math.max(most, held() - before); }, 10);
       const got = await far.get(${JSON.stringify(cid)}, { maxBytes: ${size} });
       clearInterval(watch);
       print([got.length, most]);
       process.exit();`,
      "--expose-gc",
    );
    const [length, most] = (await line()) as [number, number];
    child.kill("SIGKILL");
    expect(length).equal(size);
    expect(most).within(size, size + 8 * MIB); // and what waits in four sockets
  });
});

function blockFiles(dir: string): string[] {
  return readdirSync(join(dir, "blocks"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
