import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { expect } from "chai";
import { hexToNumber, type Hex } from "viem";

import { createChainClient, type ChainClient } from "../../offchain/protocol/chain-client.ts";
import { createLog } from "../../offchain/protocol/log.ts";

const LAST = 99_999;
const ADDRESS = "0x00000000000000000000000000000000000000aa";
/** Blocks that have a log. */
const LOGS = [0, 1, 5000, 9999, 10_000, 54_321, 54_322, 99_999];

type Refuse = (blocks: number, logs: number) => { status: number; code: number; message: string } | null;

describe("logs of a long range", () => {
  const stop = new AbortController();
  const opened: { server: Server; client: ChainClient }[] = [];
  after(() => {
    stop.abort();
    for (const { server, client } of opened) {
      client.close();
      server.close();
    }
  });

  /** A node that has logs, and its own mind about how many it gives at once. */
  async function nodeThat(refuse: Refuse): Promise<{ client: ChainClient; asked: [number, number][] }> {
    const asked: [number, number][] = [];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (piece: Buffer) => (body += piece.toString()));
      request.on("end", () => {
        const { id, method, params } = JSON.parse(body) as {
          id: number;
          method: string;
          params: [{ fromBlock: Hex; toBlock: Hex }];
        };
        const say = (status: number, answer: object): void =>
          void response
            .writeHead(status, { "content-type": "application/json" })
            .end(JSON.stringify({ jsonrpc: "2.0", id, ...answer }));
        if (method !== "eth_getLogs") return say(200, { result: `0x${LAST.toString(16)}` });
        const [from, to] = [hexToNumber(params[0].fromBlock), hexToNumber(params[0].toBlock)];
        asked.push([from, to]);
        const found = LOGS.filter((block) => block >= from && block <= to);
        const refusal = refuse(to - from + 1, found.length);
        if (refusal !== null) return say(refusal.status, { error: { code: refusal.code, message: refusal.message } });
        const hash = `0x${"00".repeat(32)}`;
        const result = found.map((block) => ({
          address: ADDRESS,
          topics: [],
          data: "0x",
          blockNumber: `0x${block.toString(16)}`,
          blockHash: hash,
          transactionHash: hash,
          transactionIndex: "0x0",
          logIndex: "0x0",
          removed: false,
        }));
        say(200, { result });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = createChainClient({
      rpcUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      deployment: {
        chainId: 1,
        fromBlock: 0,
        asset: ADDRESS,
        stake: ADDRESS,
        registry: ADDRESS,
        poolFactory: ADDRESS,
      } as never,
      log: createLog("test", { level: "silent" }),
      signal: stop.signal,
      patienceMs: 1500,
    });
    opened.push({ server, client });
    return { client, asked };
  }
  const blocksOf = async ({ client }: { client: ChainClient }): Promise<number[]> =>
    (await client.client.getLogs({ address: ADDRESS, fromBlock: 0n })).map(({ blockNumber }) => Number(blockNumber));

  const NODES: Record<string, Refuse> = {
    "that gives 10,000 blocks at once": (blocks) =>
      blocks > 10_000 ? { status: 200, code: -32_000, message: "block range is too wide" } : null,
    "that says so as a limit that is exceeded": (blocks) =>
      blocks > 10_000 ? { status: 200, code: -32_005, message: "query exceeds max block range" } : null,
    "that says so by HTTP": (blocks) => (blocks > 10_000 ? { status: 400, code: -32_600, message: "range" } : null),
    "that gives one log at once": (_, logs) =>
      logs > 1 ? { status: 200, code: -32_005, message: "query returned more than 1 results" } : null,
  };
  for (const [kind, refuse] of Object.entries(NODES)) {
    it(`are all there, in order, from a node ${kind}`, async () => {
      expect(await blocksOf(await nodeThat(refuse))).to.deep.equal(LOGS);
    });
  }

  it("are asked for at once where they are given at once, and in parts that are known to be given the next time", async () => {
    const generous = await nodeThat(() => null);
    expect(await blocksOf(generous)).to.deep.equal(LOGS);
    expect(generous.asked).to.deep.equal([[0, LAST]]);
    const strict = await nodeThat(NODES["that gives 10,000 blocks at once"]!);
    await blocksOf(strict);
    strict.asked.length = 0;
    await blocksOf(strict);
    expect(strict.asked.filter(([from, to]) => to - from + 1 > 10_000).length).to.be.below(6);
    expect(strict.asked.length).to.be.below(30);
  });

  it("are refused in the node's own words where not even one block is given", async () => {
    const none = await nodeThat(() => ({ status: 200, code: -32_000, message: "logs are not kept here" }));
    const failure = await blocksOf(none).then(
      () => "given",
      (error: Error) => error.message,
    );
    expect(failure).to.include("logs are not kept here");
    expect(none.asked.length).to.be.below(40);
  });
});
