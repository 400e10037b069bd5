/** The fast evaluator against the reference, and what an evaluation costs beside the training that it judges. */
import { evaluateModel } from "../../evaluation/evaluate.ts";
import { createFastEvaluator } from "../../evaluation/fast.ts";
import { encodeModel } from "../../evaluation/model.ts";
import { referenceLogits } from "../../evaluation/reference.ts";
import { networkShapes } from "../../evaluation/shapes.ts";
import { createEngine } from "../../training/engines.ts";
import type { Engine } from "../../training/engine.ts";
import { initialParameters, quantise } from "../../training/parameters.ts";
import { compared, missing, type Figure } from "./figures.ts";
import { cpuEngine, createSteps, noise, type BenchOptions, type Measure } from "./group.ts";
import { MEDIUM, SMALL, SPLIT, TEN_NETWORKS, type BenchNetwork } from "./networks.ts";
import { alternate, summarise, type Summary } from "./statistics.ts";

/** How many times as fast as the reference the fast evaluator has to be. */
const FAST_BAR = 25;
/** How many times as much as its evaluation a training has to cost. */
const COST_BAR = 500;
const EVALUATED_IMAGES = 10_000;
const TRAINED_IMAGES = 30 * 54_000;

export const measure: Measure = async (options) => {
  const figures: Figure[] = [];
  const paths = [[SMALL, "single"], [MEDIUM, "single"], [SPLIT, "split"]] as const; // prettier-ignore
  for (const [network, path] of options.quick ? [paths[0], paths[2]] : paths) {
    figures.push(await fastAgainstReference(network, path, options));
  }
  const engine = await createEngine(cpuEngine(options.engines));
  try {
    const networks = options.quick ? TEN_NETWORKS.filter(({ name }) => name === "tiny") : [...TEN_NETWORKS, SPLIT];
    for (const network of networks) figures.push(await trainingAgainstEvaluation(engine, network, options));
  } finally {
    await engine.dispose();
  }
  return figures;
};

function modelOf({ architecture }: BenchNetwork): ReturnType<typeof quantise> {
  return quantise(architecture, initialParameters(architecture, 1));
}

async function fastAgainstReference(
  network: BenchNetwork,
  expected: "single" | "split",
  { quick, signal, say }: BenchOptions,
): Promise<Figure> {
  const description = {
    id: `evaluation/fast/${network.name}`,
    what: `fast evaluation, ${network.name} network (${expected} path)`,
    unit: "images/s",
    bar: { of: "ratio", least: FAST_BAR },
  } as const;
  say(description.what);
  const model = modelOf(network);
  const fastCount = quick ? 64 : 512;
  const slowCount = quick ? 1 : 4;
  const { pixels } = noise(network.architecture, fastCount);
  const evaluator = await createFastEvaluator(model);
  try {
    if (evaluator.path !== expected) return missing(description, `its path is ${evaluator.path}, not ${expected}`);
    const { fast, reference } = await alternate(
      {
        fast: async () => {
          await evaluator.logits(pixels, fastCount, signal);
          return fastCount;
        },
        reference: () => {
          referenceLogits(model, pixels, slowCount, signal);
          return slowCount;
        },
      },
      { rounds: quick ? 1 : 7, turnMs: quick ? 1 : 500, budgetMs: 30_000, signal },
    );
    return compared(description, fast, "reference", reference);
  } finally {
    await evaluator.dispose();
  }
}

/** The whole of an evaluation, from the file's bytes to its result hash, beside training steps. */
async function trainingAgainstEvaluation(
  engine: Engine,
  network: BenchNetwork,
  { quick, signal, say }: BenchOptions,
): Promise<Figure> {
  const { architecture } = network;
  const megaMacs = (networkShapes(architecture).macs / 1e6).toFixed(1);
  const description = {
    id: `evaluation/cost/${network.name}`,
    what: `training 30 epochs of 54,000 images, ${network.name} network (${megaMacs} MMAC)`,
    unit: "s",
    // Of formats beyond float32 nothing is asked: they stand here because they cost more.
    bar: network === SPLIT ? undefined : ({ of: "ratio", least: COST_BAR } as const),
    note: `training extrapolated from measured steps${quick ? ", evaluation from fewer images" : ""}`,
  } as const;
  say(description.what);
  const bytes = encodeModel(modelOf(network));
  const count = quick ? 200 : EVALUATED_IMAGES;
  const samples = noise(architecture, count);
  const steps = await createSteps(engine, architecture);
  try {
    const { training, evaluation } = await alternate(
      {
        training: steps.step,
        evaluation: async () => {
          await evaluateModel(bytes, { ...samples, maxBytes: bytes.length, signal });
          return count;
        },
      },
      { rounds: quick ? 1 : 5, turnMs: quick ? 1 : 1500, budgetMs: 60_000, signal },
    );
    return compared(
      description,
      secondsFor(TRAINED_IMAGES, training),
      "evaluating 10,000 images",
      secondsFor(EVALUATED_IMAGES, evaluation),
    );
  } finally {
    steps.release();
  }
}

const secondsFor = (images: number, rate: Summary): Summary => summarise(rate.samples.map((each) => images / each));
