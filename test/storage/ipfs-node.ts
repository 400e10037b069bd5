import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";

import { withBitswap } from "@helia/bitswap";
import { withLibp2pLight } from "@helia/libp2p";
import { identify } from "@libp2p/identify";
import { noise } from "@libp2p/noise";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { expect } from "chai";
import { createHeliaLight } from "helia";
import { multiaddr } from "kubo-rpc-client";

import { cidOf, parseCid, type CID } from "../../offchain/storage/cid.ts";
import { startIpfsNode } from "../../offchain/storage/ipfs-node.ts";
import { createModelStore } from "../../offchain/storage/model-store.ts";
import { createBench, failure, randomBytes } from "./support.ts";

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
const portOf = (address: string): number => Number(/\/tcp\/(\d+)/.exec(address)![1]);

async function until(what: () => Promise<boolean> | boolean, ms = 8000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await what())) {
    if (performance.now() > end) throw new Error("it did not come to pass");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

const peersOf = async (rpcUrl: string): Promise<string[]> => {
  const answer = await fetch(`${rpcUrl}/api/v0/swarm/peers`, { method: "POST" });
  return ((await answer.json()) as { Peers: { Peer: string }[] }).Peers.map(({ Peer }) => Peer);
};

describe("The embedded IPFS node", () => {
  const bench = createBench();
  afterEach(() => bench.clear());

  it("makes its folder for this user only, and listens on the loopback and nowhere else", async () => {
    const dir = join(bench.folder(), "not", "there", "yet");
    const node = await bench.node({ dir });
    expect(statSync(dir).mode & 0o777).equal(0o700);
    expect(node.rpcUrl).match(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(node.multiaddrs).length(1);
    expect(node.multiaddrs[0]).match(new RegExp(`^/ip4/127\\.0\\.0\\.1/tcp/\\d+/p2p/${node.peerId}$`));
  });

  it("closes both ports and gives its folder back when it is stopped, also twice and at the same time", async () => {
    const dir = bench.folder();
    const node = await startIpfsNode({ dir });
    const ports = [portOf(node.multiaddrs[0]!), Number(new URL(node.rpcUrl).port)];
    expect(await Promise.all(ports.map(isOpen))).deep.equal([true, true]);
    await Promise.all([node.stop(), node.stop()]);
    await node.stop();
    expect(await Promise.all(ports.map(isOpen))).deep.equal([false, false]);
    expect(existsSync(join(dir, "lock"))).equal(false);
    expect((await failure(node.connect("/ip4/127.0.0.1/tcp/1"))).code).equal("aborted");
  });

  it("stops by its signal, also one that fires while it starts", async () => {
    const dir = bench.folder();
    const first = new AbortController();
    const node = await startIpfsNode({ dir, signal: first.signal });
    first.abort();
    await node.stop();
    expect(await isOpen(Number(new URL(node.rpcUrl).port))).equal(false);

    const second = new AbortController();
    const starting = failure(startIpfsNode({ dir, signal: second.signal }));
    second.abort();
    expect((await starting).code).equal("aborted");
    expect((await failure(startIpfsNode({ dir, signal: AbortSignal.abort() }))).code).equal("aborted");
    await bench.node({ dir }); // nothing is left that would be in the way
  });

  it("refuses a folder that a node of this process or of another one uses, and takes over a dead one's", async () => {
    const dir = bench.folder();
    const node = await bench.node({ dir });
    const here = await failure(startIpfsNode({ dir: join(dir, ".", "..", dir.split("/").at(-1)!) }));
    expect(here.code).equal("bad-input");
    expect(here.message).equal(`The IPFS folder ${dir} is in use by another node of this process.`);
    expect(parseInt(readFileSync(join(dir, "lock"), "utf8"), 10)).equal(process.pid);
    await node.stop();

    writeFileSync(join(dir, "lock"), `${process.ppid}\n`);
    expect((await failure(startIpfsNode({ dir }))).message).equal(
      `The IPFS folder ${dir} is in use by process ${process.ppid}.`,
    );
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(join(dir, "lock"), `${pid}\n`);
    await bench.node({ dir });
  });

  it("says in one sentence which address, port or folder it cannot use, and leaves nothing behind", async () => {
    const first = await bench.node();
    const dir = bench.folder();
    const start = (options: object) => failure(startIpfsNode({ dir, ...options }));
    expect((await start({ listen: ["localhost:4001"] })).message).equal(
      '"localhost:4001" is not the address of an IPFS node.',
    );
    expect((await start({ peers: ["/ip4/127.0.0.1"] })).message).equal(
      '"/ip4/127.0.0.1" is not the address of an IPFS node.',
    );
    const taken = `/ip4/127.0.0.1/tcp/${portOf(first.multiaddrs[0]!)}`;
    const noListen = await start({ listen: [taken] });
    expect([noListen.code, noListen.message]).satisfy(([code, text]: string[]) => {
      return code === "bad-input" && text!.startsWith(`The IPFS node in ${dir} cannot listen on ${taken}: `);
    });
    const port = Number(new URL(first.rpcUrl).port);
    expect((await start({ rpc: { port } })).message).match(
      new RegExp(`^The IPFS node's RPC cannot listen on 127.0.0.1:${port}: `),
    );
    const file = join(dir, "file");
    writeFileSync(file, "");
    expect((await failure(startIpfsNode({ dir: file }))).message).match(/^The IPFS node cannot use the folder .*file/);
    await bench.node({ dir });
  });

  it("connects to a peer that starts only later, and again after that peer's restart", async () => {
    const dir = bench.folder();
    mkdirSync(dir, { recursive: true });
    const early = await bench.node({ dir });
    const listen = [early.multiaddrs[0]!.replace(/\/p2p\/.*/, "")];
    await early.stop();
    const node = await bench.node({ peers: listen });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await peersOf(node.rpcUrl)).deep.equal([]);

    const hub = await bench.node({ dir, listen });
    await until(async () => (await peersOf(node.rpcUrl)).includes(hub.peerId));
    await hub.stop();
    await until(async () => (await peersOf(node.rpcUrl)).length === 0);
    const again = await bench.node({ dir, listen });
    await until(async () => (await peersOf(node.rpcUrl)).includes(again.peerId));

    const { cid } = await createModelStore({ rpcUrl: again.rpcUrl }).put(new Uint8Array(5000));
    expect(await createModelStore({ rpcUrl: node.rpcUrl }).get(cid, { maxBytes: 5000 })).length(5000);
  });

  it("leaves itself alone when it is told to be its own peer", async () => {
    const dir = bench.folder();
    const first = await bench.node({ dir });
    await first.stop();
    const node = await bench.node({
      dir,
      listen: [first.multiaddrs[0]!.replace(/\/p2p\/.*/, "")],
      peers: first.multiaddrs,
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await peersOf(node.rpcUrl)).deep.equal([]);
  });

  it("says that a peer cannot be reached, or is another than it was said to be", async () => {
    const a = await bench.node();
    const b = await bench.node();
    expect((await failure(a.connect("/ip4/127.0.0.1/tcp/1"))).message).match(
      /^The IPFS node at \/ip4\/127.0.0.1\/tcp\/1 cannot be reached: /,
    );
    const wrong = b.multiaddrs[0]!.replace(b.peerId, a.peerId);
    expect((await failure(a.connect(wrong))).code).equal("unavailable");
    await a.connect(b.multiaddrs[0]!);
    expect(await peersOf(b.rpcUrl)).deep.equal([a.peerId]);
  });

  it("gives a block to many that ask for it at once, also when the first of them gives up", async () => {
    const a = await bench.node();
    const b = await bench.node({ peers: a.multiaddrs });
    const bytes = new Uint8Array(100_000).fill(7);
    const store = createModelStore({ rpcUrl: b.rpcUrl });
    const wanted = String(await cidOf(bytes));
    const impatient = failure(store.get(wanted, { maxBytes: bytes.length, timeoutMs: 150 }));
    const patient = Promise.all(Array.from({ length: 5 }, () => store.get(wanted, { maxBytes: bytes.length })));
    expect((await impatient).code).equal("unavailable");
    await createModelStore({ rpcUrl: a.rpcUrl }).put(bytes);
    for (const got of await patient) expect(got).length(bytes.length);
  });

  it("serves a peer that asks who has a block before it asks for it, as Kubo does", async () => {
    const node = await bench.node();
    const bytes = randomBytes(1, 500_000);
    const { cid } = await createModelStore({ rpcUrl: node.rpcUrl }).put(bytes);
    const helia = withBitswap(
      withLibp2pLight(createHeliaLight(), {
        addresses: { listen: [] },
        transports: [tcp()],
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
        services: { identify: identify() },
      }),
    );
    await helia.start();
    bench.later(() => helia.stop());
    const { remotePeer } = await helia.libp2p.dial(multiaddr(node.multiaddrs[0]!));
    // what Kubo's sessions do; Helia's own wants never ask first, so this goes to where they are made of
    type Ask = (
      cid: CID,
      peer: typeof remotePeer,
      options: { signal: AbortSignal },
    ) => Promise<{ block?: Uint8Array; has: boolean }>;
    const { blockBrokers } = helia as unknown as {
      blockBrokers: { bitswap: { wantList: Record<"wantSessionPresence" | "wantSessionBlock", Ask> } }[];
    };
    const { wantList } = blockBrokers[0]!.bitswap;
    const signal = AbortSignal.timeout(3000);
    const first = await wantList.wantSessionPresence(parseCid(cid), remotePeer, { signal });
    expect(first).include({ has: true }).and.not.property("block");
    await new Promise((resolve) => setTimeout(resolve, 50)); // on its way
    const { block } = await wantList.wantSessionBlock(parseCid(cid), remotePeer, { signal });
    expect(Buffer.from(block!).equals(bytes)).equal(true);
  });
});
