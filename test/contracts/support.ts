/** One deployment with its people, and what they do to bring a task anywhere: shared by the contracts' tests. */
import type { HardhatEthersSigner } from "@nomicfoundation/hardhat-ethers/types";
import { hexlify, keccak256, parseEther, toUtf8Bytes, ZeroAddress } from "ethers";
import hre from "hardhat";

import { COMMITMENT_STATES, PHASES, SPLIT_PHASES } from "../../offchain/protocol/abi.ts";
import {
  claimSeal,
  commitmentHash,
  commitTestSet,
  keyHash,
  resultHash,
  validatorSeal,
  ZERO_HASH,
  type Address,
  type Domain,
  type Hex,
} from "../../offchain/protocol/bytes.ts";
import type {
  ArithmeticHarness,
  CandidateWalk,
  Disputes,
  DisputeSteps,
  IPool,
  ITaskRegistry,
  LibraryHarness,
  LocalAsset,
  Pool,
  PoolFactory,
  QuirkyAsset,
  ScriptedDisputes,
  Seals,
  SmartAccount,
  TaskRegistry,
  TaskSteps,
  ValidatorStake,
  WellFormed,
  WellFormedHarness,
} from "../../types/ethers-contracts/index.ts";

const connection = await hre.network.create();
export const { ethers, networkHelpers } = connection;
const { time } = networkHelpers;
export const { loadFixture } = networkHelpers;

let genesis = await networkHelpers.takeSnapshot();
/** Back to the empty chain: fixtures are made anew. */
export async function restart(): Promise<void> {
  await genesis.restore();
  networkHelpers.clearSnapshots();
  genesis = await networkHelpers.takeSnapshot();
}

export type Signer = HardhatEthersSigner;
export type TaskParams = ITaskRegistry.TaskParamsStruct;
export type Phase = (typeof PHASES)[number];

/** Whole units of the asset. */
export const units = (amount: number | string): bigint => parseEther(String(amount));
export const digest = (text: string): Hex => keccak256(toUtf8Bytes(text)) as Hex;
/** The binary CIDv1 (raw, sha2-256) that stands for some file: contracts read no content. */
export const cidOf = (text: string): Hex => `0x01551220${digest(text).slice(2)}`;

// ————— Contracts —————

interface Contracts {
  ArithmeticHarness: ArithmeticHarness;
  CandidateWalk: CandidateWalk;
  Disputes: Disputes;
  DisputeSteps: DisputeSteps;
  LibraryHarness: LibraryHarness;
  LocalAsset: LocalAsset;
  Pool: Pool;
  PoolFactory: PoolFactory;
  QuirkyAsset: QuirkyAsset;
  ScriptedDisputes: ScriptedDisputes;
  Seals: Seals;
  SmartAccount: SmartAccount;
  TaskRegistry: TaskRegistry;
  TaskSteps: TaskSteps;
  ValidatorStake: ValidatorStake;
  WellFormed: WellFormed;
  WellFormedHarness: WellFormedHarness;
}

/** Deploys a contract and gives it its generated type. */
export async function deploy<Name extends keyof Contracts>(
  name: Name,
  args: unknown[] = [],
  libraries: Record<string, string> = {},
): Promise<Contracts[Name]> {
  return (await ethers.deployContract(name, args, { libraries })) as unknown as Contracts[Name];
}

export async function contractAt<Name extends keyof Contracts>(name: Name, address: string): Promise<Contracts[Name]> {
  return (await ethers.getContractAt(name, address)) as unknown as Contracts[Name];
}

/** The contract that people deploy, with its libraries; it is bound to no registry yet. */
export async function deployDisputes(token: LocalAsset | QuirkyAsset): Promise<Disputes> {
  return deploy("Disputes", [token, CHALLENGE_BOND, ANSWER_PERIOD, DEMAND_PRICE], {
    DisputeSteps: await (await deploy("DisputeSteps")).getAddress(),
    Seals: await (await deploy("Seals")).getAddress(),
    WellFormed: await (await deploy("WellFormed")).getAddress(),
  });
}

// ————— Time —————

export const now = (): Promise<number> => time.latest();
/** The next transaction's block has exactly this timestamp. */
export const at = (timestamp: bigint | number): Promise<void> => time.setNextBlockTimestamp(Number(timestamp));
/** Mines a block of exactly this timestamp, so that views see it. */
export const goTo = (timestamp: bigint | number): Promise<void> => time.increaseTo(Number(timestamp));

// ————— Test set and models —————

