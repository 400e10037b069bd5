/** A small model, honest or with one false prediction, and moves of disputes over it. */
import type { KnownTrace } from "../../../offchain/evaluation/dispute-openings.ts";
import type { TracedPlace } from "../../../offchain/evaluation/trace-openings.ts";
import type { Architecture } from "../../../offchain/protocol/architecture.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { challenge, disputable, movesOf, someSetting, truth, type Move, type Setting } from "../dispute-game.ts";
import type { Signer, World } from "../support.ts";

const LAYER = {
  kernelHeight: 3,
  kernelWidth: 3,
  filters: 4,
  strideHeight: 1,
  strideWidth: 1,
  poolSize: 1,
  actIntBits: 4,
  actFracBits: 4,
  weightIntBits: 2,
  weightFracBits: 6,
};
export const ARCHITECTURE: Architecture = {
  input: [6, 6, 1],
  classes: 3,
  layers: [{ ...LAYER, poolSize: 2 }, LAYER],
  head: { pool: "global-sum", hidden: 0 },
};
/** A sample in which every tensor has values other than zero. */
export const SAMPLE = 3;
/** Steps of its traces: convolution, pool, convolution, sums over rows, sums, logits. */
export const [FIRST, SECOND, LOGITS] = [0, 2, 5];

export const honest = someSetting(createRandom("attacks"), ARCHITECTURE);
/** The class that the model does not see in the sample. */
const LIE = (honest.labels[SAMPLE]! + 1) % ARCHITECTURE.classes;
/** The same model on a test set of which it misses one sample; its owner claims to have all. */
export const lying: Setting = { ...honest, labels: honest.labels.with(SAMPLE, LIE) };
export const TRUE = truth(honest, SAMPLE);

/** What the model truly makes of the sample, but for the logits, of which the claimed class has the largest. */
export const FALSE_LOGITS: KnownTrace = {
  ...TRUE,
  logits: TRUE.logits.map((logit, i) => (i === LIE ? Math.max(...TRUE.logits) + 1 : logit)),
};

/** A value of a tensor that nobody has a reason to doubt. */
export const place = (step: number, channel = 1): TracedPlace => ({ step, row: 1, column: 1, channel });

export const send = (w: World, { by, name, args }: Move, challenger = w.stranger, defender = w.ada): Promise<unknown> =>
  w.arithmetic.connect(by === "claimant" ? defender : challenger).getFunction(name)(...args) as Promise<unknown>;

/** The next move of a game that waits for it. */
export interface Awaited {
  readonly id: bigint;
  readonly move: Move;
  readonly by: Signer;
}

/** A dispute over a value of the honest claimant's first convolution that waits for the given move. */
export async function untilMove(w: World, name: Move["name"]): Promise<Awaited> {
  const taskId = await disputable(w, honest);
  return playUntil(w, await challenge(w, taskId, w.stranger, SAMPLE, honest.labels), name, w.ada);
}

/** Plays the stranger's challenge of an honest defender up to the given move. */
export async function playUntil(w: World, id: bigint, name: Move["name"], defender: Signer): Promise<Awaited> {
  for (const move of movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(FIRST) })) {
    if (move.name === name) return { id, move, by: move.by === "claimant" ? defender : w.stranger };
    await send(w, move, w.stranger, defender);
  }
  throw new Error(`no ${name} in this game`);
}
