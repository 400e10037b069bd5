import { readFileSync } from "node:fs";

import { getAddress, isAddress } from "viem";
import { z } from "zod";

import { parseWith } from "./architecture.ts";
import type { Address } from "./bytes.ts";
import { PonasError } from "./errors.ts";

const address = z
  .string()
  .refine((text) => isAddress(text), "not an address (a mixed-case one must carry its checksum)")
  .transform((text): Address => getAddress(text));

export const deploymentSchema = z.strictObject({
  chainId: z.int().min(1),
  /** the registry's block of creation: no log of ours is older */
  fromBlock: z.int().min(0),
  asset: address,
  stake: address,
  registry: address,
  poolFactory: address,
  /** absent where the deployment has none */
  disputes: address.optional(),
});
/** Where the contracts of one deployment stand; written by `scripts/deploy.ts`, read by every agent. */
export type Deployment = z.infer<typeof deploymentSchema>;

/** Reads a deployment's JSON file. @throws PonasError bad-input with one sentence */
export function readDeployment(file: string): Deployment {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new PonasError("bad-input", `The deployment file ${file} cannot be read.`, {
      cure: "deploy the contracts first, or name another file with --deployment",
      cause,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PonasError("bad-input", `The deployment file ${file} is not JSON.`, { cause });
  }
  return parseWith(deploymentSchema, json, `The deployment file ${file}`);
}
