/** A search's trials as lines of JSON, as a table, and as CSV. */
import { writeFileSync } from "node:fs";

import { stringify } from "csv-stringify/sync";

import { networkShapes } from "../../evaluation/shapes.ts";
import { HYPERPARAMETERS, type Architecture } from "../../protocol/architecture.ts";
import { PonasError } from "../../protocol/errors.ts";
import type { Trial } from "../../search/search.ts";

/** A trial as its line of JSON. */
export function trialJson(trial: Trial) {
  const { correct, total, modelFile: _, best, fresh, reward, architecture, ...rest } = trial;
  const { trial: number, rung, epochs, seed, ...outcome } = rest;
  const validation = { correct, total };
  return { trial: number, rung, reward, validation, improved: best, resumed: !fresh, epochs, seed, architecture, ...outcome }; // prettier-ignore
}

export const TABLE_HEADER =
  "trial rung  reward  kMAC/img      s  network (kernel filters /stride, bits of activations and weights)";

/** A trial as a line for people; what is the best so far is marked with a star. */
export function trialLine({ trial, rung, reward, best, seconds, architecture, failed, infeasible }: Trial): string {
  const columns = [
    String(trial).padStart(5),
    String(rung).padStart(4),
    `${(100 * reward).toFixed(2)}%`.padStart(7) + (best ? "*" : " "),
    (networkShapes(architecture).macs / 1000).toFixed(0).padStart(8),
    seconds.toFixed(1).padStart(6),
    ` ${failed ?? infeasible ?? describe(architecture)}`,
  ];
  return columns.join(" ");
}

function describe({ layers }: Architecture): string {
  return layers
    .map((layer) => {
      const { kernelHeight, kernelWidth, filters, strideHeight, strideWidth, poolSize } = layer;
      const shape = `${kernelHeight}x${kernelWidth} ${filters}/${strideHeight}x${strideWidth}`;
      const pool = poolSize > 1 ? ` pool${poolSize}` : "";
      return `${shape}${pool} ${layer.actIntBits}.${layer.actFracBits}|${layer.weightIntBits}.${layer.weightFracBits}`;
    })
    .join(", ");
}

/** Trials as CSV with a header: a column for each decision, from layer1.kernelHeight on. */
export function trialsCsv(trials: readonly Trial[]): string {
  const rows = trials.map((trial) => {
    const { layers } = trial.architecture;
    const decisions = layers.flatMap((layer, index) =>
      HYPERPARAMETERS.map((name) => [`layer${index + 1}.${name}`, layer[name]] as const),
    );
    const { rung, reward, correct, total, epochs, seed, seconds, imagesPerSecond, engine, modelRoot } = trial;
    const outcome = {
      trial: trial.trial,
      rung,
      reward,
      correct,
      total,
      epochs,
      seed,
      seconds,
      imagesPerSecond,
      engine,
    };
    const notes = { infeasible: trial.infeasible, diverged: trial.diverged, dead: trial.dead, failed: trial.failed };
    const macs = networkShapes(trial.architecture).macs;
    return { ...outcome, macs, ...notes, modelRoot, ...Object.fromEntries(decisions) };
  });
  return stringify(rows, { header: true, cast: { boolean: String } });
}

/** @throws PonasError bad-input */
export function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    throw new PonasError("bad-input", `The file ${file} cannot be written.`, { cause });
  }
}