export const TEST_COUNT = 40;
const SHAPE = { height: 2, width: 2, channels: 1, classes: 10 };
export const labels = Uint8Array.from({ length: TEST_COUNT }, (_, i) => (i * 7) % 10);
const pixels = Uint8Array.from({ length: TEST_COUNT * 4 }, (_, i) => (i * 31) % 256);
const testSet = commitTestSet(pixels, labels, SHAPE);
export const TEST_PARTS: ITaskRegistry.TestSetPartsStruct = { ...SHAPE, samplesRoot: testSet.samplesRoot };
export const KEY = digest("the test set's key");

export interface Model {
  readonly opening: {
    readonly modelRoot: Hex;
    readonly modelCid: Hex;
    readonly validationCorrect: number;
    readonly validationTotal: number;
    readonly salt: Hex;
  };
  readonly correct: number;
  readonly predictions: Uint8Array;
  readonly result: Hex;
}

/** A model with so many correct predictions, the first ones. */
export function modelOf(name: string, correct: number): Model {
  const predictions = labels.map((label, i) => (i < correct ? label : (label + 1) % 10));
  return {
    opening: {
      modelRoot: digest(`model ${name}`),
      modelCid: cidOf(name),
      validationCorrect: correct * 2,
      validationTotal: 100,
      salt: digest(`salt ${name}`),
    },
    correct,
    predictions,
    result: resultHash(predictions),
  };
}

// ————— The world —————

export const PHASE_LENGTHS = {
  initialisation: 100,
  training: 1000,
  keyRelease: 500,
  testVote: 200,
  reveal: 600,
  seal: 400,
  open: 300,
  shortWindow: 150,
  longWindow: 900,
};
export const REWARD = units(100);
export const PUBLISHER_BOND = units(30);
export const COMMIT_BOND = units(2);
export const COMMIT_FEE = units("0.01");
export const VALIDATOR_FEE = units(4);
export const CANDIDATE_BOND = units(5);
export const CHALLENGE_BOND = units(1);
export const DEMAND_PRICE = units("0.2");
/** Seconds for each move of a dispute. */
export const ANSWER_PERIOD = 100;
export const UNBONDING = 10_000;
export const QUORUM_BPS = 6667;
/** Of victor, vera and vlad; any two of which victor is one are a quorum. */
export const STAKES = [units(50), units(30), units(20)] as const;

export interface WorldOptions {
  /** "arithmetic": the contract that people deploy; true: one that does what a test says */
  readonly disputes?: boolean | "arithmetic";
  /** artifact of the asset */
  readonly asset?: "LocalAsset" | "QuirkyAsset";
  readonly staked?: boolean;
}

