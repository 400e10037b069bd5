import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync } from "node:fs";

import { expect } from "chai";
import { ContractFactory, JsonRpcProvider, NonceManager, Transaction, Wallet } from "ethers";

import { addressOf } from "../../offchain/cli/demo/processes.ts";
import { localAssetAbi, taskRegistryAbi } from "../../offchain/protocol/abi.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import {
  checkDeployment,
  createChainClient,
  walletOf,
  type ChainClient,
  type ChainClientOptions,
} from "../../offchain/protocol/chain-client.ts";
import type { Deployment } from "../../offchain/protocol/deployment.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createLog } from "../../offchain/protocol/log.ts";
import { sleep } from "../../offchain/protocol/wait.ts";
import { createProxy, type Proxy } from "./proxy.ts";

const KEY = (n: number): string => `0x${n.toString(16).padStart(64, "0")}`;
const BLOCK_MS = 250;
/** The first of Hardhat's accounts, which has Ether. */
const RICH = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

async function refusalOf(promise: Promise<unknown>): Promise<PonasError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PonasError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("chain client", () => {
  const stop = new AbortController();
  const clients: ChainClient[] = [];
  let chain: ChildProcess;
  let rpcUrl: string;
  let proxy: Proxy;
  let deployment: Deployment;
  let keys = 1000;

  before(async () => {
    chain = spawn(process.execPath, ["scripts/local-chain.ts", "0"], {
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, PONAS_PARENT: String(process.pid) },
    });
    rpcUrl = await addressOf(chain, 50_000, stop.signal);
    await ask("evm_setIntervalMining", BLOCK_MS);
    const provider = new JsonRpcProvider(rpcUrl, 31337, { staticNetwork: true, pollingInterval: 100 });
    const artifact = JSON.parse(readFileSync("artifacts/contracts/local/LocalAsset.sol/LocalAsset.json", "utf8")) as {
      abi: [];
      bytecode: string;
    };
    const contract = await new ContractFactory(artifact.abi, artifact.bytecode, new Wallet(RICH, provider)).deploy();
    await contract.waitForDeployment();
    const asset = (await contract.getAddress()) as Address;
    provider.destroy();
    deployment = { chainId: 31337, fromBlock: 0, asset, stake: asset, registry: asset, poolFactory: asset };
    proxy = await createProxy(Number(new URL(rpcUrl).port));
  });

  after(async () => {
    stop.abort();
    for (const client of clients) client.close();
    await proxy?.close();
    if (chain.exitCode !== null) return;
    chain.kill("SIGTERM");
    await once(chain, "close");
  });

  const clientOf = (options: Partial<ChainClientOptions> = {}): ChainClient => {
    const log = createLog("test", { level: "silent" });
    const client = createChainClient({ rpcUrl, deployment, log, signal: stop.signal, pollMs: 100, ...options });
    clients.push(client);
    return client;
  };
  /** A client with an account of its own that has Ether. */
  const fundedClient = async (options: Partial<ChainClientOptions> = {}): Promise<ChainClient & { key: string }> => {
    const key = KEY(keys++);
    const client = clientOf({ privateKey: key, ...options });
    await setBalance(client.account, 10n ** 18n);
    return Object.assign(client, { key });
  };
  const ask = async (method: string, ...params: unknown[]): Promise<unknown> => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const headers = { "content-type": "application/json" };
    const reply = (await (await fetch(rpcUrl, { method: "POST", headers, body })).json()) as { result?: unknown };
    return reply.result;
  };
  const setBalance = (account: Address, wei: bigint): Promise<unknown> =>
    ask("hardhat_setBalance", account, `0x${wei.toString(16)}`);
  const nonceOf = async (account: Address): Promise<number> =>
    Number(await ask("eth_getTransactionCount", account, "latest"));

  const asset = () => ({ abi: localAssetAbi, address: deployment.asset });
  const faucet = (client: ChainClient, amount: bigint) =>
    client.send({ ...asset(), functionName: "faucet", args: [amount] });
  const balance = (client: ChainClient, account: Address = client.account): Promise<bigint> =>
    client.read({ ...asset(), functionName: "balanceOf", args: [account] });

  describe("on a chain that is there", () => {
    it("sends concurrent calls one after another, in the order of the calls", async () => {
      const client = await fundedClient();
      const sent = await Promise.all([1n, 2n, 3n, 4n].map((amount) => faucet(client, amount)));
      expect(sent.map(({ blockNumber }) => blockNumber)).to.deep.equal(
        sent.map(({ blockNumber }) => blockNumber).toSorted((a, b) => Number(a - b)),
      );
      expect(new Set(sent.map(({ hash }) => hash)).size).to.equal(4);
      expect(sent.every(({ gasUsed }) => gasUsed > 21_000n)).to.equal(true);
      expect(await balance(client)).to.equal(10n);
      expect(await nonceOf(client.account)).to.equal(4);
    });

    it("names the contract's own error and its values when a call is refused, and goes on", async () => {
      const client = await fundedClient();
      const { account } = client;
      const args = [deployment.asset, 5n] as const;
      const error = await refusalOf(client.send({ ...asset(), functionName: "transfer", args }));
      expect(error.code).to.equal("reverted");
      expect(error.message).to.equal(`transfer was refused: ERC20InsufficientBalance(${account}, 0, 5).`);
      expect(await nonceOf(account)).to.equal(0);
      await faucet(client, 5n);
      await client.send({ ...asset(), functionName: "transfer", args });
      expect(await balance(client)).to.equal(0n);
    });

    it("gives one sentence where a call or a view is of no contract there", async () => {
      const client = await fundedClient();
      const nowhere = { abi: taskRegistryAbi, address: KEY(7).slice(0, 42) as Address };
      const read = await refusalOf(client.read({ ...nowhere, functionName: "taskCount", args: [] }));
      expect([read.code, read.message]).to.deep.equal([
        "chain-mismatch",
        "The chain has nothing at that address that answers taskCount.",
      ]);
      const refused = await refusalOf(
        client.read({ abi: taskRegistryAbi, address: deployment.asset, functionName: "taskCount", args: [] }),
      );
      expect(refused.message).to.match(/taskCount[^\n]*\.$/);
    });

    it("reads without a key, and says what is missing when it is to sign", async () => {
      const client = clientOf();
      expect(await balance(client, walletOf(RICH).address as Address)).to.equal(0n);
      for (const error of [
        await refusalOf(faucet(client, 1n)),
        await refusalOf(client.signText("text")),
        await refusalOf((async () => client.account)()),
      ]) {
        expect([error.code, error.message]).to.deep.equal([
          "wrong-key",
          "This needs a private key, and none was given.",
        ]);
      }
    });

    for (const [what, key] of [
      ["empty", ""],
      ["too short", KEY(1).slice(0, -1)],
      ["too long", `${KEY(1)}0`],
      ["no hex", `0x${"zz".repeat(32)}`],
      ["zero", KEY(0)],
      ["an address", "0x5FbDB2315678afecb367f032d93F642f64180aa3"],
    ] as const) {
      it(`refuses a key that is ${what}, without repeating it`, () => {
        expect(() => walletOf(key)).to.throw(PonasError, "The private key is not 32 bytes in hex.");
        expect(() => clientOf({ privateKey: key }))
          .to.throw(PonasError)
          .with.property("code", "wrong-key");
        if (key !== "")
          expect(() => walletOf(key))
            .to.throw()
            .with.property("message")
            .that.does.not.include(key);
      });
    }

    it("says so where the account cannot pay for gas, and sends once it can", async () => {
      const client = clientOf({ privateKey: KEY(keys++) });
      const error = await refusalOf(faucet(client, 1n));
      expect(error.message).to.equal("faucet could not be sent: the account cannot pay for its gas.");
      expect(error.exitCode).to.equal(75);
      await setBalance(client.account, 10n ** 18n);
      await faucet(client, 1n);
      expect(await balance(client)).to.equal(1n);
    });

    it("counts a transaction only when blocks are on top of it", async () => {
      const client = await fundedClient({ depth: 3 });
      const sent = await faucet(client, 1n);
      expect((await client.head()).number >= sent.blockNumber + 3n).to.equal(true);
    });

    it("streams heads that only go up, and ends with the signal", async () => {
      const ending = new AbortController();
      const client = clientOf({ signal: ending.signal });
      const numbers: bigint[] = [];
      for await (const { number } of client.heads()) {
        if (numbers.push(number) === 3) ending.abort();
      }
      expect(numbers).to.have.length(3);
      expect(numbers[0]! < numbers[1]! && numbers[1]! < numbers[2]!).to.equal(true);
    });
  });

  describe("where another process uses the same key", () => {
    it("does not hang when its transaction is overtaken, and can send again", async () => {
      const client = await fundedClient();
      await ask("evm_setIntervalMining", 0);
      const overtaken = refusalOf(faucet(client, 1n));
      // the other one's transaction has the same nonce and a larger fee: the node drops ours for it
      const provider = new JsonRpcProvider(rpcUrl, 31337, { staticNetwork: true });
      while (Number(await ask("eth_getTransactionCount", client.account, "pending")) === 0) await sleep(50);
      const fees = { maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 10n ** 11n };
      await new Wallet(client.key, provider).sendTransaction({ to: client.account, nonce: 0, gasLimit: 21_000, ...fees }); // prettier-ignore
      await ask("evm_setIntervalMining", BLOCK_MS);
      const error = await overtaken;
      expect(error.code).to.equal("unavailable");
      expect(error.message).to.equal(`faucet was overtaken by another transaction of ${client.account}.`);
      await faucet(client, 2n);
      expect(await balance(client)).to.equal(2n);
      provider.destroy();
    });

    it("waits behind a transaction of the same nonce that pays more, which it cannot replace", async () => {
      const client = await fundedClient();
      const provider = new JsonRpcProvider(rpcUrl, 31337, { staticNetwork: true });
      await ask("evm_setIntervalMining", 0);
      const wallet = new NonceManager(new Wallet(client.key, provider));
      const fees = { maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 10n ** 11n };
      await wallet.sendTransaction({ to: client.account, gasLimit: 21_000, ...fees });
      const waiting = refusalOf(faucet(client, 1n));
      await sleep(500);
      await ask("evm_setIntervalMining", BLOCK_MS);
      expect((await waiting).message).to.include("was overtaken by");
      await faucet(client, 1n);
      expect(await balance(client)).to.equal(1n);
      provider.destroy();
    });

    it("goes on after a kill between broadcast and receipt", async () => {
      const dying = new AbortController();
      const first = await fundedClient({ signal: dying.signal });
      await ask("evm_setIntervalMining", 0);
      const cut = refusalOf(faucet(first, 5n));
      while (Number(await ask("eth_getTransactionCount", first.account, "pending")) === 0) await sleep(50);
      dying.abort();
      expect((await cut).code).to.equal("aborted");
      const second = clientOf({ privateKey: first.key });
      // Told to do it again, it either offers the very bytes that the node has, or finds itself overtaken by them.
      const sending = faucet(second, 5n).catch((error: PonasError) => error.code);
      await sleep(300);
      await ask("evm_setIntervalMining", BLOCK_MS);
      const outcome = await sending;
      if (typeof outcome === "string") expect(outcome).to.equal("unavailable");
      expect(await balance(second)).to.equal(5n);
      await faucet(second, 1n);
      expect(await balance(second)).to.equal(6n);
      expect(await nonceOf(second.account)).to.equal(2);
    });
  });

  it("does not take its own transaction for another's, which is mined just before its nonce is read", async () => {
    const node = await minesWhenAsked();
    const client = clientOf({ rpcUrl: node.url, privateKey: RICH });
    const { hash } = await faucet(client, 1n);
    expect([hash, node.nonces()]).to.deep.equal([node.mined(), 2]);
    node.close();
  });

  describe("where the node goes away", () => {
    afterEach(async () => {
      await proxy.close();
      await proxy.open();
    });

    it("a read and a send begun during 20 s of outage both wait, and the send lands once", async () => {
      const client = await fundedClient({ rpcUrl: proxy.url });
      await faucet(client, 1n);
      await proxy.close();
      const start = performance.now();
      const done: string[] = [];
      const read = balance(client).then((value) => (done.push("read"), value));
      const send = faucet(client, 2n).then((value) => (done.push("send"), value));
      const receipt = client.client.getBlockNumber().then((value) => (done.push("raw"), value));
      await sleep(20_000);
      expect(done).to.deep.equal([]);
      await proxy.open();
      expect([1n, 3n]).to.include(await read);
      await Promise.all([send, receipt]);
      expect(performance.now() - start).to.be.within(20_000, 60_000);
      expect(await balance(client)).to.equal(3n);
      expect(await nonceOf(client.account)).to.equal(2);
    });

    it("a send lands once where the node took it and the answer was lost", async () => {
      const client = await fundedClient({ rpcUrl: proxy.url });
      const died = proxy.dieAfter("eth_sendRawTransaction");
      const sending = faucet(client, 4n);
      await died;
      await sleep(500);
      await proxy.open();
      await sending;
      expect(await balance(client)).to.equal(4n);
      expect(await nonceOf(client.account)).to.equal(1);
    });

    it("heads go on when it is back", async () => {
      const ending = new AbortController();
      const client = clientOf({ rpcUrl: proxy.url, signal: ending.signal, patienceMs: 500 });
      const heads = client.heads();
      const first = await heads.next();
      await proxy.close();
      const next = heads.next();
      await sleep(1500); // longer than its patience: it reports, and goes on
      await proxy.open();
      expect((await next).value!.number > first.value!.number).to.equal(true);
      ending.abort();
      expect((await heads.next()).done).to.equal(true);
    });

    it("patience runs out: the sentence names the node, and the exit code says to try again", async () => {
      const client = await fundedClient({ rpcUrl: proxy.url, patienceMs: 800 });
      await proxy.close();
      const start = performance.now();
      const errors = await Promise.all([
        refusalOf(balance(client)),
        refusalOf(faucet(client, 1n)),
        refusalOf(client.head()),
        refusalOf(checkDeployment(client, proxy.url)),
      ]);
      for (const error of errors) {
        expect([error.code, error.exitCode]).to.deep.equal(["chain-unreachable", 75]);
        expect(error.message).to.equal(`The chain at ${proxy.url} has not answered for 0.8 s.`);
      }
      expect(performance.now() - start).to.be.below(15_000);
    });

    it("a node that takes requests and answers none is away too", async () => {
      const client = await fundedClient({ rpcUrl: proxy.url, patienceMs: 800 });
      proxy.hang();
      const start = performance.now();
      expect((await refusalOf(balance(client))).code).to.equal("chain-unreachable");
      expect((await refusalOf(faucet(client, 1n))).code).to.equal("chain-unreachable");
      expect(performance.now() - start).to.be.below(20_000);
      proxy.answerAgain();
      await faucet(client, 1n);
      expect(await balance(client)).to.equal(1n);
    });

    it("the signal ends a wait at once", async () => {
      const ending = new AbortController();
      const client = await fundedClient({ rpcUrl: proxy.url, signal: ending.signal });
      await proxy.close();
      const [read, send] = [refusalOf(balance(client)), refusalOf(faucet(client, 1n))];
      await sleep(300);
      const start = performance.now();
      ending.abort();
      expect([(await read).code, (await send).code]).to.deep.equal(["aborted", "aborted"]);
      expect(performance.now() - start).to.be.below(10_000);
    });
  });

  describe("before an agent acts", () => {
    it("agrees with a deployment that is there", () => checkDeployment(clientOf(), rpcUrl));

    it("refuses a node on another chain", async () => {
      const error = await refusalOf(checkDeployment(clientOf({ deployment: { ...deployment, chainId: 1 } }), rpcUrl));
      expect([error.code, error.exitCode]).to.deep.equal(["chain-mismatch", 1]);
      expect(error.message).to.equal(`The node at ${rpcUrl} is on chain 31337, the deployment file is for chain 1.`);
    });

    for (const part of ["asset", "stake", "registry", "poolFactory"] as const) {
      it(`refuses a chain without the ${part}`, async () => {
        const nowhere = KEY(9).slice(0, 42) as Address;
        const error = await refusalOf(
          checkDeployment(clientOf({ deployment: { ...deployment, [part]: nowhere } }), rpcUrl),
        );
        expect(error.code).to.equal("chain-mismatch");
        expect(error.message).to.equal(
          `There is no contract at the deployment's ${part} ${nowhere} on the node at ${rpcUrl}.`,
        );
      });
    }

    for (const [what, status, body] of [
      ["a web page", 200, "<html>hello</html>"],
      ["JSON that is no answer", 200, '{"hello": 1}'],
      ["an error of its own", 200, '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}'],
      ["nothing found", 404, "not found"],
      ["that it is overloaded", 503, ""],
    ] as const) {
      it(`says in one sentence that a server answers ${what}`, async () => {
        const server = createServer((_, reply) => void reply.writeHead(status).end(body)).listen(0, "127.0.0.1");
        await once(server, "listening");
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        const client = clientOf({ rpcUrl: url, patienceMs: 300, privateKey: RICH });
        for (const work of [
          () => checkDeployment(client, url),
          () => client.head(),
          () => balance(client),
          () => faucet(client, 1n),
        ]) {
          // prettier-ignore
          const error = await refusalOf(work());
          expect(error.message).to.match(/^[^\n]+\.$/);
        }
        server.closeAllConnections();
        server.close();
      });
    }
  });
});

