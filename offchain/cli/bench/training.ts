/** What the native runtime gains over the one that runs everywhere: the same step graph, one thread each. */
import { createEngine } from "../../training/engines.ts";
import type { Engine } from "../../training/engine.ts";
import { compared, missing, type Figure } from "./figures.ts";
import { createSteps, reasonOf, type BenchOptions, type Measure } from "./group.ts";
import { MEDIUM, SMALL, type BenchNetwork } from "./networks.ts";
import { alternate } from "./statistics.ts";

const NATIVE_BAR = 2.3;

export const measure: Measure = async (options) => {
  const figures: Figure[] = [];
  for (const network of options.quick ? [SMALL] : [SMALL, MEDIUM]) {
    figures.push(await nativeAgainstWeb(network, options));
  }
  return figures;
};

async function nativeAgainstWeb(network: BenchNetwork, { quick, signal, say }: BenchOptions): Promise<Figure> {
  const description = {
    id: `training/${network.name}/onnx:onnx-web`,
    what: `training with onnx, ${network.name} network`,
    unit: "images/s",
    bar: { of: "ratio", least: NATIVE_BAR },
  } as const;
  say(description.what);
  const engines: Engine[] = [];
  try {
    for (const name of ["onnx", "onnx-web"] as const) engines.push(await createEngine(name));
    const [native, web] = engines as [Engine, Engine];
    const trainers = [await createSteps(native, network.architecture), await createSteps(web, network.architecture)];
    try {
      const rates = await alternate(
        { native: trainers[0]!.step, web: trainers[1]!.step },
        { rounds: quick ? 1 : 9, turnMs: quick ? 1 : 1500, budgetMs: 60_000, signal },
      );
      return compared(description, rates.native, "onnx-web", rates.web);
    } finally {
      for (const { release } of trainers) release();
    }
  } catch (error) {
    return missing(description, reasonOf(error));
  } finally {
    for (const engine of engines) await engine.dispose();
  }
}