export async function deployWorld({ disputes = false, asset = "LocalAsset", staked = true }: WorldOptions = {}) {
  const [publisher, ada, ben, cleo, victor, vera, vlad, manager, receiptSigner, mia, max, stranger] =
    (await ethers.getSigners()) as [
      Signer, Signer, Signer, Signer, Signer, Signer, Signer, Signer, Signer, Signer, Signer, Signer,
    ]; // prettier-ignore
  const token: LocalAsset | QuirkyAsset = await deploy(asset);
  const stake = await deploy("ValidatorStake", [token, UNBONDING]);
  const libraries = {
    CandidateWalk: await (await deploy("CandidateWalk")).getAddress(),
    TaskSteps: await (await deploy("TaskSteps")).getAddress(),
  };
  const scripted = await deploy("ScriptedDisputes");
  const arithmetic = await deployDisputes(token);
  const disputing = disputes === "arithmetic" ? arithmetic : scripted;
  const registry = await deploy(
    "TaskRegistry",
    [token, stake, disputes === false ? ZeroAddress : await disputing.getAddress(), QUORUM_BPS],
    libraries,
  );
  if (disputes === "arithmetic") await arithmetic.bind(registry);
  await stake.bind(registry);
  const poolImplementation = await deploy("Pool", [registry]);
  const factory = await deploy("PoolFactory", [poolImplementation]);

  const validators = [victor, vera, vlad] as const;
  for (const person of [publisher, ada, ben, cleo, ...validators, manager, stranger]) {
    await token.connect(person).faucet(units(100_000));
    await token.connect(person).approve(registry, units(100_000));
    await token.connect(person).approve(arithmetic, units(100_000));
  }
  for (const [i, validator] of validators.entries()) {
    await token.connect(validator).approve(stake, units(100_000));
    if (staked) await stake.connect(validator).stake(STAKES[i]!);
  }

  const { chainId } = await ethers.provider.getNetwork();
  const domain: Domain = { chainId, registry: (await registry.getAddress()) as Address };

  const paramsOf = (overrides: Partial<TaskParams> = {}): TaskParams => ({
    descriptorCid: cidOf("descriptor"),
    keyHash: keyHash(domain, publisher.address as Address, KEY),
    testRoot: testSet.testRoot,
    spaceHash: digest("space"),
    testCount: TEST_COUNT,
    minCorrect: 10,
    maxModelBytes: 1_000_000,
    maxLuts: 100_000,
    minThroughput: 10,
    candidateBondBps: 500,
    difficulty: { flops: 10n ** 15n, networkFlops: 10n ** 12n, modelBytes: 1_000_000, dataBytes: 9_000_000, bandwidth: 1_000_000 }, // prettier-ignore
    phases: PHASE_LENGTHS,
    reward: REWARD,
    publisherBond: PUBLISHER_BOND,
    commitBond: COMMIT_BOND,
    commitFee: COMMIT_FEE,
    validatorFee: VALIDATOR_FEE,
    ...overrides,
  });

  async function publish(overrides: Partial<TaskParams> = {}): Promise<bigint> {
    await registry.connect(publisher).publish(paramsOf(overrides));
    return registry.taskCount();
  }

  const phase = async (taskId: bigint): Promise<Phase> => PHASES[Number(await registry.phaseOf(taskId))]!;
  const schedule = (taskId: bigint) => registry.scheduleOf(taskId);
  const stateOf = async (taskId: bigint, participant: Signer | Pool) =>
    COMMITMENT_STATES[Number((await registry.commitmentOf(taskId, participant)).state)]!;

  const commitmentOf = (taskId: bigint, participant: string, model: Model): Hex =>
    commitmentHash(domain, taskId, participant as Address, {
      ...model.opening,
      modelCid: ethers.getBytes(model.opening.modelCid),
    });
  const claimSealOf = (taskId: bigint, participant: string, model: Model): Hex =>
    claimSeal(domain, taskId, participant as Address, model.opening.modelRoot, model.result);
  const sealOf = (taskId: bigint, participant: string, model: Model, validator: Signer, result = model.result): Hex =>
    validatorSeal(domain, taskId, commitmentOf(taskId, participant, model), validator.address as Address, result);

  // ————— Acts —————

  const commit = (taskId: bigint, who: Signer, model: Model) =>
    registry.connect(who).commit(taskId, commitmentOf(taskId, who.address, model));
  const release = (taskId: bigint) => registry.connect(publisher).release(taskId, KEY);
  const reveal = (taskId: bigint, who: Signer, model: Model, claimed = model.correct) =>
    registry
      .connect(who)
      .reveal(taskId, model.opening, claimed, claimed === 0 ? ZERO_HASH : claimSealOf(taskId, who.address, model));
  const seal = (taskId: bigint, validator: Signer, participant: string, model: Model, result = model.result) =>
    registry.connect(validator).seal(taskId, participant, sealOf(taskId, participant, model, validator, result));
  const open = (taskId: bigint, model: Model) =>
    registry.connect(stranger).open(taskId, hexlify(model.predictions), hexlify(labels), TEST_PARTS);
  /** Shows, by somebody, that these validators sealed that result of the examined candidate. */
  const contradict = (taskId: bigint, result: Hex, sealers: readonly Signer[]) =>
    registry.connect(stranger).contradict(
      taskId,
      result,
      sealers.map(({ address }) => address).toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1)),
    );
  const advance = (taskId: bigint) => registry.connect(stranger).advance(taskId);

  // ————— Journeys: each brings a fresh task to the first second of a phase —————

  async function toTraining(overrides: Partial<TaskParams> = {}): Promise<bigint> {
    const taskId = await publish(overrides);
    await goTo((await schedule(taskId)).trainingStart);
    return taskId;
  }

  async function toAwaitKey(entries: readonly [Signer, Model][], overrides: Partial<TaskParams> = {}): Promise<bigint> {
    const taskId = await toTraining(overrides);
    for (const [who, model] of entries) await commit(taskId, who, model);
    await goTo((await schedule(taskId)).trainingEnd);
    return taskId;
  }

  async function toTestVote(entries: readonly [Signer, Model][], overrides: Partial<TaskParams> = {}): Promise<bigint> {
    const taskId = await toAwaitKey(entries, overrides);
    await release(taskId);
    return taskId;
  }

  async function toReveal(entries: readonly [Signer, Model][], overrides: Partial<TaskParams> = {}): Promise<bigint> {
    const taskId = await toTestVote(entries, overrides);
    await goTo((await schedule(taskId)).revealStart);
    return taskId;
  }

  /** All reveal what they have (or the given claims), and the first candidate is taken. */
  async function toSeal(
    entries: readonly (readonly [Signer, Model, claimed?: number])[],
    overrides: Partial<TaskParams> = {},
  ): Promise<bigint> {
    const taskId = await toReveal(
      entries.map(([who, model]) => [who, model]),
      overrides,
    );
    for (const [who, model, claimed] of entries) await reveal(taskId, who, model, claimed);
    await goTo((await schedule(taskId)).revealEnd);
    await advance(taskId);
    return taskId;
  }

  /** The examined candidate is opened; the given validators have sealed its true result. */
  async function openExamined(taskId: bigint, model: Model, sealers: readonly Signer[]): Promise<void> {
    const { participant, sealDeadline } = await registry.examinationOf(taskId);
    for (const validator of sealers) await seal(taskId, validator, participant, model);
    if ((await now()) < Number(sealDeadline)) await goTo(sealDeadline);
    await open(taskId, model);
  }

  /** As {@link toConfirmable}, for a candidate that all validators have sealed already. */
  async function toConfirmableNow(taskId: bigint, model: Model): Promise<void> {
    await openExamined(taskId, model, []);
    await registry.attest(taskId, [...validators]);
    await goTo((await schedule(taskId)).windowEnd);
  }

  /** The examined candidate is opened, attested by a quorum, and its window is over. */
  async function toConfirmable(taskId: bigint, model: Model): Promise<void> {
    await openExamined(taskId, model, validators);
    await registry.attest(taskId, [...validators]);
    await goTo((await schedule(taskId)).windowEnd);
  }

  async function createPool(overrides: Partial<IPool.PoolParamsStruct> = {}, float = units(100)): Promise<Pool> {
    const params: IPool.PoolParamsStruct = {
      manager: manager.address,
      receiptKey: receiptSigner.address,
      feeBps: 300,
      objectionWindow: 200,
      settlementWindow: 700,
      receiptsWindow: 500,
      schemeId: digest("performance"),
      ...overrides,
    };
    const salt = digest(`pool ${await ethers.provider.getBlockNumber()}`);
    await factory.connect(manager).create(params, salt);
    const pool = await contractAt("Pool", await factory.predict(manager, salt));
    await token.connect(manager).approve(pool, units(100_000));
    if (float > 0n) await pool.connect(manager).deposit(float);
    return pool;
  }

  const splitPhase = async (pool: Pool, taskId: bigint) => SPLIT_PHASES[Number((await pool.accountOf(taskId)).phase)]!;

  return {
    token, stake, registry, libraries, scripted, arithmetic, factory, poolImplementation, domain,
    publisher, ada, ben, cleo, victor, vera, vlad, validators, manager, receiptSigner, mia, max, stranger,
    paramsOf, publish, phase, schedule, stateOf, commitmentOf, claimSealOf, sealOf,
    commit, release, reveal, seal, open, contradict, advance,
    toTraining, toAwaitKey, toTestVote, toReveal, toSeal, openExamined, toConfirmable, toConfirmableNow,
    createPool, splitPhase,
  }; // prettier-ignore
}

