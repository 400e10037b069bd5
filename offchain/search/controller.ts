/**
 * The RNN controller of neural architecture search (Zoph & Le 2017) in the shape that the paper's authors used: a
 * 2-layer LSTM of 35 units; each decision has its own embedding of the choice before it and its own linear classifier.
 */
import type { Random } from "../protocol/random.ts";
import { createRandom } from "../protocol/random.ts";
import type { Decisions } from "./decisions.ts";
import { createLstmTape, initialiseLstm, lstmSize } from "./lstm.ts";

const UNITS = 35;
const LAYERS = 2;
const LSTM = { units: UNITS, layers: LAYERS };

export interface Episode {
  /** seed of the states and the first input that the sequence began with */
  readonly start: number;
  /** for each decision the index of the choice taken */
  readonly actions: readonly number[];
}

export interface Controller {
  /** All parameters: the LSTM's, then per decision its embedding [choices before, 35], classifier [choices, 35] and bias. */
  readonly parameters: Float64Array;
  /** One architecture's decisions, drawn from the policy. */
  sample(start: number, random: Random): Episode;
  /**
   * The logarithm of the probability of an episode under the policy.
   * @param gradient where given, `weight` times the logarithm's gradient by the parameters is added to it
   */
  logProbability(episode: Episode, gradient?: Float64Array, weight?: number): number;
}

/** A controller with PyTorch's default initialisation: LSTM and classifiers uniform within ±1/√35, embeddings normal. */
export function createController(decisions: Decisions, random: Random): Controller {
  const counts = decisions.choices.map(({ length }) => length);
  const steps = counts.length;
  const lstmParameters = lstmSize(LSTM);
  let size = lstmParameters;
  // The first decision's input is a choice of the last one's, drawn by chance.
  const places = counts.map((count, decision) => {
    const embedding = size;
    const classifier = embedding + counts[(decision + steps - 1) % steps]! * UNITS;
    const bias = classifier + count * UNITS;
    size = bias + count;
    return { embedding, classifier, bias };
  });
  const parameters = new Float64Array(size);
  const lstm = parameters.subarray(0, lstmParameters);
  initialiseLstm(LSTM, lstm, random);
  for (const [decision, { embedding, classifier, bias }] of places.entries()) {
    for (let i = embedding; i < classifier; i++) parameters[i] = random.normal();
    const end = bias + counts[decision]!;
    for (let i = classifier; i < end; i++) parameters[i] = (2 * random.next() - 1) / Math.sqrt(UNITS);
  }

  const tape = createLstmTape(LSTM, steps);
  const probabilities = counts.map((count) => new Float64Array(count));
  const outputs = new Float64Array(steps * UNITS);
  const outputGradients = new Float64Array(steps * UNITS);
  const inputGradients = new Float64Array(steps * UNITS);

  /** One pass through all decisions. @returns the action taken before each decision */
  function pass(start: number, decide: (decision: number) => number): number[] {
    const random = createRandom(start);
    const before = [random.integer(counts[steps - 1]!)];
    const normals = (): Float64Array => Float64Array.from({ length: LAYERS * UNITS }, random.normal);
    tape.begin(normals(), normals());
    const walk = decisions.walk();
    for (const [decision, { embedding, classifier, bias }] of places.entries()) {
      const row = embedding + before[decision]! * UNITS;
      const output = tape.step(lstm, parameters.subarray(row, row + UNITS));
      outputs.set(output, decision * UNITS);
      const distribution = probabilities[decision]!;
      for (let choice = 0; choice < distribution.length; choice++) {
        let logit = parameters[bias + choice]!;
        for (let k = 0, at = classifier + choice * UNITS; k < UNITS; k++, at++) logit += parameters[at]! * output[k]!;
        distribution[choice] = logit;
      }
      softmax(distribution, walk.allowed());
      const action = decide(decision);
      walk.take(action);
      before.push(action);
    }
    return before;
  }

  function backward(before: readonly number[], gradient: Float64Array, weight: number): void {
    outputGradients.fill(0);
    for (const [decision, { classifier, bias }] of places.entries()) {
      const distribution = probabilities[decision]!;
      const taken = before[decision + 1]!;
      const output = outputs.subarray(decision * UNITS, (decision + 1) * UNITS);
      const outputGradient = outputGradients.subarray(decision * UNITS, (decision + 1) * UNITS);
      for (let choice = 0; choice < distribution.length; choice++) {
        const slope = weight * ((choice === taken ? 1 : 0) - distribution[choice]!);
        if (slope === 0) continue; // a choice that the space forbids here
        gradient[bias + choice]! += slope;
        for (let k = 0, at = classifier + choice * UNITS; k < UNITS; k++, at++) {
          gradient[at]! += slope * output[k]!;
          outputGradient[k]! += slope * parameters[at]!;
        }
      }
    }
    tape.backward(lstm, outputGradients, gradient.subarray(0, lstmParameters), inputGradients);
    for (const [decision, { embedding }] of places.entries()) {
      const row = embedding + before[decision]! * UNITS;
      for (let k = 0; k < UNITS; k++) gradient[row + k]! += inputGradients[decision * UNITS + k]!;
    }
  }

  return {
    parameters,
    sample(start, random) {
      const before = pass(start, (decision) => draw(probabilities[decision]!, random));
      return { start, actions: before.slice(1) };
    },
    logProbability({ start, actions }, gradient, weight = 1) {
      let logarithm = 0;
      const before = pass(start, (decision) => {
        const action = actions[decision]!;
        logarithm += Math.log(probabilities[decision]![action]!);
        return action;
      });
      if (gradient !== undefined) backward(before, gradient, weight);
      return logarithm;
    },
  };
}

/** Turns logits into probabilities in place; what is not allowed gets 0. */
function softmax(logits: Float64Array, allowed: readonly boolean[] | null): void {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    if (allowed !== null && !allowed[i]!) logits[i] = -Infinity;
    largest = Math.max(largest, logits[i]!);
  }
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += logits[i] = Math.exp(logits[i]! - largest);
  for (let i = 0; i < logits.length; i++) logits[i]! /= sum;
}

function draw(probabilities: Float64Array, random: Random): number {
  let rest = random.next();
  let last = 0;
  for (let choice = 0; choice < probabilities.length; choice++) {
    if (probabilities[choice] === 0) continue;
    last = choice;
    rest -= probabilities[choice]!;
    if (rest < 0) break;
  }
  return last;
}
