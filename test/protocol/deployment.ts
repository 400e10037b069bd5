import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";

import { readDeployment } from "../../offchain/protocol/deployment.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

const good = {
  chainId: 31337,
  fromBlock: 0,
  asset: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
  stake: "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512",
  registry: "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0",
  poolFactory: "0xCf7Ed3AccA5a467e9e704C703E8D87F634fB0Fc9",
};

describe("deployment files", () => {
  let dir: string;
  before(() => void (dir = mkdtempSync(join(tmpdir(), "ponas-deployment-"))));
  after(() => rmSync(dir, { recursive: true, force: true }));

  const fileOf = (content: string): string => {
    const file = join(dir, "deployment.json");
    writeFileSync(file, content);
    return file;
  };
  const refusal = (file: string): PonasError => {
    try {
      readDeployment(file);
    } catch (error) {
      if (error instanceof PonasError) return error;
      throw error;
    }
    throw new Error("nothing was refused");
  };

  it("are read, lower-case addresses with their checksum", () => {
    expect(readDeployment(fileOf(JSON.stringify({ ...good, stake: good.stake.toLowerCase() })))).to.deep.equal(good);
  });

  it("that are not there, or are a folder, are named with a cure", () => {
    for (const file of [join(dir, "missing.json"), dir]) {
      const error = refusal(file);
      expect(error.message).to.equal(`The deployment file ${file} cannot be read.`);
      expect(error.code).to.equal("bad-input");
      expect(error.cure).to.include("--deployment");
    }
  });

  const without = (key: keyof typeof good): string => {
    return JSON.stringify(Object.fromEntries(Object.entries(good).filter(([name]) => name !== key)));
  };
  for (const [what, content, where] of [
    ["is empty", "", "is not JSON"],
    ["is cut off", JSON.stringify(good).slice(0, 40), "is not JSON"],
    ["holds null", "null", "is not valid: "],
    ["holds a list", "[]", "is not valid: "],
    ["lacks the chain", without("chainId"), "is not valid at chainId: "],
    ["lacks the registry", without("registry"), "is not valid at registry: "],
    ["has the chain 0", JSON.stringify({ ...good, chainId: 0 }), "is not valid at chainId: "],
    ["has the chain in words", JSON.stringify({ ...good, chainId: "31337" }), "is not valid at chainId: "],
    ["has a negative block", JSON.stringify({ ...good, fromBlock: -1 }), "is not valid at fromBlock: "],
    ["has a short address", JSON.stringify({ ...good, asset: "0x12" }), "is not valid at asset: not an address"],
    [
      "has an address with a wrong checksum",
      JSON.stringify({ ...good, registry: good.registry.replace("9fE", "9Fe") }),
      "is not valid at registry: not an address",
    ],
    ["has a field that we do not know", JSON.stringify({ ...good, pools: [] }), "is not valid: "],
  ] as const) {
    it(`that ${what} give one sentence`, () => {
      const file = fileOf(content);
      const error = refusal(file);
      expect(error.code).to.equal("bad-input");
      expect(error.message).to.include(`The deployment file ${file} ${where}`);
      expect(error.message).to.match(/^[^\n]+\.$/);
    });
  }
});
