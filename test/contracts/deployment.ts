import { readFileSync } from "node:fs";

import { expect } from "chai";
import hre from "hardhat";

import Ponas from "../../ignition/modules/Ponas.ts";
import PonasOnAsset from "../../ignition/modules/PonasOnAsset.ts";
import PonasWithoutDisputes from "../../ignition/modules/PonasWithoutDisputes.ts";
import PonasWithoutDisputesOnAsset from "../../ignition/modules/PonasWithoutDisputesOnAsset.ts";
import * as abi from "../../offchain/protocol/abi.ts";
import { ZERO_ADDRESS, type Address } from "../../offchain/protocol/bytes.ts";
import { ABI_FILE, renderAbi } from "../../scripts/abi.ts";

/** The largest contract that a chain accepts (EIP-170). */
const SIZE_LIMIT = 24_576;

describe("the published ABI", () => {
  it("is that of the compiled contracts", async () => {
    const fresh = await renderAbi();
    expect(readFileSync(ABI_FILE, "utf8") === fresh, "run `hardhat build && node scripts/abi.ts`").to.equal(true);
  });

  it("serves typed reads and writes by viem", async () => {
    const { viem, ignition } = await hre.network.create();
    const [wallet] = await viem.getWalletClients();
    const client = await viem.getPublicClient();
    const { registry, asset, stake } = await ignition.deploy(Ponas);
    const at = async (contract: { getAddress(): Promise<string> }): Promise<Address> =>
      (await contract.getAddress()) as Address;
    const token = { abi: abi.localAssetAbi, address: await at(asset) } as const;
    const stakes = { abi: abi.validatorStakeAbi, address: await at(stake) } as const;
    await wallet!.writeContract({ ...token, functionName: "faucet", args: [5n] });
    await wallet!.writeContract({ ...token, functionName: "approve", args: [stakes.address, 5n] });
    await wallet!.writeContract({ ...stakes, functionName: "stake", args: [5n] });
    const staked: bigint = await client.readContract({
      ...stakes,
      functionName: "stakeOf",
      args: [wallet!.account.address],
    });
    expect(staked).to.equal(5n);

    const tasks = { abi: abi.taskRegistryAbi, address: await at(registry) } as const;
    const phase: number = await client.readContract({ ...tasks, functionName: "phaseOf", args: [1n] });
    expect(abi.PHASES[phase]).to.equal("None");
    const { publishedAt } = await client.readContract({ ...tasks, functionName: "scheduleOf", args: [1n] });
    expect(publishedAt satisfies number).to.equal(0);
    const { params } = await client.readContract({ ...tasks, functionName: "taskOf", args: [1n] });
    expect(params.phases.training satisfies number).to.equal(0);
  });
});

describe("a deployment", () => {
  it("of the module's defaults has 7 days of unbonding, a quorum of two thirds, and disputes with an hour for each move", async () => {
    const { ignition } = await hre.network.create();
    const { registry, stake, disputes, asset, poolFactory, poolImplementation } = await ignition.deploy(Ponas);
    const view = async (contract: typeof registry, name: string): Promise<unknown> =>
      contract.getFunction(name).staticCall();
    expect(await view(stake, "unbondingPeriod")).to.equal(7n * 86_400n);
    expect(await view(registry, "quorumBps")).to.equal(6667n);
    expect(await view(registry, "disputes")).to.equal(await disputes.getAddress());
    expect(await view(disputes, "challengeBond")).to.equal(10n ** 18n);
    expect(await view(disputes, "demandPrice")).to.equal(10n ** 17n);
    expect(await view(disputes, "answerPeriod")).to.equal(3600n);
    for (const bound of [stake, disputes]) expect(await view(bound, "registry")).to.equal(await registry.getAddress());
    for (const contract of [registry, stake, disputes, poolImplementation]) {
      expect(await view(contract, "asset")).to.equal(await asset.getAddress());
    }
    expect(await view(poolFactory, "implementation")).to.equal(await poolImplementation.getAddress());
  });

  it("takes an asset that is there already", async () => {
    const { ignition } = await hre.network.create();
    const first = await ignition.deploy(Ponas, {
      parameters: { Ponas: { unbondingPeriod: 120, quorumBps: 9000, answerPeriod: 5 } },
    });
    const asset = await first.asset.getAddress();
    const second = await ignition.deploy(PonasOnAsset, { parameters: { PonasOnAsset: { asset } } });
    expect(await second.registry.getFunction("asset").staticCall()).to.equal(asset);
    expect(await first.registry.getFunction("quorumBps").staticCall()).to.equal(9000n);
    expect(await second.registry.getAddress()).not.to.equal(await first.registry.getAddress());
  });

  it("may do without disputes, with or without an asset of its own", async () => {
    const { ignition } = await hre.network.create();
    const first = await ignition.deploy(PonasWithoutDisputes);
    const parameters = { PonasWithoutDisputesOnAsset: { asset: await first.asset.getAddress() } };
    const second = await ignition.deploy(PonasWithoutDisputesOnAsset, { parameters });
    for (const { registry, stake } of [first, second]) {
      expect(await registry.getFunction("disputes").staticCall()).to.equal(ZERO_ADDRESS);
      expect(await stake.getFunction("registry").staticCall()).to.equal(await registry.getAddress());
    }
    expect(await second.registry.getFunction("asset").staticCall()).to.equal(await first.asset.getAddress());
  });

  it("has no contract larger than a chain accepts", async () => {
    for (const name of [
      "Disputes",
      "DisputeSteps",
      "Seals",
      "WellFormed",
      "TaskRegistry",
      "TaskSteps",
      "CandidateWalk",
      "ValidatorStake",
      "Pool",
      "PoolFactory",
      "LocalAsset",
    ]) {
      const { deployedBytecode } = await hre.artifacts.readArtifact(name);
      expect((deployedBytecode.length - 2) / 2, name).to.be.at.most(SIZE_LIMIT);
    }
  });

  it("has no function by which anybody could take funds, change a task, or stop a withdrawal", () => {
    const ABIS = [abi.disputesAbi, abi.taskRegistryAbi, abi.validatorStakeAbi, abi.poolAbi, abi.poolFactoryAbi];
    const functions = ABIS.flatMap((items) =>
      items.flatMap((item) => (item.type === "function" && item.stateMutability === "nonpayable" ? [item.name] : [])),
    );
    expect(
      [...new Set<string>(functions)].filter((name) => /owner|admin|upgrade|pause|sweep|rescue/i.test(name)),
    ).to.deep.equal([]);
    const payable = ABIS.flatMap((items) =>
      items.filter((item) => item.type === "function" && (item.stateMutability as string) === "payable"),
    );
    expect(payable).to.deep.equal([]);
  });
});
