import type { ServerResponse } from "node:http";

import { expect } from "chai";
import type { CID } from "multiformats/cid";

import { cidOf } from "../../offchain/storage/cid.ts";
import { createModelStore, type ModelStore } from "../../offchain/storage/model-store.ts";
import { createBench, failure, MIB, randomBytes, rawBlock, rootBlock } from "./support.ts";

interface Block {
  cid: CID;
  bytes: Uint8Array;
}

describe("Fetching a file, lied to,", () => {
  const bench = createBench();
  afterEach(() => bench.clear());

  /** A node that has these blocks and counts what it is asked for. */
  async function nodeWith(...blocks: Block[]): Promise<{ store: ModelStore; asked: string[] }> {
    const asked: string[] = [];
    const held = new Map(blocks.map(({ cid, bytes }) => [cid.toString(), bytes]));
    const { url } = await bench.server((_path, query, response) => {
      const cid = query.get("arg")!;
      asked.push(cid);
      const bytes = held.get(cid);
      if (bytes !== undefined) response.end(bytes);
      // else: silence, as of a node that looks for it
    });
    return { store: createModelStore({ rpcUrl: url }), asked };
  }

  const leaves = (count: number, size: number): Promise<Block[]> =>
    Promise.all(Array.from({ length: count }, (_, i) => rawBlock(randomBytes(i, size))));

  it("finds other bytes than the CID's, and says that the node is at fault", async () => {
    const { cid } = await rawBlock(new Uint8Array([1]));
    const { store } = await nodeWith({ cid, bytes: new Uint8Array([2]) });
    const error = await failure(store.get(cid.bytes, { maxBytes: 10 }));
    expect(error.code).equal("integrity");
    expect(error.message).match(
      new RegExp(`^The IPFS node at http://.* sent bytes that are not those of the block ${cid}\\.$`),
    );
    expect(error.cure).match(/repair it, or use another node/);
  });

  it("finds one wrong byte in the last of three leaves", async () => {
    const bytes = randomBytes(1, 2 * MIB + 100);
    const cid = await cidOf(bytes);
    const parts = await Promise.all([0, 1, 2].map((i) => rawBlock(bytes.slice(i * MIB, (i + 1) * MIB))));
    const root = await rootBlock(
      [MIB, MIB, 100],
      parts.map((part) => ({ cid: part.cid, size: part.bytes.length })),
    );
    expect(root.cid.toString()).equal(cid.toString());
    const good = await nodeWith(root, ...parts);
    expect(Buffer.from(await good.store.get(cid.bytes, { maxBytes: 3 * MIB })).equals(bytes)).equal(true);
    parts[2]!.bytes[99]! ^= 1;
    const bad = await nodeWith(root, ...parts);
    expect((await failure(bad.store.get(cid.bytes, { maxBytes: 3 * MIB }))).code).equal("integrity");
  });

  it("stops reading a block that never ends", async () => {
    let sent = 0;
    const pour = (response: ServerResponse): void => {
      while (!response.destroyed) {
        sent += 65_536;
        if (!response.write(chunk)) break;
      }
      if (!response.destroyed) response.once("drain", () => pour(response));
    };
    const chunk = randomBytes(0, 65_536);
    const { url } = await bench.server((_path, _query, response) => pour(response));
    const raw = await rawBlock(new Uint8Array(5));
    const root = await rootBlock(
      [MIB, 1],
      (await leaves(2, 1)).map(({ cid }) => ({ cid, size: 1 })),
    );
    for (const { cid } of [raw, root]) {
      sent = 0;
      const error = await failure(createModelStore({ rpcUrl: url }).get(cid.bytes, { maxBytes: 100 }));
      expect(error.code).equal("integrity");
      expect(error.message).match(/sent more than 2097152 bytes as the block/);
      expect(sent).below(16 * MIB);
    }
  });

  it("does not take a block cut short for the whole one", async () => {
    const bytes = randomBytes(2, 1000);
    const { cid } = await rawBlock(bytes);
    let calls = 0;
    const { url } = await bench.server((_path, _query, response) => {
      response.setHeader("content-length", 1000);
      response.write(bytes.subarray(0, 500));
      if (calls++ === 0) setTimeout(() => response.destroy(), 20);
      else response.end(bytes.subarray(500));
    });
    expect(Buffer.from(await createModelStore({ rpcUrl: url }).get(cid.bytes, { maxBytes: 1000 })).equals(bytes)).equal(
      true,
    );
    expect(calls).equal(2);
  });

  it("refuses a root over the cap before it asks for a single leaf", async () => {
    const [leaf] = await leaves(1, MIB);
    const root = await rootBlock(Array(500).fill(MIB), Array(500).fill({ cid: leaf!.cid, size: MIB }));
    const { store, asked } = await nodeWith(root, leaf!);
    const error = await failure(store.get(root.cid.bytes, { maxBytes: 10 * MIB }));
    expect(error.code).equal("model-too-large");
    expect(error.message).equal(`The file ${root.cid} has ${500 * MIB} bytes, over the cap of ${10 * MIB}.`);
    expect(asked).length(1);
  });

  it("refuses a raw block over the cap, and one larger than a leaf", async () => {
    const small = await rawBlock(randomBytes(3, 2000));
    const large = await rawBlock(randomBytes(4, MIB + 1));
    const { store } = await nodeWith(small, large);
    expect((await failure(store.get(small.cid.bytes, { maxBytes: 1999 }))).code).equal("model-too-large");
    expect((await failure(store.get(large.cid.bytes, { maxBytes: MIB }))).code).equal("model-too-large");
    const error = await failure(store.get(large.cid.bytes, { maxBytes: 3 * MIB }));
    expect(error.code).equal("bad-input");
    expect(error.message).match(/names no canonical file: its one block has 1048577 bytes, more than a leaf/);
  });

  it("finds leaves that are larger or smaller than their root says, the publisher's fault", async () => {
    const [a, b, c] = (await Promise.all([MIB, 50, 40].map(async (size, i) => rawBlock(randomBytes(i, size))))) as [
      Block,
      Block,
      Block,
    ];
    const claimsLess = await rootBlock(
      [MIB, 10],
      [
        { cid: a.cid, size: MIB },
        { cid: b.cid, size: 10 },
      ],
    );
    const claimsMore = await rootBlock(
      [MIB, 60],
      [
        { cid: a.cid, size: MIB },
        { cid: c.cid, size: 60 },
      ],
    );
    const { store } = await nodeWith(a, b, c, claimsLess, claimsMore);
    const less = await failure(store.get(claimsLess.cid.bytes, { maxBytes: 2 * MIB }));
    expect([less.code, less.message]).deep.equal([
      "bad-input",
      `The CID ${claimsLess.cid} names no canonical file: leaf 1 has 50 bytes where its root declares 10.`,
    ]);
    expect((await failure(store.get(claimsMore.cid.bytes, { maxBytes: 2 * MIB }))).code).equal("bad-input");
  });

  it("refuses every other shape of a file without following a link", async () => {
    const [a, b] = (await leaves(2, MIB)) as [Block, Block];
    const two = [
      { cid: a.cid, size: MIB },
      { cid: b.cid, size: MIB },
    ];
    const nested = await rootBlock([MIB, MIB], two);
    const shapes: [string, Block][] = [
      ["a bomb of nested links", await rootBlock(Array(100).fill(0), Array(100).fill({ cid: nested.cid, size: 0 }))],
      [
        "links to trees",
        await rootBlock(
          [2 * MIB, 2 * MIB],
          [1, 2].map(() => ({ cid: nested.cid, size: 2 * MIB })),
        ),
      ],
      ["no links", await rootBlock([], [])],
      ["one link", await rootBlock([MIB], two.slice(0, 1))],
      ["fewer links than sizes", await rootBlock([MIB, MIB, MIB], two)],
      ["more links than sizes", await rootBlock([MIB], two)],
      ["a short leaf in the middle", await rootBlock([10, MIB], two)],
      ["an empty last leaf", await rootBlock([MIB, 0], two)],
      ["other chunks", await rootBlock([MIB / 4, MIB / 4], two)],
      ["data in the root", await rootBlock([MIB, MIB], two, { type: "file", data: new Uint8Array(3) })],
      ["a mode", await rootBlock([MIB, MIB], two, { type: "file", mode: 0o755 })],
      ["a time", await rootBlock([MIB, MIB], two, { type: "file", mtime: { secs: 5n } })],
      ["a directory", await rootBlock([], two, { type: "directory" })],
      [
        "named links",
        await rootBlock(
          [MIB, MIB],
          two.map((link, i) => ({ ...link, name: `${i}` })),
        ),
      ],
      [
        "wrong total sizes of links",
        await rootBlock(
          [MIB, MIB],
          two.map((link) => ({ ...link, size: 1 })),
        ),
      ],
      ["a root of 100 KB", await rootBlock(Array(2000).fill(1), Array(2000).fill({ cid: a.cid, size: 1 }))],
      ["no protobuf", { cid: (await rootBlock([], [])).cid, bytes: new Uint8Array() }],
    ];
    const { sha256 } = await import("multiformats/hashes/sha2");
    const { CID: Cid } = await import("multiformats/cid");
    const junk = randomBytes(5, 300);
    shapes[shapes.length - 1]![1] = { cid: Cid.createV1(0x70, await sha256.digest(junk)), bytes: junk };
    const { store, asked } = await nodeWith(a, b, nested, ...shapes.map(([, block]) => block));
    for (const [what, { cid }] of shapes) {
      asked.length = 0;
      const error = await failure(store.get(cid.bytes, { maxBytes: 100 * MIB, timeoutMs: 2000 }));
      expect(error.code, what).equal("bad-input");
      expect(error.message, what).match(/^The CID baf\w+ names no canonical file: .*\.$/);
      expect(error.cure, what).match(/raw leaves/);
      expect(asked, what).length(1);
      expect((await failure(store.pin(cid.bytes, { timeoutMs: 2000 }))).code, what).equal("bad-input");
      expect(asked, what).length(2);
    }
  });

  it("refuses CIDs of version 0, under other hashes and of other codecs before it asks anyone", async () => {
    const { CID: Cid } = await import("multiformats/cid");
    const { sha256, sha512 } = await import("multiformats/hashes/sha2");
    const digest = await sha256.digest(new Uint8Array(1));
    const { store, asked } = await nodeWith();
    for (const cid of [
      Cid.createV0(digest),
      Cid.createV1(0x71, digest),
      Cid.createV1(0x55, await sha512.digest(new Uint8Array(1))),
    ]) {
      for (const call of [
        () => store.get(cid.bytes, { maxBytes: 1 }),
        () => store.pin(cid.toString()),
        () => store.unpin(cid.bytes),
        () => store.has(cid.toString()),
      ]) {
        expect((await failure(call())).code).equal("bad-input");
      }
    }
    expect(asked).length(0);
  });

  it("tells when the node stored a file under another CID", async () => {
    const other = await cidOf(new Uint8Array([1]));
    const { url } = await bench.server((_path, _query, response, request) => {
      request.resume().on("end", () => response.end(JSON.stringify({ Name: "", Hash: String(other), Size: "1" })));
    });
    const error = await failure(createModelStore({ rpcUrl: url }).put(new Uint8Array([2])));
    expect(error.code).equal("integrity");
    expect(error.message).equal(
      `The IPFS node at ${url} stored the file as ${other}, not as ${await cidOf(new Uint8Array([2]))}.`,
    );
  });

  it("passes on what the node says when it fails, cut to a sentence, and keeps trying until the deadline", async () => {
    let calls = 0;
    const { url } = await bench.server((_path, _query, response, request) => {
      calls++;
      request.resume().on("end", () => {
        response.writeHead(500, { "content-type": "application/json" });
        response.end(JSON.stringify({ Message: `disk full ${"x".repeat(3000)}`, Code: 0, Type: "error" }));
      });
    });
    const store = createModelStore({ rpcUrl: url });
    const error = await failure(store.get(String(await cidOf(new Uint8Array(3))), { maxBytes: 9, timeoutMs: 700 }));
    expect(error.code).equal("unavailable");
    expect(error.message).match(/could not give the block .*: disk full x+/);
    expect(error.message.length).below(500);
    expect(calls).above(1);
    expect((await failure(store.put(new Uint8Array(3), { timeoutMs: 300 }))).code).equal("store-unreachable");
  });

  it("waits no longer than it was told for a node that takes the request and says nothing", async () => {
    const { url } = await bench.server(() => {});
    const store = createModelStore({ rpcUrl: url });
    const start = performance.now();
    const cid = String(await cidOf(new Uint8Array(3)));
    const [got, put, has] = await Promise.all([
      failure(store.get(cid, { maxBytes: 9, timeoutMs: 400 })),
      failure(store.put(new Uint8Array(2 * MIB), { timeoutMs: 400 })),
      failure(store.has(cid, { timeoutMs: 400 })),
    ]);
    expect(performance.now() - start).below(15_000);
    expect(got.code).equal("unavailable");
    expect(put.message).equal(`The IPFS node at ${url} did not take a file of 2097152 bytes within 0.4 s.`);
    expect(has.code).equal("store-unreachable");
  });
});
