import type { Command } from "commander";

import { PonasError } from "../../protocol/errors.ts";
import { parsePoints, splitReward } from "../../pool/points-tree.ts";
import { wholeNumber, type Context } from "../context.ts";
import { readJsonFile } from "../files.ts";

interface Options {
  readonly points: string;
  readonly amount: bigint;
  readonly feeBps: number;
  readonly json?: boolean;
}

function units(text: string): bigint {
  if (!/^\d{1,77}$/.test(text)) {
    throw new PonasError("usage", `--amount takes a whole number of the asset's smallest unit, not "${text}".`);
  }
  return BigInt(text);
}

export function register(program: Command, context: Context): void {
  program
    .command("split")
    .description("what a pool pays for given points, to the last unit: R_i = P_i / ΣP_j · R_total")
    .requiredOption("--points <file>", 'JSON: [{"account": "0x…", "points": 5}, …]')
    .requiredOption("--amount <units>", "reward in the asset's smallest unit", units)
    .requiredOption("--fee-bps <bps>", "manager's fee in parts of ten thousand", wholeNumber("--fee-bps", 0, 10_000))
    .option("--json", "print JSON")
    .action(({ points, amount, feeBps, json }: Options) => {
      const split = splitReward({ leaves: parsePoints(readJsonFile(points)), amount, feeBps });
      const lines = split.payments.map((payment) => `${payment.account} ${payment.amount}`);
      context.print(
        json,
        split,
        [`root ${split.root}`, `points ${split.total}`, ...lines, `fee ${split.fee}`, `dust ${split.dust}`].join("\n"),
      );
    });
}
