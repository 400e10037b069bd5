/**
 * Writes offchain/protocol/abi.ts, the contracts' interfaces as the agents see them, from the compiled contracts:
 * `hardhat build && node scripts/abi.ts`. A test fails where the checked-in file is not what this gives.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

import { format, resolveConfig } from "prettier";

const ROOT = resolve(import.meta.dirname, "..");
export const ABI_FILE = resolve(ROOT, "offchain/protocol/abi.ts");

const ASSET = "contracts/local/LocalAsset.sol/LocalAsset";
const DISPUTES = "contracts/Disputes.sol/Disputes";
const FACTORY = "contracts/PoolFactory.sol/PoolFactory";
const POOL = "contracts/Pool.sol/Pool";
const REGISTRY = "contracts/TaskRegistry.sol/TaskRegistry";
const STAKE = "contracts/ValidatorStake.sol/ValidatorStake";

/** A contract, and the contracts it calls: their errors come through it, and a caller must be able to read them. */
const CONTRACTS: Record<string, readonly [own: string, ...called: string[]]> = {
  disputesAbi: [DISPUTES, REGISTRY, STAKE, ASSET],
  localAssetAbi: [ASSET],
  poolAbi: [POOL, REGISTRY, STAKE, ASSET],
  poolFactoryAbi: [FACTORY, POOL, ASSET],
  taskRegistryAbi: [REGISTRY, STAKE, ASSET],
  validatorStakeAbi: [STAKE, ASSET],
};

/** Enumerations travel as numbers, so their names are published beside the interfaces, in order. */
const ENUMS: Record<string, readonly [file: string, name: string]> = {
  BURN_REASONS: ["ICredits", "BurnReason"],
  CHALLENGE_STAGES: ["IDisputes", "Stage"],
  COMMITMENT_STATES: ["ITaskRegistry", "CommitmentState"],
  CREDIT_REASONS: ["ICredits", "CreditReason"],
  DEMAND_STAGES: ["IModelDisputes", "DemandStage"],
  ELIMINATIONS: ["ITaskRegistry", "Elimination"],
  MALFORMATIONS: ["IModelDisputes", "Malformation"],
  OBJECTION_KINDS: ["IPool", "ObjectionKind"],
  OBJECTION_STATES: ["IPool", "ObjectionState"],
  PHASES: ["ITaskRegistry", "Phase"],
  SPLIT_PHASES: ["IPool", "SplitPhase"],
  VOID_REASONS: ["ITaskRegistry", "VoidReason"],
};

interface AbiItem {
  readonly type: string;
  readonly name?: string;
  readonly inputs?: readonly { readonly type: string }[];
}

const KIND = ["constructor", "function", "event", "error"];
const orderOf = (item: AbiItem): string =>
  `${KIND.indexOf(item.type)} ${item.name ?? ""}(${(item.inputs ?? []).map((input) => input.type).join(",")})`;

function readAbi(artifact: string): AbiItem[] {
  return (JSON.parse(readFileSync(resolve(ROOT, "artifacts", `${artifact}.json`), "utf8")) as { abi: AbiItem[] }).abi;
}

function abiOf(own: string, called: readonly string[]): AbiItem[] {
  const items = [
    ...called.flatMap((artifact) => readAbi(artifact).filter((item) => item.type === "error")),
    ...readAbi(own).filter((item) => item.type !== "constructor"),
  ];
  return [...new Map(items.map((item) => [orderOf(item), item])).entries()]
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, item]) => item);
}

function enumOf(file: string, name: string): string[] {
  const source = readFileSync(resolve(ROOT, "contracts/interfaces", `${file}.sol`), "utf8").replace(/\/\/.*$/gm, "");
  const body = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(source)?.[1];
  if (body === undefined) throw new Error(`${file}.sol has no enum ${name}`);
  return [...body.matchAll(/\w+/g)].map(([word]) => word);
}

/** The text that offchain/protocol/abi.ts should have. */
export async function renderAbi(): Promise<string> {
  const parts = [
    "// Written by scripts/abi.ts from the compiled contracts: run `hardhat build && node scripts/abi.ts` to renew it.\n",
    ...Object.entries(CONTRACTS).map(
      ([name, [own, ...called]]) => `export const ${name} = ${JSON.stringify(abiOf(own, called))} as const;\n`,
    ),
    ...Object.entries(ENUMS).map(
      ([name, [file, type]]) =>
        `/** Names of ${file}.${type}, in the order of their numbers. */\n` +
        `export const ${name} = ${JSON.stringify(enumOf(file, type))} as const;\n`,
    ),
  ];
  return format(parts.join("\n"), { ...(await resolveConfig(ABI_FILE)), parser: "typescript" });
}

if (import.meta.main) writeFileSync(ABI_FILE, await renderAbi());
