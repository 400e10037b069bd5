/**
 * Writes offchain/protocol/abi.ts, the contracts' interfaces as the agents see them, from the compiled contracts:
 * `hardhat build && node scripts/abi.ts`. A test fails where the checked-in file is not what this gives.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

import { format, resolveConfig } from "prettier";

const ROOT = resolve(import.meta.dirname, "..");
export const ABI_FILE = resolve(ROOT, "offchain/protocol/abi.ts");

const CONTRACTS: Record<string, string> = {
  localAssetAbi: "contracts/local/LocalAsset.sol/LocalAsset",
  poolAbi: "contracts/Pool.sol/Pool",
  poolFactoryAbi: "contracts/PoolFactory.sol/PoolFactory",
  taskRegistryAbi: "contracts/TaskRegistry.sol/TaskRegistry",
  validatorStakeAbi: "contracts/ValidatorStake.sol/ValidatorStake",
};

/** Enumerations travel as numbers, so their names are published beside the interfaces, in order. */
const ENUMS: Record<string, readonly [file: string, name: string]> = {
  BURN_REASONS: ["ICredits", "BurnReason"],
  COMMITMENT_STATES: ["ITaskRegistry", "CommitmentState"],
  CREDIT_REASONS: ["ICredits", "CreditReason"],
  ELIMINATIONS: ["ITaskRegistry", "Elimination"],
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

function abiOf(artifact: string): AbiItem[] {
  const { abi } = JSON.parse(readFileSync(resolve(ROOT, "artifacts", `${artifact}.json`), "utf8")) as {
    abi: AbiItem[];
  };
  return abi
    .filter((item) => item.type !== "constructor")
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : orderOf(a) > orderOf(b) ? 1 : 0));
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
      ([name, artifact]) => `export const ${name} = ${JSON.stringify(abiOf(artifact))} as const;\n`,
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
