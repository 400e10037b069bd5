import type { Command } from "commander";
import { getAddress, isAddress } from "viem";

import { demandLeaf, recoverBonds } from "../../agents/leaf-demand.ts";
import { checkPool, createPoolContract, type Objection, type PoolContract } from "../../agents/pool-contract.ts";
import { formatAmount } from "../../agents/registry.ts";
import type { Address } from "../../protocol/bytes.ts";
import type { ChainClient } from "../../protocol/chain-client.ts";
import { PonasError } from "../../protocol/errors.ts";
import {
  addChainOptions,
  openReader,
  openSession,
  taskNumber,
  wholeNumber,
  type Context,
  type DaemonOptions,
} from "../context.ts";

interface Options extends DaemonOptions {
  readonly pool: Address;
  readonly task: bigint;
  readonly json?: boolean;
}

/** What anybody can do about a split, member of the pool or not. */
export function addObjectionCommands(pool: Command, context: Context): void {
  const named = (name: string, description: string): Command =>
    addChainOptions(
      pool
        .command(name)
        .description(description)
        .requiredOption("--pool <address>", "the pool's contract", addressOf)
        .requiredOption("--task <id>", "the task whose reward is split", taskNumber)
        .option("--json", "print JSON"),
    );

  named("objections", "a task's split as it stands, and the objections against it that are open").action(
    async ({ task, json, ...options }: Options) => {
      const contract = await openPool(options, await openReader("pool", options, context));
      const account = await contract.account(task);
      const open = await contract.openObjections(task, MOST_SHOWN);
      const { phase, deadline, reward, fee, stake, bonds, fellAt, objections: raised, split } = account;
      const bond = await contract.bondFor(reward);
      const value = { pool: contract.address, task, phase, deadline, reward, fee, stake, bonds, fellAt, split, bond };
      const lines = [
        `task ${task}: ${phase}${deadline === 0 ? "" : ` until ${dateOf(deadline)}`}`,
        `reward ${formatAmount(reward)}, fee ${formatAmount(fee)}, manager's stake ${formatAmount(stake)}`,
        `${split.count} leaves of ${split.sum} points, root ${split.root}`,
        `demanding a leaf costs ${formatAmount(bond)}; ${raised} objections so far, ${open.length} open`,
        ...open.map(describe),
      ];
      context.print(json, { ...value, raised, open }, lines.join("\n"));
    },
  );

  named(
    "demand-leaf",
    "object to a split: demand one of its leaves, for a bond; unless it is shown in time, the split falls",
  )
    .requiredOption("--index <n>", "of the leaf, from 0", wholeNumber("--index", 0, 0xffff_ffff))
    .action(async ({ task, json, index, ...options }: Options & { index: number }) => {
      const { chain } = await openSession("pool", options, context);
      const demand = await demandLeaf(await openPool(options, chain), task, index);
      const { id, bond, deadline } = demand;
      const text = `demanded leaf ${index} of task ${task} as objection ${id}, for a bond of ${formatAmount(bond)}: it must be shown before ${dateOf(deadline)}`;
      context.print(json, { task, ...demand }, text);
    });

  named("recover", "get back the bonds of your demands against a split that fell, and what its fall gave you").action(
    async ({ task, json, ...options }: Options) => {
      const { chain } = await openSession("pool", options, context);
      const paid = await recoverBonds(await openPool(options, chain), chain, task);
      context.print(json, { task, paid }, `withdrew ${formatAmount(paid)}`);
    },
  );
}

const MOST_SHOWN = 1000;

async function openPool({ pool }: Pick<Options, "pool">, chain: ChainClient): Promise<PoolContract> {
  await checkPool(chain, pool);
  return createPoolContract(chain, pool);
}

const dateOf = (seconds: number): string => new Date(seconds * 1000).toISOString();

function describe({ id, kind, by, index, points, deadline }: Objection): string {
  const what = kind === "Leaf" ? `leaf ${index}, demanded by ${by}` : `${points} points of ${by}`;
  return `objection ${id}: ${what}, to be shown before ${dateOf(deadline)}`;
}

function addressOf(text: string): Address {
  if (isAddress(text, { strict: false })) return getAddress(text);
  throw new PonasError("usage", `--pool takes an address of 0x and 40 hex digits, not "${text}".`);
}
