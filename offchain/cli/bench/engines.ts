/** Every engine that this machine offers, beside the native CPU: does it compute the same, and how fast. */
import { createFastEvaluator } from "../../evaluation/fast.ts";
import { loadRuntime, RUNTIME_NAMES, type Runtime } from "../../evaluation/onnx-runtime.ts";
import { networkShapes } from "../../evaluation/shapes.ts";
import type { Engine, EngineName } from "../../training/engine.ts";
import { createEngine } from "../../training/engines.ts";
import { initialParameters, quantise } from "../../training/parameters.ts";
import { compared, measured, missing, type Description, type Figure } from "./figures.ts";
import { fuzzedNetworks, wrongLogits, type Fuzzed } from "./fuzz.ts";
import { cpuEngine, createSteps, noise, reasonOf, type BenchOptions, type CpuEngine, type Measure } from "./group.ts"; // prettier-ignore
import { CIFAR, MEDIUM, SMALL, TEN_NETWORKS, type BenchNetwork } from "./networks.ts";
import { alternate, checkpoint, summarise } from "./statistics.ts";

/** Why, and what to do about it, stands in the report's list of engines. */
const ABSENT = "the engine is absent";
/** Relative difference of a loss from the base's, at most. */
const LOSS_BAR = 1e-4;
/** Steps whose losses are compared: further on, what one rounding tips over drives runs apart on every engine. */
const COMPARED_STEPS = 5;
/** A single step that takes longer is not taken for the sake of a figure, in milliseconds. */
const LONGEST_STEP_MS = 20_000;

export const measure: Measure = async (options) => {
  const { quick, engines } = options;
  // All others are compared with the CPU's numbers and speed.
  const baseName = cpuEngine(engines);
  const base = await createEngine(baseName);
  const figures: Figure[] = [];
  try {
    const fuzzed = await fuzzedNetworks(quick ? 3 : 60, options.signal);
    for (const { name, present } of engines) {
      figures.push(await lossesOf(name, present, base, options));
      if (present) figures.push(...(await trainingOf(name, base, options)));
      figures.push(...(await evaluationOf(name, present, baseName, fuzzed, options)));
    }
  } finally {
    await base.dispose();
  }
  return figures;
};

/** Equal seeds, equal samples: how far the losses of the first steps lie apart. */
async function lossesOf(
  name: EngineName,
  present: boolean,
  base: Engine,
  { quick, signal, say }: BenchOptions,
): Promise<Figure> {
  const wanted = quick ? ["tiny"] : ["small", "tiny", "S2 drawn", "S9 drawn", "full drawn"];
  const description: Description = {
    id: `engines/${name}/losses`,
    what: `${name}: largest relative difference of a loss from ${base.name}`,
    unit: "",
    bar: { of: "value", most: LOSS_BAR },
    note: `the first ${COMPARED_STEPS} steps on ${wanted.join(", ")}`,
  };
  if (!present) return missing(description, ABSENT);
  say(description.what);
  try {
    const engine = await createEngine(name);
    try {
      let largest = 0;
      for (const { architecture } of TEN_NETWORKS.filter((network) => wanted.includes(network.name))) {
        const [expected, found] = [await createSteps(base, architecture), await createSteps(engine, architecture)];
        try {
          for (let step = 0; step < COMPARED_STEPS; step++) {
            const loss = await expected.loss();
            const difference = Math.abs((await found.loss()) - loss) / loss;
            // A loss that is no number is as far away as can be.
            largest = difference <= largest ? largest : Number.isNaN(difference) ? Infinity : difference;
            await checkpoint(signal);
          }
        } finally {
          expected.release();
          found.release();
        }
      }
      return measured(description, summarise([largest]));
    } finally {
      await engine.dispose();
    }
  } catch (error) {
    return missing(description, reasonOf(error));
  }
}

async function trainingOf(name: EngineName, base: Engine, options: BenchOptions): Promise<Figure[]> {
  const figures: Figure[] = [];
  /** milliseconds of a step per multiplication, as far as it is known */
  let pace = 0;
  for (const network of options.quick ? [TEN_NETWORKS.find(({ name }) => name === "tiny")!] : [SMALL, MEDIUM, CIFAR]) {
    const { macs } = networkShapes(network.architecture);
    const expectedMs = pace * macs;
    const tooLong = expectedMs > LONGEST_STEP_MS ? `a step would take about ${Math.round(expectedMs / 1000)} s` : null;
    const { figure, stepMs } = await trainingOn(network, name, tooLong, base, options);
    if (stepMs !== null) pace = stepMs / macs;
    figures.push(figure);
  }
  return figures;
}