/** A node that mines what it was sent at the very moment at which it is asked for the account's nonce once more. */
async function minesWhenAsked(): Promise<{ url: string; mined(): string; nonces(): number; close(): void }> {
  const hash = `0x${"11".repeat(32)}`;
  const block = { number: "0x1", hash, parentHash: hash, timestamp: "0x1", baseFeePerGas: "0x1", transactions: [] };
  let sent: string | undefined;
  let nonces = 0;
  const answers: Record<string, (params: unknown[]) => unknown> = {
    eth_estimateGas: () => "0x5208",
    eth_getBlockByNumber: () => block,
    eth_getTransactionCount: () => `0x${nonces++}`,
    eth_sendRawTransaction: ([raw]) => (sent = Transaction.from(raw as string).hash!),
    eth_getTransactionReceipt: ([transactionHash]) =>
      nonces < 2
        ? null
        : {
            ...{ transactionHash, blockHash: hash, blockNumber: "0x1", transactionIndex: "0x0", type: "0x2" },
            ...{ from: `0x${"22".repeat(20)}`, to: `0x${"33".repeat(20)}`, contractAddress: null, status: "0x1" },
            ...{ gasUsed: "0x5208", cumulativeGasUsed: "0x5208", effectiveGasPrice: "0x1", logs: [] },
            logsBloom: `0x${"00".repeat(256)}`,
          },
  };
  const server = createServer((request, reply) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { id, method, params } = JSON.parse(body) as { id: number; method: string; params: unknown[] };
      reply.writeHead(200, { "content-type": "application/json" });
      reply.end(JSON.stringify({ jsonrpc: "2.0", id, result: answers[method]!(params) }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    mined: () => sent!,
    nonces: () => nonces,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
