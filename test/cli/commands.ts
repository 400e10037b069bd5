import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { resolve } from "node:path";

import { expect } from "chai";

import { SPACE_NAMES, SPACES } from "../../offchain/search/spaces.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, type Finished, type Workplace } from "./support.ts";

const A = `0x${"0".repeat(38)}aa`;
const B = `0x${"0".repeat(38)}bb`;
const C = `0x${"0".repeat(38)}cc`;

describe("the command line", () => {
  let place: Workplace;
  const run = (...args: string[]): Promise<Finished> => ponas(args, place);
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  describe("itself", () => {
    it("prints its help and says 2 where no command is given, 0 where help is asked for", async () => {
      const [bare, asked] = [await run(), await run("--help")];
      expect([bare.code, asked.code]).to.deep.equal([2, 0]);
      for (const word of [
        "demo",
        "train",
        "evaluate",
        "inspect",
        "space",
        "split",
        "doctor",
        "task",
        "pool",
        "miner",
        "validator",
      ]) {
        // prettier-ignore
        expect(asked.stdout).to.match(new RegExp(`^ {2}${word} `, "m"));
      }
    });

    it("shows a command's own help either way", async () => {
      for (const finished of [await run("help", "split"), await run("split", "--help")]) {
        expect(finished.code).to.equal(0);
        expect(finished.stdout).to.include("--points <file>");
      }
    });

    for (const name of ["nosuch", "constructor", "toString", "__proto__"]) {
      it(`does not know the command ${name}`, async () => {
        expectRefusal(await run(name), 2, `unknown command '${name}'`);
      });
    }

    it("does not mind a reader that stops reading", async () => {
      const child = spawn(process.execPath, [resolve("offchain/cli/ponas.ts"), "space", "full"], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      child.stdout.destroy();
      let stderr = "";
      child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
      const [code] = (await once(child, "close")) as [number];
      expect([code, stderr]).to.deep.equal([0, ""]);
    });
  });

  describe("space", () => {
    it("prints a space's ten lists, its name in any case", async () => {
      for (const name of ["full", "s3", "DEMO"]) {
        const known = SPACE_NAMES.find((other) => other.toLowerCase() === name.toLowerCase())!;
        expect(jsonOf(await run("space", name, "--json"))).to.deep.equal(SPACES[known]);
      }
    });

    it("lists the spaces there are where it does not know one", async () => {
      const finished = await run("space", "S10", "--json");
      expectRefusal(finished, 1, "There is no search space called S10.");
      for (const name of SPACE_NAMES) expect(finished.stderr).to.include(name);
      expectRefusal(await run("space", "constructor"), 1, "There is no search space called constructor.");
      expectRefusal(await run("space"), 2, "missing required argument 'name'");
    });
  });

  describe("split", () => {
    const split = (points: unknown, amount = "1000003", feeBps = "250"): Promise<Finished> =>
      run("split", "--points", place.writeJson("points.json", points), "--amount", amount, "--fee-bps", feeBps, "--json"); // prettier-ignore

    it("pays every unit: payments, fee and dust add up to the amount", async () => {
      const points = [{ account: C, points: 1 }, { account: A, points: "5" }, { account: B, points: 3 }]; // prettier-ignore
      const value = jsonOf<{ root: string; total: string; payments: { account: string; amount: string }[]; fee: string; dust: string }>(await split(points)); // prettier-ignore
      expect(Object.keys(value)).to.include.members(["root", "total", "payments", "fee", "dust"]);
      expect(value.root).to.match(/^0x[0-9a-f]{64}$/);
      expect(value.total).to.equal("9");
      // fee = ⌊1000003 · 250 / 10000⌋; then ⌊R(pre+p)/S⌋ − ⌊R·pre/S⌋ in ascending order of accounts
      const rest = 975003n;
      expect(value.fee).to.equal("25000");
      expect(value.payments.map(({ amount }) => BigInt(amount))).to.deep.equal([
        (rest * 5n) / 9n,
        (rest * 8n) / 9n - (rest * 5n) / 9n,
        rest - (rest * 8n) / 9n,
      ]);
      expect(value.payments.map(({ account }) => account.toLowerCase())).to.deep.equal([A, B, C]); // prettier-ignore
      const paid = value.payments.reduce((sum, { amount }) => sum + BigInt(amount), 0n);
      expect(paid + BigInt(value.fee) + BigInt(value.dust)).to.equal(1000003n);
    });

    it("holds numbers beyond a double's exactly", async () => {
      const amount = (10n ** 30n + 1n).toString();
      const value = jsonOf<{ payments: { amount: string }[]; total: string }>(
        await split([{ account: A, points: (2n ** 100n).toString() }], amount, "0"),
      );
      expect(value.payments[0]!.amount).to.equal(amount);
      expect(value.total).to.equal((2n ** 100n).toString());
    });

    const one = (points: unknown, account: unknown = A): unknown => [{ account, points }];
    for (const [what, points, sentence] of [
      ["negative points", one(-5), "-5 is not a non-negative integer."],
      ["broken points", one(1.5), "1.5 is not a non-negative integer."],
      ["points in words", one("five"), "Entry 0 of the points"],
      ["no points", [{ account: A }], "Entry 0 of the points"],
      ["all points zero", one(0), "No account has any points"],
      ["points beyond 2^128", one((2n ** 128n).toString()), "points are from 0 to 2^128"],
      ["a short address", one(5, "0x12"), '"0x12" is not an address.'],
      ["no address", one(5, null), "Entry 0 of the points"],
      [
        "an account twice",
        [...(one(1) as []), ...(one(2, A.toUpperCase().replace("X", "x")) as [])],
        "stands twice in the split.",
      ],
      ["an empty list", [], "A split needs at least one account."],
      ["a number", 5, "points"],
      ["null", null, "points"],
    ] as const) {
      it(`refuses ${what}`, async () => expectRefusal(await split(points), 1, sentence));
    }

    it("refuses amounts and fees that are none, and files that are none", async () => {
      const points = one(1);
      expectRefusal(await split(points, "-5"), 2, '--amount takes a whole number of the asset\'s smallest unit, not "-5".'); // prettier-ignore
      expectRefusal(await split(points, "1.5"), 2, 'not "1.5".');
      expectRefusal(await split(points, ""), 2, 'not "".');
      expectRefusal(await split(points, "5", "10001"), 2, "--fee-bps takes a whole number from 0 to 10000");
      expectRefusal(await split(points, "5", "-1"), 2, "--fee-bps takes a whole number from 0 to 10000");
      const rest = ["--amount", "5", "--fee-bps", "0"];
      expectRefusal(
        await run("split", "--points", "missing.json", ...rest),
        1,
        "The file missing.json does not exist.",
      );
      place.write("text.json", "points");
      expectRefusal(await run("split", "--points", "text.json", ...rest), 1, "The file text.json is not JSON.");
    });
  });

  it("doctor prints its findings, each with a cure where something is wrong", async () => {
    const finished = await run("doctor", "--json");
    const findings = jsonOf<{ check: string; severity: string; message: string; cure: string | null }[]>(finished);
    expect(findings.map(({ check }) => check)).to.include.members(["node", "onnxruntime", "ipfs", "database", "mnist"]);
    for (const { severity, message, cure } of findings) {
      expect(severity).to.be.oneOf(["ok", "warning"]); // an error would have made the exit code 1
      expect(message).not.to.equal("");
      if (severity !== "ok") expect(cure).not.to.equal(null);
    }
  });

  describe("a command on the chain", () => {
    const asset = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
    const deployment = { chainId: 31337, fromBlock: 0, asset, stake: asset, registry: asset, poolFactory: asset };
    const key = `0x${"1".repeat(64)}`;
    const publish = (...args: string[]): string[] => ["task", "publish", "--dataset", "mnist", "--state-dir", "state", ...args]; // prettier-ignore
    const list = (...args: string[]): Promise<Finished> => run("task", "list", "--patience", "1", ...args, "--json");
    const servers: Server[] = [];

    before(() => {
      place.writeJson("deployment.json", deployment);
      place.writeJson("bad.json", { ...deployment, registry: "0x12" });
      place.write("bad.key", "0x1234\n");
      place.write("good.key", `${key}\n`);
    });
    after(() => servers.forEach((server) => server.close()));

    const nodeThat = async (answer: (method: string) => unknown): Promise<string> => {
      const server = createServer((request, reply) => {
        let body = "";
        request.on("data", (chunk: Buffer) => (body += chunk.toString()));
        request.on("end", () => {
          const { id, method } = JSON.parse(body) as { id: number; method: string };
          reply.setHeader("connection", "close").end(JSON.stringify({ jsonrpc: "2.0", id, result: answer(method) }));
        });
      }).listen(0, "127.0.0.1");
      servers.push(server);
      await once(server, "listening");
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    };
    const closedPort = async (): Promise<string> => {
      const server = createTcpServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      await new Promise((done) => server.close(done));
      return `http://127.0.0.1:${port}`;
    };

    it("wants a deployment file that is there and right", async () => {
      expectRefusal(await list("--deployment", "missing.json"), 1, "The deployment file missing.json cannot be read.");
      expectRefusal(
        await list("--deployment", "bad.json"),
        1,
        "The deployment file bad.json is not valid at registry: ",
      );
    });

    it("wants a key where it is to sign, and never repeats a bad one", async () => {
      expectRefusal(await run(...publish()), 1, "This needs a private key, and none was given.");
      expectRefusal(await run(...publish("--key-file", "missing.key")), 1, "The key file missing.key cannot be read.");
      const bad = await run(...publish("--key-file", "bad.key"));
      expectRefusal(bad, 1, "The private key is not 32 bytes in hex.");
      expect(bad.stderr).not.to.include("0x1234");
      const variable = await ponas(publish(), { ...place, env: { PONAS_PRIVATE_KEY: "secret" } });
      expectRefusal(variable, 1, "The private key is not 32 bytes in hex.");
      expect(variable.stderr).not.to.include("secret");
    });

    it("says 75 where no node answers within its patience", async () => {
      const rpc = await closedPort();
      const start = performance.now();
      for (const finished of [
        await list("--rpc", rpc),
        await run(...publish("--key-file", "good.key", "--rpc", rpc, "--patience", "1")),
      ]) {
        expect(finished.stderr).not.to.include("    at ");
        expectRefusal(finished, 75, `The chain at ${rpc} has not answered for 1 s.`);
      }
      expect(performance.now() - start).to.be.below(20_000);
    });

    it("says what differs where the node is on another chain, or has no contracts", async () => {
      const other = await nodeThat(() => "0x1");
      expectRefusal(await list("--rpc", other), 1, `The node at ${other} is on chain 1, the deployment file is for chain 31337.`); // prettier-ignore
      const bare = await nodeThat((method) => (method === "eth_chainId" ? "0x7a69" : "0x"));
      expectRefusal(await list("--rpc", bare), 1, "There is no contract at the deployment's registry");
    });

    it("refuses options that cannot be meant", async () => {
      expectRefusal(await list("--rpc", "localhost"), 2, '--rpc takes a URL such as http://127.0.0.1:8545, not "localhost".'); // prettier-ignore
      const variable = await ponas(["task", "list"], { ...place, env: { PONAS_RPC_URL: "ftp://x" } });
      expectRefusal(variable, 2, 'not "ftp://x".');
      expectRefusal(await list("--patience", "0"), 2, "--patience takes a whole number from 1 to 86400");
      expectRefusal(await run("task", "show", "first"), 2, 'A task is named by its number, not "first".');
      expectRefusal(await run("task", "show"), 2, "missing required argument 'id'");
      expectRefusal(await run("task", "shows"), 2, "unknown command 'shows'");
      expectRefusal(await run(...publish("--reward", "-1")), 2, '--reward takes an amount such as 100 or 0.5, not "-1".'); // prettier-ignore
      expectRefusal(
        await run(...publish("--min-accuracy", "101")),
        2,
        "--min-accuracy takes a percentage from 0 to 100",
      );
      expectRefusal(await run(...publish("--training", "0")), 2, "--training takes a whole number from 1");
    });
  });
});
