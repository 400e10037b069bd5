/** Random quantised networks and what the reference makes of them. */
import { createFastEvaluator } from "../../evaluation/fast.ts";
import type { Model } from "../../evaluation/model.ts";
import type { Runtime } from "../../evaluation/onnx-runtime.ts";
import { referenceLogits } from "../../evaluation/reference.ts";
import { accumulatorBound, malformation } from "../../evaluation/well-formed.ts";
import { EXACT_IN_FLOAT32 } from "../../evaluation/split.ts";
import type { Architecture } from "../../protocol/architecture.ts";
import { createRandom, type Random } from "../../protocol/random.ts";
import { sampleArchitecture, spaceByName } from "../../search/spaces.ts";
import { initialParameters, quantise } from "../../training/parameters.ts";
import { noise } from "./group.ts";
import { checkpoint } from "./statistics.ts";

export interface Fuzzed {
  readonly model: Model;
  readonly path: "single" | "split";
  readonly pixels: Uint8Array;
  readonly count: number;
  /** by the reference */
  readonly logits: Float64Array;
}

const IMAGES = 5;

/** So many well-formed networks of the full space whose logits depend on the image; a third with wider formats. */
export async function fuzzedNetworks(count: number, signal: AbortSignal): Promise<Fuzzed[]> {
  const random = createRandom("fuzzed networks");
  const networks: Fuzzed[] = [];
  for (let seed = 0; networks.length < count; seed++) {
    await checkpoint(signal);
    const architecture = randomArchitecture(random, networks.length % 3 === 2);
    const model = quantise(architecture, initialParameters(architecture, seed));
    if (malformation(model) !== null) continue;
    const { pixels } = noise(architecture, IMAGES, seed);
    const logits = referenceLogits(model, pixels, IMAGES);
    if (logits.every((value, i) => value === logits[i % architecture.classes])) continue;
    const path = accumulatorBound(model) < EXACT_IN_FLOAT32 ? "single" : "split";
    networks.push({ model, path, pixels, count: IMAGES, logits });
  }
  return networks;
}

function randomArchitecture(random: Random, wide: boolean): Architecture {
  const hidden = random.choice([0, 0, 12]);
  const architecture = sampleArchitecture(
    {
      input: [8 + random.integer(9), 8 + random.integer(9), random.choice([1, 3])],
      classes: 10,
      depth: 1 + random.integer(3),
      head: {
        pool: random.choice(["flatten", "global-sum"] as const),
        hidden,
        ...(hidden > 0 ? { hiddenActIntBits: 3, hiddenActFracBits: 5 } : {}),
      },
    },
    spaceByName("full"),
    random,
  );
  if (!wide) return architecture;
  const formats = { actIntBits: 3, actFracBits: 9, weightIntBits: 2, weightFracBits: 12 };
  return { ...architecture, layers: architecture.layers.map((layer) => ({ ...layer, ...formats })) };
}

/** Whether any logit differs from the reference's. @throws PonasError engine, aborted */
export async function wrongLogits(network: Fuzzed, runtime: Runtime, signal: AbortSignal): Promise<boolean> {
  const { model, pixels, count, logits } = network;
  // A batch that does not divide the images leaves a smaller one at the end.
  const evaluator = await createFastEvaluator(model, { runtime, batch: 3 });
  try {
    const found = await evaluator.logits(pixels, count, signal);
    return logits.some((value, i) => value !== found[i]);
  } finally {
    await evaluator.dispose();
  }
}
