/**
 * Contracts whose defences can be switched off, each by itself: copies of the deployed ones, patched as defences.ts says,
 * compiled once, and put in the place of those that a test has deployed.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { posix } from "node:path";

import hre from "hardhat";

import { digest, ethers, networkHelpers, type World } from "../support.ts";
import { DEFENCES, type Defence } from "./defences.ts";

const require = createRequire(import.meta.url);

type References = Record<string, readonly { readonly start: number; readonly length: number }[]>;

interface Code {
  readonly object: string;
  readonly immutableReferences: References;
  readonly linkReferences: Record<string, References>;
}

interface Output {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts: Record<string, Record<string, { readonly evm: { readonly deployedBytecode: Code } }>>;
}

/** Contracts that are replaced, with the sources that hold them. */
const REPLACED = {
  Disputes: "contracts/Disputes.sol",
  TaskRegistry: "contracts/TaskRegistry.sol",
  ValidatorStake: "contracts/ValidatorStake.sol",
} as const;

/** The slot of a contract's own storage by which it knows that a defence is off. */
const slotOf = (defence: Defence): string => digest(`defence ${defence}`);

// A guard may stand in a pure function, which may not read; the type is cast as test libraries do it.
const SWITCHES = `// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;
library Switches {
  function off(uint256 slot) internal pure returns (bool) { return _pure(_read)(slot); }
  function _read(uint256 slot) private view returns (bool result) { assembly { result := sload(slot) } }
  function _pure(function(uint256) internal view returns (bool) f)
    private pure returns (function(uint256) internal pure returns (bool) g) { assembly { g := f } }
}`;

/** All sources that the replaced contracts are made of, by name. */
function readSources(): Map<string, string> {
  const sources = new Map<string, string>();
  const add = (name: string): void => {
    if (sources.has(name)) return;
    const text = readFileSync(name.startsWith("@") ? require.resolve(name) : name, "utf8");
    sources.set(name, text);
    for (const [, path] of text.matchAll(/^import\s+(?:[^"';]*\sfrom\s+)?"([^"]+)";/gm)) {
      add(path!.startsWith(".") ? posix.join(posix.dirname(name), path!) : path!);
    }
  };
  Object.values(REPLACED).forEach(add);
  return sources;
}

/** Makes every defence depend on its switch. @throws where a defence is not found exactly once: the contracts have changed */
function patch(sources: Map<string, string>): void {
  const patched = new Set<string>();
  for (const [name, { patches }] of Object.entries(DEFENCES)) {
    for (const { file, find, replace } of patches) {
      const text = sources.get(file);
      if (text === undefined)
        throw new Error(`${file}, which holds the defence "${name}", is no source of the contracts`);
      const parts = text.split(find);
      if (parts.length !== 2) {
        throw new Error(
          `${file} holds the text of the defence "${name}" ${parts.length - 1} times instead of once: ${find}`,
        );
      }
      sources.set(file, parts.join(replace.replaceAll("OFF", `Switches.off(${slotOf(name as Defence)})`)));
      patched.add(file);
    }
  }
  for (const file of patched) {
    sources.set(file, `${sources.get(file)!}\nimport {Switches} from "contracts/Switches.sol";\n`);
  }
  sources.set("contracts/Switches.sol", SWITCHES);
}

/** Compiles the patched copies; what was compiled before is kept in the build's cache folder. */
function compile(): Output["contracts"] {
  const sources = readSources();
  patch(sources);
  const input = JSON.stringify({
    language: "Solidity",
    sources: Object.fromEntries([...sources].map(([name, content]) => [name, { content }])),
    settings: {
      evmVersion: "cancun",
      optimizer: { enabled: true, runs: 200 },
      outputSelection: { "contracts/*": {}, "*": { "*": ["evm.deployedBytecode"] } },
    },
  });
  const folder = "cache/switches";
  const kept = `${folder}/${createHash("sha256").update(input).digest("hex")}.json`;
  if (existsSync(kept)) return JSON.parse(readFileSync(kept, "utf8")) as Output["contracts"];
  const solc = require("solc") as { compile(input: string): string };
  const { errors, contracts } = JSON.parse(solc.compile(input)) as Output;
  const wrong = errors?.filter(({ severity }) => severity === "error") ?? [];
  if (wrong.length > 0) throw new Error(wrong.map(({ formattedMessage }) => formattedMessage).join("\n"));
  mkdirSync(folder, { recursive: true });
  writeFileSync(kept, JSON.stringify(contracts));
  return contracts;
}

let compiled: Output["contracts"] | undefined;

/** Immutable variables in the order of their declarations, which is the same in every compilation. */
const inOrder = (references: References | undefined) =>
  Object.entries(references ?? {})
    .toSorted(([a], [b]) => Number(a) - Number(b))
    .map(([, places]) => places);

/** Puts the switchable copy of a contract, and of the libraries that it calls, in its place, and turns one defence off. */
async function replace(name: string, source: string, address: string, slot: string): Promise<void> {
  const artifact = (await hre.artifacts.readArtifact(name)) as {
    readonly immutableReferences?: References;
    readonly deployedLinkReferences: Record<string, References>;
  };
  const deployed = ethers.getBytes(await ethers.provider.getCode(address));
  const { object, immutableReferences, linkReferences } = compiled![source]![name]!.evm.deployedBytecode;

  const libraries = new Map<string, string>();
  for (const [file, references] of Object.entries(artifact.deployedLinkReferences)) {
    for (const [library, [place]] of Object.entries(references)) {
      const at = ethers.hexlify(deployed.subarray(place!.start, place!.start + 20));
      libraries.set(library, at);
      await replace(library, file.replace(/^project\//, ""), at, slot);
    }
  }
  const code = Buffer.from(object.replaceAll(/__\$[0-9a-f]{34}\$__/g, "0".repeat(40)), "hex");
  for (const references of Object.values(linkReferences)) {
    for (const [library, places] of Object.entries(references)) {
      for (const { start } of places) code.write(libraries.get(library)!.slice(2), start, "hex");
    }
  }
  const values = inOrder(artifact.immutableReferences).map(([place]) =>
    deployed.subarray(place!.start, place!.start + place!.length),
  );
  const variables = inOrder(immutableReferences);
  if (variables.length !== values.length) throw new Error(`the copy of ${name} has other immutable variables`);
  for (const [i, places] of variables.entries()) for (const { start } of places) code.set(values[i]!, start);
  await networkHelpers.setCode(address, ethers.hexlify(code));
  await networkHelpers.setStorageAt(address, slot, 1);
}

/** Turns one defence of a world's contracts off; the next fixture has it again. */
export async function turnOff({ arithmetic, registry, stake }: World, defence: Defence): Promise<void> {
  compiled ??= compile();
  const slot = slotOf(defence);
  await replace("TaskRegistry", REPLACED.TaskRegistry, await registry.getAddress(), slot);
  await replace("Disputes", REPLACED.Disputes, await arithmetic.getAddress(), slot);
  await replace("ValidatorStake", REPLACED.ValidatorStake, await stake.getAddress(), slot);
}