async function trainingOn(
  network: BenchNetwork,
  name: EngineName,
  tooLong: string | null,
  base: Engine,
  { quick, signal, say }: BenchOptions,
): Promise<{ figure: Figure; stepMs: number | null }> {
  const description: Description = {
    id: `engines/${name}/training/${network.name}`,
    what: `${name}: training, ${network.name} network`,
    unit: "images/s",
  };
  if (tooLong !== null) return { figure: missing(description, tooLong), stepMs: null };
  say(description.what);
  try {
    const engine = await createEngine(name);
    try {
      const steps = await createSteps(engine, network.architecture);
      const beside = await createSteps(base, network.architecture);
      try {
        await steps.step(); // compiles, on GPUs
        const start = performance.now();
        await steps.step();
        const stepMs = performance.now() - start;
        await checkpoint(signal);
        const turns = { rounds: quick ? 1 : 5, turnMs: quick ? 1 : 1000, budgetMs: 60_000, signal };
        if (name === base.name) return { figure: measured(description, (await alternate({ own: steps.step }, turns)).own), stepMs }; // prettier-ignore
        const { own, other } = await alternate({ own: steps.step, other: beside.step }, turns);
        return { figure: compared(description, own, base.name, other), stepMs };
      } finally {
        steps.release();
        beside.release();
      }
    } finally {
      await engine.dispose();
    }
  } catch (error) {
    return { figure: missing(description, reasonOf(error)), stepMs: null };
  }
}

async function evaluationOf(
  name: EngineName,
  present: boolean,
  baseName: CpuEngine,
  fuzzed: readonly Fuzzed[],
  options: BenchOptions,
): Promise<Figure[]> {
  const runtimeName = RUNTIME_NAMES.find((known) => known === name);
  const exactness: Description = {
    id: `engines/${name}/logits`,
    what: `${name}: fuzzed networks whose logits are not the reference's, bit for bit`,
    unit: "networks",
    bar: { of: "value", most: 0 },
  };
  // TensorFlow.js trains only: there is nothing to compare.
  if (runtimeName === undefined) return [];
  if (!present) return [missing(exactness, ABSENT)];
  const { signal, say } = options;
  say(exactness.what);
  try {
    const runtime = await loadRuntime(runtimeName);
    if (runtime.exact === "none") {
      return [missing({ ...exactness, bar: undefined }, "networks trained with it are evaluated on the CPU")];
    }
    const own = fuzzed.filter(({ path }) => runtime.exact === "all" || runtime.exact === path);
    const split = own.filter(({ path }) => path === "split").length;
    let wrong = 0;
    for (const network of own) {
      if (await wrongLogits(network, runtime, signal)) wrong += 1;
      await checkpoint(signal);
    }
    const note = `of ${own.length} networks, ${split} of them beyond 2^24`;
    return [
      measured({ ...exactness, note }, summarise([wrong])),
      ...(await evaluationSpeeds(runtime, baseName, options)),
    ];
  } catch (error) {
    return [missing(exactness, reasonOf(error))];
  }
}

async function evaluationSpeeds(
  runtime: Runtime,
  baseName: CpuEngine,
  { quick, signal, say }: BenchOptions,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  const base = await loadRuntime(baseName);
  const count = quick ? 16 : 64;
  for (const { name, architecture } of quick ? [SMALL] : [SMALL, MEDIUM]) {
    const description: Description = {
      id: `engines/${runtime.name}/evaluation/${name}`,
      what: `${runtime.name}: evaluation, ${name} network`,
      unit: "images/s",
    };
    say(description.what);
    const model = quantise(architecture, initialParameters(architecture, 1));
    const { pixels } = noise(architecture, count);
    const evaluators = [
      await createFastEvaluator(model, { runtime }),
      await createFastEvaluator(model, { runtime: base }),
    ];
    const [own, other] = evaluators.map((evaluator) => async () => {
      await evaluator.logits(pixels, count, signal);
      return count;
    });
    try {
      const turns = { rounds: quick ? 1 : 5, turnMs: quick ? 1 : 500, budgetMs: 30_000, signal };
      if (runtime.name === baseName) {
        figures.push(measured(description, (await alternate({ own: own! }, turns)).own));
      } else {
        const rates = await alternate({ own: own!, other: other! }, turns);
        figures.push(compared(description, rates.own, baseName, rates.other));
      }
    } finally {
      for (const evaluator of evaluators) await evaluator.dispose();
    }
  }
  return figures;
}