export type World = Awaited<ReturnType<typeof deployWorld>>;

// Fixtures have names of their own, by which snapshots are kept.
export const world = (): Promise<World> => loadFixture(plainWorld);
export const worldWithDisputes = (): Promise<World> => loadFixture(disputedWorld);
export const worldOfArithmetic = (): Promise<World> => loadFixture(arithmeticWorld);
export const worldWithoutStake = (): Promise<World> => loadFixture(stakelessWorld);
export const worldOfQuirks = (): Promise<World> => loadFixture(quirkyWorld);

const plainWorld = () => deployWorld();
const disputedWorld = () => deployWorld({ disputes: true });
const arithmeticWorld = () => deployWorld({ disputes: "arithmetic" });
const stakelessWorld = () => deployWorld({ staked: false });
const quirkyWorld = () => deployWorld({ asset: "QuirkyAsset" });

/** Everything a task still holds is paid out when all have settled: what is left belongs to nobody. */
export async function settleAll(
  { registry }: World,
  taskId: bigint,
  participants: readonly (Signer | Pool)[],
  attesters: readonly Signer[] = [],
): Promise<void> {
  for (const participant of participants) {
    if (!(await registry.settlementOf(taskId, participant)).settled) await registry.settle(taskId, participant);
  }
  for (const validator of attesters) await registry.settleValidator(taskId, validator);
}

/** The registry's balance is what it owes, and that is what its parts add up to. */
export async function expectSolvent(
  { token, registry }: World,
  taskIds: readonly bigint[],
  accounts: readonly (Signer | Pool)[],
): Promise<void> {
  let parts = await registry.burned();
  for (const taskId of taskIds) parts += (await registry.taskOf(taskId)).escrow;
  for (const account of accounts) parts += await registry.creditOf(account);
  const owed = await registry.owed();
  if (parts !== owed) throw new Error(`the registry owes ${owed}, but its parts are ${parts}`);
  const balance = await token.balanceOf(registry);
  if (balance !== owed) throw new Error(`the registry holds ${balance}, but owes ${owed}`);
}
