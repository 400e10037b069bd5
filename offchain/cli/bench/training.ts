/**
 * What the native runtime gains over the one that runs everywhere, by the same step graph on one thread each; and what
 * it gains where a step's samples go through the network in pieces.
 */
import type { Engine } from "../../training/engine.ts";
import { createOnnxEngine } from "../../training/onnx-engine.ts";
import { compared, missing, type Figure } from "./figures.ts";
import { createSteps, reasonOf, type BenchOptions, type Measure } from "./group.ts";
import { CIFAR, MEDIUM, SMALL, type BenchNetwork } from "./networks.ts";
import { alternate } from "./statistics.ts";

const NATIVE_BAR = 2.3;

export const measure: Measure = async (options) => {
  const figures: Figure[] = [];
  for (const network of options.quick ? [SMALL] : [SMALL, MEDIUM]) {
    const what = {
      id: `training/${network.name}/onnx:onnx-web`,
      what: `training with onnx, ${network.name} network`,
      unit: "images/s",
      bar: { of: "ratio", least: NATIVE_BAR },
    } as const;
    figures.push(await against(what, network, ["onnx-web", createOnnxEngine("onnx-web")], options));
  }
  for (const network of options.quick ? [] : [MEDIUM, CIFAR]) {
    const what = {
      id: `training/${network.name}/pieces:whole`,
      what: `training in pieces of a batch, ${network.name} network`,
      unit: "images/s",
    };
    const whole = createOnnxEngine("onnx", { pieces: () => 1 });
    figures.push(await against(what, network, ["whole batches", whole], options));
  }
  return figures;
};

/** Steps of the native engine, and of another one in turn. */
async function against(
  description: Parameters<typeof missing>[0],
  { architecture }: BenchNetwork,
  [name, other]: readonly [name: string, engine: Engine],
  { quick, signal, say }: BenchOptions,
): Promise<Figure> {
  say(description.what);
  const engines = [createOnnxEngine(), other] as const;
  try {
    const [native, compare] = [await createSteps(engines[0], architecture), await createSteps(other, architecture)];
    try {
      const rates = await alternate(
        { native: native.step, other: compare.step },
        { rounds: quick ? 1 : 9, turnMs: quick ? 1 : 1500, budgetMs: 60_000, signal },
      );
      return compared(description, rates.native, name, rates.other);
    } finally {
      for (const { release } of [native, compare]) release();
    }
  } catch (error) {
    return missing(description, reasonOf(error));
  } finally {
    for (const engine of engines) await engine.dispose();
  }
}
