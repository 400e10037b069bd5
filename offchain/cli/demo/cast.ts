/** Who plays in the demo, with whose keys. */
import { HDNodeWallet } from "ethers";

import type { Address, Hex } from "../../protocol/bytes.ts";

/** The mnemonic of every local Hardhat chain: its accounts are funded with ether there, and worthless elsewhere. */
const MNEMONIC = "test test test test test test test test test test test junk";

export interface Actor {
  readonly name: string;
  readonly role:
    | "deployer"
    | "publisher"
    | "pool manager"
    | "pool miner"
    | "solo miner"
    | "validator"
    | "lying miner"
    | "forger"
    | "challenger";
  readonly address: Address;
  readonly privateKey: Hex;
}

function actor(index: number, name: string, role: Actor["role"]): Actor {
  const wallet = HDNodeWallet.fromPhrase(MNEMONIC, undefined, `m/44'/60'/0'/0/${index}`);
  return { name, role, address: wallet.address as Address, privateKey: wallet.privateKey as Hex };
}

export interface Cast {
  readonly deployer: Actor;
  readonly publisher: Actor;
  readonly manager: Actor;
  /** two strong ones and a weak one */
  readonly poolMiners: readonly (Actor & { readonly throttle: number })[];
  readonly solo: Actor;
  readonly validators: readonly Actor[];
}

/** Each of them uses a key of its own. */
export function createCast(): Cast {
  return {
    deployer: actor(0, "deployer", "deployer"),
    publisher: actor(1, "publisher", "publisher"),
    manager: actor(2, "pool", "pool manager"),
    poolMiners: [
      { ...actor(3, "miner-1", "pool miner"), throttle: 1 },
      { ...actor(4, "miner-2", "pool miner"), throttle: 1 },
      { ...actor(5, "miner-weak", "pool miner"), throttle: 0.3 },
    ],
    solo: actor(6, "solo", "solo miner"),
    validators: [7, 8, 9].map((index, i) => actor(index, `validator-${i + 1}`, "validator")),
  };
}

/** Who plays where one miner lies: the lie is the demo's own, no miner can be told to. */
export interface CheatCast {
  readonly deployer: Actor;
  readonly publisher: Actor;
  readonly honest: Actor;
  readonly liar: Actor;
  readonly validators: readonly Actor[];
  readonly challenger: Actor;
  /** hands in a model that the task does not allow; not in the demo */
  readonly forger: Actor | null;
}

export function createCheatCast({ forged = false }: { forged?: boolean } = {}): CheatCast {
  return {
    deployer: actor(0, "deployer", "deployer"),
    publisher: actor(1, "publisher", "publisher"),
    honest: actor(2, "honest", "solo miner"),
    liar: actor(3, "liar", "lying miner"),
    validators: [4, 5, 6].map((index, i) => actor(index, `validator-${i + 1}`, "validator")),
    challenger: actor(7, "challenger", "challenger"),
    forger: forged ? actor(8, "forger", "forger") : null,
  };
}

export function everyoneOfCheat({ publisher, honest, liar, validators, challenger, forger }: CheatCast): Actor[] {
  return [publisher, honest, liar, ...(forger === null ? [] : [forger]), ...validators, challenger];
}

export function everyone({ publisher, manager, poolMiners, solo, validators }: Cast): Actor[] {
  return [publisher, manager, ...poolMiners, solo, ...validators];
}
