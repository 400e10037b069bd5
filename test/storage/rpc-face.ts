import { request } from "node:http";

import { expect } from "chai";
import { create, type KuboRPCClient } from "kubo-rpc-client";

import { cidOf } from "../../offchain/storage/cid.ts";
import type { IpfsNode } from "../../offchain/storage/ipfs-node.ts";
import { createBench, MIB, randomBytes, rawBlock, rootBlock } from "./support.ts";

interface Answer {
  status: number;
  text: string;
}

describe("The RPC face of the embedded node", () => {
  const bench = createBench();
  let node: IpfsNode;
  let client: KuboRPCClient;

  before(async () => {
    node = await bench.node();
    client = create({ url: `${node.rpcUrl}/api/v0` });
  });
  after(() => bench.clear());

  const post = async (path: string, init: RequestInit = {}): Promise<Answer> => {
    const response = await fetch(`${node.rpcUrl}/api/v0/${path}`, { method: "POST", ...init });
    return { status: response.status, text: await response.text() };
  };
  /** With headers that fetch sets by itself. */
  const rawPost = (headers: Record<string, string>, method = "POST"): Promise<number> =>
    new Promise((resolve, reject) => {
      const call = request(`${node.rpcUrl}/api/v0/version`, { method, headers }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      });
      call.on("error", reject).end();
    });
  const form = (...files: [name: string, bytes: Uint8Array, type?: string][]): FormData => {
    const body = new FormData();
    for (const [name, bytes, type = "application/octet-stream"] of files) {
      body.append(name, new File([Buffer.from(bytes)], name, { type }));
    }
    return body;
  };
  const all = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
    const values: T[] = [];
    for await (const value of source) values.push(value);
    return values;
  };

  it("serves kubo-rpc-client: version, id, add, cat, pins, blocks, collection, swarm", async () => {
    expect((await client.version()).version).match(/ponas/);
    const id = await client.id();
    expect(id.id.toString()).equal(node.peerId);
    expect(id.addresses.map(String)).deep.equal(node.multiaddrs);

    const bytes = randomBytes(1, MIB + 7);
    const added = await client.add(bytes, { cidVersion: 1, rawLeaves: true, chunker: "size-1048576" });
    expect(added.cid.toString()).equal(String(await cidOf(bytes)));
    expect(Buffer.concat(await all(client.cat(added.cid))).equals(bytes)).equal(true);
    expect(
      Buffer.concat(await all(client.cat(added.cid, { offset: 1000, length: 50 }))).equals(bytes.subarray(1000, 1050)),
    ).equal(true);

    const loose = await client.add(randomBytes(2, 10), { cidVersion: 1, rawLeaves: true, pin: false });
    const block = await client.block.put(new Uint8Array([1, 2, 3]), { format: "raw" });
    expect(Buffer.from(await client.block.get(block))).deep.equal(Buffer.from([1, 2, 3]));
    expect((await client.block.stat(block)).size).equal(3);
    expect(await client.pin.add(block)).satisfy((cid: unknown) => String(cid) === String(block));
    const pins = (await all(client.pin.ls())).map(({ cid }) => cid.toString());
    expect(pins).members([added.cid.toString(), block.toString()]);
    expect((await all(client.pin.ls({ paths: block }))).map(({ cid, type }) => [String(cid), type])).deep.equal([
      [String(block), "recursive"],
    ]);
    const removed = (await all(client.repo.gc())).map(({ cid }) => String(cid));
    expect(removed).deep.equal([loose.cid.toString()]);
    expect(String(await client.pin.rm(block))).equal(String(block));
    expect((await all(client.repo.gc())).map(({ cid }) => String(cid))).deep.equal([String(block)]);

    const other = await bench.node();
    await client.swarm.connect(other.multiaddrs[0]! as never);
    expect((await client.swarm.peers()).map(({ peer }) => peer.toString())).deep.equal([other.peerId]);
  });

  it("adds as Kubo does by default too: version 0, chunks of 256 KiB wrapped in nodes", async () => {
    const added = await client.add(new TextEncoder().encode("hello world\n"));
    expect(added.cid.toString()).equal("QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o");
    const only = await client.add(randomBytes(3, 10), { onlyHash: true, cidVersion: 1 });
    expect((await post(`block/get?arg=${only.cid}&timeout=100ms`)).text).match(/context deadline exceeded/);
  });

  it("answers web pages, other names and other methods with a refusal", async () => {
    const { host, port } = new URL(node.rpcUrl);
    expect(await rawPost({ host })).equal(200);
    expect(await rawPost({ host: `localhost:${port}` })).equal(200);
    expect(await rawPost({ host, origin: "https://example.com" })).equal(403);
    expect(await rawPost({ host, origin: "null" })).equal(403);
    expect(await rawPost({ host, origin: node.rpcUrl })).equal(403);
    expect(await rawPost({ host, referer: "https://example.com/page" })).equal(403);
    expect(await rawPost({ host: `evil.example:${port}` })).equal(403);
    expect(await rawPost({ host: "[::1" })).equal(403);
    expect(await rawPost({ host }, "GET")).equal(405);
    expect(await rawPost({ host, origin: "https://example.com" }, "OPTIONS")).within(403, 405);
  });

  it("answers bad calls in Kubo's form of an error", async () => {
    const cases: [string, number, RegExp, RequestInit?][] = [
      ["nothing", 404, /there is no command/],
      ["../version", 404, /there is no command/],
      ["cat", 400, /argument "ipfs-path" is required/],
      ["cat?arg=nonsense", 400, /invalid path "nonsense"/],
      ["pin/ls?arg=bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", 500, /is not pinned/],
      [
        "pin/rm?arg=bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        500,
        /not pinned or pinned indirectly/,
      ],
      [
        "block/get?arg=bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku&timeout=50ms",
        500,
        /context deadline exceeded/,
      ],
      ["version?timeout=soon", 400, /no duration/],
      ["swarm/connect?arg=there", 400, /is not the address of an IPFS node/],
      ["swarm/connect?arg=/ip4/127.0.0.1/tcp/1", 500, /cannot be reached/],
      ["add", 400, /the body is no multipart form/],
      ["add", 400, /the body has no file/, { body: new FormData() }],
      ["add", 400, /more than one file/, { body: form(["a", new Uint8Array(3)], ["b", new Uint8Array(3)]) }],
      ["add", 400, /only files can be added/, { body: form(["d", new Uint8Array(), "application/x-directory"]) }],
      ["add?chunker=rabin", 400, /the option chunker cannot be served/, { body: form(["a", new Uint8Array(3)]) }],
      ["add?chunker=size-0", 400, /the option chunker/, { body: form(["a", new Uint8Array(3)]) }],
      ["add?cid-version=2", 400, /the option cid-version/, { body: form(["a", new Uint8Array(3)]) }],
      ["add?hash=sha3-512", 400, /the option hash/, { body: form(["a", new Uint8Array(3)]) }],
      ["add?wrap-with-directory=true", 400, /the option wrap-with-directory/, { body: form(["a", new Uint8Array(3)]) }],
      ["block/put", 413, /larger than 2097152 bytes/, { body: form(["a", new Uint8Array(3 * MIB)]) }],
      ["block/put?mhtype=md5", 400, /the option mhtype/, { body: form(["a", new Uint8Array(3)]) }],
      [
        "add",
        400,
        /the body/,
        { body: "--x\r\nnonsense", headers: { "content-type": "multipart/form-data; boundary=x" } },
      ],
    ];
    for (const [path, status, message, init] of cases) {
      const answer = await post(path, init);
      expect(`${path}: ${answer.status}`).equal(`${path}: ${status}`);
      const { Message, Type } = JSON.parse(answer.text) as { Message: string; Type: string };
      expect(Message).match(message);
      expect(Type).equal("error");
    }
    expect((await post("version")).status).equal(200);
  });

  it("outlives a caller that hangs up in the middle of a body, or before its block has come", async () => {
    for (const path of ["add", "block/put"]) {
      await new Promise<void>((resolve) => {
        const call = request(`${node.rpcUrl}/api/v0/${path}`, {
          method: "POST",
          headers: { "content-type": "multipart/form-data; boundary=x", "transfer-encoding": "chunked" },
        });
        call.on("error", () => resolve());
        call.write(
          '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: application/octet-stream\r\n\r\n',
        );
        call.write(Buffer.alloc(200_000), () => setTimeout(() => call.destroy(new Error("gone")), 30));
      });
    }
    const missing = await cidOf(new Uint8Array([4, 4, 4]));
    const gone = fetch(`${node.rpcUrl}/api/v0/block/get?arg=${missing}`, {
      method: "POST",
      signal: AbortSignal.timeout(50),
    });
    expect(
      await gone.then(
        () => "here",
        () => "gone",
      ),
    ).equal("gone");
    const { cid } = await client.add(new Uint8Array([5]), { cidVersion: 1, rawLeaves: true });
    expect(String(cid)).equal(String(await cidOf(new Uint8Array([5]))));
    await all(client.repo.gc());
  });

  it("collects while somebody waits for a block that never comes, and keeps what is added meanwhile", async () => {
    const missing = await cidOf(new Uint8Array([6, 6, 6]));
    const waiting = post(`pin/add?arg=${missing}&timeout=1s`);
    const files = Array.from({ length: 6 }, (_, i) => randomBytes(50 + i, 1.2 * MIB));
    const [, , ...added] = await Promise.all([
      all(client.repo.gc()),
      all(client.repo.gc()),
      ...files.map((bytes) => client.add(bytes, { cidVersion: 1, rawLeaves: true, chunker: "size-1048576" })),
    ]);
    await all(client.repo.gc());
    for (const [i, { cid }] of added.entries()) {
      expect(Buffer.concat(await all(client.cat(cid))).equals(files[i]!)).equal(true);
    }
    expect((await waiting).text).match(/context deadline exceeded/);
  });

  it("pins a bomb of nested links in no time: every block once", async () => {
    let bomb = await rawBlock(new Uint8Array([1]));
    await client.block.put(bomb.bytes, { format: "raw" });
    for (let depth = 0; depth < 12; depth++) {
      bomb = await rootBlock(Array(100).fill(1), Array(100).fill({ cid: bomb.cid, size: 1 }));
      await client.block.put(bomb.bytes, { format: "dag-pb" });
    }
    expect((await post(`pin/add?arg=${bomb.cid}&timeout=5s`)).status).equal(200);
    expect((await post(`pin/rm?arg=${bomb.cid}&timeout=5s`)).status).equal(200);
  });
});
