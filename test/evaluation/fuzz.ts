/**
 * Fuzzed networks against the reference. As a program, for runtimes that need an environment of their own:
 * `node fuzz.ts RUNTIME COUNT` prints {networks, single, wrong: [what differs]} as JSON.
 */
import { createFastEvaluator, type FastEvaluator } from "../../offchain/evaluation/fast.ts";
import type { Model } from "../../offchain/evaluation/model.ts";
import { loadRuntime, type Runtime, type RuntimeName } from "../../offchain/evaluation/onnx-runtime.ts";
import { referenceLogits } from "../../offchain/evaluation/reference.ts";
import { malformation } from "../../offchain/evaluation/well-formed.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { randomArchitecture, randomModel, randomPixels, type Reach } from "./random-model.ts";

/** Samples of each network. */
const COUNT = 5;

export interface FuzzedNetwork {
  readonly seed: number;
  readonly model: Model;
  readonly pixels: Uint8Array;
  readonly expected: Float64Array;
}

/** The network of a seed: a quarter each of small sums, sums just below and at 2^24, and sums below 2^31. */
export function fuzzedNetwork(seed: number): FuzzedNetwork {
  const random = createRandom(seed);
  const reach = (["any", "below-2^24", "at-2^24", "below-2^31"] satisfies Reach[])[seed % 4]!;
  const architecture = randomArchitecture(random, reach === "below-2^31" ? 15 : undefined);
  const model = randomModel(random, architecture, reach);
  const fault = malformation(model);
  if (fault !== null) throw new Error(`seed ${seed}: ${fault}`);
  const pixels = randomPixels(random, architecture, COUNT);
  return { seed, model, pixels, expected: referenceLogits(model, pixels, COUNT) };
}

/** How the fast evaluator differs from the reference on a network, or null. */
export async function difference(
  { seed, model, pixels, expected }: FuzzedNetwork,
  options: { runtime: Runtime; batch?: number; threads?: number },
): Promise<{ path: FastEvaluator["path"]; wrong: string | null }> {
  const evaluator = await createFastEvaluator(model, options);
  try {
    const { path } = evaluator;
    const logits = await evaluator.logits(pixels, COUNT);
    const at = expected.findIndex((value, i) => value !== logits[i]);
    if (at < 0) return { path, wrong: null };
    return {
      path,
      wrong: `seed ${seed}, ${options.runtime.name}, logit ${at}: ${expected[at]} by reference, ${logits[at]}`,
    };
  } finally {
    await evaluator.dispose();
  }
}

if (process.argv[1] === import.meta.filename) {
  const runtime = await loadRuntime(process.argv[2] as RuntimeName);
  const networks = Number(process.argv[3]);
  const wrong: string[] = [];
  let single = 0;
  for (let seed = 0; seed < networks; seed++) {
    const found = await difference(fuzzedNetwork(seed), { runtime, batch: 1 + (seed % 6) });
    if (found.path === "single") single++;
    if (found.wrong !== null) wrong.push(found.wrong);
  }
  console.log(JSON.stringify({ networks, single, wrong }));
}
